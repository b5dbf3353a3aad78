// Refresh tokens are used once, and the service can tell a repetition from a theft: each rule of section 9 by itself, then every short and many
// long interleavings of an owner whose messages get lost and a thief who has copied everything.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";
import { Api, Problem } from "./client/api.mjs";
import { b64u, randomBytes, utf8 } from "./client/encodings.mjs";
import { ACCESS_SECONDS, SESSION_SECONDS } from "./client/limits.mjs";
import { startWorld } from "./client/world.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const DAY = 24 * 3600;
const newKey = () => b64u.encode(randomBytes(16));
const now = () => Math.floor(Date.now() / 1000);

let world, database;
/** A device of Ada's that is in her log, so that it may read her events; and whose sessions the interleavings are about. */
let first, person;
before(async () => {
  world = await startWorld(["ada", "grace"], { vars: { JWT_SECRET } });
  database = await world.service.mf.getD1Database("DB");
  [first, person] = [await world.signIn("ada"), await world.signIn("grace")];
});
after(() => world?.dispose());

const refuses = (promise) => assert.rejects(promise, (problem) => problem instanceof Problem && problem.code === "unauthenticated");
const sidOf = ({ access_token }) => decodeJwt(access_token).sid;
const generationOf = ({ access_token, refresh_token }) => {
  assert.equal(decodeJwt(access_token).gen, decodeJwt(refresh_token).gen);
  return decodeJwt(access_token).gen;
};
const signIn = () => world.signIn("ada");
const withTokens = (client, tokens) => {
  const api = new Api(world.service.url, client.device);
  api.accessToken = tokens.access_token;
  return api;
};
const works = (client, tokens) => withTokens(client, tokens).me();
const sql = (text, ...values) => database.prepare(text).bind(...values).all();

/** Lets a session have begun, and been refreshed, so much earlier. */
async function backdate(sid, seconds) {
  await sql("UPDATE sessions SET created_at = created_at - ?2, refreshed_at = refreshed_at - ?2, expires_at = expires_at - ?2 WHERE id = ?1", sid, seconds);
  await sql("UPDATE refreshes SET refreshed_at = refreshed_at - ?2 WHERE session = ?1", sid, seconds);
}

