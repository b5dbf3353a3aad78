// The test vectors, made by the Rust implementation, verified and made again by the independent client.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { CipherSuite, Aes256Gcm, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { ascending, parseLink } from "./client/client.mjs";
import { aeadSeal, b64u, fromUtf8, hashOf, labelled, hkdf, openBox, sealBox, thumbprint, utf8 } from "./client/encodings.mjs";
import {
  contentKeyPurpose, deviceSetHash, envelopeSetHash, keyPairFromScalar, openEnvelope, openProfile, scalarOf, sealEnvelope, teamKeyCommitment, teamKeyPurpose,
  contentKeyCommitment,
} from "./client/keys.mjs";
import { join, openContent, openHeader, pad, split, unwrapContentKey, wrapContentKey } from "./client/snippet.mjs";
import { parse, verify } from "./client/statements.mjs";
import { devicesOf, TeamLog } from "./client/teamlog.mjs";
import { UserLog } from "./client/userlog.mjs";

const folder = new URL("vectors/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const TESTED = ["encodings.json", "snippets.json", "statements.json", "team-keys.json", "team-log.json", "user-log.json"];

const keyPair = (algorithm, key) => keyPairFromScalar(algorithm, b64u.decode(key["TEST-ONLY private key"].d, 32));
const publicOf = ({ "TEST-ONLY private key": { d, ...jwk } }) => jwk;
const rfc3339 = (time) => new Date(time * 1000).toISOString();
const entriesOf = ({ entries }) => entries.map(({ jws, received_at }) => ({ jws, received_at: rfc3339(received_at) }));

const readDirectory = async () => new Map(await Promise.all(read("user-log.json").logs.map(async (log) => [log.user, await UserLog.read(log.user, entriesOf(log))])));
const readTeam = async () => TeamLog.read(entriesOf(read("team-log.json")), await readDirectory());

it("there are no vectors that nobody checks", () => {
  assert.deepEqual(readdirSync(folder).filter((name) => name.endsWith(".json")).sort(), TESTED);
});

describe("encodings", () => {
  const vectors = read("encodings.json");

  it("base64url", () => {
    for (const { b64u: text, "bytes (hex)": hex } of vectors.b64u) {
      const bytes = new Uint8Array(Buffer.from(hex, "hex"));
      assert.equal(b64u.encode(bytes), text);
      assert.deepEqual(b64u.decode(text), bytes);
    }
    for (const text of vectors["b64u that is refused"]) assert.throws(() => b64u.decode(text), { code: "invalid-request" });
  });

  it("hashes", async () => {
    for (const { ascii, hash } of vectors.sha256) assert.equal(await hashOf(utf8(ascii)), hash);
  });

  it("keys and their thumbprints", async () => {
    const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
    for (const key of vectors.keys) {
      const pair = await keyPair("ECDSA", key);
      assert.equal(pair.id, key.thumbprint);
      assert.deepEqual(pair.jwk, { kty: "EC", crv: "P-256", x: publicOf(key).x, y: publicOf(key).y });
      const ikm = key["made by DeriveKeyPair (RFC 9180 section 7.1.3) of ikm"];
      if (ikm === undefined) continue;
      const derived = await suite.kem.deriveKeyPair(b64u.decode(ikm));
      assert.equal(b64u.encode(new Uint8Array(await suite.kem.serializePrivateKey(derived.privateKey))), key["TEST-ONLY private key"].d);
    }
  });

  it("padding", () => {
    for (const { length, padded } of vectors.padded_length) assert.equal(pad(new Uint8Array(length)).length, padded);
  });
});

describe("statements", () => {
  const { statements, "verifier of the handshake's challenge": verifier } = read("statements.json");

  for (const { typ, compact, hash, payload, "signed with": key } of statements) {
    it(typ, async () => {
      const statement = await verify(await parse(typ, compact), publicOf(key));
      assert.equal(statement.kid, key.thumbprint);
      assert.equal(statement.hash, hash);
      assert.deepEqual(statement.payload, payload);
    });
  }

  it("the challenge of a handshake", async () => {
    assert.equal(await hashOf(utf8(verifier)), statements.find(({ typ }) => typ === "osmynt-handshake+jws").payload.challenge);
  });
});

describe("user logs", () => {
  for (const vector of read("user-log.json").logs) {
    it(`of ${vector.user}`, async () => {
      const log = await UserLog.read(vector.user, entriesOf(vector));
      assert.deepEqual(log.entries.map(({ hash }) => hash), vector.entries.map(({ hash }) => hash));
      assert.equal(log.identity, vector.identity);
      assert.deepEqual(ascending(log.active().map(({ id }) => id)), vector["active devices, ascending"]);
    });
  }
});

describe("the team log", () => {
  const vector = read("team-log.json");

  it("is verified, and leads to the same state", async () => {
    const log = await readTeam();
    assert.equal(log.team, vector.team);
    assert.deepEqual(log.head, vector.head);
    assert.equal(log.epoch.number, vector.epoch);
    assert.deepEqual(log.past.map(({ hash }) => hash), vector.entries.map(({ hash }) => hash));
    assert.deepEqual([...log.roster.values()].map(({ user, identity, role }) => ({ user, identity, role })), vector.members.map(({ since_epoch, ...member }) => member));
  });

  it("has the hashes of its device set and its envelope set", async () => {
    const log = await readTeam();
    assert.equal(await deviceSetHash(devicesOf(log.roster)), vector["device set hash"]);
    assert.equal(await deviceSetHash([]), vector["empty device set hash"]);
    const { envelopes } = read("team-keys.json").epochs.find(({ epoch }) => epoch === vector.epoch);
    assert.equal(await envelopeSetHash(envelopes.map(({ envelope }) => envelope)), vector["envelope set hash"]);
    const stated = log.past.at(-1).event;
    assert.deepEqual([stated.devices, stated.envelopes], [vector["device set hash"], vector["envelope set hash"]]);
  });

  it("was joined through an invitation's link", async () => {
    const { link, key } = vector.invitation;
    const { team, key: scalar, head, name } = parseLink(link);
    assert.equal((await keyPairFromScalar("ECDSA", b64u.decode(scalar, 32))).id, key.thumbprint);
    assert.equal(scalar, b64u.encode(await scalarOf((await keyPair("ECDSA", key)).privateKey)));
    assert.equal(team, vector.team);
    assert.ok((await readTeam()).contains(head));
    assert.equal(name, read("team-keys.json").epochs[0]["name in the profile"]);
  });
});

describe("team keys", () => {
  const { team, epochs } = read("team-keys.json");

  for (const vector of epochs) {
    const { epoch, sender } = vector;
    const key = b64u.decode(vector["team key"], 32);

    it(`epoch ${epoch}: its commitment stands in the log`, async () => {
      assert.equal(await teamKeyCommitment(key, team, epoch), vector.commitment);
      assert.equal(b64u.encode(await hkdf(key, vector["commitment label"])), vector.commitment);
      const { event, author } = (await readTeam()).past.find((each) => each.event.epoch === epoch);
      assert.deepEqual([event.commitment, event.profile, author.device], [vector.commitment, vector.profile, sender]);
    });

    it(`epoch ${epoch}: its envelopes open, and are sealed to the same bytes`, async () => {
      const purpose = teamKeyPurpose(team, epoch, sender);
      for (const { envelope, info, "recipient's prekey": prekey, "ikmE (RFC 9180 section 7.1.3)": ikmE } of vector.envelopes) {
        assert.equal(labelled(...purpose, envelope.device, envelope.prekey), info);
        assert.equal(await thumbprint(publicOf(prekey)), envelope.prekey);
        assert.deepEqual(await openEnvelope(envelope, purpose, await keyPair("ECDH", prekey)), key);
        assert.deepEqual(await sealEnvelope(key, purpose, { device: envelope.device, prekey: publicOf(prekey) }, b64u.decode(ikmE)), envelope);
      }
    });

    it(`epoch ${epoch}: its profile opens, and is sealed to the same bytes`, async () => {
      assert.deepEqual(await openProfile(key, team, epoch, vector.profile), { name: vector["name in the profile"] });
      const label = vector["profile label"];
      const profileKey = await hkdf(key, label);
      const plaintext = await openBox(profileKey, vector.profile, label);
      assert.equal(plaintext.length % 256, 0);
      assert.deepEqual(await sealBox(profileKey, plaintext, label, b64u.decode(vector.profile.nonce)), vector.profile);
    });
  }
});

describe("snippets", () => {
  const vector = read("snippets.json");
  const contentKey = b64u.decode(vector["content key"], 32);

  for (const audience of ["to the team", "to one member"]) {
    const container = b64u.decode(vector[audience].container);

    it(`${audience}: the container is split and joined`, () => {
      const { statement, ciphertext } = split(container);
      assert.equal(statement, vector[audience].statement);
      assert.deepEqual(join(statement, ciphertext), container);
    });

    it(`${audience}: it opens, and is sealed to the same bytes`, async () => {
      const { statement, ciphertext } = split(container);
      const { payload } = await verify(await parse("osmynt-snippet+jws", statement), publicOf(vector["author's device"]));
      const { team, snippet } = payload;
      const { header, content } = await openContent(contentKey, payload, ciphertext);
      assert.equal(fromUtf8(content), vector.content);
      assert.deepEqual(header, vector.header);
      assert.deepEqual(await openHeader(contentKey, payload), vector.header);
      assert.equal(await contentKeyCommitment(contentKey, team, snippet), payload.commitment);
      assert.equal(b64u.encode(await hkdf(contentKey, vector["commitment label"])), payload.commitment);
      assert.deepEqual(await aeadSeal(contentKey, b64u.decode(payload.nonce), pad(utf8(vector.content)), vector["body label"]), new Uint8Array(ciphertext));
      const plaintext = await openBox(contentKey, payload.header, vector["header label"]);
      assert.deepEqual(await sealBox(contentKey, plaintext, vector["header label"], b64u.decode(payload.header.nonce)), payload.header);
      assert.ok((await readTeam()).contains(payload.head));
    });
  }

  it("to the team: the content key is wrapped under the team key", async () => {
    const { payload } = await parse("osmynt-snippet+jws", vector["to the team"].statement);
    const { team, snippet, audience } = payload;
    const teamKey = b64u.decode(read("team-keys.json").epochs.find(({ epoch }) => epoch === audience.epoch)["team key"], 32);
    assert.deepEqual(await unwrapContentKey(audience.wrapped, teamKey, team, audience.epoch, snippet), contentKey);
    const key = await hkdf(teamKey, vector["wrap label"]);
    assert.deepEqual(await sealBox(key, contentKey, vector["wrap label"], b64u.decode(audience.wrapped.nonce)), audience.wrapped);
    assert.equal((await wrapContentKey(contentKey, teamKey, team, audience.epoch, snippet)).ct.length, audience.wrapped.ct.length);
  });

  it("to one member: the content key is sealed to their device and to the author's", async () => {
    const { payload, kid } = await parse("osmynt-snippet+jws", vector["to one member"].statement);
    const { team, snippet, audience, user } = payload;
    const { roster } = await readTeam();
    const expected = devicesOf(new Map([...audience.members, user].map((id) => [id, roster.get(id)]))).map(({ device }) => device);
    assert.deepEqual(audience.envelopes.map(({ device }) => device), ascending(expected));

    const prekey = await keyPair("ECDH", vector["recipient's prekey"]);
    const envelope = audience.envelopes.find((each) => each.prekey === prekey.id);
    const purpose = contentKeyPurpose(team, snippet, kid);
    assert.equal(labelled(...purpose, envelope.device, envelope.prekey), vector["envelope label, from device 1 to device 3"]);
    assert.deepEqual(await openEnvelope(envelope, purpose, prekey), contentKey);
  });
});
