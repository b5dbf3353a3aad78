// Section 2 of docs/protocol.md: statements, which are JWS in compact serialization.

import { compactVerify } from "jose";
import {
  array, b64u, between, bytes, fromUtf8, hash, hashOf, head, integer, literal, name, nullable, object, optional, parseAs,
  publicKey, Refused, require, sealedBox, string, thumbprint, utf8, uuid7, variants,
} from "./encodings.mjs";
import { importPublic } from "./keys.mjs";
import { STATEMENT_LIMITS, UNKNOWN_PREKEY_BYTES } from "./limits.mjs";

export const ROLES = ["member", "admin", "owner"];
const role = literal(...ROLES);
const policy = object({ max_epoch_age: between(3600, 31_536_000), joining: literal("invitation", "confirmation") });

/** The payload of each kind of statement. */
const PAYLOADS = {
  "osmynt-handshake+jws": object({ jwk: publicKey, challenge: hash, name: name(64), iat: integer }),
  "osmynt-device+jws": object({ user: nullable(hash), jwk: publicKey, iat: integer }),
  "osmynt-prekey+jws": object({ user: hash, kind: literal("signed"), key: publicKey, iat: integer }),
  "osmynt-user+jws": object({
    user: nullable(hash),
    seq: integer,
    prev: nullable(hash),
    iat: integer,
    event: variants({
      "device.added": { device: string },
      "device.revoked": { device: hash },
      "name.signed": { commitment: hash },
    }),
  }),
  "osmynt-team+jws": object({
    team: nullable(hash),
    seq: integer,
    prev: nullable(hash),
    iat: integer,
    user: hash,
    event: variants({
      "team.created": { nonce: bytes(16), policy },
      "invite.created": { key: publicKey, role, exp: integer, uses: between(1, 100), user: optional(hash) },
      "invite.revoked": { invite: hash },
      "member.joined": { invite: hash, proof: string },
      "member.confirmed": { user: hash },
      "member.removed": { user: hash },
      "member.left": {},
      "role.changed": { user: hash, role },
      "policy.changed": { policy },
      "profile.changed": { epoch: integer, profile: sealedBox },
      "key.rotated": {
        epoch: integer,
        seqs: array(integer),
        heads: hash,
        devices: hash,
        envelopes: hash,
        commitment: hash,
        profile: sealedBox,
      },
    }),
  }),
  "osmynt-invite+jws": object({ team: hash, invite: hash, user: hash, iat: integer }),
  "osmynt-snippet+jws": object({
    suite: literal("A256GCM"),
    team: hash,
    snippet: uuid7,
    user: hash,
    audience: variants({
      team: { epoch: integer, wrapped: sealedBox },
      members: { epoch: integer, members: array(hash, { min: 1, max: 64 }), envelopes: hash },
    }),
    nonce: bytes(12),
    header: sealedBox,
    commitment: hash,
    sha256: hash,
    length: integer,
    head,
    iat: integer,
    exp: optional(integer),
  }),
};

const headerShape = (typ) => object({ alg: literal("ES256"), typ: literal(typ), kid: hash });

/** The compact statement over `payload`, signed by `signer`: `{ id, privateKey }`. */
export async function sign(typ, payload, signer) {
  PAYLOADS[typ](payload, typ);
  return signText(JSON.stringify({ alg: "ES256", typ, kid: signer.id }), JSON.stringify(payload), signer.privateKey);
}

/** A JWS over texts that are taken as they are, so that a test may sign what no client would. */
export async function signText(header, payload, privateKey) {
  const input = `${b64u.encode(utf8(header))}.${b64u.encode(utf8(payload))}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, utf8(input));
  return `${input}.${b64u.encode(new Uint8Array(signature))}`;
}

/** A statement as received. Nothing in it can be trusted before [`verify`]. */
export async function parse(typ, compact) {
  const limit = STATEMENT_LIMITS[typ];
  require(typeof compact === "string" && compact.length <= limit, "too-large", `an ${typ} of more than ${limit} bytes`);
  const parts = compact.split(".");
  require(parts.length === 3, "invalid-request", "a statement has three parts");
  const [header, payload] = parts.slice(0, 2).map((part) => fromUtf8(b64u.decode(part)));
  b64u.decode(parts[2], 64);
  return {
    typ,
    compact,
    kid: parseAs(headerShape(typ), header, "header").kid,
    payload: parseAs(PAYLOADS[typ], payload, typ),
    hash: await hashOf(utf8(`${parts[0]}.${parts[1]}`)),
  };
}

/** `statement`, once its `kid` and signature fit `jwk`. */
export async function verify(statement, jwk) {
  publicKey(jwk, "key");
  require(statement.kid === (await thumbprint(jwk)), "bad-signature", "signed by another key");
  try {
    await compactVerify(statement.compact, await importPublic(jwk, "ECDSA"), { algorithms: ["ES256"] });
  } catch (cause) {
    throw new Refused("bad-signature", `the signature of an ${statement.typ} does not fit`, { cause });
  }
  return statement;
}

/** Parses and verifies at once, where the key is known beforehand. */
export const open = async (typ, compact, jwk) => verify(await parse(typ, compact), jwk);

/** Parses and verifies a statement that a device makes about itself, whose key stands in its payload. */
export async function openSelfSigned(typ, compact) {
  const statement = await parse(typ, compact);
  return verify(statement, statement.payload.jwk);
}

/** A prekey as received, or null if it is of a kind that this client does not know: whatever else it has, it is left out. */
export async function parsePrekey(compact) {
  require(typeof compact === "string" && compact.length <= UNKNOWN_PREKEY_BYTES, "too-large", "a prekey of more than 8,192 bytes");
  return hasUnknownKind(compact) ? null : parse("osmynt-prekey+jws", compact);
}

function hasUnknownKind(compact) {
  try {
    const { kind } = JSON.parse(fromUtf8(b64u.decode(compact.split(".")[1])));
    return typeof kind === "string" && kind !== "signed";
  } catch {
    return false;
  }
}
