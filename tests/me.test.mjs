// The caller's own account: who they are, the log of their devices, and this device's prekey; and that a device which is revoked is out at
// once, whatever tokens it has. (What clients send wrongly is the business of refusals.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, ascending } from "./client/client.mjs";
import { hashOf, utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { parse, sign } from "./client/statements.mjs";
import { startWorld } from "./client/world.mjs";
import { Browser, approve } from "./support/browser.mjs";
import { snapshot } from "./support/dump.mjs";

const now = () => Math.floor(Date.now() / 1000);

let world;
before(async () => {
  world = await startWorld(["ada", "begins", "races", "resends", "revokes", "resets", "pages", "prekeys", "rows", "founds"]);
});
after(() => world?.dispose());

// --- by hand, where the client would be too careful ---

const append = async (client, entries, prekeys) =>
  fetch(`${world.service.url}/v1/me/log`, {
    method: "POST",
    headers: { ...(await client.api.credentials("POST", "/v1/me/log")), "Content-Type": "application/json" },
    body: JSON.stringify({ entries, prekeys }),
  });

/** Entries for these events, each upon the one before, beginning at a head. */
async function chain(client, head, events) {
  const entries = [];
  for (const event of events) {
    const payload = { user: client.user, seq: (head?.seq ?? -1) + 1, prev: head?.hash ?? null, iat: now(), event };
    entries.push(await sign("osmynt-user+jws", payload, client.device));
    head = { seq: payload.seq, hash: await hashOf(utf8(entries.at(-1).split(".").slice(0, 2).join("."))) };
  }
  return entries;
}

/** What it takes to add a new device of the user: its id, the event and its prekey. */
async function newDevice(client) {
  const device = await makeKeyPair("ECDSA");
  const about = { user: client.user, iat: now() };
  const statement = await sign("osmynt-device+jws", { ...about, jwk: device.jwk }, device);
  const prekey = await sign("osmynt-prekey+jws", { ...about, kind: "signed", key: (await makeKeyPair("ECDH")).jwk }, device);
  return { id: device.id, event: { type: "device.added", device: statement }, prekey };
}

const headOf = async (client) => (await client.api.me()).log?.head ?? null;

/** A second device of the same person, signed in and not yet in the log. */
const secondDevice = (login) => world.signIn(login);

/** The rows of D1 about a user's devices, by device. */
async function deviceRows({ user }) {
  const database = await world.service.mf.getD1Database("DB");
  const { results } = await database.prepare("SELECT * FROM devices WHERE user = ?").bind(user).all();
  return Object.fromEntries(results.map(({ device, ...row }) => [device, row]));
}

const problemOf = async (promise) => {
  const problem = await promise.then(() => assert.fail("expected a problem"), (error) => error);
  assert.ok(problem.code, problem);
  return { status: problem.status, code: problem.code };
};
const UNAUTHENTICATED = { status: 401, code: "unauthenticated" };

/** Asserts a problem, and that it left every store as it was. */
async function assertRefused(expected, promise) {
  const before = await snapshot(world.service);
  assert.deepEqual(await problemOf(promise()), expected);
  assert.deepEqual(await snapshot(world.service), before, "something was stored");
}

describe("the user log", () => {
  it("begins with the device that signed in first, which is active from then on", async () => {
    const client = await world.signIn("begins");
    const { log, device } = await client.api.me();
    assert.deepEqual(device, { id: client.device.id, active: true });
    assert.deepEqual(log, { head: { seq: 0, hash: log.identity }, identity: log.identity });
    const { entries, head } = await client.api.myLog(0);
    assert.deepEqual(head, log.head);
    assert.ok(Math.abs(Date.parse(entries[0].received_at) / 1000 - now()) < 60);
    assert.deepEqual((await parse("osmynt-user+jws", entries[0].jws)).payload.event.type, "device.added");
  });

  it("takes one of two appends to the same head", async () => {
    const client = await world.signIn("races");
    const head = await headOf(client);
    const attempts = await Promise.all(Array.from({ length: 5 }, async () => {
      const { event, prekey } = await newDevice(client);
      return { entries: await chain(client, head, [event]), prekeys: [prekey] };
    }));
    const answers = await Promise.all(attempts.map(({ entries, prekeys }) => append(client, entries, prekeys)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409, 409]);
    for (const answer of answers.filter(({ ok }) => !ok)) assert.equal((await answer.json()).code, "stale-log");
    const log = await client.ownLog();
    assert.equal(log.entries.length, 2);
    assert.equal(Object.keys(await deviceRows(client)).length, 2, "a losing append left a device");
  });

  it("takes the same entries again, also later ones with them, and changes nothing", async () => {
    const client = await world.signIn("resends");
    const [one, two] = [await newDevice(client), await newDevice(client)];
    const entries = await chain(client, await headOf(client), [one.event, two.event]);
    const prekeys = [two.prekey, one.prekey];
    const first = await append(client, entries, prekeys);
    assert.equal(first.status, 200);
    const answer = await first.json();
    const before = await snapshot(world.service);
    for (const again of [entries, entries.slice(0, 1), entries.slice(1)]) {
      const second = await append(client, again, prekeys);
      assert.deepEqual([second.status, await second.json()], [200, answer]);
    }
    assert.deepEqual(await snapshot(world.service), before);
    const three = await newDevice(client);
    const mixed = [...entries.slice(1), ...(await chain(client, answer.head, [three.event]))];
    assert.equal((await append(client, mixed, [three.prekey])).status, 409, "half old, half new");
    assert.deepEqual(await snapshot(world.service), before);
  });

  it("takes 16 entries at once and shows 100 on a page", async () => {
    const client = await world.signIn("pages");
    for (let round = 0; round < 7; round += 1) {
      const devices = await Promise.all(Array.from({ length: 8 }, () => newDevice(client)));
      const events = devices.flatMap(({ id, event }) => [event, { type: "device.revoked", device: id }]);
      const answer = await append(client, await chain(client, await headOf(client), events), devices.map(({ prekey }) => prekey));
      assert.equal(answer.status, 200, await answer.text());
    }
    const pages = await Promise.all([0, 100, 112, 113, 1000].map((from) => client.api.myLog(from)));
    assert.deepEqual(pages.map(({ entries }) => entries.length), [100, 13, 1, 0, 0]);
    for (const { head } of pages) assert.equal(head.seq, 112);
    assert.deepEqual(pages[1].entries.at(-1), pages[2].entries[0]);
    // All of it, verified by the independent client.
    assert.equal((await client.ownLog()).entries.length, 113);
  });

  it("says in D1 what it says itself", async () => {
    const client = await world.signIn("rows");
    const [kept, gone, brief] = await Promise.all([newDevice(client), newDevice(client), newDevice(client)]);
    const head = await headOf(client);
    const entries = await chain(client, head, [kept.event, gone.event, { type: "device.revoked", device: gone.id }, brief.event, { type: "device.revoked", device: brief.id }]);
    assert.equal((await append(client, entries, [kept, gone, brief].map(({ prekey }) => prekey))).status, 200);
    const rows = await deviceRows(client);
    const spans = Object.fromEntries(Object.entries(rows).map(([id, { added_seq, revoked_seq }]) => [id, [added_seq, revoked_seq]]));
    assert.deepEqual(spans, { [client.device.id]: [0, null], [kept.id]: [1, null], [gone.id]: [2, 3], [brief.id]: [4, 5] });
    assert.equal(rows[kept.id].prekey, kept.prekey);
    assert.ok(rows[client.device.id].prekey, "a device that nothing happened to lost its prekey");
    assert.deepEqual([rows[gone.id].prekey, rows[brief.id].prekey], [null, null], "somebody could still seal to a revoked device");
  });
});

describe("a device", () => {
  it("is let in by an active device of the user, and by nobody else", async () => {
    const first = await world.signIn("ada");
    const second = await secondDevice("ada");
    assert.deepEqual((await second.api.me()).device, { id: second.device.id, active: false });
    await assertRefused({ status: 403, code: "forbidden" }, () => second.api.teams());
    await assertRefused({ status: 403, code: "forbidden" }, () => second.renewPrekey());
    await first.addDevice(await second.describe());
    assert.deepEqual((await second.api.me()).device, { id: second.device.id, active: true });
    assert.deepEqual(await second.api.teams(), { teams: [] });
    await second.renewPrekey();
  });

  it("is out at once when it is revoked: its tokens, its refresh, and any later sign-in", async () => {
    const first = await world.signIn("revokes");
    const second = await secondDevice("revokes");
    await first.addDevice(await second.describe());
    await first.revokeDevice(second.device.id);
    await assertRefused(UNAUTHENTICATED, () => second.api.me());
    await assertRefused(UNAUTHENTICATED, () => second.api.teams());
    await assertRefused(UNAUTHENTICATED, () => second.ownLog());
    await assertRefused(UNAUTHENTICATED, () => second.refresh());

    const again = new Client(second.api, second.now, second.device);
    second.api.accessToken = null;
    let page;
    await assert.rejects(
      again.obtainTokens("the same device", async ({ verification_uri_complete }) => {
        page = await approve(verification_uri_complete, "revokes", { browser: new Browser() });
      }),
      { code: "access_denied" },
    );
    assert.equal(page.status, 403);
    assert.match(page.text, /revoked/);
    assert.deepEqual((await first.api.me()).device, { id: first.device.id, active: true });
  });

  it("takes the account over by identity.reset, and every earlier device is out", async () => {
    const first = await world.signIn("resets");
    const before = (await first.api.me()).log.identity;
    const second = await secondDevice("resets");
    await second.resetIdentity();
    const { log, device } = await second.api.me();
    assert.deepEqual(device, { id: second.device.id, active: true });
    assert.equal(log.identity, log.head.hash);
    assert.notEqual(log.identity, before);
    await assertRefused(UNAUTHENTICATED, () => first.api.me());
    await assertRefused(UNAUTHENTICATED, () => first.refresh());
  });

  it("replaces its prekey with one that is as new or newer", async () => {
    const client = await world.signIn("prekeys");
    const of = async (iat) => sign("osmynt-prekey+jws", { user: client.user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat }, client.device);
    const current = async () => (await deviceRows(client))[client.device.id].prekey;
    const newer = await of(now() + 20);
    await client.api.replacePrekey(newer);
    assert.equal(await current(), newer);
    // The same again, as after a lost answer.
    await client.api.replacePrekey(newer);
    const older = await of(now() + 10);
    await assertRefused({ status: 409, code: "conflict" }, () => client.api.replacePrekey(older));
    assert.equal(await current(), newer);
  });
});

describe("the caller's teams", () => {
  it("are listed ascending by the bytes of their ids, which is not the order of their text", async () => {
    const client = await world.signIn("founds");
    const founded = [];
    // The two orders differ as soon as one id begins with a digit or a sign and another with a letter: of twelve, in 11 runs of 12.
    for (let number = 0; number < 12; number += 1) founded.push(await client.createTeam(`Team ${number}`));
    const { teams } = await client.api.teams();
    assert.deepEqual(teams, ascending(founded).map((team) => ({ team, role: "owner", epoch: 1 })));
  });
});