describe("a refresh", () => {
  it("gives the next generation of both tokens, and ends the one before with the next request", async () => {
    const client = await signIn();
    const first = client.tokens;
    const second = await client.api.refresh(first.refresh_token, newKey());
    assert.deepEqual([generationOf(first), generationOf(second)], [0, 1]);
    assert.equal(sidOf(second), sidOf(first));
    const { access_token, refresh_token, account, refresh_expires_in, ...rest } = second;
    assert.deepEqual(rest, { token_type: "DPoP", expires_in: ACCESS_SECONDS });
    assert.equal(account, client.account.id);
    await works(client, second);
    await refuses(works(client, first));
    const third = await client.api.refresh(second.refresh_token, newKey());
    await works(client, third);
    for (const earlier of [first, second]) await refuses(works(client, earlier));
  });

  it("gives the same refresh token again under the same key, and an access token of the same generation", async () => {
    const client = await signIn();
    const key = newKey();
    const answers = [];
    for (let count = 0; count < 3; count += 1) answers.push(await client.api.refresh(client.tokens.refresh_token, key));
    for (const answer of answers) {
      assert.equal(answer.refresh_token, answers[0].refresh_token);
      assert.equal(generationOf(answer), 1);
      await works(client, answer);
    }
  });

  it("does so however long it takes, as long as the session lasts", async () => {
    const client = await signIn();
    const key = newKey();
    const lost = await client.api.refresh(client.tokens.refresh_token, key);
    await backdate(sidOf(lost), 20 * DAY);
    const found = await client.api.refresh(client.tokens.refresh_token, key);
    assert.equal(generationOf(found), 1);
    assert.deepEqual(found.refresh_token, (await client.api.refresh(client.tokens.refresh_token, key)).refresh_token);
    assert.equal(found.expires_in, ACCESS_SECONDS);
    assert.ok(Math.abs(found.refresh_expires_in - 10 * DAY) < 60, `${found.refresh_expires_in}`);
    assert.ok(decodeJwt(found.access_token).exp > now() + ACCESS_SECONDS - 60, "an access token that has expired long ago");
    await works(client, found);
    assert.equal(generationOf(await client.api.refresh(found.refresh_token, newKey())), 2);
  });

  it("is refused under the same key once its tokens were replaced, and nothing else happens", async () => {
    const client = await signIn();
    const key = newKey();
    const second = await client.api.refresh(client.tokens.refresh_token, key);
    const third = await client.api.refresh(second.refresh_token, newKey());
    await refuses(client.api.refresh(client.tokens.refresh_token, key));
    await works(client, third);
    await client.api.refresh(third.refresh_token, newKey());
    assert.ok(!(await typesOf(client)).includes("refresh-reused"));
  });

  for (const [when, generations] of [["right after", 1], ["much later", 3]]) {
    it(`under another key ends the session for everybody, ${when}, and leaves an event`, async () => {
      const client = await signIn();
      const stolen = client.tokens;
      let latest = stolen;
      for (let count = 0; count < generations; count += 1) latest = await client.api.refresh(latest.refresh_token, newKey());
      await refuses(client.api.refresh(stolen.refresh_token, newKey()));
      for (const tokens of [stolen, latest]) {
        await refuses(works(client, tokens));
        await refuses(client.api.refresh(tokens.refresh_token, newKey()));
      }
      const { events } = await first.api.events();
      const ofSession = events.filter(({ session }) => session === sidOf(stolen));
      assert.deepEqual(ofSession.map(({ type, device }) => [type, device]), [["refresh-reused", client.device.id], ["signed-in", client.device.id]]);
    });
  }

  it("is good for 30 days from the sign-in, however often it is done", async () => {
    const client = await signIn();
    const end = decodeJwt(client.tokens.refresh_token).exp;
    assert.equal(end - decodeJwt(client.tokens.refresh_token).iat, SESSION_SECONDS);
    let { tokens } = client;
    for (let count = 0; count < 3; count += 1) {
      tokens = await client.api.refresh(tokens.refresh_token, newKey());
      assert.equal(decodeJwt(tokens.refresh_token).exp, end);
      assert.ok(Math.abs(now() + tokens.refresh_expires_in - end) <= 5);
    }
    await backdate(sidOf(tokens), SESSION_SECONDS - 3600);
    tokens = await client.api.refresh(tokens.refresh_token, newKey());
    assert.ok(tokens.expires_in <= 3600 && decodeJwt(tokens.access_token).exp <= now() + 3600, "an access token outlives its session");
    assert.ok(tokens.refresh_expires_in <= 3600);
    await works(client, tokens);
    await backdate(sidOf(tokens), 3601);
    await refuses(works(client, tokens));
    await refuses(client.api.refresh(tokens.refresh_token, newKey()));
    assert.ok(!(await typesOf(client)).includes("refresh-reused"));
  });

  it("that comes ten times at once gives one successor", async () => {
    const client = await signIn();
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 10 }, () => client.api.refresh(client.tokens.refresh_token, key)));
    assert.deepEqual(new Set(answers.map(({ refresh_token }) => refresh_token)).size, 1);
    assert.deepEqual(new Set(answers.map(generationOf)), new Set([1]));
    for (const answer of answers) await works(client, answer);
    const { results } = await sql("SELECT generation, idempotency_key FROM refreshes WHERE session = ?", sidOf(client.tokens));
    assert.deepEqual(results, [{ generation: 0, idempotency_key: key }]);
    await client.api.refresh(answers[9].refresh_token, newKey());
  });

  it("that comes ten times at once under ten keys leaves nobody with a session", async () => {
    const client = await signIn();
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => client.api.refresh(client.tokens.refresh_token, newKey())));
    const given = outcomes.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    assert.ok(given.length <= 1, "two successors of one token");
    for (const tokens of [client.tokens, ...given]) {
      await refuses(works(client, tokens));
      await refuses(client.api.refresh(tokens.refresh_token, newKey()));
    }
    assert.equal((await typesOf(client)).filter((type) => type === "refresh-reused").length, 1);
  });

  it("does nothing to another session of the same person, nor does a theft there", async () => {
    const [client, other] = [await signIn(), await signIn()];
    const stolen = client.tokens;
    await client.refresh();
    await refuses(client.api.refresh(stolen.refresh_token, newKey()));
    await works(other, other.tokens);
    await other.refresh();
    await works(other, other.tokens);
  });

  it("is begun again by a client whose answer was lost, with the key that it was begun with", async () => {
    let drop = false;
    const client = await world.signIn("ada", {
      fetch: async (url, request) => {
        const answer = await fetch(url, request);
        if (drop && url.endsWith("/v1/tokens")) throw new TypeError("the answer was lost");
        return answer;
      },
    });
    drop = true;
    for (let count = 0; count < 3; count += 1) await assert.rejects(client.refresh(), /was lost/);
    drop = false;
    await client.refresh();
    assert.equal(generationOf(client.tokens), 1);
    await client.api.me();
    await client.refresh();
    assert.equal(generationOf(client.tokens), 2);
  });

  const typesOf = async ({ tokens }) =>
    (await sql("SELECT type FROM account_events WHERE session = ?", sidOf(tokens))).results.map(({ type }) => type);
});

