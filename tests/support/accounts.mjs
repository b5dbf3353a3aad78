// A service with many accounts, for tests of what it keeps of them and of what is left: its people, its stores, and a spy on their use.
import assert from "node:assert/strict";
import { join } from "node:path";

import { Problem } from "../client/api.mjs";
import { utf8 } from "../client/encodings.mjs";
import { startWorld } from "../client/world.mjs";
import { readDatabase } from "./dump.mjs";
import { person } from "./github.mjs";
import { spied, spyOn } from "./spy.mjs";

export const CODE = utf8("let x = 1;\n");

export const rejects = (action, code) => assert.rejects(action, (problem) => problem instanceof Problem && problem.code === code);
export const outcome = (action) => action.then(() => "ok", (problem) => problem.code ?? problem);
export const share = (client, team, options) => client.share(team, CODE, options);
export const exportOf = async (client) => (await client.api.send("GET", "/v1/me/export")).json();

export async function startAccounts() {
  // Long names and numbers, so that a search for them finds nothing by chance.
  const people = Array.from({ length: 100 }, (_, index) => person(700_000_000_001 + index, `somebody-${index}`, `Somebody the ${index}th`));
  const world = await startWorld([], { people, ...(await spied()) });
  const { service } = world;
  const db = await service.mf.getD1Database("DB");
  const r2 = await service.mf.getR2Bucket("SNIPPETS");
  let used = 0;
  const signIn = async (login, options) => Object.assign(await world.signIn(login, options), { login });

  const accounts = {
    service,
    spy: spyOn(service),
    db,
    r2,
    dispose: () => world.dispose(),

    /** Somebody at GitHub who has no account yet. */
    unused: () => service.github.people[used++],
    /** Somebody who has an account, at a device of theirs that has just signed in. */
    signIn,
    /** Somebody new, signed in. */
    newcomer: () => signIn(accounts.unused().login),
    newcomers: (count) => Promise.all(Array.from({ length: count }, accounts.newcomer)),
    /** A further device of a user, which is in their log. */
    async anotherDevice(client) {
      const other = await signIn(client.login);
      await client.addDevice(await other.describe());
      return other;
    },
    /** The same person's next user, on another device. */
    async startedOver(client) {
      const next = await signIn(client.login);
      await next.startOver();
      return next;
    },

    rows: async (sql, ...values) => (await db.prepare(sql).bind(...values).all()).results,
    count: async (table, where, ...values) => (await accounts.rows(`SELECT count(*) AS n FROM ${table} WHERE ${where}`, ...values))[0].n,
    isStored: async (team, id) => (await r2.head(`${team}/${id}`)) !== null,
    objectsOf: async (team) => (await r2.list({ prefix: `${team}/` })).objects.map(({ key }) => key),
    /** All rows of all tables that a team's object has; no tables if there is nothing left of it. */
    async tablesOf(team) {
      const namespace = await service.mf.getDurableObjectNamespace("TEAMS");
      return readDatabase(join(service.persist, "do", "osmynt-Team", `${namespace.idFromName(team)}.sqlite`));
    },
    storageOf: async (team) => Object.keys(await accounts.tablesOf(team)),

    /**
     * Nothing of a user is left in D1 but, if somebody's log names them, a `stub`: their log, and their devices without anything that is a
     * person's. With their last user the account is gone, unless it `stays`.
     */
    async isGone(client, { stub = false, stays = false } = {}) {
      const { rows, count } = accounts;
      const { user, device, account } = client;
      for (const [table, where] of [["names", "user = ?"], ["erasures", "user = ?"], ["team_members", "user = ?"]]) assert.equal(await count(table, where, user), 0, table);
      for (const table of ["sessions", "handshakes", "proofs", "account_events"]) assert.equal(await count(table, "device = ?", device.id), 0, table);
      for (const [table, column] of [["refreshes", "session"], ["failed_polls", "handshake"]]) {
        assert.equal(await count(table, `${column} NOT IN (SELECT id FROM ${column}s)`), 0, table);
      }
      assert.deepEqual(await rows("SELECT account FROM users WHERE id = ?", user), stub ? [{ account: null }] : []);
      for (const table of ["user_log", "user_teams"]) assert.equal((await count(table, "user = ?", user)) > 0, stub, table);
      const devices = await rows("SELECT account, prekey, prekey_id, prekey_iat FROM devices WHERE user = ?", user);
      assert.equal(devices.length > 0, stub);
      for (const row of devices) assert.deepEqual(row, { account: null, prekey: null, prekey_id: null, prekey_iat: null });
      assert.equal(await count("accounts", "id = ?", account.id), stays ? 1 : 0, "the account");
      if (!stays) for (const table of ["users", "devices", "sessions", "handshakes", "account_events"]) assert.equal(await count(table, "account = ?", account.id), 0, table);
      await rejects(() => client.api.me(), "unauthenticated");
    },
  };
  return accounts;
}
