// What is sealed and padded, and to whom it opens: envelopes, boxes and snippets in the independent
// client, without any service.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aeadOpen, b64u, fromUtf8, openBox, randomBytes, sealBox, utf8, uuid7 } from "./client/encodings.mjs";
import {
  contentKeyPurpose, ENVELOPE_SUITE, makeKeyPair, makeSecretKey, openEnvelope, openProfile, sealEnvelope, sealProfile,
  teamKeyPurpose,
} from "./client/keys.mjs";
import * as limits from "./client/limits.mjs";
import {
  join, newSnippetId, openContent, openHeader, pad, padme, requireStated, sealContent, split, unpad,
} from "./client/snippet.mjs";
import { HASH, NOW, refuses } from "./support/protocol.mjs";

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
    const nameless = await sealProfile(key, HASH, 3, { name: "" });
    await refuses("invalid-request", () => openProfile(key, HASH, 3, nameless));
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
