// Wrong inputs, route by route: each is refused with the status and code that docs/protocol.md names, in words that give nothing away, and
// leaves every store as it was. The valid input that a table varies is sent at its end, so that the variation alone is what was refused.

import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { Api, readProblem, STATUS } from "./client/api.mjs";
import { ascending } from "./client/client.mjs";
import { b64u, concat, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { MALFORMED_BODIES, MALFORMED_KEYS, MALFORMED_STATEMENTS, overlongStatement } from "./client/forge.mjs";
import { deviceSetHash, envelopeSetHash, makeKeyPair, makeSecretKey, sealEnvelope, teamKeyPurpose } from "./client/keys.mjs";
import { JSON_BODY_BYTES, SNIPPET_CIPHERTEXT_BYTES, STATEMENT_BYTES } from "./client/limits.mjs";
import { join, MEDIA_TYPE, newSnippetId, split } from "./client/snippet.mjs";
import { parse, sign, signText } from "./client/statements.mjs";
import { devicesOf } from "./client/teamlog.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";
import { snapshot } from "./support/dump.mjs";

/** What would betray how the service is made. */
const INTERNALS = /panic|unwrap|sql|\bd1\b|\br2\b|\bkv\b|durable|worker|wasm|serde|jsvalue|constraint|stack|\.rs\b|exception|undefined|<[a-z]/i;

const NO_HASH = b64u.encode(new Uint8Array(32));
const now = () => Math.floor(Date.now() / 1000);
const code = utf8("let x = 1;\n");

/** @type {import("./client/client.mjs").Client} */
let owner, admin, member, stranger, loner, pending;
let world, team, snippet, otherTeam;

before(async () => {
  world = await startWorld(["owner", "admin", "member", "stranger", "loner"]);
  [owner, admin, member, stranger, loner] = await Promise.all(["owner", "admin", "member", "stranger", "loner"].map((login) => world.signIn(login)));
  // A device that its user's log does not have.
  pending = await world.signIn("member");
  team = await makeTeam(owner, "Refusals", { admin, member });
  otherTeam = await owner.createTeam("Another");
  snippet = await owner.share(team, code);
  unchanged = await stored(world.service);
});
after(() => world?.dispose());

// --- sending and asserting ---

/**
 * All that is stored. Two things are the platform's: it makes a file for every object that is asked for anything, and counts in
 * `sqlite_sequence` the rows that a table ever had.
 */
async function stored(service) {
  const { databases, ...others } = await snapshot(service);
  const tablesOf = ({ sqlite_sequence, ...tables }) => tables;
  const filled = Object.entries(databases).map(([file, all]) => [file, tablesOf(all)]).filter(([, tables]) => Object.keys(tables).length > 0);
  return { ...others, databases: Object.fromEntries(filled) };
}

/** The state of all stores that the next refusal must leave as it is. */
let unchanged;

/** The request with a new proof by the client that is `as`, if any. */
async function proven({ as, method = "GET", path, headers, body }) {
  return { method, path, headers: { ...(as && (await as.api.credentials(method, path))), ...headers }, body };
}
const sendTo = async (request, { url } = world.service) => {
  const { path, ...rest } = await proven(request);
  return fetch(`${url}${path}`, rest);
};

async function assertRefused(code, request, send = sendTo) {
  const before = unchanged;
  const answer = await send(request);
  const after = await stored(world.service);
  if (!isDeepStrictEqual(before, after)) unchanged = after; // So that one failure is not the next one's.
  assert.ok(!answer.ok, `expected ${code}, got ${answer.status}`);
  const problem = await readProblem(answer);
  assert.deepEqual({ code: problem.code, status: problem.status }, { code, status: STATUS[code] }, problem.detail);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.doesNotMatch(problem.detail, INTERNALS);
  assert.deepEqual(after, before, "something was stored");
  return problem;
}

/** Sends what must succeed, and takes the state after it for the one to keep. */
async function assertAccepted(request) {
  const answer = await sendTo(request);
  unchanged = await stored(world.service);
  if (!answer.ok) assert.fail(`${answer.status} ${await answer.text()}`);
  return answer;
}

/** A table of refusals: rows are [what, code, request], the last as a function that may be asynchronous. */
function refuses(rows) {
  for (const [what, code, request] of rows) it(`refuses ${what}`, async () => assertRefused(code, await request()));
}

const get = (client, path, headers = {}) => ({ as: client, path, headers });
const withJson = (method, client, path, value) => ({
  as: client,
  method,
  path,
  headers: { "Content-Type": "application/json" },
  body: typeof value === "string" || value instanceof Uint8Array ? value : JSON.stringify(value),
});
const post = (client, path, value) => withJson("POST", client, path, value);
const put = (client, path, value) => withJson("PUT", client, path, value);
const putSnippet = (client, container, id = snippet, inTeam = team) => ({
  as: client,
  method: "PUT",
  path: `/v1/teams/${inTeam}/snippets/${id}`,
  headers: { "Content-Type": MEDIA_TYPE },
  body: container,
});
const refreshOf = (refresh_token) => ({ grant_type: "refresh_token", refresh_token, idempotency_key: b64u.encode(randomBytes(16)) });
const postCommit = (client, body, inTeam = team) => post(client, `/v1/teams/${inTeam}/commits`, body);

/** Head and headers only, over a connection of its own: what is refused before the body is read needs no body. */
const sendHeadersOnly = async (request) => {
  const { method, path, headers } = await proven(request);
  return new Promise((resolve, reject) => {
      const sent = httpRequest(`${world.service.url}${path}`, { method, headers, agent: false });
      sent.on("error", reject);
      sent.on("response", async (response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        sent.destroy();
        resolve(new Response(Buffer.concat(chunks), { status: response.statusCode, headers: response.headers }));
      });
      sent.flushHeaders();
    });
};

/** The same request with a body of unknown length. */
const sendChunked = async (request) => {
  const { path, ...rest } = await proven(request);
  return fetch(`${world.service.url}${path}`, { ...rest, body: new Blob([request.body]).stream(), duplex: "half" });
};

// --- making valid requests, to be spoilt ---

/** The team as `client` sees it; read again only when something has been stored since. */
async function view(client, inTeam = team) {
  if (!views.has(unchanged)) views.set(unchanged, new Map());
  const known = views.get(unchanged);
  const name = `${client.device.id} ${inTeam}`;
  if (!known.has(name)) known.set(name, await client.read(inTeam));
  const { log, directory, prekeys } = known.get(name);
  return { log, directory: new Map(directory), prekeys };
}
const views = new WeakMap();

/** A valid commit by `client`; with a rotation unless `rotate` is false. */
const commitOf = async (client, events, { rotate = true, of } = {}) =>
  (await client.buildCommit(of ?? (await view(client)), events, rotate ? "Refusals" : null)).body;

/** Entries signed by `client` one after the other, without any check. `entry` may change each before it is signed. */
async function chain(client, log, events, entry = (each) => each) {
  let { head } = log;
  const entries = [];
  for (const event of events) {
    const payload = entry({ team: log.team, seq: (head?.seq ?? -1) + 1, prev: head?.hash ?? null, iat: now(), user: client.user, event });
    const jws = await signTeamEntry(client, payload);
    entries.push(jws);
    head = { seq: payload.seq, hash: await hashOf(utf8(jws.split(".").slice(0, 2).join("."))) };
  }
  return entries;
}
// Not `sign`, which would refuse what is not a valid payload.
const signTeamEntry = (client, payload) =>
  signText(JSON.stringify({ alg: "ES256", typ: "osmynt-team+jws", kid: client.device.id }), JSON.stringify(payload), client.device.privateKey);

const signSnippet = (client, payload) =>
  signText(JSON.stringify({ alg: "ES256", typ: "osmynt-snippet+jws", kid: client.device.id }), JSON.stringify(payload), client.device.privateKey);

const eventsOf = (entries) => Promise.all(entries.map(async (jws) => (await parse("osmynt-team+jws", jws)).payload.event));

/** A valid rotation by `client` with its event changed: `change(event, envelopes)` gives `{ event, envelopes }`, of which both may be absent. */
async function spoiltRotation(client, change, { before = [], entry } = {}) {
  const current = await view(client);
  const { entries, envelopes } = await commitOf(client, before, { of: current });
  const events = await eventsOf(entries);
  const spoilt = await change(events.at(-1), envelopes);
  const event = { ...events.at(-1), ...spoilt.event };
  return { entries: await chain(client, current.log, [...events.slice(0, -1), event], entry), envelopes: spoilt.envelopes ?? envelopes };
}

/** The rotation with other envelopes, whose hash it states rightly. */
const spoiltEnvelopes = (client, change) =>
  spoiltRotation(client, async (_, envelopes) => {
    const spoilt = await change(envelopes);
    return { envelopes: spoilt, event: { envelopes: await envelopeSetHash(spoilt) } };
  });

const anEnvelope = async (device) =>
  sealEnvelope(makeSecretKey(), teamKeyPurpose(team, 1, owner.device.id), { device, prekey: (await makeKeyPair("ECDH")).jwk });

const invitation = async (client, options) => {
  const { link, id } = await client.invite(team, options);
  unchanged = await stored(world.service);
  return { link, id };
};

/** A valid commit with which `stranger` would join by the invitation key. */
async function joinCommit(client, key, { proof: change = {}, by = key, event: eventChange = {}, inTeam = team, proofBy } = {}) {
  const own = await client.ownLog();
  const proven = { team: inTeam, invite: key.id, user: client.user, identity: own.identity, iat: now(), ...change };
  const proof = proofBy === undefined ? await sign("osmynt-invite+jws", proven, by) : await proofBy(proven, by);
  const seen = await view(owner, inTeam);
  seen.directory.set(client.user, own);
  const draft = seen.log.draft();
  draft.join({ user: client.user, identity: own.identity, role: "member" }, client.device.id);
  const { event: rotation, envelopes } = await client.buildRotation(draft, seen.directory, seen.prekeys, "x");
  const event = { type: "member.joined", invite: key.id, identity: own.identity, proof, ...eventChange };
  return { entries: await chain(client, seen.log, [event, rotation]), envelopes };
}

/** An invitation made by hand, so that its private key and its times are the test's. */
async function openInvitation({ role = "member", uses = 1, iat = now(), exp = now() + 3600, by = owner } = {}) {
  const key = await makeKeyPair("ECDSA");
  const { log } = await view(by);
  const entries = await chain(by, log, [{ type: "invite.created", key: key.jwk, role, uses, exp }], (entry) => ({ ...entry, iat }));
  await assertAccepted(postCommit(by, { entries, envelopes: [] }));
  return key;
}

/** A valid snippet by `client`, before it is spoilt: `{ payload, ciphertext }`. */
async function snippetOf(client, { to = null, id = newSnippetId(Date.now()), content = code } = {}) {
  const container = await client.buildSnippet(await view(client), id, content, { to, header: {} });
  const { statement, ciphertext } = split(container);
  return { payload: (await parse("osmynt-snippet+jws", statement)).payload, ciphertext };
}

/** The request for a valid snippet with its statement changed. */
async function spoiltSnippet(client, change, { id, ...options } = {}) {
  const { payload, ciphertext } = await snippetOf(client, options);
  const spoilt = { ...payload, ...(await change(payload)) };
  return putSnippet(client, join(await signSnippet(client, spoilt), ciphertext), id ?? spoilt.snippet);
}

// --- every route ---

const TEAM_ROUTES = [
  ["GET", (id) => `/v1/teams/${id}`],
  ["GET", (id) => `/v1/teams/${id}/log`],
  ["POST", (id) => `/v1/teams/${id}/commits`],
  ["GET", (id) => `/v1/teams/${id}/directory`],
  ["GET", (id) => `/v1/teams/${id}/envelopes`],
  ["GET", (id) => `/v1/teams/${id}/snippets`],
  ["PUT", (id) => `/v1/teams/${id}/snippets/${snippet}`],
  ["GET", (id) => `/v1/teams/${id}/snippets/${snippet}`],
  ["DELETE", (id) => `/v1/teams/${id}/snippets/${snippet}`],
];
const titled = (method, path) => `${method} ${path("{team}").replace(/[^/]*-[^/]*$/, "{snippet}").replace("undefined", "{snippet}")}`;

/** A body that would be taken, so that the missing right is what is refused. */
async function bodyFor(method, path) {
  if (method === "GET" || method === "DELETE") return {};
  if (path.includes("/snippets/")) return { body: await owner.api.snippet(team, snippet), headers: { "Content-Type": MEDIA_TYPE } };
  return { body: JSON.stringify(await commitOf(owner, [])), headers: { "Content-Type": "application/json" } };
}

// Who may call is the business of table.test.mjs.
describe("every route of a team", () => {
  for (const [method, path] of TEAM_ROUTES) {
    it(`tells a stranger nothing, not even whether the team exists: ${titled(method, path)}`, async () => {
      const { body, headers } = await bodyFor(method, path(team));
      const ask = (id) => assertRefused("not-found", { method, path: path(id), as: stranger, headers, body });
      assert.deepEqual(await ask(team), await ask(b64u.encode(randomBytes(32))));
    });
  }

  for (const [method, path] of TEAM_ROUTES) {
    it(`refuses a malformed team id: ${titled(method, path)}`, async () => {
      const { body, headers } = await bodyFor(method, path(team));
      for (const id of ["x", team.slice(1), `${team}A`, `${team.slice(0, -1)}=`, `${team.slice(0, 42)}B`, "%00", "..%2f..", crypto.randomUUID()]) {
        await assertRefused("not-found", { method, path: path(id), as: owner, headers, body });
      }
    });
  }

  refuses([
    ["an unknown path", "not-found", () => get(owner, "/v1/nothing")],
    ["an unknown path of a team", "not-found", () => get(owner, `/v1/teams/${team}/nothing`)],
    ["a path outside of the API", "not-found", () => ({ path: "/nothing" })],
    ["a method that the route has not", "not-found", () => ({ method: "PUT", path: "/v1/me", as: owner })],
    ["a method that nothing has", "not-found", () => ({ method: "PATCH", path: `/v1/teams/${team}`, as: owner })],
  ]);
});

describe("queries", () => {
  const rows = [];
  for (const value of ["x", "-1", "1.5", "", "9007199254740992", "1e3", "%20"]) {
    for (const path of ["/v1/me/log?from=", "/v1/teams/{team}/log?from=", "/v1/teams/{team}/envelopes?from="]) {
      rows.push([`${path}${value}`, "invalid-request", () => get(owner, path.replace("{team}", team) + value)]);
    }
  }
  for (const value of ["x", "0", "101", "-1", ""]) {
    rows.push([`limit=${value}`, "invalid-request", () => get(owner, `/v1/teams/${team}/snippets?limit=${value}`)]);
  }
  for (const value of ["x", "%00", NO_HASH]) {
    rows.push([`cursor=${value}`, "invalid-request", () => get(owner, `/v1/teams/${team}/snippets?cursor=${value}`)]);
  }
  for (const value of ["x", NO_HASH, "00000000-0000-4000-8000-00000000000G"]) {
    rows.push([`after=${value}`, "invalid-request", () => get(owner, `/v1/teams/${team}/directory?after=${value}`)]);
  }
  refuses(rows);

  it("may have parameters that nobody knows", () => assertAccepted(get(owner, `/v1/teams/${team}/log?from=0&other=1`)));
});

// --- bodies ---

describe("bodies of JSON", () => {
  const ROUTES = [
    ["POST", () => "/v1/handshakes", null, async () => ({ statement: "a.b.c" })],
    ["POST", () => "/v1/tokens", () => owner, async () => refreshOf(owner.tokens.refresh_token)],
    ["POST", () => "/v1/me/log", () => loner, async () => ({ entries: ["a.b.c"], prekeys: [] })],
    ["PUT", () => "/v1/me/prekey", () => loner, async () => ({ prekey: "a.b.c" })],
    ["POST", () => "/v1/teams", () => owner, () => newTeamCommit()],
    ["POST", () => `/v1/teams/${team}/commits`, () => owner, () => commitOf(owner, [])],
  ];
  for (const [method, path, client, body] of ROUTES) {
    describe(`${method} ${path().replace("undefined", "{team}")}`, () => {
      const request = async (change = (json) => json) => withJson(method, client?.(), path(), change(JSON.stringify(await body())));
      refuses(MALFORMED_BODIES.map(([what, change]) => [what, "invalid-request", () => request(change)]));
      refuses([
        ["another content type", "invalid-request", async () => {
          const valid = await request();
          return { ...valid, headers: { ...valid.headers, "Content-Type": "text/plain" } };
        }],
        ["no content type", "invalid-request", async () => {
          const { headers: { "Content-Type": _, ...headers }, ...valid } = await request();
          return { ...valid, headers, body: utf8(valid.body) };
        }],
      ]);
      it("refuses a body over the limit before reading it", async () => {
        const valid = await request();
        const headers = { ...valid.headers, "Content-Length": JSON_BODY_BYTES + 1 };
        await assertRefused("too-large", { ...valid, headers }, sendHeadersOnly);
      });
      it("refuses a body of unknown length", async () => assertRefused("invalid-request", await request(), sendChunked));
    });
  }
});

// --- statements ---

const newTeamCommit = async () => {
  const own = await loner.ownLog();
  const fresh = (await view(owner)).log.constructor;
  const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), identity: own.identity, policy: { max_epoch_age: 3600 } };
  return (await loner.buildCommit({ log: new fresh(), directory: new Map([[loner.user, own]]), prekeys: new Map() }, [event], "x")).body;
};

