// A person without their devices founds another user of their account, and may have the former one erased, which each of its devices can stop:
// with the `osmynt` command against a running service.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Person, unbroken } from "./cli/person.mjs";
import { PEOPLE, person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const OK = 0, USAGE = 2, NOT_SIGNED_IN = 3, REFUSED = 4;
const HASH = /^[\w-]{43}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const FORTNIGHT = 14 * 24 * 3600;
const PLAIN = { env: { NO_COLOR: "1" } };

let service, ada;
const people = [];

before(async () => {
  const more = ["edsger", "barbara", "fran", "katherine", "mary"].map((login, index) => person(2001 + index, login, login));
  service = await startService({ people: [...PEOPLE, ...more] });
  ada = await signedIn("ada");
});

after(async () => {
  await service?.dispose();
  for (const { folder } of people) rmSync(folder, { recursive: true, force: true });
});

/** Somebody at a machine that they never used. */
async function newMachine(login) {
  const person = await Person.create(login);
  people.push(person);
  return person;
}

/** The same, signed in there as a new user. */
async function signedIn(login, args = []) {
  const person = await newMachine(login);
  const { code, err, events } = await person.signIn(service, { args });
  assert.equal(code, OK, err);
  person.user = events.at(-1).user;
  return person;
}

const signInAtTerminal = (person, answer, args = []) =>
  person.see(["login", "--start-over", "--no-browser", "--server", service.url, "--name", "new machine", ...args], { ...PLAIN, answer, browser: true });

/** A team of ada's with these members; gives its id. */
async function team(name, ...members) {
  const { team } = await ada.json("team", "new", name);
  for (const member of members) await member.json("team", "join", (await ada.json("team", "invite", team)).code);
  return team;
}

/** The command must end so and say so. */
async function ends(person, args, expected, words, options) {
  const { code, out, err } = await person.run(args, options);
  assert.equal(code, expected, `osmynt ${args.join(" ")}: ${out}${err}`);
  assert.match(err, words);
}

const read = async (person, snippet) => {
  const { code, out } = await person.run(["open", snippet]);
  return code === OK ? out : code;
};

describe("starting over", () => {
  test("a device that signs in later can neither share nor open, and is told to use another", async () => {
    const first = await signedIn("linus");
    const id = await team("not yet", first);
    const second = await newMachine("linus");
    const { code, err, events } = await second.signIn(service);
    assert.equal(code, REFUSED);
    const { error } = JSON.parse(err);
    assert.equal(error.code, "refused");
    assert.equal(error.message, "this device can neither share nor open: your account has another one, and so far only one device can");
    assert.equal(error.next, "Use the device that you signed in with first.");
    const { account } = await first.json("whoami");
    const me = await second.json("whoami");
    assert.deepEqual(events.at(-1), { event: "signed-in", user: null, account, login: "linus", device: me.device });
    assert.deepEqual([me.account, me.user, me.active], [account, null, false]);
    assert.match((await second.run(["whoami"])).out, /^This device can neither share nor open: use the one that you signed in with first\. So far, one device of an account can share and open\.$/m);
    for (const args of [["team", "list"], ["team", "show", id], ["team", "new", "x"], ["list"], ["account", "keep"], ["account", "erase-former", first.user, "--yes"]]) {
      await ends(second, args, REFUSED, /^error: this device can neither share nor open: it is not the first of your account\nUse the device that you signed in with first/);
    }
    assert.equal((await first.run(["team", "show", id])).code, OK);
  });

  test("it is refused without a word of the person's own, and then nothing has changed", async () => {
    const [first, second] = [await newMachine("linus"), await newMachine("linus")];
    const unasked = await first.signIn(service, { args: ["--start-over"] });
    assert.equal(unasked.code, USAGE);
    assert.match(JSON.parse(unasked.err).error.next, /--yes/);
    assert.equal(unasked.events.at(-1).user, null);
    for (const answer of ["y", "yes", "ada", ""]) {
      const { code, out } = await signInAtTerminal(second, answer);
      assert.equal(code, REFUSED, out);
      assert.match(out, /error: it was not confirmed, so nothing has changed/);
      assert.equal((await second.json("whoami")).user, null);
    }
    await ends(second, ["login", "--yes"], USAGE, /--start-over/);
  });

  test("what it means is said team by team, and the former user and its devices go on as before", async () => {
    const first = await signedIn("edsger");
    const [plain, led] = [await team("plain", first), (await first.json("team", "new", "led")).team];
    const grace = await signedIn("grace");
    await grace.json("team", "join", (await first.json("team", "invite", led)).code);
    const own = (await first.json("team", "new", "own")).team;
    const { snippet } = await ada.json("share", "-", "--team", plain, { input: "for the former one\n" });
    const kept = await first.json("share", "-", "--team", plain, { input: "by the former one\n" });

    const second = await newMachine("edsger");
    const { code, out } = await signInAtTerminal(second, "edsger");
    assert.equal(code, OK, out);
    assert.match(out, /Starting over makes this device a new user of your account\./);
    assert.ok(unbroken(out).includes(`Your former user ${first.user} stays, with 1 active device, which goes on as it is.`), out);
    assert.match(unbroken(out), /Nothing is deleted on any machine\. What was shared before cannot be opened on this device\./);
    const line = (id, rest) => new RegExp(`^  team ${id.slice(0, 8)} +${rest}\r$`, "m");
    assert.match(out, line(plain, "member +goes on without you"));
    assert.match(out, line(led, "owner +you are its only owner: only your other devices can act as one"));
    assert.match(out, line(own, "owner +nobody else is in it: only your other devices can use it"));
    assert.match(out, /Type your login, edsger, to start over: /);
    const { user, account, active } = await second.json("whoami");
    assert.match(user, HASH);
    assert.notEqual(user, first.user);
    assert.deepEqual([account, active], [(await first.json("whoami")).account, true]);
    assert.ok(unbroken(out).includes(`Started over: you are user ${user} now.`), out);
    assert.ok(unbroken(out).includes(`osmynt account erase-former ${first.user}`), out);

    // Nothing is taken from the former one, and nothing is given to the new one.
    assert.deepEqual((await first.json("team", "list")).teams.map(({ team }) => team).sort(), [plain, led, own].sort());
    assert.equal(await read(first, snippet), "for the former one\n");
    const { snippet: later } = await first.json("share", "-", "--team", led, { input: "still here\n" });
    assert.equal(await read(grace, later), "still here\n");
    assert.deepEqual((await second.json("team", "list")).teams, []);
    for (const one of [snippet, kept.snippet, later]) assert.equal(await read(second, one), REFUSED);
    const types = async (person) => (await person.json("account", "events")).events.map(({ type }) => type);
    for (const person of [first, second]) assert.ok((await types(person)).includes("started-over"));
    assert.match((await first.run(["account", "events"])).out, /account started over with another user/);

    // In a team with both, neither is chosen by the name that both have.
    await second.json("team", "join", (await ada.json("team", "invite", plain)).code);
    const { members } = await ada.json("team", "show", plain);
    assert.deepEqual(members.filter(({ login }) => login === "edsger").map(({ user, doubt }) => [user, doubt]).sort(), [[first.user, "shared"], [user, "shared"]].sort());
    await ends(ada, ["team", "remove", plain, "edsger"], USAGE, new RegExp(`${first.user}|${user}`));
    assert.equal((await ada.json("team", "remove", plain, first.user)).removed.user, first.user);
    // This home knew another by that name, and does not take the new one for them unless ada says so.
    await ends(ada, ["team", "role", plain, "edsger", "admin"], USAGE, new RegExp(user));
    assert.equal((await ada.json("team", "accept-name", plain, user)).accepted.doubt, null);
    assert.equal((await ada.json("team", "role", plain, "edsger", "admin")).member.user, user);
  });

  test("--yes does it for scripts, once, and a device that is somebody needs none of it", async () => {
    const first = await signedIn("barbara");
    const second = await signedIn("barbara", ["--start-over", "--yes"]);
    assert.match(second.user, HASH);
    assert.notEqual(second.user, first.user);
    assert.equal((await second.json("whoami")).user, second.user);
    for (const person of [first, second]) {
      const again = await person.signIn(service, { args: ["--start-over", "--yes"] });
      assert.equal(again.code, OK, again.err);
      assert.equal(again.events.at(-1).user, person.user);
    }
    const shown = await first.see(["login", "--start-over", "--no-browser", "--server", service.url], { ...PLAIN, browser: true });
    assert.match(unbroken(shown.out), /note: nothing to start over: this device is one of your account's devices\./);
    const brandNew = await newMachine("fran");
    assert.equal((await brandNew.signIn(service, { args: ["--start-over", "--yes"] })).code, OK, "an account's first user is no start over");
  });
});

describe("erasing a former user", () => {
  let katherine, former, present, shared, own, snippet;

  before(async () => {
    katherine = await signedIn("katherine");
    former = await signedIn("mary");
    shared = await team("shared", former, katherine);
    own = (await former.json("team", "new", "own")).team;
    ({ snippet } = await former.json("share", "-", "--team", shared, { input: "by the former one\n" }));
    present = await signedIn("mary", ["--start-over", "--yes"]);
  });

  /** As if an hour had gone by since the command asked for it. */
  function anHourLater({ home }) {
    const file = join(home, "notice.json");
    const notice = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...notice, asked_at: notice.asked_at - 3601 }));
  }
  const noted = /^note: somebody signed in to your account asked to erase you\. On \d{4}-\d\d-\d\d all that you shared is erased, and your own teams\. If that was not you: osmynt account keep$/m;

  test("it is asked for by the whole user id and with the login typed", async () => {
    await ends(present, ["account", "erase-former", present.user, "--yes"], USAGE, /that is the user of this device, not a former one/);
    for (const other of ["mary", former.user.slice(0, 42), `${former.user}A`]) await ends(present, ["account", "erase-former", other, "--yes"], USAGE, /is not a user id/);
    await ends(present, ["account", "erase-former", ada.user, "--yes"], REFUSED, /^error: /);
    await ends(former, ["account", "erase-former", present.user, "--yes"], REFUSED, /^error: /);
    await ends(present, ["account", "erase-former", former.user], USAGE, /cannot ask for confirmation without a terminal/);
    const no = await present.see(["account", "erase-former", former.user], { ...PLAIN, answer: "y" });
    assert.equal(no.code, REFUSED, no.out);
    assert.ok(unbroken(no.out).includes(`to erase user ${former.user}, if it is a former one of your account mary, 14 days from now.`), no.out);
    assert.match(no.out, /Type your login, mary, to ask for it: /);
    assert.deepEqual((await present.json("whoami")).erasures, []);

    const yes = await present.see(["account", "erase-former", former.user], { ...PLAIN, answer: "mary" });
    assert.equal(yes.code, OK, yes.out);
    assert.ok(unbroken(yes.out).includes(`To take it back: osmynt account keep ${former.user}`), yes.out);
    const [erasure] = (await present.json("whoami")).erasures;
    assert.equal(erasure.user, former.user);
    for (const time of [erasure.asked_at, erasure.due_at]) assert.match(time, TIME);
    assert.equal(Date.parse(erasure.due_at) - Date.parse(erasure.asked_at), FORTNIGHT * 1000);
    assert.deepEqual(await present.json("account", "erase-former", former.user, "--yes"), erasure, "again is the same");
    assert.match((await present.run(["whoami"])).out, new RegExp(`^user ${former.user} of your account will be erased on \\d{4}-\\d\\d-\\d\\d; to stop that: osmynt account keep ${former.user}$`, "m"));
  });

  test("every command of the former user's devices says so within the hour, and one of them stops it", async () => {
    anHourLater(former);
    // Whatever the command is, and whether it asks the service or not.
    const commands = [["team", "list"], ["list"], ["session", "list"], ["open", snippet], ["whoami"], ["team", "show", shared]];
    for (const args of commands) await ends(former, args, OK, noted);
    await ends(former, ["open", "ffffffff"], REFUSED, noted);
    await ends(former, ["team", "list", "--quiet"], OK, noted);
    assert.equal((await former.run(["team", "list", "--json"])).err, "", "programs are told by whoami");
    assert.ok(!noted.test((await present.run(["team", "list"])).err), "it is not the present user who goes");
    assert.ok(!noted.test((await ada.run(["team", "list"])).err));
    assert.equal((await former.json("whoami")).erasures[0].user, former.user);

    assert.deepEqual(await former.json("account", "keep"), { user: former.user, kept: true });
    assert.deepEqual((await former.json("whoami")).erasures, []);
    assert.deepEqual((await present.json("whoami")).erasures, []);
    assert.equal((await former.run(["team", "list"])).err, "");
    const { out } = await former.run(["account", "events"]);
    assert.match(out, /erasure of a former user asked for/);
    assert.match(out, /erasure of a former user called off/);
    await ends(ada, ["account", "keep", former.user], REFUSED, /^error: /);
  });

  test("who asked may take it back", async () => {
    await present.json("account", "erase-former", former.user, "--yes");
    const { out } = await present.run(["account", "keep", former.user]);
    assert.equal(out, `User ${former.user} will not be erased.\n`);
    assert.deepEqual((await present.json("whoami")).erasures, []);
    anHourLater(former);
    assert.equal((await former.run(["team", "list"])).err, "");
  });

  test("a device whose sign-in is over stops it by its key alone", async () => {
    await present.json("account", "erase-former", former.user, "--yes");
    const database = await service.mf.getD1Database("DB");
    const { device } = await former.json("whoami");
    await database.prepare("UPDATE sessions SET ended_at = created_at WHERE device = ?").bind(device).run();
    assert.equal((await former.run(["team", "list"])).code, NOT_SIGNED_IN);
    assert.deepEqual(await former.json("account", "keep"), { user: former.user, kept: true });
    assert.deepEqual((await present.json("whoami")).erasures, []);
    assert.equal((await former.signIn(service)).code, OK);
    assert.equal((await former.json("whoami")).user, former.user);
  });

  test("when it is due the former user's snippets, teams and sign-ins are gone, and what they were in goes on", async () => {
    await present.json("account", "erase-former", former.user, "--yes");
    assert.equal(await read(katherine, snippet), "by the former one\n");
    const database = await service.mf.getD1Database("DB");
    await database.prepare("UPDATE erasures SET asked_at = asked_at - ?1, due_at = due_at - ?1 WHERE user = ?2").bind(FORTNIGHT + 1, former.user).run();
    assert.equal((await (await service.mf.getWorker()).scheduled({ cron: "*/15 * * * *" })).outcome, "ok");

    assert.equal((await former.run(["team", "list"])).code, NOT_SIGNED_IN);
    assert.equal(await read(katherine, snippet), REFUSED);
    const { members } = await ada.json("team", "show", shared);
    const erased = members.find(({ user }) => user === former.user);
    assert.deepEqual([erased.login, erased.doubt], ["mary", "unopened"], "they are in the team until somebody removes them");
    const { snippet: later } = await ada.json("share", "-", "--team", shared, { input: "goes on\n" });
    assert.equal(await read(katherine, later), "goes on\n");
    await ends(ada, ["team", "remove", shared, "mary"], USAGE, new RegExp(former.user));
    assert.equal((await ada.json("team", "remove", shared, former.user)).removed.user, former.user);
    assert.deepEqual((await present.json("whoami")).erasures, []);
    assert.match((await present.run(["account", "events"])).out, /former user erased/);
    assert.equal((await database.prepare("SELECT count(*) AS n FROM teams WHERE id = ?").bind(own).first()).n, 0);
  });
});
