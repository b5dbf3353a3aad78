// How bytes, names and JSON are written: what the independent client reads, and what it refuses.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ascending, b64u, base32, fromUtf8, head, name, object, paddedJson, parseAs, parseJson, randomBytes, unpadJson, utf8,
} from "./client/encodings.mjs";
import { HASH, refuses } from "./support/protocol.mjs";

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
