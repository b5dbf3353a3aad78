// The whole of an account: what an export holds, and what is left after a deletion, whatever fails or happens meanwhile.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import Ajv from "ajv/dist/2020.js";
import { Problem } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, randomBytes, utf8 } from "./client/encodings.mjs";
import { newSnippetId } from "./client/snippet.mjs";
import { parse } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";
import { dump, readDatabase, search } from "./support/dump.mjs";
import { person } from "./support/github.mjs";
import { spied, spyOn, until } from "./support/spy.mjs";

const ALWAYS = 1_000;
const CODE = utf8("let x = 1;\n");
/** The transaction that ends an account. */
const END = { use: "worker d1", detail: "UPDATE users SET login" };
/** The round trip to D1 by which a team learns who is about to join, before it decides. */
const DEVICES = { use: "team d1", detail: "FROM users u LEFT JOIN devices d" };
const PROJECTION = { use: "team d1", detail: "INSERT INTO teams" };

const schema = JSON.parse(await readFile(new URL("../docs/export.schema.json", import.meta.url), "utf8"));
const isExport = new Ajv({ allErrors: true, strictTypes: false }).compile(schema);
/** Names of the tables of D1 that the schema says it covers, with the description of the rows. */
const exported = new Map();
for (const part of Object.values(schema.properties)) {
  const tables = part.$comment?.match(/^D1: (.*)$/)[1].split(", ") ?? [];
  for (const table of tables) exported.set(table, (part.items ?? part).properties);
}

let world, service, spy, db, r2;

before(async () => {
  // Long names and numbers, so that a search for them finds nothing by chance.
  const people = Array.from({ length: 100 }, (_, index) => person(700_000_000_001 + index, `somebody-${index}`, `Somebody the ${index}th`));
  world = await startWorld([], { people, ...(await spied()) });
  service = world.service;
  spy = spyOn(service);
  db = await service.mf.getD1Database("DB");
  r2 = await service.mf.getR2Bucket("SNIPPETS");
});
after(() => world?.dispose());

let used = 0;
/** Somebody new, signed in. */
async function newcomer() {
  const login = `somebody-${used++}`;
  return Object.assign(await world.signIn(login), { login });
}
const newcomers = (count) => Promise.all(Array.from({ length: count }, newcomer));
/** A further device of a user, which is in their log. */
async function anotherDevice(client) {
  const other = Object.assign(await world.signIn(client.login), { login: client.login });
  await client.addDevice(await other.describe());
  other.prekeys.forEach(({ jwk }) => client.learnSiblingPrekey(other.device.id, jwk));
  other.learnSiblingPrekey(client.device.id, client.prekeys.get(client.prekey).jwk);
  return other;
}

const rows = async (sql, ...values) => (await db.prepare(sql).bind(...values).all()).results;
const count = async (table, where, ...values) => (await rows(`SELECT count(*) AS n FROM ${table} WHERE ${where}`, ...values))[0].n;
const rejects = (action, code) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);
const outcome = (action) => action.then(() => "ok", (problem) => problem.code ?? problem);
const isStored = async (team, id) => (await r2.head(`${team}/${id}`)) !== null;
const objectsOf = async (team) => (await r2.list({ prefix: `${team}/` })).objects.map(({ key }) => key);
const share = (client, team, options) => client.share(team, CODE, options);
const exportOf = async (client) => (await client.api.send("GET", "/v1/me/export")).json();

/** What comes as an answer before it ends or breaks off, on a connection of its own, as the service may drop that afterwards. */
function receive(path, headers) {
  return new Promise((resolve, reject) => {
    const sent = request(`${service.url}${path}`, { headers, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      answer.on("error", () => {}).on("close", () => resolve({ status: answer.statusCode, text }));
    });
    sent.on("error", reject).end();
  });
}

/** All rows of all tables that a team's object has; no tables if there is nothing left of it. */
async function tablesOf(team) {
  const namespace = await service.mf.getDurableObjectNamespace("TEAMS");
  const file = join(service.persist, "do", "osmynt-Team", `${namespace.idFromName(team)}.sqlite`);
  return readDatabase(file);
}
const storageOf = async (team) => Object.keys(await tablesOf(team));

