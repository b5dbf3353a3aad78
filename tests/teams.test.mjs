// A team's Durable Object: what becomes of a team when commits meet, when the object forgets, and when D1 does not listen.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Problem } from "./client/api.mjs";
import { parseCode } from "./client/client.mjs";
import { ascending, b64u, randomBytes, utf8 } from "./client/encodings.mjs";
import { keyPairFromScalar, makeKeyPair } from "./client/keys.mjs";
import { PAGE_BYTES } from "./client/limits.mjs";
import { newSnippetId } from "./client/snippet.mjs";
import { sign, signText } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { nameCommitment, newOpening } from "./client/userlog.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { snapshot } from "./support/dump.mjs";
import { spied, spyOn, until } from "./support/spy.mjs";

/** The query by which a team's object learns of the members' devices, before it decides on a commit. */
const DEVICES = { use: "team d1", detail: "FROM users u LEFT JOIN devices d" };
/** The batch by which D1 learns where a team stands. */
const PROJECTION = { use: "team d1", detail: "INSERT INTO teams" };

const ALWAYS = 1_000;
const POLICIES = [3600, 7200, 10_800].map((max_epoch_age) => ({ max_epoch_age, joining: "invitation" }));
const CONFIRMATION = { max_epoch_age: 3600, joining: "confirmation" };

let world, spy, owner, admin, member, stranger;

before(async () => {
  world = await startWorld(["owner", "admin", "member", "stranger"], await spied());
  spy = spyOn(world.service);
  [owner, admin, member, stranger] = await Promise.all(["owner", "admin", "member", "stranger"].map((login) => world.signIn(login)));
});
after(() => world?.dispose());

/** A commit of some events, not sent. */
const commitOf = async (client, team, events) => (await client.buildCommit(await client.read(team), events, null)).body;
const policy = (index) => ({ type: "policy.changed", policy: POLICIES[index] });
const invitation = async (client) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role: "member", exp: client.now() + 3600, uses: 1 });
/** A commit that founds a team, not sent. */
async function foundingCommit(client) {
  const { log: own, prekeys } = await client.readOwn();
  const view = { log: new TeamLog(), directory: new Map([[client.user, own]]), prekeys };
  const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: POLICIES[0] };
  return (await client.buildCommit(view, [event], "Founded")).body;
}
const teamsOf = async (client) => (await client.api.teams()).teams.map(({ team }) => team);
/** Where a team stands, as its log says. */
async function stateOf(client, team) {
  const { log, directory } = await client.read(team);
  return { head: log.head, epoch: log.epoch.number, policy: log.policy, roster: [...log.roster.values()], stale: log.isStale(directory, client.now()) };
}
const headOf = async (client, team) => (await client.api.log(team, 0)).head;
const rejects = (action, code) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);
/** The codes of what was refused and the answers to the others. */
const outcomes = async (actions) =>
  (await Promise.allSettled(actions)).map(({ value, reason }) => (reason === undefined ? value : (reason.code ?? reason)));

