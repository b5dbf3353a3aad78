// The whole of the service, used by a client that shares no code with ours and was written from docs/protocol.md.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { utf8, fromUtf8, randomBytes, hashOf } from "./client/encodings.mjs";
import { Command } from "./client/command.mjs";
import { split } from "./client/snippet.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";

const code = utf8("fn main() {\n    println!(\"grüezi\");\n}\n");
const problem = (code) => ({ name: "Problem", code });

describe("the independent client", () => {
  let world;
  let ada, grace, linus;

  before(async () => {
    world = await startWorld(["ada", "grace", "linus", "margaret"]);
    [ada, grace, linus] = await Promise.all(["ada", "grace", "linus"].map((login) => world.signIn(login)));
  });
  after(() => world?.dispose());

  const rolesIn = ({ log, logins }) => Object.fromEntries([...log.roster.values()].map(({ user, role }) => [logins.get(user), role]));
  const isStale = async (team) => {
    const { log, directory } = await ada.read(team);
    return log.isStale(directory, ada.now());
  };

  it("signs in, founds a user, signs its name, and refreshes its access token", async () => {
    const { account, device, head, other, erasures } = await ada.me();
    assert.equal(account.login, "ada");
    assert.deepEqual(device, { id: ada.device.id, user: ada.user, active: true });
    assert.deepEqual([head.seq, other, erasures], [1, null, []]);
    const log = await ada.ownLog();
    assert.deepEqual([log.user, log.head], [ada.user, head]);
    await ada.refresh();
    assert.deepEqual((await ada.me()).account, account);
  });

  it("is told that the service is well", async () => {
    const answer = await fetch(`${world.service.url}/healthz`);
    assert.deepEqual([answer.status, await answer.json()], [200, { status: "ok" }]);
  });

  it("makes a team that nobody else sees", async () => {
    const team = await ada.createTeam("Analytical Engines");
    const view = await ada.read(team);
    assert.equal(await ada.teamName(view), "Analytical Engines");
    const { log, directory } = view;
    assert.deepEqual([log.epoch.number, log.isStale(directory, ada.now()), log.openInvites(ada.now())], [1, false, []]);
    assert.deepEqual(rolesIn(view), { ada: "owner" });
    assert.ok((await ada.teams()).teams.some((each) => each.team === team && !each.pending));
    assert.deepEqual((await grace.api.teams()).teams, []);
    await assert.rejects(grace.read(team), problem("not-found"));
  });

  it("invites and joins, and the joiner gets no earlier key", async () => {
    const team = await ada.createTeam("Compilers");
    const early = await ada.share(team, code, { header: { title: "early" } });
    const { code: invitation, id } = await ada.invite(team, { role: "admin" });
    const open = (await ada.read(team)).log.openInvites(ada.now());
    assert.deepEqual(open.map(({ id, role, by, uses, used }) => ({ id, role, by, uses, used })), [{ id, role: "admin", by: ada.user, uses: 1, used: 0 }]);
    assert.equal(await grace.join(invitation), team);
    const late = await ada.share(team, code, { header: { title: "late" } });

    assert.equal(await grace.teamName(await grace.read(team)), "Compilers");
    assert.deepEqual((await grace.open(team, late)).content, code);
    assert.deepEqual((await grace.list(team)).map(({ header }) => header.title), ["late"]);
    await assert.rejects(grace.open(team, early), problem("not-found"));
    assert.deepEqual((await ada.list(team)).map(({ header }) => header.title), ["late", "early"]);
    await assert.rejects(linus.join(invitation), problem("gone"));
  });

  it("shares with the team in both directions, across rotations by either", async () => {
    const team = await makeTeam(ada, "Rotations", { member: grace });
    const first = await grace.share(team, code, { header: { title: "a", language: "Rust", path: "src/main.rs", lines: { from: 1, to: 3 } } });
    await ada.rotate(team);
    await grace.rotate(team);
    const second = await ada.share(team, utf8(""), { header: { kind: "file" } });
    for (const client of [ada, grace]) {
      const { header, content, statement } = await client.open(team, first);
      assert.equal(fromUtf8(content), fromUtf8(code));
      assert.deepEqual(header, { kind: "code", size: code.length, title: "a", language: "Rust", path: "src/main.rs", lines: { from: 1, to: 3 } });
      assert.equal(statement.user, grace.user);
      assert.equal((await client.open(team, second)).content.length, 0);
      assert.deepEqual((await client.list(team, { limit: 1 })).map(({ statement }) => statement.snippet), [second, first]);
    }
    assert.equal((await ada.read(team)).log.epoch.number, 4);
  });

  it("sends to named members what nobody else can list or fetch", async () => {
    const team = await makeTeam(ada, "Letters", [["member", grace], ["member", linus]]);
    const letter = await grace.share(team, code, { to: [linus.user], header: { title: "for linus" } });
    assert.deepEqual((await linus.open(team, letter)).content, code);
    assert.deepEqual((await grace.open(team, letter)).content, code);
    assert.deepEqual((await linus.list(team)).map(({ statement }) => statement.snippet), [letter]);
    assert.deepEqual(await ada.list(team), []);
    await assert.rejects(ada.open(team, letter), problem("not-found"));
  });

  it("removes a member, who then sees neither the team nor what it shares", async () => {
    const team = await makeTeam(ada, "Removal", [["member", grace], ["member", linus]]);
    const before = await ada.share(team, code);
    const { epoch } = (await ada.read(team)).log;
    await ada.removeMember(team, grace.user);
    const later = await linus.share(team, code);
    assert.deepEqual((await ada.open(team, later)).content, code);
    const requests = [
      () => grace.open(team, before),
      () => grace.open(team, later),
      () => grace.list(team),
      () => grace.api.envelopes(team, 1),
      () => grace.share(team, code),
    ];
    for (const request of requests) await assert.rejects(request, problem("not-found"));
    const view = await ada.read(team);
    assert.equal(view.log.epoch.number, epoch.number + 1);
    assert.equal(view.log.roster.has(grace.user), false);
  });

  it("rotates by itself after somebody left", async () => {
    const team = await makeTeam(ada, "Leaving", { member: grace });
    await grace.leave(team);
    assert.equal(await isStale(team), true);
    const snippet = await ada.share(team, code);
    assert.deepEqual((await ada.open(team, snippet)).content, code);
    assert.equal(await isStale(team), false);
  });

  it("changes roles, policy and name, and withdraws invitations", async () => {
    const team = await makeTeam(ada, "Old name", { member: grace });
    await ada.changeRole(team, grace.user, "owner");
    await grace.changeRole(team, ada.user, "admin");
    await ada.rename(team, "New name");
    await grace.changePolicy(team, { max_epoch_age: 3600 });
    assert.equal(await grace.teamName(await grace.read(team)), "New name");
    assert.deepEqual((await grace.read(team)).log.policy, { max_epoch_age: 3600, joining: "invitation" });
    const { id, code: invitation } = await ada.invite(team);
    await grace.revokeInvite(team, id);
    assert.deepEqual((await ada.read(team)).log.openInvites(ada.now()), []);
    await assert.rejects(linus.join(invitation), problem("gone"));
  });

  it("does not rename a team by a join, whatever name the invitation's code has", async () => {
    const team = await makeTeam(ada, "Old name", { member: linus });
    const { code: invitation } = await ada.invite(team, { role: "admin" });
    await ada.rename(team, "New name");
    await grace.join(invitation);
    for (const client of [ada, linus]) assert.equal(await client.teamName(await client.read(team)), "New name");
    assert.equal(await grace.teamName(await grace.read(team)), "Old name", "they have no key of an earlier epoch");
    await grace.rotate(team);
    for (const client of [ada, linus]) assert.equal(await client.teamName(await client.read(team)), "New name", "nor by a later rotation");
    await ada.rotate(team);
    assert.equal(await grace.teamName(await grace.read(team)), "New name");
    await grace.rename(team, "Newer name");
    for (const client of [ada, grace, linus]) assert.equal(await client.teamName(await client.read(team)), "Newer name");
  });

  it("deletes a snippet for good", async () => {
    const team = await makeTeam(ada, "Deletion", { member: grace });
    const snippet = await grace.share(team, code);
    const container = await ada.api.snippet(team, snippet);
    await ada.deleteSnippet(team, snippet);
    await ada.deleteSnippet(team, snippet);
    assert.deepEqual(await grace.list(team), []);
    await assert.rejects(grace.open(team, snippet), problem("gone"));
    await assert.rejects(grace.api.putSnippet(team, snippet, container), problem("gone"));
  });

  it("opens nothing that has expired by its own clock", async () => {
    const team = await makeTeam(ada, "Expiry", { member: grace });
    const snippet = await ada.share(team, code, { exp: ada.now() + 600 });
    assert.deepEqual((await grace.open(team, snippet)).content, code);
    // Whoever has read with a clock that is ahead believes nothing that is received before.
    const { now, pins } = grace;
    Object.assign(grace, { now: () => now() + 601, pins: new Map(pins) });
    await assert.rejects(grace.open(team, snippet), { name: "Refused", code: "gone" });
    Object.assign(grace, { now, pins });
  });

  it("rotates by an owner's device that knows no name, and the team keeps its name", async () => {
    const team = await makeTeam(ada, "Devices", { member: grace });
    const phone = await world.signIn("ada");
    await ada.addDevice(await phone.describe());
    try {
      await phone.rotate(team);
      assert.equal(await phone.knownName(await phone.read(team)), undefined);
      for (const client of [ada, grace]) assert.equal(await client.teamName(await client.read(team)), "Devices");
    } finally {
      await ada.revokeDevice(phone.device.id);
    }
  });

  it("uses two devices of one person, until one is revoked", async () => {
    const team = await makeTeam(ada, "Devices", { member: linus });
    const phone = await world.signIn("linus");
    assert.equal((await phone.api.me()).device.active, false);
    await assert.rejects(phone.read(team), problem("forbidden"));
    await linus.addDevice(await phone.describe());
    assert.deepEqual((await phone.me()).device, { id: phone.device.id, user: linus.user, active: true });

    assert.equal(await isStale(team), true);
    const shared = await ada.share(team, code);
    const letter = await ada.share(team, code, { to: [linus.user] });
    const sent = await linus.share(team, code, { to: [ada.user] });
    for (const snippet of [shared, letter, sent]) assert.deepEqual((await phone.open(team, snippet)).content, code);
    assert.equal((await phone.list(team)).length, 3);
    const own = await phone.createTeam("From the phone");
    assert.equal(await linus.teamName(await linus.read(own)), "From the phone");
    await linus.rotate(own);

    await linus.revokeDevice(phone.device.id);
    await assert.rejects(phone.read(team), ({ code }) => ["forbidden", "unauthenticated"].includes(code));
    const after = await ada.share(team, code);
    assert.deepEqual((await linus.open(team, after)).content, code);
    assert.equal((await ada.read(team)).log.roster.get(linus.user).devices.length, 1);
  });

  it("starts over as another user, and leaves the former one as it was", async () => {
    const margaret = await world.signIn("margaret");
    const team = await makeTeam(ada, "Starting over", { admin: margaret });
    const before = await ada.share(team, code, { to: [margaret.user] });
    const again = await world.signIn("margaret");
    const { other } = await again.me();
    assert.deepEqual(other, { user: margaret.user, devices: 1, teams: [{ team, role: "admin", others: 1, other_owner: true }] });
    await again.startOver();
    assert.notEqual(again.user, margaret.user);
    await assert.rejects(again.read(team), problem("not-found"));

    // The former user goes on: its device reads, shares and rotates.
    assert.deepEqual((await margaret.open(team, before)).content, code);
    const shared = await margaret.share(team, code);
    await margaret.rotate(team);
    assert.deepEqual((await ada.open(team, shared)).content, code);
    assert.equal((await margaret.me()).device.user, margaret.user);

    // The new one is somebody else, who has the same name.
    await again.join((await ada.invite(team)).code);
    const { log, logins } = await ada.read(team);
    assert.deepEqual([log.roster.get(margaret.user).role, log.roster.get(again.user).role], ["admin", "member"]);
    assert.deepEqual([logins.get(margaret.user), logins.get(again.user)], ["margaret", "margaret"]);
    assert.throws(() => ada.userCalled({ log, logins }, "margaret"), { code: "forbidden" });
    await assert.rejects(again.open(team, before), problem("not-found"));
  });

  it("asks to be confirmed, and is a member once an admin has done so", async () => {
    const team = await ada.createTeam("Confirmation", { max_epoch_age: 3600, joining: "confirmation" });
    const { code: invitation } = await ada.invite(team, { uses: 2 });
    const early = await ada.share(team, code);
    for (const client of [grace, linus]) await client.join(invitation);
    assert.deepEqual((await grace.teams()).teams.find((each) => each.team === team), { team, pending: true });
    assert.deepEqual([...(await grace.read(team)).log.pending.keys()].sort(), [grace.user, linus.user].sort());
    for (const request of [() => grace.list(team), () => grace.api.envelopes(team, 0), () => grace.api.snippet(team, early)]) {
      await assert.rejects(request, problem("not-found"));
    }
    assert.equal(await isStale(team), false);

    await ada.confirm(team, grace.user);
    assert.equal(await grace.teamName(await grace.read(team)), "Confirmation");
    const late = await grace.share(team, code);
    assert.deepEqual((await ada.open(team, late)).content, code);
    await assert.rejects(grace.open(team, early), problem("not-found"));

    await ada.removeMember(team, linus.user);
    await assert.rejects(linus.read(team), problem("not-found"));
    const { log } = await ada.read(team);
    assert.deepEqual([log.pending.size, log.roster.has(linus.user), log.epoch.number], [0, false, 2]);
  });

  it("withdraws while it waits to be confirmed", async () => {
    const team = await ada.createTeam("Withdrawal", { max_epoch_age: 3600, joining: "confirmation" });
    await grace.join((await ada.invite(team)).code);
    await grace.leave(team);
    assert.equal((await ada.read(team)).log.pending.size, 0);
    assert.ok(!(await grace.teams()).teams.some((each) => each.team === team));
    await assert.rejects(grace.read(team), problem("not-found"));
  });

  it("closes what a removed member could come back by", async () => {
    const team = await ada.createTeam("Closed doors");
    const { code: entrance } = await ada.invite(team, { role: "admin", uses: 5 });
    await grace.join(entrance);
    const { code: theirs } = await grace.invite(team, { role: "admin", uses: 5 });
    const { code: owners } = await ada.invite(team, { uses: 5 });
    await ada.removeMember(team, grace.user);
    for (const closed of [entrance, theirs]) await assert.rejects(grace.join(closed), problem("gone"));
    await assert.rejects(grace.join(owners), problem("forbidden"));
    await assert.rejects(linus.join(theirs), problem("gone"));
    await grace.join((await ada.invite(team, { user: grace.user })).code);
    assert.deepEqual((await grace.open(team, await ada.share(team, code))).content, code);
  });

  it("lets in by an invitation for one person nobody else", async () => {
    const team = await ada.createTeam("By name");
    const { code: invitation } = await ada.invite(team, { user: linus.user });
    await assert.rejects(grace.join(invitation), problem("forbidden"));
    await linus.join(invitation);
  });

  it("finds out that a team was deleted", async () => {
    const team = await makeTeam(ada, "Deleted", { admin: grace });
    const snippet = await ada.share(team, code);
    await assert.rejects(grace.deleteTeam(team), problem("forbidden"));
    await ada.deleteTeam(team);
    for (const client of [ada, grace]) {
      await assert.rejects(client.read(team), problem("not-found"));
      await assert.rejects(client.open(team, snippet), problem("not-found"));
    }
    const { vanished } = await grace.teams();
    assert.ok(vanished.includes(team));
    assert.ok(!(await ada.teams()).vanished.includes(team), "the owner knows");
  });

  it("shows people by the names that they signed", async () => {
    const team = await makeTeam(ada, "Names", { member: grace });
    const names = async (client) => [...client.people(await client.read(team)).values()].map(({ login, doubt }) => [login, doubt]);
    assert.deepEqual(await names(ada), [["ada", null], ["grace", null]]);
    // GitHub tells of a new login at the next sign-in; the new name is there once it is signed.
    world.service.github.people.find(({ login }) => login === "grace").login = "grace-hopper";
    try {
      await grace.obtainTokens("laptop", ({ verification_uri_complete }) => approve(verification_uri_complete, "grace-hopper"));
      assert.deepEqual(await names(ada), [["ada", null], ["grace", null]]);
      await grace.signName();
      assert.deepEqual(await names(ada), [["ada", null], ["grace-hopper", "changed"]]);
      ada.acceptName(await ada.read(team), grace.user);
      assert.deepEqual(await names(ada), [["ada", null], ["grace-hopper", null]]);
    } finally {
      world.service.github.people.find(({ login }) => login === "grace-hopper").login = "grace";
    }
  });

  it("renews its prekey and still opens what was sealed to the one before", async () => {
    const team = await makeTeam(ada, "Prekeys", { member: grace });
    const letter = await ada.share(team, code, { to: [grace.user] });
    const before = grace.prekey;
    await grace.renewPrekey();
    const next = await ada.share(team, code, { to: [grace.user] });
    assert.deepEqual((await grace.open(team, letter)).content, code);
    await grace.open(team, next);
    const { envelopes } = split(await grace.api.snippet(team, next));
    assert.deepEqual(envelopes.map(({ device }) => device), [grace.device.id], "those for its own devices");
    const [{ prekey: used }] = envelopes;
    assert.notEqual(used, before);
    assert.equal(used, grace.prekey);
  });

  it("settles changes made at the same moment by trying again", async () => {
    const team = await makeTeam(ada, "Races", [["admin", grace], ["admin", linus]]);
    const everybody = [ada, grace, linus];
    await Promise.all(everybody.map((client) => client.rotate(team)));
    await Promise.all([ada.invite(team), grace.rotate(team), linus.share(team, code), ada.share(team, code)]);
    for (const client of everybody) assert.equal((await client.list(team)).length, 2);
    assert.ok((await ada.read(team)).log.epoch.number >= 7);
  });

  it("sends a commit and a snippet again without any change", async () => {
    const team = await makeTeam(ada, "Again", { member: grace });
    const view = await ada.read(team);
    const commit = await ada.buildCommit(view, [{ type: "member.removed", user: grace.user }], "Again");
    const answer = await ada.api.commit(team, commit.body);
    assert.deepEqual(await ada.api.commit(team, commit.body), answer);

    const snippet = await ada.share(team, code);
    const container = await ada.api.snippet(team, snippet);
    const first = await ada.api.putSnippet(team, snippet, container);
    assert.deepEqual(await ada.api.putSnippet(team, snippet, container), first);
    await ada.rotate(team);
    assert.deepEqual(await ada.api.commit(team, commit.body), answer);
    assert.equal((await ada.read(team)).log.epoch.number, 4);
  });

  it("reads logs and lists of more than one page", async () => {
    const team = await ada.createTeam("Pages");
    for (let round = 0; round < 7; round += 1) {
      const events = Array.from({ length: 16 }, (_, index) => ({ type: "policy.changed", policy: { max_epoch_age: 3600 + round * 16 + index, joining: "invitation" } }));
      await ada.change(team, () => events);
    }
    assert.equal((await ada.read(team)).log.head.seq, 1 + 7 * 16);
    const snippets = [];
    for (let count = 0; count < 5; count += 1) snippets.unshift(await ada.share(team, code));
    assert.deepEqual((await ada.list(team, { limit: 2 })).map(({ statement }) => statement.snippet), snippets);
  });

  it("carries the largest snippet, and none above", async () => {
    const team = await ada.createTeam("Large");
    const large = new Uint8Array(10_485_760);
    for (let at = 0; at < large.length; at += 65_536) large.set(randomBytes(65_536), at);
    const snippet = await ada.share(team, large, { header: { kind: "file" } });
    assert.equal(await hashOf((await ada.open(team, snippet)).content), await hashOf(large));
    await assert.rejects(ada.share(team, new Uint8Array(10_485_761)), { name: "Refused", code: "too-large" });
  });
});

