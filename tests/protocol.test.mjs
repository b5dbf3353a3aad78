// The pure parts of the independent client: encodings, statements, keys, padding, and both logs, without any service.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";
import { STATUS } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { proofFor } from "./client/dpop.mjs";
import {
  aeadOpen, ascending, b64u, base32, fromUtf8, hashOf, head, name, object, openBox, paddedJson, parseAs, parseJson, randomBytes,
  sealBox, thumbprint, unpadJson, utf8, uuid7,
} from "./client/encodings.mjs";
import { makeCode, parseCode } from "./client/invitation.mjs";
import {
  contentKeyPurpose, deviceSetHash, ENVELOPE_SUITE, envelopeSetHash, headSetHash, importPublic, keyPairFromScalar, makeKeyPair,
  makeSecretKey, openEnvelope, openProfile, scalarOf, sealEnvelope, sealProfile, teamKeyCommitment, teamKeyPurpose,
} from "./client/keys.mjs";
import * as limits from "./client/limits.mjs";
import { join, newSnippetId, openContent, openHeader, pad, padme, requireStated, sealContent, split, unpad } from "./client/snippet.mjs";
import { open, parse, parsePrekey, sign, signText, verify } from "./client/statements.mjs";
import { devicesOf, TeamLog } from "./client/teamlog.mjs";
import { loginOf, nameCommitment, newOpening, openPrekey, UserLog, Window } from "./client/userlog.mjs";

const refuses = (code, action) => assert.rejects(async () => action(), { name: "Refused", code });

const NOW = 1_800_000_000;
const HASH = b64u.encode(new Uint8Array(32));
const USERS = [1, 2, 3].map((byte) => b64u.encode(new Uint8Array(32).fill(byte)));
const POLICY = { max_epoch_age: 3600, joining: "invitation" };
const CONFIRMATION = { ...POLICY, joining: "confirmation" };
const DAY = 24 * 3600;

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
      statement: [2],
      "snippet content": [10, limits.SNIPPET_CONTENT_BYTES, limits.SNIPPET_CIPHERTEXT_BYTES - limits.SNIPPET_CONTENT_BYTES],
      "sealed header": [limits.HEADER_BYTES, limits.PROFILE_BYTES],
      "envelopes of a snippet": [limits.ENVELOPES_PER_SNIPPET, limits.ENVELOPES_BYTES],
      "JSON body": [limits.JSON_BODY_BYTES / 2 ** 20],
      "entries of a user log": [limits.USER_LOG_ENTRIES, limits.USER_LOG_RESERVED],
      "active devices of a user / of a team's members together": [limits.DEVICES_PER_USER, limits.DEVICES_PER_TEAM],
      "members of a team, pending ones included / users who ever were": [limits.MEMBERS, limits.MEMBERS_EVER],
      pending: [limits.PENDING_SECONDS / DAY],
      "erasure of a former user": [limits.ERASURE_SECONDS / DAY],
      "entries in a commit": [limits.ENTRIES_PER_COMMIT],
      "open invitations of a team / uses of one": [limits.OPEN_INVITES, 100],
      page: [limits.PAGE, limits.PAGE_BYTES / 2 ** 20],
      "clock difference of statements and receipts / of proofs": [limits.CLOCK_SKEW, limits.PROOF_SKEW],
      proof: [limits.PROOF_BYTES, limits.PROOF_ID_BYTES],
      handshake: [limits.HANDSHAKE_SECONDS, limits.WRONG_VERIFIERS],
      "access token / session with its refresh tokens": [limits.ACCESS_SECONDS / 3600, limits.SESSION_SECONDS / DAY],
    };
    const stated = rowsOf("12 Limits").slice(1).map(([what, limit]) => [what, numbersIn(limit)]);
    assert.deepEqual(Object.fromEntries(stated), kept);
  });

  it("has the limits of statements that this client keeps", () => {
    const stated = rowsOf("2 Statements").slice(1).map(([typ, , bytes]) => [typ.replaceAll("`", ""), numbersIn(bytes)[0]]);
    assert.deepEqual(Object.fromEntries(stated), limits.STATEMENT_LIMITS);
  });

  const numbersIn = (text) => text.match(/\d[\d,]*/g).map((number) => Number(number.replaceAll(",", "")));
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

describe("base32", () => {
  it("is that of RFC 4648, in lower case and without padding", () => {
    // RFC 4648 section 10.
    const vectors = [["", ""], ["f", "my"], ["fo", "mzxq"], ["foo", "mzxw6"], ["foob", "mzxw6yq"], ["fooba", "mzxw6ytb"], ["foobar", "mzxw6ytboi"]];
    for (const [text, encoded] of vectors) {
      assert.equal(base32.encode(utf8(text)), encoded);
      assert.equal(fromUtf8(base32.decode(encoded)), text);
    }
  });

  for (const text of ["m", "mz1", "MY", "my======", "mz", "mzx"]) {
    it(`refuses ${text}`, () => refuses("invalid-request", () => base32.decode(text)));
  }
});

describe("ids and lines", () => {
  it("are ordered by their text, not by the bytes that they stand for", () => {
    assert.deepEqual(ascending(["b", "_", "A", "-", "a", "0"]), ["-", "0", "A", "_", "a", "b"]);
  });
});

