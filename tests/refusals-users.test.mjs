// Wrong inputs about the caller's own user: the user log and its names, founding and starting over, prekeys, erasures and deletion.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { b64u, randomBytes } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { DEVICES_PER_USER, USER_LOG_ENTRIES, USER_LOG_RESERVED } from "./client/limits.mjs";
import { sign } from "./client/statements.mjs";
import { nameCommitment, newOpening, UserLog } from "./client/userlog.mjs";
import { beforeFounding } from "./support/handshake.mjs";
import {
  NO_HASH, anId, assertAccepted, assertRefused, hashOfStatement, loner, member, now, owner, pending, post, postLog, put, refuses, remember, remove, sendSlowly,
  setUp, signAny, stranger, tearDown, unchanged, world,
} from "./support/refusals.mjs";

/** Somebody whose account has no user yet. */
let newcomer;
before(async () => {
  await setUp(["newcomer", "fills", "collects", "begins-anew", "leaves"]);
  newcomer = await beforeFounding(() => world.signIn("newcomer"));
  await remember();
});
after(tearDown);

// --- what a log is made of ---

const describeDevice = (pair, { user = loner.user, by = pair, iat = now() } = {}) => sign("osmynt-device+jws", { user, jwk: pair.jwk, iat }, by);
const added = async (pair, options) => ({ type: "device.added", device: await describeDevice(pair, options) });
const revoked = (device) => ({ type: "device.revoked", device });
const prekeyOf = async (pair, { user = loner.user, iat = now() } = {}) =>
  sign("osmynt-prekey+jws", { user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat }, pair);
const named = async (name, user = loner.user) => ({ type: "name.signed", commitment: await nameCommitment(user, name) });

/** The request that appends one event to the log of `client`, without any check. `entry` is what is to differ in the entry. */
const append = async (event, { prekeys = [], names = [], entry = {}, signer = loner.device, client = loner, ...more } = {}) => {
  const log = await client.ownLog();
  const payload = { user: client.user, seq: log.entries.length, prev: log.head?.hash ?? null, iat: now(), event, ...entry };
  return postLog(client, { entries: [await signAny("osmynt-user+jws", signer, payload)], prekeys, names, ...more });
};

