// Sections 8 to 10 of docs/protocol.md: requests, answers and problems. Answers are read as strictly as statements are.

import { proofFor } from "./dpop.mjs";
import {
  array, boolean, envelope, fromUtf8, hash, head, integer, literal, nullable, object, parseAs, require, seconds, string, uuid,
} from "./encodings.mjs";
import { ROLES } from "./statements.mjs";
import { MEDIA_TYPE } from "./snippet.mjs";

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

const time = (value, path) => {
  string(value, path);
  seconds(value);
};
const role = literal(...ROLES);
const entries = array(object({ jws: string, received_at: time }), { max: 100 });
const person = { login: string, name: nullable(string), avatar_url: nullable(string) };

const EVENT_TYPES = ["signed-in", "signed-out", "session-revoked", "refresh-reused", "device-added", "device-revoked", "identity-reset"];

const ANSWERS = {
  handshake: object({
    device_code: string, user_code: string, verification_uri: string, verification_uri_complete: string, expires_in: integer, interval: integer,
  }),
  tokens: object({
    token_type: literal("DPoP"), access_token: string, expires_in: integer, refresh_token: string, refresh_expires_in: integer, user: uuid,
  }),
  me: object({ user: object({ id: uuid, ...person }), device: object({ id: hash, active: boolean }), log: nullable(object({ head, identity: hash })) }),
  myLog: object({ entries, head: nullable(head) }),
  myLogAppended: object({ head, identity: hash }),
  sessions: object({
    sessions: array(object({ id: uuid, device: hash, name: string, created_at: time, refreshed_at: time, expires_at: time, current: boolean })),
  }),
  events: object({
    events: array(object({ at: time, type: literal(...EVENT_TYPES), device: nullable(hash), session: nullable(uuid) }), { max: 100 }),
    next: nullable(string),
  }),
  // Its shape is that of docs/export.schema.json.
  export: () => {},
  committed: object({ team: hash, head, epoch: integer }),
  teams: object({ teams: array(object({ team: hash, role, epoch: integer })) }),
  team: object({
    team: hash,
    head,
    epoch: integer,
    stale: boolean,
    policy: object({ max_epoch_age: integer }),
    members: array(object({ user: uuid, identity: hash, role, ...person })),
    invites: array(object({ invite: hash, role, exp: time, uses_left: integer })),
  }),
  log: object({ entries, head }),
  directory: object({
    users: array(object({ user: uuid, log: array(object({ jws: string, received_at: time })), prekeys: array(string) }), { max: 100 }),
    next: nullable(uuid),
  }),
  envelopes: object({ envelopes: array(object({ epoch: integer, envelope }), { max: 100 }), next: nullable(integer) }),
  shared: object({ snippet: uuid, received_at: time }),
  snippets: object({ snippets: array(object({ statement: string, received_at: time }), { max: 100 }), next: nullable(string) }),
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
  appendToMyLog = (entries, prekeys) => this.json("myLogAppended", "POST", "/v1/me/log", { entries, prekeys });
  sessions = () => this.json("sessions", "GET", "/v1/me/sessions");
  endSession = (session = "current") => this.json(null, "DELETE", `/v1/me/sessions/${session}`);
  endAllSessions = () => this.json(null, "DELETE", "/v1/me/sessions");
  events = (cursor) => this.json("events", "GET", `/v1/me/events${cursor === undefined ? "" : `?${new URLSearchParams({ cursor })}`}`);
  exportAccount = () => this.json("export", "GET", "/v1/me/export");
  deleteAccount = () => this.json(null, "DELETE", "/v1/me");
  replacePrekey = (prekey) => this.json(null, "PUT", "/v1/me/prekey", { prekey });
  createTeam = (commit) => this.json("committed", "POST", "/v1/teams", commit);
  teams = () => this.json("teams", "GET", "/v1/teams");
  team = (team) => this.json("team", "GET", `/v1/teams/${team}`);
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

  async snippet(team, snippet) {
    const answer = await this.send("GET", `/v1/teams/${team}/snippets/${snippet}`);
    require(answer.headers.get("content-type") === MEDIA_TYPE, "invalid-request", "the answer is not a snippet");
    return bytesOf(answer);
  }

  /** The answer of the given shape; `null` stands for an answer without a body. */
  async json(shape, method, path, value, headers = {}) {
    const request = value === undefined ? { headers } : { body: JSON.stringify(value), headers: { "Content-Type": "application/json", ...headers } };
    const answer = await this.send(method, path, request);
    const body = fromUtf8(await bytesOf(answer));
    if (shape === null) return require(body === "", "invalid-request", "an answer where none was expected");
    return parseAs(ANSWERS[shape], body, `${method} ${path}`);
  }

  /** The answer to a request that succeeded; throws [`Problem`] for all others. */
  async send(method, path, { body, headers } = {}) {
    const answer = await this.fetch(`${this.origin}${path}`, { method, body, headers: { ...(await this.credentials(method, path)), ...headers } });
    if (answer.ok) return answer;
    throw new Problem(await readProblem(answer));
  }

  /** The headers that say who sends this request, for one time: section 8. `flaws` are those of [`proofFor`]. */
  async credentials(method, path, flaws = {}) {
    if (path === "/v1/handshakes") return {};
    const token = path === "/v1/tokens" ? undefined : this.accessToken;
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

const bytesOf = async (answer) => new Uint8Array(await answer.arrayBuffer());
const invited = (proof) => (proof ? { "Osmynt-Invite": proof } : {});