describe("names", () => {
  for (const text of ["ada's laptop", "Käse & Brot", "笔记本", "x", "e".repeat(64), "ноутбук 2"]) {
    it(`may be ${text.slice(0, 20)}`, () => name(64)(text, "name"));
  }
  for (const [what, text] of [
    ["nothing", ""], ["more characters than allowed", "e".repeat(65)], ["a space at the beginning", " x"], ["a space at the end", "x "],
    ["two spaces in a row", "a  b"], ["a line feed", "a\nb"], ["a zero-width joiner", "a\u200db"], ["a right-to-left override", "a\u202eb"],
    ["a soft hyphen", "a\u00adb"], ["a no-break space", "a\u00a0b"], ["a picture", "\u{1f600}"], ["five combining marks in a row", `a${"\u0301".repeat(5)}`],
    ["a Hangul filler", "\u3164"], ["a full-width letter", "\uff21"],
  ]) {
    it(`may not have ${what}`, () => refuses("invalid-request", () => name(64)(text, "name")));
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
    "{", "", "nul", "'a'", '"\n"', '"\\x"', '"\\ud800"', "\ufeff{}", "[".repeat(100_000), "NaN", "/**/1",
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => refuses("invalid-request", () => parseJson(text)));
  }

  it("refuses bytes that are not UTF-8", () => refuses("invalid-request", () => fromUtf8(new Uint8Array([0x22, 0xff, 0x22]))));

  it("refuses unknown and missing members", async () => {
    await refuses("invalid-request", () => parseAs(object({}), '{"__proto__":1}', "empty"));
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
    assert.deepEqual([envelope.suite, b64u.decode(envelope.enc).length, b64u.decode(envelope.ct).length], [ENVELOPE_SUITE, 65, 48]);
  });

  it("open for no other purpose, sender, recipient or key", async () => {
    const { prekey, purpose, envelope } = await setUp();
    await refuses("invalid-request", () => openEnvelope(envelope, teamKeyPurpose(HASH, 2, HASH), prekey));
    await refuses("invalid-request", () => openEnvelope(envelope, contentKeyPurpose(HASH, 1, HASH), prekey));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, device: "x" }, purpose, prekey));
    const other = await makeKeyPair("ECDH");
    await refuses("invalid-request", () => openEnvelope(envelope, purpose, other));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, prekey: other.id }, purpose, other));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, suite: "X-WING" }, purpose, prekey));
    await refuses("invalid-request", () => openEnvelope({ ...envelope, ct: `${envelope.ct}AAAA` }, purpose, prekey));
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
    assert.deepEqual([...container.subarray(0, 13)], [0, 0, 0, 5, 97, 46, 98, 46, 99, 0, 0, 0, 0]);
    assert.deepEqual(split(container), { statement: "a.b.c", envelopes: [], ciphertext: new Uint8Array([1, 2, 3]) });
    for (const length of [3, 7, 9, 12]) await refuses("invalid-request", () => split(container.subarray(0, length)));
    await refuses("too-large", () => split(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0])));
    await refuses("too-large", () => split(new Uint8Array([0, 0, 0, 0, 0, 4, 0, 1])));
  });

  it("has its envelopes beside the statement, of whatever suites", async () => {
    const envelope = { device: HASH, prekey: HASH, suite: "X-WING", enc: "AAAA", ct: "" };
    assert.deepEqual(split(join("a", new Uint8Array([7]), [envelope])), { statement: "a", envelopes: [envelope], ciphertext: new Uint8Array([7]) });
    await refuses("invalid-request", () => split(join("a", new Uint8Array(), [{ ...envelope, more: 1 }])));
    await refuses("invalid-request", () => split(join("a", new Uint8Array(), Array(501).fill(envelope))));
  });

  it("opens with its content key", async () => {
    const { key, content, ciphertext, statement } = await sealed();
    const opened = await openContent(key, statement, ciphertext);
    assert.deepEqual(opened.content, content);
    assert.deepEqual(await openHeader(key, statement), { kind: "code", size: content.length, title: "t" });
  });

  /** What is read of a snippet whose header is this text, for content of one byte. */
  const readHeader = async (text) => {
    const key = makeSecretKey();
    const { members } = await sealContent(key, HASH, id, { kind: "code", size: 1 }, utf8("x"));
    const plaintext = utf8(text.padEnd(256));
    const header = await sealBox(key, plaintext, `osmynt/v1/snippet\nheader\n${HASH}\n${id}`);
    return openHeader(key, { team: HASH, snippet: id, ...members, header });
  };

  it("is read without the members of its header that nobody knows, and without lines that make no sense", async () => {
    const { title, size } = await readHeader('{"kind":"code","size":1,"title":"t","more":{"a":[-1.5e3,1]},"__proto__":1}');
    assert.deepEqual([title, size], ["t", 1]);
    assert.deepEqual((await readHeader('{"kind":"code","size":1,"lines":{"from":2,"to":3,"more":1}}')).lines.to, 3);
    for (const lines of ['{"from":3,"to":2}', '{"from":3}', "null", "7", '{"from":1.5,"to":2}']) {
      assert.deepEqual(await readHeader(`{"kind":"code","size":1,"lines":${lines}}`), { kind: "code", size: 1 });
    }
  });

  it("is refused with a header that lies about its size, or is none", async () => {
    const wrong = [
      '{"kind":"code","size":257}', '{"kind":"code","size":1.0}', '{"kind":"code"}', '{"kind":"page","size":1}', "[]", '{"kind":"code","size":1,"size":1}',
      '{"kind":"code","size":1,"base":{"from":1,"to":1}}', '{"kind":"code","size":1,"base":{"blob":"b","from":1}}', '{"kind":"code","size":1,"title":7}',
    ];
    for (const text of wrong) await refuses("invalid-request", () => readHeader(text));
  });

  it("does not open with another key, changed bytes, or under another id", async () => {
    const { key, ciphertext, statement } = await sealed();
    await refuses("invalid-request", () => openContent(makeSecretKey(), statement, ciphertext));
    await refuses("invalid-request", () => openContent(key, statement, ciphertext.with(0, ciphertext[0] ^ 1)));
    await refuses("invalid-request", () => openContent(key, statement, ciphertext.subarray(1)));
    await refuses("invalid-request", () => openContent(key, { ...statement, snippet: newSnippetId(0) }, ciphertext));
    await refuses("invalid-request", () => requireStated({ ...statement, sha256: HASH }, ciphertext));
    await refuses("invalid-request", () => requireStated({ ...statement, length: ciphertext.length + 1 }, ciphertext));
    await refuses("too-large", () => requireStated({ ...statement, length: 2 ** 30 }, { length: limits.SNIPPET_CIPHERTEXT_BYTES + 1 }));
  });
});

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