describe("POST /v1/me/log", () => {
  const withDevice = async (change) => {
    const pair = await makeKeyPair("ECDSA");
    const { event = await added(pair), prekeys = [await prekeyOf(pair)], ...options } = await change(pair);
    return append(event, { prekeys, ...options });
  };

  refuses([
    ["a wrong seq", "stale-log", () => withDevice(async () => ({ entry: { seq: 77 } }))],
    ["a wrong prev", "stale-log", () => withDevice(async () => ({ entry: { prev: NO_HASH } }))],
    ["no prev", "stale-log", () => withDevice(async () => ({ entry: { prev: null } }))],
    ["a second beginning", "stale-log", () => withDevice(async () => ({ entry: { seq: 0, prev: null } }))],
    ["the log of somebody else", "invalid-request", () => withDevice(async () => ({ entry: { user: owner.user } }))],
    ["the log of nobody", "invalid-request", () => withDevice(async () => ({ entry: { user: anId() } }))],
    ["a user who is an account", "invalid-request", () => withDevice(async () => ({ entry: { user: loner.account.id } }))],
    ["an entry of another device", "forbidden", () => withDevice(async (pair) => ({ signer: pair }))],
    ["an entry of somebody else's device", "forbidden", () => withDevice(async () => ({ signer: owner.device }))],
    ["a device of somebody else", "invalid-request", () => withDevice(async (pair) => ({ event: await added(pair, { user: owner.user }) }))],
    ["a device of nobody", "invalid-request", () => withDevice(async (pair) => ({ event: await added(pair, { user: null }) }))],
    ["a device that another key signed for", "bad-signature", () => withDevice(async (pair) => ({ event: await added(pair, { by: loner.device }) }))],
    ["a device whose statement is old", "clock-skew", () => withDevice(async (pair) => ({ event: await added(pair, { iat: now() - 400 }) }))],
    ["a device that is in the log", "conflict", () => withDevice(async () => ({ event: await added(loner.device), prekeys: [await prekeyOf(loner.device)] }))],
    ["a device that is in another user's log", "conflict", () => withDevice(async () => ({ event: await added(owner.device), prekeys: [await prekeyOf(owner.device)] }))],
    ["no prekey for a new device", "invalid-request", () => withDevice(async () => ({ prekeys: [] }))],
    ["two prekeys for a new device", "invalid-request", () => withDevice(async (pair) => ({ prekeys: [await prekeyOf(pair), await prekeyOf(pair)] }))],
    ["the prekey of another device", "invalid-request", () => withDevice(async () => ({ prekeys: [await prekeyOf(await makeKeyPair("ECDSA"))] }))],
    ["a prekey for another user", "invalid-request", () => withDevice(async (pair) => ({ prekeys: [await prekeyOf(pair, { user: owner.user })] }))],
    ["an old prekey", "clock-skew", () => withDevice(async (pair) => ({ prekeys: [await prekeyOf(pair, { iat: now() - 400 })] }))],
    ["a prekey without a new device", "invalid-request", async () => postLog(loner, { prekeys: [await prekeyOf(loner.device)] })],
    ["a prekey beside an entry that adds no device", "invalid-request", async () => {
      const name = newOpening(loner.account);
      return append(await named(name), { names: [name], prekeys: [await prekeyOf(loner.device)] });
    }],
    ["no entries", "invalid-request", () => postLog(loner, {})],
    ["17 entries", "too-large", () => postLog(loner, { entries: Array(17).fill("a.b.c") })],
    ["17 prekeys", "too-large", () => postLog(loner, { entries: ["a.b.c"], prekeys: Array(17).fill("a.b.c") })],
    ["no word on starting over", "invalid-request", async () => post(loner, "/v1/me/log", { entries: ["a.b.c"], prekeys: [], names: [] })],
    ["no names", "invalid-request", async () => post(loner, "/v1/me/log", { entries: ["a.b.c"], prekeys: [], start_over: false })],
    ["a number for starting over", "invalid-request", async () => postLog(loner, { entries: ["a.b.c"], start_over: 1 })],
    ["the revocation of an unknown device", "forbidden", () => append(revoked(NO_HASH))],
    ["the revocation of somebody else's device", "forbidden", () => append(revoked(owner.device.id))],
    ["the revocation of the last device", "conflict", () => append(revoked(owner.device.id), { client: owner, signer: owner.device })],
    ["the revocation of no id", "invalid-request", () => append(revoked("x"))],
    ["an addition by a device that is in no log", "forbidden", async () => {
      const pair = await makeKeyPair("ECDSA");
      const log = await member.ownLog();
      const entry = { user: member.user, seq: log.entries.length, prev: log.head.hash };
      return append(await added(pair, { user: member.user }), { entry, client: beside(pending), signer: pending.device, prekeys: [await prekeyOf(pair, { user: member.user })] });
    }],
    ["a device that adds itself to somebody's log", "forbidden", async () => {
      const log = await member.ownLog();
      const entry = { user: member.user, seq: log.entries.length, prev: log.head.hash };
      const event = await added(pending.device, { user: member.user });
      return append(event, { entry, client: beside(pending), signer: pending.device, prekeys: [await prekeyOf(pending.device, { user: member.user })] });
    }],
    ["an unknown event", "invalid-request", () => append({ type: "device.renamed" })],
    ["an unknown member of an event", "invalid-request", () => append({ ...revoked(NO_HASH), more: 1 })],
  ]);
  /** A device whose own log is empty. */
  const beside = (client) => ({ api: client.api, user: client.user, ownLog: async () => new UserLog() });

  it("takes all of a request or none", async () => {
    const [pair, log] = [await makeKeyPair("ECDSA"), await loner.ownLog()];
    const first = { user: loner.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event: await added(pair) };
    const jws = await sign("osmynt-user+jws", first, loner.device);
    const second = await sign("osmynt-user+jws", { ...first, seq: first.seq + 1, prev: NO_HASH, event: revoked(pair.id) }, loner.device);
    const prekeys = [await prekeyOf(pair)];
    await assertRefused("stale-log", postLog(loner, { entries: [jws, second], prekeys }));
    const answer = await (await assertAccepted(postLog(loner, { entries: [jws], prekeys }))).json();
    assert.deepEqual(answer, { user: loner.user, head: { seq: first.seq, hash: await hashOfStatement(jws) } });
    const before = unchanged;
    // Again, also with another prekey: the first counts.
    for (const again of [prekeys, [await prekeyOf(pair)]]) {
      assert.deepEqual(await (await assertAccepted(postLog(loner, { entries: [jws], prekeys: again }))).json(), answer);
    }
    assert.deepEqual(unchanged, before, "sending it again changed something");
  });

  it("receives what it takes when the body has arrived, however slow that is", async () => {
    const name = newOpening(loner.account);
    const started = now();
    const answer = await sendSlowly(await append(await named(name), { names: [name] }), 3000);
    assert.equal(answer.status, 200, await answer.text());
    await remember();
    const { received_at } = (await loner.api.myLog(0)).entries.at(-1);
    assert.ok(received_at >= started + 2, `${received_at - started} seconds after the request began`);
  });

  it("takes a device that another user's log has not even from its own person", async () => {
    const other = await world.signIn("loner");
    await other.startOver();
    await remember();
    const device = { event: await added(other.device), prekeys: [await prekeyOf(other.device)] };
    const problem = await assertRefused("conflict", await withDevice(async () => device));
    assert.ok(problem.detail.includes(other.device.id), problem.detail);
  });
});

