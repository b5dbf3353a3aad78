// The log of a team, as the independent client verifies it: its entries, its rotations, and the
// devices that speak in it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ascending, b64u, randomBytes, sealBox, utf8 } from "./client/encodings.mjs";
import { makeKeyPair, makeSecretKey } from "./client/keys.mjs";
import { sign } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { CONFIRMATION, makeTeam, people, Person, POLICY, Team } from "./support/logs.mjs";
import { DAY, HASH, NOW, refuses } from "./support/protocol.mjs";

describe("a team's log", () => {
  it("leads to the roster and the epoch", async () => {
    const { team, admin, member } = await makeTeam();
    assert.deepEqual([...team.log.roster.values()].map(({ role }) => role), ["owner", "admin", "member"]);
    assert.equal(team.log.epoch.number, 3);
    await team.remove(admin, member);
    assert.equal(team.log.roster.has(member.user), false);
    assert.equal(team.log.everyone.has(member.user), true);
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    await team.append(admin, { type: "member.left" });
    assert.equal(team.log.isStale(await team.directory(), NOW), true);
    const again = await TeamLog.read(team.entries, await team.directory());
    assert.deepEqual([again.head, again.roster, again.invites], [team.log.head, team.log.roster, team.log.invites]);
  });

  it("allows each role its events and no others", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const [stranger, waiting] = [await Person.make(), await Person.make()];
    team.people.push(stranger);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
    await team.join(waiting, await team.invite(owner, { role: "owner" }));
    const before = team.log;
    const invite = async (role, more) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role, uses: 1, exp: NOW + 1, ...more });
    const box = await sealBox(makeSecretKey(), utf8("x"), "");
    const [OK, NO, SELF] = [null, "forbidden", "invalid-request"];
    const events = [
      // event, then the answer to owner, admin and member
      [await invite("member"), [OK, OK, NO]],
      [await invite("admin"), [OK, OK, NO]],
      [await invite("owner"), [OK, NO, NO]],
      [await invite("member", { user: stranger.user }), [OK, OK, NO]],
      [await invite("member", { user: stranger.user, uses: 2 }), ["invalid-request", "invalid-request", NO]],
      [{ type: "member.removed", user: member.user }, [OK, OK, NO]],
      [{ type: "member.removed", user: admin.user }, [OK, SELF, NO]],
      [{ type: "member.removed", user: owner.user }, [SELF, NO, NO]],
      [{ type: "member.removed", user: waiting.user }, [OK, OK, NO]],
      [{ type: "member.confirmed", user: waiting.user }, [OK, NO, NO]],
      [{ type: "member.confirmed", user: stranger.user }, ["not-found", "not-found", NO]],
      [{ type: "member.left" }, ["conflict", OK, OK]],
      [{ type: "role.changed", user: member.user, role: "admin" }, [OK, NO, NO]],
      [{ type: "role.changed", user: owner.user, role: "admin" }, ["conflict", NO, NO]],
      [{ type: "policy.changed", policy: POLICY }, [OK, NO, NO]],
      [{ type: "profile.changed", epoch: 3, profile: box }, [OK, OK, NO]],
      [{ type: "profile.changed", epoch: 2, profile: box }, ["stale-log", "stale-log", NO]],
      [{ type: "role.changed", user: member.user, role: "member" }, ["conflict", NO, NO]],
      [{ type: "role.changed", user: stranger.user, role: "member" }, ["not-found", NO, NO]],
      [{ type: "member.removed", user: stranger.user }, ["not-found", "not-found", NO]],
    ];
    for (const [event, answers] of events) {
      for (const [index, person] of [owner, admin, member, stranger].entries()) {
        team.log = before;
        const code = [...answers, NO][index];
        if (code === OK) await team.append(person, event);
        else await refuses(code, () => team.append(person, event));
      }
    }
  });

  it("lets only the device that made a rotation due go on", async () => {
    const { team, owner, admin, member } = await makeTeam();
    await team.append(admin, { type: "member.removed", user: member.user });
    await refuses("forbidden", () => team.append(owner, { type: "policy.changed", policy: CONFIRMATION }));
    await refuses("forbidden", () => team.rotate(owner));
    await refuses("rotation-required", () => team.log.requireSettled());
    await team.rotate(admin);
    team.log.requireSettled();
  });

  it("is refused when a join breaks a rule", async () => {
    const [owner, joiner, other] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner);
    const stranger = await makeKeyPair("ECDSA");
    await refuses("gone", () => team.join(joiner, stranger));
    await refuses("bad-signature", () => team.join(joiner, invitation, { signer: stranger }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { user: other.user } }));
    await refuses("forbidden", () => team.join(joiner, invitation, { proof: { team: HASH } }));
    await refuses("clock-skew", () => team.join(joiner, invitation, { proof: { iat: NOW - 301 } }));
    await team.join(joiner, invitation);
    await team.rotate(joiner);
    await refuses("gone", () => team.join(other, invitation));
    const twice = await team.invite(owner, { uses: 2 });
    await refuses("conflict", () => team.join(joiner, twice));
    await team.append(owner, { type: "invite.revoked", invite: twice.id });
    await refuses("gone", () => team.join(other, twice));
    await refuses("gone", () => team.append(owner, { type: "invite.revoked", invite: twice.id }));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW + 31 * DAY }));
    await refuses("invalid-request", () => team.invite(owner, { exp: NOW }));
    const named = await team.invite(owner, { user: other.user });
    await refuses("forbidden", async () => team.join(await Person.make(), named));
    await team.join(other, named);
  });

  it("ends an invitation at the very second of its exp", async () => {
    const [owner, early, late] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner, { uses: 2, exp: NOW + 60 });
    await team.join(early, invitation, { received: NOW + 59 });
    team.now = NOW + 59;
    await team.rotate(early);
    await refuses("gone", () => team.join(late, invitation, { received: NOW + 60 }));
  });

  it("has at most 100 open invitations, each with a key of its own", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const key = await team.invite(owner);
    await refuses("conflict", () => team.append(owner, { type: "invite.created", key: key.jwk, role: "member", uses: 1, exp: NOW + 60 }));
    for (let count = 1; count < 100; count += 1) await team.invite(owner);
    await refuses("too-large", () => team.invite(owner));
    await team.append(owner, { type: "invite.revoked", invite: key.id });
    await team.append(owner, { type: "invite.created", key: key.jwk, role: "member", uses: 1, exp: NOW + 60 });
  });

  it("is refused when a rotation breaks a rule", async () => {
    const [owner, joiner] = await people();
    const team = await Team.make(owner);
    await refuses("stale-log", () => team.rotate(owner, { epoch: 3 }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { devices: HASH }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { heads: [{ user: owner.user, seq: 0, hash: HASH }] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [0, 0] }));
    await refuses("coverage-mismatch", () => team.rotate(owner, { seqs: [1] }));
    const older = await team.directory();
    await owner.add(await makeKeyPair("ECDSA"));
    await team.rotate(owner);
    await refuses("coverage-mismatch", () => team.rotate(owner, { directory: older }));
    await team.join(joiner, await team.invite(owner));
    await refuses("coverage-mismatch", async () => team.rotate(joiner, { heads: [{ user: owner.user, ...(await owner.log()).head }] }));
    await team.rotate(joiner);
  });

  it("takes no rotation by a device that it leaves out", async () => {
    const owner = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    const team = await Team.make(owner);
    await owner.revoke(second);
    await refuses("coverage-mismatch", () => team.rotate(owner, { by: second }));
    await team.rotate(owner);
  });

  it("has at most 1,000 members and pending, 10,000 who ever were, and 1,000 devices", async () => {
    const [owner, joiner] = await people();
    const team = await Team.make(owner);
    const invitation = await team.invite(owner);
    const before = team.log;
    for (const [fill, code] of [
      [({ pending }, id) => pending.set(id, { user: id, at: NOW }), 1_000],
      [({ everyone }, id) => everyone.add(id), 10_000],
    ]) {
      for (const [fits, count] of [[true, code - 1], [false, code]]) {
        const log = before.draft();
        for (let number = 1; number < count; number += 1) fill(log, `somebody ${number}`);
        team.log = log;
        if (fits) await team.join(joiner, invitation);
        else await refuses("too-large", () => team.join(joiner, invitation));
      }
    }

    /** A user of 20 devices, as far as a rotation looks at them. */
    const crowd = (user) => ({
      head: { seq: 0, hash: HASH },
      entries: [{ hash: HASH, receivedAt: NOW }],
      devicesAt: () => Array.from({ length: 20 }, (_, index) => `${user} ${index}`),
    });
    for (const [count, code] of [[49, null], [50, "too-large"]]) {
      const log = before.draft();
      const others = Array.from({ length: count }, (_, number) => `crowd ${number}`);
      for (const user of others) log.roster.set(user, { user, role: "member", invite: null, named: null, devices: [] });
      team.log = log;
      team.crowds = new Map(others.map((user) => [user, crowd(user)]));
      if (code === null) await team.rotate(owner);
      else await refuses(code, () => team.rotate(owner));
    }
  });

  it("begins with its creation, which comes only once", async () => {
    const owner = await Person.make();
    const created = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: POLICY };
    const team = await Team.make(owner);
    await refuses("invalid-request", () => team.append(owner, created));
    team.log = new TeamLog();
    await refuses("invalid-request", () => team.append(owner, { type: "policy.changed", policy: POLICY }));
    await refuses("invalid-request", () => team.append(owner, created, { team: HASH }));
  });

  it("tells what was at a head that it has, and of no other", async () => {
    const { team, owner, admin } = await makeTeam();
    const { roster, epoch } = team.log.at({ seq: 1, hash: team.log.past[1].hash });
    assert.deepEqual([[...roster.keys()], epoch.number], [[owner.user], 1]);
    assert.ok(!roster.has(admin.user));
    for (const head of [{ seq: 1, hash: HASH }, { seq: 99, hash: HASH }]) assert.throws(() => team.log.at(head), { code: "stale-log" });
  });

  it("takes no head that was followed by another long before the rotation", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const directory = await team.directory();
    await owner.add(await makeKeyPair("ECDSA"));
    await team.rotate(owner, { received: NOW + 300, directory });
    await refuses("coverage-mismatch", () => team.rotate(owner, { received: NOW + 301, directory }));
    await team.rotate(owner, { received: NOW + 301 });
  });

  it("takes no rotation that would seal to one device for two members", async () => {
    const [owner, joiner] = await people();
    const shared = await makeKeyPair("ECDSA");
    for (const person of [owner, joiner]) await person.add(shared);
    const team = await Team.make(owner);
    await team.join(joiner, await team.invite(owner));
    await refuses("conflict", () => team.rotate(joiner));
  });

  it("is stale after a device came or went, and when its epoch is old", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    assert.equal(team.log.isStale(await team.directory(), NOW + 3600), false);
    assert.equal(team.log.isStale(await team.directory(), NOW + 3601), true);
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    assert.equal(team.log.isStale(await team.directory(), NOW), true);
    await team.rotate(owner, { by: second });
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    assert.deepEqual(ascending(team.log.roster.get(owner.user).devices), ascending([owner.device.id, second.id]));
  });

  it("is refused when an entry is out of place or time", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    const event = { type: "policy.changed", policy: CONFIRMATION };
    await refuses("stale-log", () => team.append(owner, event, { seq: 5 }));
    await refuses("stale-log", () => team.append(owner, event, { prev: HASH }));
    await refuses("invalid-request", () => team.append(owner, event, { team: HASH }));
    await refuses("clock-skew", () => team.append(owner, event, { iat: NOW - 301 }));
    await refuses("clock-skew", () => team.append(owner, event, { received: NOW - 1 }));
  });
});

