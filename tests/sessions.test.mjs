// What becomes of a session: which one a device has, how it is listed and ended, what stands in the account's events, and what another JWT_SECRET
// does to it. (How its tokens are refreshed is the business of refresh.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";
import { Problem } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, randomBytes, utf8 } from "./client/encodings.mjs";
import { SESSION_SECONDS } from "./client/limits.mjs";
import { approve } from "./support/browser.mjs";
import { snapshot } from "./support/dump.mjs";
import { person } from "./support/github.mjs";
import { browseToConfirmation, poll, refresh, signIn as getTokens, startHandshake, withTokens } from "./support/handshake.mjs";
import { startService } from "./support/harness.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const PEOPLE = ["ada", "grace", "lists", "ends", "alone", "waits", "ends-all", "events", "pages", "two-users"].map((login, index) => person(4101 + index, login, login));
const now = () => Math.floor(Date.now() / 1000);

let service;
before(async () => {
  service = await startService({ people: PEOPLE, vars: { JWT_SECRET } });
});
after(() => service?.dispose());

const signIn = (login, options) => getTokens(service.url, login, options);
/** A client, as that also founds a user if the account has none. */
const inLog = (login, name) =>
  Client.signIn({ origin: service.url, name, approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) });

const codeOf = async (answer) => (await answer.json()).code;
const refuses = (code, action) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);

