// What the tests of refusals share: one service with a team and people of every kind, wrong requests made from right ones, and the proof that a
// refusal is the one that docs/protocol.md names, gives nothing away and leaves every store as it was.
//
// The valid input that a table varies is to be sent at its end, so that the variation alone is what was refused.

import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { readProblem, STATUS } from "../client/api.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "../client/encodings.mjs";
import { envelopeSetHash, makeKeyPair, makeSecretKey, sealEnvelope, teamKeyPurpose } from "../client/keys.mjs";
import { join, MEDIA_TYPE, newSnippetId, split } from "../client/snippet.mjs";
import { parse, sign, signText } from "../client/statements.mjs";
import { TeamLog } from "../client/teamlog.mjs";
import { makeTeam, startWorld } from "../client/world.mjs";
import { snapshot } from "./dump.mjs";

export const NO_HASH = b64u.encode(new Uint8Array(32));
/** The id of a user, device or team that does not exist. */
export const anId = () => b64u.encode(randomBytes(32));
export const now = () => Math.floor(Date.now() / 1000);
export const code = utf8("let x = 1;\n");

/** What would betray how the service is made. */
const INTERNALS = /panic|unwrap|sql|\bd1\b|\br2\b|\bkv\b|durable|worker|wasm|serde|jsvalue|constraint|stack|\.rs\b|exception|undefined|<[a-z]/i;
/** Ids may spell anything by chance. */
const ID = /[\w-]{43}/g;

/** Who there is: an owner, an admin and a member of `team`; a stranger, and a loner who is in no team; and a device of the member's that is in no log. */
export let owner, admin, member, stranger, loner, pending;
export let world, team, snippet, otherTeam;

export async function setUp(others = []) {
  world = await startWorld(["owner", "admin", "member", "stranger", "loner", ...others]);
  [owner, admin, member, stranger, loner] = await Promise.all(["owner", "admin", "member", "stranger", "loner"].map((login) => world.signIn(login)));
  pending = await world.signIn("member");
  team = await makeTeam(owner, "Refusals", { admin, member });
  otherTeam = await owner.createTeam("Another");
  snippet = await owner.share(team, code);
  await remember();
}
export const tearDown = () => world?.dispose();

// --- sending and asserting ---

/**
 * All that is stored. Two things are the platform's: it makes a file for every object that is asked for anything, and counts in
 * `sqlite_sequence` the rows that a table ever had.
 */
export async function stored(service) {
  const { databases, ...others } = await snapshot(service);
  const tablesOf = ({ sqlite_sequence, ...tables }) => tables;
  const filled = Object.entries(databases).map(([file, all]) => [file, tablesOf(all)]).filter(([, tables]) => Object.keys(tables).length > 0);
  return { ...others, databases: Object.fromEntries(filled) };
}

/** The state of all stores that the next refusal must leave as it is. */
export let unchanged;

/** Takes the present state for the one to keep: after a test has changed something by other means than [`assertAccepted`]. */
export async function remember() {
  unchanged = await stored(world.service);
}

/** The request with a new proof by the client that is `as`, if any. */
async function proven({ as, method = "GET", path, headers, body }) {
  return { method, path, headers: { ...(as && (await as.api.credentials(method, path))), ...headers }, body };
}
export const sendTo = async (request, { url } = world.service) => {
  const { path, ...rest } = await proven(request);
  return fetch(`${url}${path}`, rest);
};

export async function assertRefused(code, request, send = sendTo) {
  const before = unchanged;
  const answer = await send(request);
  const after = await stored(world.service);
  if (!isDeepStrictEqual(before, after)) unchanged = after; // So that one failure is not the next one's.
  assert.ok(!answer.ok, `expected ${code}, got ${answer.status}`);
  const problem = await readProblem(answer);
  assert.deepEqual({ code: problem.code, status: problem.status }, { code, status: STATUS[code] }, problem.detail);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.doesNotMatch(problem.detail.replaceAll(ID, "ID"), INTERNALS);
  assert.doesNotMatch(problem.detail, /\n/);
  assert.deepEqual(after, before, "something was stored");
  return problem;
}

/** Sends what must succeed, and takes the state after it for the one to keep. */
export async function assertAccepted(request) {
  const answer = await sendTo(request);
  await remember();
  if (!answer.ok) assert.fail(`${answer.status} ${await answer.text()}`);
  return answer;
}

/** A table of refusals: rows are [what, code, request], the last as a function that may be asynchronous. */
export function refuses(rows) {
  for (const [what, code, request] of rows) it(`refuses ${what}`, async () => assertRefused(code, await request()));
}

