// The table of proofs: every route of the service (tests/routes.json, made from the router) against every way of not being who may call it. A
// route without a row fails, and a row without a route. Each cell is the row's good request with one thing wrong, must be refused with its
// code and leave every store as it was; at the end of each row the good request is sent as it is, and must succeed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { after, before, describe, it } from "node:test";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";
import { Api, readProblem, STATUS } from "./client/api.mjs";
import { proofFor } from "./client/dpop.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { makeKeyPair, scalarOf } from "./client/keys.mjs";
import { PROOF_BYTES, PROOF_ID_BYTES, PROOF_SKEW } from "./client/limits.mjs";
import { MEDIA_TYPE, newSnippetId } from "./client/snippet.mjs";
import { sign } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { UserLog } from "./client/userlog.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";
import { snapshot } from "./support/dump.mjs";
import { beforeFounding } from "./support/handshake.mjs";

const ROUTES = JSON.parse(readFileSync(new URL("routes.json", import.meta.url), "utf8"));
const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const now = () => Math.floor(Date.now() / 1000);
const code = utf8("let x = 1;\n");

/** @type {Record<string, import("./client/client.mjs").Client>} */
let people;
let world, team, doomed, snippet, another;
/** What a client had before its last refresh, and a device code that its device got. */
const earlier = new Map();
const deviceCodes = new Map();

before(async () => {
  const logins = ["owner", "member", "removed", "stranger", "beginner", "newcomer", "ends", "ends-all", "deletes", "begins-anew"];
  world = await startWorld(logins, { vars: { JWT_SECRET } });
  const signIn = async (login, options) => {
    const client = await world.signIn(login, options);
    earlier.set(client, client.tokens);
    await client.refresh();
    const statement = { jwk: client.device.jwk, challenge: await hashOf(randomBytes(32)), name: "again", iat: now() };
    deviceCodes.set(client, (await client.api.handshake(await sign("osmynt-handshake+jws", statement, client.device))).device_code);
    return client;
  };
  const [owner, member, removed, stranger, ends, endsAll, deletes] = await Promise.all(
    ["owner", "member", "removed", "stranger", "ends", "ends-all", "deletes"].map((login) => signIn(login)),
  );
  // Devices of the owner that may do nothing more, or not yet.
  const [ended, revoked, pending, leaving] = [await signIn("owner"), await signIn("owner"), await signIn("owner"), await signIn("owner")];
  for (const device of [ended, revoked]) await owner.addDevice(await device.describe());
  await owner.revokeDevice(revoked.device.id);
  await ended.api.me();
  await owner.api.endSession(decodeJwt(ended.tokens.access_token).sid);
  // Their accounts have no user yet.
  const [beginner, newcomer] = [await beforeFounding(() => signIn("beginner")), await beforeFounding(() => signIn("newcomer"))];
  const phone = await signIn("ends");
  // Two users of one account.
  const [former, present] = [await signIn("begins-anew"), await signIn("begins-anew")];
  await present.startOver();
  people = { owner, member, removed, stranger, ends, endsAll, deletes, ended, revoked, pending, leaving, beginner, newcomer, phone, former, present };
  const newTeam = async () => {
    const id = await makeTeam(owner, "Table", [["member", member], ["member", removed]]);
    await owner.removeMember(id, removed.user);
    return id;
  };
  [team, doomed] = [await newTeam(), await newTeam()];
  [snippet, another] = [await owner.share(team, code), await owner.share(team, code)];
  unchanged = await snapshot(world.service);
});
after(() => world?.dispose());

// --- requests: { method, path, headers, body }; a header may be a list, of which each becomes a line ---