// --- logs, written by hand so that each rule can be broken ---

class Person {
  static async make({ received = NOW } = {}) {
    const person = new Person();
    person.device = await makeKeyPair("ECDSA");
    person.entries = [];
    await person.append({ type: "device.added", device: await person.describe(person.device, null) }, person.device, { received, iat: received, user: null });
    person.user = (await parse("osmynt-user+jws", person.entries[0].jws)).hash;
    return person;
  }
  describe = async (device, user = this.user) => sign("osmynt-device+jws", { user, jwk: device.jwk, iat: NOW }, device);
  add = async (device, by = this.device, changes) => this.append({ type: "device.added", device: await this.describe(device) }, by, changes);
  revoke = (device, by = this.device, changes) => this.append({ type: "device.revoked", device: device.id }, by, changes);
  sign = async (opening, by = this.device) => this.append({ type: "name.signed", commitment: await nameCommitment(this.user, opening) }, by);
  async append(event, by, { received = NOW, window, ...changes } = {}) {
    const log = this.entries.length === 0 ? new UserLog() : await this.log();
    const entry = { user: this.user, seq: this.entries.length, prev: log.head?.hash ?? null, iat: received, event, ...changes };
    const signed = { jws: await sign("osmynt-user+jws", entry, by), received_at: received };
    await log.append(signed.jws, received, window);
    this.entries.push(signed);
  }
  log = (window) => UserLog.read(this.user, this.entries, window);
}