export const get = (client, path, headers = {}) => ({ as: client, path, headers });
export const withJson = (method, client, path, value) => ({
  as: client,
  method,
  path,
  headers: { "Content-Type": "application/json" },
  body: typeof value === "string" || value instanceof Uint8Array ? value : JSON.stringify(value),
});
export const post = (client, path, value) => withJson("POST", client, path, value);
export const put = (client, path, value) => withJson("PUT", client, path, value);
export const remove = (client, path) => ({ as: client, method: "DELETE", path });
export const putSnippet = (client, container, id = snippet, inTeam = team) => ({
  as: client,
  method: "PUT",
  path: `/v1/teams/${inTeam}/snippets/${id}`,
  headers: { "Content-Type": MEDIA_TYPE },
  body: container,
});
export const postCommit = (client, body, inTeam = team) => post(client, `/v1/teams/${inTeam}/commits`, body);
export const postLog = (client, body) => post(client, "/v1/me/log", { entries: [], prekeys: [], names: [], start_over: false, ...body });

/** The answer to a request over a connection of its own, of which `write` sends the body. */
const sendAlone = async (request, write) => {
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
    write(sent);
  });
};

/** Head and headers only: what is refused before the body is read needs no body. */
export const sendHeadersOnly = (request) => sendAlone(request, (sent) => sent.flushHeaders());

/** The same request with a body whose last byte comes so many milliseconds after the others. */
export const sendSlowly = (request, milliseconds) => {
  const body = Buffer.from(request.body);
  const headers = { ...request.headers, "Content-Length": body.length };
  return sendAlone({ ...request, headers }, (sent) => {
    sent.write(body.subarray(0, -1));
    setTimeout(() => sent.end(body.subarray(-1)), milliseconds);
  });
};

/** The same request with a body of unknown length. */
export const sendChunked = async (request) => {
  const { path, ...rest } = await proven(request);
  return fetch(`${world.service.url}${path}`, { ...rest, body: new Blob([request.body]).stream(), duplex: "half" });
};

/** The same request with a body that ends before its stated length. */
export const sendBrokenOff = (request) => {
  const body = Buffer.from(request.body);
  const headers = { ...request.headers, "Content-Length": body.length };
  return sendAlone({ ...request, headers }, (sent) => {
    sent.flushHeaders();
    sent.write(body.subarray(0, -1), () => sent.socket.end());
  });
};

// --- making valid requests, to be spoilt ---

/** The team as `client` sees it; read again only when something has been stored since. */
export async function view(client, inTeam = team) {
  if (!views.has(unchanged)) views.set(unchanged, new Map());
  const known = views.get(unchanged);
  const name = `${client.device.id} ${inTeam}`;
  if (!known.has(name)) known.set(name, await client.read(inTeam));
  const { log, directory, prekeys } = known.get(name);
  return { log, directory: new Map(directory), prekeys };
}
const views = new WeakMap();

/** A valid commit by `client`; with a rotation unless `rotate` is false. */
export const commitOf = async (client, events, { rotate = true, of } = {}) =>
  (await client.buildCommit(of ?? (await view(client)), events, rotate ? "Refusals" : null)).body;

/** Entries signed by `client` one after the other, without any check. `entry` may change each before it is signed. */
export async function chain(client, log, events, entry = (each) => each) {
  let { head } = log;
  const entries = [];
  for (const event of events) {
    const payload = entry({ team: log.team, seq: (head?.seq ?? -1) + 1, prev: head?.hash ?? null, iat: now(), user: client.user, event });
    const jws = await signAny("osmynt-team+jws", client.device, payload);
    entries.push(jws);
    head = { seq: payload.seq, hash: await hashOfStatement(jws) };
  }
  return entries;
}

/** The hash of whatever has the form of a statement. */
export const hashOfStatement = (jws) => hashOf(utf8(jws.split(".").slice(0, 2).join(".")));

/** A statement of any content. (`sign` would refuse what is not a valid payload.) */
export const signAny = (typ, signer, payload) =>
  signText(JSON.stringify({ alg: "ES256", typ, kid: signer.id }), JSON.stringify(payload), signer.privateKey);

export const eventsOf = (entries) => Promise.all(entries.map(async (jws) => (await parse("osmynt-team+jws", jws)).payload.event));

/** The valid commit with which `client` would found a team. `event` is what is to differ in its first event. */
export async function newTeamCommit(client, event = {}) {
  const { log: own, prekeys } = await client.readOwn();
  const created = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy: { max_epoch_age: 3600, joining: "invitation" }, ...event };
  return (await client.buildCommit({ log: new TeamLog(), directory: new Map([[client.user, own]]), prekeys }, [created], "x")).body;
}

