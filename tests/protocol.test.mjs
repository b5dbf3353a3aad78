// The pure parts of the independent client: encodings, statements, keys, padding, and both logs, without any service.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";
import { STATUS } from "./client/api.mjs";
import { proofFor } from "./client/dpop.mjs";
import { aeadOpen, b64u, fromUtf8, hashOf, head, object, openBox, paddedJson, parseAs, parseJson, randomBytes, sealBox, seconds, thumbprint, unpadJson, utf8, uuid7 } from "./client/encodings.mjs";
import { contentKeyPurpose, deviceSetHash, importPublic, keyPairFromScalar, makeKeyPair, makeSecretKey, openEnvelope, openProfile, scalarOf, sealEnvelope, sealProfile, teamKeyCommitment, teamKeyPurpose } from "./client/keys.mjs";
import * as limits from "./client/limits.mjs";
import { join, newSnippetId, openContent, openHeader, pad, padme, sealContent, split, unpad } from "./client/snippet.mjs";
import { open, parse, sign, signText, verify } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { UserLog } from "./client/userlog.mjs";

const refuses = (code, action) => assert.rejects(async () => action(), { name: "Refused", code });

const NOW = 1_800_000_000;
const rfc3339 = (time) => new Date(time * 1000).toISOString();
const HASH = b64u.encode(new Uint8Array(32));
const USERS = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"];

describe("the page", () => {
  const page = readFileSync(new URL("../docs/protocol.md", import.meta.url), "utf8");
  const rowsOf = (heading) => {
    const [, section] = page.split(new RegExp(`^## ${heading}$`, "m"));
    return section.split(/^## /m)[0].split("\n").filter((line) => /^\| (?!---)/.test(line)).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  };

  it("names the problems that this client knows, with their status", () => {
    const named = rowsOf("8 HTTP").filter(([, status]) => /^\d+$/.test(status));
    const listed = named.flatMap(([codes, status]) => codes.split(", ").map((code) => [code.replaceAll("`", ""), Number(status)]));
    assert.deepEqual(Object.fromEntries(listed), STATUS);
  });

  it("has the limits that this client keeps", () => {
    const kept = {
      statement: [limits.STATEMENT_BYTES],
      "snippet content": [10, limits.SNIPPET_CONTENT_BYTES, limits.SNIPPET_CIPHERTEXT_BYTES - limits.SNIPPET_CONTENT_BYTES],
      "sealed header": [limits.HEADER_BYTES, limits.PROFILE_BYTES],
      "JSON body": [limits.JSON_BODY_BYTES / 2 ** 20],
      "active devices of a user / of a team's members together": [limits.DEVICES_PER_USER, limits.DEVICES_PER_TEAM],
      "entries in a commit": [limits.ENTRIES_PER_COMMIT],
      "envelopes in a snippet": [limits.ENVELOPES_PER_SNIPPET],
      page: [limits.PAGE],
      "clock difference of statements / of proofs": [limits.CLOCK_SKEW, limits.PROOF_SKEW],
      proof: [limits.PROOF_BYTES, limits.PROOF_ID_BYTES],
      handshake: [limits.HANDSHAKE_SECONDS, limits.WRONG_VERIFIERS],
      "access token / session with its refresh tokens": [limits.ACCESS_SECONDS / 3600, limits.SESSION_SECONDS / 86_400],
    };
    const stated = rowsOf("12 Limits").slice(1).map(([what, limit]) => [what, limit.match(/\d[\d,]*/g).map((number) => Number(number.replaceAll(",", "")))]);
    assert.deepEqual(Object.fromEntries(stated), kept);
  });
});

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

describe("base64url", () => {
  it("round-trips every length", () => {
    for (const length of [0, 1, 2, 3, 31, 32, 33]) {
      const bytes = randomBytes(length);
      assert.deepEqual(b64u.decode(b64u.encode(bytes)), bytes);
    }
  });

  for (const [what, text] of [
    ["padding", "AA=="], ["white space", "AA AA"], ["a line feed at the end", "AAAA\n"], ["the other alphabet", "+/+/"],
    ["non-zero trailing bits", "AB"], ["an impossible length", "AAAAA"], ["a number", 7],
  ]) {
    it(`refuses ${what}`, () => refuses("invalid-request", () => b64u.decode(text)));
  }
});

describe("JSON", () => {
  it("reads what JSON.parse reads", () => {
    for (const text of ['{"a":[1,0,true,false,null,"x\\u00e9\\n\\ud83d\\ude00"],"b":{}}', " [ ] ", '"é😀"', "9007199254740991"]) {
      assert.deepEqual(parseJson(text), JSON.parse(text));
    }
  });

  for (const text of [
    '{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '{"a":{"b":1,"b":1}}', "1.0", "1e3", "-1", "-0", "01", "9007199254740992", "{} {}", '{"a":1,}', "[1,]",
    "{", "", "nul", "'a'", '"\n"', '"\\x"', '"\\ud800"', "\ufeff{}", '{"__proto__":1}', "[".repeat(100_000), "NaN", "/**/1",
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => refuses("invalid-request", () => parseJson(text)));
  }

  it("refuses bytes that are not UTF-8", () => refuses("invalid-request", () => fromUtf8(new Uint8Array([0x22, 0xff, 0x22]))));

  it("refuses unknown and missing members", async () => {
    await refuses("invalid-request", () => parseAs(head, `{"seq":0,"hash":"${HASH}","more":1}`, "head"));
    await refuses("invalid-request", () => parseAs(head, '{"seq":0}', "head"));
    await refuses("invalid-request", () => parseAs(object({}), "[]", "empty"));
  });

  it("is padded with spaces to 256 bytes", async () => {
    const padded = paddedJson({ a: 1 }, 1024);
    assert.equal(padded.length, 256);
    assert.equal(fromUtf8(padded).trimEnd(), '{"a":1}');
    await refuses("too-large", () => paddedJson({ a: "x".repeat(2000) }, 1024));
    await refuses("invalid-request", () => unpadJson(object({}), utf8("{}"), 1024, "it"));
  });
});

describe("times", () => {
  it("are RFC 3339 in UTC", () => assert.equal(seconds("2027-01-15T08:00:00Z"), NOW));
  for (const text of ["2027-01-15T08:00:00", "2027-01-15T08:00:00+01:00", "2027-13-15T08:00:00Z", "1800000000"]) {
    it(`are not ${text}`, () => refuses("invalid-request", () => seconds(text)));
  }
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
    await refuses("too-large", () => parse(TYP, "a".repeat(65_537)));
  });

  it("are verified over the received bytes, whatever the order of members", async () => {
    const signer = await makeKeyPair("ECDSA");
    const { user, jwk, iat } = await payload(signer);
    const compact = await signText(JSON.stringify({ kid: signer.id, typ: TYP, alg: "ES256" }), JSON.stringify({ iat, jwk, user }, null, 2), signer.privateKey);
    assert.equal((await verify(await parse(TYP, compact), jwk)).payload.user, user);
  });
});

