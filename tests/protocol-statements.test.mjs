// Keys, what they sign (statements and proofs of possession), and the hashes of sets that
// statements carry, in the independent client, without any service.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";
import { proofFor } from "./client/dpop.mjs";
import { b64u, fromUtf8, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import {
  deviceSetHash, envelopeSetHash, headSetHash, importPublic, keyPairFromScalar, makeKeyPair, scalarOf,
} from "./client/keys.mjs";
import * as limits from "./client/limits.mjs";
import { open, parse, sign, signText, verify } from "./client/statements.mjs";
import { HASH, NOW, refuses, USERS } from "./support/protocol.mjs";

describe("a proof of possession", () => {
  it("has exactly the members of section 8, over method, address without query, and token", async () => {
    const key = await makeKeyPair("ECDSA");
    const [one, two] = await Promise.all([1, 2].map(() => proofFor({ method: "GET", url: "https://osmynt.example/v1/me/log?from=3", token: "a.b.c", key })));
    const { protectedHeader, payload } = await compactVerify(one, await importJWK(key.jwk, "ES256"));
    assert.deepEqual(protectedHeader, { typ: "dpop+jwt", alg: "ES256", jwk: key.jwk });
    const { jti, iat, ...claims } = JSON.parse(fromUtf8(payload));
    assert.deepEqual(claims, { htm: "GET", htu: "https://osmynt.example/v1/me/log", ath: await hashOf(utf8("a.b.c")) });
    assert.ok(b64u.decode(jti, 16) && Number.isInteger(iat));
    assert.notEqual(JSON.parse(fromUtf8(b64u.decode(two.split(".")[1]))).jti, jti);
    const bare = await proofFor({ method: "POST", url: "https://osmynt.example/v1/tokens", key });
    assert.ok(!("ath" in JSON.parse(fromUtf8(b64u.decode(bare.split(".")[1])))));
  });
});

describe("keys", () => {
  it("have the thumbprint that RFC 7638 spells out", async () => {
    const { jwk, id } = await makeKeyPair("ECDSA");
    assert.equal(id, await hashOf(utf8(`{"crv":"P-256","kty":"EC","x":"${jwk.x}","y":"${jwk.y}"}`)));
    assert.equal(id, await calculateJwkThumbprint(jwk));
  });

  it("come back from their scalar", async () => {
    const pair = await makeKeyPair("ECDSA");
    const again = await keyPairFromScalar("ECDSA", await scalarOf(pair.privateKey));
    assert.deepEqual(again.jwk, pair.jwk);
    await refuses("invalid-request", () => keyPairFromScalar("ECDSA", new Uint8Array(32)));
  });

  it("are refused with a private member, another curve, or a point that is not on the curve", async () => {
    const { jwk } = await makeKeyPair("ECDSA");
    await refuses("invalid-request", () => importPublic({ ...jwk, d: HASH }, "ECDSA"));
    await refuses("invalid-request", () => importPublic({ ...jwk, crv: "P-384" }, "ECDSA"));
    await refuses("invalid-request", () => importPublic({ ...jwk, y: jwk.x }, "ECDSA"));
    await refuses("invalid-request", () => importPublic({ kty: "EC", crv: "P-256", x: HASH, y: HASH }, "ECDH"));
  });
});

describe("statements", () => {
  const payload = async (signer) => ({ user: USERS[0], jwk: signer.jwk, iat: NOW });
  const TYP = "osmynt-device+jws";

  it("are verified as they were signed", async () => {
    const signer = await makeKeyPair("ECDSA");
    const found = await open(TYP, await sign(TYP, await payload(signer), signer), signer.jwk);
    assert.deepEqual(found.payload, await payload(signer));
  });

  it("are refused under another key, with a changed payload, or with a changed signature", async () => {
    const [signer, other] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    const compact = await sign(TYP, await payload(signer), signer);
    await refuses("bad-signature", () => open(TYP, compact, other.jwk));
    const [header, , signature] = compact.split(".");
    const altered = b64u.encode(utf8(JSON.stringify({ ...(await payload(signer)), iat: NOW + 1 })));
    await refuses("bad-signature", () => open(TYP, `${header}.${altered}.${signature}`, signer.jwk));
    await refuses("bad-signature", async () => open(TYP, `${header}.${compact.split(".")[1]}.${b64u.encode(randomBytes(64))}`, signer.jwk));
  });

  it("have a hash that does not depend on the signature", async () => {
    const signer = await makeKeyPair("ECDSA");
    const [one, two] = [await sign(TYP, await payload(signer), signer), await sign(TYP, await payload(signer), signer)];
    assert.notEqual(one, two);
    assert.equal((await parse(TYP, one)).hash, (await parse(TYP, two)).hash);
  });

  it("are refused with any other form of header or payload", async () => {
    const signer = await makeKeyPair("ECDSA");
    const header = { alg: "ES256", typ: TYP, kid: signer.id };
    const good = JSON.stringify(await payload(signer));
    const wrong = [
      [{ ...header, alg: "none" }, good], [{ ...header, alg: "HS256" }, good], [{ ...header, alg: "ES384" }, good],
      [{ ...header, typ: "osmynt-team+jws" }, good], [{ ...header, crit: ["x"] }, good], [{ ...header, jwk: signer.jwk }, good],
      [{ alg: "ES256", typ: TYP }, good], [header, `{"iat":1,${good.slice(1)}`], [header, `{"more":1,${good.slice(1)}`], [header, `${good} {}`],
      [header, good.replace(String(NOW), `${NOW}.0`)], [header, "null"],
    ];
    for (const [heading, body] of wrong) {
      await refuses("invalid-request", async () => open(TYP, await signText(JSON.stringify(heading), body, signer.privateKey), signer.jwk));
    }
    await refuses("invalid-request", () => parse(TYP, "a.b"));
    for (const [typ, limit] of Object.entries(limits.STATEMENT_LIMITS)) {
      await refuses("too-large", () => parse(typ, "a".repeat(limit + 1)));
      await refuses("invalid-request", () => parse(typ, "a".repeat(limit)));
    }
  });

  it("are verified over the received bytes, whatever the order of members", async () => {
    const signer = await makeKeyPair("ECDSA");
    const { user, jwk, iat } = await payload(signer);
    const compact = await signText(JSON.stringify({ kid: signer.id, typ: TYP, alg: "ES256" }), JSON.stringify({ iat, jwk, user }, null, 2), signer.privateKey);
    assert.equal((await verify(await parse(TYP, compact), jwk)).payload.user, user);
  });
});

describe("set hashes", () => {
  it("do not depend on the order given", async () => {
    const [a, b] = [{ user: USERS[0], device: "b" }, { user: USERS[1], device: "a" }];
    assert.equal(await deviceSetHash([a, b]), await deviceSetHash([b, a]));
    assert.equal(await deviceSetHash([a, b]), await hashOf(utf8(`osmynt/v1/devices\n${USERS[0]} b\n${USERS[1]} a`)));
  });
  it("have the lines of section 5", async () => {
    const heads = [{ user: "b", seq: 0, hash: "h" }, { user: "a", seq: 12, hash: "i" }];
    assert.equal(await headSetHash(heads), await hashOf(utf8("osmynt/v1/heads\na 12 i\nb 0 h")));
    const envelope = { device: "d", prekey: "p", suite: "s", enc: "e", ct: "c" };
    assert.equal(await envelopeSetHash([envelope]), await hashOf(utf8("osmynt/v1/envelopes\nd p s e c")));
  });
  it("of nothing are the hash of the label", async () => assert.equal(await deviceSetHash([]), await hashOf(utf8("osmynt/v1/devices"))));
});
