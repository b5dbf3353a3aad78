// Too much: a member who fills what others must read, and a service that never ends. What costs nothing to make must cost others little.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { b64u, randomBytes, utf8 } from "../client/encodings.mjs";
import { makeKeyPair, sealEnvelope, teamKeyPurpose } from "../client/keys.mjs";
import { sign, signText } from "../client/statements.mjs";
import { nameCommitment, newOpening } from "../client/userlog.mjs";
import { startWorld } from "../client/world.mjs";
import { hashOfStatement } from "../support/false-service.mjs";

const text = utf8("still here\n");
const refusedWith = (code) => ({ name: "Problem", code });

describe("a member who fills their own log", () => {
  let world, owner, reader, mallory, team;

  before(async () => {
    world = await startWorld(["owner", "reader", "mallory"]);
    [owner, reader, mallory] = await Promise.all(["owner", "reader", "mallory"].map((name) => world.signIn(name)));
    team = await owner.createTeam("Truth");
    for (const client of [reader, mallory]) await client.join((await owner.invite(team)).code);
  });
  after(() => world?.dispose());

  /** Appends entries that change nothing until the service refuses; gives the refusal. */
  async function fill(client) {
    for (;;) {
      const log = await client.ownLog();
      const [entries, names] = [[], []];
      for (let count = 0; count < 16 && log.entries.length < 300; count += 1) {
        names.push(newOpening(client.account));
        const event = { type: "name.signed", commitment: await nameCommitment(client.user, names.at(-1)) };
        const entry = { user: client.user, seq: log.entries.length + count, prev: null, iat: client.now(), event };
        entry.prev = count === 0 ? log.head.hash : entries.at(-1).hash;
        const jws = await sign("osmynt-user+jws", entry, client.device);
        entries.push({ jws, hash: await hashOfStatement(jws) });
      }
      try {
        await client.api.appendToMyLog(entries.map(({ jws }) => jws), [], names);
      } catch (problem) {
        return { problem, length: log.entries.length };
      }
    }
  }

  it("is refused at the limit, with room left to revoke a device", async () => {
    const tablet = await world.signIn("mallory");
    await mallory.addDevice(await tablet.describe());
    const { problem, length } = await fill(mallory);
    assert.equal(problem.code, "too-large");
    assert.ok(length <= 236 && length > 236 - 16, `${length}`);
    await mallory.revokeDevice(tablet.device.id);
  });

  it("is refused padding that makes entries long", async () => {
    const log = await reader.ownLog();
    const opening = newOpening(reader.account);
    const event = { type: "name.signed", commitment: await nameCommitment(reader.user, opening) };
    const entry = { user: reader.user, seq: log.entries.length, prev: log.head.hash, iat: reader.now(), event };
    const header = JSON.stringify({ alg: "ES256", typ: "osmynt-user+jws", kid: reader.device.id });
    const padded = await signText(header, JSON.stringify(entry) + " ".repeat(2048), reader.device.privateKey);
    await assert.rejects(() => reader.api.appendToMyLog([padded], [], [opening]), refusedWith("too-large"));
  });

  it("keeps nobody from reading the team, nor the owner from removing them", async () => {
    const snippet = await owner.share(team, text);
    assert.deepEqual((await reader.open(team, snippet)).content, text);
    const fresh = await world.signIn("reader");
    await reader.addDevice(await fresh.describe());
    await owner.removeMember(team, mallory.user);
    assert.deepEqual((await reader.open(team, await owner.share(team, text))).content, text);
  });
});

describe("a member who seals garbage", () => {
  let world, owner, reader, mallory, team;

  before(async () => {
    world = await startWorld(["owner", "reader", "mallory"]);
    [owner, reader, mallory] = await Promise.all(["owner", "reader", "mallory"].map((name) => world.signIn(name)));
    team = await owner.createTeam("Truth");
    for (const client of [reader, mallory]) await client.join((await owner.invite(team)).code);
  });
  after(() => world?.dispose());

  /** A rotation by mallory in which the envelope of somebody holds nonsense. */
  async function rotateBadly(victim) {
    const view = await mallory.read(team);
    const sealToAll = mallory.sealToAll;
    mallory.sealToAll = async (key, purpose, devices, prekeys) => {
      const envelopes = await sealToAll.call(mallory, key, purpose, devices, prekeys);
      return envelopes.map((envelope) => (envelope.device === victim.device.id ? { ...envelope, ct: b64u.encode(randomBytes(48)) } : envelope));
    };
    try {
      const commit = await mallory.buildCommit(view, [], await mallory.teamName(view));
      await mallory.sendCommit(commit, () => mallory.api.commit(team, commit.body));
    } finally {
      mallory.sealToAll = sealToAll;
    }
  }

  it("harms that epoch alone, and the victim goes on by rotating", async () => {
    const before = await owner.share(team, text);
    await rotateBadly(reader);
    const during = await mallory.share(team, utf8("unreadable\n"));
    reader.teamKeys.clear();
    assert.deepEqual((await reader.open(team, before)).content, text, "other epochs open as before");
    await assert.rejects(() => reader.open(team, during), (error) => error.name === "Unreadable" && error.user === mallory.user);
    const after = await reader.share(team, text);
    assert.deepEqual((await owner.open(team, after)).content, text);
    assert.deepEqual((await reader.open(team, await mallory.share(team, text))).content, text);
  });

  it("is refused an envelope for a key that its device does not have", async () => {
    const view = await mallory.read(team);
    const stranger = await makeKeyPair("ECDH");
    const sealToAll = mallory.sealToAll;
    mallory.sealToAll = async (key, purpose, devices, prekeys) => {
      const envelopes = await sealToAll.call(mallory, key, purpose, devices, prekeys);
      const forged = await sealEnvelope(key, teamKeyPurpose(team, view.log.epoch.number + 1, mallory.device.id), { device: reader.device.id, prekey: stranger.jwk });
      return envelopes.map((envelope) => (envelope.device === reader.device.id ? forged : envelope));
    };
    const commit = await mallory.buildCommit(view, [], "Truth");
    mallory.sealToAll = sealToAll;
    await assert.rejects(() => mallory.api.commit(team, commit.body), refusedWith("coverage-mismatch"));
  });
});