// --- interleavings ---

/**
 * What can happen. The owner is a client as section 9 wants it: a key is stored before it is first sent, and a refresh without an answer is
 * repeated with its key. The thief copies all that the owner has at that moment, the device's key and the key of a refresh under way included.
 */
const ACTIONS = {
  "owner refreshes": (each) => each.ownerRefreshes({ arrives: true, answered: true }),
  "owner's answer is lost": (each) => each.ownerRefreshes({ arrives: true, answered: false }),
  "owner's request is held up": (each) => each.ownerRefreshes({ arrives: false, answered: false }),
  "old requests arrive again": (each) => each.duplicates(),
  "thief copies everything": (each) => each.theft(),
  "thief refreshes with a new key": (each) => each.thiefRefreshes(newKey()),
  "thief repeats the owner's refresh": (each) => each.thiefRefreshes(each.thief.pending),
  "thief uses the access token": (each) => each.accepts(each.thief.tokens),
};
const NAMES = Object.keys(ACTIONS);

class Interleaving {
  constructor(tokens) {
    this.owner = { tokens, pending: null };
    this.thief = null;
    /** Every token that the thief ever had, and every key. */
    this.stolen = { tokens: [], keys: [] };
    /** Every request of the owner's, as it was sent. */
    this.sent = [];
  }

  /** Whether the action could change anything now. */
  allows(name) {
    if (name === "old requests arrive again") return this.sent.length > 0;
    if (name === "thief repeats the owner's refresh") return this.thief?.pending != null;
    return !name.startsWith("thief") || name === "thief copies everything" || this.thief !== null;
  }

  /** Whether it was taken: the new tokens, or undefined. */
  async ownerRefreshes({ arrives, answered }) {
    this.owner.pending ??= newKey();
    const request = await requestFor(this.owner.tokens.refresh_token, this.owner.pending);
    this.sent.push(request);
    if (!arrives) return undefined;
    const answer = await send(request);
    if (!answered) return undefined;
    // A refusal is an answer, too.
    this.owner = { tokens: answer ?? this.owner.tokens, pending: null };
    return answer;
  }

  async duplicates() {
    for (const request of this.sent.slice()) await send(request);
  }

  theft() {
    this.thief = { ...this.owner };
    this.keep(this.thief.tokens);
    if (this.thief.pending !== null) this.stolen.keys.push(this.thief.pending);
  }

  async thiefRefreshes(key) {
    const answer = await send(await requestFor(this.thief.tokens.refresh_token, key));
    if (answer === undefined) return;
    this.thief = { tokens: answer, pending: null };
    this.keep(answer);
  }

  keep(tokens) {
    this.stolen.tokens.push(tokens);
  }

  async accepts({ access_token }) {
    const api = new Api(world.service.url, person.device);
    api.accessToken = access_token;
    try {
      await api.me();
      return true;
    } catch (problem) {
      if (problem.code !== "unauthenticated") throw problem;
      return false;
    }
  }

  async check() {
    if (this.thief === null) {
      assert.ok(await this.ownerRefreshes({ arrives: true, answered: true }), "the owner alone was signed out");
      assert.ok(await this.accepts(this.owner.tokens), "the owner's new token is refused");
      return;
    }
    // What was begun before or after the theft is finished; the next refresh is a new one.
    if (this.owner.pending !== null) await this.ownerRefreshes({ arrives: true, answered: true });
    const stays = (await this.ownerRefreshes({ arrives: true, answered: true })) !== undefined;
    for (const tokens of this.stolen.tokens) assert.ok(!(await this.accepts(tokens)), "the thief's access token is accepted");
    assert.equal(await this.accepts(this.owner.tokens), stays, "the owner is refused, or accepted, against what the refresh said");
    for (const key of [...this.stolen.keys, newKey()]) {
      for (const { refresh_token } of this.stolen.tokens) {
        assert.equal(await send(await requestFor(refresh_token, key)), undefined, "the thief's refresh token is accepted");
      }
    }
  }
}