/** Nothing of a user is left in D1 but, if somebody's log names them, a stub. */
async function isGone(client, { stub = false } = {}) {
  const { user } = client;
  for (const table of ["devices", "sessions", "handshakes", "account_events", "team_members"]) {
    if (table !== "team_members" || !stub) assert.equal(await count(table, "user = ?", user), 0, table);
  }
  assert.equal(await count("proofs", "device = ?", client.device.id), 0);
  assert.equal(await count("refreshes", "session NOT IN (SELECT id FROM sessions)"), 0);
  const left = await rows("SELECT login, name, avatar_url, github_id < 0 AS is_stub FROM users WHERE id = ?", user);
  assert.deepEqual(left, stub ? [{ login: "", name: null, avatar_url: null, is_stub: 1 }] : []);
  for (const table of ["user_log", "user_teams"]) assert.equal((await count(table, "user = ?", user)) > 0, stub, table);
  await rejects(() => client.api.me(), "unauthenticated");
}

describe("an export", () => {
  it("has everything that the service holds about a user, as its schema describes it", async () => {
    const [user, friend] = await newcomers(2);
    const phone = await anotherDevice(user);
    await phone.refresh();
    const tablet = await anotherDevice(user);
    await user.revokeDevice(tablet.device.id);
    const bystander = await world.signIn(user.login);
    await bystander.api.endSession();

    const home = await makeTeam(user, "Home", { member: friend });
    const [own, direct] = [await share(user, home), await share(user, home, { to: [friend.user] })];
    const [toAll, toUser] = [await share(friend, home), await share(friend, home, { to: [user.user] })];
    const deleted = await share(user, home);
    await user.deleteSnippet(home, deleted);
    const former = await makeTeam(friend, "Former", { member: user });
    await friend.changeRole(former, user.user, "admin");
    const left = await share(user, former);
    await friend.removeMember(former, user.user);

    // A sign-in that was refused, and one that was polled for with a wrong verifier.
    const refused = world.signIn(user.login, { approve: ({ verification_uri_complete }) => approve(verification_uri_complete, user.login, { deny: true }) });
    await rejects(() => refused, "access_denied");
    const [{ id: handshake }] = await rows("SELECT id FROM handshakes WHERE user = ? LIMIT 1", user.user);
    await db.prepare("INSERT INTO failed_polls (handshake, count, failed_at) VALUES (?, 2, ?)").bind(handshake, user.now()).run();

    const found = await exportOf(user);
    assert.ok(isExport(found), JSON.stringify(isExport.errors, null, 2));

    assert.equal(found.account.login, user.login);
    assert.equal(found.account.github_id, service.github.people.find(({ login }) => login === user.login).id);
    assert.deepEqual(found.log.map(({ jws, received_at }) => ({ jws, received_at })), (await user.api.myLog(0)).entries);
    const ids = (all) => all.map(({ device }) => device).sort();
    assert.deepEqual(ids(found.devices), [user, phone, tablet, bystander].map(({ device }) => device.id).sort());
    assert.ok(found.sessions.some(({ device, ended_at }) => device === bystander.device.id && ended_at !== null), "a session that has ended");
    assert.equal(found.refreshes.length, 1);
    assert.deepEqual(found.failed_polls.map((each) => [each.handshake, each.count]), [[handshake, 2]]);
    assert.ok(found.proofs.some(({ device }) => device === user.device.id));
    assert.ok(found.events.some(({ type }) => type === "device-revoked"));
    // Nothing is left out: as many of each as there are.
    for (const [part, table, where] of [
      ["log", "user_log", "user = ?1"], ["devices", "devices", "user = ?1"], ["events", "account_events", "user = ?1"], ["handshakes", "handshakes", "user = ?1"],
      ["sessions", "sessions", "user = ?1"], ["refreshes", "refreshes", "session IN (SELECT id FROM sessions WHERE user = ?1)"], ["teams", "user_teams", "user = ?1"],
    ]) {
      assert.equal(found[part].length, await count(table, where, user.user), part);
      assert.ok(found[part].length > 0, part);
    }

    const teams = new Map(found.teams.map((each) => [each.team, each]));
    assert.deepEqual([...teams.keys()].sort(), [home, former].sort());
    assert.deepEqual([teams.get(home).role, teams.get(former).role], ["owner", null]);
    const snippets = (team) => teams.get(team).snippets.map(({ snippet, statement, path }) => [snippet, statement === null, path]);
    const path = (team, snippet) => `/v1/teams/${team}/snippets/${snippet}`;
    assert.deepEqual(snippets(home), [[own, false, path(home, own)], [direct, false, path(home, direct)], [deleted, true, null]]);
    assert.deepEqual(snippets(former), [[left, false, path(former, left)]]);
    assert.equal((await parse("osmynt-snippet+jws", teams.get(home).snippets[0].statement)).payload.snippet, own);
    assert.deepEqual(teams.get(home).named_in, [toUser]);
    assert.ok(!JSON.stringify(found).includes(toAll), "what others share with the team is theirs");
    const events = async (team) =>
      Promise.all(teams.get(team).entries.map(async ({ jws }) => (await parse("osmynt-team+jws", jws)).payload).map(async (entry) => [(await entry).user, (await entry).event.type]));
    assert.deepEqual(await events(home), ["team.created", "key.rotated", "invite.created"].map((type) => [user.user, type]));
    assert.deepEqual(await events(former), [
      [user.user, "member.joined"], [user.user, "key.rotated"], [friend.user, "role.changed"], [friend.user, "member.removed"],
    ]);
    assert.deepEqual(teams.get(former).envelopes.map(({ device, epoch }) => [device, epoch]).sort(), [[phone.device.id, 2], [user.device.id, 2]].sort());
  });

  it("is described for every table of D1 that has something of a user, column by column", async () => {
    // Of a team these have its head and epoch alone.
    const ofNobody = ["teams"];
    // Said by where it stands in the export.
    const understood = { user_log: ["user"], devices: ["user"], sessions: ["user"], account_events: ["user"], user_teams: ["user"], team_members: ["user"] };
    const tables = await rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'");
    assert.ok(tables.length > 8);
    for (const { name } of tables) {
      if (ofNobody.includes(name)) continue;
      assert.ok(exported.has(name), `the export says nothing of the table ${name}`);
      for (const { name: column } of await rows(`SELECT name FROM pragma_table_info('${name}')`)) {
        if (!understood[name]?.includes(column)) assert.ok(column in exported.get(name), `the export says nothing of ${name}.${column}`);
      }
    }
    assert.deepEqual([...exported.keys()].filter((table) => !tables.some(({ name }) => name === table)), []);
  });

  it("is described member by member", () => {
    const undescribed = [];
    const walk = (part, path) => {
      if (!part.description) undescribed.push(path);
      for (const [name, member] of Object.entries(part.properties ?? {})) walk(member, `${path}.${name}`);
      if (part.items) walk(part.items, `${path}[]`);
    };
    walk(schema, "export");
    for (const [name, part] of Object.entries(schema.$defs)) walk(part, name);
    assert.deepEqual(undescribed, []);
  });

  it("is read page by page, and none is left out", async () => {
    const user = await newcomer();
    const team = await user.createTeam("Large");
    for (let epoch = 2; epoch <= 101; epoch += 1) await user.rotate(team);
    const view = await user.read(team);
    const shared = [];
    for (let snippet = 0; snippet < 201; snippet += 1) {
      const id = newSnippetId(Date.now());
      await user.api.putSnippet(team, id, await user.buildSnippet(view, id, CODE, { to: null }));
      shared.push(id);
    }
    const found = await exportOf(user);
    assert.ok(isExport(found), JSON.stringify(isExport.errors, null, 2));
    const [{ entries, envelopes, snippets }] = found.teams;
    assert.deepEqual(await Promise.all(entries.map(async ({ jws }) => (await parse("osmynt-team+jws", jws)).payload.seq)), Array.from({ length: 102 }, (_, seq) => seq));
    assert.deepEqual(envelopes.map(({ epoch }) => epoch), Array.from({ length: 101 }, (_, index) => index + 1));
    assert.deepEqual(snippets.map(({ snippet }) => snippet), shared);
  });

  it("costs D1 one round trip, and a team four requests as long as there is little of it", async () => {
    const user = await newcomer();
    await user.createTeam("Frugal");
    const four = Array.from({ length: 4 }, () => "worker team");
    assert.deepEqual(await spy.usesOf(() => exportOf(user)), ["worker d1", "worker d1", ...four]);
  });

  it("that fails on the way breaks off, so that nobody takes it for whole", async () => {
    const user = await newcomer();
    const team = await user.createTeam("Unreachable");
    await share(user, team);
    for (const skip of [0, 3]) {
      await spy.under([{ use: "worker team", detail: "/own", skip, before: "fail" }], async () => {
        const { status, text } = await receive("/v1/me/export", await user.api.credentials("GET", "/v1/me/export"));
        assert.equal(status, 200);
        assert.throws(() => JSON.parse(text), SyntaxError);
      });
    }
    assert.ok(isExport(await exportOf(user)));
  });

  it("that cannot begin is a problem", async () => {
    const user = await newcomer();
    await spy.under([{ use: "worker d1", skip: 1, before: "fail" }], () => rejects(() => user.api.send("GET", "/v1/me/export"), "internal"));
  });

  it("is for devices of the user's log", async () => {
    const user = await newcomer();
    const other = await world.signIn(user.login);
    await rejects(() => exportOf(other), "forbidden");
  });
});

