// Wrong inputs that found or change a team: entries that are out of place, rotations that do not fit, and events by whoever may not.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { readProblem } from "./client/api.mjs";
import { b64u, randomBytes } from "./client/encodings.mjs";
import { parseCode } from "./client/invitation.mjs";
import { deviceSetHash, headSetHash, keyPairFromScalar, makeKeyPair } from "./client/keys.mjs";
import { parse, sign } from "./client/statements.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import {
  NO_HASH, admin, anEnvelope, anId, assertAccepted, assertRefused, chain, commitOf, eventsOf, get, hashOfStatement, loner, member, newTeamCommit,
  now, otherTeam, owner, pending, post, postCommit, refuses, remember, remove, sendTo, setUp, signAny, snippet, spoiltEnvelopes, spoiltRotation,
  spoiltSnippet, stored, stranger, team, tearDown, unchanged, view, world,
} from "./support/refusals.mjs";

before(() => setUp());
after(tearDown);

const POLICY = { max_epoch_age: 7200, joining: "invitation" };
const box = (bytes = 256) => ({ nonce: b64u.encode(randomBytes(12)), ct: b64u.encode(randomBytes(bytes + 16)) });

describe("POST /v1/teams", () => {
  const created = async (change) => {
    const { entries, envelopes } = await newTeamCommit(loner);
    const [first, rotation] = await Promise.all(entries.map((jws) => parse("osmynt-team+jws", jws)));
    return post(loner, "/v1/teams", await change({ first: first.payload, rotation: rotation.payload, entries, envelopes }));
  };
  /** The first entry changed, and the rotation with it, so that the latter continues the former. */
  const beginning = (change) => () =>
    created(async ({ first, rotation, envelopes }) => {
      const jws = await signAny("osmynt-team+jws", loner.device, { ...first, ...change(first) });
      const hash = await hashOfStatement(jws);
      return { entries: [jws, await signAny("osmynt-team+jws", loner.device, { ...rotation, team: hash, prev: hash })], envelopes };
    });
  const event = (change) => beginning(({ event }) => ({ event: { ...event, ...change } }));
  const policy = (change) => beginning(({ event }) => ({ event: { ...event, policy: { ...event.policy, ...change } } }));
  refuses([
    ["a team without a rotation", "rotation-required", () => created(({ entries }) => ({ entries: [entries[0]], envelopes: [] }))],
    ["a rotation alone", "invalid-request", () => created(({ entries, envelopes }) => ({ entries: [entries[1]], envelopes }))],
    ["a team with an id before it has one", "invalid-request", beginning(() => ({ team: NO_HASH }))],
    ["a team that begins later", "invalid-request", beginning(() => ({ seq: 1 }))],
    ["a team that continues something", "invalid-request", beginning(() => ({ prev: NO_HASH }))],
    ["a policy of less than an hour", "invalid-request", policy({ max_epoch_age: 3599 })],
    ["a policy of more than a year", "invalid-request", policy({ max_epoch_age: 31_536_001 })],
    ["a policy without what it takes to join", "invalid-request", policy({ joining: undefined })],
    ["a policy of another way to join", "invalid-request", policy({ joining: "anybody" })],
    ["a policy with an unknown member", "invalid-request", policy({ more: 1 })],
    ["a short nonce", "invalid-request", event({ nonce: "AAAA" })],
    ["an identity", "invalid-request", event({ identity: NO_HASH })],
    ["a team in somebody else's name", "forbidden", beginning(() => ({ user: owner.user }))],
    ["a team in an account's name", "invalid-request", beginning(() => ({ user: loner.account.id }))],
    ["no envelopes", "coverage-mismatch", () => created(({ entries }) => ({ entries, envelopes: [] }))],
    ["no entries", "invalid-request", () => created(() => ({ entries: [], envelopes: [] }))],
    ["the commit of somebody else", "forbidden", async () => ({ ...(await created(({ entries, envelopes }) => ({ entries, envelopes }))), as: owner })],
    ["an event of somebody else's team", "invalid-request", async () => post(owner, "/v1/teams", await commitOf(owner, []))],
  ]);

  it("founds a team once, however often it is asked to", async () => {
    const body = await newTeamCommit(loner);
    const first = await assertAccepted(post(loner, "/v1/teams", body));
    assert.equal(first.status, 201);
    const before = unchanged;
    const again = await assertAccepted(post(loner, "/v1/teams", body));
    assert.deepEqual(await again.json(), await first.json());
    assert.deepEqual(unchanged, before);
    await assertRefused("invalid-request", post(loner, "/v1/teams", { ...body, entries: [body.entries[1], body.entries[0]] }));
  });
});