const json = (method, path, value) => ({ method, path, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

const send = ({ method, path, headers = {}, body }, credentials = {}) =>
  new Promise((resolve, reject) => {
    const sent = httpRequest(`${world.service.url}${path}`, { method, headers: { ...headers, ...credentials }, agent: false });
    sent.on("error", reject);
    sent.on("response", async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      const body = [204, 304].includes(response.statusCode) ? null : Buffer.concat(chunks);
      resolve(new Response(body, { status: response.statusCode, headers: response.headers }));
    });
    sent.end(body === undefined ? undefined : Buffer.from(body));
  });

/** The state of all stores, which no refusal may change. */
let unchanged;

async function assertRefused(expected, answer) {
  const after = await snapshot(world.service);
  const before = unchanged;
  unchanged = after; // So that one failure is not the next one's.
  const text = `${answer.status} ${await answer.clone().text()}`;
  assert.ok(!answer.ok, `expected ${expected}, got ${text}`);
  const problem = await readProblem(answer);
  assert.deepEqual([problem.code, problem.status], [expected, STATUS[expected]], text);
  // RFC 9449 section 7.1.
  if (expected === "unauthenticated") assert.match(answer.headers.get("www-authenticate"), /^DPoP\b/);
  assert.deepEqual(after, before, "something was stored");
}

async function assertAccepted(status, answer) {
  unchanged = await snapshot(world.service);
  assert.equal(answer.status, status, await answer.clone().text());
}

// --- the columns ---

/** What a client sends besides the request itself, with one flaw: in `scheme`, in the access `token`, or in the proof. */
async function credentials(client, { method, path }, { scheme = "DPoP", token = client.tokens.access_token, ...flaws } = {}) {
  const proof = await proofFor({ method, url: `${world.service.url}${path}`, token, key: client.device, ...flaws });
  return { Authorization: `${scheme} ${token}`, DPoP: proof };
}

/** A token of this service with other claims, another header or another signature. */
async function forged(token, { claims = {}, header = {}, secret = JWT_SECRET } = {}) {
  return new SignJWT({ ...decodeJwt(token), ...claims }).setProtectedHeader({ ...decodeProtectedHeader(token), ...header }).sign(utf8(secret));
}
const part = (value) => b64u.encode(utf8(JSON.stringify(value)));
const unsigned = (token, signature) => `${part({ ...decodeProtectedHeader(token), alg: "none" })}.${token.split(".")[1]}.${signature}`;
const NO_HASH = b64u.encode(new Uint8Array(32));

/** What can be wrong with a token of any purpose: [what, token => flawed token]. */
const TOKEN_FLAWS = [
  ["garbage", () => "x.y.z"],
  ["another signature", (token) => `${token.slice(0, -6)}AAAAAA`],
  ["no signature", (token) => token.replace(/[^.]*$/, "")],
  ["alg none, without a signature", (token) => unsigned(token, "")],
  ["alg none, with the signature", (token) => unsigned(token, token.split(".")[2])],
  ["HS384", (token) => forged(token, { header: { alg: "HS384" } })],
  ["HS512", (token) => forged(token, { header: { alg: "HS512" } })],
  ["another audience", (token) => forged(token, { claims: { aud: "osmynt-other" } })],
  ["no audience", (token) => forged(token, { claims: { aud: undefined } })],
  ["another issuer", (token) => forged(token, { claims: { iss: "https://elsewhere.example" } })],
  ["another typ", (token) => forged(token, { header: { typ: "JWT" } })],
  ["no typ", (token) => forged(token, { header: { typ: undefined } })],
  ["another secret", (token) => forged(token, { secret: "another secret of the tests, no less long" })],
  ["an unknown kid", (token) => forged(token, { header: { kid: "AAAAAAAAAAA" } })],
  ["no kid", (token) => forged(token, { header: { kid: undefined } })],
  ["no end", (token) => forged(token, { claims: { exp: undefined } })],
];
/** What can be wrong besides with a token of a session. */
const SESSION_FLAWS = [
  ["another session", (token) => forged(token, { claims: { sid: crypto.randomUUID() } })],
  ["the session of somebody else", (token) => forged(token, { claims: { sid: decodeJwt(people.stranger.tokens.access_token).sid } })],
  ["another account", (token) => forged(token, { claims: { sub: people.stranger.account.id } })],
  ["another device", (token) => forged(token, { claims: { cnf: { jkt: people.stranger.device.id } } })],
  ["a generation to come", (token) => forged(token, { claims: { gen: decodeJwt(token).gen + 1 } })],
  ["no generation", (token) => forged(token, { claims: { gen: undefined } })],
];

/** What can be wrong with a proof: [what, code, ({ client, request }) => flaws of `proofFor`]. */
const PROOF_FLAWS = [
  ["a proof of another key", "unauthenticated", async () => ({ key: await makeKeyPair("ECDSA") })],
  ["a proof of another user's device", "unauthenticated", () => ({ key: people.stranger.device })],
  ["a proof that another key signed", "unauthenticated", async () => ({ signedBy: await makeKeyPair("ECDSA") })],
  ["a proof for another path", "unauthenticated", ({ request }) => ({ claims: { htu: `${world.service.url}${new URL(request.path, "http://x").pathname}/x` } })],
  ["a proof for another origin", "unauthenticated", ({ request }) => ({ claims: { htu: `https://elsewhere.example${request.path}` } })],
  ["a proof for a path alone", "unauthenticated", ({ request }) => ({ claims: { htu: request.path } })],
  ["a proof for another method", "unauthenticated", ({ request }) => ({ claims: { htm: request.method === "GET" ? "POST" : "GET" } })],
  ["a proof for the method in lower case", "unauthenticated", ({ request }) => ({ claims: { htm: request.method.toLowerCase() } })],
  ["a stale proof", "clock-skew", () => ({ claims: { iat: now() - PROOF_SKEW - 1 } })],
  ["a proof of the future", "clock-skew", () => ({ claims: { iat: now() + PROOF_SKEW + 60 } })],
  ["a proof without alg", "unauthenticated", () => ({ header: { alg: undefined } })],
  ["a proof with alg none", "unauthenticated", () => ({ header: { alg: "none" } })],
  ["a proof with alg HS256", "unauthenticated", () => ({ header: { alg: "HS256" } })],
  ["a proof of another typ", "unauthenticated", () => ({ header: { typ: "JWT" } })],
  ["a proof without typ", "unauthenticated", () => ({ header: { typ: undefined } })],
  ["a proof without a key", "unauthenticated", ({ client }) => ({ header: { jwk: undefined, kid: client.device.id } })],
  ["a proof with the private key", "unauthenticated", async ({ client: { device } }) => ({ header: { jwk: { ...device.jwk, d: b64u.encode(await scalarOf(device.privateKey)) } } })],
  ["a proof with a symmetric key", "unauthenticated", () => ({ header: { jwk: { kty: "oct", k: NO_HASH } } })],
  ["a proof with an unknown header member", "unauthenticated", () => ({ header: { crit: ["b64"], b64: false } })],
  ["a proof with an unknown claim", "unauthenticated", () => ({ claims: { nonce: "x" } })],
  ["a proof without a jti", "unauthenticated", () => ({ claims: { jti: undefined } })],
  ["a proof with an empty jti", "unauthenticated", () => ({ claims: { jti: "" } })],
  ["a proof with a jti over its limit", "unauthenticated", () => ({ claims: { jti: "x".repeat(PROOF_ID_BYTES + 1) } })],
  ["a proof with a jti that is not visible", "unauthenticated", () => ({ claims: { jti: "a b" } })],
  ["a proof without a method", "unauthenticated", () => ({ claims: { htm: undefined } })],
  ["a proof without an address", "unauthenticated", () => ({ claims: { htu: undefined } })],
  ["a proof without a time", "unauthenticated", () => ({ claims: { iat: undefined } })],
];
/** What can be wrong besides with a proof that goes with an access token. */
const BOUND_PROOF_FLAWS = [
  ["a proof for another token", "unauthenticated", async () => ({ claims: { ath: await hashOf(utf8(people.stranger.tokens.access_token)) } })],
  ["a proof for the token before", "unauthenticated", async ({ client }) => ({ claims: { ath: await hashOf(utf8(earlier.get(client).access_token)) } })],
  ["a proof without ath", "unauthenticated", () => ({ claims: { ath: undefined } })],
  ["a proof with an empty ath", "unauthenticated", () => ({ claims: { ath: "" } })],
];
/** What can stand in the header DPoP in the place of a good proof: [what, proof => header]. */
const HEADER_FLAWS = [
  ["no proof", () => []],
  ["an empty proof", () => ""],
  ["a proof that is none", () => "x.y.z"],
  ["two proofs", async (proof, other) => [proof, await other()]],
  ["the same proof twice", (proof) => [proof, proof]],
  ["two proofs in a line", async (proof, other) => `${proof}, ${await other()}`],
  ["a proof without its signature", (proof) => proof.replace(/[^.]*$/, "")],
  ["a proof with a random signature", (proof) => proof.replace(/[^.]*$/, b64u.encode(randomBytes(64)))],
  ["a proof with padding", (proof) => `${proof}==`],
  ["a proof over its limit", (proof) => proof.padEnd(PROOF_BYTES + 1, "A")],
];

/** The columns of every route with a caller: [what, code, (client, request) => credentials]. `client` is the row's. */
const FLAWS = [
  ["no token", "unauthenticated", async (client, request) => ({ DPoP: (await credentials(client, request)).DPoP })],
  ["neither token nor proof", "unauthenticated", () => ({})],
  ["an empty token", "unauthenticated", (client, request) => credentials(client, request, { token: "" })],
  ["the scheme Bearer", "unauthenticated", (client, request) => credentials(client, request, { scheme: "Bearer" })],
  ["the scheme Bearer, without a proof", "unauthenticated", (client) => ({ Authorization: `Bearer ${client.tokens.access_token}` })],
  ["the scheme Basic", "unauthenticated", (client, request) => credentials(client, request, { scheme: "Basic" })],
  ...[
    ...TOKEN_FLAWS,
    ...SESSION_FLAWS,
    ["an end in the past", (token) => forged(token, { claims: { exp: now() - 1 } })],
  ].map(([what, flawed]) => [`a token with ${what}`, "unauthenticated", async (client, request) =>
    credentials(client, request, { token: await flawed(client.tokens.access_token) })]),
  ["a refresh token", "unauthenticated", (client, request) => credentials(client, request, { token: client.tokens.refresh_token })],
  ["a device code", "unauthenticated", (client, request) => credentials(client, request, { token: deviceCodes.get(client) })],
  ["the access token of the generation before", "unauthenticated", (client, request) => credentials(client, request, { token: earlier.get(client).access_token })],
  ["the token of another user", "unauthenticated", (client, request) => credentials(client, request, { token: people.stranger.tokens.access_token })],
  ...HEADER_FLAWS.map(([what, flawed]) => [what, "unauthenticated", async (client, request) => {
    const good = await credentials(client, request);
    const DPoP = await flawed(good.DPoP, async () => (await credentials(client, request)).DPoP);
    return { ...good, DPoP };
  }]),
  ...[...PROOF_FLAWS, ...BOUND_PROOF_FLAWS].map(([what, code, flaws]) => [what, code, async (client, request) =>
    credentials(client, request, await flaws({ client, request }))]),
  ["a proof whose jti was used before", "unauthenticated", async (client, request) => {
    const claims = { jti: b64u.encode(randomBytes(16)) };
    const me = { method: "GET", path: "/v1/me" };
    await assertAccepted(200, await send(me, await credentials(client, me, { claims })));
    return credentials(client, request, { claims });
  }],
  // Others than the row's client, with all that is theirs in order.
  ["a session that was ended", "unauthenticated", (_, request) => credentials(people.ended, request)],
  ["a device that was revoked", "unauthenticated", (_, request) => credentials(people.revoked, request)],
];

// --- the rows ---

/**
 * By route:
 *
 * - `status`: of the good request
 * - `by`: whose it is, the owner's when absent
 * - `request`: makes it, for a client
 * - `newDevice`: for routes that are open to a device which is in no log: `{ by, status }`, and `request` if it is another
 * - `byKey`: for routes that a device may call without a session: `{ by, request }`, of a device that has none
 * - `role`: what a plain member may not, as a request; or in words, why every member may what this route does
 */
const commitsOf = async (client, events) => (await client.buildCommit(await client.read(team), events, null)).body;
const invitationOf = async () => [{ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role: "member", exp: now() + 3600, uses: 1 }];
const newTeamOf = async (client) => {
  const { log: own, prekeys } = await client.readOwn();
  const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: { max_epoch_age: 3600, joining: "invitation" } };
  return (await client.buildCommit({ log: new TeamLog(), directory: new Map([[client.user, own]]), prekeys }, [event], "Another")).body;
};
const beginningOf = async (client) => {
  const log = new UserLog();
  const entries = [await client.appendTo(log, { type: "device.added", device: await client.describeDevice(null) })];
  return { entries, prekeys: [await client.newPrekey(log.user)], names: [], start_over: false };
};
const get = (path) => ({ status: 200, request: () => ({ method: "GET", path: typeof path === "string" ? path : path() }) });
const EVERYBODY_READS = "every member may read what is the team's";

