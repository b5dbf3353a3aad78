// Sections 8 to 10 of docs/protocol.md: requests, answers and problems. Answers are read as strictly as statements are.

import { proofFor } from "./dpop.mjs";
import {
  array, boolean, concat, envelope, fromUtf8, hash, head, integer, literal, nullable, object, parseAs, require, string, uuid,
} from "./encodings.mjs";
import { ENVELOPES_BYTES, JSON_BODY_BYTES, PAGE, SNIPPET_CIPHERTEXT_BYTES, STATEMENT_BYTES } from "./limits.mjs";
import { MEDIA_TYPE } from "./snippet.mjs";
import { ROLES } from "./statements.mjs";
import { opening } from "./userlog.mjs";

/** What this client reads of an answer: pages have 1 MiB of statements and envelopes, and JSON around them. */
const JSON_ANSWER_BYTES = 4 * JSON_BODY_BYTES;
const SNIPPET_BYTES = 8 + STATEMENT_BYTES + ENVELOPES_BYTES + SNIPPET_CIPHERTEXT_BYTES;
/** An export is as long as it is. This is more than any that a test makes. */
const EXPORT_BYTES = 256 * JSON_BODY_BYTES;
/** How long a request may take as a whole. */
const DEADLINE_MILLISECONDS = 120_000;

/** Every problem that section 8 names, with its status. */
export const STATUS = {
  "invalid-request": 400, unauthenticated: 401, forbidden: 403, "not-found": 404, conflict: 409, "stale-log": 409, "rotation-required": 409,
  "coverage-mismatch": 409, gone: 410, "too-large": 413, "bad-signature": 422, "clock-skew": 422, "rate-limited": 429, internal: 500,
  unavailable: 503, authorization_pending: 400, slow_down: 400, expired_token: 400, access_denied: 400,
};

/** An error answer. */
export class Problem extends Error {
  constructor({ status, code, detail }) {
    super(`${code} (${status}): ${detail}`);
    this.name = "Problem";
    Object.assign(this, { status, code, detail });
  }
}

const time = integer;
const page = (item) => array(item, { max: PAGE });
const entry = object({ jws: string, received_at: time });
const erasure = object({ user: hash, asked_at: time, due_at: time });
const otherTeam = object({ team: hash, role: nullable(literal(...ROLES)), others: integer, other_owner: boolean });
/** Of any length, as it may be of a suite or kind to come. */
const prekeys = array(string);

const EVENT_TYPES = [
  "signed-in", "signed-out", "session-revoked", "refresh-reused", "device-added", "device-revoked", "started-over", "erasure-asked",
  "erasure-withdrawn", "erased",
];

const ANSWERS = {
  handshake: object({
    device_code: string, user_code: string, verification_uri: string, verification_uri_complete: string, expires_in: integer, interval: integer,
  }),
  tokens: object({
    token_type: literal("DPoP"), access_token: string, expires_in: integer, refresh_token: string, refresh_expires_in: integer, account: uuid,
  }),
  me: object({
    account: object({ id: uuid, github_id: integer, login: string, name: nullable(string), avatar_url: nullable(string) }),
    device: object({ id: hash, user: nullable(hash), active: boolean }),
    head: nullable(head),
    other: nullable(object({ user: hash, devices: integer, teams: array(otherTeam) })),
    erasures: array(erasure),
  }),
  myLog: object({ entries: page(entry), head: nullable(head), name: nullable(opening), prekeys }),
  myLogAppended: object({ user: hash, head }),
  sessions: object({
    sessions: array(object({ id: uuid, device: hash, name: string, created_at: time, refreshed_at: time, expires_at: time, current: boolean })),
  }),
  events: object({
    events: page(object({ at: time, type: literal(...EVENT_TYPES), device: nullable(hash), session: nullable(uuid) })),
    next: nullable(string),
  }),
  // Its shape is that of docs/export.schema.json.
  export: () => {},
  erasure,
  committed: object({ team: hash, head, epoch: integer }),
  teams: object({ teams: array(object({ team: hash, pending: boolean })) }),
  log: object({ entries: page(entry), head }),
  directory: object({
    users: page(object({ user: hash, log: array(entry), name: nullable(opening), prekeys })),
    next: nullable(hash),
  }),
  envelopes: object({ envelopes: page(object({ epoch: integer, envelope })), next: nullable(integer) }),
  shared: object({ snippet: uuid, received_at: time }),
  snippets: object({
    snippets: page(object({ statement: string, envelopes: array(envelope), received_at: time })),
    next: nullable(string),
  }),
};