describe("envelopes", () => {
  const setUp = async () => {
    const prekey = await makeKeyPair("ECDH");
    const purpose = teamKeyPurpose(HASH, 1, HASH);
    const key = makeSecretKey();
    return { prekey, purpose, key, envelope: await sealEnvelope(key, purpose, { device: HASH, prekey: prekey.jwk }) };
  };

  it("open to the key that was sealed, and have fixed lengths", async () => {
    const { prekey, purpose, key, envelope } = await setUp();
    assert.deepEqual(await openEnvelope(envelope, purpose, prekey), key);
    assert.equal(b64u.decode(envelope.enc)[0], 4);
    assert.deepEqual([b64u.decode(envelope.enc).length, b64u.decode(envelope.ct).length], [65, 48]);
  });

  it("open for no other purpose, sender, recipient or key", async () => {
    const { prekey, purpose, envelope } = await setUp();
    await refuses("invalid-request", () => openEnvelope(envelope, teamKeyPurpose(HASH, 2, HASH), prekey));
    await refuses("invalid-request", () => openEnvelope(envelope, contentKeyPurpose(HASH, 1, HASH), prekey));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, device: "x" }, purpose, prekey));
    const other = await makeKeyPair("ECDH");
    await refuses("invalid-request", () => openEnvelope(envelope, purpose, other));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, prekey: other.id }, purpose, other));
  });
});

describe("set hashes", () => {
  it("do not depend on the order given", async () => {
    const [a, b] = [{ user: USERS[0], device: "b" }, { user: USERS[1], device: "a" }];
    assert.equal(await deviceSetHash([a, b]), await deviceSetHash([b, a]));
    assert.equal(await deviceSetHash([a, b]), await hashOf(utf8(`osmynt/v1/devices\n${USERS[0]} b\n${USERS[1]} a`)));
  });
  it("of nothing are the hash of the label", async () => assert.equal(await deviceSetHash([]), await hashOf(utf8("osmynt/v1/devices"))));
});