/** A valid rotation by `client` with its event changed: `change(event, envelopes)` gives `{ event, envelopes }`, of which both may be absent. */
export async function spoiltRotation(client, change, { before = [], entry } = {}) {
  const current = await view(client);
  const { entries, envelopes } = await commitOf(client, before, { of: current });
  const events = await eventsOf(entries);
  const spoilt = await change(events.at(-1), envelopes);
  const event = { ...events.at(-1), ...spoilt.event };
  return { entries: await chain(client, current.log, [...events.slice(0, -1), event], entry), envelopes: spoilt.envelopes ?? envelopes };
}

/** The rotation with other envelopes, whose hash it states rightly. */
export const spoiltEnvelopes = (client, change) =>
  spoiltRotation(client, async (_, envelopes) => {
    const spoilt = await change(envelopes);
    return { envelopes: spoilt, event: { envelopes: await envelopeSetHash(spoilt) } };
  });

/** An envelope for a device that does not open, sealed to a prekey that the device does not have. */
export const anEnvelope = async (device) =>
  sealEnvelope(makeSecretKey(), teamKeyPurpose(team, 1, owner.device.id), { device, prekey: (await makeKeyPair("ECDH")).jwk });

/** An invitation made by hand, so that its private key and its times are the test's. */
export async function openInvitation({ iat = now(), by = owner, inTeam = team, ...more } = {}) {
  const key = await makeKeyPair("ECDSA");
  const { log } = await view(by, inTeam);
  const event = { type: "invite.created", key: key.jwk, role: "member", uses: 1, exp: now() + 3600, ...more };
  const entries = await chain(by, log, [event], (entry) => ({ ...entry, iat }));
  await assertAccepted(postCommit(by, { entries, envelopes: [] }, inTeam));
  return key;
}

/** A valid commit with which `client` would join by the invitation key. */
export async function joinCommit(client, key, { proof: change = {}, by = key, event: eventChange = {}, inTeam = team, proofBy } = {}) {
  const proven = { team: inTeam, invite: key.id, user: client.user, iat: now(), ...change };
  const proof = proofBy === undefined ? await sign("osmynt-invite+jws", proven, by) : await proofBy(proven, by);
  const seen = await view(owner, inTeam);
  const { log: own, prekeys } = await client.readOwn();
  seen.directory.set(client.user, own);
  const draft = seen.log.draft();
  draft.join({ user: client.user, role: "member" }, client.device.id);
  const { event: rotation, envelopes } = await client.buildRotation(draft, seen.directory, new Map([...seen.prekeys, ...prekeys]), "x");
  const event = { type: "member.joined", invite: key.id, proof, ...eventChange };
  return { entries: await chain(client, seen.log, [event, rotation]), envelopes };
}

/** A valid snippet by `client`, before it is spoilt: `{ payload, envelopes, ciphertext }`. */
export async function snippetOf(client, { to = null, id = newSnippetId(Date.now()), content = code } = {}) {
  const container = await client.buildSnippet(await view(client), id, content, { to, header: {} });
  const { statement, ...parts } = split(container);
  return { payload: (await parse("osmynt-snippet+jws", statement)).payload, ...parts };
}

export const signSnippet = (client, payload) => signAny("osmynt-snippet+jws", client.device, payload);

/** The request for a valid snippet with its statement changed. */
export async function spoiltSnippet(client, change, { id, ...options } = {}) {
  const { payload, envelopes, ciphertext } = await snippetOf(client, options);
  const spoilt = { ...payload, ...(await change(payload)) };
  return putSnippet(client, join(await signSnippet(client, spoilt), ciphertext, envelopes), id ?? spoilt.snippet);
}

// --- routes of a team ---

export const TEAM_ROUTES = [
  ["DELETE", (id) => `/v1/teams/${id}`],
  ["GET", (id) => `/v1/teams/${id}/log`],
  ["POST", (id) => `/v1/teams/${id}/commits`],
  ["GET", (id) => `/v1/teams/${id}/directory`],
  ["GET", (id) => `/v1/teams/${id}/envelopes`],
  ["GET", (id) => `/v1/teams/${id}/snippets`],
  ["PUT", (id) => `/v1/teams/${id}/snippets/${snippet}`],
  ["GET", (id) => `/v1/teams/${id}/snippets/${snippet}`],
  ["DELETE", (id) => `/v1/teams/${id}/snippets/${snippet}`],
];
export const titled = (method, path) => `${method} ${path("{team}").replace("undefined", "{snippet}")}`;

/** A body that would be taken, so that the missing right is what is refused. */
export async function bodyFor(method, path) {
  if (method === "GET" || method === "DELETE") return {};
  if (path.includes("/snippets/")) return { body: await owner.api.snippet(team, snippet), headers: { "Content-Type": MEDIA_TYPE } };
  return { body: JSON.stringify(await commitOf(owner, [])), headers: { "Content-Type": "application/json" } };
}