export class Api {
  /** `device` is the key pair that proves every request. `fetch` is replaceable so that a test can stand between. */
  constructor(origin, device, fetch = globalThis.fetch) {
    this.origin = origin;
    this.device = device;
    this.fetch = fetch;
    this.accessToken = null;
  }

  // Section 9
  handshake = (statement) => this.json("handshake", "POST", "/v1/handshakes", { statement });
  tokens = (device_code, verifier) =>
    this.json("tokens", "POST", "/v1/tokens", { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code, verifier });
  refresh = (refresh_token, idempotency_key) =>
    this.json("tokens", "POST", "/v1/tokens", { grant_type: "refresh_token", refresh_token, idempotency_key });

  // Section 10
  me = () => this.json("me", "GET", "/v1/me");
  myLog = (from) => this.json("myLog", "GET", `/v1/me/log?from=${from}`);
  appendToMyLog = (entries, prekeys, names = [], start_over = false) =>
    this.json("myLogAppended", "POST", "/v1/me/log", { entries, prekeys, names, start_over });
  sessions = () => this.json("sessions", "GET", "/v1/me/sessions");
  endSession = (session = "current") => this.json(null, "DELETE", `/v1/me/sessions/${session}`);
  endAllSessions = () => this.json(null, "DELETE", "/v1/me/sessions");
  events = (cursor) => this.json("events", "GET", `/v1/me/events${cursor === undefined ? "" : `?${new URLSearchParams({ cursor })}`}`);
  exportAccount = () => this.json("export", "GET", "/v1/me/export", undefined, {}, EXPORT_BYTES);
  deleteAccount = () => this.json(null, "DELETE", "/v1/me");
  askErasure = (user) => this.json("erasure", "POST", "/v1/me/erasures", { user });
  /** Without an access token the device is known by its proof. */
  withdrawErasure = (user) => this.json(null, "DELETE", `/v1/me/erasures/${user}`);
  replacePrekey = (prekey) => this.json(null, "PUT", "/v1/me/prekey", { prekey });
  createTeam = (commit) => this.json("committed", "POST", "/v1/teams", commit);
  teams = () => this.json("teams", "GET", "/v1/teams");
  deleteTeam = (team) => this.json(null, "DELETE", `/v1/teams/${team}`);
  log = (team, from, proof) => this.json("log", "GET", `/v1/teams/${team}/log?from=${from}`, undefined, invited(proof));
  commit = (team, commit) => this.json("committed", "POST", `/v1/teams/${team}/commits`, commit);
  directory = (team, after, proof) =>
    this.json("directory", "GET", `/v1/teams/${team}/directory${after === null ? "" : `?after=${after}`}`, undefined, invited(proof));
  envelopes = (team, from) => this.json("envelopes", "GET", `/v1/teams/${team}/envelopes?from=${from}`);
  snippets = (team, { cursor, limit } = {}) => {
    const query = new URLSearchParams({ ...(cursor && { cursor }), ...(limit && { limit }) });
    return this.json("snippets", "GET", `/v1/teams/${team}/snippets?${query}`);
  };
  deleteSnippet = (team, snippet) => this.json(null, "DELETE", `/v1/teams/${team}/snippets/${snippet}`);

