// Signing in, from both ends: what a device gets by HTTP, and what a person sees in a browser on the way. Each refusal of the browser's part
// leaves every store as it was. (What becomes of a session is the business of sessions.test.mjs, what clients send wrongly that
// of refusals.test.mjs.)

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";
import { Problem } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, randomBytes, utf8 } from "./client/encodings.mjs";
import { ACCESS_SECONDS, SESSION_SECONDS, WRONG_VERIFIERS } from "./client/limits.mjs";
import { nameCommitment, newOpening } from "./client/userlog.mjs";
import { Browser, approve } from "./support/browser.mjs";
import { dump, search, snapshot } from "./support/dump.mjs";
import { person, privateParts } from "./support/github.mjs";
import { browseToConfirmation, poll, refresh, refreshOf, signIn as getTokens, startHandshake as beginHandshake } from "./support/handshake.mjs";
import { startService } from "./support/harness.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const ADA = person(4001, "ada", "Ada <b>&</b> \"Lovelace\"");
const GRACE = person(4002, "grace", null);
/** Comes too late, and so must never be stored. */
const LATE = person(4003, "late", "Late");
const OTHERS = ["founded", "renamed", "holds", "deletes", "friend"].map((login, index) => person(4010 + index, login, login));
const now = () => Math.floor(Date.now() / 1000);

let service;
before(async () => {
  service = await startService({ people: [ADA, GRACE, LATE, ...OTHERS], vars: { JWT_SECRET } });
});
after(() => service?.dispose());

/** These by devices of Ada's, on the service of most tests. */
const startHandshake = ({ to = service, ...options } = {}) => beginHandshake(to.url, { name: "Ada's laptop", ...options });
const signIn = (login, options) => getTokens(service.url, login, options);
/** A client, as that also founds a user if the account has none. */
const inLog = (login, name) =>
  Client.signIn({ origin: service.url, name, approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) });

const codeOf = async (answer) => (await answer.json()).code;
const refuses = (code, action) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);

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

    const { access_token, refresh_token, account, ...rest } = tokens;
    assert.deepEqual(rest, { token_type: "DPoP", expires_in: ACCESS_SECONDS, refresh_expires_in: SESSION_SECONDS });
    for (const [token, typ, aud, seconds] of [[access_token, "at+jwt", "osmynt-access", ACCESS_SECONDS], [refresh_token, "rt+jwt", "osmynt-refresh", SESSION_SECONDS]]) {
      const { kid, ...header } = decodeProtectedHeader(token);
      assert.deepEqual(header, { alg: "HS256", typ });
      assert.match(kid, /^[\w-]+$/);
      const { iss, sub, cnf, iat, exp, sid, ...others } = decodeJwt(token);
      assert.deepEqual({ iss, sub, cnf, others }, { iss: service.url, sub: account, cnf: { jkt: key.id }, others: { aud, gen: 0 } });
      assert.equal(exp - iat, seconds);
      assert.ok(Math.abs(iat - now()) < 60);
      assert.match(sid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
  });

  it("is told whose account it is, and that it is in no log yet", async () => {
    const device = await signIn("ada");
    const { account, ...rest } = await device.api.me();
    assert.deepEqual(rest, { device: { id: device.key.id, user: null, active: false }, head: null, other: null, erasures: [] });
    assert.deepEqual(account, { id: device.tokens.account, github_id: ADA.id, login: "ada", name: ADA.name, avatar_url: ADA.avatar_url });
  });

  it("is told who the account's user is, if there is one, and what they are in", async () => {
    const desk = await inLog("founded", "desk");
    const [alone, shared] = [await desk.createTeam("Alone"), await desk.createTeam("Shared")];
    const friend = await inLog("friend", "desk");
    await friend.join((await desk.invite(shared, { role: "owner" })).code);
    const phone = await signIn("founded");
    const { device, head, other } = await phone.api.me();
    assert.deepEqual({ device, head }, { device: { id: phone.key.id, user: null, active: false }, head: null });
    const teams = [
      { team: alone, role: "owner", others: 0, other_owner: false },
      { team: shared, role: "owner", others: 1, other_owner: true },
    ].sort((a, b) => (a.team < b.team ? -1 : 1));
    assert.deepEqual(other, { user: desk.user, devices: 1, teams });
    // Who is in a log already is told where it stands, and not about themself.
    const { head: own } = await desk.ownLog();
    const me = await desk.api.me();
    assert.deepEqual([me.device, me.head, me.other], [{ id: desk.device.id, user: desk.user, active: true }, own, null]);
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
    assert.equal(second.tokens.account, first.tokens.account);
    assert.equal((await first.api.me()).account.login, "grace-hopper");
    assert.equal((await first.api.me()).account.name, null);
  });

  it("signs the name that GitHub gave last, and no other", async () => {
    const desk = await inLog("renamed", "desk");
    assert.equal((await desk.api.myLog(0)).name.login, "renamed");
    const github = service.github.people.find(({ login }) => login === "renamed");
    github.login = "renamed-since";
    const signedAs = async (login) => {
      const log = await desk.ownLog();
      const name = newOpening({ github_id: github.id, login });
      const event = { type: "name.signed", commitment: await nameCommitment(desk.user, name) };
      await desk.api.appendToMyLog([await desk.appendTo(log, event)], [], [name]);
      return (await desk.api.myLog(0)).name.login;
    };
    // The service has not heard of it.
    await refuses("forbidden", () => signedAs("renamed-since"));
    await signIn("renamed-since");
    await refuses("forbidden", () => signedAs("renamed"));
    assert.equal(await signedAs("renamed-since"), "renamed-since");
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
    assert.match((await answer.json()).detail, new RegExp(`Send requests to ${service.url},`));
  });

  it("may come again with the same proof, and then gets nothing that the first did not", async () => {
    const device = await signIn("ada");
    const headers = { "Content-Type": "application/json", ...(await device.api.credentials("POST", "/v1/tokens")) };
    const body = JSON.stringify(refreshOf(device.tokens));
    const send = async () => (await fetch(`${service.url}/v1/tokens`, { method: "POST", headers, body })).json();
    const [first, second] = [await send(), await send()];
    assert.equal(first.refresh_token, second.refresh_token);
    assert.equal(decodeJwt(first.access_token).gen, decodeJwt(second.access_token).gen);
  });
});