describe("POST /v1/teams/{team}/commits", () => {
  const byOwner = async (events, entry, envelopes = []) => postCommit(owner, { entries: await chain(owner, (await view(owner)).log, events, entry), envelopes });
  const policy = { type: "policy.changed", policy: POLICY };

  describe("refuses entries that are out of place:", () => {
    refuses([
      ["a later seq", "stale-log", () => byOwner([policy], (entry) => ({ ...entry, seq: entry.seq + 1 }))],
      ["an earlier seq", "stale-log", () => byOwner([policy], (entry) => ({ ...entry, seq: entry.seq - 1 }))],
      ["another prev", "stale-log", () => byOwner([policy], (entry) => ({ ...entry, prev: NO_HASH }))],
      ["no prev", "stale-log", () => byOwner([policy], (entry) => ({ ...entry, prev: null }))],
      ["another team", "invalid-request", () => byOwner([policy], (entry) => ({ ...entry, team: otherTeam }))],
      ["no team", "invalid-request", () => byOwner([policy], (entry) => ({ ...entry, team: null }))],
      ["an author who is somebody else", "forbidden", () => byOwner([policy], (entry) => ({ ...entry, user: admin.user }))],
      ["an author who is no member", "forbidden", () => byOwner([policy], (entry) => ({ ...entry, user: stranger.user }))],
      ["an author who is an account", "invalid-request", () => byOwner([policy], (entry) => ({ ...entry, user: owner.account.id }))],
      ["entries of another member's device", "forbidden", async () => postCommit(member, { entries: await chain(owner, (await view(owner)).log, [policy]), envelopes: [] })],
      ["entries of a device that is in no log", "forbidden", async () => {
        const { log } = await view(member);
        const by = { user: member.user, device: pending.device };
        return postCommit(member, { entries: await chain(by, log, [{ type: "member.left" }]), envelopes: [] });
      }],
      ["entries of two devices", "forbidden", async () => {
        const { log } = await view(owner);
        const [first] = await chain(owner, log, [policy]);
        const head = { seq: log.head.seq + 1, hash: (await parse("osmynt-team+jws", first)).hash };
        const [second] = await chain(admin, { team, head }, [{ type: "member.left" }]);
        return postCommit(owner, { entries: [first, second], envelopes: [] });
      }],
      ["a second beginning", "invalid-request", () => byOwner([{ type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: POLICY }])],
      ["no entries", "invalid-request", () => postCommit(owner, { entries: [], envelopes: [] })],
      ["17 entries", "too-large", () => byOwner(Array(17).fill(policy))],
      ["an unknown event", "invalid-request", () => byOwner([{ type: "team.deleted" }])],
      ["an unknown member of an event", "invalid-request", () => byOwner([{ ...policy, more: 1 }])],
      ["a second entry that is wrong", "conflict", () => byOwner([policy, { type: "role.changed", user: admin.user, role: "admin" }])],
      ["an unknown role", "invalid-request", () => byOwner([{ type: "role.changed", user: admin.user, role: "guest" }])],
      ["a policy of less than an hour", "invalid-request", () => byOwner([{ type: "policy.changed", policy: { ...POLICY, max_epoch_age: 3599 } }])],
      ["a policy of another way to join", "invalid-request", () => byOwner([{ type: "policy.changed", policy: { ...POLICY, joining: "anybody" } }])],
      ["an account in a user's place", "invalid-request", () => byOwner([{ type: "member.removed", user: member.account.id }])],
      ["a profile under an earlier epoch", "stale-log", () => byOwner([{ type: "profile.changed", epoch: 1, profile: box() }])],
      ["a profile of more than its limit", "too-large", async () => byOwner([{ type: "profile.changed", epoch: (await view(owner)).log.epoch.number, profile: box(1025) }])],
      ["envelopes without a rotation", "invalid-request", async () => byOwner([policy], undefined, [await anEnvelope(owner.device.id)])],
      ["a removal without a rotation", "rotation-required", () => byOwner([{ type: "member.removed", user: member.user }])],
      ["a stranger who leaves", "not-found", async () => postCommit(stranger, { entries: await chain(stranger, (await view(owner)).log, [{ type: "member.left" }]), envelopes: [] })],
    ]);

    it("tells a stranger who leaves nothing, not even whether the team exists, whoever signed the entries", async () => {
      const { log } = await view(owner);
      const left = { type: "member.left" };
      const after = async ([first]) => ({ team, head: { seq: log.head.seq + 1, hash: await hashOfStatement(first) } });
      const byTheOwner = await chain(owner, log, [policy]);
      const byTheStranger = await chain(stranger, log, [policy]);
      for (const [what, entries] of [
        ["another's alone", await chain(member, log, [left])],
        ["another's before it", [...byTheOwner, ...(await chain(stranger, await after(byTheOwner), [left]))]],
        ["another's behind one of theirs", [...byTheStranger, ...(await chain(member, await after(byTheStranger), [left]))]],
        ["theirs", await chain(stranger, log, [policy, left])],
      ]) {
        const ask = (id) => assertRefused("not-found", postCommit(stranger, { entries, envelopes: [] }, id));
        assert.deepEqual(await ask(team), await ask(anId()), what);
      }
    });
  });

  describe("refuses rotations:", () => {
    const rotation = (change, options) => async () => postCommit(owner, await spoiltRotation(owner, change, options));
    const envelopes = (change) => async () => postCommit(owner, await spoiltEnvelopes(owner, change));
    const epoch = (difference) => rotation(({ epoch }) => ({ event: { epoch: epoch + difference } }));
    const first = (change) => envelopes(([one, ...rest]) => [{ ...one, ...change(one) }, ...rest]);
    /** Other places of the members' user logs, whose hash is stated rightly where there are such places. */
    const seqs = (change) => rotation(async (event) => {
      const { log, directory } = await view(owner);
      const changed = change(event.seqs);
      const members = [...log.roster.keys()].sort();
      const heads = changed.flatMap((seq, index) => {
        const entry = directory.get(members[index])?.entries[seq];
        return entry === undefined ? [] : [{ user: members[index], seq, hash: entry.hash }];
      });
      return { event: { seqs: changed, heads: await headSetHash(heads) } };
    });
    refuses([
      ["to the current epoch", "stale-log", epoch(-1)],
      ["to the epoch after the next", "stale-log", epoch(1)],
      ["to epoch 0", "stale-log", rotation(() => ({ event: { epoch: 0 } }))],
      ["with a profile of more than its limit", "too-large", rotation(() => ({ event: { profile: box(1025) } }))],
      ["with another device set", "coverage-mismatch", rotation(() => ({ event: { devices: NO_HASH } }))],
      ["with the device set of one member only", "coverage-mismatch", rotation(async () => ({ event: { devices: await deviceSetHash([{ user: owner.user, device: owner.device.id }]) } }))],
      ["with another envelope set", "invalid-request", rotation(() => ({ event: { envelopes: NO_HASH } }))],
      ["with an envelope missing", "coverage-mismatch", envelopes((all) => all.slice(1))],
      ["with no envelope", "coverage-mismatch", envelopes(() => [])],
      ["with an envelope twice", "invalid-request", envelopes((all) => [...all, all[0]])],
      ["with two envelopes for a device", "invalid-request", envelopes(async (all) => [...all, await anEnvelope(all[0].device)])],
      ["with an envelope twice in the place of another", "invalid-request", envelopes((all) => [all[0], all[0], ...all.slice(2)])],
      ["with an envelope for a stranger's device", "coverage-mismatch", envelopes(async (all) => [...all, await anEnvelope(stranger.device.id)])],
      ["with an envelope for a device that is in no log", "coverage-mismatch", envelopes(async (all) => [...all, await anEnvelope(pending.device.id)])],
      ["with a stranger's device in a member's place", "coverage-mismatch", envelopes(async (all) => [...all.slice(1), await anEnvelope(stranger.device.id)])],
      ["with an envelope to a prekey that the device does not have", "coverage-mismatch", envelopes(async ([one, ...rest]) => [await anEnvelope(one.device), ...rest])],
      ["with the place of one user log missing", "coverage-mismatch", seqs((all) => all.slice(1))],
      ["with the place of one user log more", "coverage-mismatch", seqs((all) => [...all, 1])],
      ["with no places of user logs", "coverage-mismatch", seqs(() => [])],
      ["with a place that a user log had before", "coverage-mismatch", seqs(([one, ...rest]) => [one - 1, ...rest])],
      ["with a place that is in no user log", "coverage-mismatch", seqs(([one, ...rest]) => [one + 1, ...rest])],
      ["with a negative place of a user log", "invalid-request", rotation(({ seqs }) => ({ event: { seqs: [-1, ...seqs.slice(1)] } }))],
      ["with other heads", "coverage-mismatch", rotation(() => ({ event: { heads: NO_HASH } }))],
      ["with the head of a stranger", "coverage-mismatch", rotation(async () => ({ event: { heads: await headSetHash([{ user: stranger.user, ...(await stranger.ownLog()).head }]) } }))],
      ["with an envelope of a short key", "invalid-request", first(() => ({ ct: b64u.encode(randomBytes(47)) }))],
      ["with an envelope of a long key", "invalid-request", first(() => ({ ct: b64u.encode(randomBytes(49)) }))],
      ["with an encapsulated key of 64 bytes", "invalid-request", first(() => ({ enc: b64u.encode(randomBytes(64)) }))],
      ["with an envelope of an unknown suite", "invalid-request", first(() => ({ suite: "MLKEM768-P256-HKDF-SHA256-A256GCM" }))],
      ["with an envelope of no suite", "invalid-request", first(() => ({ suite: undefined }))],
      ["with an unknown member in an envelope", "invalid-request", first(() => ({ more: 1 }))],
      ["with an envelope that is not canonical base64url", "invalid-request", first(({ enc }) => ({ enc: `${enc}=` }))],
      ["that are not the last entry", "invalid-request", async () => {
        const { log } = await view(owner);
        const { entries, envelopes } = await commitOf(owner, []);
        return postCommit(owner, { entries: await chain(owner, log, [...(await eventsOf(entries)), policy]), envelopes });
      }],
      ["twice in a commit", "invalid-request", async () => {
        const { log } = await view(owner);
        const { entries, envelopes } = await commitOf(owner, []);
        const [event] = await eventsOf(entries);
        return postCommit(owner, { entries: await chain(owner, log, [event, { ...event, epoch: event.epoch + 1 }]), envelopes });
      }],
      ["of a stranger", "not-found", async () => postCommit(stranger, { entries: await chain(stranger, (await view(owner)).log, await eventsOf((await commitOf(owner, [])).entries)), envelopes: [] })],
    ]);

    it("and names the devices that are missing and those that are not expected", async () => {
      const changed = await spoiltEnvelopes(owner, async (all) => [...all.filter(({ device }) => device !== member.device.id), await anEnvelope(stranger.device.id)]);
      const { detail } = await assertRefused("coverage-mismatch", postCommit(owner, changed));
      assert.match(detail, new RegExp(`missing: ${member.device.id}`));
      assert.match(detail, new RegExp(`not expected: ${stranger.device.id}`));
      for (const { device } of [owner, admin]) assert.ok(!detail.includes(device.id), detail);
    });

    it("for a member whose new device they leave out, or that name places in another order", async () => {
      const [one, two] = [await world.signIn("owner"), await world.signIn("admin")];
      const stale = await view(owner);
      await owner.addDevice(await one.describe());
      await admin.addDevice(await two.describe());
      await remember();
      await assertRefused("coverage-mismatch", postCommit(owner, (await owner.buildCommit(stale, [], "x")).body));
      // The logs of owner and admin are longer now than the member's.
      const reordered = await spoiltRotation(owner, ({ seqs }) => ({ event: { seqs: [...seqs.slice(1), seqs[0]] } }));
      const reversed = await spoiltRotation(owner, ({ seqs }) => ({ event: { seqs: seqs.toReversed() } }));
      const seqsOf = ({ entries }) => eventsOf(entries).then((events) => events.at(-1).seqs.join());
      const right = await seqsOf(await commitOf(owner, []));
      for (const wrong of [reordered, reversed]) {
        // Of three numbers, two of which are equal, one of these may be the right order.
        if ((await seqsOf(wrong)) !== right) await assertRefused("coverage-mismatch", postCommit(owner, wrong));
      }
      // A share meanwhile is refused: the epoch does not have the devices.
      await assertRefused("rotation-required", await spoiltSnippet(owner, () => ({})));
      await assertAccepted(postCommit(owner, await commitOf(owner, [])));
      await owner.revokeDevice(one.device.id);
      await admin.revokeDevice(two.device.id);
      await remember();
      const withRevoked = await spoiltEnvelopes(owner, async (all) => [...all, await anEnvelope(one.device.id)]);
      await assertRefused("coverage-mismatch", postCommit(owner, withRevoked));
      await assertAccepted(postCommit(owner, await commitOf(owner, [])));
      // The revoked device signs for nothing any more.
      const answer = await sendTo(postCommit(one, { entries: await chain(one, (await view(owner)).log, [policy]), envelopes: [] }));
      assert.ok([401, 403].includes(answer.status));
    });

    it("whose envelope is to a prekey that the device has replaced", async () => {
      const before = await commitOf(owner, []);
      await member.renewPrekey();
      await remember();
      const { detail } = await assertRefused("coverage-mismatch", postCommit(owner, before));
      assert.ok(detail.includes(member.device.id), detail);
      await assertAccepted(postCommit(owner, await commitOf(owner, [])));
    });
  });

  it("changes nothing when it is sent again", async () => {
    const request = postCommit(owner, await commitOf(owner, []));
    const first = await (await assertAccepted(request)).json();
    const before = unchanged;
    assert.deepEqual(await (await assertAccepted(request)).json(), first);
    assert.deepEqual(unchanged, before);
  });
});

