// The test vectors, made by the Rust implementation, verified and made again by the independent client.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { CipherSuite, Aes256Gcm, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { aeadSeal, ascending, b64u, fromUtf8, hashOf, labelled, hkdf, openBox, sealBox, thumbprint, utf8 } from "./client/encodings.mjs";
import { makeCode, parseCode } from "./client/invitation.mjs";
import {
  contentKeyCommitment, contentKeyPurpose, deviceSetHash, envelopeSetHash, headSetHash, keyPairFromScalar, openEnvelope, openProfile,
  sealEnvelope, teamKeyCommitment, teamKeyPurpose,
} from "./client/keys.mjs";
import { join, openContent, openHeader, pad, split, unwrapContentKey, wrapContentKey } from "./client/snippet.mjs";
import { parse, verify } from "./client/statements.mjs";
import { devicesOf, TeamLog } from "./client/teamlog.mjs";
import { loginOf, nameCommitment, UserLog } from "./client/userlog.mjs";

const folder = new URL("vectors/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const TESTED = ["encodings.json", "join.json", "snippets.json", "statements.json", "team-keys.json", "team-log.json", "user-log.json"];

const keyPair = (algorithm, key) => keyPairFromScalar(algorithm, b64u.decode(key["TEST-ONLY private key"].d, 32));
const publicOf = ({ "TEST-ONLY private key": { d, ...jwk } }) => jwk;
const directoryOf = async (logs) => new Map(await Promise.all(logs.map(async (log) => [log.user, await UserLog.read(log.user, log.entries)])));
const readTeam = async () => TeamLog.read(read("team-log.json").entries, await directoryOf(read("user-log.json").logs));

/** The invitation of a vector: its code gives what stands beside it, and is made again from that. */
async function checkInvitation({ code, key, ...told }) {
  const scalar = b64u.decode(key["TEST-ONLY private key"].d, 32);
  assert.equal((await keyPair("ECDSA", key)).id, key.thumbprint);
  assert.deepEqual(await parseCode(code), { ...told, key: scalar });
  assert.equal(await makeCode({ ...told, key: scalar }), code);
}

/** A user log of a vector: it is verified, and leads to what stands beside it. */
async function checkUserLog(vector) {
  const log = await UserLog.read(vector.user, vector.entries);
  assert.deepEqual(log.entries.map(({ hash }) => hash), vector.entries.map(({ hash }) => hash));
  assert.deepEqual([log.user, log.head], [vector.entries[0].hash, vector.head]);
  assert.deepEqual(ascending(log.active().map(({ id }) => id)), vector["active devices, ascending"]);
  assert.equal(await loginOf(log, vector.name), vector.name.login);
  assert.equal(log.commitment, vector["name commitment"]);
  assert.equal(await nameCommitment(vector.user, vector.name), vector["name commitment"]);
  assert.equal(await hashOf(utf8(vector["name commitment input"])), vector["name commitment"]);
}

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
  for (const vector of read("user-log.json").logs) it(`of ${vector.name.login}`, () => checkUserLog(vector));
});

describe("the team log", () => {
  const vector = read("team-log.json");

  it("is verified, and leads to the same state", async () => {
    const log = await readTeam();
    assert.equal(log.team, vector.team);
    assert.deepEqual(log.head, vector.head);
    assert.equal(log.epoch.number, vector.epoch);
    assert.deepEqual(log.past.map(({ hash }) => hash), vector.entries.map(({ hash }) => hash));
    const members = ascending(log.roster.keys()).map((user) => ({ user, role: log.roster.get(user).role }));
    assert.deepEqual(members, vector["members, ascending"].map(({ since_epoch, ...member }) => member));
  });

  it("has the hashes of its heads, its device set and its envelope set", async () => {
    const log = await readTeam();
    assert.equal(await headSetHash([...log.roster.values()].map(({ user, named }) => ({ user, ...named }))), vector["heads hash"]);
    assert.equal(await deviceSetHash(devicesOf(log.roster)), vector["device set hash"]);
    assert.equal(await deviceSetHash([]), vector["empty device set hash"]);
    const { envelopes } = read("team-keys.json").epochs.find(({ epoch }) => epoch === vector.epoch);
    assert.equal(await envelopeSetHash(envelopes.map(({ envelope }) => envelope)), vector["envelope set hash"]);
    const { heads, devices, envelopes: sealed } = log.past.at(-1).event;
    assert.deepEqual([heads, devices, sealed], [vector["heads hash"], vector["device set hash"], vector["envelope set hash"]]);
  });

  it("was joined by an invitation's code", async () => {
    await checkInvitation(vector.invitation);
    assert.equal(vector.invitation.team, vector.team);
    assert.ok((await readTeam()).contains(vector.invitation.head));
    assert.equal(vector.invitation.name, read("team-keys.json").epochs[0]["name in the profile"]);
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
      const { statement, envelopes, ciphertext } = split(container);
      assert.equal(statement, vector[audience].statement);
      assert.deepEqual(envelopes, vector[audience].envelopes);
      assert.deepEqual(join(statement, ciphertext, envelopes), container);
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
    const { envelopes } = vector["to one member"];
    assert.deepEqual(envelopes.map(({ device }) => device), ascending(expected));
    assert.equal(await envelopeSetHash(envelopes), audience.envelopes);

    const prekey = await keyPair("ECDH", vector["recipient's prekey"]);
    const envelope = envelopes.find((each) => each.prekey === prekey.id);
    const purpose = contentKeyPurpose(team, snippet, kid);
    assert.equal(labelled(...purpose, envelope.device, envelope.prekey), vector["envelope label, from device 1 to device 3"]);
    assert.deepEqual(await openEnvelope(envelope, purpose, prekey), contentKey);
  });
});