describe("a session", () => {
  const signedIn = async (login, names) => {
    const devices = [];
    for (const name of names) devices.push(await signIn(login, { name }));
    return devices;
  };
  const sessionOf = ({ tokens }) => decodeJwt(tokens.access_token).sid;

  it("is the only open one of its device: signing in again ends the one before", async () => {
    const first = await signIn("ada");
    const second = await signIn("ada", { key: first.key });
    await refuses("unauthenticated", () => first.api.me());
    assert.equal(await codeOf(await refresh(first)), "unauthenticated");
    await second.api.me();
    assert.equal((await refresh(second)).status, 200);
  });

  it("of a device that is in no log ends when somebody else signs in with it, whose it is then", async () => {
    const first = await signIn("ada");
    const second = await signIn("grace", { key: first.key });
    assert.notEqual(second.tokens.account, first.tokens.account);
    await refuses("unauthenticated", () => first.api.me());
    assert.equal(await codeOf(await refresh(first)), "unauthenticated");
    assert.equal((await second.api.me()).account.login, "grace");
    const database = await service.mf.getD1Database("DB");
    const { results } = await database.prepare("SELECT account FROM devices WHERE device = ?").bind(first.key.id).all();
    assert.deepEqual(results, [{ account: second.tokens.account }]);
  });

  it("is listed with its device, name and times, newest first", async () => {
    const desk = await inLog("lists", "desk");
    const [phone] = await signedIn("lists", ["phone"]);
    const { sessions } = await desk.api.sessions();
    const shown = sessions.map(({ created_at, refreshed_at, expires_at, ...rest }) => rest);
    const expected = [
      { id: sessionOf(phone), device: phone.key.id, name: "phone", current: false },
      { id: sessionOf(desk), device: desk.device.id, name: "desk", current: true },
    ];
    // Two of the same second have no order.
    const order = ({ id: a }, { id: b }) => (a < b ? -1 : 1);
    assert.deepEqual(shown.toSorted(order), expected.toSorted(order));
    const database = await service.mf.getD1Database("DB");
    await database.prepare("UPDATE sessions SET created_at = created_at - 100 WHERE id = ?").bind(sessionOf(phone)).run();
    assert.deepEqual((await desk.api.sessions()).sessions.map(({ name }) => name), ["desk", "phone"]);
    for (const { created_at, refreshed_at, expires_at } of sessions) {
      assert.equal(created_at, refreshed_at);
      assert.equal(expires_at - created_at, SESSION_SECONDS);
    }
    await database.prepare("UPDATE sessions SET created_at = created_at - 100, expires_at = expires_at - 100 WHERE account = ?").bind(desk.account.id).run();
    await desk.refresh();
    const current = (await desk.api.sessions()).sessions.find((each) => each.current);
    assert.ok(Math.abs(current.refreshed_at - now()) < 30);
    assert.ok(current.created_at < current.refreshed_at);
  });

  it("that is ended is over with the next request, and its refresh as well", async () => {
    const desk = await inLog("ends", "desk");
    const [phone, tablet] = await signedIn("ends", ["phone", "tablet"]);
    await desk.api.endSession(sessionOf(phone));
    await refuses("unauthenticated", () => phone.api.me());
    assert.equal(await codeOf(await refresh(phone)), "unauthenticated");
    await tablet.api.me();
    // Again, as after a lost answer.
    await desk.api.endSession(sessionOf(phone));
    assert.deepEqual((await desk.api.sessions()).sessions.map(({ name }) => name).sort(), ["desk", "tablet"]);

    await desk.api.endSession();
    await refuses("unauthenticated", () => desk.api.me());
    assert.equal(await codeOf(await refresh(desk)), "unauthenticated");
    await tablet.api.me();
    const types = (await eventsOf(desk)).map(({ type, session }) => [type, session]);
    assert.deepEqual(types.slice(0, 2), [["signed-out", sessionOf(desk)], ["session-revoked", sessionOf(phone)]]);
  });

  it("of somebody else cannot be ended, and looks like none", async () => {
    const mine = await inLog("alone", "desk");
    const other = await signIn("ada");
    const before = await snapshot(service);
    for (const id of [sessionOf(other), "x", crypto.randomUUID()]) await refuses("not-found", () => mine.api.endSession(id));
    assert.deepEqual(await snapshot(service), before);
    await other.api.me();
  });

  it("can end itself before its device is in the user's log, and no other session", async () => {
    const desk = await inLog("waits", "desk");
    const [phone] = await signedIn("waits", ["phone"]);
    await refuses("forbidden", () => phone.api.endSession(sessionOf(desk)));
    await phone.api.endSession(sessionOf(phone));
    await refuses("unauthenticated", () => phone.api.me());
    await desk.api.me();
  });

  it("ends with all others of its user, and of devices in no log, when its person wants that", async () => {
    const desk = await inLog("ends-all", "desk");
    const others = await signedIn("ends-all", ["phone", "tablet"]);
    const stranger = await signIn("ada");
    await desk.api.endAllSessions();
    for (const each of [desk, ...others]) {
      await refuses("unauthenticated", () => each.api.me());
      assert.equal(await codeOf(await refresh(each)), "unauthenticated");
    }
    await stranger.api.me();
    const events = (await eventsOf(desk)).slice(0, 3);
    assert.deepEqual(events.map(({ type }) => type).sort(), ["session-revoked", "session-revoked", "signed-out"]);
    assert.equal(events.find(({ type }) => type === "signed-out").session, sessionOf(desk));
  });

  it("of another user of the account is neither listed nor ended by a user", async () => {
    const former = await inLog("two-users", "desk");
    const present = await inLog("two-users", "phone");
    await present.startOver();
    const waiting = await signIn("two-users", { name: "tablet" });
    const namesOf = async ({ api }) => (await api.sessions()).sessions.map(({ name }) => name).sort();
    assert.deepEqual(await namesOf(present), ["phone", "tablet"]);
    assert.deepEqual(await namesOf(former), ["desk", "tablet"]);
    for (const [by, of] of [[present, former], [former, present]]) await refuses("not-found", () => by.api.endSession(sessionOf(of)));
    await present.api.endAllSessions();
    for (const each of [present, waiting]) await refuses("unauthenticated", () => each.api.me());
    await former.api.me();
    const ended = (await eventsOf(former)).slice(0, 2).map(({ type, session }) => [type, session]);
    assert.deepEqual(ended.toSorted(), [["session-revoked", sessionOf(waiting)], ["signed-out", sessionOf(present)]]);
  });

  it("ends with its device's revocation, and what happened stands in the account's events", async () => {
    const desk = await inLog("events", "desk");
    const phone = await inLog("events", "phone");
    await desk.addDevice(await phone.describe());
    await phone.api.sessions();
    await desk.revokeDevice(phone.device.id);
    await refuses("unauthenticated", () => phone.api.me());
    assert.deepEqual((await desk.api.sessions()).sessions.map(({ name }) => name), ["desk"]);
    const tablet = await inLog("events", "tablet");
    await tablet.startOver();
    // The former user goes on.
    await desk.api.me();
    await tablet.api.askErasure(desk.user);
    await tablet.api.askErasure(desk.user);
    await desk.api.withdrawErasure(desk.user);
    await desk.api.withdrawErasure(desk.user);
    const { events, next } = await tablet.api.events();
    assert.equal(next, null);
    assert.deepEqual(events.map(({ type, device }) => [type, device]), [
      ["erasure-withdrawn", desk.device.id],
      ["erasure-asked", tablet.device.id],
      ["device-added", tablet.device.id],
      ["started-over", tablet.device.id],
      ["signed-in", tablet.device.id],
      ["device-revoked", phone.device.id],
      ["device-added", phone.device.id],
      ["signed-in", phone.device.id],
      ["device-added", desk.device.id],
      ["signed-in", desk.device.id],
    ]);
    assert.deepEqual(events.filter(({ session }) => session !== null).map(({ session }) => session), [tablet, phone, desk].map(sessionOf));
    for (const { at } of events) assert.ok(Math.abs(at - now()) < 120);
    // They are the account's, and so the same for each of its users.
    assert.deepEqual((await desk.api.events()).events, events);
  });

  it("has its events on pages of 100, and nobody else's", async () => {
    const desk = await inLog("pages", "desk");
    const database = await service.mf.getD1Database("DB");
    const insert = database.prepare("INSERT INTO account_events (account, at, type, device, session) VALUES (?, ?, 'signed-out', NULL, NULL)");
    await database.batch(Array.from({ length: 220 }, (_, at) => insert.bind(desk.account.id, at)));
    const pages = [];
    for (let cursor; cursor !== null; ) {
      const { events, next } = await desk.api.events(cursor);
      pages.push(events);
      cursor = next;
    }
    assert.deepEqual(pages.map(({ length }) => length), [100, 100, 22]);
    const times = pages.flat().map(({ at }) => at);
    assert.deepEqual(times.slice(0, 220), Array.from({ length: 220 }, (_, index) => 219 - index));
    for (const cursor of ["x", "", b64u.encode(randomBytes(7)), b64u.encode(new Uint8Array(8).fill(255))]) {
      await refuses("invalid-request", () => desk.api.events(cursor));
    }
  });

  const eventsOf = async ({ account }) => {
    const database = await service.mf.getD1Database("DB");
    return (await database.prepare("SELECT * FROM account_events WHERE account = ? ORDER BY id DESC").bind(account.id).all()).results;
  };
});