describe("DELETE /v1/teams/{team}", () => {
  // Who else may not is the business of table.test.mjs.
  refuses([["an admin", "forbidden", () => remove(admin, `/v1/teams/${team}`)]]);

  it("leaves nothing behind, and is not known afterwards", async () => {
    const gone = await makeTeam(owner, "Gone", { member });
    await remember();
    await assertAccepted(remove(owner, `/v1/teams/${gone}`));
    for (const who of [owner, member]) await assertRefused("not-found", get(who, `/v1/teams/${gone}/log`));
    await assertRefused("not-found", remove(owner, `/v1/teams/${gone}`));
    const everything = JSON.stringify(unchanged, (_, value) => (typeof value === "bigint" ? Number(value) : value));
    assert.ok(everything.includes(team) && !everything.includes(gone), "something of the team is stored");
  });
});

// --- who may what ---

const [OK, NO] = ["accepted", "forbidden"];

/** A request for one event by `author` in team `id`, with the rotation that it needs, for whatever the service makes of it. */
async function commitWith(author, id, event) {
  const { log, directory, prekeys } = await author.read(id);
  const draft = log.draft();
  if (event?.type === "member.removed") draft.roster.delete(event.user);
  if (event?.type === "member.confirmed" && directory.has(event.user)) draft.join({ user: event.user, role: "member" }, author.device.id);
  const rotates = event === null || draft.roster.size !== log.roster.size;
  const rotation = rotates ? await author.buildRotation(draft, directory, prekeys, "x") : null;
  const events = [event, rotation?.event].filter((each) => each);
  return postCommit(author, { entries: await chain(author, log, events), envelopes: rotation?.envelopes ?? [] }, id);
}

