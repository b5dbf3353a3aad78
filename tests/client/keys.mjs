// Section 5 of docs/protocol.md, and the keys that it needs: key pairs, envelopes, set hashes, commitments, the sealed profile.

import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import {
  ascending, b64u, concat, hashOf, hkdf, labelled, name, object, openBox, paddedJson, publicKey, randomBytes, Refused, require,
  sealBox, thumbprint, unpadJson, utf8,
} from "./encodings.mjs";
import { PROFILE_BYTES } from "./limits.mjs";

const { subtle } = globalThis.crypto;
const P256 = { ECDSA: { name: "ECDSA", namedCurve: "P-256" }, ECDH: { name: "ECDH", namedCurve: "P-256" } };
const PUBLIC_USES = { ECDSA: ["verify"], ECDH: [] };
const PRIVATE_USES = { ECDSA: ["sign"], ECDH: ["deriveBits"] };

// --- key pairs: { id, jwk, privateKey }, where id is the thumbprint of the public half ---

/** A new key pair for `algorithm`, "ECDSA" or "ECDH". */
export async function makeKeyPair(algorithm) {
  const { privateKey } = await subtle.generateKey(P256[algorithm], true, PRIVATE_USES[algorithm]);
  return withPublicHalf(privateKey);
}

/** The key pair of a 32-byte private scalar. */
export async function keyPairFromScalar(algorithm, scalar) {
  // Web Crypto has no raw private keys: this is a PKCS #8 PrivateKeyInfo (RFC 5958) around an ECPrivateKey (RFC 5915)
  // without the optional public key, which the import computes.
  require(scalar.length === 32, "invalid-request", "a private key has 32 bytes");
  try {
    return await withPublicHalf(await subtle.importKey("pkcs8", concat(PKCS8_PREFIX, scalar), P256[algorithm], true, PRIVATE_USES[algorithm]));
  } catch (cause) {
    throw new Refused("invalid-request", "not a private key", { cause });
  }
}
const PKCS8_PREFIX = new Uint8Array(Buffer.from("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420", "hex"));

export const scalarOf = async (privateKey) => b64u.decode((await subtle.exportKey("jwk", privateKey)).d, 32);

async function withPublicHalf(privateKey) {
  const { kty, crv, x, y } = await subtle.exportKey("jwk", privateKey);
  const jwk = { kty, crv, x, y };
  return { id: await thumbprint(jwk), jwk, privateKey };
}

/** The public key of a strict JWK; a point that is not on the curve is refused. */
export async function importPublic(jwk, algorithm) {
  publicKey(jwk, "key");
  try {
    return await subtle.importKey("jwk", jwk, P256[algorithm], true, PUBLIC_USES[algorithm]);
  } catch (cause) {
    throw new Refused("invalid-request", "not a point of the curve", { cause });
  }
}

// --- envelopes ---

/** The suite of envelopes, by the name that they state. */
export const ENVELOPE_SUITE = "P256-HKDF-SHA256-A256GCM";
const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

/** What an envelope of a team key is bound to, but for the recipient. */
export const teamKeyPurpose = (team, epoch, sender) => ["osmynt/v1/envelope", "team-key", team, epoch, sender];
/** What an envelope of a content key is bound to, but for the recipient. */
export const contentKeyPurpose = (team, snippet, sender) => ["osmynt/v1/envelope", "content-key", team, snippet, sender];

/** `key` sealed to `recipient`: `{ device, prekey: public JWK }`. A test vector's `ikmE` replaces the randomness (RFC 9180 section 7.1.3). */
export async function sealEnvelope(key, purpose, recipient, ikmE) {
  const prekey = await thumbprint(recipient.prekey);
  const info = utf8(labelled(...purpose, recipient.device, prekey));
  const recipientPublicKey = await importPublic(recipient.prekey, "ECDH");
  const ekm = ikmE && (await suite.kem.deriveKeyPair(ikmE));
  const sealed = await suite.seal({ recipientPublicKey, info, ekm }, key);
  const [enc, ct] = [sealed.enc, sealed.ct].map((part) => b64u.encode(new Uint8Array(part)));
  return { device: recipient.device, prekey, suite: ENVELOPE_SUITE, enc, ct };
}

/** The key in an envelope, opened with the private half of the prekey that it names. */
export async function openEnvelope(envelope, purpose, prekey) {
  require(envelope.suite === ENVELOPE_SUITE, "invalid-request", "the envelope has an unknown suite");
  require(envelope.prekey === prekey.id, "invalid-request", "the envelope is for another prekey");
  const info = utf8(labelled(...purpose, envelope.device, envelope.prekey));
  try {
    const recipientKey = { privateKey: prekey.privateKey, publicKey: await importPublic(prekey.jwk, "ECDH") };
    return new Uint8Array(await suite.open({ recipientKey, enc: b64u.decode(envelope.enc, 65), info }, b64u.decode(envelope.ct, 48)));
  } catch (cause) {
    throw new Refused("invalid-request", "the envelope does not open", { cause });
  }
}

// --- sets ---

// All lines are ASCII, so that the order of UTF-16 units is the order of bytes.
const setHash = (label, lines) => hashOf(utf8(labelled(label, ...ascending(lines))));

/** Hash of a set of user-log heads given as `[{ user, seq, hash }]`. */
export const headSetHash = (heads) => setHash("osmynt/v1/heads", heads.map(({ user, seq, hash }) => `${user} ${seq} ${hash}`));

/** Hash of a device set given as `[{ user, device }]`. */
export const deviceSetHash = (devices) => setHash("osmynt/v1/devices", devices.map(({ user, device }) => `${user} ${device}`));

export const envelopeSetHash = (envelopes) =>
  setHash("osmynt/v1/envelopes", envelopes.map(({ device, prekey, suite, enc, ct }) => `${device} ${prekey} ${suite} ${enc} ${ct}`));

// --- commitments ---

export const makeSecretKey = () => randomBytes(32);

export const teamKeyCommitment = async (key, team, epoch) =>
  b64u.encode(await hkdf(key, labelled("osmynt/v1/commit", "team-key", team, epoch)));

export const contentKeyCommitment = async (key, team, snippet) =>
  b64u.encode(await hkdf(key, labelled("osmynt/v1/commit", "content-key", team, snippet)));

/** Refuses a key that is not the one its commitment was made for. */
export const requireCommitted = (found, stated) =>
  require(found === stated, "invalid-request", "the key is not the one that was committed to");

// --- the team's profile ---

const profileLabel = (team, epoch) => labelled("osmynt/v1/profile", team, epoch);

const profileShape = object({ name: name(100) });

/** An empty name is that of somebody who knows none: nobody takes it for the team's. */
export async function sealProfile(teamKey, team, epoch, profile) {
  if (profile.name !== "") profileShape(profile, "profile");
  const label = profileLabel(team, epoch);
  return sealBox(await hkdf(teamKey, label), paddedJson(profile, PROFILE_BYTES), label);
}

export async function openProfile(teamKey, team, epoch, box) {
  const label = profileLabel(team, epoch);
  return unpadJson(profileShape, await openBox(await hkdf(teamKey, label), box, label), PROFILE_BYTES, "profile");
}