describe("a person", () => {
  it("sees the device's name and code before GitHub, and with their own name before they confirm", async () => {
    const handshake = await startHandshake({ name: "the <laptop> of \"Ada\" & co" });
    const { start, confirm } = await browseToConfirmation(handshake, "ada");
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
      const { accounts, users, sessions, devices } = await tablesOf(fresh);
      assert.deepEqual({ accounts, users, sessions, devices }, { accounts: [], users: [], sessions: [], devices: [] });
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
    const { account } = await (await poll(handshake)).json();
    assert.equal((await tablesOf(service)).accounts.find(({ id }) => id === account).login, "grace");
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

  it("is told what to do with the code of an invitation, in a page that asks for none", async () => {
    const page = await new Browser().open(`${service.url}/join`);
    assert.equal(page.status, 200);
    assert.match(page.text, /osmynt team join CODE/);
    assert.deepEqual(page.forms, []);
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
    const { browser, confirm } = await browseToConfirmation(handshake, "ada");
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
    const { browser, confirm } = await browseToConfirmation(await startHandshake(), "ada");
    await assertPageRefuses(400, /two buttons/, () => browser.press(confirm, { ...confirm.button("decision", "approve"), value: "maybe" }));
  });

  it("finished after 300 seconds", async () => {
    const { browser } = await browseToConfirmation(await startHandshake(), "ada");
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
    assert.deepEqual((await tablesOf(failing)).accounts, []);
  });

  FAULTS.forEach(([what, , , says], index) => {
    it(`is survived, told to the person without details and to the log with them, when it ${what}`, async () => {
      const page = await comeBack(`code-${index}`);
      assert.equal(page.status, 503, page.text);
      assert.match(page.text, /GitHub could not be asked who you are\. Wait a moment/);
      assert.ok(await eventually(() => failing.log.some((line) => says.test(line))), failing.log.join("\n"));
      assert.deepEqual((await tablesOf(failing)).accounts, []);
    });
  });
});

describe("a device that belongs to somebody", () => {
  const ADVICE = /To use it as a new device of yours, run osmynt logout --erase there, then sign in again\./;
  /** Lets a person approve this device, and says what it comes to: the page, and the answer to the device. */
  const approved = async (key, login) => {
    const handshake = await startHandshake({ key });
    const page = await approve(handshake.started.verification_uri_complete, login);
    return { page, outcome: await codeOf(await poll(handshake)) };
  };
  /** Of what says who has which device, and who is signed in. */
  const belongings = async () => {
    const { accounts, users, devices, sessions } = await tablesOf(service);
    return { accounts, users, devices, sessions };
  };
  const assertRefused = async (key, login, says) => {
    const before = await belongings();
    const { page, outcome } = await approved(key, login);
    assert.equal(page.status, 403, page.text);
    assert.match(page.text, says);
    assert.match(page.text, ADVICE);
    assert.equal(outcome, "access_denied");
    assert.deepEqual(await belongings(), before, "it was signed in");
  };

  it("is refused to everybody else, on the page and to the device", async () => {
    const desk = await inLog("holds", "desk");
    await assertRefused(desk.device, "ada", /belongs to another user/);
    await desk.api.me();
    // And not to its own person.
    const again = await signIn("holds", { key: desk.device });
    assert.equal((await again.api.me()).device.user, desk.user);
  });

  it("is refused also if it came into a log after somebody else had approved it", async () => {
    const desk = await inLog("holds", "desk");
    const phone = await inLog("holds", "phone");
    const handshake = await startHandshake({ key: phone.device });
    const page = await approve(handshake.started.verification_uri_complete, "ada");
    assert.equal(page.status, 200, page.text);
    await desk.startOver();
    await phone.startOver();
    const before = await belongings();
    assert.equal(await codeOf(await poll(handshake)), "access_denied");
    assert.deepEqual(await belongings(), before);
    assert.equal((await phone.api.me()).device.active, true);
  });

  it("is refused to its own person once it was revoked, also if they had approved it before", async () => {
    const [desk, phone] = [await inLog("holds", "desk"), await inLog("holds", "phone")];
    await desk.startOver();
    phone.user = desk.user;
    await desk.addDevice(await phone.describe());
    const handshake = await startHandshake({ key: phone.device });
    await approve(handshake.started.verification_uri_complete, "holds");
    await desk.revokeDevice(phone.device.id);
    assert.equal(await codeOf(await poll(handshake)), "access_denied");
    await assertRefused(phone.device, "holds", /was revoked, for good/);
    await assertRefused(phone.device, "ada", /belongs to another user/);
  });

  it("is refused to everybody once its user was deleted, as long as anybody's log names the user", async () => {
    const [desk, friend] = [await inLog("deletes", "desk"), await inLog("friend", "desk")];
    await friend.startOver();
    const team = await friend.createTeam("Left");
    await desk.join((await friend.invite(team)).code);
    await desk.leave(team);
    await desk.api.deleteAccount();
    for (const login of ["deletes", "ada"]) await assertRefused(desk.device, login, /one who was deleted/);
    await friend.deleteTeam(team);
    await signIn("deletes", { key: desk.device });
  });
});

describe("every page", () => {
  it("loads nothing, frames nowhere, and leads its forms to the service and GitHub only", async () => {
    const handshake = await startHandshake();
    const { start, confirm, browser } = await browseToConfirmation(handshake, "ada");
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
    const { browser, confirm } = await browseToConfirmation(handshake, "ada");
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
    const path = `/v1/teams/${device.key.id}/log?secret=of-the-query`;
    const credentials = await device.api.credentials("GET", path);
    await fetch(`${service.url}${path}`, { headers: credentials });
    const line = (route) => service.log.findLast((text) => text.includes(`"route":"${route}"`));
    assert.ok(await eventually(() => line("/v1/teams/{team}/log")), service.log.join("\n"));
    const { ms, ...rest } = JSON.parse(/\{.*\}/.exec(line("/v1/teams/{team}/log"))[0]);
    assert.deepEqual(rest, { method: "GET", route: "/v1/teams/{team}/log", status: 403, code: "forbidden" });
    assert.ok(Number.isInteger(ms));
    const { account, access_token, refresh_token } = device.tokens;
    const { user_code, device_code } = device.started;
    for (const secret of [account, access_token, refresh_token, user_code, device_code, device.key.id, credentials.DPoP, "of-the-query", "a name for no log", "Lovelace", JWT_SECRET]) {
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
  const names = ["accounts", "users", "sessions", "devices", "handshakes"];
  const results = await database.batch(names.map((name) => database.prepare(`SELECT * FROM ${name}`)));
  return Object.fromEntries(names.map((name, index) => [name, results[index].results]));
}

/** Lines of the log arrive a moment after the answer. */
async function eventually(holds) {
  for (let attempt = 0; attempt < 50 && !holds(); attempt += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  return holds();
}
