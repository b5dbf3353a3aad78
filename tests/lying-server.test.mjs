// A service that lies to a client that has seen the truth before, or has not. Whatever it tries, both clients notice and say so: ours by
// its exit code, the independent one by a TamperError. Delay and silence are no lies; they show by age.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, parseCode } from "./client/client.mjs";
import { Command } from "./client/command.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { makeCode } from "./client/invitation.mjs";
import { makeKeyPair, sealEnvelope, teamKeyPurpose } from "./client/keys.mjs";
import { startLiar } from "./client/liar.mjs";
import { join, split } from "./client/snippet.mjs";
import { parse, sign, signText } from "./client/statements.mjs";
import { makeTeam as makeTeamOf, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";

const code = utf8("let truth = 42;\n");
const DAY = 24 * 3600;
const now = () => Math.floor(Date.now() / 1000);

const shifted = (entry, by) => ({ ...entry, received_at: entry.received_at + by });
const hashOfEntry = (jws) => hashOf(utf8(jws.split(".").slice(0, 2).join(".")));
const headOf = async (entries) => ({ seq: entries.length - 1, hash: await hashOfEntry(entries.at(-1).jws) });

/** Both clients as victims: how each signs in through the liar, and how it shows that it noticed. */
const VICTIMS = {
  "the osmynt command": {
    signIn: (login, origin) => Command.signIn(login, origin),
    noticed: { name: "Exit", code: 5 },
    unreadable: { name: "Exit" },
    unsealable: { name: "Exit", code: 4 },
  },
  "the independent client": {
    signIn: (login, origin) => Client.signIn({ origin, name: "laptop", approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) }),
    noticed: { name: "TamperError" },
    unreadable: { name: "Unreadable" },
    unsealable: { name: "Refused", code: "not-found" },
  },
};

/** Whose fault it is may be told one way or the other. */
const EITHER = (error) => error instanceof Error && error.name !== "AssertionError";