/** What `loner` would send to add the device `pair`. */
async function addingDevice(pair) {
  const log = await loner.ownLog();
  const prekey = await makeKeyPair("ECDH");
  loner.learnSiblingPrekey(pair.id, prekey.jwk);
  return {
    device: { user: loner.user, jwk: pair.jwk, iat: now() },
    prekey: { user: loner.user, kind: "signed", key: prekey.jwk, iat: now() },
    entry: (device) => ({ user: loner.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event: { type: "device.added", device } }),
  };
}

/** Every place where the service takes a statement. Each makes `{ payload, signer, request }`, of which `request` takes the compact form. */
const STATEMENTS = {
  "POST /v1/handshakes": {
    typ: "osmynt-handshake+jws",
    make: async () => {
      const signer = await makeKeyPair("ECDSA");
      const payload = { jwk: signer.jwk, challenge: NO_HASH, name: "laptop", iat: now() };
      return { payload, signer, request: (statement) => post(null, "/v1/handshakes", { statement }) };
    },
    key: (payload, jwk) => ({ ...payload, jwk }),
  },
  "POST /v1/me/log: an entry": {
    typ: "osmynt-user+jws",
    make: async () => {
      const pair = await makeKeyPair("ECDSA");
      const { device, prekey, entry } = await addingDevice(pair);
      const [deviceJws, prekeyJws] = [await sign("osmynt-device+jws", device, pair), await sign("osmynt-prekey+jws", prekey, pair)];
      return { payload: entry(deviceJws), signer: loner.device, request: (jws) => post(loner, "/v1/me/log", { entries: [jws], prekeys: [prekeyJws] }) };
    },
  },
  "POST /v1/me/log: the device in an entry": {
    typ: "osmynt-device+jws",
    make: async () => {
      const pair = await makeKeyPair("ECDSA");
      const { device, prekey, entry } = await addingDevice(pair);
      const prekeyJws = await sign("osmynt-prekey+jws", prekey, pair);
      const request = async (jws) => post(loner, "/v1/me/log", { entries: [await sign("osmynt-user+jws", entry(jws), loner.device)], prekeys: [prekeyJws] });
      return { payload: device, signer: pair, request };
    },
    key: (payload, jwk) => ({ ...payload, jwk }),
  },
  "POST /v1/me/log: the prekey of a device": {
    typ: "osmynt-prekey+jws",
    make: async () => {
      const pair = await makeKeyPair("ECDSA");
      const { device, prekey, entry } = await addingDevice(pair);
      const deviceJws = await sign("osmynt-device+jws", device, pair);
      const request = async (jws) => post(loner, "/v1/me/log", { entries: [await sign("osmynt-user+jws", entry(deviceJws), loner.device)], prekeys: [jws] });
      return { payload: prekey, signer: pair, request };
    },
    key: (payload, key) => ({ ...payload, key }),
  },
  "PUT /v1/me/prekey": {
    typ: "osmynt-prekey+jws",
    make: async () => {
      const payload = { user: loner.user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat: now() };
      return { payload, signer: loner.device, request: (prekey) => put(loner, "/v1/me/prekey", { prekey }) };
    },
    key: (payload, key) => ({ ...payload, key }),
  },
  "POST /v1/teams: the first entry": {
    typ: "osmynt-team+jws",
    make: async () => {
      const { entries, envelopes } = await newTeamCommit();
      const { payload } = await parse("osmynt-team+jws", entries[0]);
      const request = (jws) => post(loner, "/v1/teams", { entries: [jws, entries[1]], envelopes });
      return { payload, signer: loner.device, request, alsoValid: entries[0] };
    },
  },
  "POST /v1/teams/{team}/commits: an entry": {
    typ: "osmynt-team+jws",
    make: async () => {
      const [payload] = await openedEntries(owner, [{ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role: "member", uses: 1, exp: now() + 3600 }]);
      return { payload, signer: owner.device, request: (jws) => postCommit(owner, { entries: [jws], envelopes: [] }) };
    },
    key: (payload, key) => ({ ...payload, event: { ...payload.event, key } }),
  },
  "POST /v1/teams/{team}/commits: a rotation": {
    typ: "osmynt-team+jws",
    make: async () => {
      const { entries, envelopes } = await commitOf(member, []);
      const { payload } = await parse("osmynt-team+jws", entries[0]);
      return { payload, signer: member.device, request: (jws) => postCommit(member, { entries: [jws], envelopes }) };
    },
  },
  "PUT /v1/teams/{team}/snippets/{snippet}": {
    typ: "osmynt-snippet+jws",
    make: async () => {
      const { payload, ciphertext } = await snippetOf(member);
      return { payload, signer: member.device, request: (jws) => putSnippet(member, join(jws, ciphertext), payload.snippet) };
    },
  },
};
const openedEntries = async (client, events) => {
  const entries = await chain(client, (await view(client)).log, events);
  return Promise.all(entries.map(async (jws) => (await parse("osmynt-team+jws", jws)).payload));
};

