// Limits of rate: what is counted together, what it looks like to be over one, and that those of wrangler.toml are in nobody's way. The limits are
// counted in windows of time, so every test sends more than two windows let through, and none waits for one to end but where it says so.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Api, Problem, readProblem } from "./client/api.mjs";
import { utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { approve } from "./support/browser.mjs";
import { startHandshake } from "./support/handshake.mjs";

const now = () => Math.floor(Date.now() / 1000);
const isLimited = (problem) => problem instanceof Problem && problem.code === "rate-limited";

/** Does it again and again, more often than two windows of this limit allow; gives the answers. */
const flood = async (limit, ask) => {
  const answers = [];
  for (let count = 0; count <= 2 * limit; count += 1) answers.push(await ask());
  return answers;
};

describe("requests of one device", () => {
  const LIMIT = 40;
  let world, ada, grace;
  before(async () => {
    world = await startWorld(["ada", "grace"], { limits: { DEVICE_LIMIT: LIMIT, ADDRESS_LIMIT: 10_000 } });
    [ada, grace] = await Promise.all(["ada", "grace"].map((login) => world.signIn(login)));
  });
  after(() => world?.dispose());

  const ask = async (client, flaws) =>
    fetch(`${world.service.url}/v1/me`, { headers: await client.api.credentials("GET", "/v1/me", flaws) });

  it("are refused when there are too many, whatever they ask for, with the time to wait", async () => {
    const answers = await flood(LIMIT, () => ask(ada));
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length > 0 && refused.length < answers.length, `${refused.length} of ${answers.length}`);
    for (const answer of refused) {
      assert.equal(answer.status, 429);
      assert.match(answer.headers.get("retry-after"), /^([1-9]|[1-5][0-9]|60)$/);
      assert.equal((await readProblem(answer)).code, "rate-limited");
    }
    const others = await flood(LIMIT, () => ada.api.teams().then(() => "answered", (problem) => problem));
    assert.ok(others.some(isLimited));
  });

  it("do not count for another device, of another person or the same", async () => {
    const phone = await world.signIn("ada");
    assert.ok((await flood(LIMIT, () => ask(ada))).some(({ status }) => status === 429));
    for (const other of [phone, grace]) assert.equal((await ask(other)).status, 200);
  });

  it("are none of those that others send with its token", async () => {
    const thief = await makeKeyPair("ECDSA");
    const FLAWS = [{ key: thief }, { signedBy: thief }, { claims: { htm: "PUT" } }, { claims: { iat: now() - 600 } }, { claims: { ath: undefined } }];
    for (const flaws of FLAWS) {
      const answers = await flood(LIMIT, () => ask(grace, flaws));
      assert.ok(answers.every(({ status }) => [401, 422].includes(status)), `${answers.map(({ status }) => status)}`);
    }
    assert.equal((await ask(grace)).status, 200);
  });

  it("are not counted for the address, nor the other way round", async () => {
    const few = await startWorld(["ada"], { limits: { ADDRESS_LIMIT: LIMIT } });
    try {
      const client = await few.signIn("ada");
      const answers = await flood(LIMIT, () => fetch(`${few.service.url}/healthz`));
      assert.ok(answers.some(({ status }) => status === 429));
      for (let count = 0; count <= 2 * LIMIT; count += 1) await client.api.me();
    } finally {
      await few.dispose();
    }
  });
});

describe("requests that nobody vouches for", () => {
  const LIMIT = 30;
  let world;
  before(async () => {
    world = await startWorld(["ada"], { limits: { ADDRESS_LIMIT: LIMIT } });
  });
  after(() => world?.dispose());

  const JSON_BODY = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
  for (const [what, path, request, isPage] of [
    ["the health check", "/healthz", {}, false],
    ["the start of a sign-in", "/v1/handshakes", JSON_BODY, false],
    ["a request for tokens", "/v1/tokens", JSON_BODY, false],
    ["an objection to an erasure, without a token", `/v1/me/erasures/${"A".repeat(43)}`, { method: "DELETE" }, false],
    ["a page", "/sign-in", {}, true],
    ["a form", "/sign-in", { method: "POST", body: new URLSearchParams({ form: "x" }) }, true],
  ]) {
    it(`are refused when there are too many from one address: ${what}`, async () => {
      const answers = await flood(LIMIT, () => fetch(`${world.service.url}${path}`, request));
      const refused = answers.filter(({ status }) => status === 429);
      assert.ok(refused.length > 0);
      for (const answer of refused) {
        assert.match(answer.headers.get("retry-after"), /^([1-9]|[1-5][0-9]|60)$/);
        if (!isPage) {
          assert.equal((await readProblem(answer)).code, "rate-limited");
          continue;
        }
        assert.match(answer.headers.get("content-type"), /^text\/html/);
        assert.match(await answer.text(), /Wait a minute/);
      }
    });
  }
});