describe("a log that is full", () => {
  /** Appends as many names as there are to be, 16 at once. */
  const fillTo = async (client, length) => {
    for (;;) {
      const log = await client.ownLog();
      const count = Math.min(16, length - log.entries.length);
      if (count === 0) return;
      const names = Array.from({ length: count }, () => newOpening(client.account));
      const entries = [];
      for (const name of names) entries.push(await client.appendTo(log, await named(name, client.user)));
      await client.api.appendToMyLog(entries, [], names);
    }
  };

  it(`takes revocations and nothing else for its last ${USER_LOG_RESERVED} entries`, async () => {
    const [desk, phone] = [await world.signIn("fills"), await world.signIn("fills")];
    await desk.addDevice(await phone.describe());
    await fillTo(desk, USER_LOG_ENTRIES - USER_LOG_RESERVED);
    await remember();
    const of = { client: desk, signer: desk.device };
    const name = newOpening(desk.account);
    await assertRefused("too-large", await append(await named(name, desk.user), { ...of, names: [name] }));
    const pair = await makeKeyPair("ECDSA");
    await assertRefused("too-large", await append(await added(pair, { user: desk.user }), { ...of, prekeys: [await prekeyOf(pair, { user: desk.user })] }));
    await assertAccepted(await append(revoked(phone.device.id), of));
  });

  it(`of ${DEVICES_PER_USER} active devices takes another one only after a revocation`, async () => {
    const desk = await world.signIn("collects");
    const of = { client: desk, signer: desk.device };
    const add = async () => {
      const pair = await makeKeyPair("ECDSA");
      return append(await added(pair, { user: desk.user }), { ...of, prekeys: [await prekeyOf(pair, { user: desk.user })] });
    };
    for (let count = 1; count < DEVICES_PER_USER; count += 1) await assertAccepted(await add());
    await assertRefused("too-large", await add());
    const [other] = (await desk.ownLog()).active().filter(({ id }) => id !== desk.device.id);
    await assertAccepted(await append(revoked(other.id), of));
    await assertAccepted(await add());
  });
});

// --- founding ---

describe("founding a user", () => {
  /** The request with which a device that is in no log founds one. */
  const found = async (client, { entry = {}, event, more = [], prekeys, signer = client.device, ...rest } = {}) => {
    const first = { user: null, seq: 0, prev: null, iat: now(), event: event ?? (await added(client.device, { user: null })), ...entry };
    const jws = await signAny("osmynt-user+jws", signer, first);
    const user = await hashOfStatement(jws);
    const entries = [jws];
    let prev = user;
    for (const next of more) {
      entries.push(await signAny("osmynt-user+jws", signer, { user, seq: entries.length, prev, iat: now(), event: await next(user) }));
      prev = await hashOfStatement(entries.at(-1));
    }
    return postLog(client, { entries, prekeys: (await prekeys?.(user)) ?? [await prekeyOf(client.device, { user })], ...rest });
  };
  /** Adds a device that signs for whichever user it is given. */
  const adding = (pair) => async (user) => added(pair, { user });

  refuses([
    ["a beginning that names a user", "forbidden", () => found(newcomer, { entry: { user: anId() } })],
    ["a beginning with another seq", "stale-log", () => found(newcomer, { entry: { seq: 1 } })],
    ["a beginning with something before it", "stale-log", () => found(newcomer, { entry: { prev: NO_HASH } })],
    ["a beginning with a name", "invalid-request", async () => {
      const name = newOpening(newcomer.account);
      return found(newcomer, { event: await named(name, anId()), prekeys: async () => [], names: [name] });
    }],
    ["a beginning with a revocation", "invalid-request", () => found(newcomer, { event: revoked(newcomer.device.id), prekeys: async () => [] })],
    ["a beginning whose device names a user", "invalid-request", async () => found(newcomer, { event: await added(newcomer.device, { user: anId() }) })],
    ["a beginning with another device than signs", "forbidden", async () => found(newcomer, { event: await added(await makeKeyPair("ECDSA"), { user: null }) })],
    ["a beginning that another device signs", "forbidden", async () => {
      const pair = await makeKeyPair("ECDSA");
      return found(newcomer, { event: await added(pair, { user: null }), signer: pair });
    }],
    ["no prekey for the first device", "invalid-request", () => found(newcomer, { prekeys: async () => [] })],
    ["a prekey for another user", "invalid-request", () => found(newcomer, { prekeys: async () => [await prekeyOf(newcomer.device, { user: anId() })] })],
    ["two beginnings at once", "invalid-request", async () => {
      const [one, two] = [await found(newcomer), await found(newcomer)].map(({ body }) => JSON.parse(body));
      return postLog(newcomer, { entries: [...one.entries, ...two.entries], prekeys: [...one.prekeys, ...two.prekeys] });
    }],
    ["the device of another user beside the first", "conflict", () =>
      found(newcomer, { more: [adding(loner.device)], prekeys: (user) => Promise.all([newcomer.device, loner.device].map((pair) => prekeyOf(pair, { user }))) })],
    ["a second user of the account, without a word on starting over", "conflict", () => found(pending)],
    ["a second user of a device", "conflict", () => found(loner)],
    ["a second user of a device, also when it starts over", "conflict", () => found(loner, { start_over: true })],
  ]);

  it("takes one user of an account at a time, unless it starts over", async () => {
    const beginning = await found(newcomer, { start_over: true });
    await assertAccepted(beginning);
    const before = unchanged;
    await assertAccepted(beginning);
    assert.deepEqual(unchanged, before, "sending it again changed something");
    const again = await world.signIn("newcomer");
    await remember();
    await assertRefused("conflict", await found(again));
    await assertAccepted(await found(again, { start_over: true }));
  });
});