describe("sealed boxes", () => {
  it("open only with their key and their label", async () => {
    const key = makeSecretKey();
    const box = await sealBox(key, utf8("x"), "label");
    assert.equal(fromUtf8(await openBox(key, box, "label")), "x");
    await refuses("invalid-request", () => openBox(key, box, "other"));
    await refuses("invalid-request", () => openBox(makeSecretKey(), box, "label"));
    await refuses("invalid-request", () => aeadOpen(key, randomBytes(12), b64u.decode(box.ct), "label"));
  });

  it("hold a profile of one epoch", async () => {
    const key = makeSecretKey();
    const box = await sealProfile(key, HASH, 3, { name: "Käse & Brot" });
    assert.deepEqual(await openProfile(key, HASH, 3, box), { name: "Käse & Brot" });
    assert.equal(b64u.decode(box.ct).length, 256 + 16);
    await refuses("invalid-request", () => openProfile(key, HASH, 4, box));
    await refuses("invalid-request", () => sealProfile(key, HASH, 3, { name: "" }));
    await refuses("invalid-request", () => sealProfile(key, HASH, 3, { name: "x".repeat(101) }));
  });
});

describe("Padmé", () => {
  // Worked out by hand from the definition: E = 8, S = 4, z = 4 for lengths from 256 to 511, and so on.
  for (const [length, padded] of [
    [1, 1], [2, 2], [7, 7], [9, 10], [100, 104], [256, 256], [257, 272], [272, 272], [273, 288], [511, 512], [512, 512], [513, 544], [1000, 1024],
    [1025, 1088], [65_537, 67_584], [1_000_000, 1_015_808], [10_485_759, 10_485_760], [10_485_760, 10_485_760],
  ]) {
    it(`of ${length} is ${padded}`, () => assert.equal(padme(length), padded));
  }

  it("adds at most 12 per cent", () => {
    for (let length = 256; length < 100_000; length += 37) assert.ok(padme(length) >= length && padme(length) < length * 1.12);
  });

  it("is undone, and a wrong padding is refused", async () => {
    for (const length of [0, 1, 256, 257, 5000]) {
      const content = randomBytes(length);
      assert.deepEqual(unpad(pad(content), length), content);
    }
    await refuses("invalid-request", () => unpad(new Uint8Array(300), 257));
    await refuses("invalid-request", () => unpad(new Uint8Array(256).fill(1), 255));
    await refuses("invalid-request", () => unpad(new Uint8Array(256), 257));
    await refuses("too-large", () => pad(new Uint8Array(10_485_761)));
  });
});

describe("a snippet", () => {
  const id = newSnippetId(NOW * 1000);
  const sealed = async () => {
    const key = makeSecretKey();
    const content = utf8("fn main() {}\n");
    const { ciphertext, members } = await sealContent(key, HASH, id, { kind: "code", size: content.length, title: "t" }, content);
    return { key, content, ciphertext, statement: { team: HASH, snippet: id, ...members } };
  };

  it("has an id of version 7 that holds its time", () => {
    uuid7(id, "id");
    assert.equal(parseInt(id.replaceAll("-", "").slice(0, 12), 16), NOW * 1000);
  });

  it("is split as it was joined", async () => {
    const container = join("a.b.c", new Uint8Array([1, 2, 3]));
    assert.deepEqual([...container.subarray(0, 5)], [0, 0, 0, 5, 97]);
    assert.deepEqual(split(container), { statement: "a.b.c", ciphertext: new Uint8Array([1, 2, 3]) });
    await refuses("invalid-request", () => split(container.subarray(0, 3)));
    await refuses("invalid-request", () => split(container.subarray(0, 7)));
    await refuses("too-large", () => split(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0])));
  });

  it("opens with its content key", async () => {
    const { key, content, ciphertext, statement } = await sealed();
    const opened = await openContent(key, statement, ciphertext);
    assert.deepEqual(opened.content, content);
    assert.deepEqual(await openHeader(key, statement), { kind: "code", size: content.length, title: "t" });
  });

  it("does not open with another key, changed bytes, or under another id", async () => {
    const { key, ciphertext, statement } = await sealed();
    await refuses("invalid-request", () => openContent(makeSecretKey(), statement, ciphertext));
    await refuses("invalid-request", () => openContent(key, statement, ciphertext.with(0, ciphertext[0] ^ 1)));
    await refuses("invalid-request", () => openContent(key, statement, ciphertext.subarray(1)));
    await refuses("invalid-request", () => openContent(key, { ...statement, snippet: newSnippetId(0) }, ciphertext));
  });
});

