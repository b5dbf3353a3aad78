// What happens by the clock: rows that time has made worthless go, and users whose erasure is due. All others stay.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { utf8 } from "./client/encodings.mjs";
import { ERASURE_SECONDS } from "./client/limits.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { readDatabase } from "./support/dump.mjs";
import { spied, spyOn } from "./support/spy.mjs";

const DAY = 86_400;
const now = () => Math.floor(Date.now() / 1000);

const code = utf8("let x = 1;\n");

let world, database;

const rows = async (table) => (await database.prepare(`SELECT * FROM ${table}`).all()).results;
const everything = async () => {
  const { results } = await database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'").all();
  return Object.fromEntries(await Promise.all(results.map(async ({ name }) => [name, await rows(name)])));
};
const sweep = async () => (await world.service.mf.getWorker()).scheduled({ cron: "*/15 * * * *" });

describe("by the clock", () => {
  before(async () => {
    world = await startWorld(["ada", "grace"]);
    database = await world.service.mf.getD1Database("DB");
  });
  after(() => world?.dispose());

  it("nothing goes that is of use", async () => {
    const ada = await world.signIn("ada");
    await ada.createTeam("backend");
    await ada.refresh();
    const before = await everything();
    assert.ok(before.proofs.length > 0 && before.refreshes.length === 1 && before.handshakes.length === 1);
    assert.equal((await sweep()).outcome, "ok");
    assert.deepEqual(await everything(), before);
  });

  it("used proofs go once their age alone would refuse them, by any clock", async () => {
    const ada = await world.signIn("ada");
    await ada.api.me();
    const fresh = await rows("proofs");
    await database.prepare("INSERT INTO proofs (device, jti, ends_at) VALUES ('d', 'old', ?), ('d', 'new', ?)").bind(now() - 62, now() - 30).run();
    await sweep();
    assert.deepEqual((await rows("proofs")).map(({ jti }) => jti).sort(), [...fresh.map(({ jti }) => jti), "new"].sort());
  });

  it("sign-ins, sessions and devices that came to nothing go after a day", async () => {
    const grace = await world.signIn("grace");
    // A second device of hers, which is not in her log.
    const stranger = await world.signIn("grace");
    const [{ id }] = (await rows("sessions")).filter(({ device }) => device === stranger.device.id);
    await stranger.refresh();
    await database.batch([
      database.prepare("UPDATE handshakes SET decided_at = ?").bind(now() - 2 * DAY),
      database.prepare("UPDATE sessions SET expires_at = ? WHERE id = ?").bind(now() - 2 * DAY, id),
      database.prepare("INSERT INTO failed_polls (handshake, count, failed_at) VALUES (?, 3, ?), (?, 3, ?)").bind(randomUUID(), now() - 2 * DAY, "new", now()),
    ]);
    await sweep();
    const after = await everything();
    assert.deepEqual(after.handshakes, []);
    assert.deepEqual(after.failed_polls.map(({ handshake }) => handshake), ["new"]);
    const of = (table, device) => after[table].filter((row) => row.device === device).length;
    assert.deepEqual([of("sessions", stranger.device.id), of("devices", stranger.device.id)], [0, 0]);
    assert.deepEqual([of("sessions", grace.device.id), of("devices", grace.device.id)], [1, 1]);
    assert.ok(after.refreshes.every(({ session }) => session !== id));
    assert.equal((await grace.api.me()).device.active, true);
    await assert.rejects(stranger.api.me(), { code: "unauthenticated" });
    await assert.rejects(stranger.refresh(), { code: "unauthenticated" });
  });

  it("an ended session goes after a day, and is over all the while", async () => {
    const ada = await world.signIn("ada");
    await ada.api.endSession("current");
    const mine = async () => (await rows("sessions")).filter(({ device }) => device === ada.device.id).length;
    await sweep();
    assert.equal(await mine(), 1);
    await database.prepare("UPDATE sessions SET ended_at = ? WHERE device = ?").bind(now() - 2 * DAY, ada.device.id).run();
    await sweep();
    assert.equal(await mine(), 0);
    await assert.rejects(ada.api.me(), { code: "unauthenticated" });
  });

  it("account events are kept for 400 days", async () => {
    const [{ id: account }] = await rows("accounts");
    const event = "INSERT INTO account_events (account, at, type) VALUES (?, ?, 'signed-in')";
    await database.batch([database.prepare(event).bind(account, now() - 401 * DAY), database.prepare(event).bind(account, now() - 399 * DAY)]);
    const before = (await rows("account_events")).length;
    await sweep();
    const left = await rows("account_events");
    assert.equal(left.length, before - 1);
    assert.ok(left.some(({ at }) => at === now() - 399 * DAY || at === now() - 399 * DAY - 1));
  });

  it("whoever was not confirmed within 14 days waits no more, and their row goes a day later", async () => {
    const [ada, grace] = [await world.signIn("ada"), await world.signIn("grace")];
    for (const each of [ada, grace]) await each.startOver();
    const team = await ada.createTeam("waiting", { max_epoch_age: 3600, joining: "confirmation" });
    await grace.join((await ada.invite(team)).code);
    const waiting = async () => (await rows("team_members")).filter((row) => row.team === team && row.user === grace.user);
    const until = (at) => database.prepare("UPDATE team_members SET pending_until = ? WHERE team = ? AND user = ?").bind(at, team, grace.user).run();
    const [{ pending_until }] = await waiting();
    assert.ok(Math.abs(pending_until - (now() + 14 * DAY)) < 60, `${pending_until}`);
    await until(now() - 60);
    assert.deepEqual((await grace.teams()).teams, []);
    await assert.rejects(grace.read(team), { code: "not-found" });
    await sweep();
    assert.equal((await waiting()).length, 1);
    await until(now() - 2 * DAY);
    await sweep();
    assert.deepEqual(await waiting(), []);
  });
});