describe("a team's object", () => {
  it("forgets nothing when it loses its memory", async () => {
    const team = await makeTeam(owner, "Lasting", { member });
    const snippet = await owner.share(team, utf8("before"));
    const before = await stateOf(owner, team);
    await world.service.restart();
    assert.deepEqual(await stateOf(owner, team), before);
    await owner.changePolicy(team, POLICIES[0]);
    assert.deepEqual((await stateOf(member, team)).policy, POLICIES[0]);
    assert.deepEqual((await member.open(team, snippet)).content, utf8("before"));
    await member.share(team, utf8("after"));
    assert.equal((await owner.list(team)).length, 2);
  });

  it("keeps nothing for those whose request it refuses", async () => {
    const { databases: before } = await snapshot(world.service);
    const { entries } = await foundingCommit(stranger);
    const unsettled = { entries: entries.slice(0, 1), envelopes: [] };
    await rejects(() => stranger.api.createTeam(unsettled), "rotation-required");
    const { databases: after } = await snapshot(world.service);
    const tables = (databases) => Object.values(databases).flatMap((all) => Object.keys(all)).sort();
    assert.deepEqual(tables(after), tables(before));
  });

  it("pages through a log", async () => {
    const team = await owner.createTeam("Talkative");
    for (let commit = 0; commit < 7; commit += 1) {
      await owner.change(team, () => Array.from({ length: 16 }, (_, index) => policy(index % 3)));
    }
    const first = await owner.api.log(team, 0);
    const second = await owner.api.log(team, 100);
    assert.deepEqual([first.entries.length, second.entries.length], [100, 14]);
    assert.deepEqual(first.head, second.head);
    assert.equal(first.head.seq, 113);
    assert.deepEqual((await owner.api.log(team, 114)).entries, []);
    assert.equal((await owner.read(team)).log.past.length, 114);
  });

  it("gives each device the team keys sealed to it, and no others", async () => {
    const team = await makeTeam(owner, "Keys", { member });
    await owner.rotate(team);
    const epochs = async (client, from) => (await client.api.envelopes(team, from)).envelopes.map(({ epoch, envelope }) => [epoch, envelope.device]);
    assert.deepEqual(await epochs(owner, 0), [1, 2, 3].map((epoch) => [epoch, owner.device.id]));
    assert.deepEqual(await epochs(member, 0), [2, 3].map((epoch) => [epoch, member.device.id]));
    assert.deepEqual(await epochs(member, 3), [[3, member.device.id]]);
  });

  it("is asked at most once a request, and D1 as rarely", async () => {
    const team = await makeTeam(owner, "Frugal", { member });
    assert.deepEqual(await spy.usesOf(() => member.api.teams()), ["worker d1", "worker d1"]);
    assert.deepEqual(await spy.usesOf(() => member.api.log(team, 0)), ["worker d1", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => member.api.envelopes(team, 0)), ["worker d1", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => member.api.directory(team, null)), ["worker d1", "worker d1", "worker team"]);
    const commit = await commitOf(owner, team, [policy(0)]);
    assert.deepEqual(await spy.usesOf(() => owner.api.commit(team, commit)), ["team d1", "team d1", "worker d1", "worker team"]);
    const unknown = b64u.encode(new Uint8Array(32));
    assert.deepEqual(await spy.usesOf(() => rejects(() => stranger.api.envelopes(team, 0), "not-found")), ["worker d1"]);
    assert.deepEqual(await spy.usesOf(() => rejects(() => stranger.api.log(team, 0), "not-found")), ["worker d1"]);
    assert.deepEqual(await spy.usesOf(() => rejects(() => stranger.api.log(unknown, 0), "not-found")), ["worker d1"]);
    assert.deepEqual(await spy.usesOf(() => rejects(() => stranger.api.commit(team, commit), "not-found")), ["worker d1"]);
  });
});