for (const [where, { typ, make, key }] of Object.entries(STATEMENTS)) {
  describe(`${where} takes no statement with`, () => {
    refuses(
      [...MALFORMED_STATEMENTS, ["more than 64 KiB", "too-large", overlongStatement]].map(([what, code, forge]) => [what, code, async () => {
        const { payload, signer, request } = await make();
        return request(await forge(typ, payload, signer));
      }]),
    );
    if (key !== undefined) {
      refuses(MALFORMED_KEYS.map(([what, malform]) => [`a key with ${what}`, "invalid-request", async () => {
        const { payload, signer, request } = await make();
        const header = JSON.stringify({ alg: "ES256", typ, kid: signer.id });
        return request(await signText(header, JSON.stringify(key(payload, await malform(await makeKeyPair("ECDSA")))), signer.privateKey));
      }]));
    }
    it("and takes the same without the mistake, whatever the order of members", async () => {
      const { payload, signer, request, alsoValid } = await make();
      const header = JSON.stringify({ kid: signer.id, typ, alg: "ES256" });
      const reversed = JSON.stringify(Object.fromEntries(Object.entries(payload).reverse()), null, 1);
      await assertAccepted(await request(alsoValid ?? (await signText(header, reversed, signer.privateKey))));
    });
  });
}

// --- sign-in ---