const ROWS = {
  "GET /v1/me": { ...get("/v1/me"), newDevice: { by: "pending", status: 200 } },
  "GET /v1/me/log": { ...get("/v1/me/log?from=0"), newDevice: { by: "pending", status: 200 } },
  "POST /v1/me/log": {
    status: 200,
    by: "beginner",
    request: async (client) => json("POST", "/v1/me/log", await beginningOf(client)),
    newDevice: { by: "newcomer", status: 200 },
  },
  "GET /v1/me/sessions": get("/v1/me/sessions"),
  "DELETE /v1/me/sessions": { status: 204, by: "endsAll", request: () => ({ method: "DELETE", path: "/v1/me/sessions" }) },
  "DELETE /v1/me/sessions/{session}": {
    status: 204,
    by: "ends",
    request: () => ({ method: "DELETE", path: `/v1/me/sessions/${decodeJwt(people.phone.tokens.access_token).sid}` }),
    newDevice: { by: "leaving", status: 204, request: () => ({ method: "DELETE", path: "/v1/me/sessions/current" }) },
  },
  "GET /v1/me/events": get("/v1/me/events"),
  "GET /v1/me/export": get("/v1/me/export"),
  "DELETE /v1/me": {
    status: 204,
    by: "deletes",
    request: () => ({ method: "DELETE", path: "/v1/me" }),
    newDevice: { by: "pending", refused: "forbidden" },
  },
  "PUT /v1/me/prekey": {
    status: 204,
    request: async (client) => {
      const payload = { user: client.user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat: now() };
      return json("PUT", "/v1/me/prekey", { prekey: await sign("osmynt-prekey+jws", payload, client.device) });
    },
  },
  "POST /v1/me/erasures": { status: 200, by: "present", request: () => json("POST", "/v1/me/erasures", { user: people.former.user }) },
  "DELETE /v1/me/erasures/{user}": {
    status: 204,
    by: "former",
    request: () => ({ method: "DELETE", path: `/v1/me/erasures/${people.former.user}` }),
    byKey: { by: "ended", request: () => ({ method: "DELETE", path: `/v1/me/erasures/${people.ended.user}` }) },
  },
  "GET /v1/teams": get("/v1/teams"),
  "POST /v1/teams": { status: 201, request: async (client) => json("POST", "/v1/teams", await newTeamOf(client)) },
  "DELETE /v1/teams/{team}": {
    status: 204,
    request: () => ({ method: "DELETE", path: `/v1/teams/${doomed}` }),
    role: () => ({ method: "DELETE", path: `/v1/teams/${doomed}` }),
  },
  "GET /v1/teams/{team}/log": { ...get(() => `/v1/teams/${team}/log?from=0`), role: EVERYBODY_READS },
  "POST /v1/teams/{team}/commits": {
    status: 200,
    request: async (client) => json("POST", `/v1/teams/${team}/commits`, await commitsOf(client, await invitationOf())),
    // Built by hand: the client itself would refuse.
    role: async (client) => {
      const { log } = await client.read(team);
      const [event] = await invitationOf();
      const entry = { team, seq: log.head.seq + 1, prev: log.head.hash, iat: now(), user: client.user, event };
      return json("POST", `/v1/teams/${team}/commits`, { entries: [await sign("osmynt-team+jws", entry, client.device)], envelopes: [] });
    },
  },
  "GET /v1/teams/{team}/directory": { ...get(() => `/v1/teams/${team}/directory`), role: EVERYBODY_READS },
  "GET /v1/teams/{team}/envelopes": { ...get(() => `/v1/teams/${team}/envelopes?from=1`), role: EVERYBODY_READS },
  "GET /v1/teams/{team}/snippets": { ...get(() => `/v1/teams/${team}/snippets?limit=2`), role: EVERYBODY_READS },
  "PUT /v1/teams/{team}/snippets/{snippet}": {
    status: 201,
    request: async (client) => {
      const id = newSnippetId(Date.now());
      const body = await client.buildSnippet(await client.read(team), id, code, { to: null, header: {} });
      return { method: "PUT", path: `/v1/teams/${team}/snippets/${id}`, headers: { "Content-Type": MEDIA_TYPE }, body };
    },
    role: "every member may share",
  },
  "GET /v1/teams/{team}/snippets/{snippet}": { ...get(() => `/v1/teams/${team}/snippets/${snippet}`), role: EVERYBODY_READS },
  "DELETE /v1/teams/{team}/snippets/{snippet}": {
    status: 204,
    request: () => ({ method: "DELETE", path: `/v1/teams/${team}/snippets/${snippet}` }),
    role: () => ({ method: "DELETE", path: `/v1/teams/${team}/snippets/${another}` }),
  },
};

