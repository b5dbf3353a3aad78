// What an export holds: everything that the service has of a user and their account, as docs/export.schema.json describes it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";
import Ajv from "ajv/dist/2020.js";
import { newSnippetId } from "./client/snippet.mjs";
import { parse } from "./client/statements.mjs";
import { makeTeam } from "./client/world.mjs";
import { CODE, exportOf, rejects, share, startAccounts } from "./support/accounts.mjs";
import { approve } from "./support/browser.mjs";

const schema = JSON.parse(await readFile(new URL("../docs/export.schema.json", import.meta.url), "utf8"));
const isExport = new Ajv({ allErrors: true, strictTypes: false }).compile(schema);
/** Names of the tables of D1 that the schema says it covers, with the description of the rows. */
const exported = new Map();
for (const part of Object.values(schema.properties)) {
  const tables = part.$comment?.match(/^D1: (.*)$/)[1].split(", ") ?? [];
  for (const table of tables) exported.set(table, { ...exported.get(table), ...(part.items ?? part).properties });
}

let accounts, service, spy, db, rows, count, signIn, newcomer, newcomers, anotherDevice, startedOver;

before(async () => {
  accounts = await startAccounts();
  ({ service, spy, db, rows, count, signIn, newcomer, newcomers, anotherDevice, startedOver } = accounts);
});
after(() => accounts?.dispose());

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

