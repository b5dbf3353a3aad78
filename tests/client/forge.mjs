// Statements, keys and bodies that no client would make, as tables: [what is wrong with it, the code of the refusal, how to make it].

import { b64u, concat, randomBytes, utf8 } from "./encodings.mjs";
import { makeKeyPair } from "./keys.mjs";
import { STATEMENT_BYTES } from "./limits.mjs";
import { sign, signText } from "./statements.mjs";

// Deeper than any format is, and short enough for the smallest statement.
const DEEP = 150;
const nested = "[".repeat(DEEP) + "]".repeat(DEEP);

const text = JSON.stringify;
const headerOf = (typ, signer) => ({ alg: "ES256", typ, kid: signer.id });
/** A statement like any other, but for its header. */
const withHeader = (change) => (typ, payload, signer) => signText(text(change(headerOf(typ, signer))), text(payload), signer.privateKey);
/** A statement like any other, but for the text of its payload. */
const withPayload = (change) => (typ, payload, signer) => signText(text(headerOf(typ, signer)), change(text(payload), payload), signer.privateKey);
/** A statement like any other, but for what becomes of it after it was signed. */
const afterwards = (change) => async (typ, payload, signer) => {
  // Spaces around the payload leave trailing bits to play with: its length is 1 more than a multiple of 3.
  const body = text(payload);
  const padded = body + " ".repeat((4 - (utf8(body).length % 3)) % 3);
  return change((await signText(text(headerOf(typ, signer)), padded, signer.privateKey)).split("."), payload);
};
/** The same text with the last character's unused bits set. */
const nonCanonical = (encoded) => encoded.slice(0, -1) + String.fromCharCode(encoded.charCodeAt(encoded.length - 1) + 1);

/** The DER form of a raw signature. */
function der(signature) {
  const raw = b64u.decode(signature, 64);
  const integer = (bytes) => {
    const value = concat(bytes[0] & 0x80 ? new Uint8Array([0]) : new Uint8Array(), bytes);
    return concat(new Uint8Array([2, value.length]), value);
  };
  const body = concat(integer(raw.subarray(0, 32)), integer(raw.subarray(32)));
  return b64u.encode(concat(new Uint8Array([0x30, body.length]), body));
}

