// Removed means out: what somebody who was removed, refused or demoted has prepared, or still holds, is worth nothing, without any help by the
// service and with nobody else doing anything about it. And somebody who takes over an account is another user.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { utf8 } from "../client/encodings.mjs";
import { sign } from "../client/statements.mjs";
import { UserLog } from "../client/userlog.mjs";
import { startWorld } from "../client/world.mjs";

const text = utf8("what only those may read who are in the team\n");
const refusedWith = (code) => ({ name: "Problem", code });

describe("somebody who was removed, refused or demoted", () => {
  let world, owner, other, mallory, eve, team;
  const names = ["owner", "other", "mallory", "eve"];

  before(async () => {
    world = await startWorld(names);
    [owner, other, mallory, eve] = await Promise.all(names.map((name) => world.signIn(name)));
  });
  after(() => world?.dispose());

  /** A new team of owner and other. */
  async function scene(joining = "invitation") {
    team = await owner.createTeam("Truth");
    await other.join((await owner.invite(team, { role: "admin" })).code);
    if (joining === "confirmation") await owner.changePolicy(team, { joining });
    return team;
  }

  /** Nothing of what is shared now reaches them. */
  async function assertOut(client) {
    const snippet = await owner.share(team, text);
    await assert.rejects(() => client.api.snippet(team, snippet), refusedWith("not-found"));
    await assert.rejects(() => client.api.log(team, 0), refusedWith("not-found"));
    const { log } = await owner.read(team);
    assert.ok(!log.roster.has(client.user));
    assert.ok([...log.roster.values()].every(({ devices }) => !devices.includes(client.device.id)));
  }

  it("does not join again by the invitation that they came in by, though it has uses left", async () => {
    await scene();
    const { code } = await owner.invite(team, { uses: 5 });
    await mallory.join(code);
    await owner.removeMember(team, mallory.user);
    await assert.rejects(() => mallory.join(code), refusedWith("gone"));
    await assertOut(mallory);
  });

  it("does not join by another invitation for anybody, made before or after the removal", async () => {
    await scene();
    const spare = await owner.invite(team, { uses: 5 });
    await mallory.join((await owner.invite(team)).code);
    await owner.removeMember(team, mallory.user);
    const later = await owner.invite(team, { uses: 5 });
    for (const { code } of [spare, later]) await assert.rejects(() => mallory.join(code), refusedWith("forbidden"));
    await assertOut(mallory);
    await eve.join(later.code);
    assert.ok((await owner.read(team)).log.roster.has(eve.user), "it is good for others");
  });

  it("does not join by an invitation that named them before the removal, and does by one that was made for them after it", async () => {
    await scene();
    const early = await owner.invite(team, { user: mallory.user });
    await mallory.join((await owner.invite(team)).code);
    const before = await owner.share(team, text);
    await owner.removeMember(team, mallory.user);
    const between = await owner.share(team, utf8("between\n"));
    await assert.rejects(() => mallory.join(early.code), refusedWith("forbidden"));
    const late = await owner.invite(team, { user: mallory.user });
    await assert.rejects(() => eve.join(late.code), refusedWith("forbidden"));
    await mallory.join(late.code);
    assert.deepEqual((await mallory.open(team, before)).content, text, "what they could open before, they open again");
    await assert.rejects(() => mallory.api.snippet(team, between), refusedWith("not-found"));
  });

  it("who was an admin does not come back as one by an invitation of their own, nor does an accomplice", async () => {
    await scene();
    await mallory.join((await owner.invite(team, { role: "admin" })).code);
    const prepared = await mallory.invite(team, { role: "admin", uses: 3 });
    const { log } = await owner.removeMember(team, mallory.user);
    assert.equal([...log.openInvites(owner.now())].length, 0, "the removal has closed it");
    await assert.rejects(() => mallory.join(prepared.code), refusedWith("gone"));
    await assert.rejects(() => eve.join(prepared.code), refusedWith("gone"));
    await assertOut(mallory);
  });

  it("who was demoted does not leave and come back as what they were", async () => {
    await scene();
    const entry = await owner.invite(team, { role: "admin", uses: 3 });
    await mallory.join(entry.code);
    const prepared = await mallory.invite(team, { role: "admin", uses: 3 });
    const strangers = await owner.invite(team, { role: "admin", uses: 3 });
    await owner.changeRole(team, mallory.user, "member");
    await mallory.leave(team);
    for (const [{ code }, refusal] of [[entry, "gone"], [prepared, "gone"], [strangers, "forbidden"]]) {
      await assert.rejects(() => mallory.join(code), refusedWith(refusal));
    }
    await assertOut(mallory);
  });

  it("who leaves before they are removed does not come back by what they have prepared", async () => {
    await scene();
    const entry = await owner.invite(team, { role: "admin", uses: 3 });
    await mallory.join(entry.code);
    const prepared = await mallory.invite(team, { role: "admin", uses: 3 });
    const spare = await owner.invite(team, { uses: 3 });
    await mallory.leave(team);
    for (const client of [mallory, eve]) {
      for (const { code } of [entry, prepared]) await assert.rejects(() => client.join(code), refusedWith("gone"));
    }
    await other.removeMember(team, mallory.user);
    await assert.rejects(() => mallory.join(spare.code), refusedWith("forbidden"));
    await assertOut(mallory);
  });

  it("takes an accomplice along who waits by an invitation that the removed made", async () => {
    await scene("confirmation");
    await mallory.join((await owner.invite(team, { role: "admin" })).code);
    await owner.confirm(team, mallory.user);
    await eve.join((await mallory.invite(team, { role: "admin" })).code);
    await owner.removeMember(team, mallory.user);
    await assert.rejects(() => owner.confirm(team, eve.user), { code: "not-found" });
    await assertOut(eve);
  });

  it("takes an accomplice along when they leave before they are removed", async () => {
    await scene("confirmation");
    await mallory.join((await owner.invite(team, { role: "admin" })).code);
    await owner.confirm(team, mallory.user);
    await eve.join((await mallory.invite(team, { role: "admin" })).code);
    await mallory.leave(team);
    await assert.rejects(() => eve.api.log(team, 0), refusedWith("not-found"));
    await assert.rejects(() => owner.confirm(team, eve.user), { code: "not-found" });
    await assertOut(eve);
  });

  it("who was refused asks again by no invitation but one that names them", async () => {
    await scene("confirmation");
    const { code } = await owner.invite(team, { uses: 5 });
    await mallory.join(code);
    await other.removeMember(team, mallory.user);
    await assert.rejects(() => mallory.join(code), refusedWith("gone"));
    const more = await owner.invite(team, { uses: 5 });
    await assert.rejects(() => mallory.join(more.code), refusedWith("forbidden"));
    await mallory.join((await owner.invite(team, { user: mallory.user })).code);
    assert.ok((await owner.read(team)).log.pending.has(mallory.user));
  });

  it("gets nothing as long as nobody has confirmed them", async () => {
    await scene("confirmation");
    await mallory.join((await owner.invite(team)).code);
    const snippet = await owner.share(team, text);
    await assert.rejects(() => mallory.api.snippet(team, snippet), refusedWith("not-found"));
    for (const read of [() => mallory.api.envelopes(team, 0), () => mallory.api.snippets(team)]) await assert.rejects(read, refusedWith("not-found"));
    assert.ok((await mallory.api.log(team, 0)).entries.length > 0, "they read what joining needs");
    await assert.rejects(() => mallory.rotate(team), { name: "Refused", code: "forbidden" }, "they are no member");
    await owner.confirm(team, mallory.user);
    assert.deepEqual((await mallory.open(team, await owner.share(team, text))).content, text);
  });

  it("is not kept in by a device that stands in another's log", async () => {
    await scene();
    const guest = await world.signIn("eve");
    assert.equal(guest.founded, null, "eve has a user already");
    await eve.addDevice(await guest.describe());
    // The same device, through another account: it belongs to eve for good.
    const statement = await sign("osmynt-device+jws", { user: mallory.user, jwk: guest.device.jwk, iat: mallory.now() }, guest.device);
    const prekey = await sign("osmynt-prekey+jws", { user: mallory.user, kind: "signed", key: guest.prekeys.get(guest.prekey).jwk, iat: mallory.now() }, guest.device);
    await assert.rejects(() => mallory.addDevice({ device: statement, prekey }), refusedWith("conflict"));
    await eve.join((await owner.invite(team)).code);
    await mallory.join((await owner.invite(team)).code);
    await owner.rotate(team);
  });
});