describe("sign-in", () => {
  const start = async (challengeOf = utf8("v".repeat(43))) => {
    const device = await makeKeyPair("ECDSA");
    const statement = { jwk: device.jwk, challenge: await hashOf(challengeOf), name: "laptop", iat: now() };
    const answer = await assertAccepted(post(null, "/v1/handshakes", { statement: await sign("osmynt-handshake+jws", statement, device) }));
    return { ...(await answer.json()), as: { api: new Api(world.service.url, device) } };
  };
  const poll = ({ as, device_code }, verifier = "v".repeat(43)) =>
    post(as, "/v1/tokens", { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code, verifier });
  const refresh = (refresh_token, change = {}) => post(owner, "/v1/tokens", { ...refreshOf(refresh_token), ...change });
  const named = async (name) => {
    const device = await makeKeyPair("ECDSA");
    const payload = { jwk: device.jwk, challenge: NO_HASH, name, iat: now() };
    const header = { alg: "ES256", typ: "osmynt-handshake+jws", kid: device.id };
    return post(null, "/v1/handshakes", { statement: await signText(JSON.stringify(header), JSON.stringify(payload), device.privateKey) });
  };

  refuses([
    ["a device without a name", "invalid-request", () => named("")],
    ["a device with a name of 65 characters", "invalid-request", () => named("x".repeat(65))],
    ["a device with a line feed in its name", "invalid-request", () => named("a\nb")],
    ["a device with an escape sequence in its name", "invalid-request", () => named("a\u001b[2J")],
    ["a device with a blank name", "invalid-request", () => named(" \u3000 ")],
    ["a device with a name that is turned round", "invalid-request", () => named("a\u202eb")],
    ["a device with a hidden character in its name", "invalid-request", () => named("a\u200bb")],
    ["a device with a soft hyphen behind its name", "invalid-request", () => named("laptop\u00ad")],
    ["a device with a variation selector behind its name", "invalid-request", () => named("laptop\u{e0100}")],
    ["a device whose name is a filler", "invalid-request", () => named("\u3164")],
    ["a device with an emoji in its name", "invalid-request", () => named("laptop 🦀")],
    ["a device with a space behind its name", "invalid-request", () => named("laptop ")],
    ["a statement by another key than it describes", "bad-signature", async () => {
      const [device, other] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
      const payload = { jwk: device.jwk, challenge: NO_HASH, name: "laptop", iat: now() };
      return post(null, "/v1/handshakes", { statement: await sign("osmynt-handshake+jws", payload, other) });
    }],
    ["a poll before the person has answered", "authorization_pending", async () => poll(await start())],
    ["an unknown grant", "invalid-request", () => post(owner, "/v1/tokens", { grant_type: "password", username: "x", password: "y" })],
    // Which tokens are good for what is the business of table.test.mjs.
    ["a refresh without an idempotency key", "invalid-request", () => refresh(owner.tokens.refresh_token, { idempotency_key: undefined })],
    ["an idempotency key of 15 bytes", "invalid-request", () => refresh(owner.tokens.refresh_token, { idempotency_key: b64u.encode(randomBytes(15)) })],
    ["an idempotency key of 17 bytes", "invalid-request", () => refresh(owner.tokens.refresh_token, { idempotency_key: b64u.encode(randomBytes(17)) })],
    ["an idempotency key that is not canonical base64url", "invalid-request", () => refresh(owner.tokens.refresh_token, { idempotency_key: `${"A".repeat(21)}B` })],
  ]);

  for (const [what, verifier] of [["another verifier", "w".repeat(43)], ["a short verifier", "v".repeat(42)], ["a long verifier", "v".repeat(129)], ["no verifier", ""]]) {
    it(`refuses a poll with ${what}, and counts it`, async () => {
      const handshake = await start();
      const answer = await sendTo(poll(handshake, verifier));
      assert.equal((await readProblem(answer)).code, "invalid-request");
      const { databases, ...others } = unchanged;
      unchanged = await stored(world.service);
      const { databases: after, ...othersAfter } = unchanged;
      assert.deepEqual(othersAfter, others);
      const but = (all) => Object.entries(all).map(([file, { failed_polls, ...tables }]) => [file, tables]);
      assert.deepEqual(but(after), but(databases), "more was stored than the count");
      assert.notDeepEqual(after, databases);
    });
  }

  it("gives tokens once", async () => {
    const handshake = await start();
    await approve(handshake.verification_uri_complete, "loner");
    unchanged = await stored(world.service);
    await assertAccepted(poll(handshake));
    await assertRefused("expired_token", poll(handshake));
  });

  it("gives none to whom the person refused", async () => {
    const handshake = await start();
    await approve(handshake.verification_uri_complete, "loner", { deny: true });
    unchanged = await stored(world.service);
    await assertRefused("access_denied", poll(handshake));
  });
});

// --- the user log ---

describe("POST /v1/me/log", () => {
  const append = async (event, { prekeys = [], entry = {}, signer = loner.device, client = loner } = {}) => {
    const log = await client.ownLog();
    const payload = { user: client.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event, ...entry };
    return post(client, "/v1/me/log", { entries: [await sign("osmynt-user+jws", payload, signer)], prekeys });
  };
  const added = async (pair, { user = loner.user, by = pair } = {}) => ({ type: "device.added", device: await sign("osmynt-device+jws", { user, jwk: pair.jwk, iat: now() }, by) });
  const prekeyOf = async (pair, { user = loner.user } = {}) =>
    sign("osmynt-prekey+jws", { user, kind: "signed", key: (await makeKeyPair("ECDH")).jwk, iat: now() }, pair);
  const withDevice = async (change) => {
    const pair = await makeKeyPair("ECDSA");
    const { event = await added(pair), prekeys = [await prekeyOf(pair)], ...options } = await change(pair);
    return append(event, { prekeys, ...options });
  };

  refuses([
    ["a wrong seq", "stale-log", () => withDevice(async () => ({ entry: { seq: 77 } }))],
    ["a wrong prev", "stale-log", () => withDevice(async () => ({ entry: { prev: NO_HASH } }))],
    ["a second beginning", "stale-log", () => withDevice(async () => ({ entry: { seq: 0, prev: null } }))],
    ["the log of somebody else", "invalid-request", () => withDevice(async () => ({ entry: { user: owner.user } }))],
    ["an entry of another device", "forbidden", () => withDevice(async (pair) => ({ signer: pair }))],
    ["an entry of somebody else's device", "forbidden", () => withDevice(async () => ({ signer: owner.device }))],
    ["a device of somebody else", "invalid-request", () => withDevice(async (pair) => ({ event: await added(pair, { user: owner.user }) }))],
    ["a device that another key signed for", "bad-signature", () => withDevice(async (pair) => ({ event: await added(pair, { by: loner.device }) }))],
    ["a device that is in the log", "conflict", () => withDevice(async () => ({ event: await added(loner.device), prekeys: [await prekeyOf(loner.device)] }))],
    ["no prekey for a new device", "invalid-request", () => withDevice(async () => ({ prekeys: [] }))],
    ["two prekeys for a new device", "invalid-request", () => withDevice(async (pair) => ({ prekeys: [await prekeyOf(pair), await prekeyOf(pair)] }))],
    ["the prekey of another device", "invalid-request", () => withDevice(async () => ({ prekeys: [await prekeyOf(await makeKeyPair("ECDSA"))] }))],
    ["a prekey for another user", "invalid-request", () => withDevice(async (pair) => ({ prekeys: [await prekeyOf(pair, { user: owner.user })] }))],
    ["a prekey without a new device", "invalid-request", async () => post(loner, "/v1/me/log", { entries: [], prekeys: [await prekeyOf(loner.device)] })],
    ["no entries", "invalid-request", () => post(loner, "/v1/me/log", { entries: [], prekeys: [] })],
    ["17 entries", "too-large", () => post(loner, "/v1/me/log", { entries: Array(17).fill("a.b.c"), prekeys: [] })],
    ["the revocation of an unknown device", "forbidden", () => append({ type: "device.revoked", device: NO_HASH })],
    ["the revocation of somebody else's device", "forbidden", () => append({ type: "device.revoked", device: owner.device.id })],
    ["the revocation of the last device", "conflict", () => append({ type: "device.revoked", device: owner.device.id }, { client: owner, signer: owner.device })],
    ["an addition by a device that is not active", "forbidden", async () => {
      const pair = await makeKeyPair("ECDSA");
      const event = { type: "device.added", device: await sign("osmynt-device+jws", { user: member.user, jwk: pair.jwk, iat: now() }, pair) };
      return append(event, { client: pending, signer: pending.device, prekeys: [await prekeyOf(pair, { user: member.user })] });
    }],
    ["an unknown event", "invalid-request", async () => {
      const log = await loner.ownLog();
      const payload = { user: loner.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event: { type: "device.renamed" } };
      const header = { alg: "ES256", typ: "osmynt-user+jws", kid: loner.device.id };
      return post(loner, "/v1/me/log", { entries: [await signText(JSON.stringify(header), JSON.stringify(payload), loner.device.privateKey)], prekeys: [] });
    }],
  ]);

  it("takes all of a request or none", async () => {
    const [pair, log] = [await makeKeyPair("ECDSA"), await loner.ownLog()];
    const first = { user: loner.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event: await added(pair) };
    const jws = await sign("osmynt-user+jws", first, loner.device);
    const second = await sign("osmynt-user+jws", { ...first, seq: first.seq + 1, prev: NO_HASH, event: { type: "device.revoked", device: pair.id } }, loner.device);
    const prekeys = [await prekeyOf(pair)];
    loner.learnSiblingPrekey(pair.id, (await parse("osmynt-prekey+jws", prekeys[0])).payload.key);
    await assertRefused("stale-log", post(loner, "/v1/me/log", { entries: [jws, second], prekeys }));
    await assertAccepted(post(loner, "/v1/me/log", { entries: [jws], prekeys }));
    const before = unchanged;
    await assertAccepted(post(loner, "/v1/me/log", { entries: [jws], prekeys }));
    assert.deepEqual(unchanged, before, "sending it again changed something");
  });
});