describe("an export", () => {
  it("has everything that the service holds about a user, as its schema describes it", async () => {
    const [user, friend] = await newcomers(2);
    const phone = await anotherDevice(user);
    await phone.refresh();
    const tablet = await anotherDevice(user);
    await user.revokeDevice(tablet.device.id);
    const bystander = await signIn(user.login);
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
    const refused = signIn(user.login, { approve: ({ verification_uri_complete }) => approve(verification_uri_complete, user.login, { deny: true }) });
    await rejects(() => refused, "access_denied");
    const [{ id: handshake }] = await rows("SELECT id FROM handshakes WHERE account = ? LIMIT 1", user.account.id);
    await db.prepare("INSERT INTO failed_polls (handshake, count, failed_at) VALUES (?, 2, ?)").bind(handshake, user.now()).run();

    const found = await exportOf(user);
    assert.ok(isExport(found), JSON.stringify(isExport.errors, null, 2));

    assert.deepEqual([found.account.id, found.account.login, found.user.id, found.other_users], [user.account.id, user.login, user.user, []]);
    assert.equal(found.account.github_id, service.github.people.find(({ login }) => login === user.login).id);
    const mine = await user.api.myLog(0);
    assert.deepEqual(found.log.map(({ jws, received_at }) => ({ jws, received_at })), mine.entries);
    assert.deepEqual(found.names.map(({ provider, provider_id: id, login, salt }) => ({ provider, id, login, salt })), [mine.name]);
    const ids = (all) => all.map(({ device }) => device).sort();
    assert.deepEqual(ids(found.devices), [user, phone, tablet, bystander].map(({ device }) => device.id).sort());
    assert.ok(found.sessions.some(({ device, ended_at }) => device === bystander.device.id && ended_at !== null), "a session that has ended");
    assert.equal(found.refreshes.length, 1);
    assert.deepEqual(found.failed_polls.map((each) => [each.handshake, each.count]), [[handshake, 2]]);
    assert.ok(found.proofs.some(({ device }) => device === user.device.id));
    assert.ok(found.events.some(({ type }) => type === "device-revoked"));
    // Nothing is left out: as many of each as there are.
    const { user: id, account: { id: account } } = user;
    for (const [part, table, where, ...values] of [
      ["log", "user_log", "user = ?", id], ["names", "names", "user = ?", id], ["devices", "devices", "account = ?", account],
      ["events", "account_events", "account = ?", account], ["handshakes", "handshakes", "account = ?", account], ["sessions", "sessions", "account = ?", account],
      ["refreshes", "refreshes", "session IN (SELECT id FROM sessions WHERE account = ?)", account], ["teams", "user_teams", "user = ?", id],
    ]) {
      assert.equal(found[part].length, await count(table, where, ...values), part);
      assert.ok(found[part].length > 0, part);
    }

    const teams = new Map(found.teams.map((each) => [each.team, each]));
    assert.deepEqual([...teams.keys()].sort(), [home, former].sort());
    const places = [home, former].map((team) => [teams.get(team).role, teams.get(team).pending_until, teams.get(team).joins]);
    assert.deepEqual(places, [["owner", null, 1], [null, null, 1]]);
    const snippets = (team) => teams.get(team).snippets.map(({ snippet, statement, path }) => [snippet, statement === null, path]);
    const path = (team, snippet) => `/v1/teams/${team}/snippets/${snippet}`;
    assert.deepEqual(snippets(home), [[own, false, path(home, own)], [direct, false, path(home, direct)], [deleted, true, null]]);
    assert.deepEqual(snippets(former), [[left, false, path(former, left)]]);
    assert.equal((await parse("osmynt-snippet+jws", teams.get(home).snippets[0].statement)).payload.snippet, own);
    // Of envelopes those for the user's own devices, and no others.
    const envelopesOf = ({ envelopes }) => envelopes.map(({ device }) => device).sort();
    const [, ownDirect] = teams.get(home).snippets;
    assert.deepEqual(teams.get(home).named_in.map((each) => [each.snippet, envelopesOf(each)]), [[toUser, [user, phone].map(({ device }) => device.id).sort()]]);
    assert.deepEqual(envelopesOf(ownDirect), [user, phone].map(({ device }) => device.id).sort());
    assert.deepEqual(envelopesOf(teams.get(home).snippets[0]), []);
    assert.ok(!JSON.stringify(found).includes(toAll), "what others share with the team is theirs");
    const events = async (team) =>
      Promise.all(teams.get(team).entries.map(async ({ jws }) => (await parse("osmynt-team+jws", jws)).payload).map(async (entry) => [(await entry).user, (await entry).event.type]));
    assert.deepEqual(await events(home), ["team.created", "key.rotated", "invite.created"].map((type) => [user.user, type]));
    assert.deepEqual(await events(former), [
      [user.user, "member.joined"], [user.user, "key.rotated"], [friend.user, "role.changed"], [friend.user, "member.removed"],
    ]);
    assert.deepEqual(teams.get(former).envelopes.map(({ device, epoch }) => [device, epoch]).sort(), [[phone.device.id, 2], [user.device.id, 2]].sort());
  });

  it("names the account's other users, and has what is theirs only for their own devices", async () => {
    const former = await newcomer();
    const team = await former.createTeam("Former");
    const snippet = await share(former, team);
    const present = await startedOver(former);
    const own = await present.createTeam("Present");
    await present.api.askErasure(former.user);
    const [theirs, his] = [await exportOf(present), await exportOf(former)];
    for (const found of [theirs, his]) assert.ok(isExport(found), JSON.stringify(isExport.errors, null, 2));
    assert.deepEqual([theirs.user.id, theirs.other_users.map(({ id }) => id)], [present.user, [former.user]]);
    assert.deepEqual([his.user.id, his.other_users.map(({ id }) => id)], [former.user, [present.user]]);
    assert.deepEqual([theirs.teams, his.teams].map((teams) => teams.map((each) => each.team)), [[own], [team]]);
    assert.deepEqual([theirs, his].map(({ devices }) => devices.map(({ device }) => device)), [[present.device.id], [former.device.id]]);
    assert.ok(!JSON.stringify(theirs).includes(snippet) && JSON.stringify(his).includes(snippet));
    assert.ok(!JSON.stringify(theirs).includes(his.log[0].jws));
    for (const { erasures, account } of [theirs, his]) {
      assert.deepEqual(erasures.map((each) => [each.user, each.asked_by, each.device]), [[former.user, present.user, present.device.id]]);
      assert.equal(account.id, former.account.id);
    }
    assert.deepEqual(theirs.events, his.events, "what happened to the account is for both to see");
  });

  it("says of a team in which the user waits to be confirmed for how long, and in what role", async () => {
    const [owner, user] = await newcomers(2);
    const team = await owner.createTeam("Careful");
    await owner.changePolicy(team, { joining: "confirmation" });
    await user.join((await owner.invite(team, { role: "admin" })).code);
    const found = await exportOf(user);
    assert.ok(isExport(found), JSON.stringify(isExport.errors, null, 2));
    const [{ role, pending_until: until, envelopes, entries }] = found.teams;
    const [{ received_at: asked }] = entries;
    assert.deepEqual([role, until - asked, envelopes], ["admin", 14 * 24 * 3600, []]);
    assert.equal((await parse("osmynt-team+jws", entries[0].jws)).payload.event.type, "member.joined");
  });

  it("is described for every table of D1 that has something of a user, column by column", async () => {
    // Of a team these have its head and epoch alone.
    const ofNobody = ["teams"];
    // Said by where it stands in the export.
    const understood = {
      users: ["account"], user_log: ["user"], names: ["user"], devices: ["account", "user"], sessions: ["account"], account_events: ["account"],
      user_teams: ["user"], team_members: ["user"],
    };
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
    const other = await signIn(user.login);
    await rejects(() => exportOf(other), "forbidden");
  });
});