/**
 * A row is [what, what comes of it for an owner, an admin and a member, event]. What is refused is tried in one team, whatever is accepted in a team
 * of its own; `newTeam` makes them, and the event is made of what it gives.
 */
function matrix(service, people, newTeam, rows) {
  let shared;
  before(async () => {
    shared = await newTeam();
  });
  for (const [what, answers, make] of rows) {
    for (const [index, role] of ["owner", "admin", "member"].entries()) {
      const expected = answers[index];
      it(`${role}: ${what}: ${expected}`, async () => {
        const author = people()[role];
        const inTeam = expected === OK ? await newTeam() : shared;
        const { log } = await author.read(inTeam.id);
        const request = await commitWith(author, inTeam.id, await make({ ...people(), ...inTeam, epoch: log.epoch.number }));
        const before = await stored(service());
        const answer = await sendTo(request, service());
        if (expected === OK) {
          if (!answer.ok) assert.fail(`${answer.status} ${await answer.text()}`);
          return;
        }
        const problem = await readProblem(answer);
        assert.equal(problem.code, expected, problem.detail);
        assert.deepEqual(await stored(service()), before);
      });
    }
  }
}

const removed = ({ user }) => ({ type: "member.removed", user });
const confirmed = ({ user }) => ({ type: "member.confirmed", user });
const changed = ({ user }, role) => ({ type: "role.changed", user, role });
const nobody = () => ({ user: anId() });