describe("the erasure of a former user", () => {
  let r2, spy, friend, used;
  before(async () => {
    const logins = Array.from({ length: 6 }, (_, index) => `person-${index}`);
    world = await startWorld(["friend", ...logins], await spied());
    database = await world.service.mf.getD1Database("DB");
    r2 = await world.service.mf.getR2Bucket("SNIPPETS");
    spy = spyOn(world.service);
    friend = await world.signIn("friend");
    used = 0;
  });
  after(() => world?.dispose());

  /** Somebody with two users, of whom the former has a team of their own: `{ former, present, own }`. */
  const startedOver = async () => {
    const login = `person-${used++}`;
    const former = await world.signIn(login);
    const own = await former.createTeam("Own");
    await former.share(own, code);
    return { former, own, present: await startOver(login) };
  };
  const startOver = async (login) => {
    const present = await world.signIn(login);
    await present.startOver();
    return present;
  };
  const let14DaysPass = (...users) =>
    database.batch(users.map((user) => database.prepare("UPDATE erasures SET asked_at = asked_at - ?1, due_at = due_at - ?1 WHERE user = ?2").bind(ERASURE_SECONDS, user)));
  const objectsOf = async (team) => (await r2.list({ prefix: `${team}/` })).objects.map(({ key }) => key);
  /** All rows that a team's object has. */
  const inTeam = async (team) => {
    const namespace = await world.service.mf.getDurableObjectNamespace("TEAMS");
    return readDatabase(join(world.service.persist, "do", "osmynt-Team", `${namespace.idFromName(team)}.sqlite`));
  };
  const isOut = (client) => assert.rejects(client.api.me(), { code: "unauthenticated" });
  /** Nothing in D1 and R2 names the user, any device of theirs, or this team. */
  const isGone = async ({ former, own }) => {
    const stored = JSON.stringify(await everything());
    for (const id of [former.user, former.device.id, own]) assert.ok(!stored.includes(id), `${id} is stored`);
    assert.deepEqual(await objectsOf(own), []);
    await isOut(former);
  };

  it("changes nothing before 14 days are over", async () => {
    const { former, present, own } = await startedOver();
    const { asked_at, due_at } = await present.api.askErasure(former.user);
    assert.ok(Math.abs(asked_at - now()) < 60);
    assert.equal(due_at - asked_at, ERASURE_SECONDS);
    // Of the second before there is no telling, as the clock goes on.
    await database.prepare("UPDATE erasures SET due_at = ? WHERE user = ?").bind(now() + 60, former.user).run();
    const before = await everything();
    await sweep();
    assert.deepEqual(await everything(), before);
    assert.equal((await former.list(own)).length, 1);
  });

  it("takes everything of somebody who is in no team with others, then", async () => {
    const both = await startedOver();
    const { former, present } = both;
    await present.api.askErasure(former.user);
    await let14DaysPass(former.user);
    await sweep();
    await isGone(both);
    // The account goes on, with the user who asked.
    const { account, device, erasures } = await present.me();
    assert.deepEqual([account.login, device.user, erasures], [former.account.login, present.user, []]);
    const { events } = await present.api.events();
    assert.deepEqual(events.slice(0, 2).map(({ type, device }) => [type, device]), [["erased", null], ["erasure-asked", present.device.id]]);
    await present.createTeam("Later");
    await sweep();
  });

  it("leaves the membership in teams with others, which go on, and takes the rest", async () => {
    const login = `person-${used++}`;
    const former = await world.signIn(login);
    const own = await former.createTeam("Own");
    await former.share(own, code);
    const shared = await makeTeam(friend, "Shared", { admin: former });
    const byFriend = await friend.share(shared, code);
    const toFormer = await friend.share(shared, code, { to: [former.user] });
    const byFormer = await former.share(shared, code);
    const toFriend = await former.share(shared, code, { to: [friend.user] });
    const founded = await makeTeam(former, "Founded", { member: friend });
    await former.share(founded, code);
    const present = await startOver(login);
    await present.api.askErasure(former.user);
    await let14DaysPass(former.user);
    await sweep();

    await isOut(former);
    const tables = await everything();
    const of = (table, user) => tables[table].filter((row) => row.user === user || row.id === user);
    assert.deepEqual([of("names", former.user), of("erasures", former.user)], [[], []]);
    assert.ok(tables.sessions.every(({ device }) => device !== former.device.id), "a session stays");
    assert.ok(tables.proofs.every(({ device }) => device !== former.device.id), "a proof stays");
    assert.ok(tables.account_events.every(({ device }) => device !== former.device.id), "an event stays");
    assert.deepEqual(of("users", former.user).map(({ account }) => account), [null]);
    assert.equal(of("user_log", former.user).length, 2);
    const [device] = of("devices", former.user);
    assert.deepEqual([device.account, device.revoked_seq, typeof device.prekey], [null, null, "string"]);
    assert.ok(tables.teams.every(({ id }) => id !== own), "the team of nobody else stays");
    for (const team of [own, founded]) assert.deepEqual(await objectsOf(team), []);
    const { envelopes, snippet_envelopes, readers, snippets } = await inTeam(shared);
    for (const row of [...envelopes, ...snippet_envelopes]) assert.notEqual(row.device, former.device.id);
    assert.ok(readers.every(({ user }) => user !== former.user), "a snippet is still for the user");
    assert.deepEqual(snippets.filter(({ statement }) => statement === null).map(({ snippet }) => snippet).sort(), [byFormer, toFriend].sort());

    // Those who are left find the member without a name, and none of their snippets.
    assert.deepEqual((await friend.list(shared)).map(({ statement }) => statement.snippet).sort(), [byFriend, toFormer].sort());
    for (const id of [byFormer, toFriend]) await assert.rejects(friend.open(shared, id), { code: "gone" });
    assert.deepEqual((await friend.open(shared, byFriend)).content, code);
    const view = await friend.read(shared);
    assert.equal(view.log.roster.get(former.user).role, "admin");
    assert.equal(friend.people(view).get(former.user).doubt, "unopened");
    // They can rotate, share, and remove the member; a team that nobody owns any more goes on for its members.
    await friend.rotate(shared);
    await friend.share(shared, code);
    await friend.removeMember(shared, former.user);
    await friend.share(shared, code, { to: null });
    assert.ok(!(await friend.read(shared)).log.roster.has(former.user));
    await friend.rotate(founded);
    await friend.share(founded, code);
  });

  it("does not come once a device of the user has objected", async () => {
    const { former, present, own } = await startedOver();
    await present.api.askErasure(former.user);
    assert.deepEqual((await former.api.me()).erasures.map(({ user }) => user), [former.user]);
    await former.api.withdrawErasure(former.user);
    assert.deepEqual((await present.api.me()).erasures, []);
    await let14DaysPass(former.user);
    const before = await everything();
    await sweep();
    assert.deepEqual(await everything(), before);
    assert.equal((await former.list(own)).length, 1);
  });

  it("that fails on the way goes on with the next sweep, and keeps no other waiting", async () => {
    const [first, second] = [await startedOver(), await startedOver()];
    for (const { former, present } of [first, second]) await present.api.askErasure(former.user);
    await let14DaysPass(first.former.user, second.former.user);
    // Whichever comes first.
    await spy.under([{ use: "worker team", after: "fail" }], sweep);
    const left = await rows("erasures");
    assert.equal(left.length, 1 + (await unfinished()));
    const [failed, erased] = left.some(({ user }) => user === first.former.user) ? [first, second] : [second, first];
    await isGone(erased);
    await sweep();
    await isGone(failed);
  });
  /** How many erasures wait for reasons of other tests. */
  const unfinished = async () => (await rows("erasures")).filter(({ due_at }) => due_at > now()).length;
});
