// Snippets at rest: what R2 and the team's object hold after requests met, broke off or were refused, and for whom a snippet is.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem } from "./client/api.mjs";
import { concat, utf8 } from "./client/encodings.mjs";
import { PAGE_BYTES, STATEMENT_LIMITS } from "./client/limits.mjs";
import { join, MEDIA_TYPE, newSnippetId, split } from "./client/snippet.mjs";
import { parse, sign, signText } from "./client/statements.mjs";
import { makeTeam, startWorld } from "./client/world.mjs";
import { spied, spyOn, until } from "./support/spy.mjs";

const ALWAYS = 1_000;
const CODE = utf8("let x = 1;\n");

let world, spy, r2, team, author, reader, other;

before(async () => {
  world = await startWorld(["author", "reader", "other", "late"], await spied());
  spy = spyOn(world.service);
  r2 = await world.service.mf.getR2Bucket("SNIPPETS");
  [author, reader, other] = await Promise.all(["author", "reader", "other"].map((login) => world.signIn(login)));
  team = await makeTeam(author, "Snippets", { member: reader, admin: other });
});
after(() => world?.dispose());

const newId = () => newSnippetId(Date.now());
/** The bytes of a snippet, not sent. */
const build = async (client, id, content = CODE, options = {}) =>
  client.buildSnippet(await client.read(options.team ?? team), id, content, { to: null, ...options });
const put = (client, id, bytes) => client.api.putSnippet(team, id, bytes);
const rejects = (action, code) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);
const outcomes = async (actions) =>
  (await Promise.allSettled(actions)).map(({ value, reason }) => (reason === undefined ? "ok" : (reason.code ?? reason)));
const isStored = async (id) => (await r2.head(`${team}/${id}`)) !== null;
const ids = (page) => Promise.all(page.snippets.map(async ({ statement }) => (await parse("osmynt-snippet+jws", statement)).payload.snippet));
const listed = async (client, options) => ids(await client.api.snippets(team, options));
/** The same ciphertext under a statement that differs in some members. */
async function restated(client, bytes, change) {
  const { statement, ciphertext, envelopes } = split(bytes);
  const { payload } = await parse("osmynt-snippet+jws", statement);
  return join(await sign("osmynt-snippet+jws", { ...payload, iat: client.now(), ...change }, client.device), ciphertext, envelopes);
}
/** Moves the log, so that what was built before is stale. */
const moveLog = () => author.rename(team, `Snippets ${Math.random()}`);

describe("a snippet", () => {
  it("comes back byte for byte, whatever its size", async () => {
    for (const size of [0, 1, 100_000, 10 * 1024 * 1024]) {
      const id = newId();
      const bytes = await build(author, id, randomBytes(size));
      await put(author, id, bytes);
      assert.ok(Buffer.from(bytes).equals(await reader.api.snippet(team, id)), `${size} bytes`);
    }
  });

  it("costs each store one use to share, to open and to list", async () => {
    const id = newId();
    const bytes = await build(author, id);
    assert.deepEqual(await spy.usesOf(() => put(author, id, bytes)), ["worker d1", "worker r2.put", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => reader.api.snippet(team, id)), ["worker d1", "worker r2.get", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => reader.api.snippets(team)), ["worker d1", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => put(author, id, bytes)), ["worker d1", "worker r2.put", "worker team"]);
    assert.deepEqual(await spy.usesOf(() => author.api.deleteSnippet(team, id)), ["team r2.delete", "worker d1", "worker team"]);
  });

  it("leaves its ciphertext alone in R2, and its statement in the team's object", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    const object = await r2.get(`${team}/${id}`);
    assert.deepEqual(new Uint8Array(await object.arrayBuffer()), new Uint8Array(split(bytes).ciphertext));
  });

  it("is 201 once, and 200 when it is sent again, with the time of the first", async () => {
    const id = newId();
    const bytes = await build(author, id);
    const send = () => author.api.send("PUT", `/v1/teams/${team}/snippets/${id}`, { body: bytes, headers: { "Content-Type": MEDIA_TYPE } });
    const [first, second] = [await send(), await send()];
    assert.deepEqual([first.status, second.status], [201, 200]);
    const { snippet, received_at } = await first.json();
    assert.equal(snippet, id);
    assert.deepEqual(await second.json(), { snippet, received_at });
    assert.equal((await reader.api.snippetReceived(team, id)).receivedAt, received_at);
    // Signed anew it is the same: no signature identifies anything.
    const { payload } = await parse("osmynt-snippet+jws", split(bytes).statement);
    await put(author, id, await restated(author, bytes, payload));
    assert.equal((await listed(reader)).filter((each) => each === id).length, 1);
  });

  it("that is sent again after the log moved on is still there", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    await moveLog();
    await author.rotate(team);
    await put(author, id, bytes);
  });

  it("keeps its id for itself", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    await rejects(async () => put(author, id, await build(author, id)), "conflict");
    await rejects(async () => put(reader, id, await build(reader, id)), "conflict");
    await rejects(async () => put(author, id, await restated(author, bytes, { exp: author.now() + 1000 })), "conflict");
    assert.deepEqual(await reader.api.snippet(team, id), bytes);
  });
});

