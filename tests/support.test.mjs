// The tools that other tests rely on: a search that finds nothing must be one that would have found something, and a stand-in must refuse
// what GitHub refuses.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";

import { Browser, approve } from "./support/browser.mjs";
import { dump, needlesOf, readDatabase, search } from "./support/dump.mjs";
import { startGitHub } from "./support/github.mjs";

const SECRET = "let launch_code = 0x1e240;";

async function stateWith(write) {
  const persist = await mkdtemp(join(tmpdir(), "osmynt-dump-"));
  await write(persist);
  const found = await dump({ persist, log: [] });
  await rm(persist, { recursive: true });
  return found;
}

const ENCODINGS = {
  "as it is": (bytes) => bytes,
  hexadecimal: (bytes) => bytes.toString("hex"),
  base64: (bytes) => bytes.toString("base64"),
  base64url: (bytes) => bytes.toString("base64url"),
  "a box in a statement": (bytes) => Buffer.from(JSON.stringify({ ct: bytes.toString("base64url") })).toString("base64url"),
  "UTF-16": (bytes) => Buffer.from(bytes.toString("utf8"), "utf16le"),
  "a JSON string": (bytes) => JSON.stringify({ content: bytes.toString("utf8") }),
  "a URL": (bytes) => `/x?y=${encodeURIComponent(bytes.toString("utf8"))}`,
};

for (const [encoding, encode] of Object.entries(ENCODINGS)) {
  for (const shift of [0, 1, 2]) {
    test(`a dump's search finds what was planted as ${encoding}, ${shift} bytes into something else`, async () => {
      const planted = Buffer.concat([randomBytes(3).fill("a", 0), Buffer.from("b".repeat(shift)), Buffer.from(`${SECRET} and more`)]);
      const found = await stateWith((folder) => writeFile(join(folder, "blob"), encode(planted)));
      assert.ok(search(found, [SECRET]).length > 0);
      assert.deepEqual(search(found, ["let launch_code = 0x1e241;"]), []);
    });
  }
}

test("a dump's search finds a value that a database spread over several pages", async () => {
  const text = Array.from({ length: 2000 }, (_, line) => `line ${line} of ${randomBytes(9).toString("hex")}`).join("\n");
  const found = await stateWith((folder) => {
    const database = new DatabaseSync(join(folder, "a.sqlite"));
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (c TEXT)");
    database.prepare("INSERT INTO t VALUES (?)").run(text);
    database.close();
  });
  const needles = text.split("\n");
  const names = new Set(search(found, needles).map(({ name }) => name));
  assert.equal(names.size, needles.length);
});

test("a dump's search finds what a database still holds only in its write-ahead log", async () => {
  const folder = await mkdtemp(join(tmpdir(), "osmynt-dump-"));
  const database = new DatabaseSync(join(folder, "a.sqlite"));
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (c TEXT)");
  database.prepare("INSERT INTO t VALUES (?)").run(SECRET);
  const wheres = search(await dump({ persist: folder, log: [] }), [SECRET]).map(({ where }) => where);
  assert.ok(wheres.includes("a.sqlite-wal") && wheres.includes("a.sqlite: t[0].c"), wheres.join());
  assert.deepEqual(await readDatabase(join(folder, "a.sqlite")), { t: [{ c: SECRET }] });
  database.close();
  await rm(folder, { recursive: true });
});

test("a dump's search finds what stands in the log or in the name of a file", async () => {
  const persist = await mkdtemp(join(tmpdir(), "osmynt-dump-"));
  await mkdir(join(persist, "confidential-folder"));
  await writeFile(join(persist, "confidential-folder", "x"), "");
  const found = await dump({ persist, log: [`GET ${SECRET}`] });
  assert.deepEqual(search(found, [SECRET, "confidential-folder"]).map(({ where }) => where), ["the Worker's log", "name of confidential-folder/x"]);
  await rm(persist, { recursive: true });
});

test("the needles of a content find a copy of any tenth of it", () => {
  const binary = randomBytes(100_000);
  for (let start = 0; start <= 90_000; start += 5_000) {
    const part = { where: "part", bytes: binary.subarray(start, start + 10_000) };
    assert.ok(search({ parts: [part] }, needlesOf("binary", binary)).length > 0, `from ${start}`);
  }
});

let github;
before(async () => (github = await startGitHub({ callback: "http://127.0.0.1:9/back" })));
after(() => github.close());

const VERIFIER = randomBytes(32).toString("base64url");

function authorization(changes = {}) {
  const parameters = {
    client_id: github.clientId,
    redirect_uri: "http://127.0.0.1:9/back",
    state: "s1",
    code_challenge: createHash("sha256").update(VERIFIER).digest("base64url"),
    code_challenge_method: "S256",
    ...changes,
  };
  return `${github.url}/login/oauth/authorize?${new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined))}`;
}

/** Where GitHub sends the browser once somebody agreed. */
async function codeFor(login) {
  const page = await new Browser().open(authorization());
  const response = await fetch(`${github.url}/login/oauth/authorize`, {
    method: "POST",
    body: new URLSearchParams([...page.forms[0].fields, ["as", login]]),
    redirect: "manual",
  });
  return new URL(response.headers.get("location")).searchParams;
}

async function exchange(code, changes = {}) {
  const body = { client_id: github.clientId, client_secret: github.clientSecret, code, redirect_uri: "http://127.0.0.1:9/back", code_verifier: VERIFIER, ...changes };
  const response = await fetch(`${github.url}/login/oauth/access_token`, { method: "POST", headers: { accept: "application/json" }, body: new URLSearchParams(body) });
  return response.json();
}

for (const [what, changes] of Object.entries({
  "another client": { client_id: "x" },
  "another callback": { redirect_uri: "http://127.0.0.1:9/elsewhere" },
  "no state": { state: undefined },
  "no PKCE": { code_challenge: undefined, code_challenge_method: undefined },
  "plain PKCE": { code_challenge_method: "plain" },
  "a scope": { scope: "user:email" },
})) {
  test(`the stand-in for GitHub refuses ${what}`, async () => {
    assert.equal((await new Browser().open(authorization(changes))).status, 400);
  });
}

test("the stand-in for GitHub gives a token once, to whoever has secret and verifier", async () => {
  const query = await codeFor("grace");
  assert.equal(query.get("state"), "s1");
  const { access_token: token } = await exchange(query.get("code"));
  assert.equal((await exchange(query.get("code"))).error, "bad_verification_code");
  const user = await fetch(`${github.apiUrl}/user`, { headers: { authorization: `Bearer ${token}`, "user-agent": "test" } });
  assert.equal((await user.json()).login, "grace");
  assert.equal((await exchange((await codeFor("ada")).get("code"), { client_secret: "x" })).error, "incorrect_client_credentials");
  assert.equal((await exchange((await codeFor("ada")).get("code"), { code_verifier: "x" })).error, "bad_verification_code");
});

test("the robot's browser refuses a form that the page's policy forbids", async () => {
  const { createServer } = await import("node:http");
  const server = createServer((request, response) => {
    if (request.method === "POST") return response.writeHead(303, { location: "http://127.0.0.1:9/" }).end();
    response.setHeader("content-security-policy", "default-src 'none'; form-action 'self'");
    return response.end('<form method="post" action="/go"><button>Go</button></form>');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await assert.rejects(approve(`http://127.0.0.1:${server.address().port}/`, "ada"), /forbids its form/);
  server.close();
  server.closeAllConnections();
});
