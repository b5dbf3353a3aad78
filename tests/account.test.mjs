// What is left of a user, and of their account, after a deletion; whatever fails or happens meanwhile.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, randomBytes } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { newSnippetId } from "./client/snippet.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { makeTeam } from "./client/world.mjs";
import { CODE, outcome, rejects, share, startAccounts } from "./support/accounts.mjs";
import { approve } from "./support/browser.mjs";
import { dump, search } from "./support/dump.mjs";
import { until } from "./support/spy.mjs";

const ALWAYS = 1_000;
/** The transaction that ends a user. */
const END = { use: "worker d1", detail: "UPDATE users SET account" };
/** The round trip to D1 by which a team learns who is about to join, before it decides. */
const DEVICES = { use: "team d1", detail: "FROM users u LEFT JOIN devices d" };
const PROJECTION = { use: "team d1", detail: "INSERT INTO teams" };

let accounts, service, spy, r2, count, signIn, newcomer, newcomers, anotherDevice, startedOver, isStored, objectsOf, tablesOf, storageOf, isGone;

before(async () => {
  accounts = await startAccounts();
  ({ service, spy, r2, count, signIn, newcomer, newcomers, anotherDevice, startedOver, isStored, objectsOf, tablesOf, storageOf, isGone } = accounts);
});
after(() => accounts?.dispose());