describe("PUT /v1/me/prekey", () => {
  const prekey = async (client, { signer = client.device, user = client.user, iat = now(), kind = "signed" } = {}) => {
    const payload = { user, kind, key: (await makeKeyPair("ECDH")).jwk, iat };
    const header = { alg: "ES256", typ: "osmynt-prekey+jws", kid: signer.id };
    return put(client, "/v1/me/prekey", { prekey: await signText(JSON.stringify(header), JSON.stringify(payload), signer.privateKey) });
  };
  refuses([
    ["the prekey of another device", "forbidden", async () => prekey(loner, { signer: owner.device })],
    ["a prekey for another user", "invalid-request", () => prekey(loner, { user: owner.user })],
    ["a prekey of another kind", "invalid-request", () => prekey(loner, { kind: "one-time" })],
    ["a prekey older than the present one", "conflict", () => prekey(loner, { iat: now() - 200 })],
  ]);
});

// --- teams ---

describe("POST /v1/teams", () => {
  const created = async (change) => {
    const { entries, envelopes } = await newTeamCommit();
    const [first, rotation] = await Promise.all(entries.map((jws) => parse("osmynt-team+jws", jws)));
    return post(loner, "/v1/teams", await change({ first: first.payload, rotation: rotation.payload, entries, envelopes }));
  };
  const resigned = (payload) => signTeamEntry(loner, payload);
  refuses([
    ["a team without a rotation", "rotation-required", () => created(({ entries }) => ({ entries: [entries[0]], envelopes: [] }))],
    ["a rotation alone", "invalid-request", () => created(({ entries, envelopes }) => ({ entries: [entries[1]], envelopes }))],
    ["another identity", "forbidden", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, event: { ...first.event, identity: NO_HASH } }), entries[1]], envelopes }))],
    ["a team with an id before it has one", "invalid-request", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, team: NO_HASH }), entries[1]], envelopes }))],
    ["a policy of less than an hour", "invalid-request", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, event: { ...first.event, policy: { max_epoch_age: 3599 } } }), entries[1]], envelopes }))],
    ["a policy of more than a year", "invalid-request", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, event: { ...first.event, policy: { max_epoch_age: 31_536_001 } } }), entries[1]], envelopes }))],
    ["a short nonce", "invalid-request", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, event: { ...first.event, nonce: "AAAA" } }), entries[1]], envelopes }))],
    ["a team in somebody else's name", "forbidden", () => created(async ({ first, entries, envelopes }) => ({ entries: [await resigned({ ...first, user: owner.user }), entries[1]], envelopes }))],
    ["no envelopes", "coverage-mismatch", () => created(({ entries }) => ({ entries, envelopes: [] }))],
    ["the commit of somebody else", "forbidden", async () => ({ ...(await created((each) => ({ entries: each.entries, envelopes: each.envelopes }))), as: owner })],
  ]);
});

