// Wrong inputs that every route refuses, and wrong statements wherever one is taken. (The refusals of single routes are the business of
// refusals-users, refusals-teams, refusals-invitations and refusals-snippets; who may call, that of table.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, readProblem } from "./client/api.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { MALFORMED_BODIES, MALFORMED_KEYS, MALFORMED_STATEMENTS, overlongStatement } from "./client/forge.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { JSON_BODY_BYTES, STATEMENT_LIMITS } from "./client/limits.mjs";
import { join } from "./client/snippet.mjs";
import { parse, sign, signText } from "./client/statements.mjs";
import { nameCommitment, newOpening } from "./client/userlog.mjs";
import { approve } from "./support/browser.mjs";
import { beforeFounding } from "./support/handshake.mjs";
import {
  NO_HASH, TEAM_ROUTES, assertAccepted, assertRefused, bodyFor, chain, commitOf, get, hashOfStatement, loner, member, newTeamCommit, now, owner, post,
  postCommit, postLog, put, putSnippet, refuses, remember, sendBrokenOff, sendChunked, sendHeadersOnly, sendTo, setUp, snippetOf, stranger, stored, team,
  tearDown, titled, unchanged, view, withJson, world,
} from "./support/refusals.mjs";

/** Somebody whose account has no user yet. */
let newcomer;
before(async () => {
  await setUp(["newcomer"]);
  newcomer = await beforeFounding(() => world.signIn("newcomer"));
  await remember();
});
after(tearDown);

const refreshOf = (refresh_token) => ({ grant_type: "refresh_token", refresh_token, idempotency_key: b64u.encode(randomBytes(16)) });

// --- every route ---

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
    ["a team by itself, of which nothing is to be read", "not-found", () => get(owner, `/v1/teams/${team}`)],
    ["an unknown path of a team", "not-found", () => get(owner, `/v1/teams/${team}/nothing`)],
    ["a path outside of the API", "not-found", () => ({ path: "/nothing" })],
    ["a method that the route has not", "not-found", () => ({ method: "PUT", path: "/v1/me", as: owner })],
    ["a method that nothing has", "not-found", () => ({ method: "PATCH", path: `/v1/teams/${team}`, as: owner })],
  ]);
});

describe("queries", () => {
  const rows = [];
  for (const value of ["x", "-1", "+1", "01", "1.5", "", "9007199254740992", "1e3", "%20"]) {
    for (const path of ["/v1/me/log?from=", "/v1/teams/{team}/log?from=", "/v1/teams/{team}/envelopes?from="]) {
      rows.push([`${path}${value}`, "invalid-request", () => get(owner, path.replace("{team}", team) + value)]);
    }
  }
  for (const [value, code] of [
    ...["x", "0", "-1", "01", "", "9007199254740992"].map((value) => [value, "invalid-request"]),
    ...["101", "1000", "9007199254740991"].map((value) => [value, "too-large"]),
  ]) {
    rows.push([`limit=${value}`, code, () => get(owner, `/v1/teams/${team}/snippets?limit=${value}`)]);
  }
  for (const value of ["x", "", "%00", NO_HASH, b64u.encode(randomBytes(7)), b64u.encode(new Uint8Array(8).fill(255))]) {
    for (const path of ["/v1/teams/{team}/snippets", "/v1/me/events"]) {
      rows.push([`${path}?cursor=${value}`, "invalid-request", () => get(owner, `${path.replace("{team}", team)}?cursor=${value}`)]);
    }
  }
  for (const value of ["x", "", `${NO_HASH}=`, `${NO_HASH.slice(0, -1)}B`, crypto.randomUUID()]) {
    rows.push([`after=${value}`, "invalid-request", () => get(owner, `/v1/teams/${team}/directory?after=${value}`)]);
  }
  refuses(rows);

  it("may have parameters that nobody knows", () => assertAccepted(get(owner, `/v1/teams/${team}/log?from=0&other=1`)));
  it("may ask for as many as a page has, and for what comes after nobody", async () => {
    await assertAccepted(get(owner, `/v1/teams/${team}/snippets?limit=100`));
    await assertAccepted(get(owner, `/v1/teams/${team}/directory?after=${NO_HASH}`));
  });
});

// --- bodies ---

describe("bodies of JSON", () => {
  const ROUTES = [
    ["POST", () => "/v1/handshakes", null, async () => ({ statement: "a.b.c" })],
    ["POST", () => "/v1/tokens", () => owner, async () => refreshOf(owner.tokens.refresh_token)],
    ["POST", () => "/v1/me/log", () => loner, async () => ({ entries: ["a.b.c"], prekeys: [], names: [], start_over: false })],
    ["PUT", () => "/v1/me/prekey", () => loner, async () => ({ prekey: "a.b.c" })],
    ["POST", () => "/v1/me/erasures", () => loner, async () => ({ user: NO_HASH })],
    ["POST", () => "/v1/teams", () => loner, () => newTeamCommit(loner)],
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
      it("refuses a body that breaks off", async () => {
        const problem = await assertRefused("invalid-request", await request(), sendBrokenOff);
        assert.match(problem.detail, /broke off/);
      });
      it("refuses a body of unknown length", async () => assertRefused("invalid-request", await request(), sendChunked));
    });
  }
});

// --- statements ---

