// Teams as people use them with the `osmynt` command against a running service: invitations, joining, roles, removal, deletion.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { Person, unbroken } from "./cli/person.mjs";
import { PEOPLE, person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const OK = 0, USAGE = 2, REFUSED = 4;
const TEAM = "backend";
const HASH = /^[\w-]{43}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const DAY = 24 * 3600;

let service, ada, grace, linus, mallory;
const people = [];

before(async () => {
  service = await startService({ people: [...PEOPLE, person(1004, "mallory", "Mallory")] });
  [ada, grace, linus, mallory] = await Promise.all(["ada", "grace", "linus", "mallory"].map((login) => Person.create(login)));
  people.push(ada, grace, linus, mallory);
  for (const person of people) {
    assert.equal((await person.signIn(service)).code, OK);
    person.user = (await person.json("whoami")).user;
  }
  await team(TEAM, grace);
});

after(async () => {
  await service?.dispose();
  for (const { folder } of people) rmSync(folder, { recursive: true, force: true });
});

/** A team of ada's with these members; gives its id. */
async function team(name, ...members) {
  const { team } = await ada.json("team", "new", name);
  for (const member of members) await member.json("team", "join", (await ada.json("team", "invite", team)).code);
  return team;
}

/** A person in JSON, about whose name there is nothing to say. */
const known = ({ user, login }) => ({ user, login, doubt: null, login_before: null });

/** The command must end so and say so; gives what it wrote to standard error. */
async function ends(person, args, expected, words, options) {
  const { code, out, err } = await person.run(args, options);
  assert.equal(code, expected, `osmynt ${args.join(" ")}: ${out}${err}`);
  assert.match(err, words);
  return err;
}

const rolesOf = async (team) => (await ada.json("team", "show", team)).members.map(({ login, role }) => `${login} ${role}`);

describe("teams", () => {
  test("show tells members, roles and the state of the key", async () => {
    const team = await grace.json("team", "show", TEAM);
    const { members, team: id, epoch_began, ...rest } = team;
    assert.match(id, HASH);
    assert.match(epoch_began, TIME);
    // One epoch for making it, one for grace; an entry for each, two for the members, and one for the invitation.
    assert.deepEqual(rest, { name: TEAM, role: "member", pending: false, epoch: 2, stale: false, entries: 5, joining: "invitation", joiners: [], invites: [] });
    assert.deepEqual(members, [
      { ...known(ada), role: "owner", devices: 1, me: false },
      { ...known(grace), role: "member", devices: 1, me: true },
    ]);
    const text = (await grace.run(["team", "show", TEAM])).out;
    assert.match(text, /^backend {2}[\w-]{43}\nkey 2 made (just now|\d+ minutes? ago); 5 log entries verified\n\nada {4}owner {3}1 device\ngrace {2}member {2}1 device {2}you\n$/);
  });

  test("a member may not do what only owners may", async () => {
    await ends(grace, ["team", "role", TEAM, "ada", "member"], REFUSED, /^error: /);
    await ends(grace, ["team", "joining", TEAM, "confirmation"], REFUSED, /^error: /);
    await ends(grace, ["team", "invite", TEAM], REFUSED, /^error: /);
    await ends(grace, ["team", "remove", TEAM, "ada"], REFUSED, /^error: /);
    assert.deepEqual(await rolesOf(TEAM), ["ada owner", "grace member"]);
  });

  test("a team can be named, joined, renamed, rotated, left", async () => {
    const made = await ada.json("team", "new", "a team with spaces");
    assert.deepEqual([made.name, made.role, made.epoch], ["a team with spaces", "owner", 1]);
    const { code } = await ada.json("team", "invite", "a team with spaces", "--role", "admin");
    const joined = await grace.json("team", "join", "-", { input: `${code}\n` });
    assert.deepEqual(joined, { team: made.team, name: made.name, role: "admin", epoch: 2, pending: false, before: false });
    assert.deepEqual((await grace.json("team", "rename", made.team, "Zebra")).name, "Zebra");
    assert.equal((await ada.json("team", "rotate", "Zebra")).epoch, 3);
    assert.deepEqual(await ada.json("team", "role", "Zebra", "grace", "member"), { team: made.team, member: known(grace), role: "member", closed: [] });
    assert.match((await grace.run(["team", "list"])).out, /^backend {2}member {2}\S+\nZebra {4}member {2}\S+\n$|^Zebra {4}member {2}\S+\nbackend {2}member {2}\S+\n$/);
    const { teams } = await grace.json("team", "list");
    assert.deepEqual(teams.find(({ team }) => team === made.team), { team: made.team, name: "Zebra", place: "member", role: "member", epoch: 3, asked_at: null, waiting: 0 });
    assert.deepEqual(await grace.json("team", "leave", "Zebra"), { team: made.team, left: true });
    assert.equal((await ada.json("team", "show", "Zebra")).members.length, 1);
    assert.equal((await grace.run(["team", "show", "Zebra"])).code, REFUSED);
    assert.equal((await grace.run(["team", "join", code])).code, REFUSED, "the invitation is used up");
    assert.ok(!(await grace.json("team", "list")).teams.some(({ team }) => team === made.team), "who left is not told that it vanished");
  });

  test("a team is named by the beginning of its id as well, and people by their user ids", async () => {
    const id = await team("by ids", grace);
    assert.equal((await ada.json("team", "show", id.slice(0, 8))).team, id);
    await ends(ada, ["team", "show", id.slice(0, 3)], REFUSED, /no team/);
    assert.equal((await ada.json("team", "role", id, grace.user, "admin")).member.login, "grace");
    assert.equal((await ada.json("team", "role", id, grace.user.slice(0, 16), "member")).member.login, "grace");
    assert.equal((await ada.json("team", "role", id, "@grace", "admin")).member.user, grace.user);
    for (const nobody of [grace.user.slice(0, 15), "nobody", linus.user, "GRACE2"]) await ends(ada, ["team", "role", id, nobody, "member"], REFUSED, /no member/);
    await ada.json("team", "delete", id, "--yes");
    await grace.json("team", "forget", id);
  });

  test("--quiet leaves out what was not asked for", async () => {
    assert.deepEqual(await seen(ada.run(["team", "rotate", TEAM, "--quiet"])), { code: OK, out: "", err: "" });
    assert.match((await ada.run(["team", "list", "--quiet"])).out, /backend/);
  });
});

describe("invitations", () => {
  test("a code is all that standard output gets", async () => {
    const { code, out, err } = await ada.run(["team", "invite", TEAM, "--uses", "3", "--expires", "2h"]);
    assert.equal(code, OK, err);
    assert.match(out, /^osmynt1[a-z2-7]+\n$/);
    assert.match(err, /^note: 3 people can join with this code, within 2 hours\. Send it where only they can read it\.$/m);
    const first = await ada.json("team", "invite", TEAM);
    assert.deepEqual(Object.keys(first).sort(), ["code", "expires_at", "invite", "role", "user", "uses"]);
    assert.match(first.code, /^osmynt1[a-z2-7]+$/);
    assert.match(first.invite, HASH);
    assert.deepEqual([first.role, first.uses, first.user], ["member", 1, null]);
    assert.ok(Math.abs(Date.parse(first.expires_at) / 1000 - Date.now() / 1000 - 3 * DAY) < 60, "three days, unless said otherwise");
    const { invites } = await ada.json("team", "show", TEAM);
    assert.deepEqual(invites.map(({ role, uses_left }) => [role, uses_left]).sort(), [["member", 1], ["member", 3]]);
    await closeAll(TEAM);
  });

  test("they are listed with who made them, and closed by the beginning of their ids", async () => {
    const id = await team("closing", grace);
    await ada.json("team", "role", id, "grace", "admin");
    const one = await ada.json("team", "invite", id, "--role", "admin", "--expires", "1d");
    const two = await grace.json("team", "invite", id, "--for", linus.user);
    const { invites } = await grace.json("team", "invite", "list", id);
    const told = ({ invite, role, expires_at, user }, by) => ({ invite, role, expires_at, uses_left: 1, by: known(by), user });
    const byId = (a, b) => (a.invite < b.invite ? -1 : 1);
    assert.deepEqual(invites.toSorted(byId), [told(one, ada), told(two, grace)].sort(byId));
    assert.deepEqual((await grace.json("team", "show", id)).invites, invites);
    for (const args of [["team", "invite", "list", id], ["team", "show", id]]) {
      const { out } = await ada.run(args);
      assert.match(out, new RegExp(`^${one.invite.slice(0, 8)}  admin   1 use left  expires in (1 day|24 hours|23 hours) +made by ada$`, "m"));
      assert.match(out, new RegExp(`^${two.invite.slice(0, 8)}  member  1 use left  expires in .* made by grace  for ${linus.user} only$`, "m"));
    }

    await ends(ada, ["team", "invite", "revoke", id, "nothing-like-it"], REFUSED, /no invitation "nothing-like-it"\nSee `osmynt team show .+`\.$/m);
    assert.deepEqual(await ada.json("team", "invite", "revoke", id, two.invite.slice(0, 10)), { team: id, revoked: two.invite });
    await ends(linus, ["team", "join", two.code], REFUSED, /^error: /);
    assert.match((await ada.run(["team", "invite", "revoke", id, one.invite])).out, /^Closed the invitation [\w-]{8}\. Nobody joins by it any more\.\n$/);
    await ends(mallory, ["team", "join", one.code], REFUSED, /^error: /);
    assert.equal((await ada.run(["team", "invite", "list", id])).out, "There is no open invitation.\n");
    await ends(ada, ["team", "invite", "revoke", id, one.invite], REFUSED, /no invitation/);
    await ada.json("team", "role", id, "grace", "member");
    const third = await ada.json("team", "invite", id);
    await ends(grace, ["team", "invite", "revoke", id, third.invite], REFUSED, /^error: /);
  });

  test("a team that is called like a subcommand is reached by its id", async () => {
    const id = await team("list");
    await ends(ada, ["team", "invite", "list"], USAGE, /TEAM/);
    assert.match((await ada.json("team", "invite", id)).code, /^osmynt1/);
    assert.equal((await ada.json("team", "invite", "list", "list")).invites.length, 1);
  });

  test("one that is for somebody is for nobody else, and has one use", async () => {
    const id = await team("for one");
    const { code, user, uses } = await ada.json("team", "invite", id, "--for", linus.user);
    assert.deepEqual([user, uses], [linus.user, 1]);
    const said = await ada.run(["team", "invite", id, "--for", linus.user]);
    assert.match(said.err, new RegExp(`^note: only user ${linus.user} can join with this code, within 3 days\\.\n$`));
    await ends(mallory, ["team", "join", code], REFUSED, /^error: /);
    assert.equal((await linus.json("team", "join", code)).role, "member");
    const again = await linus.json("team", "join", said.out.trim());
    assert.deepEqual([again.role, again.before], ["member", true], "who is in the team already");
    assert.equal((await linus.run(["team", "join", code])).out, "You are in the team \"for one\" already, as member.\n");
    assert.equal((await ada.json("team", "invite", "list", id)).invites.length, 1, "nothing was used up");
    await ends(mallory, ["team", "join", said.out.trim()], REFUSED, new RegExp(`^error: .*\n.* made for you:\n\n  osmynt team invite TEAM --for ${mallory.user}$`, "m"));
    await ends(ada, ["team", "invite", id, "--for", linus.user, "--uses", "2"], USAGE, /cannot be used with/);
    for (const nobody of ["linus", mallory.user.slice(0, 16)]) await ends(ada, ["team", "invite", id, "--for", nobody], USAGE, /^error: ".+" is no user id/);
    assert.deepEqual(await rolesOf(id), ["ada owner", "linus member"]);
  });

  test("a code may be broken into lines and be in capitals, and is refused as a whole if anything of it is missing or changed", async () => {
    const id = await team("pasted");
    const { code } = await ada.json("team", "invite", id);
    const at = code.length - 20;
    const mistyped = code.slice(0, at) + (code[at] === "a" ? "b" : "a") + code.slice(at + 1);
    for (const broken of [code.slice(0, -1), code.slice(0, 60), mistyped]) {
      await ends(linus, ["team", "join", broken], USAGE, /^error: the invitation's code is cut off or mistyped; copy all of it/);
      await ends(linus, ["team", "join", "-"], USAGE, /cut off or mistyped/, { input: broken });
    }
    // What a service could make somebody click on is no code, and never followed.
    for (const other of [`${service.url}/join#v1.${"A".repeat(80)}`, `http://127.0.0.1:9/join?code=${code}`, "", TEAM, id]) {
      await ends(linus, ["team", "join", other], USAGE, /^error: this is not an invitation's code; it begins with osmynt1/);
    }
    const pasted = code.toUpperCase().replace(/.{50}/g, "$&\r\n  ");
    assert.equal((await linus.json("team", "join", "-", { input: `\n ${pasted}\n\n` })).team, id);
  });

  test("one that another service made is not used here", async () => {
    const other = await startService({ people: PEOPLE });
    const stranger = await Person.create("ada");
    people.push(stranger);
    try {
      assert.equal((await stranger.signIn(other)).code, OK);
      const { team } = await stranger.json("team", "new", "elsewhere");
      const { code } = await stranger.json("team", "invite", team);
      await ends(linus, ["team", "join", code], USAGE, new RegExp(other.url));
    } finally {
      await other.dispose();
    }
  });
});

describe("joining by confirmation", () => {
  test("who joins waits, is told so, and can do nothing until somebody confirms them", async () => {
    const id = await team("careful", grace);
    assert.deepEqual(await ada.json("team", "joining", id, "confirmation"), { team: id, joining: "confirmation" });
    assert.match((await ada.run(["team", "joining", id, "confirmation"])).out, new RegExp(`^Whoever joins now waits until an owner or admin confirms them\\. See who waits: osmynt team show ${id.startsWith("-") ? `'${id}'` : id}\n$`));
    const { code } = await ada.json("team", "invite", id, "--uses", "2", "--role", "admin");
    for (const before of [false, true]) {
      assert.deepEqual(await linus.json("team", "join", code), { team: id, name: "careful", role: null, epoch: null, pending: true, before });
    }
    assert.match((await linus.run(["team", "join", code])).out, /^You have asked already to join careful; an owner or admin must confirm you\./);
    const asked = await mallory.run(["team", "join", code, "--quiet"]);
    assert.equal(asked.code, OK, asked.err);
    assert.equal(asked.out, `You asked to join careful; an owner or admin must confirm you. They run:\n\n  osmynt team confirm careful ${mallory.user}\n\nRun \`osmynt team list\` to see whether they did.\n`);

    const listed = (await linus.json("team", "list")).teams.find(({ team }) => team === id);
    assert.match(listed.asked_at, TIME);
    assert.deepEqual(listed, { team: id, name: "careful", place: "pending", role: "admin", epoch: null, asked_at: listed.asked_at, waiting: 0 });
    assert.match((await linus.run(["team", "list"])).out, /^careful +waiting to be confirmed +[\w-]{43}$/m);
    await ends(linus, ["list"], OK, /^note: nothing of careful is listed: an owner or admin must confirm you first\.$/m);
    for (const what of [["share", "-", "--team", id], ["team", "rotate", id], ["team", "invite", id]]) {
      await ends(linus, what, REFUSED, /^error: you wait to be confirmed in careful, and can do this once an owner or admin has confirmed you\nAsk them to run `osmynt team confirm`\.$/m, { input: "x" });
    }
    const mine = await linus.json("team", "show", id);
    assert.deepEqual([mine.pending, mine.role, mine.name], [true, "admin", "careful"]);
    assert.match((await linus.run(["team", "show", id])).out, /^you wait to be confirmed as admin$/m);

    const { joiners, joining, members } = await grace.json("team", "show", id);
    assert.equal(joining, "confirmation");
    assert.equal(members.length, 2);
    assert.deepEqual(joiners.map(({ asked_at, ...rest }) => rest).sort((a, b) => (a.login < b.login ? -1 : 1)), [linus, mallory].map((who) => ({ ...known(who), role: "admin" })));
    for (const { asked_at } of joiners) assert.match(asked_at, TIME);
    const { out } = await ada.run(["team", "show", id]);
    assert.match(out, /^whoever joins waits until an owner or admin confirms them$/m);
    const row = `(linus|mallory) +admin  asked (just now|\\d+ minutes? ago)  (${linus.user}|${mallory.user})\n`;
    assert.match(out, new RegExp(`^Waiting to be confirmed\n${row}${row}Ask them, not through osmynt, .*\n\n  osmynt team confirm careful USER_ID\n`, "m"));
    assert.ok(!(await grace.run(["team", "show", id])).out.includes("USER_ID"), "who cannot confirm is not asked to");
    assert.equal((await ada.json("team", "list")).teams.find(({ team }) => team === id).waiting, 2);
    assert.match((await ada.run(["team", "list"])).out, new RegExp(`^careful +owner +${id} +2 wait to be confirmed$`, "m"));
    assert.equal((await grace.json("team", "list")).teams.find(({ team }) => team === id).waiting, 0);

    await ends(grace, ["team", "confirm", id, "linus"], REFUSED, /^error: /);
    await ends(linus, ["team", "confirm", id, linus.user], REFUSED, /^error: /);
    assert.deepEqual(await ada.json("team", "confirm", id, "linus"), { team: id, confirmed: known(linus) });
    await ends(ada, ["team", "confirm", id, "linus"], USAGE, new RegExp(`^error: @linus \\(${linus.user}\\) is in the team already`));
    await ends(ada, ["team", "confirm", "careful", "lin"], REFUSED, /^error: nobody of the name or user id "lin" waits to be confirmed\nSee `osmynt team show careful`\.$/m);
    const { snippet } = await linus.json("share", "-", "--team", id, { input: "here I am\n" });
    assert.equal((await grace.run(["open", snippet])).out, "here I am\n");

    // An admin now: refuses the other, who is barred together with the invitation that both came in by.
    const left = await linus.json("team", "invite", id, "--uses", "3");
    const turned = await linus.json("team", "remove", id, mallory.user);
    assert.deepEqual(turned, { team: id, removed: known(mallory), was: "joiner", closed: [], open: [left.invite] });
    assert.ok(!(await mallory.json("team", "list")).teams.some(({ team }) => team === id), "they were never in it");
    await ends(mallory, ["team", "join", left.code], REFUSED, /^error: /);
    assert.deepEqual(await rolesOf(id), ["ada owner", "linus admin", "grace member"]);
  });

  test("who waits may withdraw, and is let in at once where an invitation is enough again", async () => {
    const id = await team("withdrawn");
    await ada.json("team", "joining", id, "confirmation");
    const { code } = await ada.json("team", "invite", id, "--uses", "3");
    await linus.json("team", "join", code);
    assert.equal((await linus.run(["team", "leave", id])).out, "You no longer ask to join the team.\n");
    assert.deepEqual((await ada.json("team", "show", id)).joiners, []);
    assert.ok(!(await linus.json("team", "list")).teams.some(({ team }) => team === id));
    await ends(ada, ["team", "confirm", id, linus.user], REFUSED, /^error: /);
    await ada.json("team", "joining", id, "invitation");
    assert.equal((await linus.json("team", "join", code)).pending, false);
  });
});

describe("removing", () => {
  test("who is removed is told by the list, cannot use the code again, and comes back only by --for", async () => {
    const id = await team("strict");
    const { code, invite } = await ada.json("team", "invite", id, "--uses", "5");
    await mallory.json("team", "join", code);
    const before = await ada.json("share", "-", "--team", id, { input: "before\n" });
    assert.deepEqual(await ada.json("team", "remove", id, "mallory"), { team: id, removed: known(mallory), was: "member", closed: [invite], open: [] });
    const { snippet } = await ada.json("share", "-", "--team", id, { input: "after\n" });

    await ends(mallory, ["team", "list"], OK, /^note: strict is no longer listed by the service: you were removed, the team was deleted, or the service hides it\. Ask your teammates\. To take it off your list: osmynt team forget strict$/m);
    await ends(mallory, ["list"], OK, /strict is no longer listed by the service/);
    const listed = (await mallory.json("team", "list")).teams.find(({ team }) => team === id);
    assert.deepEqual(listed, { team: id, name: "strict", place: "vanished", role: null, epoch: null, asked_at: null, waiting: 0 });
    await ends(mallory, ["team", "join", code], REFUSED, /^error: /);
    const later = await ada.json("team", "invite", id, "--uses", "5");
    await ends(mallory, ["team", "join", later.code], REFUSED, /^error: /);
    assert.equal((await mallory.run(["open", snippet])).code, REFUSED);

    const named = await ada.json("team", "invite", id, "--for", mallory.user.slice(0, 16));
    assert.equal(named.user, mallory.user, "who was in the team is named by less");
    await mallory.json("team", "join", named.code);
    assert.equal((await mallory.run(["open", before.snippet])).out, "before\n");
    assert.equal((await mallory.run(["open", snippet])).code, REFUSED, "what was shared meanwhile is not theirs");
    assert.equal((await mallory.json("team", "list")).teams.find(({ team }) => team === id).place, "member");
  });

  test("removal and demotion say which open invitations they close", async () => {
    const id = await team("closes", grace);
    await ada.json("team", "role", id, "grace", "admin");
    const theirs = [await grace.json("team", "invite", id, "--role", "admin"), await grace.json("team", "invite", id)].map(({ invite }) => invite);
    const own = await ada.json("team", "invite", id);
    const { closed } = await ada.json("team", "role", id, "grace", "member");
    assert.deepEqual(closed.toSorted(), theirs.toSorted());
    assert.deepEqual((await ada.json("team", "invite", "list", id)).invites.map(({ invite }) => invite), [own.invite]);
    await ada.json("team", "role", id, "grace", "admin");
    const again = await grace.json("team", "invite", id);
    const { out } = await ada.run(["team", "remove", id, "grace"]);
    assert.equal(out, `Removed grace. What is shared from now on, they cannot open.\nClosed 1 open invitation that they made or came in by: ${again.invite.slice(0, 8)}\nStill open for anybody who has the code: 1 invitation (${own.invite.slice(0, 8)}). If they may know one: osmynt team invite revoke ${id.startsWith("-") ? `'${id}'` : id} ID\n`);
    await ends(linus, ["team", "join", again.code], REFUSED, /^error: /);
    await grace.json("team", "forget", id);
  });
});

describe("a name that one of your teams has", () => {
  test("another team is made with it only if that is meant", async () => {
    const id = await team("twice");
    await ends(ada, ["team", "new", "twice"], USAGE, /^error: cannot ask for confirmation without a terminal\nUse --yes/);
    const no = await ada.see(["team", "new", "twice"], { answer: "n" });
    assert.equal(no.code, REFUSED);
    assert.ok(unbroken(no.out).includes(`You are in a team called twice already (${id.slice(0, 8)}).`), no.out);
    const other = (await ada.json("team", "new", "twice", "--yes")).team;
    assert.notEqual(other, id);
    await ends(ada, ["team", "show", "twice"], USAGE, /is more than one team: twice .*\nGive its id, or more characters of it\.$/m);
    for (const one of [id, other]) await ada.json("team", "delete", one, "--yes");
  });
});

describe("deleting a team", () => {
  test("an owner types its name, everybody loses it, and takes it off their list", async () => {
    const id = await team("short-lived", grace);
    const { snippet } = await ada.json("share", "-", "--team", id, { input: "gone soon\n" });
    await ends(grace, ["team", "delete", id], REFUSED, /^error: only an owner can delete the team\nTo leave it: osmynt team leave/);
    await ends(grace, ["team", "delete", id, "--yes"], REFUSED, /^error: /);
    await ends(ada, ["team", "delete", id], USAGE, /^error: cannot ask for confirmation without a terminal\nUse --yes/);
    const no = await ada.see(["team", "delete", id], { answer: "y", env: { NO_COLOR: "1" } });
    assert.match(unbroken(no.out), /This deletes the team short-lived with all that is in it, for you and 1 other member, for good\. What somebody opened or saved stays with them\.\r\n\r\nType short-lived to delete it: /);
    assert.match(no.out, /error: it was not confirmed, so nothing has changed/);
    assert.equal(no.code, REFUSED);
    assert.equal((await grace.run(["open", snippet])).out, "gone soon\n");

    const hasty = await ada.see(["team", "delete", "short-lived"], { early: "short-lived\n", answer: "no" });
    assert.equal(hasty.code, REFUSED, "what is typed before the question is no answer to it");

    const yes = await ada.see(["team", "delete", "short-lived"], { answer: "short-lived" });
    assert.equal(yes.code, OK, yes.out);
    assert.match(yes.out, /Deleted the team, with all that was in it\./);
    assert.ok(!(await ada.json("team", "list")).teams.some(({ team }) => team === id), "who deleted it is not told that it vanished");
    assert.equal((await grace.json("team", "list")).teams.find(({ team }) => team === id).place, "vanished");
    for (const person of [ada, grace]) assert.equal((await person.run(["open", snippet])).code, REFUSED);
    await ends(grace, ["team", "show", "short-lived"], REFUSED, /osmynt team forget/);

    await ends(grace, ["team", "forget", TEAM], USAGE, /the service lists this team; leave it instead/);
    await ends(grace, ["team", "forget", "nothing"], REFUSED, /no team "nothing"/);
    assert.deepEqual(await grace.json("team", "forget", "short-lived"), { team: id, forgotten: true });
    assert.ok(!(await grace.json("team", "list")).teams.some(({ team }) => team === id));
    await ends(grace, ["team", "forget", id], REFUSED, /no team/);
    assert.equal((await ends(grace, ["team", "list"], OK, /^$/)), "");
  });

  test("the last member is told to delete instead of leaving, and asked at a terminal", async () => {
    const id = await team("mine alone");
    await ends(ada, ["team", "leave", id], USAGE, /^error: you are the only member, so nobody could use the team any more\nDelete it instead: osmynt team delete 'mine alone'$/m);
    const no = await ada.see(["team", "leave", id], { answer: "no" });
    assert.equal(no.code, REFUSED, no.out);
    assert.match(no.out, /You are the only member, so nobody could use the team any more\./);
    assert.equal((await ada.json("team", "show", id)).members.length, 1);
    const yes = await ada.see(["team", "leave", id], { answer: "mine alone" });
    assert.equal(yes.code, OK, yes.out);
    assert.match(yes.out, /Deleted the team/);
    assert.ok(!(await ada.json("team", "list")).teams.some(({ team }) => team === id));
  });

  test("the only owner cannot leave the others without one", async () => {
    const id = await team("ownerless", grace);
    await ends(ada, ["team", "leave", id], REFUSED, /^error: /);
    assert.deepEqual(await rolesOf(id), ["ada owner", "grace member"]);
    assert.deepEqual(await ada.json("team", "delete", id, "--yes"), { team: id, deleted: true });
    await grace.json("team", "forget", id);
  });

  test("--yes deletes without a question", async () => {
    const id = await team("quick");
    assert.deepEqual(await ada.json("team", "delete", id, "--yes"), { team: id, deleted: true });
    assert.equal((await ada.run(["team", "show", id])).code, REFUSED);
  });
});

async function closeAll(team) {
  for (const { invite } of (await ada.json("team", "invite", "list", team)).invites) await ada.json("team", "invite", "revoke", team, invite);
}

/** The parts of an outcome to compare. */
async function seen(outcome) {
  const { code, out, err } = await outcome;
  return { code, out, err };
}