describe("a user's log", () => {
  it("is the user: its id is the hash of its first entry", async () => {
    const person = await Person.make();
    assert.equal((await person.log()).user, person.user);
    assert.deepEqual((await person.log()).head, { seq: 0, hash: person.user });
    await refuses("invalid-request", () => UserLog.read(USERS[0], person.entries));
    const other = await Person.make();
    assert.notEqual(other.user, person.user);
    await refuses("invalid-request", () => UserLog.read(person.user, other.entries));
  });

  it("adds and revokes devices", async () => {
    const person = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await person.add(second);
    await person.revoke(person.device, second);
    const log = await person.log();
    assert.deepEqual(log.active().map(({ id }) => id), [second.id]);
    assert.deepEqual([0, 1, 2].map((seq) => log.devicesAt(seq).length), [1, 2, 1]);
  });

  it("is refused when an entry breaks a rule", async () => {
    const person = await Person.make();
    const [second, stranger] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    await refuses("forbidden", () => person.add(second, stranger));
    await refuses("forbidden", () => person.add(second, second));
    await refuses("conflict", () => person.revoke(person.device));
    await refuses("forbidden", () => person.revoke(second));
    await refuses("stale-log", () => person.add(second, person.device, { prev: HASH }));
    await refuses("stale-log", () => person.add(second, person.device, { seq: 2 }));
    await refuses("clock-skew", () => person.add(second, person.device, { iat: NOW + 301 }));
    await refuses("clock-skew", () => person.add(second, person.device, { received: NOW - 1 }));
    await refuses("invalid-request", () => person.add(second, person.device, { user: USERS[1] }));
    for (const user of [USERS[1], null]) {
      await refuses("invalid-request", async () => person.append({ type: "device.added", device: await person.describe(second, user) }, person.device));
    }
    await person.add(second);
    await person.revoke(second);
    await refuses("conflict", () => person.add(second));
    await refuses("forbidden", () => person.add(stranger, second));
    await refuses("forbidden", () => person.sign(newOpening({ github_id: 1, login: "ada" }), second));
    for (let count = 1; count < 20; count += 1) await person.add(await makeKeyPair("ECDSA"));
    await refuses("too-large", () => person.add(stranger));
  });

  it("begins with a device that adds itself, and with nothing else", async () => {
    const [device, other] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    const described = (user, of = device) => sign("osmynt-device+jws", { user, jwk: of.jwk, iat: NOW }, of);
    const begin = async (event, { by = device, ...changes } = {}) =>
      new UserLog().append(await sign("osmynt-user+jws", { user: null, seq: 0, prev: null, iat: NOW, event, ...changes }, by), NOW);
    await refuses("invalid-request", async () => begin({ type: "device.added", device: await described(USERS[0]) }));
    await refuses("invalid-request", async () => begin({ type: "device.added", device: await described(null) }, { user: USERS[0] }));
    await refuses("forbidden", async () => begin({ type: "device.added", device: await described(null) }, { by: other }));
    await refuses("invalid-request", () => begin({ type: "name.signed", commitment: HASH }));
    await refuses("invalid-request", () => begin({ type: "device.revoked", device: device.id }));
    await begin({ type: "device.added", device: await described(null) });
  });

  it("has at most 256 entries, of which the last 20 are revocations", async () => {
    const person = await Person.make();
    const log = await person.log();
    // Signing 256 times takes a moment; verifying each from the beginning again would take longer.
    const append = async (event) => {
      const entry = { user: person.user, seq: log.entries.length, prev: log.head.hash, iat: NOW, event };
      await log.append(await sign("osmynt-user+jws", entry, person.device), NOW);
    };
    const added = async (device) => ({ type: "device.added", device: await person.describe(device) });
    const named = { type: "name.signed", commitment: HASH };
    const devices = await Promise.all(Array.from({ length: 19 }, () => makeKeyPair("ECDSA")));
    for (const device of devices) await append(await added(device));
    while (log.entries.length < 236) await append(named);
    await refuses("too-large", () => append(named));
    await refuses("too-large", async () => append(await added(await makeKeyPair("ECDSA"))));
    for (const device of devices) await append({ type: "device.revoked", device: device.id });
    assert.equal(log.active().length, 1);
  });

  it("opens to the name that was signed last, and to no other", async () => {
    const person = await Person.make();
    const [first, second] = ["ada", "ada-lovelace"].map((login) => newOpening({ github_id: 7, login }));
    assert.equal(await loginOf(await person.log(), first), null);
    await person.sign(first);
    assert.equal(await loginOf(await person.log(), first), "ada");
    await person.sign(second);
    const log = await person.log();
    assert.equal(await loginOf(log, second), "ada-lovelace");
    for (const wrong of [first, null, { ...second, login: "eve" }, { ...second, id: 8 }, { ...second, salt: HASH }]) {
      assert.equal(await loginOf(log, wrong), null);
    }
    assert.equal(log.commitment, await hashOf(utf8(`osmynt/v1/name\n${person.user}\ngithub\n7\nada-lovelace\n${second.salt}`)));
  });

  it("gives the prekeys of active devices, and leaves out those of unknown kinds", async () => {
    const person = await Person.make();
    const [second, { jwk: key }] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDH")];
    const prekey = (by, changes) => sign("osmynt-prekey+jws", { user: person.user, kind: "signed", key, iat: NOW, ...changes }, by);
    const log = await person.log();
    assert.deepEqual(await openPrekey(await prekey(person.device), log), { device: person.device.id, jwk: key });
    await refuses("forbidden", async () => openPrekey(await prekey(second), log));
    await refuses("invalid-request", async () => openPrekey(await prekey(person.device, { user: USERS[0] }), log));
    const header = JSON.stringify({ alg: "ES256", typ: "osmynt-prekey+jws", kid: second.id });
    const strange = (payload) => signText(header, JSON.stringify(payload), second.privateKey);
    assert.equal(await openPrekey(await strange({ kind: "one-time", hybrid: "x".repeat(5_000), level: -1.5 }), log), null);
    await refuses("too-large", async () => openPrekey(await strange({ kind: "one-time", hybrid: "x".repeat(6_000) }), log));
    for (const payload of [{ kind: 7 }, {}, "signed", { kind: "signed" }]) await refuses("invalid-request", async () => parsePrekey(await strange(payload)));
  });
});

describe("receipt times", () => {
  it("are believed when they are near the client's clock, and for new entries not from before the last reading", async () => {
    const person = await Person.make();
    const read = (now, pin) => person.log(new Window(now, pin));
    await read(NOW - 300);
    await refuses("clock-skew", () => read(NOW - 301));
    await person.add(await makeKeyPair("ECDSA"), person.device, { received: NOW + 1000 });
    // What is new was received at NOW + 1000.
    await read(NOW + 5000, { seq: 0, readAt: NOW + 1300 });
    await refuses("clock-skew", () => read(NOW + 5000, { seq: 0, readAt: NOW + 1301 }));
    await read(NOW + 5000, { seq: 1, readAt: NOW + 4000 });
  });

  it("of a team's log are held against the same", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION }, { received: NOW + 1000 });
    const read = async (now, pin) => TeamLog.read(team.entries, await team.directory(), new Window(now, pin));
    await read(NOW + 700);
    await refuses("clock-skew", () => read(NOW + 699));
    await read(NOW + 5000, { seq: 1, readAt: NOW + 1300 });
    await refuses("clock-skew", () => read(NOW + 5000, { seq: 1, readAt: NOW + 1301 }));
  });
});

