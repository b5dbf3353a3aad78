// The caller's own account: who they are, the log of their devices, and this device's prekey; and that a device which is revoked is out at
// once, whatever tokens it has. (What clients send wrongly is the business of refusals.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, ascending } from "./client/client.mjs";
import { hashOf, utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { ERASURE_SECONDS, STATEMENT_LIMITS } from "./client/limits.mjs";
import { parse, sign, signText } from "./client/statements.mjs";
import { newOpening, nameCommitment, UserLog } from "./client/userlog.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { Browser, approve } from "./support/browser.mjs";
import { snapshot } from "./support/dump.mjs";

const now = () => Math.floor(Date.now() / 1000);

let world;
before(async () => {
  world = await startWorld([
    "ada", "begins", "races", "resends", "revokes", "restarts", "pages", "prekeys", "rows", "founds", "names", "renamed", "two-logs", "other", "full",
    "padded", "erases", "objects", "rejoins", "two-devices", "friend", "friend-2", "friend-3", "friend-4", "signed-out",
  ]);
});
after(() => world?.dispose());

// --- by hand, where the client would be too careful ---

const append = async (client, entries, prekeys, names = [], start_over = false) =>
  fetch(`${world.service.url}/v1/me/log`, {
    method: "POST",
    headers: { ...(await client.api.credentials("POST", "/v1/me/log")), "Content-Type": "application/json" },
    body: JSON.stringify({ entries, prekeys, names, start_over }),
  });
const codeOf = async (answer) => (answer.ok ? answer.status : (await answer.json()).code);

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

/** A log that `device` founds, not sent: its entries, prekey and name, and the user that it would be. */
async function foundation(client, device = client.device, { github_id, login } = client.account) {
  const log = new UserLog();
  const next = async (event) => {
    const payload = { user: log.user, seq: log.entries.length, prev: log.head?.hash ?? null, iat: now(), event };
    const jws = await sign("osmynt-user+jws", payload, device);
    await log.append(jws, now());
    return jws;
  };
  const statement = await sign("osmynt-device+jws", { user: null, jwk: device.jwk, iat: now() }, device);
  const entries = [await next({ type: "device.added", device: statement })];
  const name = newOpening({ github_id, login });
  entries.push(await next({ type: "name.signed", commitment: await nameCommitment(log.user, name) }));
  const prekey = await sign("osmynt-prekey+jws", { user: log.user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat: now() }, device);
  return { user: log.user, head: log.head, entries, prekey, name };
}

/** What it takes to add a new device of the user: its id, the event and its prekey. */
async function newDevice(client) {
  const device = await makeKeyPair("ECDSA");
  const about = { user: client.user, iat: now() };
  const statement = await sign("osmynt-device+jws", { ...about, jwk: device.jwk }, device);
  const prekey = await sign("osmynt-prekey+jws", { ...about, kind: "signed", key: (await makeKeyPair("ECDH")).jwk }, device);
  return { id: device.id, event: { type: "device.added", device: statement }, prekey };
}

const headOf = async (client) => (await client.api.me()).head;

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

/** As [`assertRefused`], for what is sent by hand. */
async function assertRefusedWith(code, send) {
  const before = await snapshot(world.service);
  assert.equal(await codeOf(await send()), code);
  assert.deepEqual(await snapshot(world.service), before, "something was stored");
}

/** Asserts a problem, and that it left every store as it was. */
async function assertRefused(expected, promise) {
  const before = await snapshot(world.service);
  assert.deepEqual(await problemOf(promise()), expected);
  assert.deepEqual(await snapshot(world.service), before, "something was stored");
}

describe("the user log", () => {
  it("begins with the device that signed in first, which is active from then on, and its name", async () => {
    const client = await world.signIn("begins");
    const { head, device } = await client.api.me();
    assert.deepEqual(device, { id: client.device.id, user: client.user, active: true });
    assert.equal(head.seq, 1);
    const { entries, head: same, name, prekeys } = await client.api.myLog(0);
    assert.deepEqual(same, head);
    for (const { received_at } of entries) assert.ok(Math.abs(received_at - now()) < 60);
    const payloads = await Promise.all(entries.map(async ({ jws }) => (await parse("osmynt-user+jws", jws)).payload));
    assert.deepEqual(payloads.map(({ event }) => event.type), ["device.added", "name.signed"]);
    assert.equal((await parse("osmynt-user+jws", entries[0].jws)).hash, client.user);
    assert.deepEqual([name.provider, name.id, name.login], ["github", client.account.github_id, "begins"]);
    assert.equal(payloads[1].event.commitment, await nameCommitment(client.user, name));
    assert.equal(prekeys.length, 1);
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
    assert.equal(log.entries.length, 3);
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
    const pages = await Promise.all([0, 100, 113, 114, 1000].map((from) => client.api.myLog(from)));
    assert.deepEqual(pages.map(({ entries }) => entries.length), [100, 14, 1, 0, 0]);
    for (const { head } of pages) assert.equal(head.seq, 113);
    assert.deepEqual(pages[1].entries.at(-1), pages[2].entries[0]);
    // All of it, verified by the independent client.
    assert.equal((await client.ownLog()).entries.length, 114);
  });

  it("takes no entry that is padded beyond what its kind may have", async () => {
    const client = await world.signIn("padded");
    const header = JSON.stringify({ alg: "ES256", typ: "osmynt-user+jws", kid: client.device.id });
    const { seq, hash } = await headOf(client);
    const name = newOpening(client.account);
    const event = { type: "name.signed", commitment: await nameCommitment(client.user, name) };
    const payload = JSON.stringify({ user: client.user, seq: seq + 1, prev: hash, iat: now(), event });
    const padded = async (bytes) => {
      const jws = (length) => signText(header, payload + " ".repeat(length), client.device.privateKey);
      const spare = Math.floor(((bytes - (await jws(0)).length) * 3) / 4);
      return jws(spare);
    };
    const limit = STATEMENT_LIMITS["osmynt-user+jws"];
    const [fits, long] = [await padded(limit), await padded(limit + 3)];
    assert.ok(fits.length <= limit && long.length > limit);
    const before = await snapshot(world.service);
    assert.equal(await codeOf(await append(client, [long], [], [name])), "too-large");
    assert.deepEqual(await snapshot(world.service), before);
    assert.equal(await codeOf(await append(client, [fits], [], [name])), 200);
  });

  it("that is full takes revocations, and nothing else", async () => {
    const client = await world.signIn("full");
    const lost = await newDevice(client);
    assert.equal(await codeOf(await append(client, await chain(client, await headOf(client), [lost.event]), [lost.prekey])), 200);
    const fill = async (count) => {
      const names = Array.from({ length: count }, () => newOpening(client.account));
      const events = await Promise.all(names.map(async (name) => ({ type: "name.signed", commitment: await nameCommitment(client.user, name) })));
      return append(client, await chain(client, await headOf(client), events), [], names);
    };
    for (let free = 236 - 3; free > 0; free -= 16) assert.equal(await codeOf(await fill(Math.min(free, 16))), 200);
    assert.equal((await headOf(client)).seq, 235);
    assert.equal(await codeOf(await fill(1)), "too-large");
    const another = await newDevice(client);
    assert.equal(await codeOf(await append(client, await chain(client, await headOf(client), [another.event]), [another.prekey])), "too-large");
    await client.revokeDevice(lost.id);
    assert.equal((await client.ownLog()).entries.length, 237);
  });

  it("says in D1 what it says itself", async () => {
    const client = await world.signIn("rows");
    const [kept, gone, brief] = await Promise.all([newDevice(client), newDevice(client), newDevice(client)]);
    const head = await headOf(client);
    const entries = await chain(client, head, [kept.event, gone.event, { type: "device.revoked", device: gone.id }, brief.event, { type: "device.revoked", device: brief.id }]);
    assert.equal((await append(client, entries, [kept, gone, brief].map(({ prekey }) => prekey))).status, 200);
    const rows = await deviceRows(client);
    const spans = Object.fromEntries(Object.entries(rows).map(([id, { added_seq, revoked_seq }]) => [id, [added_seq, revoked_seq]]));
    assert.deepEqual(spans, { [client.device.id]: [0, null], [kept.id]: [2, null], [gone.id]: [3, 4], [brief.id]: [5, 6] });
    assert.equal(rows[kept.id].prekey, kept.prekey);
    assert.ok(rows[client.device.id].prekey, "a device that nothing happened to lost its prekey");
    assert.deepEqual([rows[gone.id].prekey, rows[brief.id].prekey], [null, null], "somebody could still seal to a revoked device");
  });
});

describe("a device", () => {
  it("is let in by an active device of the user, and by nobody else", async () => {
    const first = await world.signIn("ada");
    const second = await secondDevice("ada");
    assert.deepEqual((await second.api.me()).device, { id: second.device.id, user: null, active: false });
    await assertRefused({ status: 403, code: "forbidden" }, () => second.api.teams());
    await assertRefused({ status: 403, code: "forbidden" }, () => second.renewPrekey());
    await first.addDevice(await second.describe());
    assert.deepEqual((await second.api.me()).device, { id: second.device.id, user: first.user, active: true });
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
    assert.deepEqual((await first.api.me()).device, { id: first.device.id, user: first.user, active: true });
  });

  it("belongs to one user for ever", async () => {
    const first = await world.signIn("two-logs");
    const second = await secondDevice("two-logs");
    await first.addDevice(await second.describe());
    // It founds no log, whether it asks to start over or not,
    for (const [client, startOver] of [[first, false], [first, true], [second, true]]) {
      const { entries, prekey, name } = await foundation(client, client.device, first.account);
      await assertRefusedWith("conflict", () => append(client, entries, [prekey], [name], startOver));
    }
    // and nobody else takes it into theirs.
    const other = await world.signIn("other");
    const device = await sign("osmynt-device+jws", { user: other.user, jwk: second.device.jwk, iat: now() }, second.device);
    const prekey = await sign("osmynt-prekey+jws", { user: other.user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat: now() }, second.device);
    const entries = await chain(other, await headOf(other), [{ type: "device.added", device }]);
    await assertRefusedWith("conflict", () => append(other, entries, [prekey]));
    // Not even once it is revoked.
    await first.revokeDevice(second.device.id);
    await assertRefusedWith("conflict", () => append(other, entries, [prekey]));
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

describe("a signed name", () => {
  it("is the one that GitHub gave, and no other", async () => {
    const client = await world.signIn("names");
    const send = async (changes, commitment) => {
      const name = { ...newOpening(client.account), ...changes };
      const event = { type: "name.signed", commitment: commitment ?? (await nameCommitment(client.user, name)) };
      return append(client, await chain(client, await headOf(client), [event]), [], [name]);
    };
    for (const changes of [{ login: "ada" }, { login: "Names" }, { id: client.account.github_id + 1 }]) {
      await assertRefusedWith("forbidden", () => send(changes));
    }
    for (const changes of [{ provider: "gitlab" }, { login: "names\u200b" }, { salt: "AAAA" }, { more: 1 }]) {
      await assertRefusedWith("invalid-request", () => send(changes));
    }
    const another = await nameCommitment(client.user, newOpening(client.account));
    await assertRefusedWith("invalid-request", () => send({}, another));
    assert.equal((await send({})).status, 200);
    const event = { type: "name.signed", commitment: await nameCommitment(client.user, newOpening(client.account)) };
    const entries = await chain(client, await headOf(client), [event]);
    await assertRefusedWith("invalid-request", () => append(client, entries, []));
    await assertRefusedWith("invalid-request", () => append(client, [], [], [newOpening(client.account)]));
  });

  it("follows a login that changed at GitHub once it is signed anew", async () => {
    const client = await world.signIn("renamed");
    world.service.github.people.find(({ login }) => login === "renamed").login = "renamed-2";
    await client.obtainTokens("the same device", ({ verification_uri_complete }) => approve(verification_uri_complete, "renamed-2"));
    assert.equal((await client.me()).account.login, "renamed-2");
    assert.equal((await client.api.myLog(0)).name.login, "renamed");
    await client.signName();
    assert.equal((await client.api.myLog(0)).name.login, "renamed-2");
  });
});

describe("starting over", () => {
  it("is asked for, and leaves the former user as it was", async () => {
    const friend = await world.signIn("friend");
    const first = await world.signIn("restarts");
    const team = await makeTeam(first, "Going on", { admin: friend });
    const snippet = await friend.share(team, utf8("for the former user"), { to: [first.user] });
    const second = await secondDevice("restarts");
    const { other, device } = await second.api.me();
    assert.deepEqual(device, { id: second.device.id, user: null, active: false });
    assert.deepEqual(other, { user: first.user, devices: 1, teams: [{ team, role: "owner", others: 1, other_owner: false }] });

    const { entries, prekey, name } = await foundation(second);
    await assertRefusedWith("conflict", () => append(second, entries, [prekey], [name]));
    await second.startOver();
    assert.deepEqual((await second.api.me()).device, { id: second.device.id, user: second.user, active: true });
    assert.notEqual(second.user, first.user);
    assert.equal((await second.api.me()).account.id, first.account.id);
    assert.deepEqual((await second.api.teams()).teams, []);

    const after = await first.api.me();
    assert.deepEqual(after.device, { id: first.device.id, user: first.user, active: true });
    assert.equal((await first.ownLog()).entries.length, 2);
    await first.refresh();
    assert.deepEqual((await first.open(team, snippet)).content, utf8("for the former user"));
    await first.rotate(team);
    const phone = await secondDevice("restarts");
    assert.equal((await phone.api.me()).other.user, second.user, "the account's present user");
    assert.ok((await second.api.events()).events.some(({ type }) => type === "started-over"));
  });

  it("takes the same entries again", async () => {
    const client = await secondDevice("restarts");
    const { user, head, entries, prekey, name } = await foundation(client);
    const send = async () => {
      const answer = await append(client, entries, [prekey], [name], true);
      return [answer.status, await answer.json()];
    };
    assert.deepEqual(await send(), [200, { user, head }]);
    assert.deepEqual(await send(), [200, { user, head }]);
  });
});

describe("erasing a former user", () => {
  it("waits 14 days, of which both are told, and can be withdrawn", async () => {
    const former = await world.signIn("erases");
    const present = await secondDevice("erases");
    await present.startOver();
    const stranger = await world.signIn("friend-3");
    await assertRefused({ status: 403, code: "forbidden" }, () => former.api.askErasure(former.user));
    await assertRefused({ status: 404, code: "not-found" }, () => present.api.askErasure(stranger.user));
    await assertRefused({ status: 404, code: "not-found" }, () => present.api.askErasure(present.user));
    await assertRefused({ status: 404, code: "not-found" }, () => stranger.api.askErasure(former.user));

    const asked = await present.api.askErasure(former.user);
    assert.equal(asked.user, former.user);
    assert.ok(Math.abs(asked.asked_at - now()) < 60);
    assert.equal(asked.due_at - asked.asked_at, ERASURE_SECONDS);
    assert.deepEqual(await present.api.askErasure(former.user), asked, "again is the same");
    for (const client of [former, present]) assert.deepEqual((await client.api.me()).erasures, [asked]);
    await assertRefused({ status: 404, code: "not-found" }, () => stranger.api.withdrawErasure(former.user));
    await present.api.withdrawErasure(former.user);
    for (const client of [former, present]) assert.deepEqual((await client.api.me()).erasures, []);
  });

  it("comes to nothing if a device of that user objects", async () => {
    const former = await world.signIn("objects");
    const present = await secondDevice("objects");
    await present.startOver();
    await present.api.askErasure(former.user);
    await former.api.withdrawErasure(former.user);
    for (const client of [former, present]) assert.deepEqual((await client.api.me()).erasures, []);
    for (const type of ["erasure-asked", "erasure-withdrawn"]) {
      assert.ok((await former.api.events()).events.some((event) => event.type === type), type);
    }
    await former.createTeam("Still here");
  });

  it("is objected to also by a device whose session has ended", async () => {
    const former = await world.signIn("signed-out");
    const present = await secondDevice("signed-out");
    const stranger = await world.signIn("friend-4");
    await present.startOver();
    const asked = await present.api.askErasure(former.user);
    for (const client of [former, stranger]) {
      await client.api.endSession();
      client.api.accessToken = null;
      await assertRefused(UNAUTHENTICATED, () => client.api.me());
    }
    await assertRefused({ status: 404, code: "not-found" }, () => stranger.api.withdrawErasure(former.user));
    assert.deepEqual((await present.api.me()).erasures, [asked]);
    await former.api.withdrawErasure(former.user);
    assert.deepEqual((await present.api.me()).erasures, []);
  });
});

describe("a user of several devices", () => {
  it("founds a team whose key all of them get", async () => {
    const first = await world.signIn("two-devices");
    const second = await secondDevice("two-devices");
    await first.addDevice(await second.describe());
    assert.equal((await first.api.myLog(0)).prekeys.length, 2);
    for (const [founder, other] of [[first, second], [second, first]]) {
      const team = await founder.createTeam("Of two devices");
      const snippet = await founder.share(team, utf8("both"));
      assert.deepEqual((await other.open(team, snippet)).content, utf8("both"));
    }
  });
});

describe("the caller's teams", () => {
  it("are listed ascending by the text of their ids", async () => {
    const client = await world.signIn("founds");
    const founded = [];
    // Text and bytes are in different orders as soon as one id begins with a digit or a sign and another with a letter: of twelve, nearly always.
    for (let number = 0; number < 12; number += 1) founded.push(await client.createTeam(`Team ${number}`));
    const { teams } = await client.api.teams();
    assert.deepEqual(teams, ascending(founded).map((team) => ({ team, pending: false })));
  });

  it("have those in which they wait to be confirmed, marked", async () => {
    const [owner, client] = [await world.signIn("friend-2"), await world.signIn("rejoins")];
    const team = await owner.createTeam("Waiting room", { max_epoch_age: 3600, joining: "confirmation" });
    await client.join((await owner.invite(team)).code);
    assert.deepEqual(await client.api.teams(), { teams: [{ team, pending: true }] });
    await owner.confirm(team, client.user);
    assert.deepEqual(await client.api.teams(), { teams: [{ team, pending: false }] });
    await client.leave(team);
    assert.deepEqual(await client.api.teams(), { teams: [] });
  });
});