describe("bytes that are not what the statement says", () => {
  it("are refused, and nothing is left of them", async () => {
    const id = newId();
    const { statement, ciphertext } = split(await build(author, id));
    for (const bytes of [
      join(statement, ciphertext.map((byte, index) => (index === 0 ? byte ^ 1 : byte))),
      join(statement, ciphertext.subarray(1)),
      join(statement, concat(ciphertext, new Uint8Array(1))),
      join(statement, new Uint8Array()),
      join(statement, ciphertext, split(await build(author, newId(), CODE, { to: [reader.user] })).envelopes),
    ]) {
      await rejects(() => put(author, id, bytes), "invalid-request");
      assert.ok(!(await isStored(id)));
    }
    await put(author, id, join(statement, ciphertext));
  });

  it("or that break off, leave nothing", async () => {
    const id = newId();
    const bytes = await build(author, id, randomBytes(200_000));
    const { hostname, port } = new URL(world.service.url);
    const path = `/v1/teams/${team}/snippets/${id}`;
    for (const length of [2, 100, bytes.length - 1]) {
      const credentials = Object.entries(await author.api.credentials("PUT", path)).map((header) => header.join(": "));
      const head = [
        `PUT ${path} HTTP/1.1`, `Host: ${hostname}`, ...credentials, `Content-Type: ${MEDIA_TYPE}`, `Content-Length: ${bytes.length}`, "", "",
      ].join("\r\n");
      await new Promise((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(head);
          socket.write(bytes.subarray(0, length), () => setTimeout(() => resolve(socket.destroy()), 200));
        });
        socket.on("error", reject);
      });
      await sleep(200);
      assert.ok(!(await isStored(id)), `${length} bytes`);
    }
    await put(author, id, bytes);
  });

  it("do nothing to those that are there", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    const { statement, ciphertext } = split(bytes);
    // Whether R2 looks at bytes that it will not store is its own affair; the statement was admitted before, with its bytes.
    const [answer] = await outcomes([put(author, id, join(statement, ciphertext.map((byte) => byte ^ 1)))]);
    assert.ok(["ok", "invalid-request"].includes(answer), answer);
    assert.deepEqual(await reader.api.snippet(team, id), bytes);
  });
});

describe("a refused snippet", () => {
  it("leaves nothing in R2, and its id is free", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await moveLog();
    await rejects(() => put(author, id, bytes), "stale-log");
    assert.ok(!(await isStored(id)));
    await put(author, id, await restated(author, bytes, { head: (await author.read(team)).log.head }));
  });

  it("is erased by the alarm when R2 did not listen, and nobody shares under its id until then", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await moveLog();
    const current = await restated(author, bytes, { head: (await author.read(team)).log.head });
    await spy.under([{ use: "team r2.delete", before: "fail" }], async () => {
      await rejects(() => put(author, id, bytes), "stale-log");
      assert.ok(await isStored(id));
      await rejects(() => put(author, id, current), "unavailable");
      await until(async () => !(await isStored(id)), "the object has vanished");
    });
    await put(author, id, current);
    assert.deepEqual(await reader.api.snippet(team, id), current);
  });

  it("that is shared again while it is erased is told to come back, and then comes in", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await moveLog();
    const current = await restated(author, bytes, { head: (await author.read(team)).log.head });
    // Before R2 has deleted it, and after that but before its word arrives.
    for (const moment of ["before", "after"]) {
      await spy.under([{ use: "team r2.delete", [moment]: "wait" }], async (release) => {
        const refused = put(author, id, bytes);
        await spy.waiting();
        await rejects(() => put(author, id, current), "unavailable");
        await release();
        await rejects(() => refused, "stale-log");
      });
    }
    await until(() => put(author, id, current).then(() => true, () => false), "it is admitted");
    assert.deepEqual(await reader.api.snippet(team, id), current);
  });

  it("that vanishes while another request looks at its object is not what that one is admitted for", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await moveLog();
    const current = await restated(author, bytes, { head: (await author.read(team)).log.head });
    const rules = [{ use: "worker team", detail: "/admit", before: "wait" }, { use: "team r2.head", after: "wait" }];
    await spy.under(rules, async (release) => {
      // The first has created the object and is on its way to be refused. The second has found the object, and R2 has just told the
      // team's object that it is there. Then it is erased.
      const refused = put(author, id, bytes);
      await spy.waiting(1, "worker team");
      const found = put(author, id, current);
      await spy.waiting(1, "team r2.head");
      await release("worker team");
      await rejects(() => refused, "stale-log");
      assert.ok(!(await isStored(id)));
      await release("team r2.head");
      await rejects(() => found, "unavailable");
    });
    await put(author, id, current);
    assert.deepEqual(await reader.api.snippet(team, id), current);
  });

  it("does not take away the object of another that is on its way to be admitted", async () => {
    const id = newId();
    const stale = await build(author, id);
    await moveLog();
    const current = await restated(author, stale, { head: (await author.read(team)).log.head });
    await spy.under([{ use: "worker team", detail: "/admit", before: "wait" }], async (release) => {
      const admitted = put(author, id, current);
      await spy.waiting();
      await rejects(() => put(author, id, stale), "stale-log");
      await release();
      await admitted;
    });
    assert.deepEqual(await reader.api.snippet(team, id), current);
  });

  it("of another's id takes nothing away either", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    await rejects(async () => put(reader, id, await build(reader, id)), "conflict");
    assert.deepEqual(await reader.api.snippet(team, id), bytes);
  });
});