/** A team log written by several people. */
class Team {
  static async make(founder, policy = POLICY) {
    const team = new Team();
    team.people = [founder];
    team.log = new TeamLog();
    team.entries = [];
    await team.append(founder, { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy });
    await team.rotate(founder);
    return team;
  }
  async directory() {
    const logs = await Promise.all(this.people.map(async (person) => [person.user, await person.log()]));
    return new Map([...logs, ...(this.crowds ?? [])]);
  }
  async append(person, event, { received = this.now ?? NOW, by = person.device, ...changes } = {}) {
    const { log } = this;
    const entry = { team: log.team, seq: log.past.length, prev: log.head?.hash ?? null, iat: received, user: person.user, event, ...changes };
    const draft = log.draft();
    const jws = await sign("osmynt-team+jws", entry, by);
    await draft.append(jws, received, await this.directory());
    this.log = draft;
    this.entries.push({ jws, received_at: received });
  }
  /** A rotation to what the directory says, or to `heads` as `[{ user, seq, hash }]`; `changes` are members of the event. */
  async rotate(person, { by, received, heads, directory, ...changes } = {}) {
    const { seqs, heads: hash, roster } = await this.log.rotationFor(directory ?? (await this.directory()));
    const epoch = (this.log.epoch?.number ?? 0) + 1;
    const named = heads === undefined ? { seqs, heads: hash } : { seqs: heads.map(({ seq }) => seq), heads: await headSetHash(heads) };
    const profile = await sealProfile(makeSecretKey(), this.log.team, epoch, { name: "x" });
    const commitment = await teamKeyCommitment(makeSecretKey(), this.log.team, epoch);
    const event = { type: "key.rotated", epoch, ...named, devices: await deviceSetHash(devicesOf(roster)), envelopes: HASH, commitment, profile, ...changes };
    await this.append(person, event, { by, ...(received !== undefined && { received }) });
  }
  async invite(by, { role = "member", uses = 1, exp = (this.now ?? NOW) + 3600, ...more } = {}) {
    const key = await makeKeyPair("ECDSA");
    await this.append(by, { type: "invite.created", key: key.jwk, role, uses, exp, ...more });
    return key;
  }
  async join(person, invitation, { proof: changes, ...more } = {}) {
    if (!this.people.includes(person)) this.people.push(person);
    const proven = { team: this.log.team, invite: invitation.id, user: person.user, iat: more.received ?? this.now ?? NOW, ...changes };
    const proof = await sign("osmynt-invite+jws", proven, more.signer ?? invitation);
    await this.append(person, { type: "member.joined", invite: invitation.id, proof }, more.received === undefined ? {} : { received: more.received });
  }
  async joinAs(role, person, options) {
    await this.join(person, await this.invite(this.people[0], { role, ...options }));
    await this.rotate(person);
  }
  async remove(by, person) {
    await this.append(by, { type: "member.removed", user: person.user });
    await this.rotate(by);
  }
}

const people = (options) => Promise.all(USERS.map(() => Person.make(options)));
/** A team of an owner, an admin and a member. */
async function makeTeam() {
  const [owner, admin, member] = await people();
  const team = await Team.make(owner);
  await team.joinAs("admin", admin);
  await team.joinAs("member", member);
  return { team, owner, admin, member };
}

