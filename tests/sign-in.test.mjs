// Signing in, from both ends: what a device gets by HTTP, and what a person sees in a browser on the way. Each refusal of the browser's part
// leaves every store as it was. (What clients send wrongly is the business of refusals.test.mjs.)

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";
import { Api, Problem } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { ACCESS_SECONDS, SESSION_SECONDS, WRONG_VERIFIERS } from "./client/limits.mjs";
import { sign } from "./client/statements.mjs";
import { Browser, approve } from "./support/browser.mjs";
import { dump, search, snapshot } from "./support/dump.mjs";
import { person, privateParts } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const ADA = person(4001, "ada", "Ada <b>&</b> \"Lovelace\"");
const GRACE = person(4002, "grace", null);
/** Comes too late, and so must never be stored. */
const LATE = person(4003, "late", "Late");
const OTHERS = ["lists", "ends", "alone", "waits", "ends-all", "events", "pages"].map((login, index) => person(4010 + index, login, login));
const now = () => Math.floor(Date.now() / 1000);

let service;
before(async () => {
  service = await startService({ people: [ADA, GRACE, LATE, ...OTHERS], vars: { JWT_SECRET } });
});
after(() => service?.dispose());

// --- a device ---

/** A device that has started a handshake: `{ key, api, verifier, started }`, where `started` is the service's answer. */
async function startHandshake({ name = "Ada's laptop", key, to = service } = {}) {
  const device = key ?? (await makeKeyPair("ECDSA"));
  const api = new Api(to.url, device);
  const verifier = b64u.encode(randomBytes(32));
  const payload = { jwk: device.jwk, challenge: await hashOf(utf8(verifier)), name, iat: now() };
  const started = await api.handshake(await sign("osmynt-handshake+jws", payload, device));
  return { key: device, api, verifier, started };
}

const poll = ({ api, started, verifier }) =>
  postTokens(api, { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: started.device_code, verifier });
const refresh = ({ api, tokens }) =>
  postTokens(api, { grant_type: "refresh_token", refresh_token: tokens.refresh_token, idempotency_key: newKey() });
const newKey = () => b64u.encode(randomBytes(16));

async function postTokens(api, body) {
  const headers = { "Content-Type": "application/json", ...(await api.credentials("POST", "/v1/tokens")) };
  return fetch(`${api.origin}/v1/tokens`, { method: "POST", headers, body: JSON.stringify(body) });
}

/** The tokens of a device that a person approves. */
async function signIn(login, options = {}) {
  const handshake = await startHandshake(options);
  const page = await approve(handshake.started.verification_uri_complete, login);
  assert.equal(page.status, 200, page.text);
  const answer = await poll(handshake);
  assert.equal(answer.status, 200);
  return withTokens(handshake, await answer.json());
}
function withTokens(device, tokens) {
  const api = new Api(device.api.origin, device.key);
  api.accessToken = tokens.access_token;
  return { ...device, api, tokens };
}

const codeOf = async (answer) => (await answer.json()).code;
const refuses = (code, action) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);

// --- a person ---

/** A browser on the page where the person confirms. */
async function browseToConfirmation(handshake, login = "ada", browser = new Browser()) {
  const start = await browser.open(handshake.started.verification_uri_complete);
  const github = await browser.press(start, start.onlyButton());
  const confirm = await browser.press(github, github.button("as", login));
  assert.ok(confirm.button("decision", "approve"), confirm.text);
  return { browser, start, github, confirm };
}

/** Asserts that a step in the browser is refused in words, on a page, with nothing stored. */
async function assertPageRefuses(status, says, step) {
  const before = await snapshot(service);
  const page = await step();
  assert.equal(page.status, status, page.text);
  assert.match(page.text, says);
  assert.match(page.headers["content-type"], /^text\/html/);
  assert.deepEqual(await snapshot(service), before, "something was stored");
  return page;
}