describe("snippets that meet under one id", () => {
  it("and differ: the one whose object is there is admitted, the other is a conflict", async () => {
    const id = newId();
    const [mine, theirs] = [await build(author, id), await build(reader, id)];
    const answers = await outcomes([put(author, id, mine), put(reader, id, theirs)]);
    assert.deepEqual([...answers].sort(), ["conflict", "ok"]);
    assert.deepEqual(await reader.api.snippet(team, id), answers[0] === "ok" ? mine : theirs);
  });

  it("and differ: also when the later comes first to the team's object", async () => {
    const id = newId();
    const [mine, theirs] = [await build(author, id), await build(reader, id)];
    await spy.under([{ use: "worker team", detail: "/admit", before: "wait" }], async (release) => {
      const first = put(author, id, mine);
      await spy.waiting();
      await rejects(() => put(reader, id, theirs), "conflict");
      await release();
      await first;
    });
    assert.deepEqual(await reader.api.snippet(team, id), mine);
  });

  it("and are the same: both are admitted as one", async () => {
    const id = newId();
    const bytes = await build(author, id);
    assert.deepEqual(await outcomes([put(author, id, bytes), put(author, id, bytes), put(author, id, bytes)]), ["ok", "ok", "ok"]);
    assert.equal((await listed(reader)).filter((each) => each === id).length, 1);
  });
});

describe("what a request leaves behind that breaks off", () => {
  it("before the team's object was asked: its repetition takes up", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await spy.under([{ use: "worker team", detail: "/admit", before: "fail" }], () => rejects(() => put(author, id, bytes), "unavailable"));
    assert.ok(await isStored(id));
    assert.ok(!(await listed(author)).includes(id));
    await rejects(() => author.api.snippet(team, id), "not-found");
    await rejects(async () => put(reader, id, await build(reader, id)), "conflict");
    await put(author, id, bytes);
    assert.deepEqual(await reader.api.snippet(team, id), bytes);
  });

  it("after the team's object has answered: its repetition finds it", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await spy.under([{ use: "worker team", detail: "/admit", after: "fail" }], () => rejects(() => put(author, id, bytes), "unavailable"));
    await put(author, id, bytes);
    assert.deepEqual(await reader.api.snippet(team, id), bytes);
  });

  it("when R2 does not take it: nothing", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await spy.under([{ use: "worker r2.put", before: "fail" }], () => rejects(() => put(author, id, bytes), "unavailable"));
    assert.ok(!(await isStored(id)));
    await put(author, id, bytes);
  });
});