describe("a team's log", () => {
  it("leads to the roster and the epoch", async () => {
    const { team, admin, member } = await makeTeam();
    assert.deepEqual([...team.log.roster.values()].map(({ role }) => role), ["owner", "admin", "member"]);
    assert.equal(team.log.epoch.number, 3);
    await team.remove(admin, member);
    assert.equal(team.log.roster.has(member.user), false);
    assert.equal(team.log.everyone.has(member.user), true);
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    await team.append(admin, { type: "member.left" });
    assert.equal(team.log.isStale(await team.directory(), NOW), true);
    const again = await TeamLog.read(team.entries, await team.directory());
    assert.deepEqual([again.head, again.roster, again.invites], [team.log.head, team.log.roster, team.log.invites]);
  });

  it("allows each role its events and no others", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const [stranger, waiting] = [await Person.make(), await Person.make()];
    team.people.push(stranger);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
    await team.join(waiting, await team.invite(owner, { role: "owner" }));
    const before = team.log;
    const invite = async (role, more) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role, uses: 1, exp: NOW + 1, ...more });
    const box = await sealBox(makeSecretKey(), utf8("x"), "");
    const [OK, NO, SELF] = [null, "forbidden", "invalid-request"];
    const events = [
      // event, then the answer to owner, admin and member
      [await invite("member"), [OK, OK, NO]],
      [await invite("admin"), [OK, OK, NO]],
      [await invite("owner"), [OK, NO, NO]],
      [await invite("member", { user: stranger.user }), [OK, OK, NO]],
      [await invite("member", { user: stranger.user, uses: 2 }), ["invalid-request", "invalid-request", NO]],
      [{ type: "member.removed", user: member.user }, [OK, OK, NO]],
      [{ type: "member.removed", user: admin.user }, [OK, SELF, NO]],
      [{ type: "member.removed", user: owner.user }, [SELF, NO, NO]],
      [{ type: "member.removed", user: waiting.user }, [OK, OK, NO]],
      [{ type: "member.confirmed", user: waiting.user }, [OK, NO, NO]],
      [{ type: "member.confirmed", user: stranger.user }, ["not-found", "not-found", NO]],
      [{ type: "member.left" }, ["conflict", OK, OK]],
      [{ type: "role.changed", user: member.user, role: "admin" }, [OK, NO, NO]],
      [{ type: "role.changed", user: owner.user, role: "admin" }, ["conflict", NO, NO]],
      [{ type: "policy.changed", policy: POLICY }, [OK, NO, NO]],
      [{ type: "profile.changed", epoch: 3, profile: box }, [OK, OK, NO]],
      [{ type: "profile.changed", epoch: 2, profile: box }, ["stale-log", "stale-log", NO]],
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
    const { team, owner, admin, member } = await makeTeam();
    await team.append(admin, { type: "member.removed", user: member.user });
    await refuses("forbidden", () => team.append(owner, { type: "policy.changed", policy: CONFIRMATION }));
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
    await refuses("clock-skew", () => team.join(joiner, invitation, { proof: { iat: NOW - 301 } }));
    await team.join(joiner, invitation);
    await team.rotate(joiner);
    await refuses("gone", () => team.join(other, invitation));
    const twice = await team.invite(owner, { uses: 2 });
    await refuses("conflict", () => team.join(joiner, twice));
    await team.append(owner, { type: "invite.revoked", invite: twice.id });
    await refuses("gone", () => team.join(other, twice));
    await refuses("gone", () => team.append(owner, { type: "invite.revoked", invite: twice.id }));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW + 31 * DAY }));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW }));
    const named = await team.invite(owner, { user: other.user });
    await refuses("forbidden", async () => team.join(await Person.make(), named));
    await team.join(other, named);
  });

  it("ends an invitation at the very second of its exp", async () => {
    const [owner, early, late] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner, { uses: 2, exp: NOW + 60 });
    await team.join(early, invitation, { received: NOW + 59 });
    team.now = NOW + 59;
    await team.rotate(early);
    await refuses("gone", () => team.join(late, invitation, { received: NOW + 60 }));
  });

  it("has at most 100 open invitations, each with a key of its own", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const key = await team.invite(owner);
    await refuses("conflict", () => team.append(owner, { type: "invite.created", key: key.jwk, role: "member", uses: 1, exp: NOW + 60 }));
    for (let count = 1; count < 100; count += 1) await team.invite(owner);
    await refuses("too-large", () => team.invite(owner));
    await team.append(owner, { type: "invite.revoked", invite: key.id });
    await team.append(owner, { type: "invite.created", key: key.jwk, role: "member", uses: 1, exp: NOW + 60 });
  });

  it("is refused when a rotation breaks a rule", async () => {
    const [owner, joiner] = await people();
    const team = await Team.make(owner);
    await refuses("stale-log", () => team.rotate(owner, { epoch: 3 }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { devices: HASH }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { heads: [{ user: owner.user, seq: 0, hash: HASH }] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [0, 0] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [1] }));
    const older = await team.directory();
    await owner.add(await makeKeyPair("ECDSA"));
    await team.rotate(owner);
    await refuses("coverage-mismatch", () => team.rotate(owner, { directory: older }));
    await team.join(joiner, await team.invite(owner));
    await refuses("coverage-mismatch", async () => team.rotate(joiner, { heads: [{ user: owner.user, ...(await owner.log()).head }] }));
    await team.rotate(joiner);
  });

  it("takes no rotation by a device that it leaves out", async () => {
    const owner = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    const team = await Team.make(owner);
    await owner.revoke(second);
    await refuses("coverage-mismatch", () => team.rotate(owner, { by: second }));
    await team.rotate(owner);
  });

  it("has at most 1,000 members and pending, 10,000 who ever were, and 1,000 devices", async () => {
    const [owner, joiner] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner);
    const before = team.log;
    for (const [fill, code] of [
      [({ pending }, id) => pending.set(id, { user: id, at: NOW }), 1_000],
      [({ everyone }, id) => everyone.add(id), 10_000],
    ]) {
      for (const [fits, count] of [[true, code - 1], [false, code]]) {
        const log = before.draft();
        for (let number = 1; number < count; number += 1) fill(log, `somebody ${number}`);
        team.log = log;
        if (fits) await team.join(joiner, invitation);
        else await refuses("too-large", () => team.join(joiner, invitation));
      }
    }

    /** A user of 20 devices, as far as a rotation looks at them. */
    const crowd = (user) => ({
      head: { seq: 0, hash: HASH },
      entries: [{ hash: HASH, receivedAt: NOW }],
      devicesAt: () => Array.from({ length: 20 }, (_, index) => `${user} ${index}`),
    });
    for (const [count, code] of [[49, null], [50, "too-large"]]) {
      const log = before.draft();
      const others = Array.from({ length: count }, (_, number) => `crowd ${number}`);
      for (const user of others) log.roster.set(user, { user, role: "member", invite: null, named: null, devices: [] });
      team.log = log;
      team.crowds = new Map(others.map((user) => [user, crowd(user)]));
      if (code === null) await team.rotate(owner);
      else await refuses(code, () => team.rotate(owner));
    }
  });

  it("begins with its creation, which comes only once", async () => {
    const owner = await Person.make();
    const created = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: POLICY };
    const team = await Team.make(owner);
    await refuses("invalid-request", () => team.append(owner, created));
    team.log = new TeamLog();
    await refuses("invalid-request", () => team.append(owner, { type: "policy.changed", policy: POLICY }));
    await refuses("invalid-request", () => team.append(owner, created, { team: HASH }));
  });

  it("tells what was at a head that it has, and of no other", async () => {
    const { team, owner, admin } = await makeTeam();
    const { roster, epoch } = team.log.at({ seq: 1, hash: team.log.past[1].hash });
    assert.deepEqual([[...roster.keys()], epoch.number], [[owner.user], 1]);
    assert.ok(!roster.has(admin.user));
    for (const head of [{ seq: 1, hash: HASH }, { seq: 99, hash: HASH }]) assert.throws(() => team.log.at(head), { code: "stale-log" });
  });

  it("takes no head that was followed by another long before the rotation", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const directory = await team.directory();
    await owner.add(await makeKeyPair("ECDSA"));
    await team.rotate(owner, { received: NOW + 300, directory });
    await refuses("coverage-mismatch", () => team.rotate(owner, { received: NOW + 301, directory }));
    await team.rotate(owner, { received: NOW + 301 });
  });

  it("takes no rotation that would seal to one device for two members", async () => {
    const [owner, joiner] = await people();
    const shared = await makeKeyPair("ECDSA");
    for (const person of [owner, joiner]) await person.add(shared);
    const team = await Team.make(owner);
    await team.join(joiner, await team.invite(owner));
    await refuses("conflict", () => team.rotate(joiner));
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
    assert.deepEqual(ascending(team.log.roster.get(owner.user).devices), ascending([owner.device.id, second.id]));
  });

  it("is refused when an entry is out of place or time", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const event = { type: "policy.changed", policy: CONFIRMATION };
    await refuses("stale-log", () => team.append(owner, event, { seq: 5 }));
    await refuses("stale-log", () => team.append(owner, event, { prev: HASH }));
    await refuses("invalid-request", () => team.append(owner, event, { team: HASH }));
    await refuses("clock-skew", () => team.append(owner, event, { iat: NOW - 301 }));
    await refuses("clock-skew", () => team.append(owner, event, { received: NOW - 1 }));
  });
});