describe("polls of a handshake", () => {
  const POLLS = 10;
  let world;
  before(async () => {
    world = await startWorld(["ada"]);
  });
  after(() => world?.dispose());

  const poll = ({ api, started, verifier }) => api.tokens(started.device_code, verifier).catch(({ code }) => code);

  it("are slowed down, not refused for good, and those of another handshake are not", async () => {
    const [hasty, patient] = [await startHandshake(world.service.url), await startHandshake(world.service.url)];
    const answers = await flood(POLLS, () => poll(hasty));
    assert.deepEqual(new Set(answers), new Set(["authorization_pending", "slow_down"]));
    assert.equal(await poll(patient), "authorization_pending");
    for (const each of [hasty, patient]) await approve(each.started.verification_uri_complete, "ada");
    assert.equal((await poll(patient)).token_type, "DPoP");
    // Here the end of the window has to come, which is after 10 seconds.
    let answer = await poll(hasty);
    for (let waited = 0; answer === "slow_down" && waited < 30; waited += 1) {
      await sleep(1000);
      answer = await poll(hasty);
    }
    assert.equal(answer.token_type, "DPoP");
  });

  it("that come too fast are not looked at, so that nobody tries verifiers faster than that", async () => {
    const handshake = await startHandshake(world.service.url);
    const answers = await flood(POLLS, () => poll({ ...handshake, verifier: "w".repeat(43) }));
    assert.ok(answers.includes("slow_down"));
    // The handshake is over after five, and the answers after that tell nothing more.
    assert.deepEqual(new Set(answers), new Set(["invalid-request", "slow_down"]));
  });

  it("are counted for the device that the handshake is of alone: nobody else can slow it down", async () => {
    const handshake = await startHandshake(world.service.url);
    const stranger = new Api(world.service.url, await makeKeyPair("ECDSA"));
    const answers = await flood(POLLS, () => poll({ ...handshake, api: stranger }));
    assert.deepEqual(new Set(answers), new Set(["unauthenticated"]));
    assert.equal(await poll(handshake), "authorization_pending");
  });
});

describe("the limits of wrangler.toml", () => {
  const SNIPPETS = 1_000;
  let world, author, reader, team;
  before(async () => {
    world = await startWorld(["author", "reader"], { limits: {} });
    [author, reader] = await Promise.all(["author", "reader"].map((login) => world.signIn(login)));
    team = await makeTeam(author, "Readers", { member: reader });
  });
  after(() => world?.dispose());

  it("let a device read 1,000 snippets one by one, as fast as it can", async () => {
    const ids = [];
    for (let count = 0; count < 20; count += 1) ids.push(await author.share(team, utf8(`let x = ${count};\n`)));
    let next = 0;
    const read = async () => {
      while (next < SNIPPETS) {
        next += 1;
        await reader.api.snippet(team, ids[next % ids.length]);
      }
    };
    await Promise.all(Array.from({ length: 16 }, read));
    await reader.open(team, ids[0]);
  });

  it("leave room for whatever a client asks to verify each one", async () => {
    const id = await author.share(team, utf8("let x = 1;\n"));
    let requests = 0;
    reader.api.fetch = (...request) => {
      requests += 1;
      return fetch(...request);
    };
    await reader.open(team, id);
    const toml = readFileSync(new URL("../wrangler.toml", import.meta.url), "utf8");
    const [, limit, period] = /name = "DEVICE_LIMIT"\s[^[]*?limit = (\d+), period = (\d+)/.exec(toml);
    assert.equal(period, "60");
    assert.ok(requests > 1 && SNIPPETS * requests <= Number(limit), `${requests} requests each, ${limit} a minute`);
  });
});