for (const [victimName, { signIn, noticed, unreadable, unsealable }] of Object.entries(VICTIMS)) {
  describe(victimName, () => {
    let world, liar, owner, member, victim;
    /** A device that the service made up. */
    let ghost;

    before(async () => {
      liar = await startLiar(headOf);
      world = await startWorld(["owner", "member", "victim"], { vars: { ORIGIN: liar.url } });
      liar.target = world.service.url;
      [owner, member] = [await signInToTheTruth("owner"), await signInToTheTruth("member")];
      victim = await signIn("victim", liar.url);
      const pair = await makeKeyPair("ECDSA");
      ghost = { ...pair, prekey: await makeKeyPair("ECDH") };
    });
    after(async () => {
      await victim?.dispose?.();
      await liar?.close();
      await world?.dispose();
    });

    /** A device at the service's address, which asks the service itself. */
    const signInToTheTruth = (login) =>
      world.signIn(login, { origin: liar.url, fetch: (url, request) => fetch(url.replace(liar.url, world.service.url), request) });

    /** A team of the three, with two snippets that the victim has seen: `{ team, snippets }`. All lies are about the same one. */
    const makeTeam = () => {
      liar.lies = {};
      return (theTeam ??= makeTheTeam());
    };
    let theTeam;
    async function makeTheTeam() {
      const team = await owner.createTeam("Truth");
      await member.join((await owner.invite(team)).code);
      await victim.join((await owner.invite(team)).code);
      const snippets = [await owner.share(team, code), await member.share(team, utf8("other\n"))];
      for (const snippet of snippets) await victim.open(team, snippet);
      return { team, snippets };
    }

    /** What the victim may do that reads the log and the directory. */
    const ACTS = {
      list: (team) => victim.list(team),
      share: (team) => victim.share(team, code),
      rotate: (team) => victim.rotate(team),
      "share with a member": (team) => victim.share(team, code, { to: [owner.user] }),
    };

    /** The lie is noticed by each act, and after it is taken back the victim goes on as before. */
    function notices(what, lie, acts = ["list"], expected = noticed) {
      it(`notices ${what}`, async () => {
        const scene = await makeTeam();
        const lies = await lie(scene);
        liar.overheard.length = 0;
        for (const act of acts) {
          liar.lies = lies;
          await assert.rejects(ACTS[act](scene.team), expected);
        }
        for (const { path, body } of liar.overheard) {
          assert.ok(!body.includes(ghost.id) && !body.includes(ghost.prekey.id), `it sealed to the ghost: ${path}`);
        }
        liar.lies = {};
        assert.deepEqual((await victim.open(scene.team, await victim.share(scene.team, code))).content, code);
      });
    }
    const change = (user, how) => ({
      directory: (users) => Promise.all(users.map(async (each) => (each.user === user ? { ...each, ...(await how(each)) } : each))),
    });
    const ghostDevice = (user) => sign("osmynt-device+jws", { user, jwk: ghost.jwk, iat: now() }, ghost);
    const ghostPrekey = (user, signer = ghost) => sign("osmynt-prekey+jws", { user, kind: "signed", key: ghost.prekey.jwk, iat: now() }, signer);

    const EVERY_ACT = ["list", "share", "rotate", "share with a member"];

    describe("about the team's log,", () => {
      notices("a rollback", () => ({ log: (entries) => entries.slice(0, -1) }), EVERY_ACT);

      notices("an older head over the whole log", () => ({ head: ({ seq, hash }) => ({ seq: seq - 1, hash }) }));

      notices("an older head and an older log, after an honest rotation", async ({ team }) => {
        await victim.rotate(team);
        return { log: (entries) => entries.slice(0, -1) };
      }, EVERY_ACT);

      notices("a fork, though both branches are signed", async ({ team }) => {
        const { log } = await owner.read(team);
        const fork = async (max_epoch_age) => {
          const entry = { team, seq: log.past.length, prev: log.head.hash, iat: now(), user: owner.user, event: { type: "policy.changed", policy: { max_epoch_age, joining: "invitation" } } };
          return sign("osmynt-team+jws", entry, owner.device);
        };
        const [told, hidden] = [await fork(7200), await fork(3600)];
        await owner.api.commit(team, { entries: [told], envelopes: [] });
        await victim.list(team);
        return { log: (entries) => [...entries.slice(0, -1), { ...entries.at(-1), jws: hidden }] };
      }, EVERY_ACT);

      notices("a fork with a longer branch", async ({ team }) => {
        const { log } = await owner.read(team);
        const entries = [];
        for (let head = log.head; entries.length < 2; head = { seq: head.seq + 1, hash: await hashOfEntry(entries.at(-1)) }) {
          const entry = { team, seq: head.seq + 1, prev: head.hash, iat: now(), user: owner.user, event: { type: "policy.changed", policy: { max_epoch_age: 3600, joining: "invitation" } } };
          entries.push(await sign("osmynt-team+jws", entry, owner.device));
        }
        await owner.changePolicy(team, { max_epoch_age: 7200 });
        await victim.list(team);
        const hidden = entries.map((jws) => ({ jws, received_at: now() }));
        return { log: (all) => [...all.slice(0, -1), ...hidden] };
      });

      notices("a missing entry", async ({ team }) => {
        await owner.changePolicy(team, { max_epoch_age: 7200 });
        await owner.rotate(team);
        return { log: (entries) => entries.toSpliced(-2, 1) };
      });

      notices("entries in another order", async ({ team }) => {
        await owner.changePolicy(team, { max_epoch_age: 7200 });
        await owner.rotate(team);
        return { log: (entries) => [...entries.slice(0, -2), entries.at(-1), entries.at(-2)] };
      });

      notices("an entry that nobody signed", async ({ team }) => {
        await owner.rotate(team);
        return { log: (entries) => entries.with(-1, { ...entries.at(-1), jws: entries.at(-1).jws.replace(/[^.]*$/, b64u.encode(randomBytes(64))) }) };
      });

      notices("a role that somebody gave themselves", async ({ team }) => {
        const { log } = await member.read(team);
        const entry = { team, seq: log.past.length, prev: log.head.hash, iat: now(), user: member.user, event: { type: "role.changed", user: member.user, role: "owner" } };
        const jws = await sign("osmynt-team+jws", entry, member.device);
        return { log: (entries) => [...entries, { jws, received_at: now() }] };
      });

      notices("a member who joined without an invitation", async ({ team }) => {
        const { log } = await member.read(team);
        const key = await makeKeyPair("ECDSA");
        const proof = await sign("osmynt-invite+jws", { team, invite: key.id, user: member.user, iat: now() }, key);
        const entry = { team, seq: log.past.length, prev: log.head.hash, iat: now(), user: member.user, event: { type: "member.joined", invite: key.id, proof } };
        const jws = await sign("osmynt-team+jws", entry, member.device);
        return { log: (entries) => [...entries, { jws, received_at: now() }] };
      });

      notices("a removal without a rotation", async ({ team }) => {
        const { log } = await owner.read(team);
        const entry = { team, seq: log.past.length, prev: log.head.hash, iat: now(), user: owner.user, event: { type: "member.removed", user: member.user } };
        const jws = await sign("osmynt-team+jws", entry, owner.device);
        return { log: (entries) => [...entries, { jws, received_at: now() }] };
      });

      notices("an entry received a day before it was signed", async ({ team }) => {
        await owner.rotate(team);
        return { log: (entries) => entries.with(-1, shifted(entries.at(-1), -DAY)) };
      });

      notices("an entry received a day after it was signed", async ({ team }) => {
        await owner.rotate(team);
        return { log: (entries) => entries.with(-1, shifted(entries.at(-1), DAY)) };
      });

      notices("an entry received before the one before it", async ({ team }) => {
        await owner.rotate(team);
        return { log: (entries) => entries.with(-1, shifted(entries.at(-2), -1)) };
      });

      notices("the log of another team", async () => {
        const other = await owner.createTeam("Other");
        const { entries } = await owner.api.log(other, 0);
        return { log: () => entries };
      });

      it("notices a log from before the invitation that it holds", async () => {
        const team = await owner.createTeam("Joining");
        const { code: invitation } = await owner.invite(team);
        liar.lies = { log: (entries) => entries.slice(0, -1) };
        await assert.rejects(victim.join(invitation), noticed);
        liar.lies = {};
        await victim.join(invitation);
      });
    });

    describe("about people's devices,", () => {
      const ghostEntry = async ({ user, log }, signer = ghost) => {
        const { hash } = await headOf(log);
        const entry = { user, seq: log.length, prev: hash, iat: now(), event: { type: "device.added", device: await ghostDevice(user) } };
        return { jws: await sign("osmynt-user+jws", entry, signer), received_at: now() };
      };

      notices("a ghost that added itself", () =>
        change(owner.user, async (each) => ({ log: [...each.log, await ghostEntry(each)], prekeys: [...each.prekeys, await ghostPrekey(each.user)] })), EVERY_ACT);

      notices("a ghost that somebody else's device added", () =>
        change(owner.user, async (each) => ({ log: [...each.log, await ghostEntry(each, member.device)], prekeys: [...each.prekeys, await ghostPrekey(each.user)] })), EVERY_ACT);

      notices("a ghost in the place of a member", () =>
        change(member.user, async ({ user }) => {
          const entry = { user: null, seq: 0, prev: null, iat: now(), event: { type: "device.added", device: await ghostDevice(null) } };
          return { log: [{ jws: await sign("osmynt-user+jws", entry, ghost), received_at: now() }], prekeys: [await ghostPrekey(user)] };
        }), EVERY_ACT);

      notices("a prekey that another device signed", () => change(owner.user, async ({ user }) => ({ prekeys: [await ghostPrekey(user)] })), ["rotate", "share with a member"]);

      notices("a prekey in somebody's name with a wrong signature", () =>
        change(owner.user, async ({ user }) => ({ prekeys: [await ghostPrekey(user, { id: owner.device.id, privateKey: ghost.privateKey })] })), ["rotate", "share with a member"]);

      notices("the prekey of another member", async ({ team }) => {
        const { users } = await owner.api.directory(team, null);
        const { prekeys } = users.find(({ user }) => user === member.user);
        return change(owner.user, () => ({ prekeys }));
      }, ["rotate", "share with a member"]);

      // It may be of a kind that only a later release knows: that is no lie, and nothing to seal to.
      notices("a missing prekey", () => change(owner.user, () => ({ prekeys: [] })), ["rotate", "share with a member"], unsealable);

      notices("a member who is missing", () => ({ directory: (users) => users.filter(({ user }) => user !== member.user) }), ["share", "rotate", "share with a member"]);

      notices("a rollback that brings a revoked device back", async ({ team }) => {
        const phone = await signInToTheTruth("owner");
        await owner.addDevice(await phone.describe());
        const before = (await owner.api.directory(team, null)).users.find(({ user }) => user === owner.user);
        await owner.revokeDevice(phone.device.id);
        await owner.rotate(team);
        await victim.list(team);
        return change(owner.user, () => before);
      }, EVERY_ACT);

      notices("a new entry of a user log that was received a day later", async () => {
        await member.signName();
        return change(member.user, ({ log }) => ({ log: log.with(-1, shifted(log.at(-1), DAY)) }));
      });
    });

    describe("about keys,", () => {
      const replace = (change) => ({ envelopes: (all) => Promise.all(all.map(async (each, index) => ({ ...each, envelope: await change(each, index, all) }))) });
      /** The victim does not have the key of the newest epoch yet. */
      const rotated = async ({ team }) => {
        await owner.rotate(team);
        return owner.share(team, code);
      };
      /** The epoch does not open, and says so; when the lie is taken back, it does. What there was before opens all the time. */
      const opening = (what, lie, expected = unreadable) =>
        it(`is told ${what} for a key, and opens all else`, async () => {
          const scene = await makeTeam();
          const snippet = await rotated(scene);
          liar.lies = await lie(scene);
          await assert.rejects(victim.open(scene.team, snippet), expected);
          assert.deepEqual((await victim.open(scene.team, scene.snippets[0])).content, code);
          liar.lies = {};
          assert.deepEqual((await victim.open(scene.team, snippet)).content, code);
        });

      opening("the envelope of another epoch", async ({ team }) => {
        const epoch = (await owner.read(team)).log.epoch.number;
        return { from: epoch - 1, envelopes: ([old]) => [{ epoch, envelope: old.envelope }] };
      });

      opening("an envelope that was damaged", () => replace(({ envelope }) => ({ ...envelope, ct: b64u.encode(flip(b64u.decode(envelope.ct))) })));

      opening("an envelope of an unknown suite", () => replace(({ envelope }) => ({ ...envelope, suite: "X-WING", enc: b64u.encode(randomBytes(1_120)) })));

      opening("nothing", () => ({ envelopes: () => [] }));

      opening("an envelope of another device", () => replace(({ envelope }) => ({ ...envelope, device: owner.device.id })), EITHER);

      opening("a team key that the service made up", async ({ team }) => {
        const { log, prekeys } = await owner.read(team);
        const [device] = log.roster.get(victim.user).devices;
        return replace(({ epoch }) => sealEnvelope(randomBytes(32), teamKeyPurpose(team, epoch, log.epoch.device), { device, prekey: prekeys.get(device) }));
      });

      it("rotates before it shares under an epoch whose key does not open", async () => {
        const scene = await makeTeam();
        await rotated(scene);
        const { number } = (await owner.read(scene.team)).log.epoch;
        liar.lies = replace(({ envelope }) => ({ ...envelope, ct: b64u.encode(flip(b64u.decode(envelope.ct))) }));
        const snippet = await victim.share(scene.team, code);
        assert.deepEqual((await owner.open(scene.team, snippet)).content, code);
        assert.equal((await owner.read(scene.team)).log.epoch.number, number + 1);
        assert.equal(await owner.teamName(await owner.read(scene.team)), "Truth");
        liar.lies = {};
      });
    });

    describe("about snippets,", () => {
      const opening = (what, change, expected = noticed) =>
        it(`notices ${what}`, async () => {
          const { team, snippets } = await makeTeam();
          const [snippet, other] = snippets;
          const otherBytes = await owner.api.snippet(team, other);
          liar.lies = typeof change === "function" ? { snippet: (container) => change(container, otherBytes, team) } : change;
          await assert.rejects(victim.open(team, snippet), expected);
          liar.lies = {};
          assert.deepEqual((await victim.open(team, snippet)).content, code);
        });

      opening("another snippet", (_, other) => other);
      opening("the content of another", (container, other) => join(split(container).statement, split(other).ciphertext));
      opening("the statement of another", (container, other) => join(split(other).statement, split(container).ciphertext));
      opening("a bit of the ciphertext changed", (container) => container.with(-20, container.at(-20) ^ 1));
      opening("a byte cut off", (container) => container.subarray(0, -1));
      opening("a byte added", (container) => new Uint8Array([...container, 0]));
      opening("a bit of the signature changed", (container) => {
        const { statement, ciphertext } = split(container);
        const parts = statement.split(".");
        return join([parts[0], parts[1], b64u.encode(flip(b64u.decode(parts[2])))].join("."), ciphertext);
      });
      opening("a snippet in a member's name that another member signed", async (container) => {
        const { statement, ciphertext } = split(container);
        const { payload } = await parse("osmynt-snippet+jws", statement);
        return join(await sign("osmynt-snippet+jws", payload, member.device), ciphertext);
      });
      opening("a snippet by a device of nobody", async (container) => {
        const { statement, ciphertext } = split(container);
        const { payload } = await parse("osmynt-snippet+jws", statement);
        return join(await sign("osmynt-snippet+jws", payload, ghost), ciphertext);
      });
      opening("a snippet whose head is in no log", async (container) => {
        const { statement, ciphertext } = split(container);
        const { payload } = await parse("osmynt-snippet+jws", statement);
        return join(await sign("osmynt-snippet+jws", { ...payload, head: { ...payload.head, hash: await hashOf(utf8("fork")) } }, owner.device), ciphertext);
      });
      opening("a snippet that its author dated back", async (container) => {
        const { statement, ciphertext } = split(container);
        const { payload } = await parse("osmynt-snippet+jws", statement);
        return join(await sign("osmynt-snippet+jws", { ...payload, iat: payload.iat - DAY }, owner.device), ciphertext);
      });
      opening("content under another key than was committed to", async (container) => {
        const { statement, ciphertext } = split(container);
        const { payload } = await parse("osmynt-snippet+jws", statement);
        return join(await sign("osmynt-snippet+jws", { ...payload, commitment: await hashOf(utf8("other")) }, owner.device), ciphertext);
      }, EITHER);
      opening("a snippet that was received a day before", { receivedAt: (at) => at - DAY });
      opening("a snippet that was received a day later", { receivedAt: (at) => at + DAY });
      opening("a snippet that was received at no time", { receivedAt: () => "yesterday" }, EITHER);

      const listing = (what, change) =>
        it(`notices in a list ${what}`, async () => {
          const { team } = await makeTeam();
          const { length } = await victim.list(team);
          liar.lies = { list: change };
          await assert.rejects(victim.list(team), noticed);
          liar.lies = {};
          assert.equal((await victim.list(team)).length, length);
        });
      listing("a snippet received a day before", ([first, ...rest]) => [shifted(first, -DAY), ...rest]);
      listing("a snippet received a day later", ([first, ...rest]) => [shifted(first, DAY), ...rest]);
      listing("a changed signature", ([first, ...rest]) => [{ ...first, statement: first.statement.replace(/[^.]*$/, b64u.encode(randomBytes(64))) }, ...rest]);
      listing("a statement that nobody's device signed", async ([first, ...rest]) => [{ ...first, statement: await sign("osmynt-snippet+jws", (await parse("osmynt-snippet+jws", first.statement)).payload, ghost) }, ...rest]);
    });

    describe("about the person", () => {
      it("notices that this device is said to stand in another log, or in none", async () => {
        await makeTeam();
        for (const user of [owner.user, null]) {
          liar.lies = { me: (answer) => ({ ...answer, device: { ...answer.device, user, active: user !== null } }) };
          await assert.rejects(ABOUT_ME[victimName](victim), EITHER);
        }
        liar.lies = {};
      });

      it("shows nobody by a name that they did not sign", async () => {
        const { team } = await makeTeam();
        liar.lies = { directory: (users) => swapped(users, owner.user, member.user) };
        await assert.rejects(TO_NAMED[victimName](victim, team, "owner"));
        liar.lies = {};
        await TO_NAMED[victimName](victim, team, "owner");
      });
    });
  });
}