/** What `loner` would send to add the device `pair`. */
async function addingDevice(pair) {
  const log = await loner.ownLog();
  const prekey = await makeKeyPair("ECDH");
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
  "POST /v1/me/log: the entry that founds a user": {
    typ: "osmynt-user+jws",
    make: async () => {
      const signer = newcomer.device;
      const payload = { user: null, seq: 0, prev: null, iat: now(), event: { type: "device.added", device: await newcomer.describeDevice(null) } };
      const request = async (jws) => postLog(newcomer, { entries: [jws], prekeys: [await newcomer.newPrekey(await hashOfStatement(jws))] });
      return { payload, signer, request };
    },
  },
  "POST /v1/me/log: an entry": {
    typ: "osmynt-user+jws",
    make: async () => {
      const pair = await makeKeyPair("ECDSA");
      const { device, prekey, entry } = await addingDevice(pair);
      const [deviceJws, prekeyJws] = [await sign("osmynt-device+jws", device, pair), await sign("osmynt-prekey+jws", prekey, pair)];
      return { payload: entry(deviceJws), signer: loner.device, request: (jws) => postLog(loner, { entries: [jws], prekeys: [prekeyJws] }) };
    },
  },
  "POST /v1/me/log: the device in an entry": {
    typ: "osmynt-device+jws",
    make: async () => {
      const pair = await makeKeyPair("ECDSA");
      const { device, prekey, entry } = await addingDevice(pair);
      const prekeyJws = await sign("osmynt-prekey+jws", prekey, pair);
      const request = async (jws) => postLog(loner, { entries: [await sign("osmynt-user+jws", entry(jws), loner.device)], prekeys: [prekeyJws] });
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
      const request = async (jws) => postLog(loner, { entries: [await sign("osmynt-user+jws", entry(deviceJws), loner.device)], prekeys: [jws] });
      return { payload: prekey, signer: pair, request };
    },
    key: (payload, key) => ({ ...payload, key }),
  },
  "POST /v1/me/log: a name": {
    typ: "osmynt-user+jws",
    make: async () => {
      const log = await loner.ownLog();
      const name = newOpening(loner.account);
      const event = { type: "name.signed", commitment: await nameCommitment(loner.user, name) };
      const payload = { user: loner.user, seq: log.entries.length, prev: log.head.hash, iat: now(), event };
      return { payload, signer: loner.device, request: (jws) => postLog(loner, { entries: [jws], names: [name] }) };
    },
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
      const { entries, envelopes } = await newTeamCommit(loner);
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
  "PUT /v1/teams/{team}/snippets/{snippet} to members": {
    typ: "osmynt-snippet+jws",
    make: async () => {
      const { payload, envelopes, ciphertext } = await snippetOf(member, { to: [owner.user] });
      return { payload, signer: member.device, request: (jws) => putSnippet(member, join(jws, ciphertext, envelopes), payload.snippet) };
    },
  },
};
const openedEntries = async (client, events) => {
  const entries = await chain(client, (await view(client)).log, events);
  return Promise.all(entries.map(async (jws) => (await parse("osmynt-team+jws", jws)).payload));
};

/** A statement of exactly so many bytes, by spaces around what it says. */
async function statementOf(length, typ, payload, signer) {
  const header = JSON.stringify({ kid: signer.id, typ, alg: "ES256" });
  const reversed = JSON.stringify(Object.fromEntries(Object.entries(payload).reverse()));
  const encoded = (bytes) => Math.ceil((bytes * 4) / 3);
  for (let spaces = 0; spaces < 4; spaces += 1) {
    // Two dots and a signature of 64 bytes.
    const room = length - encoded(utf8(header).length + spaces) - 88;
    const more = Math.floor((room * 3) / 4) - utf8(reversed).length;
    if (more >= 0 && encoded(utf8(reversed).length + more) === room) {
      return signText(header + " ".repeat(spaces), reversed + " ".repeat(more), signer.privateKey);
    }
  }
  throw new Error(`no ${typ} has ${length} bytes`);
}

for (const [where, { typ, make, key }] of Object.entries(STATEMENTS)) {
  describe(`${where} takes no statement with`, () => {
    const oneTooMany = (...statement) => statementOf(STATEMENT_LIMITS[typ] + 1, ...statement);
    refuses(
      [...MALFORMED_STATEMENTS, ["one byte more than its kind may have", "too-large", oneTooMany], ["far more than any may have", "too-large", overlongStatement]].map(
        ([what, code, forge]) => [what, code, async () => {
          const { payload, signer, request } = await make();
          return request(await forge(typ, payload, signer));
        }],
      ),
    );
    if (key !== undefined) {
      refuses(MALFORMED_KEYS.map(([what, malform]) => [`a key with ${what}`, "invalid-request", async () => {
        const { payload, signer, request } = await make();
        const header = JSON.stringify({ alg: "ES256", typ, kid: signer.id });
        return request(await signText(header, JSON.stringify(key(payload, await malform(await makeKeyPair("ECDSA")))), signer.privateKey));
      }]));
    }
    it("and takes the same without the mistake, whatever the order of members, and of as many bytes as its kind may have", async () => {
      const { payload, signer, request, alsoValid } = await make();
      await assertAccepted(await request(alsoValid ?? (await statementOf(STATEMENT_LIMITS[typ], typ, payload, signer))));
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
    ["a device with a space before its name", "invalid-request", () => named(" laptop")],
    ["a device with two spaces in a row in its name", "invalid-request", () => named("my  laptop")],
    ["a device with five combining marks in a row in its name", "invalid-request", () => named(`a${"\u0301".repeat(5)}`)],
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
      await remember();
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
    await remember();
    await assertAccepted(poll(handshake));
    await assertRefused("expired_token", poll(handshake));
  });

  it("gives none to whom the person refused", async () => {
    const handshake = await start();
    await approve(handshake.verification_uri_complete, "loner", { deny: true });
    await remember();
    await assertRefused("access_denied", poll(handshake));
  });
});