describe("a deleted snippet", () => {
  it("is gone for those it was for, from R2 and from lists, and stays so", async () => {
    const id = newId();
    const bytes = await build(author, id);
    await put(author, id, bytes);
    await author.api.deleteSnippet(team, id);
    assert.ok(!(await isStored(id)));
    assert.ok(!(await listed(reader)).includes(id));
    await rejects(() => reader.api.snippet(team, id), "gone");
    await author.api.deleteSnippet(team, id);
    await rejects(() => put(author, id, bytes), "gone");
    assert.ok(!(await isStored(id)), "what was sent again does not stay");
  });

  it("is deleted by its author, an admin or an owner, and by nobody else", async () => {
    const [id, secret] = [newId(), newId()];
    await put(author, id, await build(author, id));
    await put(author, secret, await build(author, secret, CODE, { to: [other.user] }));
    await rejects(() => reader.api.deleteSnippet(team, id), "forbidden");
    await rejects(() => reader.api.deleteSnippet(team, secret), "not-found");
    await rejects(() => reader.api.deleteSnippet(team, newId()), "not-found");
    await other.api.deleteSnippet(team, id);
    const theirs = newId();
    await put(reader, theirs, await build(reader, theirs));
    await author.api.deleteSnippet(team, theirs);
    await rejects(() => reader.api.snippet(team, theirs), "gone");
    await rejects(() => other.api.deleteSnippet(team, "no-id"), "not-found");
  });

  it("vanishes from R2 by the alarm when R2 did not listen, even if the object lost its memory", async () => {
    const id = newId();
    await put(author, id, await build(author, id));
    await spy.under([{ use: "team r2.delete", before: "fail", times: ALWAYS }], () => author.api.deleteSnippet(team, id));
    await rejects(() => reader.api.snippet(team, id), "gone");
    await world.service.restart();
    r2 = await world.service.mf.getR2Bucket("SNIPPETS");
    await until(async () => !(await isStored(id)), "the object has vanished");
  });

  it("that is not deleted, but lost in R2, is never half an answer", async () => {
    const id = newId();
    await put(author, id, await build(author, id));
    await r2.delete(`${team}/${id}`);
    await rejects(() => reader.api.snippet(team, id), "unavailable");
  });
});

describe("whom a snippet is for", () => {
  it("the team, since they are in it; and whom it names; and its author", async () => {
    const own = await makeTeam(author, "Readers", { member: reader });
    const toTeam = await author.share(own, CODE);
    const toReader = await author.share(own, CODE, { to: [reader.user] });
    await other.join((await author.invite(own)).code);
    const late = await author.share(own, CODE);
    assert.deepEqual(await listedIn(own, author), [late, toReader, toTeam]);
    assert.deepEqual(await listedIn(own, reader), [late, toReader, toTeam]);
    assert.deepEqual(await listedIn(own, other), [late]);
    for (const id of [toTeam, toReader]) await rejects(() => other.api.snippet(own, id), "not-found");
    assert.deepEqual((await other.open(own, late)).content, CODE);
    const answer = await reader.share(own, CODE, { to: [other.user] });
    assert.deepEqual(await listedIn(own, other), [answer, late]);
    assert.ok(!(await listedIn(own, author)).includes(answer), "not even an owner");
  });

  it("who comes back sees what was for them before, and what is sent to the team from then on", async () => {
    const own = await makeTeam(author, "Back again", { member: reader });
    const toTeam = await author.share(own, CODE);
    const toReader = await author.share(own, CODE, { to: [reader.user] });
    const theirs = await reader.share(own, CODE);
    const direct = await reader.share(own, CODE, { to: [author.user] });
    await author.removeMember(own, reader.user);
    await rejects(() => reader.api.snippets(own), "not-found");
    const meanwhile = await author.share(own, CODE);
    await reader.join((await author.invite(own, { user: reader.user })).code);
    const since = await author.share(own, CODE);
    assert.deepEqual(await listedIn(own, reader), [since, direct, theirs, toReader, toTeam]);
    // Also the keys of the epochs that they were in are there to be asked for.
    reader.teamKeys.clear();
    for (const id of [since, direct, theirs, toReader, toTeam]) assert.deepEqual((await reader.open(own, id)).content, CODE);
    await rejects(() => reader.api.snippet(own, meanwhile), "not-found");
  });

  it("who started over is somebody else, and the former user sees what it saw", async () => {
    const own = await author.createTeam("Started over");
    const before = await world.signIn("late");
    await before.join((await author.invite(own)).code);
    const toThem = await author.share(own, CODE, { to: [before.user] });
    const theirs = await before.share(own, CODE, { to: [author.user] });
    const again = await world.signIn("late");
    await again.startOver();
    await rejects(() => again.api.snippets(own), "not-found");
    await again.join((await author.invite(own)).code);
    assert.deepEqual(await listedIn(own, again), []);
    for (const id of [toThem, theirs]) await rejects(() => again.api.snippet(own, id), "not-found");
    for (const client of [author, before]) assert.deepEqual(await listedIn(own, client), [theirs, toThem]);
    assert.deepEqual((await before.open(own, toThem)).content, CODE);
  });

  it("and who are given the envelopes for their own devices, and no others", async () => {
    const own = await makeTeam(author, "Envelopes", [["member", reader], ["member", other]]);
    const id = newId();
    const bytes = await build(author, id, CODE, { team: own, to: [reader.user, other.user] });
    await author.api.putSnippet(own, id, bytes);
    const { statement, envelopes, ciphertext } = split(bytes);
    assert.equal(envelopes.length, 3);
    for (const client of [author, reader, other]) {
      const given = envelopes.filter(({ device }) => device === client.device.id);
      assert.equal(given.length, 1);
      assert.deepEqual(split(await client.api.snippet(own, id)), { statement, envelopes: given, ciphertext });
      assert.deepEqual((await client.api.snippets(own)).snippets.map((each) => each.envelopes), [given]);
    }
  });

  it("nobody, once it has expired", async () => {
    const own = await author.createTeam("Short-lived");
    const id = newId();
    await author.api.putSnippet(own, id, await build(author, id, CODE, { team: own, exp: author.now() + 2 }));
    assert.deepEqual(await listedIn(own, author), [id]);
    await until(async () => (await listedIn(own, author)).length === 0, "it has expired");
    await rejects(() => author.api.snippet(own, id), "gone");
  });

  const listedIn = async (own, client) => ids(await client.api.snippets(own));
});