// --- names ---

describe("a name", () => {
  /** The request that signs a name of `loner`: `opening` is what it opens to, `sent` what is sent for it. */
  const sign = async (change = {}, { sent = (opening) => [opening], user } = {}) => {
    const opening = { ...newOpening(loner.account), ...change };
    return append(await named(opening, user), { names: sent(opening) });
  };

  refuses([
    ["without what it opens to", "invalid-request", () => sign({}, { sent: () => [] })],
    ["with what it opens to twice", "invalid-request", () => sign({}, { sent: (opening) => [opening, opening] })],
    ["that opens to something else", "invalid-request", () => sign({}, { sent: (opening) => [{ ...opening, salt: b64u.encode(randomBytes(32)) }] })],
    ["of another user", "invalid-request", () => sign({}, { user: owner.user })],
    ["with the login of somebody else", "forbidden", () => sign({ login: "owner" })],
    ["with the login in another case", "forbidden", () => sign({ login: "Loner" })],
    ["with the number of somebody else", "forbidden", () => sign({ id: owner.account.github_id })],
    ["with a login that looks like another", "invalid-request", () => sign({ login: "loner\u00ad" })],
    ["with a login of 40 characters", "invalid-request", () => sign({ login: "l".repeat(40) })],
    ["of another provider", "invalid-request", () => sign({ provider: "gitlab" })],
    ["with a salt of 31 bytes", "invalid-request", () => sign({ salt: b64u.encode(randomBytes(31)) })],
    ["with an unknown member", "invalid-request", () => sign({}, { sent: (opening) => [{ ...opening, more: 1 }] })],
    ["without a salt", "invalid-request", () => sign({}, { sent: ({ salt, ...rest }) => [rest] })],
    ["beside an entry that signs none", "invalid-request", async () => {
      const pair = await makeKeyPair("ECDSA");
      return append(await added(pair), { prekeys: [await prekeyOf(pair)], names: [newOpening(loner.account)] });
    }],
  ]);

  it("of two in one request opens in their order, and the last counts", async () => {
    const log = await loner.ownLog();
    const [first, last] = [newOpening(loner.account), newOpening(loner.account)];
    const entries = [];
    for (const name of [first, last]) entries.push(await loner.appendTo(log, await named(name)));
    await assertRefused("invalid-request", postLog(loner, { entries, names: [last, first] }));
    await assertAccepted(postLog(loner, { entries, names: [first, last] }));
    assert.deepEqual((await loner.api.myLog(0)).name, last);
  });
});

describe("PUT /v1/me/prekey", () => {
  const prekey = async (client, { signer = client.device, user = client.user, iat = now(), kind = "signed" } = {}) => {
    const payload = { user, kind, key: (await makeKeyPair("ECDH")).jwk, iat };
    return put(client, "/v1/me/prekey", { prekey: await signAny("osmynt-prekey+jws", signer, payload) });
  };
  refuses([
    ["the prekey of another device", "forbidden", async () => prekey(loner, { signer: owner.device })],
    ["a prekey for another user", "invalid-request", () => prekey(loner, { user: owner.user })],
    ["a prekey for nobody", "invalid-request", () => prekey(loner, { user: null })],
    ["a prekey of another kind", "invalid-request", () => prekey(loner, { kind: "one-time" })],
    ["a prekey older than the present one", "conflict", () => prekey(loner, { iat: now() - 200 })],
  ]);
});