describe("a deletion", () => {
  it("leaves nothing of who is in no team, and the same person is a new user", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    await user.refresh();
    await user.api.deleteAccount();
    await isGone(user);
    await rejects(() => phone.api.me(), "unauthenticated");
    await rejects(() => user.refresh(), "unauthenticated");
    const again = await world.signIn(user.login);
    assert.notEqual(again.user, user.user);
    assert.equal((await again.api.me()).user.login, user.login);
    assert.equal((await again.api.myLog(0)).entries.length, 1);
  });

  it("is for who has no log yet, and for no device that is not in the log", async () => {
    const user = await newcomer();
    const stranger = await world.signIn(user.login);
    await rejects(() => stranger.api.deleteAccount(), "forbidden");
    assert.equal((await user.api.me()).user.id, user.user);

    const login = `somebody-${used++}`;
    const logless = new Client((await world.signIn(login)).api, user.now, null);
    // As it is between the claim of the tokens and the first entry.
    logless.user = (await logless.api.me()).user.id;
    await db.batch(["DELETE FROM user_log WHERE user = ?", "UPDATE users SET log_seq = NULL, log_hash = NULL, identity = NULL WHERE id = ?", "UPDATE devices SET added_seq = NULL, prekey = NULL, prekey_iat = NULL WHERE user = ?"]
      .map((sql) => db.prepare(sql).bind(logless.user)));
    assert.equal((await logless.api.me()).log, null);
    await logless.api.deleteAccount();
    logless.device = logless.api.device;
    await isGone(logless);
  });

  it("is refused while the user is in a team with others, before anything is changed", async () => {
    const [user, friend] = await newcomers(2);
    const alone = await user.createTeam("Alone");
    const kept = await share(user, alone);
    const former = await makeTeam(friend, "Former", { member: user });
    const left = await share(user, former);
    await user.leave(former);
    const together = await makeTeam(user, "Together", { member: friend });
    await assert.rejects(() => user.api.deleteAccount(), ({ code, detail }) => code === "conflict" && /leave/i.test(detail));
    assert.deepEqual((await user.list(alone)).map(({ statement }) => statement.snippet), [kept]);
    await friend.rotate(former);
    assert.deepEqual((await friend.list(former)).map(({ statement }) => statement.snippet), [left]);
    assert.equal((await user.api.teams()).teams.length, 2);

    await user.change(together, () => [{ type: "role.changed", user: friend.user, role: "owner" }, { type: "member.left" }]);
    await user.api.deleteAccount();
    await isGone(user, { stub: true });
    assert.deepEqual(await storageOf(alone), []);
    assert.equal((await friend.api.team(together)).members.length, 1);
  });

  it("erases a team that nobody else is in, with whatever R2 has of it", async () => {
    const [user, former] = await newcomers(2);
    const team = await makeTeam(user, "Mine", { member: former });
    for (const author of [user, former]) await share(author, team);
    await former.leave(team);
    await user.rotate(team);
    // Of a request that died before the team heard of it.
    await r2.put(`${team}/${newSnippetId(Date.now())}`, "an object that no index knows");
    const others = await user.createTeam("Another");
    await share(user, others);
    assert.equal((await objectsOf(team)).length, 3);
    assert.ok((await storageOf(team)).includes("snippets"));
    await user.api.deleteAccount();
    for (const each of [team, others]) {
      assert.deepEqual(await objectsOf(each), []);
      assert.deepEqual(await storageOf(each), []);
      for (const [table, column] of [["teams", "id"], ["team_members", "team"], ["user_teams", "team"]]) assert.equal(await count(table, `${column} = ?`, each), 0, table);
    }
    await isGone(user);
    await rejects(() => former.api.log(team, 0), "not-found");
    await former.api.deleteAccount();
    await isGone(former);
  });

  it("takes the snippets of a former member, and leaves the others what they need to go on", async () => {
    const [owner, user, friend] = await newcomers(3);
    const team = await makeTeam(owner, "Ours", [["admin", user], ["member", friend]]);
    const [theirs, direct] = [await share(user, team), await share(user, team, { to: [friend.user] })];
    const kept = await share(friend, team);
    await user.leave(team);
    await owner.rotate(team);
    const entry = async () => (await owner.api.log(team, 0)).entries;
    const before = await entry();
    await user.api.deleteAccount();

    await isGone(user, { stub: true });
    assert.deepEqual(await objectsOf(team), [`${team}/${kept}`]);
    for (const snippet of [theirs, direct]) await rejects(() => friend.open(team, snippet), "gone");
    const tables = await tablesOf(team);
    assert.ok(!tables.envelopes.some(({ device }) => device === user.device.id), "their envelopes are gone");
    assert.ok(tables.envelopes.some(({ device }) => device === friend.device.id));
    assert.ok(!tables.readers.some((reader) => reader.user === user.user));

    assert.deepEqual(await entry(), before);
    const { log } = await owner.read(team);
    assert.ok(log.past.some(({ author }) => author.user === user.user), "their entries are there, and verified");
    await owner.rotate(team);
    await owner.changeRole(team, friend.user, "admin");
    const later = await share(friend, team);
    assert.deepEqual((await owner.list(team)).map(({ statement }) => statement.snippet), [later, kept]);
    assert.deepEqual((await owner.open(team, later)).content, CODE);
    const newer = await newcomer();
    await newer.join((await owner.invite(team)).link);
    await owner.removeMember(team, newer.user);
  });

  it("works after the account was started over, and the team in which the user is named can go on", async () => {
    const [owner, user, friend] = await newcomers(3);
    const team = await makeTeam(owner, "Named", [["member", user], ["member", friend]]);
    const theirs = await share(user, team);
    const mine = await user.createTeam("Earlier");
    const again = Object.assign(await world.signIn(user.login), { login: user.login });
    await again.resetIdentity();
    await again.api.deleteAccount();
    await isGone(again, { stub: true });
    assert.deepEqual(await storageOf(mine), [], "nobody else was in it");
    assert.deepEqual(await objectsOf(team), []);

    assert.equal((await owner.read(team)).log.roster.get(user.user).role, "member");
    await owner.rotate(team);
    const later = await share(friend, team);
    assert.deepEqual((await owner.open(team, later)).content, CODE);
    await rejects(() => owner.open(team, theirs), "gone");
    const { members } = await owner.api.team(team);
    assert.equal(members.find((member) => member.user === user.user).login, "");
    const newer = await newcomer();
    await newer.join((await owner.invite(team)).link);
    await owner.removeMember(team, user.user);
    assert.deepEqual((await newer.read(team)).log.roster.size, 3);
    await share(newer, team);
  });

  it("leaves no stub once no team is left that names the user", async () => {
    const [owner, user, other] = await newcomers(3);
    const first = await makeTeam(owner, "First", { member: user });
    const second = await makeTeam(other, "Second", { member: user });
    for (const team of [first, second]) await user.leave(team);
    await user.api.deleteAccount();
    await isGone(user, { stub: true });
    await owner.api.deleteAccount();
    await isGone(user, { stub: true });
    await other.read(second);
    await other.api.deleteAccount();
    await isGone(user);
  });

  it("leaves nothing in any store that tells who it was", async () => {
    const owner = await newcomer();
    const account = service.github.people[used++];
    // A device is called as its owner likes, and KV keeps that for the five minutes of a sign-in.
    const user = await world.signIn(account.login, { name: "a device" });
    const number = Buffer.alloc(6);
    number.writeUIntBE(account.id, 0, 6);
    const needles = [account.name, account.avatar_url, account.login, String(account.id), { name: "the number in binary", bytes: number }];
    const team = await makeTeam(owner, "Discreet", { member: user });
    await share(user, team);
    await user.leave(team);
    const found = async () => {
      const { parts } = await dump(service);
      // What a database gives, not its files: SQLite overwrites what it has freed in its own time, and D1 can be wound back for 30 days.
      const given = parts.filter(({ where }) => !/\.sqlite(-wal|-shm)?$/.test(where));
      return search({ parts: given }, needles).map(({ name, where }) => `${name} in ${where}`);
    };
    assert.ok((await found()).length >= 4, "a control: they are there before");
    await user.api.deleteAccount();
    assert.deepEqual(await found(), []);
  });
});

