// What the service knows of what people share: nothing that a search of every store and of its log would find.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Person } from "./cli/person.mjs";
import { Client, parseCode } from "./client/client.mjs";
import { approve } from "./support/browser.mjs";
import { dump, needlesOf, search } from "./support/dump.mjs";
import { startService } from "./support/harness.mjs";

const NAMES = { team: "Lighthouse keepers", renamed: "Harbour pilots", title: "How the lamp turns", letter: "Only for grace", file: "fresnel_lens.rs" };
let service, ada, grace;

before(async () => {
  service = await startService();
  [ada, grace] = [await Person.create("ada"), await Person.create("grace")];
  for (const person of [ada, grace]) assert.equal((await person.signIn(service)).code, 0);
});

after(async () => {
  await service?.dispose();
  for (const { folder } of [ada, grace]) rmSync(folder, { recursive: true, force: true });
});

test("nothing that is at rest or in the log tells what was shared, or what the team is called", async () => {
  await ada.json("team", "new", NAMES.team);
  const { code: invitation } = await ada.json("team", "invite", NAMES.team);
  await grace.json("team", "join", invitation);
  const code = "pub fn focal_length(radius: f64, index: f64) -> f64 {\n    radius / (index - 1.0)\n}\n";
  const bytes = randomBytes(70_000);
  writeFileSync(join(ada.folder, NAMES.file), code);
  writeFileSync(join(ada.folder, "readings.bin"), bytes);
  const shared = [
    await ada.json("share", NAMES.file, "--team", NAMES.team, "--title", NAMES.title),
    await ada.json("share", "readings.bin", "--team", NAMES.team),
    await ada.json("share", NAMES.file, "--to", "grace", "--title", NAMES.letter),
  ];
  for (const [at, content] of [Buffer.from(code), bytes, Buffer.from(code)].entries()) {
    assert.deepEqual((await grace.run(["open", shared[at].snippet])).bytes, content, "it did go through the service");
  }
  await ada.json("team", "rename", NAMES.team, NAMES.renamed);
  await ada.json("delete", shared[1].snippet);

  const stores = await dump(service);
  assert.ok(search(stores, [shared[0].snippet]).length > 0, "a control: an id that the service does hold is found");
  const secret = { name: "the invitation's secret", bytes: Buffer.from((await parseCode(invitation)).key) };
  const needles = [...Object.values(NAMES), invitation, secret, ...needlesOf("the code", Buffer.from(code)), ...needlesOf("the bytes", bytes)];
  assert.deepEqual(search(stores, needles).map(({ name, form, where }) => `${name}, ${form}, in ${where}`), []);
});

test("nothing that is at rest or in the log signs anybody in: no token, no code, no verifier, no proof", async () => {
  const sent = { tokens: [], codes: [], proofs: [] };
  const overheard = async (url, request) => {
    if (request.headers.DPoP) sent.proofs.push(request.headers.DPoP);
    const asked = request.body && url.endsWith("/v1/tokens") ? JSON.parse(request.body) : {};
    if (asked.verifier) sent.codes.push(asked.verifier);
    const answer = await fetch(url, request);
    if (!answer.ok || !/\/v1\/(handshakes|tokens)$/.test(url)) return answer;
    const { device_code, user_code, access_token, refresh_token } = await answer.clone().json();
    if (user_code) sent.codes.push(device_code, user_code, user_code.replace("-", ""));
    if (access_token) sent.tokens.push(access_token, refresh_token);
    return answer;
  };
  const approved = ({ verification_uri_complete }) => approve(verification_uri_complete, "linus");
  const linus = await Client.signIn({ origin: service.url, name: "laptop", fetch: overheard, approve: approved });
  await linus.refresh();
  // Somebody who has not been approved, and one whose session is over.
  await assert.rejects(Client.signIn({ origin: service.url, name: "waits", fetch: overheard, approve: async () => {}, sleep: () => Promise.reject(new Error("gave up")) }), /gave up/);
  const phone = await Client.signIn({ origin: service.url, name: "phone", fetch: overheard, approve: approved });
  await phone.api.endSession();

  const { tokens, codes, proofs } = sent;
  assert.deepEqual([tokens.length, codes.length], [6, 3 * 4]);
  const stores = await dump(service);
  const { results } = await (await service.mf.getD1Database("DB")).prepare("SELECT id FROM sessions WHERE account = ? AND ended_at IS NULL").bind(linus.account.id).all();
  assert.ok(search(stores, [results[0].id]).length > 0, "a control: the id of a session, which is worth nothing, is found");
  // A token is as good as its signature, which could also stand alone; and so is a proof.
  const parts = [...tokens, ...codes, ...proofs].flatMap((secret) => [secret, ...(secret.includes(".") ? [secret.split(".")[2]] : [])]);
  const needles = parts.map((secret, index) => ({ name: `secret ${index}`, bytes: Buffer.from(secret) }));
  assert.deepEqual(search(stores, needles).map(({ name, form, where }) => `${name}, ${form}, in ${where}`), []);
});