describe("a worked join", () => {
  const vector = read("join.json");
  const team = vector["the team's id: the hash of its first entry"];
  const commits = ["1. the founding commit", "2. the commit that invites", "5. the joiner's commit"].map((name) => vector[name]);
  const entries = commits.flatMap((commit) => commit.entries);
  const logs = vector["user logs"];
  const RECEIVED = logs[0].entries[0].received_at;
  const log = async () => TeamLog.read(entries.map((jws) => ({ jws, received_at: RECEIVED })), await directoryOf(logs));

  it("is by people whose logs are verified", async () => {
    for (const person of logs) await checkUserLog(person);
  });

  it("leads from the founding to the joiner's membership", async () => {
    const found = await log();
    assert.deepEqual([found.team, found.head], [team, vector["the head after it"]]);
    assert.deepEqual(ascending(found.roster.keys()), ascending(logs.map(({ user }) => user)));
  });

  it("is by a code, and the proof that its key signs", async () => {
    await checkInvitation(vector["3. the invitation"]);
    const { head, key } = vector["3. the invitation"];
    assert.ok((await log()).contains(head));
    const { compact, payload, hash, typ } = vector["4. the proof"];
    const proof = await verify(await parse(typ, compact), publicOf(key));
    assert.deepEqual([proof.payload, proof.hash], [payload, hash]);
    const joined = (await log()).past.find(({ event }) => event.type === "member.joined");
    assert.equal(joined.event.proof, compact);
  });

  it("hashes heads, devices and envelopes in these lines", async () => {
    const { event, roster } = (await log()).past.at(-1);
    const hashes = vector["what its rotation hashes"];
    for (const set of ["heads", "devices", "envelopes"]) {
      const { lines, hash } = hashes[set];
      assert.deepEqual(lines.slice(1), ascending(lines.slice(1)));
      assert.equal(await hashOf(utf8(labelled(...lines))), hash);
      assert.equal(event[set], hash);
    }
    assert.equal(await headSetHash([...roster.values()].map(({ user, named }) => ({ user, ...named }))), hashes.heads.hash);
    assert.equal(await deviceSetHash(devicesOf(roster)), hashes.devices.hash);
    assert.equal(await envelopeSetHash(vector["5. the joiner's commit"].envelopes), hashes.envelopes.hash);
    const positions = hashes["members, ascending, with the positions of their heads"];
    assert.deepEqual([positions.map(({ user }) => user), positions.map(({ seq }) => seq)], [ascending(roster.keys()), event.seqs]);
  });

  it("seals keys that open and fit what was committed to", async () => {
    const found = await log();
    const opened = vector["6. what the envelopes open to"];
    assert.deepEqual(opened.map(({ envelope }) => envelope), commits.flatMap(({ envelopes }) => envelopes));
    for (const { epoch, envelope, "opens to the team key": text, "recipient's prekey": prekey } of opened) {
      const { author, event } = found.rotation(epoch);
      const key = await openEnvelope(envelope, teamKeyPurpose(team, epoch, author.device), await keyPair("ECDH", prekey));
      assert.equal(b64u.encode(key), text);
      assert.equal(await teamKeyCommitment(key, team, epoch), event.commitment);
    }
  });
});