  async putSnippet(team, snippet, container) {
    const path = `/v1/teams/${team}/snippets/${snippet}`;
    const answer = await this.send("PUT", path, { body: container, headers: { "Content-Type": MEDIA_TYPE } });
    return parseAs(ANSWERS.shared, fromUtf8(await bytesOf(answer)), "answer");
  }

  /** A snippet as it was received: `{ container, receivedAt }`. */
  async snippetReceived(team, snippet) {
    const answer = await this.send("GET", `/v1/teams/${team}/snippets/${snippet}`);
    require(answer.headers.get("content-type") === MEDIA_TYPE, "invalid-request", "the answer is not a snippet");
    const receivedAt = parseAs(time, answer.headers.get("osmynt-received-at") ?? "", "Osmynt-Received-At");
    return { container: await bytesOf(answer, SNIPPET_BYTES), receivedAt };
  }

  /** The bytes of a snippet. */
  snippet = async (team, snippet) => (await this.snippetReceived(team, snippet)).container;

  /** The answer of the given shape; `null` stands for an answer without a body. */
  async json(shape, method, path, value, headers = {}, limit = JSON_ANSWER_BYTES) {
    const request = value === undefined ? { headers } : { body: JSON.stringify(value), headers: { "Content-Type": "application/json", ...headers } };
    const answer = await this.send(method, path, request);
    const body = fromUtf8(await bytesOf(answer, limit));
    if (shape === null) return require(body === "", "invalid-request", "an answer where none was expected");
    return parseAs(ANSWERS[shape], body, `${method} ${path}`);
  }

  /** The answer to a request that succeeded; throws [`Problem`] for all others. */
  async send(method, path, { body, headers } = {}) {
    const all = { ...(await this.credentials(method, path)), ...headers };
    const signal = AbortSignal.timeout(DEADLINE_MILLISECONDS);
    const answer = await this.fetch(`${this.origin}${path}`, { method, body, headers: all, signal });
    if (answer.ok) return answer;
    throw new Problem(await readProblem(answer));
  }

  /** The headers that say who sends this request, for one time: section 8. `flaws` are those of [`proofFor`]. */
  async credentials(method, path, flaws = {}) {
    if (path === "/v1/handshakes") return {};
    // Objecting to an erasure takes the device's key, and no session.
    const needsNoToken = path === "/v1/tokens" || (method === "DELETE" && path.startsWith("/v1/me/erasures/"));
    const token = needsNoToken ? undefined : this.accessToken;
    const proof = await proofFor({ method, url: `${this.origin}${path}`, token, key: this.device, ...flaws });
    return { ...(token !== undefined && { Authorization: `DPoP ${token}` }), DPoP: proof };
  }
}

const problemShape = object({ type: string, title: string, status: integer, code: string, detail: string });

/** The problem of an error answer, in the one form that section 8 allows. */
export async function readProblem(answer) {
  const text = fromUtf8(await bytesOf(answer));
  require(answer.headers.get("content-type") === "application/problem+json", "invalid-request", `an error that is no problem: ${answer.status} ${text}`);
  const problem = parseAs(problemShape, text, "problem");
  require(problem.status === answer.status, "invalid-request", "the problem states another status");
  require(Object.hasOwn(STATUS, problem.code), "invalid-request", `an unknown problem: ${problem.code}`);
  require(STATUS[problem.code] === problem.status, "invalid-request", `${problem.code} with another status: ${problem.status}`);
  require(problem.type === `urn:osmynt:problem:${problem.code}`, "invalid-request", "type and code of the problem differ");
  return problem;
}

/** The body of an answer, of which no more than `limit` bytes are read. */
async function bytesOf(answer, limit = JSON_ANSWER_BYTES) {
  const chunks = [];
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    length += chunk.length;
    require(length <= limit, "too-large", `an answer of more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return concat(...chunks);
}

const invited = (proof) => (proof ? { "Osmynt-Invite": proof } : {});
