// The migrations: what they make of an empty database, and what a database keeps out however wrong a program is.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";

import { Log, LogLevel, Miniflare } from "miniflare";
import { unstable_splitSqlQuery as statements } from "wrangler";

import { path } from "../scripts/project.mjs";

const migrations = async () => (await readdir(path("migrations"))).sort();

describe("the migrations, as wrangler applies them", () => {
  let folder;
  before(async () => (folder = await mkdtemp(join(tmpdir(), "osmynt-migrations-"))));
  after(() => rm(folder, { recursive: true, force: true }));

  const apply = async () => {
    const args = ["d1", "migrations", "apply", "DB", "--local", "--persist-to", folder];
    const env = { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false" };
    return promisify(execFile)(process.execPath, [path("node_modules", "wrangler", "bin", "wrangler.js"), ...args], { cwd: path(), env });
  };
  const open = async () => {
    const files = await readdir(folder, { recursive: true });
    return new DatabaseSync(join(folder, files.find((file) => /d1.*Object.[0-9a-f]+\.sqlite$/.test(file))));
  };

  it("take an empty database to the present schema, and change nothing the second time", async () => {
    await apply();
    let database = await open();
    database.exec("INSERT INTO accounts (id, github_id, login, created_at) VALUES ('a', 7, 'ada', 1)");
    const schema = () => database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all().map((row) => ({ ...row }));
    const first = schema();
    const names = () => database.prepare("SELECT name FROM d1_migrations ORDER BY id").all().map(({ name }) => name);
    assert.deepEqual(names(), await migrations());
    database.close();

    await apply();
    database = await open();
    assert.deepEqual(schema(), first);
    assert.deepEqual(names(), await migrations());
    assert.equal(database.prepare("SELECT login FROM accounts").get().login, "ada");
    database.close();
  });
});

describe("the schema", () => {
  let mf, database;
  before(async () => {
    const script = "export default { fetch: () => new Response() }";
    mf = new Miniflare({ modules: true, script, d1Databases: ["DB"], cf: false, log: new Log(LogLevel.ERROR) });
    database = await mf.getD1Database("DB");
    for (const file of await migrations()) {
      const sql = await readFile(path("migrations", file), "utf8");
      await database.batch(statements(sql).map((statement) => database.prepare(statement)));
    }
    // An account with two users, of whom the second is the present one; each has a device, and one is in no log.
    const rows = [
      ["accounts", { id: "a", github_id: 7, login: "ada", created_at: 1 }],
      ["accounts", { id: "b", github_id: 8, login: "bob", created_at: 1 }],
      ["users", { id: "u", account: "a", founded_at: 1, log_seq: 1, log_hash: "h", log_bytes: 9 }],
      ["users", { id: "v", account: "a", founded_at: 2, log_seq: 1, log_hash: "i", log_bytes: 9 }],
      ["user_log", { user: "u", seq: 0, jws: "j", received_at: 1 }],
      ["names", { user: "u", seq: 1, provider: "github", provider_id: 7, login: "ada", salt: "s" }],
      ["devices", { device: "d", account: "a", user: "u", jwk: "{}", added_seq: 0, prekey: "p", prekey_id: "k", prekey_iat: 1 }],
      ["devices", { device: "e", account: "a", user: "v", jwk: "{}", added_seq: 0, revoked_seq: 1 }],
      ["devices", { device: "f", account: "a", jwk: "{}" }],
      ["sessions", { id: "s", account: "a", device: "d", name: "desk", created_at: 1, expires_at: 2 }],
      ["refreshes", { session: "s", generation: 0, idempotency_key: "k", refreshed_at: 1 }],
      ["proofs", { device: "d", jti: "j", ends_at: 1 }],
      ["handshakes", { id: "h", device: "d", jwk: "{}", name: "desk", account: "a", decided_at: 1, session: "s" }],
      ["failed_polls", { handshake: "h", count: 1, failed_at: 1 }],
      ["account_events", { account: "a", at: 1, type: "signed-in" }],
      ["erasures", { user: "u", asked_by: "v", device: "e", asked_at: 1, due_at: 2 }],
      ["teams", { id: "t", seq: 1, epoch: 1 }],
      ["team_members", { team: "t", user: "u", role: "owner" }],
      ["user_teams", { user: "u", team: "t", joins: 1 }],
    ];
    for (const [table, row] of rows) await insert(table, row);
  });
  after(() => mf?.dispose());

  const insert = (table, row) => {
    const names = Object.keys(row);
    const sql = `INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => "?")})`;
    return database.prepare(sql).bind(...Object.values(row)).run();
  };
  const device = { device: "new", account: "a", jwk: "{}" };
  const user = { id: "w", account: "a", founded_at: 3, log_seq: 0, log_hash: "h", log_bytes: 1 };

  for (const [what, says, table, row] of [
    ["a device in a second log", /UNIQUE constraint failed: devices.device/, "devices", { ...device, device: "d", user: "v", added_seq: 0 }],
    ["a device of a second account", /UNIQUE constraint failed: devices.device/, "devices", { ...device, device: "f", account: "b" }],
    ["a device of nobody", /CHECK constraint failed/, "devices", { ...device, account: null }],
    ["a device that is in a log and has no place there", /CHECK constraint failed/, "devices", { ...device, user: "u" }],
    ["a device with a place in no log", /CHECK constraint failed/, "devices", { ...device, added_seq: 1 }],
    ["a device that was revoked and never added", /CHECK constraint failed/, "devices", { ...device, revoked_seq: 1 }],
    ["a prekey without its id", /CHECK constraint failed/, "devices", { ...device, prekey: "p", prekey_iat: 1 }],
    ["a prekey without its time", /CHECK constraint failed/, "devices", { ...device, prekey: "p", prekey_id: "k" }],
    ["an id without its prekey", /CHECK constraint failed/, "devices", { ...device, prekey_id: "k", prekey_iat: 1 }],
    ["a device of an account that does not exist", /FOREIGN KEY constraint failed/, "devices", { ...device, account: "x" }],
    ["a device of a user who does not exist", /FOREIGN KEY constraint failed/, "devices", { ...device, user: "x", added_seq: 0 }],
    ["a second account of one person", /UNIQUE constraint failed: accounts.github_id/, "accounts", { id: "c", github_id: 7, login: "ada", created_at: 1 }],
    ["a user who was founded twice", /UNIQUE constraint failed: users.id/, "users", { ...user, id: "u", account: "b" }],
    ["two users of an account with no order", /UNIQUE constraint failed: users.account, users.founded_at/, "users", { ...user, founded_at: 2 }],
    ["a user of an account that does not exist", /FOREIGN KEY constraint failed/, "users", { ...user, account: "x" }],
    ["a second entry at one place", /UNIQUE constraint failed: user_log.user, user_log.seq/, "user_log", { user: "u", seq: 0, jws: "other", received_at: 1 }],
    ["a text for a number", /cannot store TEXT value in INTEGER column/, "user_log", { user: "u", seq: "one", jws: "j", received_at: 1 }],
    ["a second name of a user", /UNIQUE constraint failed: names.user/, "names", { user: "u", seq: 2, provider: "github", provider_id: 7, login: "eve", salt: "s" }],
    ["a session of a device that does not exist", /FOREIGN KEY constraint failed/, "sessions", { id: "z", account: "a", device: "x", name: "", created_at: 1, expires_at: 2 }],
    ["a second use of a refresh token", /UNIQUE constraint failed: refreshes.session, refreshes.generation/, "refreshes", { session: "s", generation: 0, idempotency_key: "other", refreshed_at: 1 }],
    ["a second use of a proof", /UNIQUE constraint failed: proofs.device, proofs.jti/, "proofs", { device: "d", jti: "j", ends_at: 2 }],
    ["a second decision about a handshake", /UNIQUE constraint failed: handshakes.id/, "handshakes", { id: "h", device: "d", jwk: "{}", name: "", account: null, decided_at: 2 }],
    ["a session of a handshake that was refused", /CHECK constraint failed/, "handshakes", { id: "i", device: "d", jwk: "{}", name: "", account: null, decided_at: 1, session: "s" }],
    ["a second erasure of a user", /UNIQUE constraint failed: erasures.user/, "erasures", { user: "u", asked_by: "v", device: "e", asked_at: 2, due_at: 3 }],
    ["an erasure of a user who does not exist", /FOREIGN KEY constraint failed/, "erasures", { user: "x", asked_by: "v", device: "e", asked_at: 2, due_at: 3 }],
    ["a second membership in a team", /UNIQUE constraint failed: team_members.team, team_members.user/, "team_members", { team: "t", user: "u", role: "member" }],
    ["a role that there is not", /CHECK constraint failed/, "team_members", { team: "t", user: "v", role: "guest" }],
    ["a member of a team that does not exist", /FOREIGN KEY constraint failed/, "team_members", { team: "x", user: "u", role: "member" }],
  ]) {
    it(`keeps out ${what}`, () => assert.rejects(insert(table, row), says));
  }

  for (const [what, sql] of [
    ["an account that has a user", "DELETE FROM accounts WHERE id = 'a'"],
    ["a user whose log is there", "DELETE FROM users WHERE id = 'u'"],
    ["a device that has a session", "DELETE FROM devices WHERE device = 'd'"],
    ["a session whose tokens were refreshed", "DELETE FROM sessions WHERE id = 's'"],
    ["a team that has members", "DELETE FROM teams WHERE id = 't'"],
  ]) {
    it(`does not let go of ${what}`, () => assert.rejects(database.prepare(sql).run(), /FOREIGN KEY constraint failed/));
  }

  it("lets a user go on without an account, as those do who were deleted or erased", async () => {
    await insert("users", { ...user, account: null });
    await insert("users", { ...user, id: "x", account: null });
  });
});
