// Section 1 of docs/protocol.md: encodings, strict JSON, hashes, labelled strings, HKDF and AEAD.
// Bytes are Uint8Array throughout; everything cryptographic is Web Crypto.

import { base64url, calculateJwkThumbprint } from "jose";

const { subtle } = globalThis.crypto;

/** What this client refuses, with the code that the service would answer (section 8). */
export class Refused extends Error {
  constructor(code, detail, options) {
    super(`${code}: ${detail}`, options);
    this.name = "Refused";
    this.code = code;
  }
}

/** Throws [`Refused`] with `code` unless `holds`. */
export function require(holds, code, detail) {
  if (!holds) throw new Refused(code, detail);
}

// --- bytes and text ---

export const utf8 = (text) => new TextEncoder().encode(text);

/** Text of UTF-8 bytes; ill-formed bytes are refused and a byte order mark is kept, to be refused by the JSON parser. */
export function fromUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Refused("invalid-request", "not UTF-8", { cause });
  }
}

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const randomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));

export const b64u = {
  encode: (bytes) => base64url.encode(bytes),

  /** Bytes of strict b64u, of exactly `length` bytes where one is given. */
  decode(text, length) {
    require(typeof text === "string" && /^[A-Za-z0-9_-]*$/.test(text) && text.length % 4 !== 1, "invalid-request", "not base64url");
    const bytes = new Uint8Array(base64url.decode(text));
    // Encoding again shows non-zero trailing bits.
    require(base64url.encode(bytes) === text, "invalid-request", "not canonical base64url");
    require(length === undefined || bytes.length === length, "invalid-request", `not ${length} bytes`);
    return bytes;
  },
};

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** RFC 4648 section 6, lower case, without padding. */
export const base32 = {
  encode(bytes) {
    const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
    return (bits.match(/.{1,5}/g) ?? []).map((group) => BASE32[parseInt(group.padEnd(5, "0"), 2)]).join("");
  },

  decode(text) {
    require(/^[a-z2-7]*$/.test(text), "invalid-request", "not base32");
    const bits = [...text].map((character) => BASE32.indexOf(character).toString(2).padStart(5, "0")).join("");
    const bytes = Uint8Array.from(bits.match(/.{8}/g) ?? [], (group) => parseInt(group, 2));
    // Encoding again shows left-over characters and bits.
    require(base32.encode(bytes) === text, "invalid-request", "not canonical base32");
    return bytes;
  },
};

// --- strict JSON ---

const MAX_DEPTH = 32;

/**
 * The value of a JSON text. Refused besides what RFC 8259 refuses: repeated members, numbers that are not integers from 0 to
 * 2^53 − 1 (NaN stands for them if `anyNumber` is set), strings that are not well-formed Unicode, and nesting that no format of ours has.
 */