describe("commits that meet", () => {
  it("on one head: exactly one is taken, whichever read first", async () => {
    const team = await makeTeam(owner, "Contended", { admin, member });
    const commits = [await commitOf(owner, team, [policy(0)]), await commitOf(admin, team, [await invitation(admin)])];
    const head = await headOf(owner, team);
    // Both have read and verified all that they need when the first of them may go on.
    const answers = await spy.under([{ ...DEVICES, times: 2, after: "wait" }], async (release) => {
      const sent = [owner.api.commit(team, commits[0]), admin.api.commit(team, commits[1])];
      await spy.waiting(2);
      await release();
      return outcomes(sent);
    });
    assert.deepEqual(answers.filter((answer) => answer === "stale-log").length, 1, JSON.stringify(answers));
    assert.equal((await headOf(owner, team)).seq, head.seq + 1);
    await owner.read(team);
  });

  it("and are many: the log grows by one", async () => {
    const team = await makeTeam(owner, "Crowded", { admin });
    const view = await owner.read(team);
    const commits = await Promise.all(Array.from({ length: 8 }, (_, index) => owner.buildCommit(view, [policy(index % 3)], null)));
    const answers = await outcomes(commits.map(({ body }) => owner.api.commit(team, body)));
    const taken = answers.filter((answer) => typeof answer === "object").length;
    // Two of the same second and the same policy are one commit: it has the same payload, and is taken as sent again.
    assert.ok(taken >= 1 && answers.every((answer) => typeof answer === "object" || answer === "stale-log"), JSON.stringify(answers));
    assert.equal((await headOf(owner, team)).seq, view.log.head.seq + 1);
  });

  it("and are the same commit: both get the answer of one", async () => {
    const team = await owner.createTeam("Echo");
    const commit = await commitOf(owner, team, [policy(0)]);
    const answers = await spy.under([{ ...DEVICES, times: 2, after: "wait" }], async (release) => {
      const sent = [owner.api.commit(team, commit), owner.api.commit(team, commit)];
      await spy.waiting(2);
      await release();
      return outcomes(sent);
    });
    assert.deepEqual(answers[0], answers[1]);
    assert.deepEqual(await headOf(owner, team), answers[0].head);
  });

  it("a device that is revoked meanwhile: the epoch that covers it takes no snippet", async () => {
    const second = await world.signIn("owner");
    await owner.addDevice(await second.describe());
    const team = await owner.createTeam("Overtaken");
    const { body } = await owner.buildCommit(await owner.read(team), [], "Overtaken");
    await spy.under([{ ...DEVICES, after: "wait" }], async (release) => {
      const sent = owner.api.commit(team, body);
      await spy.waiting();
      await owner.revokeDevice(second.device.id);
      await release();
      await sent;
    });
    assert.ok((await stateOf(owner, team)).stale);
    const snippet = newSnippetId(Date.now());
    const container = await owner.buildSnippet(await owner.read(team), snippet, utf8("x"), { to: null });
    await rejects(() => owner.api.putSnippet(team, snippet, container), "rotation-required");
    await owner.rotate(team);
    await owner.share(team, utf8("x"));
  });
});

describe("a commit that is sent again", () => {
  it("gets the answer of the first time, however far the log has gone on", async () => {
    const team = await owner.createTeam("Again");
    const commit = await commitOf(owner, team, [policy(0)]);
    const first = await owner.api.commit(team, commit);
    await owner.changePolicy(team, POLICIES[1]);
    await owner.rotate(team);
    assert.deepEqual(await owner.api.commit(team, commit), first);
  });

  it("is known by what was signed, not by the signature", async () => {
    const team = await owner.createTeam("Signed anew");
    const view = await owner.read(team);
    const entry = { team, seq: view.log.head.seq + 1, prev: view.log.head.hash, iat: owner.now(), user: owner.user, event: policy(0) };
    const send = async () => owner.api.commit(team, { entries: [await sign("osmynt-team+jws", entry, owner.device)], envelopes: [] });
    assert.deepEqual(await send(), await send());
  });

  it("is known to the founder", async () => {
    const commit = await foundingCommit(owner);
    const first = await owner.api.createTeam(commit);
    assert.deepEqual(await owner.api.createTeam(commit), first);
  });

  it("is stale when it founds the same team with another rotation", async () => {
    const [one, other] = [await foundingCommit(owner), await foundingCommit(owner)];
    await owner.api.createTeam(one);
    await rejects(() => owner.api.createTeam({ ...other, entries: [one.entries[0], other.entries[1]] }), "stale-log");
  });

  it("is known to whoever left by it", async () => {
    const team = await makeTeam(owner, "Left", { member });
    const commit = await commitOf(member, team, [{ type: "member.left" }]);
    const first = await member.api.commit(team, commit);
    assert.deepEqual(await member.api.commit(team, commit), first);
    await rejects(() => member.api.log(team, 0), "not-found");
    await rejects(() => stranger.api.commit(team, commit), "not-found");
  });
});