describe("another JWT_SECRET", () => {
  const NEXT = "the next secret of the tests, long enough for HMAC-SHA256";
  const kidOf = (token) => decodeProtectedHeader(token).kid;
  let changing;
  before(async () => {
    changing = await startService({ people: PEOPLE, vars: { JWT_SECRET } });
  });
  after(() => changing?.dispose());

  it("signs nobody out and breaks off no sign-in as long as the one before is known, and then does", async () => {
    const device = await getTokens(changing.url, "ada");
    const [pending, waiting] = [await startHandshake(changing.url), await startHandshake(changing.url)];
    const browsing = await browseToConfirmation(pending, "ada");
    const late = await browseToConfirmation(waiting, "ada");

    await changing.restart({ JWT_SECRET: NEXT, JWT_SECRET_PREVIOUS: JWT_SECRET });
    await device.api.me();
    await browsing.browser.press(browsing.confirm, browsing.confirm.button("decision", "approve"));
    const claimed = await (await poll(pending)).json();
    const refreshed = await (await refresh(device)).json();
    const fresh = (await startHandshake(changing.url)).started.device_code;
    assert.notEqual(kidOf(claimed.access_token), kidOf(device.tokens.access_token));
    for (const token of [claimed.access_token, claimed.refresh_token, refreshed.access_token, refreshed.refresh_token, fresh]) {
      assert.equal(kidOf(token), kidOf(claimed.access_token));
    }
    const second = await getTokens(changing.url, "ada");

    // All that is left of the old secret is worth nothing, all of the new one what it was.
    const old = await signedWith(JWT_SECRET, refreshed.access_token, kidOf(device.tokens.access_token));
    const api = withTokens(device, { access_token: old }).api;
    await api.me();
    await changing.restart({ JWT_SECRET: NEXT });
    await refuses("unauthenticated", () => api.me());
    assert.equal(await codeOf(await refresh(device)), "unauthenticated");
    assert.equal(await codeOf(await poll(waiting)), "invalid-request");
    assert.equal((await late.browser.press(late.confirm, late.confirm.button("decision", "approve"))).status, 400);
    await withTokens(device, refreshed).api.me();
    await second.api.me();
    assert.equal((await refresh(second)).status, 200);
  });

  it("is not known by a name that a token gives it", async () => {
    await changing.restart({ JWT_SECRET: NEXT, JWT_SECRET_PREVIOUS: JWT_SECRET });
    const device = await getTokens(changing.url, "ada");
    const { access_token } = device.tokens;
    for (const [secret, kid] of [["a secret of somebody else, which is long enough", kidOf(access_token)], [NEXT, undefined], [NEXT, "x"], [JWT_SECRET, kidOf(access_token)]]) {
      const forged = await signedWith(secret, access_token, kid);
      await refuses("unauthenticated", () => withTokens(device, { access_token: forged }).api.me());
    }
  });

  /** The same token, signed with a secret of which the header says something. */
  const signedWith = (secret, token, kid) =>
    new SignJWT(decodeJwt(token)).setProtectedHeader({ ...decodeProtectedHeader(token), kid }).sign(utf8(secret));
});