// --- logs, written by hand so that each rule can be broken ---

class Person {
  static async make(user) {
    const person = new Person();
    person.user = user;
    person.device = await makeKeyPair("ECDSA");
    person.entries = [];
    await person.add(person.device, person.device);
    return person;
  }
  describe = async (device, user = this.user) => sign("osmynt-device+jws", { user, jwk: device.jwk, iat: NOW }, device);
  add = async (device, by = this.device, changes) => this.append({ type: "device.added", device: await this.describe(device) }, by, changes);
  revoke = (device, by = this.device) => this.append({ type: "device.revoked", device: device.id }, by);
  reset = async (device) => this.append({ type: "identity.reset", device: await this.describe(device) }, device);
  async append(event, by, { received = NOW, ...changes } = {}) {
    const log = await this.log();
    const entry = { user: this.user, seq: this.entries.length, prev: log.head?.hash ?? null, iat: NOW, event, ...changes };
    const signed = { jws: await sign("osmynt-user+jws", entry, by), received_at: rfc3339(received) };
    await UserLog.read(this.user, [...this.entries, signed]);
    this.entries.push(signed);
  }
  log = () => UserLog.read(this.user, this.entries);
}

describe("a user's log", () => {
  it("adds, revokes and resets devices", async () => {
    const person = await Person.make(USERS[0]);
    const [second, third] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    const { identity } = await person.log();
    await person.add(second);
    await person.revoke(person.device, second);
    assert.deepEqual((await person.log()).active().map(({ id }) => id), [second.id]);
    assert.equal((await person.log()).identity, identity);
    await person.reset(third);
    const log = await person.log();
    assert.deepEqual(log.active().map(({ id }) => id), [third.id]);
    assert.notEqual(log.identity, identity);
    assert.deepEqual(log.devicesAt(1, identity).sort(), [person.device.id, second.id].sort());
    assert.deepEqual(log.devicesAt(3, identity), []);
    assert.deepEqual(log.devicesAt(3, log.identity), [third.id]);
  });

  it("is refused when an entry breaks a rule", async () => {
    const person = await Person.make(USERS[0]);
    const [second, stranger] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    await refuses("forbidden", () => person.add(second, stranger));
    await refuses("forbidden", () => person.add(second, second));
    await refuses("forbidden", () => person.revoke(person.device));
    await refuses("forbidden", () => person.revoke(second));
    await refuses("stale-log", () => person.add(second, person.device, { prev: HASH }));
    await refuses("stale-log", () => person.add(second, person.device, { seq: 2 }));
    await refuses("clock-skew", () => person.add(second, person.device, { iat: NOW + 301 }));
    await refuses("clock-skew", () => person.add(second, person.device, { received: NOW - 1 }));
    await refuses("invalid-request", () => person.add(second, person.device, { user: USERS[1] }));
    await refuses("invalid-request", async () =>
      person.append({ type: "device.added", device: await person.describe(second, USERS[1]) }, person.device));
    await person.add(second);
    await person.revoke(second);
    await refuses("conflict", () => person.add(second));
    await refuses("forbidden", () => person.add(stranger, second));
    for (let count = 1; count < 20; count += 1) await person.add(await makeKeyPair("ECDSA"));
    await refuses("too-large", () => person.add(stranger));
  });
});