describe("POST /v1/teams/{team}/commits", () => {
  const byOwner = async (events, entry, envelopes = []) => postCommit(owner, { entries: await chain(owner, (await view(owner)).log, events, entry), envelopes });
  const policy = { type: "policy.changed", policy: { max_epoch_age: 7200 } };

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
      ["entries of another member's device", "forbidden", async () => postCommit(member, { entries: await chain(owner, (await view(owner)).log, [policy]), envelopes: [] })],
      ["entries of two devices", "forbidden", async () => {
        const { log } = await view(owner);
        const [first] = await chain(owner, log, [policy]);
        const head = { seq: log.head.seq + 1, hash: (await parse("osmynt-team+jws", first)).hash };
        const [second] = await chain(admin, { team, head }, [{ type: "member.left" }]);
        return postCommit(owner, { entries: [first, second], envelopes: [] });
      }],
      ["a second beginning", "invalid-request", () => byOwner([{ type: "team.created", nonce: b64u.encode(randomBytes(16)), identity: NO_HASH, policy: policy.policy }])],
      ["no entries", "invalid-request", () => postCommit(owner, { entries: [], envelopes: [] })],
      ["17 entries", "too-large", () => byOwner(Array(17).fill(policy))],
      ["an unknown event", "invalid-request", () => byOwner([{ type: "team.deleted" }])],
      ["an unknown member of an event", "invalid-request", () => byOwner([{ ...policy, more: 1 }])],
      ["a second entry that is wrong", "conflict", () => byOwner([policy, { type: "role.changed", user: admin.user, role: "admin" }])],
      ["an unknown role", "invalid-request", () => byOwner([{ type: "role.changed", user: admin.user, role: "guest" }])],
      ["a user id in upper case", "invalid-request", () => byOwner([{ type: "member.removed", user: "00000000-0000-4000-8000-00000000000A" }])],
      ["a profile under an earlier epoch", "stale-log", () => byOwner([{ type: "profile.changed", epoch: 1, profile: { nonce: b64u.encode(randomBytes(12)), ct: b64u.encode(randomBytes(272)) } }])],
      ["a profile of more than its limit", "too-large", async () => byOwner([{ type: "profile.changed", epoch: (await view(owner)).log.epoch.number, profile: { nonce: b64u.encode(randomBytes(12)), ct: b64u.encode(randomBytes(1024 + 17)) } }])],
      ["envelopes without a rotation", "invalid-request", async () => byOwner([policy], undefined, [await anEnvelope(owner.device.id)])],
      ["a removal without a rotation", "rotation-required", () => byOwner([{ type: "member.removed", user: member.user }])],
    ]);
  });

  describe("refuses rotations:", () => {
    const rotation = (change, options) => async () => postCommit(owner, await spoiltRotation(owner, change, options));
    const envelopes = (change) => async () => postCommit(owner, await spoiltEnvelopes(owner, change));
    const epoch = (difference) => rotation(({ epoch }) => ({ event: { epoch: epoch + difference } }));
    const heads = (change) => rotation(async (event) => ({ event: { heads: await change(event.heads) } }));
    const currentHead = async (client) => ({ user: client.user, ...(await client.ownLog()).head });
    const first = (change) => envelopes(([one, ...rest]) => [{ ...one, ...change(one) }, ...rest]);
    refuses([
      ["to the current epoch", "stale-log", epoch(-1)],
      ["to the epoch after the next", "stale-log", epoch(1)],
      ["to epoch 0", "stale-log", rotation(() => ({ event: { epoch: 0 } }))],
      ["with another device set", "coverage-mismatch", rotation(() => ({ event: { devices: NO_HASH } }))],
      ["with the device set of one member only", "coverage-mismatch", rotation(async () => ({ event: { devices: await deviceSetHash([{ user: owner.user, device: owner.device.id }]) } }))],
      ["with another envelope set", "coverage-mismatch", rotation(() => ({ event: { envelopes: NO_HASH } }))],
      ["with an envelope missing", "coverage-mismatch", envelopes((all) => all.slice(1))],
      ["with no envelope", "coverage-mismatch", envelopes(() => [])],
      ["with an envelope twice", "coverage-mismatch", envelopes((all) => [...all, all[0]])],
      ["with two envelopes for a device", "coverage-mismatch", envelopes(async (all) => [...all, await anEnvelope(all[0].device)])],
      ["with an envelope twice in the place of another", "coverage-mismatch", envelopes((all) => [all[0], all[0], ...all.slice(2)])],
      ["with an envelope for a stranger's device", "coverage-mismatch", envelopes(async (all) => [...all, await anEnvelope(stranger.device.id)])],
      ["with an envelope for a device that is not active", "coverage-mismatch", envelopes(async (all) => [...all, await anEnvelope(pending.device.id)])],
      ["with a stranger's device in a member's place", "coverage-mismatch", envelopes(async (all) => [...all.slice(1), await anEnvelope(stranger.device.id)])],
      ["with a head that was named before", "coverage-mismatch", heads(async () => [await currentHead(member)])],
      ["with the head of a stranger", "coverage-mismatch", heads(async () => [await currentHead(stranger)])],
      ["with a head that is in no log", "coverage-mismatch", heads(async () => [{ user: member.user, seq: 1, hash: NO_HASH }])],
      ["with an envelope of a short key", "invalid-request", first(() => ({ ct: b64u.encode(randomBytes(47)) }))],
      ["with an encapsulated key of 64 bytes", "invalid-request", first(() => ({ enc: b64u.encode(randomBytes(64)) }))],
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

    it("for a member whose new device they leave out, and names heads in ascending order", async () => {
      const [one, two] = [await world.signIn("owner"), await world.signIn("admin")];
      const stale = await view(owner);
      await owner.addDevice(await one.describe());
      await admin.addDevice(await two.describe());
      unchanged = await stored(world.service);
      await assertRefused("coverage-mismatch", postCommit(owner, (await owner.buildCommit(stale, [], "x")).body));
      const reversed = await spoiltRotation(owner, ({ heads }) => ({ event: { heads: heads.toReversed() } }));
      await assertRefused("invalid-request", postCommit(owner, reversed));
      const twice = await spoiltRotation(owner, ({ heads }) => ({ event: { heads: [heads[0], ...heads] } }));
      await assertRefused("invalid-request", postCommit(owner, twice));
      const one_missing = await spoiltRotation(owner, ({ heads }) => ({ event: { heads: heads.slice(1) } }));
      await assertRefused("coverage-mismatch", postCommit(owner, one_missing));
      // A share meanwhile is refused: the epoch does not have the devices.
      await assertRefused("rotation-required", await spoiltSnippet(owner, () => ({})));
      await assertAccepted(postCommit(owner, await commitOf(owner, [])));
      await owner.revokeDevice(one.device.id);
      await admin.revokeDevice(two.device.id);
      unchanged = await stored(world.service);
      const withRevoked = await spoiltEnvelopes(owner, async (all) => [...all, await anEnvelope(one.device.id)]);
      await assertRefused("coverage-mismatch", postCommit(owner, withRevoked));
      await assertAccepted(postCommit(owner, await commitOf(owner, [])));
      // The revoked device signs for nothing any more.
      const answer = await sendTo(postCommit(one, { entries: await chain(one, (await view(owner)).log, [policy]), envelopes: [] }));
      assert.ok([401, 403].includes(answer.status));
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

describe("the events of a team's log", () => {
  const [OK, NO] = ["accepted", "forbidden"];
  const box = () => ({ nonce: b64u.encode(randomBytes(12)), ct: b64u.encode(randomBytes(272)) });
  const invite = async (role) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role, uses: 1, exp: now() + 60 });
  const removed = ({ user }) => ({ type: "member.removed", user });
  const changed = ({ user }, role) => ({ type: "role.changed", user, role });

  // Who may: an owner, an admin, a member. In a team of one owner, two admins and two members, the first of which are the authors.
  const MATRIX = [
    ["invite a member", [OK, OK, NO], () => invite("member")],
    ["invite an admin", [OK, OK, NO], () => invite("admin")],
    ["invite an owner", [OK, NO, NO], () => invite("owner")],
    ["revoke an invitation", [OK, OK, NO], (_, invitation) => ({ type: "invite.revoked", invite: invitation })],
    ["revoke an unknown invitation", ["gone", "gone", NO], () => ({ type: "invite.revoked", invite: NO_HASH })],
    ["remove a plain member", [OK, OK, NO], ({ otherMember }) => removed(otherMember)],
    ["remove an admin", [OK, NO, NO], ({ otherAdmin }) => removed(otherAdmin)],
    ["remove an owner", ["invalid-request", NO, NO], ({ owner }) => removed(owner)],
    ["remove a stranger", ["not-found", "not-found", NO], () => removed({ user: crypto.randomUUID() })],
    ["leave", ["conflict", OK, OK], () => ({ type: "member.left" })],
    ["make a member an admin", [OK, NO, NO], ({ otherMember }) => changed(otherMember, "admin")],
    ["make a member an owner", [OK, NO, NO], ({ otherMember }) => changed(otherMember, "owner")],
    ["make an admin a member", [OK, NO, NO], ({ otherAdmin }) => changed(otherAdmin, "member")],
    ["make a member a member", ["conflict", NO, NO], ({ otherMember }) => changed(otherMember, "member")],
    ["make the last owner an admin", ["conflict", NO, NO], ({ owner }) => changed(owner, "admin")],
    ["change the role of a stranger", ["not-found", NO, NO], () => changed({ user: crypto.randomUUID() }, "admin")],
    ["change the policy", [OK, NO, NO], () => ({ type: "policy.changed", policy: { max_epoch_age: 3600 } })],
    ["change the profile", [OK, OK, NO], (_, __, epoch) => ({ type: "profile.changed", epoch, profile: box() })],
    ["rotate", [OK, OK, OK], () => null],
  ];

  let people, shared, invited, other;

  /** A team of its own for whatever is accepted. */
  const anotherTeam = async () => {
    const { owner, ...others } = people;
    const id = await makeTeam(owner, "Matrix", [["admin", others.admin], ["member", others.member], ["admin", others.otherAdmin], ["member", others.otherMember]]);
    return { id, invitation: (await owner.invite(id)).id };
  };

  before(async () => {
    const logins = ["owner", "admin", "member", "stranger", "loner"];
    other = await startWorld(logins);
    const [first, ...rest] = await Promise.all(logins.map((login) => other.signIn(login)));
    people = { owner: first, admin: rest[0], member: rest[1], otherAdmin: rest[2], otherMember: rest[3] };
    shared = await anotherTeam();
  });
  after(() => other?.dispose());

  const send = async (author, { id, invitation }, make) => {
    const { log, directory, prekeys } = await author.read(id);
    const event = await make(people, invitation, log.epoch.number);
    const needsRotation = event === null || event.type === "member.removed";
    const draft = log.draft();
    if (event?.type === "member.removed") draft.roster.delete(event.user);
    const rotation = needsRotation ? await author.buildRotation(draft, directory, prekeys, "x") : null;
    const events = [event, rotation?.event].filter((each) => each);
    return sendTo(postCommit(author, { entries: await chain(author, log, events), envelopes: rotation?.envelopes ?? [] }, id), other.service);
  };

  for (const [what, answers, make] of MATRIX) {
    for (const [index, role] of ["owner", "admin", "member"].entries()) {
      const expected = answers[index];
      it(`${role}: ${what}: ${expected}`, async () => {
        if (expected === OK) {
          const answer = await send(people[role], await anotherTeam(), make);
          if (!answer.ok) assert.fail(`${answer.status} ${await answer.text()}`);
        } else {
          const before = await stored(other.service);
          const problem = await readProblem(await send(people[role], shared, make));
          assert.equal(problem.code, expected, problem.detail);
          assert.deepEqual(await stored(other.service), before);
        }
      });
    }
  }
});

// --- invitations ---

describe("invitations", () => {
  const invite = async (change) => {
    const event = { type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role: "member", uses: 1, exp: now() + 60, ...(await change) };
    return postCommit(owner, { entries: await chain(owner, (await view(owner)).log, [event]), envelopes: [] });
  };
  refuses([
    ["one that ends before it begins", "invalid-request", () => invite({ exp: now() - 10 })],
    ["one of more than 30 days", "invalid-request", () => invite({ exp: now() + 30 * 24 * 3600 + 60 })],
    ["one for nobody", "invalid-request", () => invite({ uses: 0 })],
    ["one for 101", "invalid-request", () => invite({ uses: 101 })],
  ]);

  it("refuses a key that another open invitation has", async () => {
    const key = await openInvitation();
    await assertRefused("conflict", await invite({ key: key.jwk }));
  });

  describe("let nobody join with", () => {
    let open, expired, revoked, used, foreign;
    before(async () => {
      open = await openInvitation({ uses: 5 });
      expired = await openInvitation({ iat: now() - 200, exp: now() - 100 });
      revoked = await openInvitation();
      const { log } = await view(owner);
      await assertAccepted(postCommit(owner, { entries: await chain(owner, log, [{ type: "invite.revoked", invite: revoked.id }]), envelopes: [] }));
      used = await openInvitation();
      await assertAccepted(postCommit(loner, await joinCommit(loner, used)));
      await admin.removeMember(team, loner.user);
      foreign = await makeKeyPair("ECDSA");
      const event = { type: "invite.created", key: foreign.jwk, role: "member", uses: 1, exp: now() + 3600 };
      await assertAccepted(postCommit(owner, { entries: await chain(owner, (await view(owner, otherTeam)).log, [event]), envelopes: [] }, otherTeam));
    });
    const join = (key, options) => async () => postCommit(stranger, await joinCommit(stranger, await key(), options));
    refuses([
      ["one that has expired", "gone", join(() => expired)],
      ["one that was revoked", "gone", join(() => revoked)],
      ["one that is used up", "gone", join(() => used)],
      ["one of another team", "gone", join(() => foreign)],
      ["one that nobody made", "gone", join(() => makeKeyPair("ECDSA"))],
      ["a proof that another key signed", "bad-signature", async () =>
        postCommit(stranger, await joinCommit(stranger, open, { by: { id: open.id, privateKey: foreign.privateKey } }))],
      ["a proof of another invitation's key", "bad-signature", async () => postCommit(stranger, await joinCommit(stranger, open, { by: foreign }))],
      ["a proof for another user", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { user: loner.user } }))],
      ["a proof for another team", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { team: otherTeam } }))],
      ["a proof for another identity", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { identity: NO_HASH } }))],
      ["a proof that names another invitation", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { invite: foreign.id } }))],
      ["another identity", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { event: { identity: NO_HASH }, proof: { identity: NO_HASH } }))],
      ["a statement for a proof that is none", "invalid-request", async () => postCommit(stranger, await joinCommit(stranger, open, { event: { proof: "a.b.c" } }))],
      ["no rotation", "rotation-required", async () => {
        const { entries } = await joinCommit(stranger, open);
        return postCommit(stranger, { entries: entries.slice(0, 1), envelopes: [] });
      }],
      ["no envelope for those who are there", "coverage-mismatch", async () => {
        const { entries, envelopes } = await joinCommit(stranger, open);
        return postCommit(stranger, { entries, envelopes: envelopes.filter(({ device }) => device === stranger.device.id) });
      }],
      ["the membership they have", "conflict", async () => postCommit(member, await joinCommit(member, open))],
      ["the commit of somebody else", "forbidden", async () => postCommit(loner, await joinCommit(stranger, open))],
    ]);
    // The proof's own iat may be skewed against the entry's, both within reach of the service's clock; see the table of statements for the rest.
    refuses(MALFORMED_STATEMENTS.map(([what, code, forge]) => [`a proof with ${what}`, code, async () =>
      postCommit(stranger, await joinCommit(stranger, open, { proofBy: (payload, signer) => forge("osmynt-invite+jws", payload, signer) }))]));

    it("and lets join with the same proof without the mistake", async () => {
      await assertAccepted(postCommit(stranger, await joinCommit(stranger, open)));
      await admin.removeMember(team, stranger.user);
      unchanged = await stored(world.service);
    });
  });

  describe("as a header", () => {
    let key;
    before(async () => {
      key = await openInvitation();
    });
    const proofFor = async (client, { change = {}, by = key, forge = sign } = {}) => {
      const { identity } = await client.ownLog();
      return forge("osmynt-invite+jws", { team, invite: key.id, user: client.user, identity, iat: now(), ...change }, by);
    };
    const ask = async (route, options, id = team) => get(stranger, `/v1/teams/${id}/${route}`, { "Osmynt-Invite": await proofFor(stranger, options) });

    it("open the log and the directory", async () => {
      for (const route of ["log", "directory"]) await assertAccepted(await ask(route));
    });
    for (const route of ["log", "directory"]) {
      refuses([
        [`a proof of a key that is not invited: ${route}`, "not-found", async () => {
          const by = await makeKeyPair("ECDSA");
          return ask(route, { by, change: { invite: by.id } });
        }],
        [`a proof for another user: ${route}`, "not-found", () => ask(route, { change: { user: loner.user } })],
        [`a proof for another team: ${route}`, "not-found", () => ask(route, { change: { team: otherTeam } })],
        [`a proof for another identity: ${route}`, "not-found", () => ask(route, { change: { identity: NO_HASH } })],
        [`a proof that another key signed: ${route}`, "not-found", async () => ask(route, { by: { id: key.id, privateKey: (await makeKeyPair("ECDSA")).privateKey } })],
        [`a proof that is none: ${route}`, "not-found", () => get(stranger, `/v1/teams/${team}/${route}`, { "Osmynt-Invite": "x" })],
        [`a proof that is none, for a team that does not exist: ${route}`, "not-found", () => get(stranger, `/v1/teams/${NO_HASH}/${route}`, { "Osmynt-Invite": "x" })],
        [`a proof for a team that does not exist: ${route}`, "not-found", () => ask(route, { change: { team: NO_HASH } }, NO_HASH)],
      ]);
    }
    for (const [method, path] of TEAM_ROUTES.filter(([, path]) => !/log|directory|commits/.test(path("")))) {
      it(`open nothing else: ${titled(method, path)}`, async () => {
        const { body, headers } = await bodyFor(method, path(team));
        await assertRefused("not-found", { method, path: path(team), as: stranger, headers: { ...headers, "Osmynt-Invite": await proofFor(stranger) }, body });
      });
    }
  });
});