describe("the device of an author", () => {
  const event = { type: "policy.changed", policy: CONFIRMATION };

  it("speaks from 300 seconds before it was added", async () => {
    const owner = await Person.make();
    const team = await Team.make(owner);
    const second = await makeKeyPair("ECDSA");
    await owner.add(second, owner.device, { received: NOW + 1000 });
    await refuses("forbidden", () => team.append(owner, event, { by: second, received: NOW + 699 }));
    await team.append(owner, event, { by: second, received: NOW + 700 });
  });

  it("speaks until 300 seconds after it was revoked, unless a rotation has taken notice", async () => {
    const owner = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    const team = await Team.make(owner);
    await owner.revoke(second, owner.device, { received: NOW + 10 });
    await refuses("forbidden", () => team.append(owner, event, { by: second, received: NOW + 311 }));
    await team.append(owner, event, { by: second, received: NOW + 310 });
    const rotated = await Team.make(owner);
    await refuses("forbidden", () => rotated.append(owner, event, { by: second, received: NOW + 20 }));
  });

  it("does not speak for whoever comes back, if a rotation named its revocation when they were in the team before", async () => {
    const [owner, member] = await people();
    const lost = await makeKeyPair("ECDSA");
    await member.add(lost);
    const team = await Team.make(owner);
    await team.joinAs("member", member);
    const older = await team.directory();
    await member.revoke(lost);
    await team.rotate(owner);
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    const invitation = await team.invite(owner);
    const proven = { team: team.log.team, invite: invitation.id, user: member.user, iat: NOW };
    const proof = await sign("osmynt-invite+jws", proven, invitation);
    await refuses("forbidden", () => team.append(member, { type: "member.joined", invite: invitation.id, proof }, { by: lost }));
    await team.join(member, invitation);
    await refuses("coverage-mismatch", () => team.rotate(member, { directory: older }));
    await team.rotate(member);
  });

  it("of another user does not speak, nor does one of nobody", async () => {
    const [owner, other] = await people();
    const team = await Team.make(owner);
    team.people.push(other);
    await refuses("forbidden", () => team.append(owner, event, { by: other.device }));
    await refuses("forbidden", async () => team.append(owner, event, { by: await makeKeyPair("ECDSA") }));
  });
});

describe("whoever must be confirmed", () => {
  /** Somebody who is pending, in a team of an owner and an admin. */
  async function setUp() {
    const [owner, admin, joiner] = await people();
    const team = await Team.make(owner);
    await team.joinAs("admin", admin);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
    const invitation = await team.invite(admin, { uses: 3 });
    await team.join(joiner, invitation);
    return { team, owner, admin, joiner, invitation };
  }

  it("is no member until an admin confirms them, with a rotation", async () => {
    const { team, admin, joiner, invitation } = await setUp();
    team.log.requireSettled();
    assert.deepEqual([team.log.roster.has(joiner.user), team.log.pending.has(joiner.user)], [false, true]);
    await refuses("forbidden", () => team.rotate(joiner));
    await refuses("conflict", () => team.join(joiner, invitation));
    await team.append(admin, { type: "member.confirmed", user: joiner.user });
    await refuses("rotation-required", () => team.log.requireSettled());
    await team.rotate(admin);
    assert.equal(team.log.roster.get(joiner.user).role, "member");
    assert.equal(team.log.pending.size, 0);
    await refuses("not-found", () => team.append(admin, { type: "member.confirmed", user: joiner.user }));
  });

  it("may withdraw, without a rotation", async () => {
    const { team, joiner, invitation } = await setUp();
    await team.append(joiner, { type: "member.left" });
    team.log.requireSettled();
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    await refuses("forbidden", () => team.append(joiner, { type: "member.left" }));
    await team.join(joiner, invitation);
  });

  it("may be refused, which closes the invitation that they came by and bars them", async () => {
    const { team, owner, admin, joiner, invitation } = await setUp();
    await team.append(admin, { type: "member.removed", user: joiner.user });
    team.log.requireSettled();
    assert.equal(team.log.isOpen(team.log.invites.get(invitation.id), NOW), false);
    await refuses("forbidden", async () => team.join(joiner, await team.invite(owner)));
    await team.join(joiner, await team.invite(owner, { user: joiner.user }));
  });

  it("waits no longer than 14 days", async () => {
    const { team, admin, joiner } = await setUp();
    const confirmed = { type: "member.confirmed", user: joiner.user };
    const before = team.log;
    await team.append(admin, confirmed, { received: NOW + 14 * DAY });
    team.log = before;
    await refuses("not-found", () => team.append(admin, confirmed, { received: NOW + 14 * DAY + 1 }));
    await refuses("forbidden", () => team.append(joiner, { type: "member.left" }, { received: NOW + 14 * DAY + 1 }));
  });
});