/** A team log written by several people. */
class Team {
  static async make(founder) {
    const team = new Team();
    team.people = [founder];
    team.log = new TeamLog();
    const { identity } = await founder.log();
    await team.append(founder, { type: "team.created", nonce: b64u.encode(randomBytes(16)), identity, policy: { max_epoch_age: 3600 } });
    await team.rotate(founder);
    return team;
  }
  async directory() {
    return new Map(await Promise.all(this.people.map(async (person) => [person.user, await person.log()])));
  }
  async append(person, event, { received = NOW, by = person.device, ...changes } = {}) {
    const { log } = this;
    const entry = { team: log.team, seq: log.past.length, prev: log.head?.hash ?? null, iat: NOW, user: person.user, event, ...changes };
    const draft = log.draft();
    await draft.append(await sign("osmynt-team+jws", entry, by), received, await this.directory());
    this.log = draft;
  }
  async rotate(person, { by, ...changes } = {}) {
    const { heads, roster } = this.log.rotationFor(await this.directory());
    const epoch = (this.log.epoch?.number ?? 0) + 1;
    const devices = await deviceSetHash([...roster.values()].flatMap(({ user, devices }) => devices.map((device) => ({ user, device }))));
    const profile = await sealProfile(makeSecretKey(), this.log.team, epoch, { name: "x" });
    const commitment = await teamKeyCommitment(makeSecretKey(), this.log.team, epoch);
    await this.append(person, { type: "key.rotated", epoch, heads, devices, envelopes: HASH, commitment, profile, ...changes }, { by });
  }
  async invite(by, { role = "member", uses = 1, exp = NOW + 3600 } = {}) {
    const key = await makeKeyPair("ECDSA");
    await this.append(by, { type: "invite.created", key: key.jwk, role, uses, exp });
    return key;
  }
  async join(person, invitation, { proof: changes, ...more } = {}) {
    if (!this.people.includes(person)) this.people.push(person);
    const { identity } = await person.log();
    const proven = { team: this.log.team, invite: invitation.id, user: person.user, identity, iat: NOW, ...changes };
    const proof = await sign("osmynt-invite+jws", proven, more.signer ?? invitation);
    await this.append(person, { type: "member.joined", invite: invitation.id, identity, proof, ...more.event });
  }
  async joinAs(role, person) {
    await this.join(person, await this.invite(this.people[0], { role }));
    await this.rotate(person);
  }
}

const people = () => Promise.all(USERS.map((user) => Person.make(user)));