describe("somebody who has taken over an account at GitHub", () => {
  let world, owner, victim, thief, team, alone;

  before(async () => {
    world = await startWorld(["owner", "victim"]);
    owner = await world.signIn("owner");
    victim = await world.signIn("victim");
    team = await owner.createTeam("Truth");
    await victim.join((await owner.invite(team)).code);
    alone = await victim.createTeam("Mine");
    thief = await world.signIn("victim");
  });
  after(() => world?.dispose());

  it("opens nothing, and is told nothing but what starting over would leave behind", async () => {
    const { device, other, head } = await thief.api.me();
    assert.deepEqual([device.user, device.active, head, other.user, other.devices], [null, false, null, victim.user, 1]);
    assert.deepEqual(other.teams.map(({ team }) => team).toSorted(), [team, alone].toSorted());
    for (const act of [() => thief.api.teams(), () => thief.api.log(team, 0), () => thief.api.exportAccount(), () => thief.api.deleteAccount(), () => thief.api.askErasure(victim.user)]) {
      await assert.rejects(act, refusedWith("forbidden"));
    }
  });

  it("is another user after starting over, and nothing of the former one has changed", async () => {
    const snippet = await victim.share(team, text);
    await assert.rejects(() => thief.beginLog(), refusedWith("conflict"));
    await thief.startOver();
    assert.notEqual(thief.user, victim.user);
    assert.deepEqual(await thief.api.teams(), { teams: [] });
    await assert.rejects(() => thief.api.log(team, 0), refusedWith("not-found"));
    assert.deepEqual((await owner.open(team, snippet)).content, text);
    assert.deepEqual((await owner.open(team, await victim.share(team, text))).content, text, "the victim goes on");
    assert.deepEqual((await victim.api.teams()).teams.map(({ team }) => team).toSorted(), [team, alone].toSorted());
    const log = await UserLog.read(victim.user, (await victim.api.myLog(0)).entries);
    assert.equal(log.entries.length, 2, "nothing was added to the victim's log");
  });

  it("destroys nothing of the victim by deleting", async () => {
    const snippet = await victim.share(alone, text);
    const again = await world.signIn("victim");
    await again.startOver();
    await again.api.deleteAccount();
    assert.deepEqual((await victim.open(alone, snippet)).content, text);
    assert.deepEqual((await owner.open(team, await victim.share(team, text))).content, text);
  });

  it("erases the victim not before 14 days, in which the victim is told and objects", async () => {
    const { user, asked_at, due_at } = await thief.api.askErasure(victim.user);
    assert.deepEqual([user, due_at - asked_at], [victim.user, 14 * 24 * 3600]);
    assert.deepEqual(await thief.api.askErasure(victim.user), { user, asked_at, due_at }, "asking again changes nothing");
    assert.deepEqual((await victim.api.me()).erasures, [{ user, asked_at, due_at }]);
    await assert.rejects(() => owner.api.withdrawErasure(victim.user), refusedWith("not-found"));
    await (await world.service.mf.getWorker()).scheduled({ cron: "*/15 * * * *" });
    assert.equal((await victim.api.teams()).teams.length, 2, "the clock has done nothing yet");
    await victim.api.withdrawErasure(victim.user);
    assert.deepEqual((await victim.api.me()).erasures, []);
    const types = (await victim.api.events()).events.map(({ type }) => type);
    assert.ok(types.includes("erasure-asked") && types.includes("erasure-withdrawn") && types.includes("started-over"));
  });

  it("neither sees nor ends a session of the victim, who objects without one", async () => {
    const { sessions } = await victim.api.sessions();
    const { id } = sessions.find(({ current }) => current);
    assert.ok(!(await thief.api.sessions()).sessions.some((session) => session.id === id));
    await assert.rejects(() => thief.api.endSession(id), refusedWith("not-found"));
    await thief.api.endAllSessions();
    await victim.api.me();
    thief = await world.signIn("victim");
    await thief.startOver();
    await thief.api.askErasure(victim.user);
    await victim.api.endSession(id);
    await victim.api.withdrawErasure(victim.user);
    assert.deepEqual((await thief.api.me()).erasures, []);
  });

  it("cannot ask it of others", async () => {
    await assert.rejects(() => thief.api.askErasure(owner.user), refusedWith("not-found"));
    await assert.rejects(() => thief.api.askErasure(thief.user), refusedWith("not-found"));
    await assert.rejects(() => victim.api.askErasure(thief.user), { name: "Problem" });
  });
});