export function parseJson(text, { anyNumber = false } = {}) {
  let at = 0;
  const fail = (what) => {
    throw new Refused("invalid-request", `JSON: ${what} at ${at}`);
  };
  const space = () => {
    while (" \t\n\r".includes(text[at] ?? "x")) at += 1;
  };
  const take = (character) => {
    space();
    if (text[at] !== character) return false;
    at += 1;
    return true;
  };
  const expect = (character) => take(character) || fail(`expected ${character}`);
  const match = (pattern) => {
    pattern.lastIndex = at;
    const [found] = pattern.exec(text) ?? fail("unexpected character");
    at += found.length;
    return found;
  };

  const string = () => {
    space();
    const value = JSON.parse(match(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y));
    return value.isWellFormed() ? value : fail("lone surrogate");
  };
  const object = (depth) => {
    const members = {};
    if (take("}")) return members;
    do {
      const name = string();
      if (Object.hasOwn(members, name)) fail(`repeated member ${name}`);
      expect(":");
      // Assigning `__proto__` would not make a member.
      Object.defineProperty(members, name, { value: value(depth), enumerable: true, writable: true, configurable: true });
    } while (take(","));
    expect("}");
    return members;
  };
  const array = (depth) => {
    const items = [];
    if (take("]")) return items;
    do items.push(value(depth));
    while (take(","));
    expect("]");
    return items;
  };
  const number = () => {
    if (anyNumber) {
      const digits = match(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
      return /^[0-9]+$/.test(digits) && Number.isSafeInteger(Number(digits)) ? Number(digits) : NaN;
    }
    const found = Number(match(/(?:0|[1-9][0-9]*)(?![0-9.eE])/y));
    return Number.isSafeInteger(found) ? found : fail("integer too large");
  };
  const value = (depth) => {
    if (depth > MAX_DEPTH) fail("nested too deeply");
    if (take("{")) return object(depth + 1);
    if (take("[")) return array(depth + 1);
    if (text[at] === '"') return string();
    if (/[0-9]/.test(text[at] ?? "") || (anyNumber && text[at] === "-")) return number();
    return { true: true, false: false, null: null }[match(/true|false|null/y)];
  };

  const result = value(0);
  space();
  return at === text.length ? result : fail("trailing data");
}

// --- shapes: each is a function that returns nothing or refuses ---

const check = (what, holds) => (value, path) =>
  require(holds(value), "invalid-request", `${path} is not ${what}`);

const matching = (what, pattern) => check(what, (value) => typeof value === "string" && pattern.test(value));
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export const integer = check("an integer", (value) => Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0));
export const string = check("a string", (value) => typeof value === "string");
export const boolean = check("a boolean", (value) => typeof value === "boolean");
export const uuid = matching("a UUID", UUID);
export const uuid7 = matching("a UUID of version 7", /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
export const literal = (...values) => check(values.join(" or "), (value) => values.includes(value));
export const between = (low, high) => check(`from ${low} to ${high}`, (value) => Number.isSafeInteger(value) && value >= low && value <= high);

/** b64u of exactly `length` bytes, or of at least `least` when that is given instead. */
export const bytes = (length, least = 0) => (value, path) => {
  try {
    require(b64u.decode(value, length).length >= least, "invalid-request", "too short");
  } catch (cause) {
    throw new Refused("invalid-request", `${path} is not base64url of ${length ?? `at least ${least}`} bytes`, { cause });
  }
};
export const hash = bytes(32);

export const nullable = (shape) => (value, path) => {
  if (value !== null) shape(value, path);
};

const OPTIONAL = Symbol("optional");
/** A member that may be absent or null. */
export const optional = (shape) => Object.assign((value, path) => nullable(shape)(value, path), { [OPTIONAL]: true });

/** An object with exactly these members. */
export const object = (members) => (value, path) => {
  openObject(members)(value, path);
  for (const name of Object.keys(value)) {
    require(Object.hasOwn(members, name), "invalid-request", `${path} has the unknown member ${name}`);
  }
};

/** An object with these members and any others. */
export const openObject = (members) => (value, path) => {
  require(typeof value === "object" && value !== null && !Array.isArray(value), "invalid-request", `${path} is not an object`);
  for (const [name, shape] of Object.entries(members)) {
    if (!Object.hasOwn(value, name)) require(shape[OPTIONAL], "invalid-request", `${path} lacks ${name}`);
    else shape(value[name], `${path}.${name}`);
  }
};

/** An object whose member `type` chooses its other members. */
export const variants = (types) => (value, path) => {
  const members = Object.hasOwn(types, value?.type) ? types[value.type] : undefined;
  require(members !== undefined, "invalid-request", `${path} has an unknown type`);
  object({ type: string, ...members })(value, path);
};

export const array = (item, { min = 0, max = Infinity } = {}) => (value, path) => {
  require(Array.isArray(value) && value.length >= min && value.length <= max, "invalid-request", `${path} is not an array of ${min} to ${max}`);
  value.forEach((element, index) => item(element, `${path}[${index}]`));
};

export const publicKey = object({ kty: literal("EC"), crv: literal("P-256"), x: bytes(32), y: bytes(32) });
export const head = object({ seq: integer, hash });
export const sealedBox = object({ nonce: bytes(12), ct: bytes(undefined, 16) });
/** An envelope of any suite. That its parts fit the suite shows when it is opened. */
export const envelope = object({ device: hash, prekey: hash, suite: string, enc: bytes(), ct: bytes() });

/**
 * A name that people choose, of at most `most` characters. JavaScript does not know which characters UTS 39 allows in
 * identifiers, only which ones identifiers may have at all and which look different when they are normalised: this takes a few
 * characters more than the page does.
 */
export const name = (most) => (value, path) => {
  string(value, path);
  const characters = [...value];
  require(characters.length >= 1 && characters.length <= most, "invalid-request", `${path} does not have 1 to ${most} characters`);
  const seemly = characters.every((each) => /^[\x20-\x7e]$/.test(each) || (/^[\p{XID_Continue}]$/u.test(each) && each.normalize("NFKC") === each));
  require(seemly && !/\p{Default_Ignorable_Code_Point}/u.test(value), "invalid-request", `${path} has characters that hide or imitate others`);
  require(value === value.trim() && !value.includes("  "), "invalid-request", `${path} has spaces at an end or in a row`);
  require(!/\p{M}{5}/u.test(value), "invalid-request", `${path} has more than four combining marks in a row`);
};
export const login = matching("a login", /^[A-Za-z0-9._-]{1,39}$/);

/** Ids or lines in the order of section 1: that of their ASCII text. */
export const ascending = (texts) => [...texts].sort();

/** `text` as JSON of the given shape. */
export function parseAs(shape, text, path, options) {
  const value = parseJson(text, options);
  shape(value, path);
  return value;
}

export const sameHead = (a, b) => (a ?? null) === (b ?? null) || (a != null && b != null && a.seq === b.seq && a.hash === b.hash);

// --- hashes and keys ---

export const sha256 = async (data) => new Uint8Array(await subtle.digest("SHA-256", data));
export const hashOf = async (data) => b64u.encode(await sha256(data));

/** RFC 7638 thumbprint. The point is checked too: [`importPublic`] refuses one that is not on the curve. */
export const thumbprint = (jwk) => calculateJwkThumbprint(jwk, "sha256");

/** Lines joined by one line feed, with none at the end. */
export const labelled = (...lines) => lines.join("\n");

/** HKDF-SHA256 with an empty salt, to 32 bytes. */
export async function hkdf(key, info) {
  const input = await subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(info) };
  return new Uint8Array(await subtle.deriveBits(derivation, input, 256));
}

