// A service that is a lie from beginning to end: it checks nothing, has a clock that a test sets, and says what a test wants. Its people are
// independent clients on the test's side ("puppets"), so that every statement it shows is signed by keys that exist; its victim is the real
// command or another client. With it a test shows what somebody with a key can do together with the service, years apart.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

import { Client } from "../client/client.mjs";
import { b64u, fromUtf8, hashOf, utf8 } from "../client/encodings.mjs";
import { split } from "../client/snippet.mjs";

const PAGE = 100;
const now = () => Math.floor(Date.now() / 1000);
const decode = (part) => JSON.parse(fromUtf8(b64u.decode(part)));

/** What a compact statement says: its header and payload, unchecked. */
export const said = (jws) => {
  const [header, payload] = jws.split(".");
  return { ...decode(header), payload: decode(payload) };
};
/** The hash of a compact statement. */
export const hashOfStatement = (jws) => hashOf(utf8(jws.split(".").slice(0, 2).join(".")));
const headOf = async (entries) => ({ seq: entries.length - 1, hash: await hashOfStatement(entries.at(-1).jws) });
const ascending = (a, b) => (a < b ? -1 : 1);

class Missing extends Error {}

/**
 * `skew` is added to this machine's time to give the service's, and that of puppets made meanwhile: set it below zero for what happens in the
 * past. `received` decides when the next things are said to be received; none for the service's time. `answers` may replace any
 * answer: `(method, path, answer, url) => answer`, where an answer is what is sent as JSON, or `{ status, body, headers }` under `raw`.
 */