describe("a deletion that fails on the way", () => {
  /** Somebody with a team of their own, a team that they left, and a team in which they are named since they started over. */
  async function settled() {
    const [owner, first] = await newcomers(2);
    const named = await makeTeam(owner, "Named", { member: first });
    const inNamed = await share(first, named);
    const user = Object.assign(await world.signIn(first.login), { login: first.login });
    await user.resetIdentity();
    const left = await makeTeam(owner, "Left", { member: user });
    const inLeft = await share(user, left);
    await user.leave(left);
    const own = await user.createTeam("Own");
    await share(user, own);
    return { owner, user, named, left, own, shared: [[named, inNamed], [left, inLeft]] };
  }
  async function isDone({ owner, user, named, left, own, shared }) {
    await isGone(user, { stub: true });
    assert.deepEqual([await objectsOf(own), await storageOf(own)], [[], []]);
    for (const [team, snippet] of shared) assert.ok(!(await isStored(team, snippet)));
    for (const team of [named, left]) {
      await owner.rotate(team);
      await share(owner, team);
    }
  }
  const isUsable = async ({ user }) => {
    assert.equal((await user.api.me()).user.login, user.login);
    await user.api.teams();
  };

  for (const [what, rule] of [
    ["D1 does not tell the teams", { use: "worker d1", detail: "FROM user_teams t", before: "fail" }],
    ["a team cannot be asked", { use: "worker team", detail: "/forget", before: "fail" }],
    ["the first team does not let go", { use: "worker team", detail: "/forget", skip: 3, before: "fail" }],
    ["the last team does not let go", { use: "worker team", detail: "/forget", skip: 5, before: "fail" }],
    ["the answer of the last team is lost", { use: "worker team", detail: "/forget", skip: 5, after: "fail" }],
    ["D1 does not take the end", { ...END, before: "fail" }],
  ]) {
    it(`because ${what} leaves the account usable, and succeeds the next time`, async () => {
      const scene = await settled();
      const code = await spy.under([rule], () => outcome(scene.user.api.deleteAccount()));
      assert.match(code, /^(internal|unavailable)$/);
      await isUsable(scene);
      await scene.user.api.deleteAccount();
      await isDone(scene);
    });
  }

  it("because the answer of D1 to the end is lost has succeeded", async () => {
    const scene = await settled();
    await spy.under([{ ...END, after: "fail" }], () => rejects(() => scene.user.api.deleteAccount(), "internal"));
    await rejects(() => scene.user.api.deleteAccount(), "unauthenticated");
    await isDone(scene);
  });

  for (const use of ["team r2.list", "team r2.delete"]) {
    it(`because of ${use} ends the account, and the objects vanish when R2 is there again`, async () => {
      const scene = await settled();
      await spy.under([{ use, before: "fail", times: ALWAYS }], async () => {
        await scene.user.api.deleteAccount();
        await isGone(scene.user, { stub: true });
        assert.equal((await objectsOf(scene.own)).length, 1);
      });
      await until(async () => (await objectsOf(scene.own)).length === 0 && (await storageOf(scene.own)).length === 0, "the alarm erases the team");
      for (const [team, snippet] of scene.shared) await until(async () => !(await isStored(team, snippet)), "the alarm erases the snippets");
      await isDone(scene);
    });
  }
});

