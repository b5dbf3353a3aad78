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

// --- strict JSON ---

const MAX_DEPTH = 32;

/**
 * The value of a JSON text. Refused besides what RFC 8259 refuses: repeated members, numbers that are not integers from 0 to
 * 2^53 − 1, strings that are not well-formed Unicode, and nesting that no format of ours has.
 */
export function parseJson(text) {
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
      // No format has a member of this name, and assigning it would not make one.
      if (name === "__proto__") fail("unknown member");
      if (Object.hasOwn(members, name)) fail(`repeated member ${name}`);
      expect(":");
      members[name] = value(depth);
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
    const found = Number(match(/(?:0|[1-9][0-9]*)(?![0-9.eE])/y));
    return Number.isSafeInteger(found) ? found : fail("integer too large");
  };
  const value = (depth) => {
    if (depth > MAX_DEPTH) fail("nested too deeply");
    if (take("{")) return object(depth + 1);
    if (take("[")) return array(depth + 1);
    if (text[at] === '"') return string();
    if (/[0-9]/.test(text[at] ?? "")) return number();
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
  require(typeof value === "object" && value !== null && !Array.isArray(value), "invalid-request", `${path} is not an object`);
  for (const name of Object.keys(value)) {
    require(Object.hasOwn(members, name), "invalid-request", `${path} has the unknown member ${name}`);
  }
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
export const envelope = object({ device: hash, prekey: hash, enc: bytes(65), ct: bytes(48) });

/** `text` as JSON of the given shape. */
export function parseAs(shape, text, path) {
  const value = parseJson(text);
  shape(value, path);
  return value;
}

export const sameHead = (a, b) => (a ?? null) === (b ?? null) || (a != null && b != null && a.seq === b.seq && a.hash === b.hash);

// --- time ---

/** Seconds of an RFC 3339 time in UTC; fractions of a second are dropped. */
export function seconds(rfc3339) {
  require(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/.test(rfc3339), "invalid-request", "not an RFC 3339 time in UTC");
  const time = Date.parse(rfc3339);
  require(!Number.isNaN(time), "invalid-request", "not a time");
  return Math.floor(time / 1000);
}

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

export function unpadJson(shape, plaintext, limit, path) {
  require(plaintext.length % 256 === 0 && plaintext.length <= limit, "invalid-request", `${path} has a wrong padding`);
  return parseAs(shape, fromUtf8(plaintext), path);
}