describe("what D1 knows of a team", () => {
  it("comes late, by the alarm, when D1 did not listen", async () => {
    const commit = await foundingCommit(owner);
    await spy.under([{ ...PROJECTION, times: 2, before: "fail" }], async () => {
      const { team } = await owner.api.createTeam(commit);
      assert.ok(!(await teamsOf(owner)).includes(team));
      await until(async () => (await teamsOf(owner)).includes(team), "D1 has the team");
      await owner.read(team);
    });
  });

  it("comes with the commit being sent again", async () => {
    const commit = await foundingCommit(owner);
    const { team } = await spy.under([{ ...PROJECTION, times: ALWAYS, before: "fail" }], () => owner.api.createTeam(commit));
    await owner.api.createTeam(commit);
    assert.ok((await teamsOf(owner)).includes(team));
  });

  it("comes even if the object loses its memory first", async () => {
    const commit = await foundingCommit(owner);
    const { team } = await spy.under([{ ...PROJECTION, before: "fail" }], () => owner.api.createTeam(commit));
    await world.service.restart();
    await until(async () => (await teamsOf(owner)).includes(team), "D1 has the team");
  });

  it("is never older for an answer that comes late", async () => {
    const team = await owner.createTeam("Overtaking");
    const { body } = await owner.buildCommit(await owner.read(team), [], "Overtaking");
    await spy.under([{ ...PROJECTION, before: "wait" }], async (release) => {
      const first = owner.api.commit(team, body);
      await spy.waiting();
      await owner.rotate(team);
      await release();
      await first;
    });
    assert.equal((await stateOf(owner, team)).epoch, 3);
    await owner.share(team, utf8("under the third epoch"));
  });

  it("does not open a team to whom it does not know to be gone", async () => {
    const team = await makeTeam(owner, "Gone", { member });
    const snippet = await owner.share(team, utf8("for all"));
    await spy.under([{ ...PROJECTION, times: ALWAYS, before: "fail" }], async () => {
      await owner.removeMember(team, member.user);
      assert.ok((await teamsOf(member)).includes(team), "D1 has not heard of it");
      for (const attempt of [
        () => member.api.log(team, 0),
        () => member.api.directory(team, null),
        () => member.api.envelopes(team, 0),
        () => member.api.snippets(team),
        () => member.api.snippet(team, snippet),
        () => member.api.deleteSnippet(team, snippet),
      ]) {
        await rejects(attempt, "not-found");
      }
    });
  });

  it("and lacks for a moment lets nobody share under it", async () => {
    const team = await owner.createTeam("Newcomer");
    const { code } = await owner.invite(team);
    await spy.under([{ ...PROJECTION, times: ALWAYS, before: "fail" }], async () => {
      await member.join(code);
      await rejects(() => owner.share(team, utf8("early")), "unavailable");
    });
    await until(async () => (await teamsOf(member)).includes(team), "D1 has the member");
    await owner.share(team, utf8("in time"));
  });
});

