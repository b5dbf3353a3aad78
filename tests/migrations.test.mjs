// The migrations, one after the other, on a database that is in use.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { after, before, describe, it } from "node:test";

import { Log, LogLevel, Miniflare } from "miniflare";
import { unstable_splitSqlQuery as statements } from "wrangler";

import { path } from "../scripts/project.mjs";

describe("a database of an earlier release", () => {
  let mf, database;
  before(async () => {
    const script = "export default { fetch: () => new Response() }";
    mf = new Miniflare({ modules: true, script, d1Databases: ["DB"], cf: false, log: new Log(LogLevel.ERROR) });
    database = await mf.getD1Database("DB");
  });
  after(() => mf.dispose());

  const apply = async (file) => {
    const sql = await readFile(path("migrations", file), "utf8");
    await database.batch(statements(sql).map((statement) => database.prepare(statement)));
  };
  const all = async (sql) => (await database.prepare(sql).all()).results;

  it("is brought up to date with what is in it", async () => {
    const [first, ...later] = (await readdir(path("migrations"))).sort();
    await apply(first);
    await database.batch([
      database.prepare("INSERT INTO users (id, github_id, login, created_at) VALUES ('u', 7, 'ada', 1)"),
      database.prepare("INSERT INTO devices (user, device, jwk, added_seq) VALUES ('u', 'd', '{}', 0)"),
      database.prepare("INSERT INTO sessions (id, user, device, created_at, expires_at) VALUES ('s', 'u', 'd', 1, 2)"),
      database.prepare("INSERT INTO handshakes (id, device, jwk, user, decided_at, session) VALUES ('h', 'd', '{}', 'u', 1, 's')"),
      database.prepare("INSERT INTO teams (id, seq, epoch) VALUES ('t', 1, 1)"),
      database.prepare("INSERT INTO team_members (team, user, identity, role) VALUES ('t', 'u', 'i', 'owner')"),
    ]);
    for (const file of later) await apply(file);

    assert.deepEqual(await all("SELECT id, name, generation, refreshed_at, ended_at FROM sessions"), [{ id: "s", name: "", generation: 0, refreshed_at: null, ended_at: null }]);
    assert.deepEqual(await all("SELECT id, session, name FROM handshakes"), [{ id: "h", session: "s", name: "" }]);
    assert.deepEqual(await all("SELECT user, team FROM user_teams"), [{ user: "u", team: "t" }]);
    assert.deepEqual(await all("SELECT login FROM users"), [{ login: "ada" }]);
    assert.deepEqual(await all("PRAGMA foreign_key_check"), []);
  });

  it("takes each refresh token and each proof once", async () => {
    const refresh = "INSERT INTO refreshes (session, generation, idempotency_key, refreshed_at) VALUES ('s', 0, 'k', 1)";
    const proof = "INSERT INTO proofs (device, jti, ends_at) VALUES ('d', 'j', 1)";
    for (const sql of [refresh, proof]) {
      await database.prepare(sql).run();
      await assert.rejects(database.prepare(sql).run(), /UNIQUE constraint failed/);
    }
  });
});
