// The `osmynt` command as people and programs use it, against a running service: what it prints, what it leaves in files, how it ends.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Person } from "./cli/person.mjs";
import { Client } from "./client/client.mjs";
import { newSnippetId } from "./client/snippet.mjs";
import { approve } from "./support/browser.mjs";
import { PEOPLE, person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const OK = 0, USAGE = 2, NOT_SIGNED_IN = 3, REFUSED = 4, UNTRUSTED = 5, CONFLICT = 6, UNREACHABLE = 7;
const TEAM = "backend";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

let service, ada, grace, linus, signIn;
const people = [];

before(async () => {
  service = await startService({ people: [...PEOPLE, person(1004, "mallory", "Mallory"), person(1005, "jean", "Jean")] });
  [ada, grace, linus] = await Promise.all(["ada", "grace", "linus"].map((login) => Person.create(login)));
  people.push(ada, grace, linus);
  signIn = await ada.signIn(service);
  for (const person of [grace, linus]) assert.equal((await person.signIn(service)).code, OK);
  await ada.json("team", "new", TEAM);
  const { link } = await ada.json("team", "invite", TEAM);
  await grace.json("team", "join", link);
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
    assert.deepEqual(done, { event: "signed-in", user: me.user, login: "ada", device: me.device });
    assert.deepEqual([me.login, me.device_name, me.active, me.server], ["ada", "ada's laptop", true, service.url]);
    assert.match(me.user, UUID);
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

  test("a second device must start over, and is then the only one", async () => {
    const [first, second] = [await Person.create("linus"), await Person.create("linus")];
    people.push(first, second);
    const before = await first.signIn(service);
    assert.equal(before.code, REFUSED, "linus has a device already");
    assert.match(before.err, /osmynt login --reset/);
    assert.equal((await first.json("whoami")).active, false);

    const reset = await second.signIn(service, { args: ["--reset"] });
    assert.equal(reset.code, OK, reset.err);
    assert.equal((await second.json("whoami")).active, true);
    assert.equal((await linus.run(["team", "list"])).code === OK, false, "the earlier device is out");
    linus = second;
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

describe("teams", () => {
  test("show tells members, roles and the state of the key", async () => {
    const team = await grace.json("team", "show", TEAM);
    assert.equal(team.name, TEAM);
    assert.equal(team.epoch, 2, "one for making it, one for grace");
    assert.equal(team.stale, false);
    assert.deepEqual(team.members.map(({ login, role }) => [login, role]), [["ada", "owner"], ["grace", "member"]]);
    assert.match(team.members[0].user, UUID);
    const text = (await grace.run(["team", "show", TEAM])).out;
    assert.match(text, /^backend {2}[\w-]{43}\nkey 2 made (just now|\d+ minutes? ago); \d+ log entries verified\n\nada {4}owner {3}1 device\ngrace {2}member {2}1 device {2}you\n$/);
  });

  test("an invitation's link is all that standard output gets", async () => {
    const { code, out, err } = await ada.run(["team", "invite", TEAM, "--uses", "3", "--expires", "2h"]);
    assert.equal(code, OK, err);
    assert.match(out, new RegExp(`^${service.url}/join#v1\\.[\\w-]+\n$`));
    assert.match(err, /The first 3 who have this link can join, for 2 hours\./);
    const [first, second] = [await ada.json("team", "invite", TEAM), (await ada.json("team", "show", TEAM)).invites];
    assert.match(first.link, /#v1\./);
    assert.match(first.expires_at, TIME);
    assert.deepEqual(second.map(({ role, uses_left }) => [role, uses_left]).sort(), [["member", 1], ["member", 3]]);
  });

  test("a member may not do what only owners may", async () => {
    const { code, err } = await grace.run(["team", "role", TEAM, "ada", "member"]);
    assert.equal(code, REFUSED, err);
    assert.match(err, /^error: /);
  });

  test("a team can be named, joined, renamed, rotated, left", async () => {
    const made = await ada.json("team", "new", "a team with spaces");
    assert.deepEqual([made.name, made.epoch], ["a team with spaces", 1]);
    const { link } = await ada.json("team", "invite", "a team with spaces", "--role", "admin");
    const joined = await grace.json("team", "join", "-", { input: `${link}\n` });
    assert.deepEqual([joined.team, joined.name, joined.epoch], [made.team, made.name, 2]);
    assert.deepEqual((await grace.json("team", "rename", made.team, "Zebra")).name, "Zebra");
    assert.equal((await ada.json("team", "rotate", "Zebra")).epoch, 3);
    assert.equal((await ada.json("team", "role", "Zebra", "grace", "member")).role, "member");
    assert.match((await grace.run(["team", "list"])).out, /^backend {2}member {2}\S+\nZebra {4}member {2}\S+\n$|^Zebra {4}member {2}\S+\nbackend {2}member {2}\S+\n$/);
    assert.equal((await grace.json("team", "leave", "Zebra")).left, true);
    assert.equal((await ada.json("team", "show", "Zebra")).members.length, 1);
    assert.equal((await grace.run(["team", "show", "Zebra"])).code, REFUSED);
    assert.equal((await grace.run(["team", "join", link])).code, REFUSED, "the invitation is used up");
  });

  test("--quiet leaves out what was not asked for", async () => {
    assert.deepEqual(await seen(ada.run(["team", "rotate", TEAM, "--quiet"])), { code: OK, out: "", err: "" });
    assert.match((await ada.run(["team", "list", "--quiet"])).out, /backend/);
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
    assert.match(author_user, UUID);
    assert.equal(audience.type, "team");
    assert.deepEqual(rest, {
      snippet, team, team_name: TEAM, kind: "code", title: "Two lines", author: "ada", mine: false, size: 10, language: "rust",
      path: "lines.rs", repository: null, lines: { from: 2, to: 3 }, expires_at: null,
    });
    assert.match((await grace.run(["list", "--limit", "1"])).out, new RegExp(`^${snippet.slice(-8)}  (just now|\\d+ minutes? ago)  ada  lines\\.rs:2-3  10 B  "Two lines"\n$`));
    for (const part of [snippet.slice(-8), snippet.slice(0, 30)]) assert.equal((await grace.run(["open", part])).out, "two\nthree\n");
    const opened = await grace.json("open", snippet);
    assert.deepEqual([opened.content, opened.title, opened.snippet], ["two\nthree\n", "Two lines", snippet]);
  });

  test("what is for one member, others do not have", async () => {
    const { link } = await ada.json("team", "invite", TEAM);
    await linus.json("team", "join", link);
    const { snippet } = await ada.json("share", "-", "--to", "@grace", "--team", TEAM, "--expires", "1d", { input: "for grace\n" });
    assert.equal((await grace.run(["open", snippet])).out, "for grace\n");
    assert.equal((await ada.run(["open", snippet])).out, "for grace\n");
    assert.equal((await linus.run(["open", snippet])).code, REFUSED);
    assert.ok(!(await linus.json("list")).snippets.some((one) => one.snippet === snippet));
    const { expires_at, audience } = (await grace.json("list", "--limit", "1")).snippets[0];
    assert.match(expires_at, TIME);
    assert.deepEqual(audience.members.map(({ login }) => login), ["grace"]);
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
    // The length, the statement's header, its signature, the ciphertext, its tag.
    const signature = bytes.readUInt32BE() - 10;
    for (const at of [0, 40, signature, bytes.length - 200, bytes.length - 1]) {
      const changed = Buffer.from(bytes);
      changed[at] ^= 1;
      writeFileSync(join(grace.folder, "changed.osmynt"), changed);
      const { code, out, err } = await grace.run(["open", "changed.osmynt", "--json"]);
      assert.equal(code, UNTRUSTED, `byte ${at}: ${err}`);
      assert.equal(JSON.parse(err).error.code, "not-verified");
      assert.equal(out, "");
    }
  });

  test("what has expired is not opened, wherever it was kept", async () => {
    let behind = 0;
    const jean = await Client.signIn({
      origin: service.url,
      name: "jean's laptop",
      clock: () => Math.floor(Date.now() / 1000) - behind,
      approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "jean"),
    });
    const team = await jean.join((await ada.json("team", "invite", TEAM)).link);
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
    assert.equal((await ada.run(["delete", snippet.slice(-8)])).code, REFUSED);
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

describe("applying", () => {
  const original = Array.from({ length: 20 }, (_, n) => `line ${n + 1}\n`).join("");
  const change = (text, ...changes) => changes.reduce((now, [from, to]) => now.replace(`${from}\n`, to), text);
  let mine, hers, round = 0;

  /** A repository of ada's and grace's clone of it, with one file. */
  const repositories = () => {
    round += 1;
    mine = join(ada.folder, `orrery-${round}`);
    hers = join(grace.folder, `orrery-${round}`);
    mkdirSync(join(mine, "src"), { recursive: true });
    writeFileSync(join(mine, "src", "f.txt"), original);
    git(mine, "init", "--quiet");
    git(mine, "add", ".");
    git(mine, "commit", "--quiet", "--message", "Begin");
    git(mine, "clone", "--quiet", mine, hers);
  };
  const myFile = () => join(mine, "src", "f.txt");
  const herFile = () => join(hers, "src", "f.txt");
  const text = () => readFileSync(herFile(), "utf8");
  const share = (what, options = {}) => ada.json("share", what, "--team", TEAM, { cwd: mine, ...options });

  test("lines are merged into the file that they came from, beside other changes", async () => {
    repositories();
    // Lines move and change above; what is shared is the change at 10, and only that.
    writeFileSync(myFile(), change(original, ["line 2", "line 2\nnew\nnew\n"], ["line 10", "ten\nten and a half\n"], ["line 15", "private\n"]));
    const { snippet, path, lines } = await share("src/f.txt:12-13");
    assert.deepEqual([path, lines], ["src/f.txt", { from: 12, to: 13 }]);
    const [{ repository, base }] = [(await grace.json("list", "--limit", "1")).snippets[0]];
    assert.deepEqual([repository, base], [`orrery-${round}`, undefined]);

    const local = change(original, ["line 4", ""], ["line 18", "mine\n"]);
    writeFileSync(herFile(), local);
    chmodSync(herFile(), 0o755);
    const dry = await grace.json("apply", snippet, "--dry-run", { cwd: join(hers, "src") });
    assert.equal(text(), local, "a dry run writes nothing");
    const done = await grace.json("apply", snippet, { cwd: join(hers, "src") });
    assert.deepEqual([dry.files, done.files], [[{ path: "src/f.txt", outcome: "changed" }], [{ path: "src/f.txt", outcome: "changed" }]]);
    assert.equal(text(), change(local, ["line 10", "ten\nten and a half\n"]));
    assert.equal(lstatSync(herFile()).mode & 0o777, 0o755);
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).out, "Nothing to do: src/f.txt has it already\n");
    assert.equal(git(hers, "diff", "--cached", "--name-only"), "", "nothing is staged");
  });

  test("where both changed the same lines, markers are left and the exit code is 6", async () => {
    repositories();
    writeFileSync(myFile(), change(original, ["line 10", "hers\n"]));
    const { snippet } = await share("src/f.txt:9-11");
    writeFileSync(herFile(), change(original, ["line 10", "mine\n"]));
    const dry = await grace.run(["apply", snippet, "--dry-run"], { cwd: hers });
    assert.equal(dry.code, CONFLICT);
    assert.equal(text(), change(original, ["line 10", "mine\n"]));
    const { code, out, err } = await grace.run(["apply", snippet], { cwd: hers });
    assert.equal(code, CONFLICT);
    assert.equal(out, "Left conflict markers in src/f.txt\n");
    assert.match(err, /^error: your own changes and the shared ones touch the same lines of src\/f\.txt\nLook for <<<<<<</);
    assert.match(text(), /line 9\n<<<<<<< yours\nmine\n=======\nhers\n>>>>>>> shared\nline 11/);
  });

  test("a whole file is merged, created where it is missing, and never overwritten without its base", async () => {
    repositories();
    writeFileSync(myFile(), change(original, ["line 1", "first\n"]));
    writeFileSync(herFile(), change(original, ["line 20", "last\n"]));
    const { snippet } = await share("src/f.txt");
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).out, "Changed src/f.txt\n");
    assert.equal(text(), change(original, ["line 1", "first\n"], ["line 20", "last\n"]));

    mkdirSync(join(mine, "new"));
    writeFileSync(join(mine, "new", "picture"), randomBytes(64));
    const added = await share("new/picture");
    assert.equal((await grace.run(["apply", added.snippet], { cwd: hers })).out, "Created new/picture\n");
    assert.ok(readFileSync(join(hers, "new", "picture")).equals(readFileSync(join(mine, "new", "picture"))));
    writeFileSync(join(hers, "new", "picture"), "mine");
    const { code, err } = await grace.run(["apply", added.snippet], { cwd: hers });
    assert.equal(code, REFUSED, err);
    assert.match(err, /Compare and choose by hand/);
    assert.equal(readFileSync(join(hers, "new", "picture"), "utf8"), "mine");
  });

  test("lines whose base this repository lacks are refused with what to do", async () => {
    repositories();
    writeFileSync(myFile(), change(original, ["line 3", "three\n"]));
    git(mine, "commit", "--quiet", "--all", "--message", "Not fetched");
    const committed = await share("src/f.txt:3");
    writeFileSync(myFile(), change(original, ["line 3", "three\n"], ["line 12", "twelve\n"]));
    const { snippet } = await share("src/f.txt:12");
    const { code, err } = await grace.run(["apply", snippet], { cwd: hers });
    assert.equal(code, REFUSED);
    assert.match(err, /git fetch/);
    git(hers, "fetch", "--quiet");
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).code, OK);
    assert.equal(text(), change(original, ["line 12", "twelve\n"]), "only what was shared");

    const unchanged = await grace.run(["apply", committed.snippet], { cwd: hers });
    assert.equal(unchanged.code, REFUSED);
    assert.match(unchanged.err, /as its author committed it.*\nTake it over with git/);
  });

  test("a diff is applied, from the service or from a file, and its conflicts are marked", async () => {
    repositories();
    writeFileSync(myFile(), change(original, ["line 5", "five\n"]));
    writeFileSync(join(mine, "src", "added"), "added\n");
    git(mine, "add", "--intent-to-add", "src/added");
    const { snippet, kind } = await share("-", { input: git(mine, "diff") });
    assert.equal(kind, "diff");
    assert.match((await grace.run(["list", "--limit", "1"])).out, new RegExp(`diff of orrery-${round}`));
    const { file } = await grace.json("export", snippet);
    const { code, out, err } = await grace.run(["apply", join(grace.folder, file)], { cwd: join(hers, "src") });
    assert.equal(code, OK, err);
    assert.equal(out, "Created src/added\nChanged src/f.txt\n");
    assert.equal(text(), change(original, ["line 5", "five\n"]));

    writeFileSync(herFile(), change(original, ["line 5", "mine\n"]));
    const conflict = await grace.run(["apply", snippet, "--json"], { cwd: hers });
    assert.equal(conflict.code, CONFLICT);
    assert.deepEqual(JSON.parse(conflict.out).files, [{ path: "src/added", outcome: "unchanged" }, { path: "src/f.txt", outcome: "conflict" }]);
    assert.equal(JSON.parse(conflict.err).error.code, "conflict");
    assert.match(text(), /<<<<<<<[^]*mine\n=======\nfive\n>>>>>>>/);
  });

  test("no diff leads out of the repository, into .git, or through a link", async () => {
    repositories();
    const outside = join(grace.folder, "outside");
    mkdirSync(outside, { recursive: true });
    symlinkSync(outside, join(hers, "away"));
    const add = (path) => `diff --git a/${path} b/${path}\nnew file mode 100644\n--- /dev/null\n+++ b/${path}\n@@ -0,0 +1 @@\n+evil\n`;
    const link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+../outside\n";
    const hostile = [
      add("../outside/x"), add("src/../../outside/x"), add(".git/hooks/post-checkout"), add(".GIT/config.worktree"), add("sub/.git/config"),
      add("away/x"), add(join(outside, "x")), link, link + add("l/x"),
      "diff --git a/src/f.txt b/../outside/x\nsimilarity index 100%\nrename from src/f.txt\nrename to ../outside/x\n",
      "diff --git a/sub b/sub\nnew file mode 160000\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit 0123456789012345678901234567890123456789\n",
    ];
    for (const diff of hostile) {
      // Something harmless first: none of it may be applied either.
      const { snippet } = await share("-", { input: add("harmless") + diff });
      const { code, err } = await grace.run(["apply", snippet], { cwd: hers });
      assert.equal(code, REFUSED, `${diff}${err}`);
      assert.ok(!existsSync(join(hers, "harmless")));
    }
    assert.deepEqual(execFileSync("ls", ["-A", outside], { encoding: "utf8" }), "");
    assert.equal(git(hers, "status", "--porcelain"), "?? away\n");
    assert.ok(!existsSync(join(hers, ".git", "hooks", "post-checkout")));
  });

  test("no header leads out of the repository, into .git or through a link, and none is obeyed by a terminal", async () => {
    repositories();
    const outside = join(grace.folder, "outside");
    mkdirSync(outside, { recursive: true });
    symlinkSync(outside, join(hers, "away"));
    symlinkSync(join(outside, "new"), join(hers, "dangling"));
    symlinkSync(".git", join(hers, "docs"));
    // Somebody with a client of their own, who can write into a header whatever they like.
    const mallory = await Client.signIn({
      origin: service.url,
      name: "m",
      approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "mallory"),
    });
    const { team } = await ada.json("team", "show", TEAM);
    await mallory.join((await ada.json("team", "invite", TEAM)).link);
    const evil = Buffer.from("evil\n");
    const blob = git(hers, "rev-parse", "HEAD:src/f.txt").trim();
    const hostile = [
      ...["../outside/x", "/etc/osmynt-test", "src/../../outside/x", ".git/hooks/post-checkout", ".GIT/x", "sub/.git/config", "git~1/x", ".git./x",
        "away/x", "dangling", "docs/hooks/x", "C:/x", "..\\x", "src//x", "", ".", "src", "a\u001b[2Jb"].map((path) => ({ path })),
      { path: "src/f.txt", base: { blob: "HEAD:src/f.txt", from: 1, to: 1 } },
      { path: "src/f.txt", base: { blob: "--help", from: 1, to: 1 } },
      { path: "src/f.txt", base: { blob, from: 21, to: 22 } },
      { path: "src/f.txt", base: { blob, from: 5, to: 3 } },
      { path: "src/f.txt", base: { blob, from: 0, to: 0 } },
      { path: "src/f.txt", base: { blob, from: 1 } },
      { path: "src/f.txt", lines: { from: 9, to: 2 } },
      {},
    ];
    for (const header of hostile) {
      const snippet = await mallory.share(team, evil, { header });
      const { code, err, out } = await grace.run(["apply", snippet], { cwd: hers });
      assert.ok([REFUSED, UNTRUSTED].includes(code), `${JSON.stringify(header)} ended with ${code}: ${out}${err}`);
      assert.ok(!err.includes("\u001b"), JSON.stringify(err));
    }
    assert.deepEqual(execFileSync("ls", ["-A", outside], { encoding: "utf8" }), "");
    assert.equal(git(hers, "status", "--porcelain"), "?? away\n?? dangling\n?? docs\n");
    assert.ok(!existsSync(join(hers, ".git", "hooks", "post-checkout")) && !existsSync("/etc/osmynt-test"));

    const control = { path: "a\u001b[2J\u009bx", repository: "\u001b]0;r\u0007", language: "\u001b[0m", title: "\r\nfake line\u202e" };
    await mallory.share(team, evil, { header: control });
    for (const shown of [await grace.see(["list", "--limit", "1", "--quiet"]), await grace.see(["list", "--limit", "1", "--json"])]) {
      for (const hostile of ["\u001b[2J", "\u001b]", "\u009b", "\u0007", "\u202e"]) assert.ok(!shown.out.includes(hostile), JSON.stringify(shown.out));
      assert.equal(shown.out.trim().split("\n").length, 1, "one line");
    }
  });

  test("outside of a repository it says where to go", async () => {
    const { code, err } = await grace.run(["apply", "26f8ad91"]);
    assert.equal(code, USAGE);
    assert.match(err, /not in a git repository/);
  });

  function git(cwd, ...args) {
    const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"];
    return execFileSync("git", [...identity, ...args], { cwd, encoding: "utf8", env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" } });
  }
});

test("whoever is not signed in is told how to", async () => {
  const stranger = await Person.create("stranger");
  people.push(stranger);
  const { code, err } = await stranger.run(["list"]);
  assert.equal(code, NOT_SIGNED_IN);
  assert.match(err, /osmynt login/);
});

/** The parts of an outcome to compare. */
async function seen(outcome) {
  const { code, out, err } = await outcome;
  return { code, out, err };
}