/** What is refused of every statement, whatever it says. Each `make(typ, payload, signer)` gives the compact form. */
export const MALFORMED_STATEMENTS = [
  // header
  ["alg none, without a signature", "invalid-request", async (typ, payload, signer) =>
    `${(await withHeader((header) => ({ ...header, alg: "none" }))(typ, payload, signer)).split(".").slice(0, 2).join(".")}.`],
  ["alg none", "invalid-request", withHeader((header) => ({ ...header, alg: "none" }))],
  ["alg HS256", "invalid-request", withHeader((header) => ({ ...header, alg: "HS256" }))],
  ["alg ES384", "invalid-request", withHeader((header) => ({ ...header, alg: "ES384" }))],
  ["alg in lower case", "invalid-request", withHeader((header) => ({ ...header, alg: "es256" }))],
  ["no alg", "invalid-request", withHeader(({ typ, kid }) => ({ typ, kid }))],
  ["another typ", "invalid-request", withHeader((header) => ({ ...header, typ: "osmynt-other+jws" }))],
  ["the typ of another statement", "invalid-request", withHeader((header) => ({ ...header, typ: header.typ === "osmynt-device+jws" ? "osmynt-prekey+jws" : "osmynt-device+jws" }))],
  ["typ as a media type", "invalid-request", withHeader((header) => ({ ...header, typ: `application/${header.typ}` }))],
  ["no typ", "invalid-request", withHeader(({ alg, kid }) => ({ alg, kid }))],
  ["no kid", "invalid-request", withHeader(({ alg, typ }) => ({ alg, typ }))],
  ["a kid that is no hash", "invalid-request", withHeader((header) => ({ ...header, kid: "me" }))],
  ["an unknown header member", "invalid-request", withHeader((header) => ({ ...header, cty: "json" }))],
  ["crit", "invalid-request", withHeader((header) => ({ ...header, crit: ["b64"], b64: false }))],
  ["a key in the header", "invalid-request", async (typ, payload, signer) =>
    withHeader((header) => ({ ...header, jwk: signer.jwk }))(typ, payload, signer)],
  ["a repeated header member", "invalid-request", (typ, payload, signer) =>
    signText(`{"alg":"none",${text(headerOf(typ, signer)).slice(1)}`, text(payload), signer.privateKey)],
  ["a header that is no object", "invalid-request", (typ, payload, signer) => signText("[]", text(payload), signer.privateKey)],
  // payload
  ["an unknown member", "invalid-request", withPayload((_, payload) => text({ ...payload, more: 1 }))],
  ["a repeated member", "invalid-request", withPayload((json, { iat }) => `{"iat":${iat},${json.slice(1)}`)],
  ["a member repeated under an escape", "invalid-request", withPayload((json, { iat }) => `{"\\u0069at":${iat},${json.slice(1)}`)],
  ["a missing member", "invalid-request", withPayload((_, { iat, ...rest }) => text(rest))],
  ["a time as a string", "invalid-request", withPayload((_, payload) => text({ ...payload, iat: String(payload.iat) }))],
  ["a time with a fraction", "invalid-request", withPayload((json, { iat }) => json.replace(`"iat":${iat}`, `"iat":${iat}.5`))],
  ["a time with a fraction of nothing", "invalid-request", withPayload((json, { iat }) => json.replace(`"iat":${iat}`, `"iat":${iat}.0`))],
  ["a time with an exponent", "invalid-request", withPayload((json, { iat }) => json.replace(`"iat":${iat}`, `"iat":${iat}e0`))],
  ["a negative time", "invalid-request", withPayload((_, payload) => text({ ...payload, iat: -1 }))],
  ["a time beyond 2^53", "clock-skew", withPayload((json, { iat }) => json.replace(`"iat":${iat}`, '"iat":9007199254740993'))],
  ["null for a member", "invalid-request", withPayload((_, payload) => text({ ...payload, iat: null }))],
  ["trailing data", "invalid-request", withPayload((json) => `${json}{}`)],
  ["a payload that is not JSON", "invalid-request", withPayload(() => "iat=1")],
  ["a payload that is no object", "invalid-request", withPayload((json) => `[${json}]`)],
  ["an empty payload", "invalid-request", withPayload(() => "")],
  ["deep nesting", "invalid-request", withPayload((json, { iat }) => json.replace(`"iat":${iat}`, `"iat":${nested}`))],
  // encoding
  ["a payload that is not canonical base64url", "invalid-request", afterwards(([header, payload, signature]) => `${header}.${nonCanonical(payload)}.${signature}`)],
  ["a signature that is not canonical base64url", "invalid-request", afterwards(([header, payload, signature]) => `${header}.${payload}.${nonCanonical(signature)}`)],
  ["padding", "invalid-request", afterwards(([header, payload, signature]) => `${header}.${payload}.${signature}==`)],
  ["white space before", "invalid-request", afterwards((parts) => ` ${parts.join(".")}`)],
  ["white space after", "invalid-request", afterwards((parts) => `${parts.join(".")}\t`)],
  ["two parts", "invalid-request", afterwards((parts) => parts.slice(0, 2).join("."))],
  ["four parts", "invalid-request", afterwards((parts) => `${parts.join(".")}.`)],
  ["nothing", "invalid-request", async () => ""],
  ["JSON serialization", "invalid-request", afterwards(([header, payload, signature]) => text({ protected: header, payload, signature }))],
  ["a DER signature", "invalid-request", afterwards(([header, payload, signature]) => `${header}.${payload}.${der(signature)}`)],
  ["a short signature", "invalid-request", afterwards(([header, payload]) => `${header}.${payload}.${b64u.encode(randomBytes(63))}`)],
  // signature
  ["a random signature", "bad-signature", afterwards(([header, payload]) => `${header}.${payload}.${b64u.encode(randomBytes(64))}`)],
  ["a signature of zeros", "bad-signature", afterwards(([header, payload]) => `${header}.${payload}.${b64u.encode(new Uint8Array(64))}`)],
  ["another payload than was signed", "bad-signature", async (typ, payload, signer) => {
    const [header, , signature] = (await sign(typ, { ...payload, iat: payload.iat - 1 }, signer)).split(".");
    return `${header}.${b64u.encode(utf8(text(payload)))}.${signature}`;
  }],
  ["the signature of another key", "bad-signature", async (typ, payload, signer) =>
    sign(typ, payload, { id: signer.id, privateKey: (await makeKeyPair("ECDSA")).privateKey })],
  // clock
  ["a time 10 minutes ahead", "clock-skew", (typ, payload, signer) => sign(typ, { ...payload, iat: payload.iat + 600 }, signer)],
  ["a time 10 minutes back", "clock-skew", (typ, payload, signer) => sign(typ, { ...payload, iat: payload.iat - 600 }, signer)],
];