// --- snippets ---

describe("PUT /v1/teams/{team}/snippets/{snippet}", () => {
  const forTeam = (change, options) => () => spoiltSnippet(member, change, options);
  const forMembers = (change, to = () => [owner.user]) => async () => spoiltSnippet(member, change, { to: to() });
  const audience = (change) => async (payload) => ({ audience: { ...payload.audience, ...(await change(payload.audience)) } });
  const raw = (change) => async () => {
    const { payload, ciphertext } = await snippetOf(member);
    const statement = await signSnippet(member, payload);
    return putSnippet(member, await change(join(statement, ciphertext), statement, ciphertext), payload.snippet);
  };

  refuses([
    ["another hash", "invalid-request", forTeam(() => ({ sha256: NO_HASH }))],
    ["a length that is too small", "invalid-request", forTeam(({ length }) => ({ length: length - 1 }))],
    ["a length that is too large", "invalid-request", forTeam(({ length }) => ({ length: length + 1 }))],
    ["a length of nothing", "invalid-request", forTeam(() => ({ length: 0 }))],
    ["a length above the limit", "invalid-request", forTeam(() => ({ length: SNIPPET_CIPHERTEXT_BYTES + 1 }))],
    ["bytes that are missing", "invalid-request", raw((container) => container.subarray(0, -1))],
    ["a byte more", "invalid-request", raw((container) => concat(container, new Uint8Array(1)))],
    ["a byte changed", "invalid-request", raw((container) => container.with(-1, container.at(-1) ^ 1))],
    ["no ciphertext", "invalid-request", raw((_, statement) => join(statement, new Uint8Array()))],
    ["nothing", "invalid-request", raw(() => new Uint8Array())],
    ["three bytes", "invalid-request", raw((container) => container.subarray(0, 3))],
    ["a statement that is cut off", "invalid-request", raw((container) => container.subarray(0, 100))],
    ["a statement of nothing", "invalid-request", raw((container) => concat(new Uint8Array(4), container.subarray(4)))],
    ["a statement of more than 64 KiB", "too-large", raw((container) => concat(new Uint8Array([0, 1, 0, 1]), container.subarray(4)))],
    ["a statement of 4 GiB", "too-large", raw((container) => concat(new Uint8Array([255, 255, 255, 255]), container.subarray(4)))],
    ["another team", "invalid-request", forTeam(() => ({ team: otherTeam }))],
    ["another id than the address", "invalid-request", forTeam(() => ({}), { id: newSnippetId(0) })],
    ["an id of another version", "invalid-request", forTeam(() => ({ snippet: crypto.randomUUID() }))],
    ["an id in upper case", "invalid-request", forTeam(({ snippet }) => ({ snippet: snippet.toUpperCase() }))],
    ["another suite", "invalid-request", forTeam(() => ({ suite: "P384-HKDF-SHA384-A256GCM" }))],
    ["another author", "forbidden", forTeam(() => ({ user: owner.user }))],
    ["another device", "forbidden", async () => {
      const { payload, ciphertext } = await snippetOf(owner);
      return putSnippet(member, join(await signSnippet(owner, payload), ciphertext), payload.snippet);
    }],
    ["an earlier head", "stale-log", forTeam(async ({ head }) => ({ head: { seq: head.seq - 1, hash: (await view(member)).log.past[head.seq - 1].hash } }))],
    ["a head of no log", "stale-log", forTeam(({ head }) => ({ head: { ...head, hash: NO_HASH } }))],
    ["a head to come", "stale-log", forTeam(({ head }) => ({ head: { ...head, seq: head.seq + 1 } }))],
    ["an earlier epoch", "rotation-required", forTeam(audience(({ epoch }) => ({ epoch: epoch - 1 })))],
    ["an epoch to come", "rotation-required", forTeam(audience(({ epoch }) => ({ epoch: epoch + 1 })))],
    ["an end in the past", "invalid-request", forTeam(({ iat }) => ({ iat: iat - 100, exp: iat - 50 }))],
    ["an end before the beginning", "invalid-request", forTeam(({ iat }) => ({ exp: iat - 1 }))],
    ["an end at the beginning", "invalid-request", forTeam(({ iat }) => ({ iat: iat + 100, exp: iat + 100 }))],
    ["a header that is too long", "too-large", forTeam(({ header }) => ({ header: { ...header, ct: b64u.encode(randomBytes(4096 + 17)) } }))],
    ["a short nonce", "invalid-request", forTeam(() => ({ nonce: b64u.encode(randomBytes(11)) }))],
    ["an unknown audience", "invalid-request", forTeam(({ audience }) => ({ audience: { ...audience, type: "world" } }))],
    ["nobody for an audience", "invalid-request", forMembers(audience(() => ({ members: [] })))],
    ["a stranger in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: [...members, stranger.user].sort() })))],
    ["the author in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: [...members, member.user].sort() })))],
    ["somebody twice in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: [...members, ...members] })))],
    ["an audience out of order", "invalid-request", forMembers(audience(({ members }) => ({ members: members.toReversed() })), () => [owner.user, admin.user])],
    ["65 in the audience", "invalid-request", forMembers(audience(() => ({ members: Array.from({ length: 65 }, () => crypto.randomUUID()).sort() })))],
    ["an envelope missing", "coverage-mismatch", forMembers(audience(({ envelopes }) => ({ envelopes: envelopes.slice(1) })))],
    ["no envelope for the author", "coverage-mismatch", forMembers(audience(({ envelopes }) => ({ envelopes: envelopes.filter(({ device }) => device !== member.device.id) })))],
    ["no envelopes", "coverage-mismatch", forMembers(audience(() => ({ envelopes: [] })))],
    ["an envelope twice", "invalid-request", forMembers(audience(({ envelopes }) => ({ envelopes: [envelopes[0], ...envelopes] })))],
    ["envelopes out of order", "invalid-request", forMembers(audience(({ envelopes }) => ({ envelopes: envelopes.toReversed() })))],
    ["an envelope for a member who is not named", "coverage-mismatch", forMembers(audience(async ({ envelopes }) => ({ envelopes: await withEnvelope(envelopes, admin.device.id) })))],
    ["an envelope for a stranger", "coverage-mismatch", forMembers(audience(async ({ envelopes }) => ({ envelopes: await withEnvelope(envelopes, stranger.device.id) })))],
    ["an envelope for a device that is not active", "coverage-mismatch", forMembers(audience(async ({ envelopes }) => ({ envelopes: await withEnvelope(envelopes, pending.device.id) })))],
    ["129 envelopes", "too-large", forMembers(audience(({ envelopes }) => ({ envelopes: Array(129).fill(envelopes[0]) })))],
    ["an envelope with an unknown member", "invalid-request", forMembers(audience(({ envelopes }) => ({ envelopes: [{ ...envelopes[0], more: 1 }, ...envelopes.slice(1)] })))],
    ["another content type", "invalid-request", async () => {
      const { payload, ciphertext } = await snippetOf(member);
      const request = putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet);
      return { ...request, headers: { ...request.headers, "Content-Type": "application/octet-stream" } };
    }],
    ["an address that is no id", "invalid-request", forTeam(() => ({}), { id: "x" })],
    ["an address in upper case", "invalid-request", () => spoiltSnippet(member, () => ({}), { id: newSnippetId(Date.now()).toUpperCase() })],
  ]);
  const inOrder = (envelopes) => ascending(envelopes.map(({ device }) => device)).map((id) => envelopes.find(({ device }) => device === id));
  const withEnvelope = async (envelopes, device) => inOrder([...envelopes, await anEnvelope(device)]);

  it("refuses a body over the limit before reading it", async () => {
    const headers = { "Content-Type": MEDIA_TYPE, "Content-Length": 4 + STATEMENT_BYTES + SNIPPET_CIPHERTEXT_BYTES + 1 };
    await assertRefused("too-large", { as: member, method: "PUT", path: `/v1/teams/${team}/snippets/${newSnippetId(Date.now())}`, headers }, sendHeadersOnly);
  });

  it("refuses a body of unknown length", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    await assertRefused("invalid-request", putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet), sendChunked);
  });

  it("takes an id once, with the same bytes again, and with no others", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    const container = join(await signSnippet(member, payload), ciphertext);
    const first = await assertAccepted(putSnippet(member, container, payload.snippet));
    assert.equal(first.status, 201);
    const before = unchanged;
    const again = await assertAccepted(putSnippet(member, container, payload.snippet));
    assert.equal(again.status, 200);
    assert.deepEqual(await again.json(), await first.json());
    assert.deepEqual(unchanged, before);
    const changed = await snippetOf(member, { id: payload.snippet, content: utf8("other") });
    await assertRefused("conflict", putSnippet(member, join(await signSnippet(member, changed.payload), changed.ciphertext), payload.snippet));
    const byOther = await snippetOf(owner, { id: payload.snippet });
    await assertRefused("conflict", putSnippet(owner, join(await signSnippet(owner, byOther.payload), byOther.ciphertext), payload.snippet));
  });

  it("takes no id that was deleted", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    const request = putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet);
    await assertAccepted(request);
    const path = `/v1/teams/${team}/snippets/${payload.snippet}`;
    await assertAccepted({ method: "DELETE", path, as: member });
    const before = unchanged;
    await assertAccepted({ method: "DELETE", path, as: member });
    assert.deepEqual(unchanged, before);
    await assertRefused("gone", request);
    await assertRefused("gone", get(member, path));
    const other = await snippetOf(member, { id: payload.snippet });
    await assertRefused("gone", putSnippet(member, join(await signSnippet(member, other.payload), other.ciphertext), payload.snippet));
  });

  it("takes none under an epoch that somebody left", async () => {
    const leaving = await openInvitation();
    await assertAccepted(postCommit(loner, await joinCommit(loner, leaving)));
    await loner.leave(team);
    unchanged = await stored(world.service);
    await assertRefused("rotation-required", await spoiltSnippet(member, () => ({})));
    await assertAccepted(postCommit(member, await commitOf(member, [])));
    await assertAccepted(await spoiltSnippet(member, () => ({})));
  });
});