export async function startFalseService() {
  const accounts = new Map();
  const devices = new Map();
  const users = new Map();
  const teams = new Map();
  const handshakes = new Map();
  const service = { skew: 0, received: null, answers: (method, path, answer) => answer, accounts, devices, users, teams };
  const time = () => service.received ?? now() + service.skew;

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const url = new URL(request.url, service.url);
    let answer;
    try {
      answer = await handle(request.method, url, Buffer.concat(chunks), request.headers);
    } catch (error) {
      if (!(error instanceof Missing)) console.error(error);
      const [status, code] = error instanceof Missing ? [404, "not-found"] : [500, "internal"];
      answer = { raw: { status, headers: { "content-type": "application/problem+json" }, body: problem(status, code, "A false service says no.") } };
    }
    answer = await service.answers(request.method, url.pathname, answer, url);
    const { status = 200, headers = {}, body } = answer.raw ?? { headers: { "content-type": "application/json" }, body: JSON.stringify(answer) };
    response.writeHead(status, headers);
    response.end(body);
  });

  const problem = (status, code, detail) => JSON.stringify({ type: `urn:osmynt:problem:${code}`, title: "No", status, code, detail });
  const json = (body) => JSON.parse(fromUtf8(body));
  const empty = { raw: { status: 204, body: "" } };
  const of = (map, key) => map.get(key) ?? (() => { throw new Missing(String(key)); })();

  async function handle(method, url, body, headers) {
    const [, version, ...parts] = url.pathname.split("/");
    const query = (name) => url.searchParams.get(name);
    if (version !== "v1") throw new Missing(url.pathname);
    if (parts[0] === "handshakes") {
      const { statement } = json(body);
      const code = randomUUID();
      handshakes.set(code, said(statement).kid);
      return { raw: { status: 201, headers: { "content-type": "application/json" }, body: JSON.stringify({
        device_code: code, user_code: "BCDF-GHJK", verification_uri: `${service.url}/sign-in`,
        verification_uri_complete: `${service.url}/sign-in?code=BCDF-GHJK`, expires_in: 300, interval: 1,
      }) } };
    }
    if (parts[0] === "tokens") {
      const { device_code, refresh_token } = json(body);
      const device = handshakes.get(device_code) ?? refresh_token.split(" ")[1];
      const login = devices.get(device)?.login ?? service.nextLogin;
      if (!accounts.has(login)) accounts.set(login, { id: randomUUID(), github_id: 5000 + accounts.size, login, name: null, avatar_url: null });
      if (!devices.has(device)) devices.set(device, { login, user: null });
      return { token_type: "DPoP", access_token: `access ${device}`, expires_in: 43200, refresh_token: `refresh ${device}`, refresh_expires_in: 2592000, account: accounts.get(login).id };
    }
    const id = headers.authorization?.replace(/^DPoP access /, "");
    const device = of(devices, id);
    if (parts[0] === "me") return me(method, parts, device, id, body, query);
    if (parts[0] === "teams") return team(method, parts, device, id, body, query);
    throw new Missing(url.pathname);
  }

  async function me(method, parts, device, id, body, query) {
    const user = device.user && users.get(device.user);
    if (parts.length === 1) {
      return { account: accounts.get(device.login), device: { id, user: device.user, active: user !== null }, head: user ? await headOf(user.log) : null, other: null, erasures: [] };
    }
    if (parts[1] === "prekey") {
      user.prekeys.set(id, json(body).prekey);
      return empty;
    }
    if (parts[1] === "log" && method === "GET") {
      const from = Number(query("from") ?? 0);
      return user
        ? { entries: user.log.slice(from, from + PAGE), head: await headOf(user.log), name: user.name, prekeys: [...user.prekeys.values()] }
        : { entries: [], head: null, name: null, prekeys: [] };
    }
    if (parts[1] === "log") {
      const { entries, prekeys, names } = json(body);
      const owner = device.user ?? (await hashOfStatement(entries[0]));
      if (!users.has(owner)) users.set(owner, { log: [], prekeys: new Map(), name: null });
      const record = users.get(owner);
      for (const jws of entries) {
        record.log.push({ jws, received_at: time() });
        const { event } = said(jws).payload;
        if (event.type === "device.added") devices.set(said(event.device).kid, { login: device.login, user: owner });
        if (event.type === "device.revoked") record.prekeys.delete(event.device);
      }
      for (const prekey of prekeys) record.prekeys.set(said(prekey).kid, prekey);
      record.name = names.at(-1) ?? record.name;
      return { user: owner, head: await headOf(record.log) };
    }
    throw new Missing(parts.join("/"));
  }

  async function team(method, parts, device, id, body, query) {
    if (parts.length === 1 && method === "GET") {
      const mine = [...teams].filter(([, { users }]) => users.has(device.user)).map(([team]) => ({ team, pending: false }));
      return { teams: mine.sort((a, b) => ascending(a.team, b.team)) };
    }
    if (parts.length === 1) {
      const commit = json(body);
      const name = await hashOfStatement(commit.entries[0]);
      teams.set(name, { log: [], envelopes: new Map(), users: new Set(), snippets: [], epoch: 0 });
      return take(name, commit, 201);
    }
    const record = of(teams, parts[1]);
    if (parts[2] === "commits") return take(parts[1], json(body), 200);
    if (parts[2] === "log") {
      const from = Number(query("from") ?? 0);
      return { entries: record.log.slice(from, from + PAGE), head: await headOf(record.log) };
    }
    if (parts[2] === "directory") {
      const all = [...new Set([...record.users, device.user])].filter((user) => users.has(user)).sort(ascending);
      return { users: all.map((user) => ({ user, log: users.get(user).log, name: users.get(user).name, prekeys: [...users.get(user).prekeys.values()] })), next: null };
    }
    if (parts[2] === "envelopes") {
      const from = Number(query("from") ?? 0);
      const mine = (record.envelopes.get(id) ?? []).filter(({ epoch }) => epoch >= from);
      return { envelopes: mine, next: null };
    }
    if (parts[2] === "snippets" && parts[3] === undefined) {
      const ownDevices = (envelope) => devices.get(envelope.device)?.user === device.user;
      const snippets = record.snippets.map(({ statement, envelopes, received_at }) => ({ statement, envelopes: envelopes.filter(ownDevices), received_at }));
      return { snippets: snippets.reverse().slice(0, PAGE), next: null };
    }
    if (parts[2] === "snippets" && method === "PUT") {
      const container = new Uint8Array(body);
      const { statement, envelopes } = split(container);
      const received_at = time();
      record.snippets.push({ snippet: parts[3], container, statement, envelopes, received_at });
      return { raw: { status: 201, headers: { "content-type": "application/json" }, body: JSON.stringify({ snippet: parts[3], received_at }) } };
    }
    if (parts[2] === "snippets") {
      const found = record.snippets.find(({ snippet }) => snippet === parts[3]);
      if (!found) throw new Missing(parts[3]);
      return { raw: { headers: { "content-type": "application/vnd.osmynt.snippet", "osmynt-received-at": String(found.received_at) }, body: found.container } };
    }
    throw new Missing(parts.join("/"));
  }

  async function take(name, { entries, envelopes }, status) {
    const record = teams.get(name);
    for (const jws of entries) {
      const { user, event } = said(jws).payload;
      record.users.add(user);
      if (event.type === "key.rotated") {
        record.epoch = event.epoch;
        for (const envelope of envelopes) {
          record.envelopes.set(envelope.device, [...(record.envelopes.get(envelope.device) ?? []), { epoch: event.epoch, envelope }]);
        }
      }
      record.log.push({ jws, received_at: time() });
    }
    const answer = { team: name, head: await headOf(record.log), epoch: record.epoch };
    return { raw: { status, headers: { "content-type": "application/json" }, body: JSON.stringify(answer) } };
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  service.url = `http://127.0.0.1:${server.address().port}`;
  service.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };

  /** Somebody whose keys the test holds; their clock is the service's. With a device of somebody else's `user` it is another device of theirs. */
  service.puppet = async (login, options = {}) => {
    service.nextLogin = login;
    return Client.signIn({ origin: service.url, name: `${login}'s laptop`, approve: async () => {}, sleep: async () => {}, clock: time, ...options });
  };
  return service;
}
