// Signing out, sessions and the account, as people use them with the `osmynt` command against a running service; and what becomes of tokens
// when several commands run at once, answers get lost, or a command is killed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Person, unbroken } from "./cli/person.mjs";
import { Client } from "./client/client.mjs";
import { approve } from "./support/browser.mjs";
import { person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";
import { changeVault, clientOf, secretsOf } from "./support/intruder.mjs";

const OK = 0, USAGE = 2, NOT_SIGNED_IN = 3, REFUSED = 4, UNREACHABLE = 7;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
/** As often as the command sends a request whose answer is lost. */
const EVERY_TIME = 4;

/** In front of the built Worker: what happens to the next requests of a kind. Nothing of it is in what is deployed. */
const ENTRY = `
import { WorkerEntrypoint } from "cloudflare:workers";
import BuiltWorker, { Team } from "./index.js";
export { Team };

let trick = { times: 0 };

export default class extends WorkerEntrypoint {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/trick") {
      trick = await request.json();
      return new Response();
    }
    const meant = trick.times > 0 && request.method === trick.method && pathname === trick.path;
    if (meant) trick.times -= 1;
    if (meant && trick.what === "busy") return new Response(null, { status: 429, headers: { "Retry-After": "60" } });
    if (meant && trick.what === "not there") return new Response(null, { status: 502 });
    const answer = await new BuiltWorker(this.ctx, this.env).fetch(request);
    if (!meant) return answer;
    if (trick.what === "lost") return new Response(null, { status: 502 });
    if (trick.what === "late") await scheduler.wait(120_000);
    if (trick.what === "cut off") {
      const bytes = new Uint8Array(await answer.arrayBuffer());
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      writer.write(bytes.subarray(0, bytes.length / 2)).then(() => writer.abort(new Error("cut off")));
      return new Response(readable);
    }
    return answer;
  }
}
`;

let service, ada, grace;
const folders = [];

before(async () => {
  const more = ["dora", "edsger", "fran", "katherine", "mary", "barbara", "alonzo"].map((login, index) => person(2001 + index, login, login));
  service = await startService({ entry: ENTRY, people: [person(1001, "ada", "Ada"), person(1002, "grace", "Grace"), person(1003, "linus", "Linus"), ...more] });
  [ada, grace] = [await signedIn("ada"), await signedIn("grace")];
});

after(async () => {
  await service?.dispose();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe("tokens", () => {
  test("ten commands at once that find the access token expired make exactly one refresh, and all succeed", async () => {
    for (const [what, change] of [["expired", (session) => (session.access_ends = 0)], ["refused", (session) => (session.access_token += "x")]]) {
      await changeVault(ada.home, ({ session }) => change(session));
      const before = service.log.length;
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => ada.run(["session", "list", "--json"])));
      assert.deepEqual(outcomes.map(({ code }) => code), Array(10).fill(OK), outcomes.map(({ err }) => err).join(""));
      const answered = ({ route, status }) => route === "/v1/me/sessions" && status === 200;
      await eventually(() => requests(before).filter(answered).length === 10);
      const refreshes = requests(before).filter(({ method, route }) => method === "POST" && route === "/v1/tokens");
      assert.deepEqual(refreshes.map(({ status }) => status), [200], what);
    }
  });

  test("a refresh whose answer is lost is made again with the same key, and the session goes on", async () => {
    await expire(ada);
    await trick("POST", "/v1/tokens", "lost", EVERY_TIME);
    const { code, err } = await ada.run(["session", "list"]);
    assert.equal(code, UNREACHABLE, err);
    const { idempotency_key, refresh_token } = (await secretsOf(ada.home)).session;
    assert.match(idempotency_key, /^[\w-]{22}$/);
    assert.equal((await ada.json("session", "list")).sessions.length, 1);
    const now = (await secretsOf(ada.home)).session;
    assert.notEqual(now.refresh_token, refresh_token);
    assert.equal(now.idempotency_key, undefined);
    await expire(ada);
    assert.equal((await ada.run(["session", "list"])).code, OK, "and so does the next refresh");
  });

  test("a command that is killed between sending a refresh and keeping the answer ends nothing", async () => {
    await expire(ada);
    await trick("POST", "/v1/tokens", "late", 1);
    const before = service.log.length;
    const refreshed = eventually(() => requests(before).some(({ route, status }) => route === "/v1/tokens" && status === 200));
    const { code } = await ada.run(["session", "list"], { killed: refreshed });
    assert.equal(code, null, "it was killed");
    await trick("POST", "/v1/tokens", "late", 0);
    assert.equal((await ada.json("session", "list")).sessions.length, 1);
    await expire(ada);
    assert.equal((await ada.run(["session", "list"])).code, OK);
  });

  test("who works with a copy of everything is out when the owner refreshes, and the owner is told", async () => {
    const dora = await signedIn("dora");
    const thief = await copyOf(dora);
    await expire(thief);
    assert.equal((await thief.run(["whoami"])).code, OK);

    const noticed = await dora.run(["whoami"]);
    assert.equal(noticed.code, NOT_SIGNED_IN);
    assert.match(noticed.err, /^error: the sign-in is over\nSign in with `osmynt login`\.\n$/);
    assert.equal((await thief.run(["whoami"])).code, NOT_SIGNED_IN);

    assert.equal((await dora.signIn(service)).code, OK);
    const { events } = await dora.json("account", "events");
    assert.ok(events.some(({ type }) => type === "refresh-reused"), JSON.stringify(events));
    assert.match((await dora.run(["account", "events"])).out, /a copied sign-in was used, so it was ended[^]*\nSomebody else had a copy/);
  });

  test("too many requests are waited for, and the person sees why it takes so long", async () => {
    const asked = /the service asks to wait 1 minute/;
    await trick("GET", "/v1/teams", "busy", 1);
    assert.match((await ada.see(["team", "list"], { until: asked })).out, asked);
    await trick("GET", "/v1/teams", "busy", 1);
    assert.match((await ada.run(["team", "list"], { until: asked })).err, /^note: the service asks to wait 1 minute/);
  });
});

describe("sessions", () => {
  test("the list says which devices are signed in since when, and which is this one", async () => {
    const other = await stranger("ada");
    const { sessions } = await ada.json("session", "list");
    assert.equal(sessions.length, 2);
    const [newest, mine] = sessions;
    assert.deepEqual([newest.current, mine.current], [false, true]);
    assert.equal(mine.device, (await ada.json("whoami")).device);
    for (const { session, name, created_at, refreshed_at, expires_at } of sessions) {
      assert.match(session, /^[\w-]+$/);
      assert.equal(name, "ada's laptop");
      for (const time of [created_at, refreshed_at, expires_at]) assert.match(time, TIME);
    }
    const { out } = await ada.run(["session", "list"]);
    const line = String.raw`[\w-]{8}  ada's laptop  [\w-]{8}  signed in (?:just now|\d+ minutes? ago) +refreshed (?:just now|\d+ minutes? ago) +ends in 30 days`;
    assert.match(out, new RegExp(`^${line}\n${line}  this one\n$`));

    assert.equal((await ada.json("session", "revoke", "--others")).revoked.length, 1);
    assert.equal((await other.run(["whoami"])).code, NOT_SIGNED_IN);
    assert.equal((await ada.run(["session", "revoke", "--others"])).out, "Nothing to end: you are signed in here only.\n");
  });

  test("one is ended by the beginning of its id, and not this one", async () => {
    const other = await stranger("ada");
    const [{ session: theirs }, { session: mine }] = (await ada.json("session", "list")).sessions;
    const own = await ada.run(["session", "revoke", "--", mine]);
    assert.equal(own.code, USAGE);
    assert.match(own.err, /osmynt logout/);
    assert.equal((await ada.run(["session", "revoke", "nothing-like-it"])).code, REFUSED);
    const { code, out } = await ada.run(["session", "revoke", "--", theirs.slice(0, 10)]);
    assert.deepEqual([code, out], [OK, "Ended the sign-in on \"ada's laptop\". What was read there stays there.\n"]);
    const over = await other.run(["whoami"]);
    assert.equal(over.code, NOT_SIGNED_IN);
    assert.match(over.err, /the sign-in is over/);
    assert.equal((await ada.run(["whoami"])).code, OK);
  });

  test("signing in anew loses nothing, and neither does a sign-in that is refused", async () => {
    const { device } = await ada.json("whoami");
    const made = await ada.json("team", "new", "kept");
    const { snippet } = await ada.json("share", "-", "--team", "kept", { input: "kept\n" });
    const refused = await ada.signIn(service, { choice: { deny: true } });
    assert.equal(refused.code, REFUSED);
    assert.match(JSON.parse(refused.err).error.next, /revoked.*osmynt logout --erase/);
    assert.equal((await ada.run(["open", snippet])).out, "kept\n");
    assert.equal((await ada.signIn(service)).code, OK);
    assert.equal((await ada.json("whoami")).device, device);
    assert.equal((await ada.run(["open", snippet])).out, "kept\n");
    assert.equal((await ada.json("session", "list")).sessions.length, 1, "in the place of the one before");

    // Somebody else at the browser: the device is in the log of ada's user. Theirs does not stay open, and this one goes on.
    const other = await ada.signIn(service, { as: "grace" });
    assert.equal(other.code, REFUSED, other.err);
    assert.equal((await ada.run(["open", snippet])).out, "kept\n");
    assert.equal((await grace.json("session", "list")).sessions.length, 1);
    assert.ok(made.team);
  });
});

describe("signing out", () => {
  test("it ends the session, keeps the keys and says so", async () => {
    const edsger = await signedIn("edsger");
    await edsger.json("team", "new", "t");
    const { snippet } = await edsger.json("share", "-", "--team", "t", { input: "still there\n" });
    const stolen = await copyOf(edsger);

    const { code, out, err } = await edsger.run(["logout"]);
    assert.deepEqual([code, err], [OK, ""]);
    assert.equal(out, `Signed out.\nLeft in ${edsger.home}: this device's keys, the keys of 1 team and what was verified. The next \`osmynt login\` goes on with them.\nTo remove them from this machine: osmynt logout --erase\n`);
    assert.equal((await stolen.run(["whoami"])).code, NOT_SIGNED_IN, "the service has ended it too");
    for (const command of [["list"], ["logout"], ["session", "list"]]) assert.equal((await edsger.run(command)).code, NOT_SIGNED_IN);

    assert.equal((await edsger.signIn(service)).code, OK);
    assert.equal((await edsger.run(["open", snippet])).out, "still there\n");
    assert.deepEqual(await edsger.json("logout", "--everywhere"), { session: "ended", everywhere: true, erased: false, folder: edsger.home, teams_with_keys: 1 });
    assert.equal((await edsger.run(["logout", "--everywhere", "--erase", "--yes"])).code, NOT_SIGNED_IN);
  });

  test("everywhere means the other devices as well", async () => {
    const other = await stranger("ada");
    assert.equal((await ada.run(["logout", "--everywhere"])).code, OK);
    assert.equal((await other.run(["whoami"])).code, NOT_SIGNED_IN);
    assert.equal((await ada.signIn(service)).code, OK);
  });

  test("when the session is over already it succeeds and says so", async () => {
    const other = await stranger("ada");
    await ada.json("session", "revoke", "--others");
    const { code, out } = await other.run(["logout"]);
    assert.equal(code, OK);
    assert.match(out, /^Signed out; the service had ended the sign-in before\.\nLeft in /);
    assert.equal((await other.run(["whoami"])).code, NOT_SIGNED_IN);
  });

  test("when the service cannot be reached nothing changes", async () => {
    await trick("DELETE", "/v1/me/sessions/current", "not there", EVERY_TIME);
    assert.equal((await ada.run(["logout", "--erase", "--yes"])).code, UNREACHABLE);
    assert.equal((await ada.run(["whoami"])).code, OK);
  });

  test("erasing needs a yes, and leaves nothing", async () => {
    const fran = await signedIn("fran");
    await fran.json("team", "new", "t");
    const unasked = await fran.run(["logout", "--erase"]);
    assert.equal(unasked.code, USAGE);
    assert.match(unasked.err, /--yes/);
    const no = await fran.see(["logout", "--erase"], { answer: "n", env: { NO_COLOR: "1" } });
    assert.match(unbroken(no.out), /This removes this device's keys, the keys of 1 team and what was verified from .*osmynt login --start-over[^]*\[y\/N\] /);
    assert.match(no.out, /error: .*nothing has changed/);
    assert.equal(no.code, REFUSED);
    assert.equal((await fran.run(["whoami"])).code, OK);

    const yes = await fran.see(["logout", "--erase"], { answer: "y" });
    assert.equal(yes.code, OK, yes.out);
    assert.match(yes.out, /Signed out\.\r\nRemoved this device's keys/);
    assert.ok(!existsSync(fran.home));
    assert.equal((await fran.run(["whoami"])).code, NOT_SIGNED_IN);
  });

  test("what cannot be used any more can still be removed", async () => {
    const broken = await stranger("fran");
    writeFileSync(join(broken.home, "vault"), "broken");
    assert.equal((await broken.run(["logout"])).code, 1);
    const { code, err } = await broken.run(["logout", "--erase", "--yes"]);
    assert.equal(code, OK, err);
    assert.match(err, /^note: nobody can be signed out: /);
    assert.ok(!existsSync(broken.home));
  });

  test("a device that was revoked is told to remove what it keeps, and can then sign in anew", async () => {
    const first = await signedIn("katherine");
    const second = await Client.signIn({ origin: service.url, name: "second", approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "katherine") });
    const { device } = await first.json("whoami");
    // No command adds a device; the independent client does, with the keys of the first.
    await (await clientOf(first.home, service.url)).addDevice(await second.describe());
    await second.revokeDevice(device);
    const over = await first.run(["whoami"]);
    assert.equal(over.code, NOT_SIGNED_IN, over.err);
    const denied = await first.signIn(service);
    assert.equal(denied.code, REFUSED);
    assert.match(JSON.parse(denied.err).error.next, /osmynt logout --erase/);
    assert.equal((await first.json("logout", "--erase", "--yes")).session, "was-over");
    const anew = await first.signIn(service);
    assert.equal(anew.code, REFUSED, "it is a device like any other");
    assert.match(anew.err, /this device can neither share nor open: your account has another one/);
  });
});

describe("the account", () => {
  test("events tell what happened, newest first", async () => {
    const { events, more } = await grace.json("account", "events");
    assert.equal(more, false);
    const types = events.map(({ type }) => type);
    assert.equal(types.at(-1) === "signed-in" || types.at(-2) === "signed-in", true, types.join());
    assert.ok(types.includes("device-added"));
    const times = events.map(({ at }) => at);
    for (const time of times) assert.match(time, TIME);
    assert.deepEqual(times, [...times].sort().reverse());
    const { out } = await grace.run(["account", "events"]);
    assert.match(out, /^\d{4}-\d\d-\d\d \d\d:\d\d UTC  (just now|\d+ minutes? ago) +[a-z ]+ (this )?device/m);
    assert.match(out, /device added +this device/);
    const few = await grace.run(["account", "events", "--limit", "1"]);
    assert.equal(few.out.trim().split("\n").length, 1);
    assert.match(few.err, /there are more/);
  });

  test("a login that changed at GitHub is signed anew by the person alone, and teammates accept it", async () => {
    const old = await signedIn("alonzo");
    const { team } = await ada.json("team", "new", "renamed");
    await old.json("team", "join", (await ada.json("team", "invite", team)).code);
    const { user } = await old.json("whoami");
    const known = { user, login: "alonzo", doubt: null, login_before: null };
    const shown = async () => (await ada.json("team", "show", team)).members.map(({ role, devices, me, ...person }) => person).find((person) => person.user === user);
    assert.deepEqual(await shown(), known);

    service.github.people.find(({ login }) => login === "alonzo").login = "church";
    old.login = "church";
    const again = await old.signIn(service);
    assert.equal(again.code, OK, again.err);
    assert.match((await old.run(["whoami"])).err, /^note: the service says that GitHub calls you "church" now, and you have signed "alonzo"\. If you have changed your login at GitHub: osmynt account sign-name\./m);
    const me = await old.json("whoami");
    assert.deepEqual([me.login, me.service_login], ["alonzo", "church"]);
    assert.deepEqual(await shown(), known, "signing in has signed nothing");

    const unasked = await old.run(["account", "sign-name"]);
    assert.equal(unasked.code, USAGE);
    assert.match(unasked.err, /--yes/);
    const no = await old.see(["account", "sign-name"], { answer: "alonzo", env: { NO_COLOR: "1" } });
    assert.equal(no.code, REFUSED, no.out);
    assert.match(unbroken(no.out), /This signs that GitHub calls you "church", as the service says\. Until now you have signed "alonzo"\.[^]*Type that login, church, to sign it: /);
    assert.deepEqual(await shown(), known);
    const yes = await old.see(["account", "sign-name"], { answer: "church" });
    assert.equal(yes.code, OK, yes.out);
    assert.deepEqual(await old.json("account", "sign-name", "--yes"), { login: "church", before: "church", signed: false });
    assert.equal((await old.run(["whoami"])).err, "");

    assert.deepEqual(await shown(), { user, login: "church", doubt: "changed", login_before: "alonzo" });
    assert.equal((await ada.run(["team", "role", team, "church", "admin"])).code, USAGE);
    const accepted = await ada.run(["team", "accept-name", team, user.slice(0, 16)]);
    assert.deepEqual([accepted.code, accepted.out], [OK, `User ${user} is known here as church from now on.\n`]);
    assert.deepEqual(await shown(), { ...known, login: "church" });
    assert.equal((await ada.json("team", "role", team, "church", "admin")).member.user, user);
  });

  test("an export is the service's document, for its owner's eyes, and overwrites nothing", async () => {
    const { user, account } = await grace.json("whoami");
    const { file, size } = await grace.json("account", "export");
    assert.equal(file, "osmynt-export.json");
    const path = join(grace.folder, file);
    const text = readFileSync(path, "utf8");
    assert.equal(Buffer.byteLength(text), size);
    const document = JSON.parse(text);
    assert.deepEqual([document.account.id, document.user.id], [account, user], text);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const again = await grace.run(["account", "export"]);
    assert.equal(again.code, USAGE);
    assert.match(again.err, /there already/);
    assert.equal(readFileSync(path, "utf8"), text);
    assert.equal((await grace.run(["account", "export", "-o", "second.json"])).out, "Saved to second.json.\n");
    assert.equal(JSON.parse((await grace.run(["account", "export", "-o", "-"])).out).user.id, user);
  });

  test("an export that is cut off leaves nothing behind", async () => {
    const before = readdirSync(grace.folder);
    for (const args of [["-o", "cut.json"], ["-o", "-"]]) {
      await trick("GET", "/v1/me/export", "cut off", EVERY_TIME);
      const { code, out, err } = await grace.run(["account", "export", ...args]);
      assert.deepEqual([code, out], [UNREACHABLE, ""], err);
      assert.deepEqual(readdirSync(grace.folder), before);
    }
    await trick("GET", "/v1/me/export", "cut off", 1);
    assert.equal((await grace.run(["account", "export", "-o", "whole.json"])).code, OK, "once is no matter");
    JSON.parse(readFileSync(join(grace.folder, "whole.json"), "utf8"));
  });

  test("deleting says what becomes of each team, hands over what must be, and leaves nothing on this machine", async () => {
    const mary = await signedIn("mary");
    const joined = async (team, ...people) => {
      const { code } = await mary.json("team", "invite", team, "--uses", String(people.length));
      for (const each of people) await each.json("team", "join", code);
    };
    for (const team of ["alone", "shared", "led"]) await mary.json("team", "new", team);
    await joined("shared", ada, grace);
    await joined("led", ada, grace);
    await mary.json("team", "role", "led", "grace", "owner");
    const { snippet } = await mary.json("share", "-", "--team", "shared", { input: "mine\n" });
    assert.equal((await ada.run(["open", snippet])).out, "mine\n");

    assert.equal((await mary.run(["account", "delete"])).code, USAGE);
    const asked = await mary.see(["account", "delete"], { answer: "ada" });
    assert.equal(asked.code, REFUSED, asked.out);
    for (const said of [/alone +is deleted with all that is in it/, /shared +you leave it, and ada becomes its owner/, /led +you leave it\r/]) assert.match(asked.out, said);
    assert.match(asked.out, /nothing has changed/);
    assert.equal((await mary.json("team", "list")).teams.length, 3);

    const { code, out } = await mary.see(["account", "delete"], { answer: "mary" });
    assert.equal(code, OK, out);
    assert.match(out, /Deleted your account, and what osmynt kept of it on this machine\./);
    assert.ok(!existsSync(mary.home));
    const members = async (team) => (await ada.json("team", "show", team)).members.map(({ login, role }) => `${login} ${role}`);
    assert.deepEqual(await members("shared"), ["ada owner", "grace member"]);
    assert.deepEqual(await members("led"), ["grace owner", "ada member"]);
    assert.equal((await ada.run(["open", snippet])).code, REFUSED, "what was shared is deleted");
    assert.equal((await mary.run(["account", "delete", "--yes"])).code, NOT_SIGNED_IN);
  });

  test("a team whose heir leaves while deleting asks goes to nobody who was not confirmed", async () => {
    const mary = await signedIn("mary");
    const { team } = await mary.json("team", "new", "passed on");
    const { code: invitation } = await mary.json("team", "invite", team, "--uses", "2");
    for (const each of [ada, grace]) await each.json("team", "join", invitation);

    const leaves = async () => {
      await ada.json("team", "leave", team);
      return "mary";
    };
    const { code, out } = await mary.see(["account", "delete"], { answer: leaves });
    assert.equal(code, REFUSED, out);
    const shown = unbroken(out);
    assert.match(shown, /passed on +you leave it, and ada becomes its owner/);
    assert.match(shown, /"passed on" has changed since you confirmed \(confirmed: you leave it, and @ada [^]*; now: you leave it, and @grace /);
    assert.match(shown, /Run `osmynt account delete` again/);
    assert.equal((await mary.json("team", "list")).teams.length, 1);
    assert.deepEqual((await grace.json("team", "show", team)).members.map(({ login, role }) => `${login} ${role}`), ["mary owner", "grace member"]);

    const { user } = await grace.json("whoami");
    const { teams } = await mary.json("account", "delete", "--yes");
    assert.deepEqual(teams, [{ team, name: "passed on", fate: "handed-over", new_owner: user }]);
  });

  test("a deletion whose answer is lost is a deletion, also when the command was killed", async () => {
    const lost = await signedIn("barbara");
    await lost.json("team", "new", "t");
    await trick("DELETE", "/v1/me", "lost", 1);
    const { deleted, teams } = await lost.json("account", "delete", "--yes");
    assert.deepEqual([deleted, teams.map(({ name, fate, new_owner }) => [name, fate, new_owner])], [true, [["t", "deleted", null]]]);
    assert.ok(!existsSync(lost.home));

    const killed = await signedIn("barbara");
    await trick("DELETE", "/v1/me", "late", 1);
    const before = service.log.length;
    const gone = eventually(() => requests(before).some(({ method, route, status }) => method === "DELETE" && route === "/v1/me" && status === 204));
    assert.equal((await killed.run(["account", "delete", "--yes"], { killed: gone })).code, null);
    assert.ok(existsSync(killed.home));
    const { code, out, err } = await killed.run(["account", "delete", "--yes"]);
    assert.equal(code, OK, err);
    assert.match(err, /^note: the deletion was asked for before/);
    assert.match(out, /^Deleted your account/);
    assert.ok(!existsSync(killed.home));
  });
});

/** Somebody at a new machine, signed in there. */
async function signedIn(login) {
  const person = await Person.create(login);
  folders.push(person.folder);
  const { code, err } = await person.signIn(service);
  assert.equal(code, OK, err);
  return person;
}

/** Somebody who has an account, at a further machine: signed in, and no device of the account yet. */
async function stranger(login) {
  const person = await Person.create(login);
  folders.push(person.folder);
  assert.equal((await person.signIn(service)).code, REFUSED);
  return person;
}

/** Somebody who has copied all that a person keeps on their machine. */
async function copyOf({ login, home }) {
  const person = await Person.create(login);
  folders.push(person.folder);
  execFileSync("cp", ["-a", home, person.home]);
  return person;
}

const expire = ({ home }) => changeVault(home, ({ session }) => (session.access_ends = 0));

/** The next `times` requests like this one: are not answered by the service, or their answers are lost, late or cut off. */
async function trick(method, path, what, times) {
  const { ok } = await fetch(`${service.url}/trick`, { method: "PUT", body: JSON.stringify({ method, path, what, times }) });
  assert.ok(ok);
}

/** What the service has logged of its requests since its log had so many lines. */
function requests(since) {
  const lines = service.log.slice(since).filter((line) => line.startsWith('{"method"'));
  return lines.map((line) => JSON.parse(line));
}

/** Until something is so. What never is fails by the test's own time limit. */
async function eventually(is) {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 20));
}