describe("the events of a team's log, by role", () => {
  let people, other;
  before(async () => {
    const logins = ["owner", "admin", "member", "other-admin", "other-member"];
    other = await startWorld(logins);
    const clients = await Promise.all(logins.map((login) => other.signIn(login)));
    people = Object.fromEntries(["owner", "admin", "member", "otherAdmin", "otherMember"].map((name, index) => [name, clients[index]]));
  });
  after(() => other?.dispose());

  const newTeam = async () => {
    const { owner, ...others } = people;
    const id = await makeTeam(owner, "Matrix", [["admin", others.admin], ["member", others.member], ["admin", others.otherAdmin], ["member", others.otherMember]]);
    return { id, invitation: (await owner.invite(id)).id };
  };
  const invite = async (role) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role, uses: 1, exp: now() + 60 });

  matrix(() => other.service, () => people, newTeam, [
    ["invite a member", [OK, OK, NO], () => invite("member")],
    ["invite an admin", [OK, OK, NO], () => invite("admin")],
    ["invite an owner", [OK, NO, NO], () => invite("owner")],
    ["invite one person alone", [OK, OK, NO], async () => ({ ...(await invite("member")), ...nobody() })],
    ["revoke an invitation", [OK, OK, NO], ({ invitation }) => ({ type: "invite.revoked", invite: invitation })],
    ["revoke an unknown invitation", ["gone", "gone", NO], () => ({ type: "invite.revoked", invite: NO_HASH })],
    ["remove a plain member", [OK, OK, NO], ({ otherMember }) => removed(otherMember)],
    ["remove an admin", [OK, NO, NO], ({ otherAdmin }) => removed(otherAdmin)],
    ["remove an owner", ["invalid-request", NO, NO], ({ owner }) => removed(owner)],
    ["remove a stranger", ["not-found", "not-found", NO], () => removed(nobody())],
    ["confirm a member", ["not-found", "not-found", NO], ({ otherMember }) => confirmed(otherMember)],
    ["confirm a stranger", ["not-found", "not-found", NO], () => confirmed(nobody())],
    ["leave", ["conflict", OK, OK], () => ({ type: "member.left" })],
    ["make a member an admin", [OK, NO, NO], ({ otherMember }) => changed(otherMember, "admin")],
    ["make a member an owner", [OK, NO, NO], ({ otherMember }) => changed(otherMember, "owner")],
    ["make an admin a member", [OK, NO, NO], ({ otherAdmin }) => changed(otherAdmin, "member")],
    ["make a member a member", ["conflict", NO, NO], ({ otherMember }) => changed(otherMember, "member")],
    ["make the last owner an admin", ["conflict", NO, NO], ({ owner }) => changed(owner, "admin")],
    ["change the role of a stranger", ["not-found", NO, NO], () => changed(nobody(), "admin")],
    ["change the policy", [OK, NO, NO], () => ({ type: "policy.changed", policy: POLICY })],
    ["change the profile", [OK, OK, NO], ({ epoch }) => ({ type: "profile.changed", epoch, profile: box() })],
    ["rotate", [OK, OK, OK], () => null],
  ]);
});

