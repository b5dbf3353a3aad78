// The code of an invitation, as it is passed from person to person.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { b64u, base32, hashOf } from "./client/encodings.mjs";
import { makeCode, parseCode } from "./client/invitation.mjs";
import { makeKeyPair, scalarOf } from "./client/keys.mjs";
import { HASH, refuses, USERS } from "./support/protocol.mjs";

describe("an invitation's code", () => {
  const invitation = async () => {
    const pair = await makeKeyPair("ECDSA");
    return { origin: "https://osmynt.example", team: USERS[0], key: await scalarOf(pair.privateKey), head: { seq: 70_000, hash: HASH }, name: "Käse & Brot" };
  };

  it("comes back as it was made, also in upper case and with white space in it", async () => {
    const given = await invitation();
    const code = await makeCode(given);
    assert.match(code, /^osmynt1[a-z2-7]+$/);
    assert.deepEqual(await parseCode(code), given);
    assert.deepEqual(await parseCode(` ${code.toUpperCase().replace(/.{20}/g, "$&\n  ")}\t`), given);
  });

  it("is refused when anything of it is missing or another", async () => {
    const code = await makeCode(await invitation());
    for (let length = 0; length < code.length; length += 7) await refuses("invalid-request", () => parseCode(code.slice(0, length)));
    for (let at = 7; at < code.length; at += 5) {
      await refuses("invalid-request", () => parseCode(code.slice(0, at) + (code[at] === "a" ? "b" : "a") + code.slice(at + 1)));
    }
    await refuses("invalid-request", () => parseCode(`${code}a`));
    await refuses("too-large", async () => makeCode({ ...(await invitation()), origin: `https://${"x".repeat(250)}.example` }));
    await refuses("invalid-request", () => parseCode(code.replace("osmynt1", "osmynt2")));
    await refuses("invalid-request", () => parseCode("https://osmynt.example/join"));
  });

  it("is refused when it is of another version, or ends too early, whatever its checksum", async () => {
    const code = await makeCode(await invitation());
    const body = base32.decode(code.slice(7)).subarray(0, -4);
    const sealed = async (bytes) => `osmynt1${base32.encode(Buffer.concat([bytes, b64u.decode(await hashOf(bytes)).subarray(0, 4)]))}`;
    assert.equal(await sealed(body), code);
    for (const length of [0, 1, 32, 60, 69, 101, 102, 110]) await refuses("invalid-request", async () => parseCode(await sealed(body.subarray(0, length))));
    await refuses("invalid-request", async () => parseCode(await sealed(body.with(0, 2))));
  });
});