describe("the device of an author", () => {
  const event = { type: "policy.changed", policy: CONFIRMATION };

  it("speaks from 300 seconds before it was added", async () => {
    const owner = await Person.make();
    const team = await Team.make(owner);
    const second = await makeKeyPair("ECDSA");
    await owner.add(second, owner.device, { received: NOW + 1000 });
    await refuses("forbidden", () => team.append(owner, event, { by: second, received: NOW + 699 }));
    await team.append(owner, event, { by: second, received: NOW + 700 });
  });

  it("speaks until 300 seconds after it was revoked, unless a rotation has taken notice", async () => {
    const owner = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await owner.add(second);
    const team = await Team.make(owner);
    await owner.revoke(second, owner.device, { received: NOW + 10 });
    await refuses("forbidden", () => team.append(owner, event, { by: second, received: NOW + 311 }));
    await team.append(owner, event, { by: second, received: NOW + 310 });
    const rotated = await Team.make(owner);
    await refuses("forbidden", () => rotated.append(owner, event, { by: second, received: NOW + 20 }));
  });

  it("does not speak for whoever comes back, if a rotation named its revocation when they were in the team before", async () => {
    const [owner, member] = await people();
    const lost = await makeKeyPair("ECDSA");
    await member.add(lost);
    const team = await Team.make(owner);
    await team.joinAs("member", member);
    const older = await team.directory();
    await member.revoke(lost);
    await team.rotate(owner);
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    const invitation = await team.invite(owner);
    const proven = { team: team.log.team, invite: invitation.id, user: member.user, iat: NOW };
    const proof = await sign("osmynt-invite+jws", proven, invitation);
    await refuses("forbidden", () => team.append(member, { type: "member.joined", invite: invitation.id, proof }, { by: lost }));
    await team.join(member, invitation);
    await refuses("coverage-mismatch", () => team.rotate(member, { directory: older }));
    await team.rotate(member);
  });

  it("of another user does not speak, nor does one of nobody", async () => {
    const [owner, other] = await people();
    const team = await Team.make(owner);
    team.people.push(other);
    await refuses("forbidden", () => team.append(owner, event, { by: other.device }));
    await refuses("forbidden", async () => team.append(owner, event, { by: await makeKeyPair("ECDSA") }));
  });
});