// --- AES-256-GCM ---

export async function aeadSeal(key, nonce, plaintext, associated) {
  const aes = await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData: utf8(associated) }, aes, plaintext));
}

export async function aeadOpen(key, nonce, ciphertext, associated) {
  const aes = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  try {
    return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv: nonce, additionalData: utf8(associated) }, aes, ciphertext));
  } catch (cause) {
    throw new Refused("invalid-request", "the ciphertext does not open", { cause });
  }
}

export async function sealBox(key, plaintext, associated, nonce = randomBytes(12)) {
  return { nonce: b64u.encode(nonce), ct: b64u.encode(await aeadSeal(key, nonce, plaintext, associated)) };
}

export const openBox = (key, box, associated) => aeadOpen(key, b64u.decode(box.nonce, 12), b64u.decode(box.ct), associated);

/** JSON padded with spaces to a multiple of 256 bytes, at most `limit`. */
export function paddedJson(value, limit) {
  const json = utf8(JSON.stringify(value));
  const padded = new Uint8Array(Math.ceil(json.length / 256) * 256).fill(0x20);
  require(padded.length <= limit, "too-large", `more than ${limit} bytes`);
  padded.set(json);
  return padded;
}

export function unpadJson(shape, plaintext, limit, path, options) {
  require(plaintext.length % 256 === 0 && plaintext.length <= limit, "invalid-request", `${path} has a wrong padding`);
  return parseAs(shape, fromUtf8(plaintext), path, options);
}