// --- erasing and deleting ---

describe("the erasure of a former user", () => {
  /** The users of one account, in the order in which they were founded. */
  let first, second, present;
  before(async () => {
    first = await world.signIn("begins-anew");
    second = await world.signIn("begins-anew");
    await second.startOver();
    present = await world.signIn("begins-anew");
    await present.startOver();
    await remember();
  });
  const ask = (client, user) => post(client, "/v1/me/erasures", { user });
  const withdraw = (client, user) => remove(client, `/v1/me/erasures/${user}`);

  refuses([
    ["for somebody else", "not-found", () => ask(present, owner.user)],
    ["for nobody", "not-found", () => ask(present, anId())],
    ["for the present user", "not-found", () => ask(present, present.user)],
    ["for an account", "invalid-request", () => ask(present, present.account.id)],
    ["by a former user, for an earlier one", "forbidden", () => ask(second, first.user)],
    ["by a former user, for itself", "forbidden", () => ask(second, second.user)],
    ["by a former user, for the present one", "forbidden", () => ask(second, present.user)],
    ["by a stranger", "not-found", () => ask(stranger, first.user)],
    ["by a device that is in no log", "forbidden", () => ask(pending, first.user)],
    ["to be withdrawn by a stranger", "not-found", () => withdraw(stranger, first.user)],
    ["to be withdrawn for nobody", "not-found", () => withdraw(present, anId())],
    ["to be withdrawn for what is no id", "not-found", () => withdraw(present, "x")],
  ]);

  it("is asked for once, told to every user of the account, and withdrawn by whom it concerns", async () => {
    const answer = await (await assertAccepted(ask(present, first.user))).json();
    const before = unchanged;
    assert.deepEqual(await (await assertAccepted(ask(present, first.user))).json(), answer);
    assert.deepEqual(unchanged, before, "asking again changed something");
    for (const each of [first, second, present]) assert.deepEqual((await each.api.me()).erasures, [answer]);
    // Neither the user nor the one who asked.
    await assertRefused("forbidden", withdraw(second, first.user));
    await assertRefused("not-found", withdraw(stranger, first.user));
    for (const by of [first, present]) {
      await assertAccepted(withdraw(by, first.user));
      const withdrawn = unchanged;
      await assertAccepted(withdraw(by, first.user));
      assert.deepEqual(unchanged, withdrawn, "withdrawing again changed something");
      await assertAccepted(ask(present, first.user));
    }
  });

  it("is withdrawn by a device whose session was ended, as only that of the person at GitHub could be opened again", async () => {
    await assertAccepted(ask(present, first.user));
    await first.api.endSession();
    await remember();
    await assertRefused("unauthenticated", { as: first, path: "/v1/me" });
    await assertAccepted(withdraw(first, first.user));
    assert.deepEqual((await present.api.me()).erasures, []);
  });

  it("cannot be withdrawn once it is due", async () => {
    await assertAccepted(ask(present, first.user));
    const database = await world.service.mf.getD1Database("DB");
    await database.prepare("UPDATE erasures SET due_at = ? WHERE user = ?").bind(now(), first.user).run();
    await remember();
    for (const by of [first, present]) await assertRefused("gone", withdraw(by, first.user));
  });
});

describe("DELETE /v1/me", () => {
  const itself = (client) => remove(client, "/v1/me");
  refuses([
    ["by a device that is in no log of an account that has a user", "forbidden", () => itself(pending)],
    ["of somebody who is in a team with others", "conflict", () => itself(member)],
    ["of the owner of a team with others", "conflict", () => itself(owner)],
  ]);

  it("refuses whoever waits to be confirmed, until they withdraw", async () => {
    const team = await loner.createTeam("Waiting", { max_epoch_age: 3600, joining: "confirmation" });
    await stranger.join((await loner.invite(team)).code);
    await remember();
    await assertRefused("conflict", itself(stranger));
    await stranger.leave(team);
    await assertAccepted(itself(stranger));
  });

  it("takes an account that has no user yet, from a device that is in no log", async () => {
    const client = await beforeFounding(() => world.signIn("leaves"));
    await assertAccepted(itself(client));
    await assert.rejects(client.api.me(), { code: "unauthenticated" });
  });
});