describe("the osmynt command and the independent client", () => {
  let world;
  let ada, grace, linus;

  before(async () => {
    world = await startWorld(["ada", "grace", "linus"]);
    ada = await Command.signIn("ada", world.service.url);
    grace = await world.signIn("grace");
    linus = await Command.signIn("linus", world.service.url);
  });
  after(async () => {
    await Promise.all([ada, linus].map((command) => command?.dispose()));
    await world?.dispose();
  });

  /** Everybody shares with the team and with each other one, and everybody opens exactly what is for them. */
  async function exchange(team, one, other) {
    for (const [from, to] of [[one, other], [other, one]]) {
      for (const content of [code, utf8(""), randomBytes(65_536)]) {
        const snippet = await from.share(team, content, { title: "to all", header: { title: "to all" } });
        assert.deepEqual((await to.open(team, snippet)).content, content);
        assert.deepEqual((await from.open(team, snippet)).content, content);
      }
      const letter = await from.share(team, code, { to: [to.user] });
      assert.deepEqual((await to.open(team, letter)).content, code);
      assert.deepEqual((await from.open(team, letter)).content, code);
      assert.ok((await to.list(team)).some((each) => (each.snippet ?? each.statement.snippet) === letter));
    }
  }

  it("understand each other in a team that the command made", async () => {
    const team = await ada.createTeam("Made by the command");
    const early = await ada.share(team, code);
    assert.equal(await grace.join((await ada.invite(team)).code), team);
    assert.equal(await grace.teamName(await grace.read(team)), "Made by the command");
    await assert.rejects(grace.open(team, early), problem("not-found"));
    await exchange(team, ada, grace);
    await ada.rotate(team);
    await exchange(team, ada, grace);
    await grace.rotate(team);
    await exchange(team, ada, grace);
  });

  it("understand each other in a team that the independent client made", async () => {
    const team = await grace.createTeam("Made by the other");
    const early = await grace.share(team, code);
    assert.equal(await ada.join((await grace.invite(team, { role: "admin" })).code), team);
    assert.equal((await ada.show(team)).name, "Made by the other");
    await assert.rejects(ada.open(team, early), { name: "Exit", code: 4 });
    await exchange(team, grace, ada);
    await grace.rotate(team);
    await ada.rotate(team);
    await exchange(team, ada, grace);
    await grace.rename(team, "Renamed by the other");
    assert.equal((await ada.show(team)).name, "Renamed by the other");
  });

  it("tell each other title, path, language and lines", async () => {
    const team = await ada.createTeam("Headers");
    await grace.join((await ada.invite(team)).code);
    const header = { kind: "code", title: "ü 😀", language: "Rust", path: "src/a b.rs", repository: "osmynt", lines: { from: 7, to: 9 } };
    const sent = await grace.share(team, code, { header });
    const [listed] = await ada.list(team);
    assert.equal(listed.snippet, sent);
    for (const [member, value] of Object.entries(header)) assert.deepEqual(listed[member], value);
    assert.equal(listed.size, code.length);
    const back = await ada.share(team, code, { title: "zurück", name: "ähnlich.rs" });
    const opened = await grace.open(team, back);
    assert.equal(opened.header.title, "zurück");
    assert.equal(opened.header.size, code.length);
  });

  it("remove each other, and then open nothing more of each other", async () => {
    const team = await ada.createTeam("Removal by the command");
    await grace.join((await ada.invite(team, { role: "owner" })).code);
    await linus.join((await grace.invite(team)).code);
    const before = await grace.share(team, code);
    await grace.removeMember(team, linus.user);
    const after = await ada.share(team, code);
    assert.deepEqual((await grace.open(team, after)).content, code);
    for (const snippet of [before, after]) await assert.rejects(linus.open(team, snippet), { name: "Exit", code: 4 });
    await ada.removeMember(team, grace.user);
    await assert.rejects(grace.read(team), problem("not-found"));
  });

  it("confirm each other", async () => {
    const team = await grace.createTeam("Confirmation", { max_epoch_age: 3600, joining: "confirmation" });
    const { code: invitation } = await grace.invite(team, { role: "admin", uses: 2 });
    await ada.join(invitation);
    assert.deepEqual([...(await grace.read(team)).log.pending.keys()], [ada.user]);
    await assert.rejects(ada.share(team, code), { name: "Exit" });
    await grace.confirm(team, ada.user);
    await exchange(team, grace, ada);
    await linus.join(invitation);
    await ada.confirm(team, linus.user);
    await exchange(team, grace, linus);
  });

  it("know each other by the names that they signed", async () => {
    const team = await ada.createTeam("Names");
    await grace.join((await ada.invite(team)).code);
    assert.equal(grace.userCalled(await grace.read(team), "ada"), ada.user);
    const letter = await ada.share(team, code, { to: ["grace"] });
    assert.deepEqual((await grace.open(team, letter)).content, code);
  });

  it("rotate for each other after somebody left", async () => {
    const team = await grace.createTeam("Leaving");
    await ada.join((await grace.invite(team)).code);
    await linus.join((await grace.invite(team)).code);
    await linus.leave(team);
    const snippet = await ada.share(team, code);
    assert.deepEqual((await grace.open(team, snippet)).content, code);
    await ada.leave(team);
    await grace.share(team, code);
    assert.equal((await grace.read(team)).log.roster.size, 1);
  });

  it("reach a second device of the other", async () => {
    const team = await ada.createTeam("Two devices");
    await grace.join((await ada.invite(team)).code);
    const phone = await world.signIn("grace");
    await grace.addDevice(await phone.describe());
    for (const to of [null, [grace.user]]) {
      const snippet = await ada.share(team, code, { to });
      for (const client of [grace, phone]) assert.deepEqual((await client.open(team, snippet)).content, code);
    }
    const sent = await phone.share(team, code, { to: [ada.user] });
    assert.deepEqual((await ada.open(team, sent)).content, code);
    await grace.revokeDevice(phone.device.id);
    const after = await ada.share(team, code);
    assert.deepEqual((await grace.open(team, after)).content, code);
  });
});