describe("a deletion", () => {
  it("leaves nothing of who is in no team, and the same person is a new user", async () => {
    const user = await newcomer();
    const phone = await anotherDevice(user);
    await user.refresh();
    await user.api.deleteAccount();
    await isGone(user);
    await rejects(() => phone.api.me(), "unauthenticated");
    await rejects(() => user.refresh(), "unauthenticated");
    const again = await signIn(user.login);
    assert.notEqual(again.user, user.user);
    assert.notEqual(again.account.id, user.account.id);
    assert.equal((await again.api.me()).account.login, user.login);
    assert.equal((await again.api.myLog(0)).entries.length, 2);
  });

  it("is for an account that has no user yet, and for no device that is in no log otherwise", async () => {
    const user = await newcomer();
    const stranger = await signIn(user.login);
    await rejects(() => stranger.api.deleteAccount(), "forbidden");
    assert.equal((await user.api.me()).device.user, user.user);

    // As it is between the claim of the tokens and the first entry.
    const { login } = accounts.unused();
    const key = await makeKeyPair("ECDSA");
    const without = new Client(new Api(service.url, key), user.now, key);
    await without.obtainTokens("laptop", ({ verification_uri_complete }) => approve(verification_uri_complete, login));
    const { device, other } = await without.me();
    assert.deepEqual([device.user, other], [null, null]);
    await without.api.deleteAccount();
    without.user = "nobody";
    await isGone(without);
    assert.equal(await count("devices", "device = ?", key.id), 0);
    await rejects(() => without.api.deleteAccount(), "unauthenticated");
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
    assert.deepEqual([...(await friend.read(together)).log.roster.keys()], [friend.user]);
  });

  it("is refused while the user waits to be confirmed, until they withdraw", async () => {
    const [owner, user] = await newcomers(2);
    const team = await owner.createTeam("Careful");
    await owner.changePolicy(team, { joining: "confirmation" });
    await user.join((await owner.invite(team)).code);
    await rejects(() => user.api.deleteAccount(), "conflict");
    assert.ok((await owner.read(team)).log.pending.has(user.user));
    await user.leave(team);
    await user.api.deleteAccount();
    await isGone(user, { stub: true });
    await owner.rotate(team);
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
    await newer.join((await owner.invite(team)).code);
    await owner.removeMember(team, newer.user);
  });

  it("of the present user leaves the former one, and the account with it", async () => {
    const [owner, former, friend] = await newcomers(3);
    const team = await makeTeam(owner, "Shared", [["member", former], ["member", friend]]);
    const theirs = await share(former, team);
    const earlier = await former.createTeam("Earlier");
    const kept = await share(former, earlier);
    const present = await startedOver(former);
    const own = await present.createTeam("Own");
    await share(present, own);
    await present.api.askErasure(former.user);
    await present.api.deleteAccount();
    await isGone(present, { stays: true });
    assert.deepEqual([await storageOf(own), await objectsOf(own)], [[], []]);

    // It is as if the person had never started over; but what they asked for stands, and the former user can still object.
    const { device, erasures } = await former.api.me();
    assert.deepEqual([device.active, erasures.map(({ user }) => user)], [true, [former.user]]);
    await former.api.withdrawErasure(former.user);
    assert.deepEqual((await friend.open(team, theirs)).content, CODE);
    assert.deepEqual((await former.list(earlier)).map(({ statement }) => statement.snippet), [kept]);
    const next = await signIn(former.login);
    assert.equal((await next.api.me()).other.user, former.user, "who is the account's present user again");
    await next.api.endSession();
    await former.leave(team);
    await former.api.deleteAccount();
    await isGone(former, { stub: true });
    await owner.rotate(team);
  });

  it("of a former user leaves the present one, and the account with it", async () => {
    const [owner, former] = await newcomers(2);
    const team = await makeTeam(owner, "Left", { member: former });
    await former.leave(team);
    const earlier = await former.createTeam("Earlier");
    await share(former, earlier);
    const present = await startedOver(former);
    const own = await present.createTeam("Own");
    const kept = await share(present, own);
    await former.api.deleteAccount();
    await isGone(former, { stub: true, stays: true });
    assert.deepEqual([await storageOf(earlier), await objectsOf(earlier)], [[], []]);
    assert.deepEqual((await present.open(own, kept)).content, CODE);
    assert.equal((await present.api.me()).account.login, former.login);
    await present.api.deleteAccount();
    await isGone(present);
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
    const account = accounts.unused();
    // A device is called as its owner likes, and KV keeps that for the five minutes of a sign-in.
    const user = await signIn(account.login, { name: "a device" });
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
  /** Somebody with a team of their own, a team that they left, and a team that they were removed from. */
  async function settled() {
    const [owner, user] = await newcomers(2);
    const removed = await makeTeam(owner, "Removed", { member: user });
    const inRemoved = await share(user, removed);
    await owner.removeMember(removed, user.user);
    const left = await makeTeam(owner, "Left", { member: user });
    const inLeft = await share(user, left);
    await user.leave(left);
    const own = await user.createTeam("Own");
    await share(user, own);
    return { owner, user, own, shared: [[removed, inRemoved], [left, inLeft]] };
  }
  async function isDone({ owner, user, own, shared }) {
    await isGone(user, { stub: true });
    assert.deepEqual([await objectsOf(own), await storageOf(own)], [[], []]);
    for (const [team, snippet] of shared) {
      assert.ok(!(await isStored(team, snippet)));
      await owner.rotate(team);
      await share(owner, team);
    }
  }
  const isUsable = async ({ user }) => {
    assert.equal((await user.api.me()).account.login, user.login);
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
    const { code } = await owner.invite(team);
    await spy.under([{ ...END, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await phone.join(code);
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
    const { code } = await owner.invite(team);
    await spy.under([{ ...END, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await phone.join(code);
      await release();
      assert.equal(await deleted, "conflict");
    });
    assert.equal((await user.api.teams()).teams.length, 1);
  });

  it("waits for a join that the team has yet to decide on", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await owner.createTeam("Undecided");
    const { code } = await owner.invite(team);
    await spy.under([{ ...DEVICES, detail: "INSERT INTO user_teams (user, team, joins)", after: "wait" }], async (release) => {
      const joined = phone.join(code);
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
    const { code } = await owner.invite(team);
    await spy.under([{ ...DEVICES, before: "wait" }], async (release) => {
      const joined = outcome(phone.join(code));
      await spy.waiting();
      await user.api.deleteAccount();
      await release();
      assert.match(await joined, /^(forbidden|unauthenticated)$/);
    });
    await isGone(user);
    assert.deepEqual([...(await owner.read(team)).log.roster.keys()], [owner.user]);
    await owner.rotate(team);
  });

  it("leaves nothing to an entry of the user log that arrives after its end", async () => {
    const [owner, user] = await newcomers(2);
    const phone = await anotherDevice(user);
    const team = await makeTeam(owner, "Entry", { member: user });
    await user.leave(team);
    const tablet = await signIn(user.login);
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
    assert.equal(await count("devices", "device = ?", tablet.device.id), 0);
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
    const pieces = ["UPDATE users SET account", "DELETE FROM failed_polls", "DELETE FROM proofs"];
    await spy.under(pieces.map((detail) => ({ ...END, detail, before: "wait" })), async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      for (const piece of pieces) {
        await spy.waiting();
        await phone.createTeam(piece);
        await release(piece);
      }
      assert.equal(await deleted, "unavailable");
    });
    assert.equal((await user.api.me()).account.login, user.login);
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
    const { log: own, prekeys } = await phone.readOwn();
    const view = { log: new TeamLog(), directory: new Map([[phone.user, own]]), prekeys };
    const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: { max_epoch_age: 3600, joining: "invitation" } };
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
    const { code } = await user.invite(team);
    await spy.under([{ use: "worker team", detail: "/forget", skip: 1, before: "wait" }], async (release) => {
      const deleted = outcome(user.api.deleteAccount());
      await spy.waiting();
      await friend.join(code);
      await release();
      assert.equal(await deleted, "conflict");
    });
    assert.equal((await user.read(team)).log.roster.size, 2);
  });
});