describe("a list of snippets", () => {
  it("goes page by page from the newest, without gaps, also while some are shared and deleted", async () => {
    const own = await makeTeam(author, "Pages", { member: reader });
    const view = await author.read(own);
    const shared = [];
    for (let index = 0; index < 7; index += 1) {
      const id = newId();
      const to = index % 3 === 0 ? [reader.user] : null;
      await author.api.putSnippet(own, id, await author.buildSnippet(view, id, CODE, { to }));
      shared.unshift(id);
    }
    const first = await reader.api.snippets(own, { limit: 3 });
    assert.deepEqual(await ids(first), shared.slice(0, 3));
    await author.share(own, CODE);
    await author.api.deleteSnippet(own, shared[4]);
    const second = await reader.api.snippets(own, { limit: 3, cursor: first.next });
    assert.deepEqual(await ids(second), [shared[3], shared[5], shared[6]]);
    assert.equal(second.next, null);
    const whole = await reader.api.snippets(own, { limit: 7 });
    assert.equal(whole.snippets.length, 7);
    assert.equal(whole.next, null, "a full page with nothing behind it is the last");
  });

  it("has 1 to 100 on a page, and cursors that it gave itself", async () => {
    const list = (query) => author.api.send("GET", `/v1/teams/${team}/snippets?${query}`);
    for (const query of ["limit=0", "limit=x", "limit=-1", "limit=", "limit=010", "cursor=x", "cursor=", "cursor=AAAA"]) {
      await rejects(() => list(query), "invalid-request");
    }
    for (const query of ["limit=101", "limit=1000000"]) await rejects(() => list(query), "too-large");
    await author.api.snippets(team, { limit: 100 });
  });

  it("ends a page after 1 MiB of statements, and another follows", async () => {
    const own = await makeTeam(author, "Long statements", { member: reader });
    const view = await author.read(own);
    const shared = [];
    // As long as statements may be: 64 of them are more than a MiB.
    const limit = STATEMENT_LIMITS["osmynt-snippet+jws"];
    for (let count = 0; count < 66; count += 1) {
      const id = newId();
      const { statement, ciphertext } = split(await author.buildSnippet(view, id, CODE, { to: null }));
      const { payload, kid } = await parse("osmynt-snippet+jws", statement);
      const header = JSON.stringify({ alg: "ES256", typ: "osmynt-snippet+jws", kid });
      const text = JSON.stringify(payload);
      const long = await signText(header, text.padEnd(text.length + Math.floor(((limit - statement.length) * 3) / 4)), author.device.privateKey);
      assert.ok(long.length <= limit && long.length > limit - 8);
      await author.api.putSnippet(own, id, join(long, ciphertext));
      shared.unshift(id);
    }
    const pages = [];
    for (let cursor; cursor !== null; cursor = pages.at(-1).next) pages.push(await reader.api.snippets(own, { cursor }));
    assert.equal(pages.length, 2);
    for (const { snippets } of pages) assert.ok(snippets.reduce((sum, { statement }) => sum + statement.length, 0) <= PAGE_BYTES);
    assert.deepEqual((await Promise.all(pages.map(ids))).flat(), shared);
    assert.equal((await reader.list(own)).length, 66);
  });
});
