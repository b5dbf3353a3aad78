// Names are no identities. Whatever a service that lies, or somebody together with it, makes of the names of people: it is said wherever the name
// stands, and nobody is chosen by it, neither to read a snippet, nor for a role, nor to be removed. The user id always does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { cli } from "../../scripts/build.mjs";
import { Client } from "../client/client.mjs";
import { Command } from "../client/command.mjs";
import { hashOf, utf8 } from "../client/encodings.mjs";
import { startLiar } from "../client/liar.mjs";
import { makeTeam, startWorld } from "../client/world.mjs";
import { nameCommitment, newOpening } from "../client/userlog.mjs";
import { approve } from "../support/browser.mjs";
import { person } from "../support/github.mjs";

const USAGE = 2, REFUSED = 4;
const text = utf8("for grace alone\n");
const headOf = async (entries) => ({ seq: entries.length - 1, hash: await hashOf(utf8(entries.at(-1).jws.split(".").slice(0, 2).join("."))) });
const byUser = (people) => new Map(people.map((each) => [each.user, each]));

/** Both clients as victims: how each signs in, what it says of people, and how it takes a name for somebody. */
const VICTIMS = {
  "the osmynt command": {
    signIn: (login, origin) => Command.signIn(login, origin),
    async people(victim, team) {
      const { members, joiners } = await victim.show(team);
      return byUser([...members, ...joiners].map(({ user, login, doubt }) => ({ user, login, doubt })));
    },
    /** Tries to choose somebody in every way there is. Each must end so, and name these users. */
    async choosesNobody(victim, team, name, { code = USAGE, naming = [] } = {}) {
      const file = join(victim.home, "for-grace.txt");
      await writeFile(file, text);
      const fails = async (expected, ...args) => {
        const error = await victim.run(args).then(() => assert.fail(`osmynt ${args.join(" ")} succeeded`), (error) => error);
        assert.ok(expected.includes(error.code), `osmynt ${args.join(" ")}: ${error.message}`);
        return error.message;
      };
      for (const args of [["share", file, "--team", team, "--to", name], ["team", "role", team, name, "owner"], ["team", "remove", team, name]]) {
        const message = await fails([code], ...args);
        for (const user of naming) assert.ok(message.includes(user), message);
      }
      // Somebody to confirm is looked for among those who wait, and a name is accepted by user id only.
      await fails([USAGE, REFUSED], "team", "confirm", team, name);
      if (!naming.some((user) => user.startsWith(name))) await fails([USAGE, REFUSED], "team", "accept-name", team, name);
    },
    shareWith: (victim, team, user) => victim.share(team, text, { to: [user] }),
    changeRole: (victim, team, user, role) => victim.one("team", "role", team, user, role),
    acceptName: async (victim, team, user) => (await victim.one("team", "accept-name", team, user)).accepted,
    chooses: async (victim, team, name, user) => assert.equal((await victim.one("team", "role", team, name, "admin")).member.user, user),
    /** With a name that is both changed and another's: which of the two it says. */
    first: "shared",
    invalid: async (victim, team, user) => assert.equal((await VICTIMS["the osmynt command"].people(victim, team)).get(user).doubt, "unopened"),
  },
  "the independent client": {
    signIn: (login, origin) => Client.signIn({ origin, name: "laptop", approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) }),
    people: async (victim, team) => victim.people(await victim.read(team)),
    async choosesNobody(victim, team, name) {
      const view = await victim.read(team);
      assert.throws(() => victim.userCalled(view, name), (error) => error.name === "Refused" && ["forbidden", "not-found"].includes(error.code));
    },
    shareWith: (victim, team, user) => victim.share(team, text, { to: [user] }),
    changeRole: (victim, team, user, role) => victim.changeRole(team, user, role),
    async acceptName(victim, team, user) {
      const view = await victim.read(team);
      victim.acceptName(view, user);
      return victim.people(view).get(user);
    },
    chooses: async (victim, team, name, user) => assert.equal(victim.userCalled(await victim.read(team), name), user),
    first: "changed",
    // It takes no answer with such a name in it.
    invalid: (victim, team) => assert.rejects(() => victim.read(team), { name: "Refused" }),
  },
};

