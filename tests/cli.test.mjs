// The `osmynt` command as people and programs use it, against a running service: what it prints, what it leaves in files, how it ends.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Person } from "./cli/person.mjs";
import { Client } from "./client/client.mjs";
import { newSnippetId } from "./client/snippet.mjs";
import { approve } from "./support/browser.mjs";
import { PEOPLE, person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const OK = 0, USAGE = 2, NOT_SIGNED_IN = 3, REFUSED = 4, UNTRUSTED = 5, UNREACHABLE = 7;
const TEAM = "backend";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HASH = /^[\w-]{43}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

let service, ada, grace, linus, signIn;
const people = [];

before(async () => {
  service = await startService({ people: [...PEOPLE, person(1005, "jean", "Jean")] });
  [ada, grace, linus] = await Promise.all(["ada", "grace", "linus"].map((login) => Person.create(login)));
  people.push(ada, grace, linus);
  signIn = await ada.signIn(service);
  for (const person of [grace, linus]) assert.equal((await person.signIn(service)).code, OK);
  await ada.json("team", "new", TEAM);
  const { code } = await ada.json("team", "invite", TEAM);
  await grace.json("team", "join", code);
});

after(async () => {
  await service?.dispose();
  for (const { folder } of people) rmSync(folder, { recursive: true, force: true });
});

describe("signing in", () => {
  test("a program gets one event to show and one when it is done", async () => {
    assert.equal(signIn.code, OK, signIn.err);
    assert.equal(signIn.events.length, 2);
    const [verification, done] = signIn.events;
    assert.deepEqual(Object.keys(verification).sort(), ["event", "expires_in", "user_code", "verification_uri", "verification_uri_complete"]);
    assert.match(verification.user_code, /^\w{4}-\w{4}$/);
    assert.ok(verification.verification_uri_complete.startsWith(service.url));
    assert.equal(verification.expires_in, 300);
    const me = await ada.json("whoami");
    assert.deepEqual(done, { event: "signed-in", user: me.user, account: me.account, login: "ada", device: me.device });
    const { user, account, device, ...rest } = me;
    assert.deepEqual(rest, { login: "ada", service_login: "ada", name: "Ada", device_name: "ada's laptop", active: true, devices: 1, server: service.url, erasures: [] });
    assert.match(account, UUID);
    for (const id of [user, device]) assert.match(id, HASH);
    assert.equal((await ada.run(["whoami"])).out, `ada ("Ada") on ada's laptop, at ${service.url}\nuser ${user}, with 1 active device\n`);
  });

  test("a person who refuses in the browser is told so", async () => {
    const other = await ada.elsewhere();
    people.push(other);
    const { code, err } = await other.signIn(service, { choice: { deny: true } });
    assert.equal(code, REFUSED, err);
    assert.match(JSON.parse(err).error.message, /refused/);
  });

  test("without a service there is an error that names the address", async () => {
    const other = await ada.elsewhere();
    people.push(other);
    const { code, err } = await other.run(["login", "--no-browser", "--server", "http://127.0.0.1:9"]);
    assert.equal(code, UNREACHABLE, err);
    assert.match(err, /^error: .*\nCheck the connection/);
  });

  test("at a terminal, the page and the code to compare are shown", async () => {
    const other = await ada.elsewhere();
    people.push(other);
    // Nobody confirms, so it ends with the terminal.
    const shown = await other.see(["login", "--no-browser", "--server", service.url, "--name", "x"], { env: { NO_COLOR: "1" }, until: /the code .*\r\n/ });
    assert.match(shown.out, /open this page within 5 minutes:\r\n\r\n {2}http:\/\/127\.0\.0\.1:\d+\/sign-in/);
    assert.match(shown.out, /shows the code \w{4}-\w{4}\./);
  });
});

describe("sharing and opening", () => {
  test("what is opened is what was shared, byte for byte, piped or saved", async () => {
    for (const content of [Buffer.from("no line feed at the end"), Buffer.from("\r\n\tmixed\r\nends\n"), randomBytes(100_000), Buffer.alloc(0)]) {
      writeFileSync(join(ada.folder, "thing.bin"), content);
      const { snippet } = await ada.json("share", "thing.bin", "--team", TEAM);
      assert.ok((await grace.run(["open", snippet])).bytes.equals(content), "piped");
      await grace.json("open", snippet, "-o", "copy");
      assert.ok(readFileSync(join(grace.folder, "copy")).equals(content), "saved");
    }
  });

  test("a list tells what there is, and ids may be shortened at either end", async () => {
    writeFileSync(join(ada.folder, "lines.rs"), "one\ntwo\nthree\n");
    const { snippet, team, lines } = await ada.json("share", "lines.rs:2-3", "--team", TEAM, "--title", "Two lines");
    assert.deepEqual(lines, { from: 2, to: 3 });
    const { snippets } = await grace.json("list", "--team", TEAM, "--limit", "1");
    assert.equal(snippets.length, 1);
    const { created_at, received_at, device, author_user, audience, ...rest } = snippets[0];
    assert.match(created_at, TIME);
    assert.match(received_at, TIME);
    assert.equal(author_user, (await ada.json("whoami")).user);
    assert.equal(audience.type, "team");
    assert.deepEqual(rest, {
      snippet, team, team_name: TEAM, kind: "code", title: "Two lines", author: "ada", author_doubt: null, mine: false, size: 10, language: "rust",
      path: "lines.rs", repository: null, lines: { from: 2, to: 3 }, expires_at: null,
    });
    assert.match((await grace.run(["list", "--limit", "1"])).out, new RegExp(`^${snippet.slice(-8)}  (just now|\\d+ minutes? ago)  ada  lines\\.rs:2-3  10 B  "Two lines"\n$`));
    for (const part of [snippet.slice(-8), snippet.slice(0, 30)]) assert.equal((await grace.run(["open", part])).out, "two\nthree\n");
    const opened = await grace.json("open", snippet);
    assert.deepEqual([opened.content, opened.title, opened.snippet], ["two\nthree\n", "Two lines", snippet]);
  });

  test("what is for one member, others do not have", async () => {
    const { code } = await ada.json("team", "invite", TEAM);
    await linus.json("team", "join", code);
    const { snippet } = await ada.json("share", "-", "--to", "@grace", "--team", TEAM, "--expires", "1d", { input: "for grace\n" });
    assert.equal((await grace.run(["open", snippet])).out, "for grace\n");
    assert.equal((await ada.run(["open", snippet])).out, "for grace\n");
    assert.equal((await linus.run(["open", snippet])).code, REFUSED);
    assert.ok(!(await linus.json("list")).snippets.some((one) => one.snippet === snippet));
    const { expires_at, audience } = (await grace.json("list", "--limit", "1")).snippets[0];
    assert.match(expires_at, TIME);
    const { user } = await grace.json("whoami");
    assert.deepEqual(audience.members, [{ user, login: "grace", doubt: null, login_before: null }]);
    // By user id, whole or shortened, as well.
    for (const to of [user, user.slice(0, 16)]) {
      const { snippet } = await ada.json("share", "-", "--to", to, "--team", TEAM, { input: "for grace\n" });
      assert.equal((await grace.run(["open", snippet])).out, "for grace\n");
    }
  });

  test("a saved snippet that is newer than what this home has read opens with the service's help", async () => {
    await ada.json("team", "rotate", TEAM);
    writeFileSync(join(ada.folder, "newer.txt"), "newer than anything grace has read\n");
    const { snippet } = await ada.json("share", "newer.txt", "--team", TEAM);
    const file = join(grace.folder, "newer.osmynt");
    await ada.json("export", snippet, "-o", file);
    assert.equal((await grace.run(["open", file])).out, "newer than anything grace has read\n");
  });

  test("a saved snippet opens without the service, and not after a change", async () => {
    const { snippet } = await ada.json("share", "-", "--team", TEAM, { input: "keep me\n" });
    const { file } = await grace.json("export", snippet);
    assert.equal(file, `${snippet.slice(-8)}.osmynt`);
    assert.equal((await grace.run(["open", file])).out, "keep me\n");
    const bytes = (await grace.run(["export", snippet, "-o", "-"])).bytes;
    assert.ok(bytes.equals(readFileSync(join(grace.folder, file))), "- is standard output");
    // The statement's length, its header, its signature; the envelopes' length, and they; the ciphertext, its tag.
    const envelopes = 4 + bytes.readUInt32BE();
    for (const at of [0, 40, envelopes - 14, envelopes + 3, envelopes + 4, bytes.length - 20, bytes.length - 1]) {
      const changed = Buffer.from(bytes);
      changed[at] ^= 1;
      writeFileSync(join(grace.folder, "changed.osmynt"), changed);
      const { code, out, err } = await grace.run(["open", "changed.osmynt", "--json"]);
      assert.equal(code, UNTRUSTED, `byte ${at}: ${err}`);
      assert.equal(JSON.parse(err).error.code, "not-verified");
      assert.equal(out, "");
    }
  });

  test("a file of another kind is no alarm", async () => {
    writeFileSync(join(grace.folder, "notes.md"), "# Notes\n");
    const { code, err } = await grace.run(["open", "notes.md"]);
    assert.equal(code, UNTRUSTED);
    assert.equal(err, "error: this is no file that `osmynt export` has saved, or it is damaged\nHave it exported again; `osmynt list` shows what you can open without a file.\n");
  });

  test("a saved snippet to one member opens for them and its author, and not after a change of an envelope", async () => {
    const { snippet } = await ada.json("share", "-", "--to", "grace", "--team", TEAM, { input: "only grace\n" });
    for (const person of [ada, grace]) {
      const { file } = await person.json("export", snippet, "-o", "direct.osmynt");
      assert.equal((await person.run(["open", file])).out, "only grace\n");
    }
    const bytes = readFileSync(join(grace.folder, "direct.osmynt"));
    const envelopes = 4 + bytes.readUInt32BE();
    assert.ok(bytes.readUInt32BE(envelopes) > 100);
    // A character of what is sealed, which is still one after this.
    const at = bytes.indexOf('"ct":"', envelopes) + 10;
    bytes[at] = bytes[at] === 0x41 ? 0x42 : 0x41;
    writeFileSync(join(grace.folder, "changed.osmynt"), bytes);
    assert.equal((await grace.run(["open", "changed.osmynt"])).code, UNTRUSTED);
    writeFileSync(join(linus.folder, "direct.osmynt"), readFileSync(join(grace.folder, "direct.osmynt")));
    assert.equal((await linus.run(["open", "direct.osmynt"])).code, REFUSED, "a file is no key");
  });

  test("what has expired is not opened, wherever it was kept", async () => {
    let behind = 0;
    const jean = await Client.signIn({
      origin: service.url,
      name: "jean's laptop",
      clock: () => Math.floor(Date.now() / 1000) - behind,
      approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "jean"),
    });
    const team = await jean.join((await ada.json("team", "invite", TEAM)).code);
    behind = 200; // made a while ago, for a while
    const make = async (exp) => {
      const file = join(grace.folder, "kept.osmynt");
      writeFileSync(file, await jean.buildSnippet(await jean.read(team), newSnippetId(Date.now()), Buffer.from("kept\n"), { to: null, header: {}, exp }));
      return grace.run(["open", file]);
    };
    assert.equal((await make(jean.now() + 3600)).out, "kept\n");
    const { code, err, out } = await make(jean.now() + 100);
    assert.deepEqual([code, out], [REFUSED, ""]);
    assert.match(err, /expired/);
  });

  test("what is deleted is gone, and only its author or an admin may", async () => {
    const { snippet } = await ada.json("share", "-", "--team", TEAM, { input: "x" });
    assert.equal((await grace.run(["delete", snippet])).code, REFUSED);
    assert.equal((await ada.run(["delete", snippet.slice(-8)])).code, OK);
    assert.equal((await grace.run(["open", snippet])).code, REFUSED);
    assert.equal((await ada.run(["delete", snippet.slice(-8)])).code, OK, "again is no matter");
    assert.equal((await ada.run(["delete", snippet.slice(0, -1) + (snippet.endsWith("0") ? "1" : "0")])).code, REFUSED);
    assert.equal((await ada.run(["delete", "ffffffff"])).code, REFUSED);
  });

  test("mistakes are said in words, and as JSON when asked", async () => {
    const cases = [
      [["share", "no-such-file", "--team", TEAM], 1, /cannot read no-such-file/],
      [["share", ".", "--team", TEAM], USAGE, /is a folder/],
      [["share", "lines.rs:2-9", "--team", TEAM], USAGE, /has only 3 lines/],
      [["share", "-", "--team", TEAM], USAGE, /standard input is empty/],
      [["share", "lines.rs", "--team", "nobody's"], REFUSED, /no team "nobody's"/],
      [["share", "lines.rs", "--team", TEAM, "--to", "nobody"], REFUSED, /no member "nobody"/],
      [["open", "ffffffff-ffff-7fff-bfff-ffffffffffff"], REFUSED, /no snippet/],
      [["open", "no-such.osmynt"], REFUSED, /no-such\.osmynt is no id, and there is no such file/],
    ];
    for (const [args, expected, words] of cases) {
      const { code, err, out } = await ada.run(args);
      assert.equal(code, expected, `${args.join(" ")}: ${err}`);
      assert.match(err, words);
      assert.equal(out, "");
      const { message } = JSON.parse((await ada.run([...args, "--json"])).err).error;
      assert.match(message, words);
    }
  });
});