describe("what removal closes", () => {
  const isOpen = (team, { id }) => team.log.isOpen(team.log.invites.get(id), NOW);

  it("are the invitations that the person made, and the one that they came in by", async () => {
    const [owner, admin, other] = await people();
    const team = await Team.make(owner);
    const entrance = await team.invite(owner, { role: "admin", uses: 5 });
    await team.join(admin, entrance);
    await team.rotate(admin);
    const [theirs, owners] = [await team.invite(admin, { uses: 5 }), await team.invite(owner)];
    await team.join(other, theirs);
    await team.rotate(other);
    await team.remove(owner, admin);
    assert.deepEqual([entrance, theirs, owners].map((invite) => isOpen(team, invite)), [false, false, true]);
    await refuses("forbidden", () => team.join(admin, owners));
  });

  it("is closed by a demotion, too, and by a promotion not", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const theirs = await team.invite(admin);
    await team.append(owner, { type: "role.changed", user: admin.user, role: "owner" });
    assert.ok(isOpen(team, theirs));
    await team.append(owner, { type: "role.changed", user: admin.user, role: "member" });
    assert.ok(!isOpen(team, theirs));
    const later = await team.invite(owner, { uses: 2 });
    await team.append(admin, { type: "member.left" });
    await refuses("forbidden", () => team.join(admin, later));
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await team.join(member, later);
  });

  it("keeps out whoever was removed until an invitation names them that was made since", async () => {
    const { team, owner, member } = await makeTeam();
    const before = await team.invite(owner, { user: member.user });
    await team.remove(owner, member);
    await refuses("forbidden", () => team.join(member, before));
    await refuses("forbidden", async () => team.join(member, await team.invite(owner)));
    await team.joinAs("member", member, { user: member.user });
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await refuses("forbidden", async () => team.join(member, await team.invite(owner)));
  });

  it("is closed as well when somebody leaves, who may come back by what others made", async () => {
    const [owner, admin] = await people();
    const team = await Team.make(owner);
    const entrance = await team.invite(owner, { role: "admin", uses: 5 });
    await team.join(admin, entrance);
    await team.rotate(admin);
    const [theirs, owners] = [await team.invite(admin), await team.invite(owner, { uses: 2 })];
    await team.append(admin, { type: "member.left" });
    assert.deepEqual([entrance, theirs, owners].map((invite) => isOpen(team, invite)), [false, false, true]);
    await team.rotate(owner);
    await team.join(admin, owners);
  });

  it("ends the waiting of those who were invited by the person", async () => {
    const { team, owner, admin } = await makeTeam();
    const [first, second] = [await Person.make(), await Person.make()];
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
    await team.join(first, await team.invite(admin));
    await team.join(second, await team.invite(owner));
    await team.append(owner, { type: "role.changed", user: admin.user, role: "member" });
    assert.deepEqual([...team.log.pending.keys()], [second.user]);
    await refuses("not-found", () => team.append(owner, { type: "member.confirmed", user: first.user }));
  });

  it("can be barred to somebody who left, also once more", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const invitation = await team.invite(owner);
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await refuses("not-found", () => team.append(admin, { type: "member.removed", user: HASH }));
    await team.append(admin, { type: "member.removed", user: member.user });
    team.log.requireSettled();
    await refuses("forbidden", () => team.join(member, invitation));
    const theirs = await team.invite(owner, { user: member.user });
    await team.append(owner, { type: "member.removed", user: member.user });
    await refuses("forbidden", () => team.join(member, theirs));
    assert.ok(isOpen(team, invitation));
  });
});

describe("people's names", () => {
  const [a, b, c] = USERS;
  const client = () => new Client(null, () => NOW, null);
  const viewOf = (logins) => ({ log: { roster: new Map(Object.keys(logins).map((user) => [user, {}])), pending: new Map() }, logins: new Map(Object.entries(logins)) });
  const doubts = (client, logins) => [...client.people(viewOf(logins)).values()].map(({ login, doubt }) => [login, doubt]);

  it("are what they first were, until somebody accepts another", () => {
    const one = client();
    assert.deepEqual(doubts(one, { [a]: "ada" }), [["ada", null]]);
    assert.deepEqual(doubts(one, { [a]: "eve" }), [["eve", "changed"]]);
    assert.throws(() => one.userCalled(viewOf({ [a]: "eve" }), "eve"), { code: "forbidden" });
    one.acceptName(viewOf({ [a]: "eve" }), a);
    assert.deepEqual(doubts(one, { [a]: "eve" }), [["eve", null]]);
    assert.equal(one.userCalled(viewOf({ [a]: "eve" }), "eve"), a);
  });

  it("are in doubt when two have one, in any letter case, and when they do not open", () => {
    const one = client();
    assert.deepEqual(doubts(one, { [a]: "ada", [b]: "Ada", [c]: "grace" }), [["ada", "shared"], ["Ada", "shared"], ["grace", null]]);
    assert.deepEqual(doubts(one, { [a]: null, [c]: "grace" }), [["ada", "unopened"], ["grace", null]]);
    assert.deepEqual(doubts(client(), { [a]: null }), [[null, "unopened"]]);
    const other = client();
    assert.deepEqual(doubts(other, { [a]: "ada" }), [["ada", null]]);
    assert.deepEqual(doubts(other, { [b]: "ADA" }), [["ADA", "shared"]], "another was known by it before, in another team");
    assert.deepEqual(doubts(other, { [a]: "ada" }), [["ada", null]]);
    assert.throws(() => one.userCalled(viewOf({ [a]: "ada", [b]: "Ada" }), "ada"), { code: "forbidden" });
    assert.throws(() => one.userCalled(viewOf({ [a]: "ada" }), "linus"), { code: "not-found" });
  });
});