for (const [victimName, { signIn, people, choosesNobody, shareWith, changeRole, acceptName, chooses, first, invalid }] of Object.entries(VICTIMS)) {
  describe(`to ${victimName}`, () => {
    let world, liar, database, victim;
    let used = 0;

    before(async () => {
      liar = await startLiar(headOf);
      world = await startWorld(["victim"], { vars: { ORIGIN: liar.url } });
      liar.target = world.service.url;
      database = await world.service.mf.getD1Database("DB");
      victim = await signIn("victim", liar.url);
    });
    after(async () => {
      await victim?.dispose?.();
      await liar?.close();
      await world?.dispose();
    });
    beforeEach(() => (liar.lies = {}));

    const toTheTruth = (url, request) => fetch(url.replace(liar.url, world.service.url), request);
    /** Somebody new, to whom nobody lies, with a login of their own. */
    async function newcomer(name) {
      const login = `${name}-${(used += 1)}`;
      world.service.github.people.push(person(5000 + used, login, null));
      return Object.assign(await world.signIn(login, { origin: liar.url, fetch: toTheTruth }), { login });
    }

    /**
     * A team of which the victim is an owner, with grace and mallory in it. The victim knows all names from the truth; or has seen none of them
     * yet, and `meanwhile` happens before it does.
     */
    async function scene({ meanwhile } = {}) {
      const [founder, grace, mallory] = [await newcomer("founder"), await newcomer("grace"), await newcomer("mallory")];
      const team = await makeTeam(founder, "Truth", [["member", grace], ["member", mallory]]);
      await meanwhile?.({ grace, mallory });
      await victim.join((await founder.invite(team, { role: "owner" })).code);
      if (!meanwhile) {
        const found = await people(victim, team);
        for (const { user, login } of [grace, mallory]) assert.deepEqual(found.get(user), { user, login, doubt: null });
      }
      return { team, grace, mallory };
    }

    /** From now on the directory says this of somebody's name: `change(opening)`, in a team's directory. */
    const rename = (changes) => {
      liar.lies.directory = (users) => users.map((user) => (changes.has(user.user) ? { ...user, name: changes.get(user.user)(user.name, users) } : user));
    };
    const nameOf = ({ user }) => (_, users) => users.find((each) => each.user === user).name;

    /** Their device signs this name, and the service, which is in league with them, puts it into their log. */
    async function signedWithTheService(client, change) {
      const opening = { ...newOpening(client.account), ...change };
      const log = await client.ownLog();
      const jws = await client.appendTo(log, { type: "name.signed", commitment: await nameCommitment(client.user, opening) });
      const { seq, hash } = log.head;
      await database.batch([
        database.prepare("INSERT INTO user_log (user, seq, jws, received_at) VALUES (?, ?, ?, ?)").bind(client.user, seq, jws, client.now()),
        database.prepare("UPDATE users SET log_seq = ?, log_hash = ?, log_bytes = log_bytes + ? WHERE id = ?").bind(seq, hash, jws.length, client.user),
      ]);
      client.raise(client.user, log.head);
      rename(new Map([[client.user, () => opening]]));
    }

    /** Somebody takes another login at GitHub, and signs it. */
    async function takesLogin(client, login) {
      world.service.github.people.find((each) => each.login === client.login).login = login;
      await client.obtainTokens("laptop", ({ verification_uri_complete }) => approve(verification_uri_complete, login));
      await client.signName();
    }

    /** So the two are shown, and by no name of theirs that the victim knows is anything shared, changed or removed. */
    async function assertDoubt(team, expected, names) {
      const found = await people(victim, team);
      for (const [client, login, doubt] of expected) assert.deepEqual(found.get(client.user), { user: client.user, login, doubt });
      const sent = liar.overheard.length;
      for (const [name, how] of names) await choosesNobody(victim, team, name, how);
      const changes = liar.overheard.slice(sent).filter(({ path }) => /\/(commits|snippets)/.test(path));
      assert.deepEqual(changes, [], "nothing was sent");
    }

    /** By the user id grace is meant, and it is grace who gets it. */
    async function assertReached(team, grace, mallory) {
      const snippet = await shareWith(victim, team, grace.user);
      assert.deepEqual((await grace.open(team, snippet)).content, text);
      await assert.rejects(() => mallory.api.snippet(team, snippet), { name: "Problem", code: "not-found" });
      await changeRole(victim, team, grace.user, "admin");
      const { log } = await grace.read(team);
      assert.deepEqual([grace, mallory].map(({ user }) => log.roster.get(user).role), ["admin", "member"]);
    }

    it("two names that were swapped are nobody's, when they are seen first", async () => {
      const swap = ({ grace, mallory }) => rename(new Map([[grace.user, nameOf(mallory)], [mallory.user, nameOf(grace)]]));
      const { team, grace, mallory } = await scene({ meanwhile: swap });
      const unknown = { code: REFUSED };
      await assertDoubt(team, [[grace, null, "unopened"], [mallory, null, "unopened"]], [[grace.login, unknown], [mallory.login, unknown]]);
      await assertReached(team, grace, mallory);
      liar.lies = {};
      assert.deepEqual((await people(victim, team)).get(grace.user), { user: grace.user, login: grace.login, doubt: null }, "the truth is believed");
    });

    it("two names that were swapped are nobody's, when they were known before", async () => {
      const { team, grace, mallory } = await scene();
      rename(new Map([[grace.user, nameOf(mallory)], [mallory.user, nameOf(grace)]]));
      const marks = [[grace, grace.login, "unopened"], [mallory, mallory.login, "unopened"]];
      await assertDoubt(team, marks, [[grace.login, { naming: [grace.user] }], [mallory.login, { naming: [mallory.user] }]]);
      await assertReached(team, grace, mallory);
      liar.lies = {};
      assert.equal((await people(victim, team)).get(grace.user).doubt, null, "the truth is believed again");
    });

    it("a name that somebody did not sign so is not theirs: another login, another number, another salt, none at all", async () => {
      const { team, grace, mallory } = await scene();
      const lies = [
        (name) => ({ ...name, login: mallory.login }), (name) => ({ ...name, id: name.id + 1 }), (name) => ({ ...name, salt: newOpening({}).salt }), () => null,
      ];
      for (const lie of lies) {
        rename(new Map([[grace.user, lie]]));
        const found = await people(victim, team);
        assert.deepEqual(found.get(grace.user), { user: grace.user, login: grace.login, doubt: "unopened" });
        assert.equal(found.get(mallory.user).doubt, null, "it says nothing of the other");
      }
      await assertDoubt(team, [[grace, grace.login, "unopened"]], [[grace.login, { naming: [grace.user] }]]);
      await assertReached(team, grace, mallory);
    });

    it("a name that changed is said until it is accepted, by user id; then it is the only one", async () => {
      const { team, grace, mallory } = await scene();
      const before = grace.login;
      const login = `${before}-now`;
      await takesLogin(grace, login);
      const how = { naming: [grace.user] };
      await assertDoubt(team, [[grace, login, "changed"], [mallory, mallory.login, null]], [[before, how], [login, how]]);
      await assertReached(team, grace, mallory);
      await changeRole(victim, team, grace.user, "member");
      const accepted = await acceptName(victim, team, grace.user);
      assert.deepEqual([accepted.user, accepted.login, accepted.doubt], [grace.user, login, null]);
      assert.deepEqual((await people(victim, team)).get(grace.user), { user: grace.user, login, doubt: null });
      await choosesNobody(victim, team, before, { code: REFUSED });
      await chooses(victim, team, login, grace.user);
    });

    it("a login that somebody gave up, and another takes, is nobody's until it is one's alone", async () => {
      const { team, grace, mallory } = await scene();
      const { login } = grace;
      // Grace has another login at GitHub and has not signed it yet: her old one is free for everybody.
      world.service.github.people.find((each) => each.login === login).login = `${login}-elsewhere`;
      await takesLogin(mallory, login);
      const both = { naming: [grace.user, mallory.user] };
      await assertDoubt(team, [[grace, login, "shared"], [mallory, login, first]], [[login, both], [mallory.login, { naming: [mallory.user] }]]);
      await assertReached(team, grace, mallory);
      grace.login = `${login}-elsewhere`;
      await takesLogin(grace, grace.login);
      const found = await people(victim, team);
      assert.notEqual(found.get(grace.user).doubt, null);
      assert.notEqual(found.get(mallory.user).doubt, null);
      await choosesNobody(victim, team, login, { naming: [mallory.user] });
    });

    for (const [spelled, how] of [[(login) => login, "as they write it"], [(login) => login.toUpperCase(), "in another case"]]) {
      it(`a member who, with the service, signs another's login ${how} is not taken for them`, async () => {
        for (const isKnown of [false, true]) {
          const sign = ({ grace, mallory }) => signedWithTheService(mallory, { login: spelled(grace.login) });
          const { team, grace, mallory } = await scene(isKnown ? {} : { meanwhile: sign });
          if (isKnown) await sign({ grace, mallory });
          const both = { naming: [grace.user, mallory.user] };
          const login = spelled(grace.login);
          await assertDoubt(team, [[grace, grace.login, "shared"], [mallory, login, isKnown ? first : "shared"]], [[grace.login, both], [login, both]]);
          await assertReached(team, grace, mallory);
        }
      });
    }

    it("nor is one whose victim's own name the service withholds", async () => {
      const withhold = async ({ grace, mallory }) => {
        await signedWithTheService(mallory, { login: grace.login });
        const { directory } = liar.lies;
        liar.lies.directory = (users) => directory(users).map((user) => (user.user === grace.user ? { ...user, name: null } : user));
      };
      const { team, grace, mallory } = await scene({ meanwhile: withhold });
      // The second time as well: what was seen meanwhile is no reason to rely on it.
      for (const _ of [1, 2]) {
        await assertDoubt(team, [[grace, null, "unopened"], [mallory, grace.login, null]], [[grace.login, { naming: [mallory.user] }]]);
      }
      await assertReached(team, grace, mallory);
    });

    it("nor is somebody who only waits to be confirmed", async () => {
      const grace = await newcomer("grace");
      const team = await makeTeam(victim, "Truth", { member: grace });
      await (victim.changePolicy?.(team, { joining: "confirmation" }) ?? victim.one("team", "joining", team, "confirmation"));
      const mallory = await newcomer("mallory");
      await mallory.join((await victim.invite(team)).code);
      assert.equal((await people(victim, team)).get(mallory.user).doubt, null);
      await takesLogin(mallory, `${mallory.login}-2`);
      await signedWithTheService(mallory, { login: grace.login });
      const found = await people(victim, team);
      assert.deepEqual([found.get(grace.user).doubt, found.get(mallory.user).doubt], ["shared", first]);
      await choosesNobody(victim, team, grace.login);
      const { log } = await grace.read(team);
      assert.ok(!log.roster.has(mallory.user), "nobody let them in");
    });

    it("a login that looks like another's, or is none, is not shown for one", async () => {
      const { team, grace, mallory } = await scene();
      const { login } = grace;
      for (const lookalike of [`${login}\u200b`, `${login}\u202e`, `${login} `, `gr\u0430ce`, `${login}\n`, "", grace.user]) {
        await signedWithTheService(mallory, { login: lookalike });
        await invalid(victim, team, mallory.user);
        liar.lies = {};
      }
      assert.equal((await people(victim, team)).get(grace.user).doubt, null);
      await assertReached(team, grace, mallory);
    });

    it("a login that is the beginning of another's user id chooses neither", async () => {
      const sign = ({ grace, mallory }) => signedWithTheService(mallory, { login: grace.user.slice(0, 16) });
      const { team, grace, mallory } = await scene({ meanwhile: sign });
      const login = grace.user.slice(0, 16);
      const found = await people(victim, team);
      assert.deepEqual([found.get(grace.user).login, found.get(mallory.user).login], [grace.login, login]);
      // The independent client names people by whole user ids, which no login can be.
      if (victim instanceof Command) await choosesNobody(victim, team, login, { naming: [grace.user, mallory.user] });
      await assertReached(team, grace, mallory);
    });
  });
}