describe("at a terminal", () => {
  const evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202e";

  test("nothing that a teammate sends is obeyed, and everything is piped as it is", async () => {
    const content = `harmless\n${evil}\n`;
    const { snippet } = await ada.json("share", "-", "--team", TEAM, "--title", `T${evil}`, { input: content });
    assert.equal((await grace.run(["open", snippet])).out, content, "piped: the exact bytes");
    for (const shown of [await grace.see(["open", snippet]), await grace.see(["list", "--limit", "1"]), await grace.run(["list", "--limit", "1"]), await grace.see(["list", "--limit", "1", "--json"])]) {
      assert.equal(shown.code, OK);
      for (const hostile of ["\u001b]", "\u001b[2J", "\u0007", "\u009b", "\u202e"]) assert.ok(!shown.out.includes(hostile), JSON.stringify(shown.out));
      assert.match(shown.out, /owned/);
    }
  });

  test("code is shown with a header and in colour; without on request", async () => {
    writeFileSync(join(ada.folder, "main.rs"), "fn main() {}\n");
    const { snippet } = await ada.json("share", "main.rs", "--team", TEAM, "--title", "Start");
    assert.match((await grace.see(["open", snippet])).out, /\u001b\[35m/);
    for (const plain of [await grace.see(["open", snippet, "--color", "never"]), await grace.see(["open", snippet], { env: { NO_COLOR: "1" } })]) {
      assert.match(plain.out, /^main\.rs  ·  "Start"  ·  ada, (just now|\d+ minutes? ago)\r\n\r\nfn main\(\) \{\}\r\n$/);
    }
    assert.match((await grace.run(["open", snippet, "--color", "always"])).out, /\u001b\[35m/);
  });

  test("bytes that are no text are not thrown at a terminal", async () => {
    const { snippet } = await ada.json("share", "-", "--team", TEAM, { input: randomBytes(500) });
    assert.match((await grace.see(["open", snippet], { env: { NO_COLOR: "1" } })).out, /500 B that are not text; save them with -o FILE/);
  });
});

test("whoever is not signed in is told how to", async () => {
  const stranger = await Person.create("stranger");
  people.push(stranger);
  const { code, err } = await stranger.run(["list"]);
  assert.equal(code, NOT_SIGNED_IN);
  assert.match(err, /osmynt login/);
});
