// A service that lies: it stands between a client and the real one, and changes what the real one answers.

import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Starts a proxy to a service, `target`, which is to be set, and started with the proxy's address for its origin: proofs of possession are made
 * for that one. `lies` is what it currently lies about, to be set by a test; each takes what is true and gives what to say:
 *
 * - `log(entries)`: a team's log, as entries of an answer; its head is the last of what it gives, or what `head(head)` gives
 * - `directory(users)`: everybody in a team's directory
 * - `envelopes(envelopes)`: those of the calling device; from the epoch `from`, if that is set, whatever was asked for
 * - `list(snippets)`: the list of snippets
 * - `snippet(container, id)`: a snippet's bytes
 * - `receivedAt(time, id)`: when a snippet that is fetched was received
 * - `teams(teams)`: the teams that the caller is in
 * - `me(answer)`, `ownLog(answer)`: what it says of the caller, and a page of the caller's own log
 *
 * Each lie is told upon one question to the service, as the victim's proof is good for one.
 *
 * `overheard` has the body of every request that has one.
 */
export async function startLiar(headOf) {
  const liar = { target: null, lies: {}, overheard: [] };

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
    if (body) liar.overheard.push({ path: request.url, body });
    const { host, connection, "content-length": _, "transfer-encoding": __, ...headers } = request.headers;
    const url = new URL(request.url, liar.target);
    const ask = (query = url.search) => fetch(`${liar.target}${url.pathname}${query}`, { method: request.method, headers, body, redirect: "manual" });
    const answer = (await lie(request.method, url, ask)) ?? (await ask());
    const bytes = Buffer.from(await answer.arrayBuffer());
    const plain = [...answer.headers].filter(([name]) => !["content-length", "content-encoding", "transfer-encoding", "connection"].includes(name));
    response.writeHead(answer.status, { ...Object.fromEntries(plain), "content-length": bytes.length });
    response.end(bytes);
  });

  /** The false answer, if there is one to give. */
  async function lie(method, url, ask) {
    const { lies } = liar;
    if (method !== "GET") return null;
    const whole = { "/v1/me": "me", "/v1/me/log": "ownLog", "/v1/teams": "teams" }[url.pathname];
    if (lies[whole]) {
      const answer = await ask();
      if (!answer.ok) return answer;
      const truth = await answer.json();
      return Response.json(whole === "teams" ? { teams: await lies.teams(truth.teams) } : await lies[whole](truth));
    }
    if (!url.pathname.startsWith("/v1/teams/")) return null;
    const [, , , , route, id] = url.pathname.split("/");
    if (route === "log" && (lies.log || lies.head)) {
      const all = await every(ask, "entries", (_, found) => `?from=${found.length}`, ({ head }, found) => found.length > head.seq);
      if (!Array.isArray(all)) return all;
      const entries = lies.log ? await lies.log(all) : all;
      const from = Number(url.searchParams.get("from") ?? 0);
      const head = await headOf(entries);
      return Response.json({ entries: entries.slice(from, from + 100), head: lies.head ? lies.head(head) : head });
    }
    if (route === "directory" && lies.directory) {
      const all = await every(ask, "users", ({ next }) => `?after=${next}`, ({ next }) => next === null);
      return Array.isArray(all) ? Response.json({ users: await lies.directory(all), next: null }) : all;
    }
    if (route === "envelopes" && lies.envelopes) {
      const answer = await ask(lies.from === undefined ? undefined : `?from=${lies.from}`);
      if (!answer.ok) return answer;
      const { envelopes, next } = await answer.json();
      return Response.json({ envelopes: await lies.envelopes(envelopes), next });
    }
    if (route === "snippets" && id === undefined && lies.list) {
      const answer = await ask();
      if (!answer.ok) return answer;
      const { snippets, next } = await answer.json();
      return Response.json({ snippets: await lies.list(snippets), next });
    }
    if (route === "snippets" && id !== undefined && (lies.snippet || lies.receivedAt)) {
      const answer = await ask();
      if (!answer.ok) return answer;
      const container = new Uint8Array(await answer.arrayBuffer());
      const headers = new Headers(answer.headers);
      if (lies.receivedAt) headers.set("Osmynt-Received-At", String(await lies.receivedAt(Number(headers.get("Osmynt-Received-At")), id)));
      return new Response(lies.snippet ? await lies.snippet(container, id) : container, { headers });
    }
    return null;
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  liar.url = `http://127.0.0.1:${server.address().port}`;
  liar.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return liar;
}

/** All items of all pages, or the answer that was no success. */
async function every(ask, items, query, isLast) {
  const found = [];
  for (let next = ""; ; ) {
    const answer = await ask(next || "?");
    if (!answer.ok) return answer;
    const page = await answer.json();
    found.push(...page[items]);
    if (isLast(page, found)) return found;
    next = query(page, found);
  }
}