/** Routes without a caller: what they answer to whoever has no token. */
const OPEN = {
  "GET /": [200, () => ({ method: "GET", path: "/" })],
  "GET /join": [200, () => ({ method: "GET", path: "/join" })],
  "GET /sign-in": [200, () => ({ method: "GET", path: "/sign-in" })],
  "GET /sign-in/done": [200, () => ({ method: "GET", path: "/sign-in/done" })],
  // The way of a person through these is that of sign-in.test.mjs; without it they say what is missing.
  "POST /sign-in": [400, () => ({ method: "POST", path: "/sign-in", headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: "form=x" })],
  "GET /sign-in/callback": [400, () => ({ method: "GET", path: "/sign-in/callback?code=x&state=x" })],
  "GET /sign-in/confirm": [400, () => ({ method: "GET", path: "/sign-in/confirm" })],
  "POST /sign-in/confirm": [400, () => ({ method: "POST", path: "/sign-in/confirm", headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: "form=x" })],
  "POST /v1/handshakes": [201, async () => {
    const key = await makeKeyPair("ECDSA");
    const statement = { jwk: key.jwk, challenge: NO_HASH, name: "a device", iat: now() };
    return json("POST", "/v1/handshakes", { statement: await sign("osmynt-handshake+jws", statement, key) });
  }],
  "GET /healthz": [200, () => ({ method: "GET", path: "/healthz" })],
};

