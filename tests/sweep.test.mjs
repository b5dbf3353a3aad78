// What happens by the clock: rows that time has made worthless go, all others stay.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";

import { startWorld } from "./client/world.mjs";

const DAY = 86_400;
const now = () => Math.floor(Date.now() / 1000);

describe("by the clock", () => {
  let world, database;
  before(async () => {
    world = await startWorld(["ada", "grace"]);
    database = await world.service.mf.getD1Database("DB");
  });
  after(() => world.dispose());

  const rows = async (table) => (await database.prepare(`SELECT * FROM ${table}`).all()).results;
  const everything = async () => {
    const { results } = await database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'").all();
    return Object.fromEntries(await Promise.all(results.map(async ({ name }) => [name, await rows(name)])));
  };
  const sweep = async () => (await world.service.mf.getWorker()).scheduled({ cron: "*/15 * * * *" });

  it("nothing goes that is of use", async () => {
    const ada = await world.signIn("ada");
    await ada.createTeam("backend");
    await ada.refresh();
    const before = await everything();
    assert.ok(before.proofs.length > 0 && before.refreshes.length === 1 && before.handshakes.length === 1);
    assert.equal((await sweep()).outcome, "ok");
    assert.deepEqual(await everything(), before);
  });

  it("used proofs go once their age alone would refuse them, by any clock", async () => {
    const ada = await world.signIn("ada");
    await ada.api.me();
    const fresh = await rows("proofs");
    await database.prepare("INSERT INTO proofs (device, jti, ends_at) VALUES ('d', 'old', ?), ('d', 'new', ?)").bind(now() - 62, now() - 30).run();
    await sweep();
    assert.deepEqual((await rows("proofs")).map(({ jti }) => jti).sort(), [...fresh.map(({ jti }) => jti), "new"].sort());
  });

  it("sign-ins, sessions and devices that came to nothing go after a day", async () => {
    const grace = await world.signIn("grace");
    // A second device of hers, which is not in her log.
    const stranger = await world.signIn("grace");
    const [{ id }] = (await rows("sessions")).filter(({ device }) => device === stranger.device.id);
    await stranger.refresh();
    await database.batch([
      database.prepare("UPDATE handshakes SET decided_at = ?").bind(now() - 2 * DAY),
      database.prepare("UPDATE sessions SET expires_at = ? WHERE id = ?").bind(now() - 2 * DAY, id),
      database.prepare("INSERT INTO failed_polls (handshake, count, failed_at) VALUES (?, 3, ?), (?, 3, ?)").bind(randomUUID(), now() - 2 * DAY, "new", now()),
    ]);
    await sweep();
    const after = await everything();
    assert.deepEqual(after.handshakes, []);
    assert.deepEqual(after.failed_polls.map(({ handshake }) => handshake), ["new"]);
    const of = (table, device) => after[table].filter((row) => row.device === device).length;
    assert.deepEqual([of("sessions", stranger.device.id), of("devices", stranger.device.id)], [0, 0]);
    assert.deepEqual([of("sessions", grace.device.id), of("devices", grace.device.id)], [1, 1]);
    assert.ok(after.refreshes.every(({ session }) => session !== id));
    assert.equal((await grace.api.me()).device.active, true);
    await assert.rejects(stranger.api.me(), { code: "unauthenticated" });
    await assert.rejects(stranger.refresh(), { code: "unauthenticated" });
  });

  it("an ended session goes after a day, and is over all the while", async () => {
    const ada = await world.signIn("ada");
    await ada.api.endSession("current");
    const mine = async () => (await rows("sessions")).filter(({ device }) => device === ada.device.id).length;
    await sweep();
    assert.equal(await mine(), 1);
    await database.prepare("UPDATE sessions SET ended_at = ? WHERE device = ?").bind(now() - 2 * DAY, ada.device.id).run();
    await sweep();
    assert.equal(await mine(), 0);
    await assert.rejects(ada.api.me(), { code: "unauthenticated" });
  });

  it("account events are kept for 400 days", async () => {
    const [{ id: user }] = await rows("users");
    const event = "INSERT INTO account_events (user, at, type) VALUES (?, ?, 'signed-in')";
    await database.batch([database.prepare(event).bind(user, now() - 401 * DAY), database.prepare(event).bind(user, now() - 399 * DAY)]);
    const before = (await rows("account_events")).length;
    await sweep();
    const left = await rows("account_events");
    assert.equal(left.length, before - 1);
    assert.ok(left.some(({ at }) => at === now() - 399 * DAY || at === now() - 399 * DAY - 1));
  });
});