describe("reading and deleting a snippet", () => {
  let letter;
  before(async () => {
    letter = await owner.share(team, code, { to: [admin.user] });
    unchanged = await stored(world.service);
  });
  const at = (id) => `/v1/teams/${team}/snippets/${id}`;
  const remove = (client, id) => ({ method: "DELETE", path: at(id), as: client });
  refuses([
    ["one that is for others", "not-found", () => get(member, at(letter))],
    ["one that does not exist", "not-found", () => get(member, at(newSnippetId(0)))],
    ["one of another team", "not-found", () => get(owner, `/v1/teams/${otherTeam}/snippets/${snippet}`)],
    ["an id that is none", "not-found", () => get(member, at("x"))],
    ["to delete what is another's", "forbidden", () => remove(member, snippet)],
    ["to delete what is for others", "not-found", () => remove(member, letter)],
    ["to delete what does not exist", "not-found", () => remove(owner, newSnippetId(0))],
    ["to delete in another team", "not-found", () => ({ method: "DELETE", path: `/v1/teams/${otherTeam}/snippets/${snippet}`, as: owner })],
  ]);

  it("looks the same whether it is for others or does not exist", async () => {
    assert.deepEqual(await assertRefused("not-found", get(member, at(letter))), await assertRefused("not-found", get(member, at(newSnippetId(0)))));
  });
});