describe("a mark", () => {
  let world, liar, victim, team, grace, mallory;

  before(async () => {
    liar = await startLiar(headOf);
    world = await startWorld(["victim", "grace", "mallory"], { vars: { ORIGIN: liar.url } });
    liar.target = world.service.url;
    [grace, mallory] = await Promise.all(
      ["grace", "mallory"].map((login) => world.signIn(login, { origin: liar.url, fetch: (url, request) => fetch(url.replace(liar.url, world.service.url), request) })),
    );
    victim = await Command.signIn("victim", liar.url);
    team = await makeTeam(victim, "Marked", [["member", grace], ["member", mallory]]);
    await victim.show(team);
    liar.lies.directory = (users) => users.map((user) => (user.user === grace.user ? { ...user, name: null } : user));
  });
  after(async () => {
    await victim?.dispose();
    await liar?.close();
    await world?.dispose();
  });

  /** What a person sees, not a program. */
  async function seen(...args) {
    const env = { PATH: process.env.PATH, HOME: victim.home, OSMYNT_HOME: join(victim.home, "osmynt"), OSMYNT_KEYSTORE: "file" };
    const child = spawn(cli(), args, { cwd: victim.home, env });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (err += chunk));
    await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
    return { out, err };
  }

  it("stands beside the name wherever people see it", async () => {
    const mark = `grace ${grace.user.slice(0, 16)} (name does not open)`;
    const snippet = await grace.share(team, text, { header: { title: "Whose?" } });
    const shown = await seen("team", "show", team);
    assert.ok(shown.out.includes(mark), shown.out);
    assert.ok(shown.err.includes(`the name that user ${grace.user} has signed`), shown.err);
    for (const args of [["list", "--team", team], ["open", snippet, "--color", "always"], ["team", "remove", team, grace.user]]) {
      const { out } = await seen(...args);
      assert.ok(out.includes(mark), `${args.join(" ")}: ${out}`);
    }
  });

  it("stands in what programs get", async () => {
    const snippet = await mallory.share(team, text);
    liar.lies.directory = (users) => users.map((user) => (user.user === mallory.user ? { ...user, name: null } : user));
    const [listed] = await victim.list(team);
    for (const each of [listed, await victim.one("open", snippet)]) {
      assert.deepEqual([each.author, each.author_user, each.author_doubt], [mallory.user, mallory.user, "unopened"]);
    }
    const about = { user: mallory.user, login: "mallory", doubt: "unopened", login_before: null };
    assert.deepEqual((await victim.one("team", "role", team, mallory.user, "admin")).member, about);
    await mallory.invite(team);
    assert.deepEqual((await victim.one("team", "invite", "list", team)).invites.map(({ by }) => by), [about]);
    assert.deepEqual((await victim.removeMember(team, mallory.user)).removed, about);
  });

  it("is not set by somebody's own device, whatever login the service tells it of", async () => {
    const before = await victim.one("whoami");
    liar.lies.me = (me) => ({ ...me, account: { ...me.account, login: "grace" } });
    const sent = liar.overheard.length;
    await victim.run(["login", "--server", liar.url, "--no-browser"], ({ event, verification_uri_complete }) => {
      if (event === "verification") return approve(verification_uri_complete, "victim");
    });
    const after = await victim.one("whoami");
    assert.deepEqual([after.user, after.login, after.service_login], [before.user, "victim", "grace"]);
    assert.deepEqual(liar.overheard.slice(sent).filter(({ path }) => path === "/v1/me/log"), [], "nothing was signed");
    assert.match((await seen("whoami")).err, /the service says that GitHub calls you "grace" now, and you have signed "victim"/);
    liar.lies = {};
    assert.equal((await victim.show(team)).members.find(({ me }) => me).login, "victim");
  });
});