/** What makes a victim ask who it is. */
const ABOUT_ME = {
  "the osmynt command": (victim) => victim.one("whoami"),
  "the independent client": (victim) => victim.me(),
};
/** Sharing with somebody by name. */
const TO_NAMED = {
  "the osmynt command": (victim, team, login) => victim.share(team, code, { to: [login] }),
  "the independent client": async (victim, team, login) => victim.share(team, code, { to: [victim.userCalled(await victim.read(team), login)] }),
};
/** Everybody, but for two who have each other's names. */
function swapped(users, one, other) {
  const nameOf = (id) => users.find(({ user }) => user === id).name;
  const names = new Map([[one, nameOf(other)], [other, nameOf(one)]]);
  return users.map((each) => (names.has(each.user) ? { ...each, name: names.get(each.user) } : each));
}

const flip = (bytes) => bytes.with(0, bytes[0] ^ 1);

describe("the independent client, answer by answer,", () => {
  let world, owner, member, victim, team, elsewhere, snippet, letter;

  before(async () => {
    world = await startWorld(["owner", "member", "victim"]);
    [owner, member, victim] = await Promise.all(["owner", "member", "victim"].map((login) => world.signIn(login)));
    team = await makeTeamOf(owner, "Answers", [["member", member], ["member", victim]]);
    elsewhere = await owner.createTeam("Elsewhere");
    await owner.rotate(team);
    snippet = await owner.share(team, code);
    letter = await owner.share(team, code, { to: [victim.user] });
    await victim.list(team);
  });
  after(() => world?.dispose());

  /** What the victim is answered while `action` runs: `change(answer)` for the requests that `path` fits, as "GET /v1/me". */
  async function told(path, change, action) {
    const { fetch } = victim.api;
    victim.api.fetch = async (url, request) => {
      const answer = await fetch(url, request);
      const { pathname } = new URL(url);
      return answer.ok && path.test(`${request.method} ${pathname}`) ? Response.json(await change(await answer.json()), { status: answer.status }) : answer;
    };
    try {
      return await action();
    } finally {
      victim.api.fetch = fetch;
    }
  }

  const STRANGE = b64u.encode(new Uint8Array(32).fill(7));
  const UUID = "00000000-0000-4000-8000-000000000000";
  const LIES = [
    ["GET /v1/me with another account", /^GET .*me$/, (me) => ({ ...me, account: { ...me.account, id: UUID } }), () => victim.me()],
    ["GET /v1/me with another device", /^GET .*me$/, (me) => ({ ...me, device: { ...me.device, id: STRANGE } }), () => victim.me()],
    ["GET /v1/me with another user", /^GET .*me$/, (me) => ({ ...me, device: { ...me.device, user: STRANGE } }), () => victim.me()],
    ["the own log with another head", /^GET .*me.log$/, (log) => ({ ...log, head: { ...log.head, hash: STRANGE } }), () => victim.ownLog()],
    ["the own log with more entries than there can be", /^GET .*me.log$/, (log) => ({ ...log, head: { ...log.head, seq: 2 ** 53 - 1 } }), () => victim.ownLog()],
    ["a signed name taken elsewhere", /^POST .*me.log$/, (taken) => ({ ...taken, user: STRANGE }), () => victim.signName()],
    ["teams in another order", /^GET .*teams$/, ({ teams }) => ({ teams: [...teams, { team: "-".repeat(42) + "0", pending: false }] }), () => victim.teams()],
    ["a team twice", /^GET .*teams$/, ({ teams }) => ({ teams: [...teams, ...teams] }), () => victim.teams()],
    ["a log that ends in another head", /^GET .*log$/, (log) => ({ ...log, head: { ...log.head, hash: STRANGE } }), () => victim.read(team)],
    ["the log of another team, having seen none of this one", /^GET .*log$/, () => owner.api.log(elsewhere, 0), firstContact],
    ["somebody twice in the directory", /^GET .*directory$/, (page) => ({ ...page, users: [...page.users, { ...page.users[0], prekeys: [] }] }), () => victim.read(team)],
    ["two prekeys of one device", /^GET .*directory$/, twice, () => victim.read(team)],
    ["a commit taken in another team", /^POST .*commits$/, (taken) => ({ ...taken, team: STRANGE }), () => victim.rotate(team)],
    ["a commit that led to another head", /^POST .*commits$/, (taken) => ({ ...taken, head: { ...taken.head, hash: STRANGE } }), () => victim.rotate(team)],
    ["a commit that led to another epoch", /^POST .*commits$/, (taken) => ({ ...taken, epoch: taken.epoch + 1 }), () => victim.rotate(team)],
    ["envelopes of earlier epochs", /^GET .*envelopes$/, withEpoch((epoch) => epoch - 1), keyOfNow],
    ["an envelope twice", /^GET .*envelopes$/, (page) => ({ ...page, envelopes: [...page.envelopes, ...page.envelopes] }), keyOfNow],
    ["an envelope for another device", /^GET .*envelopes$/, forDevice(STRANGE), keyOfNow],
    ["a snippet twice in a list", /^GET .*snippets$/, (page) => ({ ...page, snippets: [...page.snippets, page.snippets[0]] }), () => victim.list(team)],
  ];
  for (const [what, path, change, action] of LIES) {
    it(`does not believe ${what}`, () => assert.rejects(told(path, change, action), { name: "TamperError" }));
  }

  it("does not collect a log or a directory without end", async () => {
    let asked = 0;
    const endlessLog = ({ entries }) => {
      asked += 1;
      return { entries: Array(100).fill(entries.at(-1) ?? { jws: "", received_at: 0 }), head: { seq: 255, hash: STRANGE }, name: null, prekeys: [] };
    };
    await assert.rejects(told(/^GET .*me.log$/, endlessLog, () => victim.ownLog()), { name: "TamperError" });
    assert.ok(asked <= 3, `${asked} pages`);
    asked = 0;
    const endlessDirectory = () => {
      asked += 1;
      const somebody = { user: STRANGE, log: [], name: null, prekeys: [] };
      return { users: Array(100).fill(somebody), next: `${String(asked).padStart(6, "0")}${STRANGE.slice(6)}` };
    };
    await assert.rejects(told(/^GET .*directory$/, endlessDirectory, () => victim.read(team)), { name: "TamperError" });
    assert.ok(asked <= 101, `${asked} pages`);
  });

  it("does not collect a list without end, nor ask for ever where nothing comes", async () => {
    const snippets = Array(100).fill({ statement: "", envelopes: [], received_at: 0 });
    const users = [{ user: STRANGE, log: [], name: null, prekeys: [] }];
    const next = (asked) => `${String(asked).padStart(6, "0")}${STRANGE.slice(6)}`;
    for (const [what, path, page, most, action] of [
      ["a list without end", /snippets$/, (asked) => ({ snippets, next: next(asked) }), 1001, () => victim.list(team)],
      ["a list of nothing", /snippets$/, (asked) => ({ snippets: [], next: next(asked) }), 1, () => victim.list(team)],
      ["a directory of nobody", /directory$/, (asked) => ({ users: [], next: next(asked) }), 1, () => victim.read(team)],
      ["a directory that goes in a circle", /directory$/, () => ({ users, next: STRANGE }), 2, () => victim.read(team)],
    ]) {
      const { fetch } = victim.api;
      let asked = 0;
      // Not `told`: the truth need not be asked for a thousand times.
      victim.api.fetch = async (url, request) => {
        if (!path.test(new URL(url).pathname)) return fetch(url, request);
        asked += 1;
        assert.ok(asked <= most, `${what}: it asks for more`);
        return Response.json(page(asked));
      };
      try {
        await assert.rejects(action(), { name: "TamperError" }, what);
      } finally {
        victim.api.fetch = fetch;
      }
      assert.equal(asked, most, what);
    }
  });

  /** Reads the team as if for the first time. */
  async function firstContact() {
    const { pins } = victim;
    victim.pins = new Map();
    try {
      return await victim.read(team);
    } finally {
      victim.pins = pins;
    }
  }
  function twice({ users, next }) {
    return { users: users.map((each) => ({ ...each, prekeys: [...each.prekeys, ...each.prekeys] })), next };
  }
  function withEpoch(change) {
    return ({ envelopes, next }) => ({ envelopes: envelopes.map((each) => ({ ...each, epoch: change(each.epoch) })), next });
  }
  function forDevice(device) {
    return ({ envelopes, next }) => ({ envelopes: envelopes.map((each) => ({ ...each, envelope: { ...each.envelope, device } })), next });
  }
  /** Asks for the key of the present epoch as if it had never been asked for. */
  async function keyOfNow() {
    const view = await victim.read(team);
    const { number } = view.log.epoch;
    victim.teamKeys.delete(`${team} ${number}`);
    return victim.teamKey(view, number);
  }

  /** The statement of a snippet as its author, or `by`, would have signed it otherwise: no service has taken it. */
  const forged = (id, change, by = owner) => async (page) => {
    const snippets = await Promise.all(page.snippets.map(async (each) => {
      const { payload } = await parse("osmynt-snippet+jws", each.statement);
      if (payload.snippet !== id) return each;
      const { received_at = each.received_at, envelopes = each.envelopes, ...members } = change(payload, each);
      return { statement: await sign("osmynt-snippet+jws", { ...payload, ...members }, by.device), envelopes, received_at };
    }));
    return { ...page, snippets };
  };
  const addressed = (members) => ({ audience }) => ({ audience: { ...audience, members } });
  const FORGERIES = [
    ["of another team", () => snippet, () => ({ team: STRANGE })],
    ["by somebody who is no member", () => snippet, () => ({ user: STRANGE })],
    ["in another's name", () => snippet, () => ({ user: member.user })],
    ["of another epoch", () => snippet, ({ audience }) => ({ audience: { ...audience, epoch: audience.epoch - 1 } })],
    ["that was over before it was made", () => snippet, ({ iat }) => ({ exp: iat })],
    ["that was made long before it was received", () => snippet, ({ iat }) => ({ iat: iat - 301 })],
    ["that was received in the future", () => snippet, ({ iat }) => ({ iat: iat + 600, received_at: iat + 600 })],
    ["that was received long before its head", () => snippet, ({ iat }) => ({ iat: iat - 600, received_at: iat - 600 })],
    ["with envelopes, though it is to the team", () => snippet, () => ({ envelopes: [{ device: STRANGE, prekey: STRANGE, suite: "x", enc: "", ct: "" }] })],
    ["to somebody who is no member", () => letter, () => addressed([STRANGE])],
    ["to its author", () => letter, () => addressed([owner.user])],
    ["to somebody twice", () => letter, () => addressed([victim.user, victim.user])],
  ];
  for (const [what, id, change] of FORGERIES) {
    it(`does not list a snippet ${what}`, async () => {
      const lie = forged(id(), (payload) => {
        const changed = change(payload);
        return typeof changed === "function" ? changed(payload) : changed;
      });
      await assert.rejects(told(/^GET .*snippets$/, lie, () => victim.list(team)), { name: "TamperError" });
    });
  }

  /** With a clock that is ahead. What was read by it is forgotten, as nothing received before would be believed. */
  async function ahead(seconds, action) {
    const { now, pins } = victim;
    Object.assign(victim, { now: () => now() + seconds, pins: new Map(pins) });
    try {
      return await action();
    } finally {
      Object.assign(victim, { now, pins });
    }
  }
  const dated = (by) => ({ iat }) => ({ iat: iat + by, received_at: iat + by });
  const listing = (lie) => told(/^GET .*snippets$/, lie, () => victim.list(team));

  it("does not list a snippet that was received in its future, or long after the entry that follows its head", async () => {
    const newest = await owner.share(team, code);
    await assert.rejects(listing(forged(newest, dated(400))), { name: "TamperError", message: /future/ });
    await ahead(1000, () => listing(forged(newest, dated(400))));
    await owner.rotate(team);
    await assert.rejects(ahead(1000, () => listing(forged(newest, dated(400)))), { name: "TamperError", message: /does not fit the log/ });
  });

  it("does not list a snippet that a device signed long after it was revoked", async () => {
    const phone = await world.signIn("owner");
    await owner.addDevice(await phone.describe());
    await owner.rotate(team);
    const theirs = await phone.share(team, code);
    await owner.revokeDevice(phone.device.id);
    await ahead(1000, () => listing(forged(theirs, dated(200), phone)));
    await assert.rejects(ahead(1000, () => listing(forged(theirs, dated(400), phone))), { name: "TamperError", message: /did not speak/ });
  });

  it("lists a snippet whose key is missing as one that it cannot open, and says whose fault it is", async () => {
    const listed = await told(/^GET .*snippets$/, forged(letter, () => ({ envelopes: [] })), () => victim.list(team));
    const { header, refusal } = listed.find(({ statement }) => statement.snippet === letter);
    assert.equal(header, null);
    assert.deepEqual([refusal.name, refusal.device, refusal.user], ["Unreadable", owner.device.id, owner.user]);
    assert.ok(listed.find(({ statement }) => statement.snippet === snippet).header);
  });

  it("leaves out a prekey of a kind that it does not know, and reads on", async () => {
    const withHybrid = async ({ users, next }) => {
      const strange = await signText(JSON.stringify({ alg: "ES256", typ: "osmynt-prekey+jws", kid: owner.device.id }), '{"kind":"hybrid","level":768.5}', owner.device.privateKey);
      return { users: users.map((each) => (each.user === owner.user ? { ...each, prekeys: [...each.prekeys, strange] } : each)), next };
    };
    await told(/^GET .*directory$/, withHybrid, () => victim.rotate(team));
  });

  it("follows no code to another service", async () => {
    const { code: invitation } = await owner.invite(elsewhere);
    const misled = await makeCode({ ...(await parseCode(invitation)), origin: "https://osmynt.example" });
    await assert.rejects(victim.join(misled), { name: "Refused", code: "invalid-request" });
    await victim.join(invitation);
  });
});
