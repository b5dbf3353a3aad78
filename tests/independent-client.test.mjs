// The whole of the service, used by a client that shares no code with ours and was written from docs/protocol.md.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { utf8, fromUtf8, randomBytes, hashOf } from "./client/encodings.mjs";
import { Command } from "./client/command.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";

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

  it("signs in, begins its user's log, and refreshes its access token", async () => {
    const { user, device, log } = await ada.api.me();
    assert.equal(user.login, "ada");
    assert.deepEqual(device, { id: ada.device.id, active: true });
    assert.equal(log.head.seq, 0);
    assert.equal((await ada.ownLog()).identity, log.identity);
    await ada.refresh();
    assert.deepEqual((await ada.api.me()).user, user);
  });

  it("is told that the service is well", async () => {
    const answer = await fetch(`${world.service.url}/healthz`);
    assert.deepEqual([answer.status, await answer.json()], [200, { status: "ok" }]);
  });

  it("makes a team that nobody else sees", async () => {
    const team = await ada.createTeam("Analytical Engines");
    const view = await ada.read(team);
    assert.equal(await ada.teamName(view), "Analytical Engines");
    const { stale, members, invites, epoch } = await ada.api.team(team);
    assert.deepEqual({ stale, invites, epoch, roles: members.map(({ login, role }) => [login, role]) }, { stale: false, invites: [], epoch: 1, roles: [["ada", "owner"]] });
    assert.ok((await ada.api.teams()).teams.some((each) => each.team === team && each.role === "owner"));
    assert.deepEqual((await grace.api.teams()).teams, []);
    await assert.rejects(grace.read(team), problem("not-found"));
  });

  it("invites and joins, and the joiner gets no earlier key", async () => {
    const team = await ada.createTeam("Compilers");
    const early = await ada.share(team, code, { header: { title: "early" } });
    const { link, id } = await ada.invite(team, { role: "admin" });
    assert.deepEqual((await ada.api.team(team)).invites.map(({ invite, role, uses_left }) => ({ invite, role, uses_left })), [{ invite: id, role: "admin", uses_left: 1 }]);
    await grace.join(link);
    const late = await ada.share(team, code, { header: { title: "late" } });

    assert.equal(await grace.teamName(await grace.read(team)), "Compilers");
    assert.deepEqual((await grace.open(team, late)).content, code);
    assert.deepEqual((await grace.list(team)).map(({ header }) => header.title), ["late"]);
    await assert.rejects(grace.open(team, early), problem("not-found"));
    assert.deepEqual((await ada.list(team)).map(({ header }) => header.title), ["late", "early"]);
    await assert.rejects(linus.join(link), problem("gone"));
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
    assert.equal((await ada.api.team(team)).stale, true);
    const snippet = await ada.share(team, code);
    assert.deepEqual((await ada.open(team, snippet)).content, code);
    assert.equal((await ada.api.team(team)).stale, false);
  });

  it("changes roles, policy and name, and withdraws invitations", async () => {
    const team = await makeTeam(ada, "Old name", { member: grace });
    await ada.changeRole(team, grace.user, "owner");
    await grace.changeRole(team, ada.user, "admin");
    await ada.rename(team, "New name");
    await grace.changePolicy(team, { max_epoch_age: 3600 });
    assert.equal(await grace.teamName(await grace.read(team)), "New name");
    assert.deepEqual((await grace.api.team(team)).policy, { max_epoch_age: 3600 });
    const { id, link } = await ada.invite(team);
    await grace.revokeInvite(team, id);
    assert.deepEqual((await ada.api.team(team)).invites, []);
    await assert.rejects(linus.join(link), problem("gone"));
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
    const clock = grace.now;
    grace.now = () => clock() + 601;
    await assert.rejects(grace.open(team, snippet), { name: "Refused", code: "gone" });
    grace.now = clock;
  });

  it("uses two devices of one person, until one is revoked", async () => {
    const team = await makeTeam(ada, "Devices", { member: linus });
    const phone = await world.signIn("linus");
    assert.equal((await phone.api.me()).device.active, false);
    await assert.rejects(phone.read(team), problem("forbidden"));
    await linus.addDevice(await phone.describe());
    phone.learnSiblingPrekey(linus.device.id, linus.prekeys.get(linus.prekey).jwk);

    assert.equal((await ada.api.team(team)).stale, true);
    const shared = await ada.share(team, code);
    const letter = await ada.share(team, code, { to: [linus.user] });
    const sent = await linus.share(team, code, { to: [ada.user] });
    for (const snippet of [shared, letter, sent]) assert.deepEqual((await phone.open(team, snippet)).content, code);
    assert.equal((await phone.list(team)).length, 3);
    const own = await phone.createTeam("From the phone");
    await linus.rotate(own);

    await linus.revokeDevice(phone.device.id);
    await assert.rejects(phone.read(team), ({ code }) => ["forbidden", "unauthenticated"].includes(code));
    const after = await ada.share(team, code);
    assert.deepEqual((await linus.open(team, after)).content, code);
    assert.equal((await ada.read(team)).log.roster.get(linus.user).devices.length, 1);
  });

  it("starts an account over, which its teams then do not know", async () => {
    const margaret = await world.signIn("margaret");
    const team = await makeTeam(ada, "Reset", { admin: margaret });
    const again = await world.signIn("margaret");
    await again.resetIdentity();
    await assert.rejects(margaret.read(team), ({ code }) => ["forbidden", "unauthenticated"].includes(code));
    await assert.rejects(again.rotate(team), (error) => ["forbidden", "not-found"].includes(error.code));
    await ada.share(team, code);
    assert.deepEqual((await ada.read(team)).log.roster.get(again.user).devices, []);
    await again.join((await ada.invite(team)).link);
    const snippet = await ada.share(team, code);
    assert.deepEqual((await again.open(team, snippet)).content, code);
    assert.equal((await ada.read(team)).log.roster.get(again.user).role, "member");
  });

  it("renews its prekey and still opens what was sealed to the one before", async () => {
    const team = await makeTeam(ada, "Prekeys", { member: grace });
    const letter = await ada.share(team, code, { to: [grace.user] });
    const before = grace.prekey;
    await grace.renewPrekey();
    const next = await ada.share(team, code, { to: [grace.user] });
    assert.deepEqual((await grace.open(team, letter)).content, code);
    const { statement } = await grace.open(team, next);
    const used = statement.audience.envelopes.find(({ device }) => device === grace.device.id).prekey;
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
      const events = Array.from({ length: 16 }, (_, index) => ({ type: "policy.changed", policy: { max_epoch_age: 3600 + round * 16 + index } }));
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
    assert.equal(await grace.join((await ada.invite(team)).link), team);
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
    assert.equal(await ada.join((await grace.invite(team, { role: "admin" })).link), team);
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
    await grace.join((await ada.invite(team)).link);
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
    await grace.join((await ada.invite(team, { role: "owner" })).link);
    await linus.join((await grace.invite(team)).link);
    const before = await grace.share(team, code);
    await grace.removeMember(team, linus.user);
    const after = await ada.share(team, code);
    assert.deepEqual((await grace.open(team, after)).content, code);
    for (const snippet of [before, after]) await assert.rejects(linus.open(team, snippet), { name: "Exit", code: 4 });
    await ada.removeMember(team, grace.user);
    await assert.rejects(grace.read(team), problem("not-found"));
  });

  it("rotate for each other after somebody left", async () => {
    const team = await grace.createTeam("Leaving");
    await ada.join((await grace.invite(team)).link);
    await linus.join((await grace.invite(team)).link);
    await linus.leave(team);
    const snippet = await ada.share(team, code);
    assert.deepEqual((await grace.open(team, snippet)).content, code);
    await ada.leave(team);
    await grace.share(team, code);
    assert.equal((await grace.read(team)).log.roster.size, 1);
  });

  it("reach a second device of the other", async () => {
    const team = await ada.createTeam("Two devices");
    await grace.join((await ada.invite(team)).link);
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
