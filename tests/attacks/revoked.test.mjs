// A device that was revoked, or a member who was removed, together with the service: which can say that anything was received at any time,
// and shows whatever they sign. What they sign must count from the revocation on for nobody.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Client } from "../client/client.mjs";
import { utf8 } from "../client/encodings.mjs";
import { makeKeyPair } from "../client/keys.mjs";
import { sign } from "../client/statements.mjs";
import { hashOfStatement, startFalseService } from "../support/false-service.mjs";

const MINUTE = 60;
const DAY = 24 * 3600;
const code = utf8("let truth = 42;\n");
const tampered = { name: "TamperError" };

describe("a service that works together with somebody who once had a right", () => {
  let service, owner, stolen, victim, team;
  let scenes = 0;
  let ghosts = 0;

  /** Sets the clock of the service and of everybody. */
  const at = (seconds) => (service.skew = seconds);

  /** A team of an owner with two devices and a victim, which began at this time. */
  async function scene(began = -30 * DAY) {
    at(began);
    scenes += 1;
    owner = await service.puppet(`owner${scenes}`);
    stolen = await service.puppet(`owner${scenes}`);
    victim = await service.puppet(`victim${scenes}`);
    await owner.addDevice(await stolen.describe());
    team = await owner.createTeam("Truth");
    await victim.join((await owner.invite(team)).code);
    await owner.rotate(team);
    await victim.open(team, await owner.share(team, code));
    return service.teams.get(team);
  }

  /** An entry that the service appends to the log that it shows, by any device, received when it likes. */
  async function append(client, event, received = client.now()) {
    const { log } = service.teams.get(team);
    const head = { seq: log.length - 1, hash: await hashOfStatement(log.at(-1).jws) };
    const entry = { team, seq: head.seq + 1, prev: head.hash, iat: received, user: client.user, event };
    log.push({ jws: await sign("osmynt-team+jws", entry, client.device), received_at: received });
  }

  const invitation = async (exp) => {
    const pair = await makeKeyPair("ECDSA");
    return { pair, event: { type: "invite.created", key: pair.jwk, role: "owner", exp, uses: 1 } };
  };

  /** Somebody whom the service made up joins with an invitation, without any rotation of theirs: what matters is whether the entry counts. */
  async function ghostJoins({ pair }, received) {
    service.received = received;
    const ghost = await service.puppet(`ghost${(ghosts += 1)}`);
    const proof = await sign("osmynt-invite+jws", { team, invite: pair.id, user: ghost.user, iat: received }, pair);
    service.teams.get(team).users.add(ghost.user);
    await append(ghost, { type: "member.joined", invite: pair.id, proof }, received);
    service.received = null;
    return ghost;
  }

  before(async () => {
    service = await startFalseService();
  });
  after(() => service?.close());

  /** Whatever the victim does now, it notices. Then nothing of what it sent was sealed to a device of these. */
  async function assertNoticed(...devices) {
    const before = service.sent.length;
    for (const act of [() => victim.list(team), () => victim.share(team, code), () => victim.rotate(team), () => victim.share(team, code, { to: [owner.user] })]) {
      await assert.rejects(act, tampered);
    }
    for (const { body } of service.sent.slice(before)) {
      for (const device of devices) assert.ok(!body.includes(device.device?.id ?? device), "something was sealed to it");
    }
  }

  it("cannot let a device that was revoked ten days ago invite a ghost, if the victim has read the revocation", async () => {
    await scene();
    at(-20 * DAY);
    await owner.revokeDevice(stolen.device.id);
    await victim.list(team);
    at(-10 * DAY);
    const invited = await invitation(Math.floor(Date.now() / 1000));
    await append(stolen, invited.event);
    await assertNoticed();
  });

  it("cannot, even if the victim has never read the log, as long as the time of receipt is true", async () => {
    await scene();
    at(-20 * DAY);
    await owner.revokeDevice(stolen.device.id);
    at(-10 * DAY);
    const invited = await invitation(Math.floor(Date.now() / 1000));
    await append(stolen, invited.event);
    const ghost = await ghostJoins(invited, stolen.now());
    const late = await service.puppet("late");
    service.teams.get(team).users.add(late.user);
    await assert.rejects(() => late.read(team), tampered);
    await assertNoticed(ghost);
  });

  it("cannot date such an entry back to before the revocation, once the victim has read the log up to its end", async () => {
    await scene();
    at(-20 * DAY);
    await owner.revokeDevice(stolen.device.id);
    await victim.list(team);
    at(-10 * DAY);
    const invited = await invitation(Math.floor(Date.now() / 1000));
    await append(stolen, invited.event, victim.now() - 10 * DAY - 10 * MINUTE);
    await assertNoticed();
  });

  it("cannot date it before a rotation that named the revocation, for anybody", async () => {
    await scene();
    at(-20 * DAY);
    await owner.revokeDevice(stolen.device.id);
    await owner.rotate(team);
    await append(stolen, (await invitation(Math.floor(Date.now() / 1000))).event, stolen.now() + MINUTE);
    const late = await service.puppet("latecomer");
    service.teams.get(team).users.add(late.user);
    await assert.rejects(() => late.read(team), tampered);
  });

  it("may let the device speak for five minutes after its revocation, as clocks differ, and not a second longer", async () => {
    for (const [seconds, noticed] of [[300, false], [301, true]]) {
      await scene();
      at(-20 * DAY);
      await owner.revokeDevice(stolen.device.id);
      const revokedAt = service.users.get(owner.user).log.at(-1).received_at;
      at(-20 * DAY + 400);
      await append(stolen, (await invitation(Math.floor(Date.now() / 1000))).event, revokedAt + seconds);
      if (noticed) await assert.rejects(() => victim.read(team), tampered, `${seconds}`);
      else assert.equal((await victim.read(team)).log.past.length, service.teams.get(team).log.length, `${seconds}`);
    }
  });

  it("cannot have a snippet taken that a revoked device signed", async () => {
    await scene();
    await stolen.open(team, await owner.share(team, code));
    at(-20 * DAY);
    await owner.revokeDevice(stolen.device.id);
    await victim.list(team);
    at(-10 * DAY);
    // The stolen device shares as if it were still in place: the service lets it, and shows what it shared.
    const view = await stolen.read(team);
    const snippet = crypto.randomUUID().replace(/^(.{14})4/, "$17");
    const container = await stolen.buildSnippet(view, snippet, code, { to: null, header: {} });
    await stolen.api.putSnippet(team, snippet, container);
    await assert.rejects(() => victim.open(team, snippet), tampered);
    const listed = await victim.list(team).then((all) => all.some(({ statement }) => statement.snippet === snippet), (error) => assert.equal(error.name, "TamperError"));
    assert.ok(!listed);
  });

  it("cannot let somebody join by an invitation that has expired, with a time of receipt of weeks ago", async () => {
    await scene();
    at(-29 * DAY);
    const invited = await invitation(owner.now() + DAY);
    await append(owner, { ...invited.event, role: "member" });
    at(-3 * DAY);
    await victim.list(team);
    at(-1 * DAY);
    const ghost = await ghostJoins(invited, owner.now() - 27 * DAY);
    await assertNoticed(ghost);
  });

  it("cannot make an epoch that never ages, by a rotation received twenty years ahead", async () => {
    await scene(-2 * DAY);
    at(20 * 365 * DAY);
    await owner.rotate(team);
    at(-1 * DAY);
    await assertNoticed();
  });

  it("cannot hide a revocation behind the past, once the victim has read the log that lacked it", async () => {
    await scene();
    at(-20 * DAY);
    await victim.list(team);
    at(-10 * DAY);
    service.received = owner.now() - 15 * DAY;
    await owner.revokeDevice(stolen.device.id);
    service.received = null;
    await assertNoticed();
  });

  it("cannot let a removed member act again, by entries dated before the removal", async () => {
    await scene();
    at(-25 * DAY);
    const mallory = await service.puppet("mallory");
    await mallory.join((await owner.invite(team, { role: "admin" })).code);
    await victim.list(team);
    at(-20 * DAY);
    await owner.removeMember(team, mallory.user);
    await victim.list(team);
    at(-10 * DAY);
    const removedAt = service.teams.get(team).log.at(-1).received_at;
    await append(mallory, (await invitation(Math.floor(Date.now() / 1000))).event, removedAt - MINUTE);
    await assertNoticed();
  });
});