/** The one route that takes a proof and no access token has columns of its own. */
const TOKENS = "POST /v1/tokens";

const nameOf = ({ method, pattern }) => `${method} ${pattern}`;

it("the table has a row for every route, and none besides", () => {
  const rows = [...Object.keys(ROWS), ...Object.keys(OPEN), TOKENS];
  assert.deepEqual(rows.toSorted(), ROUTES.map(nameOf).sort());
});

it("the protocol's page has every route, and none besides", () => {
  const page = readFileSync(new URL("../docs/protocol.md", import.meta.url), "utf8");
  const [, section] = /^## 10 Routes$(.*?)^## /ms.exec(page);
  const named = [...section.matchAll(/^\| `([A-Z]+) ([^?`]+)(?:\?[^`]*)?` \|/gm)].map(([, method, path]) => `${method} ${path}`);
  // Those of sign-in stand in section 9, and people's pages in one line.
  const signIn = [...page.matchAll(/`(POST) (\/v1\/(?:handshakes|tokens))`/g)].map(([, method, path]) => `${method} ${path}`);
  const [, pages] = /^Pages for people: (.*)\.$/m.exec(page);
  const people = [...pages.matchAll(/`([^`]+)`/g)].map(([, path]) => path);
  const [forPeople, forClients] = [[], []];
  for (const route of ROUTES) (route.access === "Page" ? forPeople : forClients).push(route);
  assert.deepEqual([...new Set([...named, ...signIn])].sort(), forClients.map(nameOf).sort());
  assert.deepEqual(people.sort(), [...new Set(forPeople.map(({ pattern }) => pattern))].sort());
});

it("the table has a caller's columns for every route that has a caller, and says of each route of a team what takes a role", () => {
  for (const route of ROUTES) {
    const name = nameOf(route);
    const isOpen = ["Page", "Anybody"].includes(route.access);
    assert.equal(Object.hasOwn(ROWS, name), !isOpen, name);
    if (isOpen) continue;
    assert.equal(ROWS[name].newDevice !== undefined, route.access === "AnyDevice", `${name}: newDevice`);
    assert.equal(ROWS[name].byKey !== undefined, route.access === "AnySpeaker", `${name}: byKey`);
    assert.equal(ROWS[name].role !== undefined, ["AnyMember", "AnyVisitor"].includes(route.access), `${name}: role`);
  }
});

for (const route of ROUTES.filter((each) => Object.hasOwn(ROWS, nameOf(each)))) {
  const row = ROWS[nameOf(route)];
  describe(nameOf(route), () => {
    let client, request;
    before(async () => {
      client = people[row.by ?? "owner"];
      request = await row.request(client);
      unchanged = await snapshot(world.service);
    });

    for (const [what, code, flawed] of FLAWS) {
      it(`${what}: ${code}`, async () => assertRefused(code, await send(request, await flawed(client, request))));
    }

    if (row.newDevice === undefined) {
      it("a device that is in no log: forbidden", async () => {
        await assertRefused("forbidden", await send(request, await credentials(people.pending, request)));
      });
    } else {
      const { by, status, refused } = row.newDevice;
      it(`a device that is in no log: ${status ?? refused}`, async () => {
        const own = await (row.newDevice.request ?? row.request)(people[by]);
        const answer = await send(own, await credentials(people[by], own));
        await (refused === undefined ? assertAccepted(status, answer) : assertRefused(refused, answer));
      });
    }

    if (row.byKey !== undefined) {
      const proof = (device, flaws = {}) => proofFor({ method: route.method, url: `${world.service.url}${request.path}`, key: device, ...flaws });

      for (const [what, flawed] of HEADER_FLAWS) {
        it(`without a token, ${what}: unauthenticated`, async () => {
          const DPoP = await flawed(await proof(client.device), () => proof(client.device));
          await assertRefused("unauthenticated", await send(request, { DPoP }));
        });
      }
      for (const [what, code, flaws] of PROOF_FLAWS.filter(([what]) => what !== "a proof of another user's device")) {
        it(`without a token, ${what}: ${code}`, async () => {
          await assertRefused(code, await send(request, { DPoP: await proof(client.device, await flaws({ client, request })) }));
        });
      }
      for (const [who, what] of [["revoked", "a device that was revoked"], ["pending", "a device that is in no log"]]) {
        it(`without a token, ${what}: unauthenticated`, async () => {
          await assertRefused("unauthenticated", await send(request, { DPoP: await proof(people[who].device) }));
        });
      }
      it("without a token, somebody who is no user of the account: not-found", async () => {
        await assertRefused("not-found", await send(request, { DPoP: await proof(people.stranger.device) }));
      });
      it(`without a token, a device whose session has ended: ${row.status}, also with the very same once more`, async () => {
        const own = await row.byKey.request();
        const { device } = people[row.byKey.by];
        const DPoP = await proofFor({ method: own.method, url: `${world.service.url}${own.path}`, key: device });
        for (let count = 0; count < 2; count += 1) await assertAccepted(row.status, await send(own, { DPoP }));
      });
    }

    if (row.role !== undefined) {
      for (const who of ["stranger", "removed"]) {
        it(`${who === "removed" ? "somebody who was removed from the team" : "somebody who is not in the team"}: not-found`, async () => {
          await assertRefused("not-found", await send(request, await credentials(people[who], request)));
        });
      }
      if (typeof row.role === "string") {
        it(`a plain member: no less than others, as ${row.role}`, async () => {
          const own = await row.request(people.member);
          await assertAccepted(row.status, await send(own, await credentials(people.member, own)));
        });
      } else {
        it("a plain member: forbidden", async () => {
          const own = await row.role(people.member);
          await assertRefused("forbidden", await send(own, await credentials(people.member, own)));
        });
      }
    }

    // After all of these, so that each was refused for its one flaw.
    it(`nothing wrong: ${row.status}; and the very same once more: unauthenticated`, async () => {
      const good = await credentials(client, request);
      await assertAccepted(row.status, await send(request, good));
      await assertRefused("unauthenticated", await send(request, good));
    });
  });
}

describe("a route without a caller", () => {
  for (const [name, [status, make]] of Object.entries(OPEN)) {
    it(`takes no notice of tokens: ${name}`, async () => {
      const request = await make();
      for (const sent of [{}, { Authorization: "DPoP x.y.z", DPoP: "x.y.z" }, await credentials(people.owner, request)]) {
        const answer = await send(request, sent);
        assert.equal(answer.status, status, await answer.text());
      }
    });
  }
});

describe(TOKENS, () => {
  const request = (body) => json("POST", "/v1/tokens", body);
  const proof = (key, flaws = {}) => proofFor({ method: "POST", url: `${world.service.url}/v1/tokens`, key, ...flaws });
  const verifier = "v".repeat(43);

  /** Of each grant: what it is asked with, the flaws that its token can have, and how a body is made of a token. */
  const GRANTS = {
    "for a refresh token": {
      client: async () => people.owner,
      token: ({ tokens }) => tokens.refresh_token,
      body: (refresh_token) => ({ grant_type: "refresh_token", refresh_token, idempotency_key: b64u.encode(randomBytes(16)) }),
      code: "unauthenticated",
      flaws: [
        ...TOKEN_FLAWS,
        ...SESSION_FLAWS,
        ["an end in the past", (token) => forged(token, { claims: { exp: now() - 1 } })],
        ["the form of an access token", () => people.owner.tokens.access_token],
        ["the form of a device code", () => deviceCodes.get(people.owner)],
        ["nothing in it", () => ""],
      ],
    },
    "for a device code": {
      client: async () => {
        const device = await makeKeyPair("ECDSA");
        const api = new Api(world.service.url, device);
        const statement = { jwk: device.jwk, challenge: await hashOf(utf8(verifier)), name: "a device", iat: now() };
        const { device_code, verification_uri_complete } = await api.handshake(await sign("osmynt-handshake+jws", statement, device));
        await approve(verification_uri_complete, "stranger");
        return { device, device_code };
      },
      token: ({ device_code }) => device_code,
      body: (device_code) => ({ grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code, verifier }),
      code: "invalid-request",
      flaws: [
        ...TOKEN_FLAWS,
        ["the form of an access token", () => people.owner.tokens.access_token],
        ["the form of a refresh token", () => people.owner.tokens.refresh_token],
        ["nothing in it", () => ""],
      ],
    },
  };

  for (const [grant, { client: make, token, body, code, flaws }] of Object.entries(GRANTS)) {
    describe(grant, () => {
      let client, good;
      before(async () => {
        client = await make();
        good = token(client);
        unchanged = await snapshot(world.service);
      });

      for (const [what, flawed] of flaws) {
        it(`a token with ${what}: ${code}`, async () => {
          const sent = request(body(await flawed(good)));
          await assertRefused(code, await send(sent, { DPoP: await proof(client.device) }));
        });
      }
      if (grant === "for a device code") {
        it("a device code with an end in the past: expired_token", async () => {
          const sent = request(body(await forged(good, { claims: { exp: now() - 1 } })));
          await assertRefused("expired_token", await send(sent, { DPoP: await proof(client.device) }));
        });
        it("a device code of another device: unauthenticated", async () => {
          const sent = request(body(await forged(good, { claims: { cnf: { jkt: people.stranger.device.id } } })));
          await assertRefused("unauthenticated", await send(sent, { DPoP: await proof(client.device) }));
        });
      }

      for (const [what, flawed] of HEADER_FLAWS) {
        it(`${what}: unauthenticated`, async () => {
          const DPoP = await flawed(await proof(client.device), () => proof(client.device));
          await assertRefused("unauthenticated", await send(request(body(good)), { DPoP }));
        });
      }
      for (const [what, code, flaws] of [
        ...PROOF_FLAWS,
        ["a proof for an access token", "unauthenticated", async () => ({ token: people.owner.tokens.access_token })],
        ["a proof for the token that it asks with", "unauthenticated", async () => ({ token: good })],
      ]) {
        it(`${what}: ${code}`, async () => {
          const sent = request(body(good));
          await assertRefused(code, await send(sent, { DPoP: await proof(client.device, await flaws({ client, request: sent })) }));
        });
      }

      it("nothing wrong: 200", async () => assertAccepted(200, await send(request(body(good)), { DPoP: await proof(client.device) })));
    });
  }

  for (const who of ["ended", "revoked"]) {
    it(`a refresh token of ${who === "ended" ? "a session that was ended" : "a device that was revoked"}: unauthenticated`, async () => {
      const { device, tokens } = people[who];
      const body = { grant_type: "refresh_token", refresh_token: tokens.refresh_token, idempotency_key: b64u.encode(randomBytes(16)) };
      unchanged = await snapshot(world.service);
      await assertRefused("unauthenticated", await send(request(body), { DPoP: await proof(device) }));
    });
  }
});