/** A request for new tokens by the one device of these sessions, which can be sent any number of times. */
async function requestFor(refresh_token, idempotency_key) {
  const headers = { "Content-Type": "application/json", ...(await person.api.credentials("POST", "/v1/tokens")) };
  return { method: "POST", headers, body: JSON.stringify({ grant_type: "refresh_token", refresh_token, idempotency_key }) };
}

/** The tokens, or undefined where they are refused. */
async function send(request) {
  const answer = await fetch(`${world.service.url}/v1/tokens`, request);
  const body = await answer.json();
  if (answer.ok) return body;
  assert.equal(body.code, "unauthenticated", JSON.stringify(body));
  return undefined;
}

/** As many sessions of one device as are asked for, as sign-ins would have left them but for their number: their tokens. */
async function openSessions(count) {
  const { access_token, refresh_token } = person.tokens;
  const { iat, exp } = decodeJwt(refresh_token);
  const insert = database.prepare("INSERT INTO sessions (id, account, device, name, created_at, expires_at) VALUES (?, ?, ?, 'many', ?, ?)");
  const ids = Array.from({ length: count }, () => crypto.randomUUID());
  for (let at = 0; at < count; at += 50) {
    await database.batch(ids.slice(at, at + 50).map((id) => insert.bind(id, person.tokens.account, person.device.id, iat, exp)));
  }
  const of = (token, sid) => new SignJWT({ ...decodeJwt(token), sid }).setProtectedHeader(decodeProtectedHeader(token)).sign(utf8(JWT_SECRET));
  return Promise.all(ids.map(async (sid) => ({ access_token: await of(access_token, sid), refresh_token: await of(refresh_token, sid) })));
}

/** Runs sequences of actions, each on a session of its own, and says which one broke the rule. */
async function runAll(sequences) {
  const sessions = await openSessions(sequences.length);
  const waiting = sequences.map((sequence, index) => [sequence, sessions[index]]);
  const worker = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [sequence, tokens] = next;
      const interleaving = new Interleaving(tokens);
      const done = [];
      try {
        for (const name of sequence) {
          if (!interleaving.allows(name)) continue;
          done.push(name);
          await ACTIONS[name](interleaving);
        }
        await interleaving.check();
      } catch (error) {
        throw new Error(`after: ${done.join("; ")}`, { cause: error });
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

/** Every sequence of so many actions, but for those with an action that could not happen there. */
function sequences(length) {
  const found = [];
  const extend = (sequence, stolen) => {
    if (sequence.length > 0) found.push(sequence);
    if (sequence.length === length) return;
    for (const name of NAMES) {
      // It changes nothing, and every sequence ends with it.
      if (name === "thief uses the access token") continue;
      const isTheft = name === "thief copies everything";
      if (name.startsWith("thief") && !isTheft && !stolen) continue;
      if (name === "old requests arrive again" && !sequence.some((each) => each.startsWith("owner"))) continue;
      extend([...sequence, name], stolen || isTheft);
    }
  };
  extend([], false);
  return found;
}

/** Numbers from 0 to below 1 that a seed decides (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("whatever happens between an owner and a thief, the thief is out with the owner's next refresh, and an owner alone stays", () => {
  it("in every short sequence", async (test) => {
    const all = sequences(4);
    test.diagnostic(`${all.length} sequences`);
    await runAll(all);
  });

  it("in long ones", async (test) => {
    const seed = Number(process.env.OSMYNT_SEED ?? Date.now() % 1_000_000_000);
    test.diagnostic(`OSMYNT_SEED=${seed}`);
    const next = random(seed);
    const pick = () => NAMES[Math.floor(next() * NAMES.length)];
    try {
      await runAll(Array.from({ length: 300 }, () => Array.from({ length: 8 + Math.floor(next() * 8) }, pick)));
    } catch (error) {
      throw new Error(`OSMYNT_SEED=${seed}: ${error.message}`, { cause: error.cause });
    }
  });
});