describe("a device", () => {
  it("gets tokens bound to its key, for 12 hours and 30 days", async () => {
    const { key, started, tokens } = await signIn("ada");
    assert.match(started.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    assert.equal(started.verification_uri, `${service.url}/sign-in`);
    assert.equal(started.verification_uri_complete, `${service.url}/sign-in?code=${started.user_code}`);
    assert.deepEqual([started.expires_in, started.interval], [300, 2]);

    const { access_token, refresh_token, user, ...rest } = tokens;
    assert.deepEqual(rest, { token_type: "DPoP", expires_in: ACCESS_SECONDS, refresh_expires_in: SESSION_SECONDS });
    for (const [token, typ, aud, seconds] of [[access_token, "at+jwt", "osmynt-access", ACCESS_SECONDS], [refresh_token, "rt+jwt", "osmynt-refresh", SESSION_SECONDS]]) {
      const { kid, ...header } = decodeProtectedHeader(token);
      assert.deepEqual(header, { alg: "HS256", typ });
      assert.match(kid, /^[\w-]+$/);
      const { iss, sub, cnf, iat, exp, sid, ...others } = decodeJwt(token);
      assert.deepEqual({ iss, sub, cnf, others }, { iss: service.url, sub: user, cnf: { jkt: key.id }, others: { aud, gen: 0 } });
      assert.equal(exp - iat, seconds);
      assert.ok(Math.abs(iat - now()) < 60);
      assert.match(sid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
  });

  it("is told who signed in, and that it is not in the user's log yet", async () => {
    const device = await signIn("ada");
    const { user, ...rest } = await device.api.me();
    assert.deepEqual(rest, { device: { id: device.key.id, active: false }, log: null });
    assert.deepEqual(user, { id: device.tokens.user, login: "ada", name: ADA.name, avatar_url: ADA.avatar_url });
  });

  it("gets its tokens once, however many polls come at the same time", async () => {
    const handshake = await startHandshake();
    await approve(handshake.started.verification_uri_complete, "ada");
    const answers = await Promise.all(Array.from({ length: 6 }, () => poll(handshake)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400, 400, 400]);
    for (const answer of answers.filter(({ ok }) => !ok)) assert.equal(await codeOf(answer), "expired_token");
    const sessions = (await tablesOf(service)).sessions.filter(({ device }) => device === handshake.key.id);
    assert.equal(sessions.length, 1);
  });

  it("is told expired_token after 300 seconds", async () => {
    const handshake = await startHandshake();
    await approve(handshake.started.verification_uri_complete, "ada");
    const device_code = await again(handshake.started.device_code, { exp: now() - 1 });
    assert.equal(await codeOf(await poll({ ...handshake, started: { device_code } })), "expired_token");
    assert.equal(decodeJwt(handshake.started.device_code).exp - decodeJwt(handshake.started.device_code).iat, 300);
  });

  it("shares the account with the person's other devices, under the name that GitHub has now", async () => {
    const first = await signIn("grace");
    service.github.people.find(({ login }) => login === "grace").login = "grace-hopper";
    const second = await signIn("grace-hopper");
    service.github.people.find(({ login }) => login === "grace-hopper").login = "grace";
    assert.equal(second.tokens.user, first.tokens.user);
    assert.equal((await first.api.me()).user.login, "grace-hopper");
    assert.equal((await first.api.me()).user.name, null);
  });
});

describe("a wrong verifier", () => {
  const wrongly = (handshake) => poll({ ...handshake, verifier: b64u.encode(randomBytes(32)) });

  for (const [when, approved] of [["nobody has decided yet", false], ["the person has approved", true]]) {
    it(`ends the handshake the fifth time, also if ${when}`, async () => {
      const handshake = await startHandshake();
      const decide = () => approve(handshake.started.verification_uri_complete, "ada");
      if (approved) await decide();
      for (let count = 1; count <= WRONG_VERIFIERS; count += 1) assert.equal(await codeOf(await wrongly(handshake)), "invalid-request");
      assert.equal(await codeOf(await poll(handshake)), "access_denied");
      if (!approved) assert.equal((await decide()).status, 409, "a handshake that is over can be approved");
      assert.equal(await codeOf(await poll(handshake)), "access_denied");
      const { sessions } = await tablesOf(service);
      assert.deepEqual(sessions.filter(({ device }) => device === handshake.key.id), []);
    });
  }

  it("does no harm four times, and none to another handshake", async () => {
    const [handshake, other] = [await startHandshake(), await startHandshake()];
    for (let count = 1; count < WRONG_VERIFIERS; count += 1) await wrongly(handshake);
    await wrongly(other);
    for (const each of [handshake, other]) {
      await approve(each.started.verification_uri_complete, "ada");
      assert.equal((await poll(each)).status, 200);
    }
  });

  it("ends no session that the handshake has led to", async () => {
    const device = await signIn("ada");
    for (let count = 0; count <= WRONG_VERIFIERS; count += 1) await wrongly(device);
    await device.api.me();
    assert.equal((await refresh(device)).status, 200);
  });
});

// What proof it takes is the business of table.test.mjs.
describe("a request for tokens", () => {
  it("that was made for another address of the service is told the right one", async () => {
    const device = await signIn("ada");
    const proof = await device.api.credentials("GET", "/v1/me", { url: "https://elsewhere.example/v1/me" });
    const answer = await fetch(`${service.url}/v1/me`, { headers: proof });
    assert.equal(answer.status, 401);
    assert.match((await answer.json()).detail, new RegExp(`to be reached at ${service.url},`));
  });

  it("may come again with the same proof, and then gets nothing that the first did not", async () => {
    const device = await signIn("ada");
    const headers = { "Content-Type": "application/json", ...(await device.api.credentials("POST", "/v1/tokens")) };
    const body = JSON.stringify({ grant_type: "refresh_token", refresh_token: device.tokens.refresh_token, idempotency_key: newKey() });
    const send = async () => (await fetch(`${service.url}/v1/tokens`, { method: "POST", headers, body })).json();
    const [first, second] = [await send(), await send()];
    assert.equal(first.refresh_token, second.refresh_token);
    assert.equal(decodeJwt(first.access_token).gen, decodeJwt(second.access_token).gen);
  });
});

describe("a session", () => {
  const signedIn = async (login, names) => {
    const devices = [];
    for (const name of names) devices.push(await signIn(login, { name }));
    return devices;
  };
  /** A client, as that also begins the user's log. */
  const inLog = (login, name) =>
    Client.signIn({ origin: service.url, name, approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) });
  const sessionOf = ({ tokens }) => decodeJwt(tokens.access_token).sid;

  it("is the only open one of its device: signing in again ends the one before", async () => {
    const first = await signIn("ada");
    const second = await signIn("ada", { key: first.key });
    await refuses("unauthenticated", () => first.api.me());
    assert.equal(await codeOf(await refresh(first)), "unauthenticated");
    await second.api.me();
    assert.equal((await refresh(second)).status, 200);
  });

  it("of another person on the same device is left alone", async () => {
    const first = await signIn("ada");
    const second = await signIn("late", { key: first.key });
    await first.api.me();
    await second.api.me();
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
      assert.equal((Date.parse(expires_at) - Date.parse(created_at)) / 1000, SESSION_SECONDS);
    }
    await database.prepare("UPDATE sessions SET created_at = created_at - 100, expires_at = expires_at - 100 WHERE user = ?").bind(desk.user).run();
    await desk.refresh();
    const current = (await desk.api.sessions()).sessions.find((each) => each.current);
    assert.ok(Math.abs(Date.parse(current.refreshed_at) / 1000 - now()) < 30);
    assert.ok(Date.parse(current.created_at) < Date.parse(current.refreshed_at));
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
    const types = (await eventsOf(desk.user)).map(({ type, session }) => [type, session]);
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

  it("ends with all others, when its user wants that", async () => {
    const desk = await inLog("ends-all", "desk");
    const others = await signedIn("ends-all", ["phone", "tablet"]);
    const stranger = await signIn("ada");
    await desk.api.endAllSessions();
    for (const each of [desk, ...others]) {
      await refuses("unauthenticated", () => each.api.me());
      assert.equal(await codeOf(await refresh(each)), "unauthenticated");
    }
    await stranger.api.me();
    const events = (await eventsOf(desk.user)).slice(0, 3);
    assert.deepEqual(events.map(({ type }) => type).sort(), ["session-revoked", "session-revoked", "signed-out"]);
    assert.equal(events.find(({ type }) => type === "signed-out").session, sessionOf(desk));
  });

  it("ends with its device's revocation, and what happened stands in the user's events", async () => {
    const desk = await inLog("events", "desk");
    const phone = await inLog("events", "phone");
    await desk.addDevice(await phone.describe());
    await phone.api.sessions();
    await desk.revokeDevice(phone.device.id);
    await refuses("unauthenticated", () => phone.api.me());
    assert.deepEqual((await desk.api.sessions()).sessions.map(({ name }) => name), ["desk"]);
    const tablet = await inLog("events", "tablet");
    await tablet.resetIdentity();
    await refuses("unauthenticated", () => desk.api.me());
    const { events, next } = await tablet.api.events();
    assert.equal(next, null);
    assert.deepEqual(events.map(({ type, device }) => [type, device]), [
      ["identity-reset", tablet.device.id],
      ["signed-in", tablet.device.id],
      ["device-revoked", phone.device.id],
      ["device-added", phone.device.id],
      ["signed-in", phone.device.id],
      ["device-added", desk.device.id],
      ["signed-in", desk.device.id],
    ]);
    assert.deepEqual(events.filter(({ session }) => session !== null).map(({ session }) => session), [tablet, phone, desk].map(sessionOf));
    for (const { at } of events) assert.ok(Math.abs(Date.parse(at) / 1000 - now()) < 120);
  });

  it("has its events on pages of 100, and nobody else's", async () => {
    const desk = await inLog("pages", "desk");
    const database = await service.mf.getD1Database("DB");
    const insert = database.prepare("INSERT INTO account_events (user, at, type, device, session) VALUES (?, ?, 'signed-out', NULL, NULL)");
    await database.batch(Array.from({ length: 220 }, (_, at) => insert.bind(desk.user, at)));
    const pages = [];
    for (let cursor; cursor !== null; ) {
      const { events, next } = await desk.api.events(cursor);
      pages.push(events);
      cursor = next;
    }
    assert.deepEqual(pages.map(({ length }) => length), [100, 100, 22]);
    const times = pages.flat().map(({ at }) => Date.parse(at) / 1000);
    assert.deepEqual(times.slice(0, 220), Array.from({ length: 220 }, (_, index) => 219 - index));
    for (const cursor of ["x", "", b64u.encode(randomBytes(7)), b64u.encode(new Uint8Array(8).fill(255))]) {
      await refuses("invalid-request", () => desk.api.events(cursor));
    }
  });

  const eventsOf = async (user) => {
    const database = await service.mf.getD1Database("DB");
    return (await database.prepare("SELECT * FROM account_events WHERE user = ? ORDER BY id DESC").bind(user).all()).results;
  };
});

describe("another JWT_SECRET", () => {
  const NEXT = "the next secret of the tests, long enough for HMAC-SHA256";
  const kidOf = (token) => decodeProtectedHeader(token).kid;
  let changing;
  before(async () => {
    changing = await startService({ people: [ADA], vars: { JWT_SECRET } });
  });
  after(() => changing?.dispose());

  it("signs nobody out and breaks off no sign-in as long as the one before is known, and then does", async () => {
    const device = await signIn("ada", { to: changing });
    const [pending, waiting] = [await startHandshake({ to: changing }), await startHandshake({ to: changing })];
    const browsing = await browseToConfirmation(pending, "ada");
    const late = await browseToConfirmation(waiting, "ada");

    await changing.restart({ JWT_SECRET: NEXT, JWT_SECRET_PREVIOUS: JWT_SECRET });
    await device.api.me();
    await browsing.browser.press(browsing.confirm, browsing.confirm.button("decision", "approve"));
    const claimed = await (await poll(pending)).json();
    const refreshed = await (await refresh(device)).json();
    const fresh = (await startHandshake({ to: changing })).started.device_code;
    assert.notEqual(kidOf(claimed.access_token), kidOf(device.tokens.access_token));
    for (const token of [claimed.access_token, claimed.refresh_token, refreshed.access_token, refreshed.refresh_token, fresh]) {
      assert.equal(kidOf(token), kidOf(claimed.access_token));
    }
    const second = await signIn("ada", { to: changing });

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
    const device = await signIn("ada", { to: changing });
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

describe("a person", () => {
  it("sees the device's name and code before GitHub, and with their own name before they confirm", async () => {
    const handshake = await startHandshake({ name: "the <laptop> of \"Ada\" & co" });
    const { start, confirm } = await browseToConfirmation(handshake);
    for (const page of [start, confirm]) {
      assert.ok(page.text.includes("the <laptop> of \"Ada\" & co"), page.text);
      assert.ok(page.text.includes(handshake.started.user_code), page.text);
      assert.ok(!page.html.includes("<laptop>"), "the device's name is not escaped");
    }
    assert.ok(confirm.text.includes(`${ADA.name} (ada)`), confirm.text);
    assert.ok(!confirm.html.includes("<b>"), "the person's name is not escaped");
  });

  it("may type the code, in any case and without the hyphen", async () => {
    const { started } = await startHandshake({ name: "typed" });
    const browser = new Browser();
    const empty = await browser.open(`${service.url}/sign-in`);
    assert.equal(empty.forms.length, 1);
    const page = await browser.open(`${service.url}/sign-in?code=+${started.user_code.toLowerCase().replace("-", "")}`);
    assert.ok(page.text.includes("typed") && page.text.includes(started.user_code), page.text);
  });

  it("can refuse, and the device is told", async () => {
    const handshake = await startHandshake();
    const page = await approve(handshake.started.verification_uri_complete, "ada", { deny: true });
    assert.match(page.text, /Refused/);
    assert.equal(await codeOf(await poll(handshake)), "access_denied");
  });

  it("is stored nowhere unless they approve", async () => {
    const fresh = await startService({ people: [ADA] });
    try {
      const handshake = await startHandshake({ to: fresh, name: "a device that is refused" });
      await approve(handshake.started.verification_uri_complete, "ada", { deny: true });
      const { users, sessions, devices } = await tablesOf(fresh);
      assert.deepEqual({ users, sessions, devices }, { users: [], sessions: [], devices: [] });
    } finally {
      await fresh.dispose();
    }
  });

  it("decides once", async () => {
    const handshake = await startHandshake();
    const [first, second] = [await browseToConfirmation(handshake, "late"), await browseToConfirmation(handshake, "grace")];
    await second.browser.press(second.confirm, second.confirm.button("decision", "approve"));
    for (const decision of ["approve", "deny"]) {
      await assertPageRefuses(409, /decided before/, () => first.browser.press(first.confirm, first.confirm.button("decision", decision)));
    }
    const { user } = await (await poll(handshake)).json();
    assert.equal((await tablesOf(service)).users.find(({ id }) => id === user).login, "grace");
  });

  it("can come back to a pending sign-in after turning back at GitHub", async () => {
    const handshake = await startHandshake();
    const browser = new Browser();
    await assertPageRefuses(403, /turned back at GitHub/, () => approve(handshake.started.verification_uri_complete, "ada", { cancel: true, browser }));
    assert.equal(await codeOf(await poll(handshake)), "authorization_pending");
    await approve(handshake.started.verification_uri_complete, "ada", { browser });
    assert.equal((await poll(handshake)).status, 200);
  });

  it("is told what to do with a code that nobody waits for, or that is none", async () => {
    await assertPageRefuses(404, /start again on your device/, () => new Browser().open(`${service.url}/sign-in?code=BCDF-GHJK`));
    await assertPageRefuses(400, /8 letters/, () => new Browser().open(`${service.url}/sign-in?code=%3Cscript%3E`));
  });

  it("is told what an invitation link is for, in a page that gets none of it", async () => {
    const page = await new Browser().open(`${service.url}/join`);
    assert.equal(page.status, 200);
    assert.match(page.text, /osmynt team join/);
  });

  it("finds a page at the address of the service", async () => {
    const page = await new Browser().open(`${service.url}/`);
    assert.ok(page.text.includes(`osmynt login --server ${service.url}`), page.text);
  });
});

describe("the browser's part cannot be", () => {
  it("entered in the middle, without its cookie", async () => {
    for (const path of ["/sign-in/callback?code=x&state=y", "/sign-in/confirm"]) {
      await assertPageRefuses(400, /Open the link/, () => new Browser().open(`${service.url}${path}`));
    }
  });

  it("continued with a cookie of an earlier step, or a token that is no cookie", async () => {
    const handshake = await startHandshake();
    const browser = new Browser();
    await browser.open(handshake.started.verification_uri_complete);
    await assertPageRefuses(400, /Open the link/, () => browser.open(`${service.url}/sign-in/confirm`));
    browser.cookies[0].value = handshake.started.device_code;
    await assertPageRefuses(400, /Open the link/, () => browser.open(`${service.url}/sign-in/confirm`));
  });

  it("continued with GitHub's answer to another browser", async () => {
    const [own, other] = [await startHandshake(), await startHandshake()];
    const browser = new Browser();
    await browser.open(own.started.verification_uri_complete);
    // Another person's answer from GitHub, caught before their browser brought it.
    const elsewhere = new Browser();
    const start = await elsewhere.open(other.started.verification_uri_complete);
    const github = await elsewhere.press(start, start.onlyButton());
    const state = new URL(github.url).searchParams.get("state");
    await assertPageRefuses(400, /another sign-in/, () => browser.open(`${service.url}/sign-in/callback?code=x&state=${state}`));
    await assertPageRefuses(400, /another sign-in/, () => browser.open(`${service.url}/sign-in/callback?code=x`));
  });

  it("decided or sent to GitHub by a form of another page", async () => {
    const handshake = await startHandshake();
    const { browser, confirm } = await browseToConfirmation(handshake);
    const button = confirm.button("decision", "approve");
    for (const fields of [[], [["form", ""]], [["form", "guessed"]]]) {
      await assertPageRefuses(403, /out of date/, () => browser.press(confirm, { ...button, form: { ...button.form, fields } }));
    }
    const start = await browser.open(handshake.started.verification_uri_complete);
    const go = start.onlyButton();
    await assertPageRefuses(403, /out of date/, () => browser.press(start, { ...go, form: { ...go.form, fields: [] } }));
    assert.equal(await codeOf(await poll(handshake)), "authorization_pending");
  });

  it("decided by a button that is not there", async () => {
    const { browser, confirm } = await browseToConfirmation(await startHandshake());
    await assertPageRefuses(400, /two buttons/, () => browser.press(confirm, { ...confirm.button("decision", "approve"), value: "maybe" }));
  });

  it("finished after 300 seconds", async () => {
    const { browser } = await browseToConfirmation(await startHandshake());
    browser.cookies[0].value = await again(browser.cookies[0].value, { exp: now() - 1 });
    await assertPageRefuses(410, /longer than 5 minutes/, () => browser.open(`${service.url}/sign-in/confirm`));
  });

  it("finished when GitHub is out of order, nor is GitHub's token kept", async () => {
    const handshake = await startHandshake();
    const browser = new Browser();
    const start = await browser.open(handshake.started.verification_uri_complete);
    const github = await browser.press(start, start.onlyButton());
    // The person agrees, and then GitHub fails.
    const state = new URL(github.url).searchParams.get("state");
    service.github.outage = true;
    await assertPageRefuses(503, /GitHub could not be asked/, () => browser.open(`${service.url}/sign-in/callback?code=x&state=${state}`));
    service.github.outage = false;
    await assertPageRefuses(410, /used before, or is too old/, () => browser.open(`${service.url}/sign-in/callback?code=x&state=${state}`));
    assert.equal(await codeOf(await poll(handshake)), "authorization_pending");
  });

  it("used to see GitHub's answers for longer than it takes to read them", async () => {
    await signIn("ada");
    const tokens = service.github.requests.map(({ headers }) => /^Bearer (gho_\S+)$/.exec(headers.authorization ?? "")?.[1]).filter(Boolean);
    assert.ok(tokens.length > 0);
    const needles = [...tokens, ...Object.values(privateParts(ADA)), service.github.clientSecret, JWT_SECRET];
    assert.deepEqual(search(await dump(service), needles), []);
  });
});

describe("a GitHub that fails", { concurrency: true }, () => {
  const json = (value) => (response) => response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  const token = json({ access_token: "gho_x", token_type: "bearer", scope: "" });
  const ADA_THERE = { id: 1, login: "ada", name: "Ada", avatar_url: "https://avatars.invalid/u/1" };
  /** What is wrong, how it answers for a token, how it answers for the person, and the words in the log. */
  const FAULTS = [
    ["answers with a page", (response) => response.end("<html>Unicorn!</html>"), null, /answer to the token request makes no sense/],
    ["gives neither token nor error", json({}), null, /answer to the token request makes no sense/],
    ["gives an empty token", json({ access_token: "" }), null, /answer to the token request makes no sense/],
    ["does not accept the service's credentials", json({ error: "incorrect_client_credentials" }), null, /does not accept GITHUB_CLIENT_ID/],
    ["knows another callback", json({ error: "redirect_uri_mismatch" }), null, /callback is not/],
    ["leads elsewhere", (response) => response.writeHead(307, { location: "/elsewhere" }).end(), null, /status 307/],
    ["breaks off", (response) => response.destroy(), null, /cannot be reached/],
    ["never answers", () => {}, null, /did not answer the token request in time/],
    ["never ends its answer", (response) => response.write("{"), null, /the token request/],
    ["does not accept its own token", token, (response) => response.writeHead(401).end("{}"), /user request with status 401/],
    ["names a person without a number", token, json({ ...ADA_THERE, id: undefined }), /answer to the user request makes no sense/],
    ["names a person with a text for a number", token, json({ ...ADA_THERE, id: "1" }), /answer to the user request makes no sense/],
    ["names a person without a login", token, json({ ...ADA_THERE, login: "" }), /names nobody/],
  ];
  const HIDING = json({ ...ADA_THERE, login: "ada\u00ad" });

  let failing;
  let github;
  const faults = new Map(FAULTS.map(([what, forToken, forPerson], index) => [`code-${index}`, { what, forToken, forPerson }]));
  faults.set("code-hiding", { what: "names a person by a login that it gives to nobody", forToken: token, forPerson: HIDING });
  before(async () => {
    // The code tells which fault is asked for; the person is asked for right after the token, so the token tells it there.
    github = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const code = new URLSearchParams(Buffer.concat(chunks).toString()).get("code");
      if (request.url === "/user") return faults.get(request.headers.authorization.replace("Bearer ", "")).forPerson(response);
      const { forToken } = faults.get(code);
      return forToken === token ? json({ access_token: code })(response) : forToken(response);
    }).listen(0, "127.0.0.1");
    await once(github, "listening");
    const url = `http://127.0.0.1:${github.address().port}`;
    failing = await startService({ people: [], vars: { GITHUB_URL: url, GITHUB_API_URL: url } });
  });
  after(async () => {
    github?.closeAllConnections();
    github?.close();
    await failing?.dispose();
  });

  /** The page to which a person comes back from GitHub with this code. */
  const comeBack = async (code) => {
    const { started } = await startHandshake({ to: failing });
    const browser = new Browser();
    const start = await browser.open(started.verification_uri_complete);
    const { form } = start.onlyButton();
    const cookie = browser.cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
    const away = await fetch(`${failing.url}/sign-in`, { method: "POST", redirect: "manual", headers: { cookie }, body: new URLSearchParams(form.fields) });
    const state = new URL(away.headers.get("location")).searchParams.get("state");
    return browser.open(`${failing.url}/sign-in/callback?code=${code}&state=${state}`);
  };

  it("gives nobody a login that passes for another's", async () => {
    const page = await comeBack("code-hiding");
    assert.equal(page.status, 403, page.text);
    assert.match(page.text, /Your login at GitHub cannot be used here: .*another account/);
    assert.deepEqual((await tablesOf(failing)).users, []);
  });

  FAULTS.forEach(([what, , , says], index) => {
    it(`is survived, told to the person without details and to the log with them, when it ${what}`, async () => {
      const page = await comeBack(`code-${index}`);
      assert.equal(page.status, 503, page.text);
      assert.match(page.text, /GitHub could not be asked who you are\. Wait a moment/);
      assert.ok(await eventually(() => failing.log.some((line) => says.test(line))), failing.log.join("\n"));
      assert.deepEqual((await tablesOf(failing)).users, []);
    });
  });
});

describe("every page", () => {
  it("loads nothing, frames nowhere, and leads its forms to the service and GitHub only", async () => {
    const handshake = await startHandshake();
    const { start, confirm, browser } = await browseToConfirmation(handshake);
    const done = await browser.press(confirm, confirm.button("decision", "approve"));
    const others = await Promise.all(["/", "/join", "/sign-in", "/sign-in/confirm"].map((path) => new Browser().open(`${service.url}${path}`)));
    for (const page of [start, confirm, done, ...others]) {
      const policy = page.headers["content-security-policy"];
      assert.match(policy, /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; form-action 'self'( http:\S+)?; frame-ancestors 'none'; base-uri 'none'$/, page.url);
      const style = /<style>(.*?)<\/style>/s.exec(page.html)[1];
      assert.ok(policy.includes(`'sha256-${Buffer.from(await crypto.subtle.digest("SHA-256", utf8(style))).toString("base64")}'`), "the style is not the one that is allowed");
      assert.equal(page.headers["referrer-policy"], "no-referrer");
      assert.equal(page.headers["x-content-type-options"], "nosniff");
      assert.equal(page.headers["cache-control"], "no-store");
      assert.ok(!/<script|javascript:|\son\w+=|style=|https?:\/\//i.test(page.html.replaceAll(service.url, "")), page.html);
      assert.match(page.html, /<html lang="en">/);
    }
    assert.ok(start.headers["content-security-policy"].includes(`form-action 'self' ${service.github.url};`));
  });

  it("sets one cookie, which scripts and other sites cannot use, and takes it back at the end", async () => {
    const handshake = await startHandshake();
    const { browser, confirm } = await browseToConfirmation(handshake);
    const [{ name, path, httpOnly, sameSite, expires }, ...others] = browser.cookies;
    assert.deepEqual({ name, path, httpOnly, sameSite, others }, { name: "osmynt-sign-in", path: "/", httpOnly: true, sameSite: "lax", others: [] });
    assert.ok(expires <= Date.now() + 300_000);
    await browser.press(confirm, confirm.button("decision", "approve"));
    assert.ok(browser.cookies.every((cookie) => cookie.expires <= Date.now()));
  });

  it("sets the cookie for TLS only and for one host, where the service is reached by TLS", async () => {
    const secure = await startService({ people: [ADA], vars: { ORIGIN: "https://osmynt.example" } });
    try {
      const { started } = await startHandshake({ to: secure });
      assert.ok(started.verification_uri_complete.startsWith("https://osmynt.example/sign-in?code="));
      const answer = await fetch(`${secure.url}/sign-in?code=${started.user_code}`);
      assert.match(answer.headers.get("set-cookie"), /^__Host-osmynt-sign-in=[^;]+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/);
    } finally {
      await secure.dispose();
    }
  });
});

describe("the service", () => {
  it("says that it is well", async () => {
    const answer = await fetch(`${service.url}/healthz`);
    assert.deepEqual([answer.status, await answer.json()], [200, { status: "ok" }]);
  });

  it("refuses to run with a short JWT_SECRET, and says so to whoever runs it and nobody else", async () => {
    const weak = await startService({ people: [ADA], vars: { JWT_SECRET: "short" } });
    try {
      const answer = await fetch(`${weak.url}/healthz`);
      assert.equal(answer.status, 500);
      assert.ok(!(await answer.text()).includes("JWT_SECRET"));
      assert.ok(await eventually(() => weak.log.some((line) => /JWT_SECRET has fewer than 32 bytes/.test(line))), weak.log.join("\n"));
    } finally {
      await weak.dispose();
    }
  });

  it("writes one line a request to its log, which names a route and nobody", async () => {
    const device = await signIn("ada", { name: "a name for no log" });
    await device.api.me();
    const path = `/v1/teams/${device.key.id}?secret=of-the-query`;
    const credentials = await device.api.credentials("GET", path);
    await fetch(`${service.url}${path}`, { headers: credentials });
    const line = (route) => service.log.findLast((text) => text.includes(`"route":"${route}"`));
    assert.ok(await eventually(() => line("/v1/teams/{team}")), service.log.join("\n"));
    const { ms, ...rest } = JSON.parse(/\{.*\}/.exec(line("/v1/teams/{team}"))[0]);
    assert.deepEqual(rest, { method: "GET", route: "/v1/teams/{team}", status: 403, code: "forbidden" });
    assert.ok(Number.isInteger(ms));
    const { user, access_token, refresh_token } = device.tokens;
    const { user_code, device_code } = device.started;
    for (const secret of [user, access_token, refresh_token, user_code, device_code, device.key.id, credentials.DPoP, "of-the-query", "a name for no log", "Lovelace", JWT_SECRET]) {
      assert.ok(!service.log.some((text) => text.includes(secret)), `the log has ${secret}`);
    }
  });
});

/** The same token with other claims, signed as the service signs. */
function again(token, claims) {
  return new SignJWT({ ...decodeJwt(token), ...claims }).setProtectedHeader(decodeProtectedHeader(token)).sign(utf8(JWT_SECRET));
}

/** The rows of D1, by table. */
async function tablesOf({ mf }) {
  const database = await mf.getD1Database("DB");
  const names = ["users", "sessions", "devices", "handshakes"];
  const results = await database.batch(names.map((name) => database.prepare(`SELECT * FROM ${name}`)));
  return Object.fromEntries(names.map((name, index) => [name, results[index].results]));
}

/** Lines of the log arrive a moment after the answer. */
async function eventually(holds) {
  for (let attempt = 0; attempt < 50 && !holds(); attempt += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  return holds();
}