describe("a deletion under way", () => {
  it("notices that another device joins a team", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await owner.createTeam("Joined");
    const { link } = await owner.invite(team);
    await spy.under([{ ...END, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await phone.join(link);
      await release();
      assert.equal(await deleted, "conflict");
    });
    assert.equal((await user.api.teams()).teams.length, 1);
    await share(phone, team);
    await phone.leave(team);
    await user.api.deleteAccount();
    await isGone(user, { stub: true });
  });

  it("notices that another device joins a team again that it has looked at", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await makeTeam(owner, "Again", { member: user });
    await user.leave(team);
    await owner.rotate(team);
    const { link } = await owner.invite(team);
    await spy.under([{ ...END, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await phone.join(link);
      await release();
      assert.equal(await deleted, "conflict");
    });
    assert.equal((await user.api.teams()).teams.length, 1);
  });

  it("waits for a join that the team has yet to decide on", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await owner.createTeam("Undecided");
    const { link } = await owner.invite(team);
    await spy.under([{ ...DEVICES, detail: "INSERT INTO user_teams (user, team, joins) SELECT id, ?2", after: "wait" }], async (release) => {
      const joined = phone.join(link);
      await spy.waiting();
      await rejects(() => user.api.deleteAccount(), "unavailable");
      await release();
      await joined;
    });
    await rejects(() => user.api.deleteAccount(), "conflict");
    assert.equal((await user.api.teams()).teams.length, 1);
  });

  it("finds no device for a join that begins to be decided after its end", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await owner.createTeam("Late");
    const { link } = await owner.invite(team);
    await spy.under([{ ...DEVICES, before: "wait" }], async (release) => {
      const joined = outcome(phone.join(link));
      await spy.waiting();
      await user.api.deleteAccount();
      await release();
      assert.match(await joined, /^(forbidden|unauthenticated)$/);
    });
    await isGone(user);
    assert.equal((await owner.api.team(team)).members.length, 1);
    await owner.rotate(team);
  });

  it("leaves nothing to an entry of the user log that arrives after its end", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await makeTeam(owner, "Entry", { member: user });
    await user.leave(team);
    const tablet = await world.signIn(user.login);
    const described = await tablet.describe();
    const entries = await count("user_log", "user = ?", user.user);
    await spy.under([{ use: "worker d1", detail: "INSERT INTO user_log", before: "wait" }], async (release) => {
      const added = outcome(phone.addDevice(described));
      await spy.waiting();
      await user.api.deleteAccount();
      await release();
      assert.match(await added, /^(stale-log|unauthenticated)$/);
    });
    await isGone(user, { stub: true });
    assert.equal(await count("user_log", "user = ?", user.user), entries);
    assert.equal(await count("users", "id = ? AND log_seq = ?", user.user, entries - 1), 1);
    for (const table of ["devices", "account_events"]) assert.equal(await count(table, "user = ?", user.user), 0, table);
  });

  it("takes a team along that another device founds meanwhile", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    let team;
    await spy.under([{ ...END, before: "wait" }], async (release) => {
      const deleted = user.api.deleteAccount();
      await spy.waiting();
      team = await phone.createTeam("Founded");
      await share(phone, team);
      await release();
      await deleted;
    });
    await isGone(user);
    assert.deepEqual([await objectsOf(team), await storageOf(team)], [[], []]);
    assert.equal(await count("teams", "id = ?", team), 0);
  });

  it("gives up after a while when the teams keep changing, and has changed nothing in D1", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    // Three pieces of the one transaction, so that each of its attempts is held up for itself.
    const pieces = ["UPDATE users SET login", "DELETE FROM refreshes", "DELETE FROM devices"];
    await spy.under(pieces.map((detail) => ({ ...END, detail, before: "wait" })), async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      for (const piece of pieces) {
        await spy.waiting();
        await phone.createTeam(piece);
        await release(piece);
      }
      assert.equal(await deleted, "unavailable");
    });
    assert.equal((await user.api.me()).user.login, user.login);
    await user.api.deleteAccount();
    await isGone(user);
  });

  it("erases what reaches R2 after the team was erased", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    const team = await user.createTeam("Erased");
    await spy.under([{ use: "worker r2.put", before: "wait" }], async (release) => {
      const shared = outcome(share(phone, team));
      await spy.waiting();
      await user.api.deleteAccount();
      await release();
      assert.equal(await shared, "not-found");
    });
    assert.deepEqual([await objectsOf(team), await storageOf(team)], [[], []]);
  });

  it("erases it also when R2 fails for a moment", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    const team = await user.createTeam("Erased");
    await spy.under([{ use: "worker r2.put", before: "wait" }, { use: "team r2.delete", before: "fail" }], async (release) => {
      const shared = outcome(share(phone, team));
      await spy.waiting();
      await user.api.deleteAccount();
      await release("worker r2.put");
      assert.equal(await shared, "not-found");
      assert.equal((await objectsOf(team)).length, 1);
    });
    await until(async () => (await objectsOf(team)).length === 0 && (await storageOf(team)).length === 0, "the alarm erases it");
  });

  it("waits for a projection that is on its way, so that none brings the team back", async () => {
    const user = await newcomer();
    const team = await user.createTeam("Projected");
    await spy.under([{ ...PROJECTION, before: "wait" }], async (release) => {
      const changed = user.changePolicy(team, { max_epoch_age: 7200 });
      await spy.waiting();
      await rejects(() => user.api.deleteAccount(), "unavailable");
      await release();
      await changed;
    });
    await user.api.deleteAccount();
    await isGone(user);
    assert.equal(await count("teams", "id = ?", team), 0);
  });

  it("lets nobody found a team by its first entry again while it is erased", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    const own = await phone.ownLog();
    const view = { log: new TeamLog(), directory: new Map([[phone.user, own]]), prekeys: new Map() };
    const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), identity: own.identity, policy: { max_epoch_age: 3600 } };
    const founding = (await phone.buildCommit(view, [event], "Twice")).body;
    const { team } = await phone.api.createTeam(founding);
    await spy.under([{ use: "team r2.list", before: "wait" }, { ...END, before: "fail" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting(1, "team r2.list");
      await rejects(() => phone.api.createTeam(founding), "unavailable");
      await release("team r2.list");
      assert.equal(await deleted, "internal");
    });
    // Nothing is left of it, so it is as if it had never been.
    await phone.api.createTeam(founding);
    await phone.read(team);
    await user.api.deleteAccount();
    await isGone(user);
    assert.deepEqual(await storageOf(team), []);
  });

  it("keeps a team that somebody else joins at the last moment", async () => {
    const [user, friend] = await newcomers(2);
    const team = await user.createTeam("Kept");
    const { link } = await user.invite(team);
    await spy.under([{ use: "worker team", detail: "/forget", skip: 1, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await friend.join(link);
      await release();
      assert.equal(await deleted, "conflict");
    });
    assert.equal((await user.api.team(team)).members.length, 2);
  });
});
