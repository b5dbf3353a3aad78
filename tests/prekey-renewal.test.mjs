// A device replaces its published prekey by itself, and loses nothing by it.
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Person } from "./cli/person.mjs";
import { startService } from "./support/harness.mjs";
import { changeVault, keysOf } from "./support/intruder.mjs";

const WEEK = 7 * 24 * 3600;
let service, ada, grace;

before(async () => {
  service = await startService();
  [ada, grace] = [await Person.create("ada"), await Person.create("grace")];
  for (const person of [ada, grace]) assert.equal((await person.signIn(service)).code, 0);
  await ada.json("team", "new", "clocks");
  await grace.json("team", "join", (await ada.json("team", "invite", "clocks")).code);
});

after(async () => {
  await service?.dispose();
  for (const { folder } of [ada, grace]) rmSync(folder, { recursive: true, force: true });
});

const toGrace = async (text) => {
  writeFileSync(join(ada.folder, "note.txt"), text);
  return (await ada.json("share", "note.txt", "--to", "grace")).snippet;
};
const opened = async (snippet) => (await grace.run(["open", snippet])).out;
const published = async () => {
  const { device } = await keysOf(grace.home);
  const database = await service.mf.getD1Database("DB");
  return (await database.prepare("SELECT prekey FROM devices WHERE device = ?").bind(device).first()).prekey;
};

test("a prekey of more than a week is replaced by itself, and what was sealed to it still opens", async () => {
  const [before, early] = [await published(), await toGrace("sealed to the first prekey")];
  await grace.json("list");
  assert.equal(await published(), before, "a young one stays");

  await changeVault(grace.home, ({ device }) => (device.prekeys[0].published_at -= WEEK + 60));
  await grace.json("list");
  const renewed = await published();
  assert.notEqual(renewed, before);
  assert.equal((await keysOf(grace.home)).prekeys.length, 2);
  await grace.json("list");
  assert.equal(await published(), renewed, "once is enough");

  const late = await toGrace("sealed to the second prekey");
  assert.equal(await opened(early), "sealed to the first prekey");
  assert.equal(await opened(late), "sealed to the second prekey");
});

test("a prekey that could not be published is published the next time", async () => {
  await changeVault(grace.home, ({ device }) => (device.prekeys.at(-1).published_at -= WEEK + 60));
  const before = await published();
  // The service refuses: its row says that a later prekey is there.
  const { device } = await keysOf(grace.home);
  const database = await service.mf.getD1Database("DB");
  const later = (seconds) => database.prepare("UPDATE devices SET prekey_iat = prekey_iat + ? WHERE device = ?").bind(seconds, device).run();
  await later(3600);
  await grace.json("list");
  assert.equal(await published(), before);
  await later(-3600);
  await grace.json("list");
  assert.notEqual(await published(), before);
  assert.equal((await keysOf(grace.home)).prekeys.length, 3, "one more key for two attempts");
  assert.equal(await opened(await toGrace("sealed to the third prekey")), "sealed to the third prekey");
});