describe("the holder of an invitation", () => {
  let team, code, key;

  before(async () => {
    team = await owner.createTeam("Inviting");
    ({ code } = await owner.invite(team, { uses: 2 }));
    key = await keyPairFromScalar("ECDSA", (await parseCode(code)).key);
  });

  const proofOf = async (client, change = {}, by = key) => {
    const proof = { team, invite: key.id, user: client.user, iat: client.now(), ...change };
    return sign("osmynt-invite+jws", proof, by);
  };

  it("reads log and directory, and nothing else", async () => {
    const proof = await proofOf(stranger);
    assert.equal((await stranger.read(team, proof)).log.team, team);
    await rejects(() => stranger.api.json("envelopes", "GET", `/v1/teams/${team}/envelopes`, undefined, { "Osmynt-Invite": proof }), "not-found");
    await rejects(() => stranger.api.json("snippets", "GET", `/v1/teams/${team}/snippets`, undefined, { "Osmynt-Invite": proof }), "not-found");
  });

  it("is told of their own devices as well, to seal the next key to them", async () => {
    const { users } = await stranger.api.directory(team, null, await proofOf(stranger));
    const own = users.find(({ user }) => user === stranger.user);
    assert.equal(own.log.length, 2);
    assert.equal(own.name.login, "stranger");
    assert.equal(own.prekeys.length, 1);
  });

  it("rejects a proof made for another user, team or invitation", async () => {
    const elsewhere = b64u.encode(new Uint8Array(32));
    const stray = await makeKeyPair("ECDSA");
    for (const proof of [
      await proofOf(admin),
      await proofOf(stranger, { team: elsewhere }),
      await proofOf(stranger, {}, { ...stray, id: key.id }),
      await proofOf(stranger, { invite: stray.id }, stray),
      "no proof",
    ]) {
      await rejects(() => stranger.api.log(team, 0, proof), "not-found");
      await rejects(() => stranger.api.directory(team, null, proof), "not-found");
    }
  });

  it("makes a new proof each time", async () => {
    const old = await proofOf(stranger, { iat: stranger.now() - 1000 });
    await rejects(() => stranger.api.log(team, 0, old), "clock-skew");
  });

  it("reads no more and joins no more once it is revoked", async () => {
    const proof = await proofOf(stranger);
    await stranger.api.log(team, 0, proof);
    await owner.revokeInvite(team, key.id);
    await rejects(() => stranger.api.log(team, 0, proof), "gone");
    await rejects(() => stranger.api.directory(team, null, proof), "gone");
    await rejects(() => stranger.join(code), "gone");
  });

  it("that names somebody is for them alone, and one for nobody who is barred", async () => {
    const own = await makeTeam(owner, "By name", { member });
    const { code: named } = await owner.invite(own, { user: member.user });
    const { code: open } = await owner.invite(own, { uses: 2 });
    const proofBy = async (client, code) => {
      const invitation = await keyPairFromScalar("ECDSA", (await parseCode(code)).key);
      return sign("osmynt-invite+jws", { team: own, invite: invitation.id, user: client.user, iat: client.now() }, invitation);
    };
    await rejects(async () => stranger.api.log(own, 0, await proofBy(stranger, named)), "forbidden");
    await owner.removeMember(own, member.user);
    for (const code of [named, open]) await rejects(async () => member.api.log(own, 0, await proofBy(member, code)), "forbidden");
    const { code: anew } = await owner.invite(own, { user: member.user });
    await member.api.log(own, 0, await proofBy(member, anew));
    await member.join(anew);
  });
});

describe("whoever waits to be confirmed", () => {
  let team;
  before(async () => {
    team = await owner.createTeam("Waiting room", CONFIRMATION);
    await admin.join((await owner.invite(team, { role: "admin" })).code);
    await owner.confirm(team, admin.user);
  });
  const waiting = async (client) => client.join((await owner.invite(team)).code);

  it("reads log and directory, and gets no key, snippet or list", async () => {
    const shared = await owner.share(team, utf8("before"));
    await waiting(member);
    assert.ok((await member.read(team)).log.pending.has(member.user));
    const refused = [
      () => member.api.envelopes(team, 0),
      () => member.api.snippets(team),
      () => member.api.snippet(team, shared),
      () => member.api.deleteSnippet(team, shared),
      () => member.api.deleteTeam(team),
    ];
    for (const request of refused) await rejects(request, "not-found");
    const later = await owner.share(team, utf8("meanwhile"));
    await admin.confirm(team, member.user);
    for (const id of [shared, later]) await rejects(() => member.api.snippet(team, id), "not-found");
    assert.deepEqual((await member.open(team, await owner.share(team, utf8("after")))).content, utf8("after"));
    await owner.removeMember(team, member.user);
  });

  it("commits nothing but to withdraw", async () => {
    await waiting(stranger);
    const view = await stranger.read(team);
    const entry = (event) => {
      const { head } = view.log;
      return sign("osmynt-team+jws", { team, seq: head.seq + 1, prev: head.hash, iat: stranger.now(), user: stranger.user, event }, stranger.device);
    };
    const key = (await makeKeyPair("ECDSA")).jwk;
    for (const event of [
      { type: "invite.created", key, role: "member", exp: stranger.now() + 60, uses: 1 },
      { type: "member.confirmed", user: stranger.user },
      { type: "policy.changed", policy: POLICIES[0] },
    ]) {
      await rejects(async () => stranger.api.commit(team, { entries: [await entry(event)], envelopes: [] }), "forbidden");
    }
    await stranger.leave(team);
    await rejects(() => stranger.api.log(team, 0), "not-found");
  });

  it("and is refused does not get in by another's invitation", async () => {
    await waiting(stranger);
    await admin.removeMember(team, stranger.user);
    await rejects(() => stranger.api.log(team, 0), "not-found");
    await rejects(() => waiting(stranger), "forbidden");
    await stranger.join((await owner.invite(team, { user: stranger.user })).code);
    await owner.confirm(team, stranger.user);
    await stranger.read(team);
  });
});