describe("somebody who waits to be confirmed", () => {
  let people, other;
  before(async () => {
    const logins = ["owner", "admin", "member", "waiter", "heir"];
    other = await startWorld(logins);
    const clients = await Promise.all(logins.map((login) => other.signIn(login)));
    people = Object.fromEntries(logins.map((login, index) => [login, clients[index]]));
  });
  after(() => other?.dispose());

  /** A team in which a waiter would become a member and an heir an owner. */
  const newTeam = async () => {
    const { owner, admin, member, waiter, heir } = people;
    const id = await makeTeam(owner, "Waiting", { admin, member });
    await owner.changePolicy(id, { joining: "confirmation" });
    const open = await owner.invite(id, { uses: 100 });
    await waiter.join(open.code);
    await heir.join((await owner.invite(id, { role: "owner" })).code);
    return { id, open };
  };

  matrix(() => other.service, () => people, newTeam, [
    ["confirm", [OK, OK, NO], ({ waiter }) => confirmed(waiter)],
    ["confirm to a role above an admin's", [OK, NO, NO], ({ heir }) => confirmed(heir)],
    ["confirm twice", ["not-found", "not-found", NO], ({ member }) => confirmed(member)],
    ["refuse", [OK, OK, NO], ({ waiter }) => removed(waiter)],
    ["refuse somebody who would be an owner", [OK, OK, NO], ({ heir }) => removed(heir)],
    ["change the role of", ["not-found", NO, NO], ({ waiter }) => changed(waiter, "admin")],
  ]);

  it("needs a rotation to be a member, and none to be refused", async () => {
    const { id } = await newTeam();
    const { owner, waiter } = people;
    const before = await stored(other.service);
    const { log } = await owner.read(id);
    const alone = postCommit(owner, { entries: await chain(owner, log, [confirmed(waiter)]), envelopes: [] }, id);
    assert.equal((await readProblem(await sendTo(alone, other.service))).code, "rotation-required");
    const without = await commitWith(owner, id, null);
    const [rotation] = await eventsOf(JSON.parse(without.body).entries);
    const uncovered = { entries: await chain(owner, log, [confirmed(waiter), rotation]), envelopes: JSON.parse(without.body).envelopes };
    assert.equal((await readProblem(await sendTo(postCommit(owner, uncovered, id), other.service))).code, "coverage-mismatch");
    assert.deepEqual(await stored(other.service), before);
    const refused = { entries: await chain(owner, log, [removed(waiter)]), envelopes: [] };
    assert.equal((await sendTo(postCommit(owner, refused, id), other.service)).status, 200);
  });

  it("does nothing in the team but read its log and directory, and withdraw", async () => {
    const { id, open } = await newTeam();
    const { owner, waiter } = people;
    const before = await stored(other.service);
    const { log } = await waiter.read(id);
    const commits = [{ type: "policy.changed", policy: POLICY }, confirmed(waiter), { type: "profile.changed", epoch: 1, profile: box() }];
    for (const event of commits) {
      const request = postCommit(waiter, { entries: await chain(waiter, log, [event]), envelopes: [] }, id);
      const problem = await readProblem(await sendTo(request, other.service));
      assert.equal(problem.code, "forbidden", `${event.type}: ${problem.detail}`);
    }
    const requests = [
      ...["envelopes", "snippets", `snippets/${snippet}`].map((path) => get(waiter, `/v1/teams/${id}/${path}`)),
      remove(waiter, `/v1/teams/${id}`),
      remove(waiter, `/v1/teams/${id}/snippets/${snippet}`),
    ];
    for (const request of requests) {
      const problem = await readProblem(await sendTo(request, other.service));
      assert.equal(problem.code, "not-found", `${request.method} ${request.path}: ${problem.detail}`);
    }
    const key = await keyPairFromScalar("ECDSA", (await parseCode(open.code)).key);
    const proof = await sign("osmynt-invite+jws", { team: id, invite: key.id, user: waiter.user, iat: now() }, key);
    const again = postCommit(waiter, { entries: await chain(waiter, log, [{ type: "member.joined", invite: key.id, proof }]), envelopes: [] }, id);
    assert.equal((await readProblem(await sendTo(again, other.service))).code, "conflict");
    assert.deepEqual(await stored(other.service), before);
    await waiter.leave(id);
    await assert.rejects(waiter.read(id), { code: "not-found" });
    await waiter.join(open.code);
    await owner.confirm(id, waiter.user);
    await waiter.rotate(id);
  });
});