describe("a team's log", () => {
  it("leads to the roster and the epoch", async () => {
    const [owner, admin, member] = await people();
    const team = await Team.make(owner);
    await team.joinAs("admin", admin);
    await team.joinAs("member", member);
    assert.deepEqual([...team.log.roster.values()].map(({ role }) => role), ["owner", "admin", "member"]);
    assert.equal(team.log.epoch.number, 3);
    await team.append(admin, { type: "member.removed", user: member.user });
    await team.rotate(admin);
    assert.equal(team.log.roster.has(member.user), false);
    assert.equal(team.log.everyone.has(member.user), true);
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    await team.append(admin, { type: "member.left" });
    assert.equal(team.log.isStale(await team.directory(), NOW), true);
  });

  it("allows each role its events and no others", async () => {
    const [owner, admin, member] = await people();
    const team = await Team.make(owner);
    await team.joinAs("admin", admin);
    await team.joinAs("member", member);
    const stranger = await Person.make("00000000-0000-4000-8000-000000000004");
    team.people.push(stranger);
    const before = team.log;
    const invitation = () => makeKeyPair("ECDSA").then(({ jwk }) => jwk);
    const invite = async (role) => ({ type: "invite.created", key: await invitation(), role, uses: 1, exp: NOW + 1 });
    const box = await sealBox(makeSecretKey(), utf8("x"), "");
    const [OK, NO] = [null, "forbidden"];
    const events = [
      // event, then the answer to owner, admin and member
      [await invite("member"), [OK, OK, NO]],
      [await invite("admin"), [OK, OK, NO]],
      [await invite("owner"), [OK, NO, NO]],
      [{ type: "member.removed", user: member.user }, [OK, OK, NO]],
      [{ type: "member.removed", user: admin.user }, [OK, NO, NO]],
      [{ type: "member.removed", user: owner.user }, [NO, NO, NO]],
      [{ type: "member.left" }, ["conflict", OK, OK]],
      [{ type: "role.changed", user: member.user, role: "admin" }, [OK, NO, NO]],
      [{ type: "role.changed", user: owner.user, role: "admin" }, ["conflict", NO, NO]],
      [{ type: "policy.changed", policy: { max_epoch_age: 7200 } }, [OK, NO, NO]],
      [{ type: "profile.changed", epoch: 3, profile: box }, [OK, OK, NO]],
      [{ type: "role.changed", user: member.user, role: "member" }, ["conflict", NO, NO]],
      [{ type: "role.changed", user: stranger.user, role: "member" }, ["not-found", NO, NO]],
      [{ type: "member.removed", user: stranger.user }, ["not-found", "not-found", NO]],
    ];
    for (const [event, answers] of events) {
      for (const [index, person] of [owner, admin, member, stranger].entries()) {
        team.log = before;
        const code = [...answers, NO][index];
        if (code === OK) await team.append(person, event);
        else await refuses(code, () => team.append(person, event));
      }
    }
  });

  it("lets only the device that made a rotation due go on", async () => {
    const [owner, admin, member] = await people();
    const team = await Team.make(owner);
    await team.joinAs("admin", admin);
    await team.joinAs("member", member);
    await team.append(admin, { type: "member.removed", user: member.user });
    await refuses("forbidden", () => team.append(owner, { type: "policy.changed", policy: { max_epoch_age: 7200 } }));
    await refuses("forbidden", () => team.rotate(owner));
    await refuses("rotation-required", () => team.log.requireSettled());
    await team.rotate(admin);
    team.log.requireSettled();
  });

  it("is refused when a join breaks a rule", async () => {
    const [owner, joiner, other] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner);
    const stranger = await makeKeyPair("ECDSA");
    await refuses("gone", () => team.join(joiner, stranger));
    await refuses("bad-signature", () => team.join(joiner, invitation, { signer: stranger }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { user: other.user } }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { team: HASH } }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { identity: HASH } }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { iat: NOW - 301 } }));
    await refuses("forbidden", () => team.join(joiner, invitation, { event: { identity: HASH } }));
    await team.join(joiner, invitation);
    await team.rotate(joiner);
    await refuses("gone", () => team.join(other, invitation));
    const twice = await team.invite(owner, { uses: 2 });
    await refuses("conflict", () => team.join(joiner, twice));
    await team.append(owner, { type: "invite.revoked", invite: twice.id });
    await refuses("gone", () => team.join(other, twice));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW + 31 * 24 * 3600 }));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW }));
  });

  it("is refused when a rotation breaks a rule", async () => {
    const [owner, joiner] = await people();
    const team = await Team.make(owner);
    await refuses("stale-log", () => team.rotate(owner, { epoch: 3 }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { devices: HASH }));
    const head = (await owner.log()).head;
    await refuses("coverage-mismatch", () => team.rotate(owner, { heads: [{ user: owner.user, ...head }] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { heads: [{ user: joiner.user, ...head }] }));
    await owner.add(await makeKeyPair("ECDSA"));
    await refuses("coverage-mismatch", () => team.rotate(owner, { heads: [{ user: owner.user, seq: 1, hash: HASH }] }));
    const invitation = await team.invite(owner);
    await team.join(joiner, invitation);
    await refuses("coverage-mismatch", () => team.rotate(joiner, { heads: [] }));
  });

  it("is stale after a device came or went, and when its epoch is old", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    assert.equal(team.log.isStale(await team.directory(), NOW + 3600), false);
    assert.equal(team.log.isStale(await team.directory(), NOW + 3601), true);
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    assert.equal(team.log.isStale(await team.directory(), NOW), true);
    await team.rotate(owner, { by: second });
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    assert.deepEqual(team.log.roster.get(owner.user).devices.sort(), [owner.device.id, second.id].sort());
    await owner.revoke(second);
    await team.rotate(owner);
    await refuses("forbidden", () => team.append(owner, { type: "policy.changed", policy: { max_epoch_age: 7200 } }, { by: second }));
  });

  it("holds somebody who reset for a member without devices, until they are invited again", async () => {
    const [owner, member] = await people();
    const team = await Team.make(owner);
    await team.joinAs("member", member);
    const fresh = await makeKeyPair("ECDSA");
    await member.reset(fresh);
    await refuses("forbidden", () => team.append(member, { type: "member.left" }, { by: fresh }));
    await team.rotate(owner);
    assert.deepEqual(team.log.roster.get(member.user).devices, []);
    await refuses("forbidden", () => team.append(member, { type: "member.left" }));
    member.device = fresh;
    await team.joinAs("admin", member);
    assert.deepEqual(team.log.roster.get(member.user).devices, [fresh.id]);
    assert.equal(team.log.roster.get(member.user).role, "admin");
  });

  it("is refused when an entry is out of place or time", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const event = { type: "policy.changed", policy: { max_epoch_age: 7200 } };
    await refuses("stale-log", () => team.append(owner, event, { seq: 5 }));
    await refuses("stale-log", () => team.append(owner, event, { prev: HASH }));
    await refuses("invalid-request", () => team.append(owner, event, { team: HASH }));
    await refuses("clock-skew", () => team.append(owner, event, { iat: NOW - 301 }));
    await refuses("clock-skew", () => team.append(owner, event, { received: NOW - 1 }));
  });
});