describe("a team that its owner deletes", () => {
  it("is gone, with all that is in it", async () => {
    const team = await makeTeam(owner, "Deleted", { admin, member });
    const snippet = await owner.share(team, utf8("gone"));
    const r2 = await world.service.mf.getR2Bucket("SNIPPETS");
    for (const client of [admin, member]) await rejects(() => client.api.deleteTeam(team), "forbidden");
    await rejects(() => stranger.api.deleteTeam(team), "not-found");
    assert.ok(await r2.head(`${team}/${snippet}`));
    await owner.api.deleteTeam(team);
    for (const client of [owner, admin, member]) {
      assert.ok(!(await teamsOf(client)).includes(team));
      for (const request of [
        () => client.api.log(team, 0),
        () => client.api.directory(team, null),
        () => client.api.envelopes(team, 0),
        () => client.api.snippet(team, snippet),
        () => client.api.deleteTeam(team),
      ]) {
        await rejects(request, "not-found");
      }
    }
    await until(async () => !(await r2.head(`${team}/${snippet}`)), "its snippets are erased");
  });
});

describe("a page", () => {
  it("of a directory ends after 1 MiB, and another follows", async () => {
    // 236 entries of nearly 2 KiB: two users fill a page, a third does not fit.
    const people = [owner, admin, member];
    for (const client of people) await fill(client);
    const team = await makeTeam(owner, "Long histories", { admin, member });
    const pages = [];
    for (let after = null; ; ) {
      const page = await owner.api.directory(team, after);
      pages.push(page.users);
      if (page.next === null) break;
      after = page.next;
    }
    assert.deepEqual(pages.flat().map(({ user }) => user), ascending(people.map(({ user }) => user)));
    assert.ok(pages.length > 1, "all on one page");
    for (const users of pages) {
      const bytes = users.flatMap(({ log, prekeys }) => [...log.map(({ jws }) => jws), ...prekeys]).reduce((sum, jws) => sum + jws.length, 0);
      assert.ok(users.length === 1 || bytes <= PAGE_BYTES, `${bytes} bytes`);
    }
    assert.equal((await owner.read(team)).log.roster.size, 3);
    const { entries } = await owner.api.myLog(0);
    assert.ok(entries.length <= 100);
    assert.equal((await owner.ownLog()).entries.length, 236);
  });

  /** Fills a user's log with names that are padded as far as they may be. */
  async function fill(client) {
    const header = JSON.stringify({ alg: "ES256", typ: "osmynt-user+jws", kid: client.device.id });
    for (let log = await client.ownLog(); log.entries.length < 236; log = await client.ownLog()) {
      const entries = [];
      const names = [];
      while (entries.length < 16 && log.entries.length < 236) {
        const name = newOpening(client.account);
        const event = { type: "name.signed", commitment: await nameCommitment(client.user, name) };
        const payload = { user: client.user, seq: log.entries.length, prev: log.head.hash, iat: client.now(), event };
        const jws = await signText(header, JSON.stringify(payload).padEnd(1_330), client.device.privateKey);
        await log.append(jws, client.now());
        entries.push(jws);
        names.push(name);
      }
      await client.api.appendToMyLog(entries, [], names);
    }
  }
});