/** More than any statement may have. Not in the table above, as it does not fit into a header line. */
export const overlongStatement = withPayload((json) => json + " ".repeat(STATEMENT_BYTES));

/** What is refused as a public key. Each `make(pair)` gives the JWK. */
export const MALFORMED_KEYS = [
  ["a private key", async ({ jwk }) => ({ ...jwk, d: b64u.encode(randomBytes(32)) })],
  ["an unknown member", async ({ jwk }) => ({ ...jwk, use: "sig" })],
  ["a point that is not on the curve", async ({ jwk }) => ({ ...jwk, y: jwk.x })],
  ["zero for a point", async ({ jwk }) => ({ ...jwk, x: b64u.encode(new Uint8Array(32)), y: b64u.encode(new Uint8Array(32)) })],
  ["a coordinate above the field's prime", async ({ jwk }) => ({ ...jwk, x: b64u.encode(new Uint8Array(32).fill(255)) })],
  ["another curve", async ({ jwk }) => ({ ...jwk, crv: "P-384" })],
  ["another type of key", async ({ jwk }) => ({ ...jwk, kty: "OKP" })],
  ["a short coordinate", async ({ jwk }) => ({ ...jwk, x: b64u.encode(randomBytes(31)) })],
  ["a coordinate with a byte of zero in front", async ({ jwk }) => ({ ...jwk, x: b64u.encode(concat(new Uint8Array(1), b64u.decode(jwk.x))) })],
  ["a coordinate that is not canonical base64url", async ({ jwk }) => ({ ...jwk, x: nonCanonical(jwk.x) })],
  ["a missing coordinate", async ({ jwk: { y, ...rest } }) => rest],
  ["null", async () => null],
];

/** What is refused of every JSON body. Each `make(valid text)` gives the text. */
export const MALFORMED_BODIES = [
  ["no JSON", () => "entries=1"],
  ["nothing", () => ""],
  ["an array", (json) => `[${json}]`],
  ["null", () => "null"],
  ["an empty object", () => "{}"],
  ["an unknown member", (json) => `{"more":1,${json.slice(1)}`],
  ["a repeated member", (json) => `{${json.slice(1, -1)},${json.slice(1)}`],
  ["trailing data", (json) => `${json}{}`],
  ["a trailing comma", (json) => `${json.slice(0, -1)},}`],
  ["a byte order mark", (json) => `\ufeff${json}`],
  ["bytes that are not UTF-8", (json) => concat(utf8(json.slice(0, -1)), utf8(',"'), new Uint8Array([0xff]), utf8('":1}'))],
  ["deep nesting", (json) => `{"more":${nested},${json.slice(1)}`],
];
