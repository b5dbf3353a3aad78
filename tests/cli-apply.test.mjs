// `osmynt apply`: what is shared, put into files of a repository, and nothing but what is shared; asked for first where it is from somebody new.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Person, unbroken } from "./cli/person.mjs";
import { Client } from "./client/client.mjs";
import { approve } from "./support/browser.mjs";
import { PEOPLE, person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const OK = 0, USAGE = 2, REFUSED = 4, UNTRUSTED = 5, CONFLICT = 6;
const TEAM = "backend";

let service, ada, grace;

before(async () => {
  service = await startService({ people: [...PEOPLE, person(1004, "mallory", "Mallory")] });
  [ada, grace] = [await Person.create("ada"), await Person.create("grace")];
  for (const person of [ada, grace]) assert.equal((await person.signIn(service)).code, OK);
  await ada.json("team", "new", TEAM);
  await grace.json("team", "join", (await ada.json("team", "invite", TEAM)).code);
});

after(async () => {
  await service?.dispose();
  for (const { folder } of [ada, grace]) rmSync(folder, { recursive: true, force: true });
});

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
/** Whoever shared it. */
const apply = (snippet) => grace.run(["apply", snippet, "--yes"], { cwd: hers });

describe("applying", () => {
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
    const again = (await grace.run(["apply", snippet], { cwd: hers })).out;
    assert.equal(again, `${snippet.slice(-8)}  by ada\nNothing to do: src/f.txt has it already\n`);
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
    assert.equal(out, `${snippet.slice(-8)}  by ada\nLeft conflict markers in src/f.txt\n`);
    assert.match(err, /^error: your own changes and the shared ones touch the same lines of src\/f\.txt\nLook for <<<<<<</);
    assert.match(text(), /line 9\n<<<<<<< yours\nmine\n=======\nhers\n>>>>>>> shared\nline 11/);
  });

  test("a whole file is merged, created where it is missing, and never overwritten without its base", async () => {
    repositories();
    writeFileSync(myFile(), change(original, ["line 1", "first\n"]));
    writeFileSync(herFile(), change(original, ["line 20", "last\n"]));
    const { snippet } = await share("src/f.txt");
    assert.equal((await apply(snippet)).out, `${snippet.slice(-8)}  by ada\nChanged src/f.txt\n`);
    assert.equal(text(), change(original, ["line 1", "first\n"], ["line 20", "last\n"]));

    mkdirSync(join(mine, "new"));
    writeFileSync(join(mine, "new", "picture"), randomBytes(64));
    const added = await share("new/picture");
    assert.equal((await apply(added.snippet)).out, `${added.snippet.slice(-8)}  by ada\nCreated new/picture\n`);
    assert.ok(readFileSync(join(hers, "new", "picture")).equals(readFileSync(join(mine, "new", "picture"))));
    writeFileSync(join(hers, "new", "picture"), "mine");
    const { code, err } = await apply(added.snippet);
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
    const { code, err } = await apply(snippet);
    assert.equal(code, REFUSED);
    assert.match(err, /git fetch/);
    git(hers, "fetch", "--quiet");
    assert.equal((await apply(snippet)).code, OK);
    assert.equal(text(), change(original, ["line 12", "twelve\n"]), "only what was shared");

    const unchanged = await apply(committed.snippet);
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
    assert.equal(out, `${snippet.slice(-8)}  by ada\nCreated src/added\nChanged src/f.txt\n`);
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
      const { code, err } = await apply(snippet);
      assert.equal(code, REFUSED, `${diff}${err}`);
      assert.ok(!err.includes("--yes"), err);
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
    const mallory = await signIn("linus");
    const { team } = await ada.json("team", "show", TEAM);
    await mallory.join((await ada.json("team", "invite", TEAM)).code);
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
      // Not even this client would send it, if it saw it.
      { path: "src/f.txt", base: { blob, toJSON: () => ({ blob, from: 1 }) } },
      { path: "src/f.txt", lines: { from: 9, to: 2 } },
      {},
    ];
    for (const header of hostile) {
      const snippet = await mallory.share(team, evil, { header });
      const { code, err, out } = await apply(snippet);
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
});

describe("applying what is new here", () => {
  let mallory, team;
  const created = (name) => existsSync(join(hers, name));
  /** Something that makes a file, and its short id. */
  const offered = async (name, client = mallory) => {
    const snippet = await client.share(team, Buffer.from("new\n"), { header: { path: name, title: `Take ${name}` } });
    return { snippet, id: snippet.slice(-8) };
  };

  before(async () => {
    repositories();
    mallory = await signIn("mallory");
    ({ team } = await ada.json("team", "show", TEAM));
    await mallory.join((await ada.json("team", "invite", TEAM)).code);
  });

  test("without a terminal it is refused, with whose and what it is, until it was seen; and --yes applies it", async () => {
    const { snippet, id } = await offered("first.txt");
    const about = `error: what @mallory (${mallory.user.slice(0, 16)}…) shared, "Take first.txt" (${id}), is not applied: `;
    const look = `Look at it: osmynt open ${id}\nTo apply it without being asked, use --yes.\n`;
    for (let time = 0; time < 2; time += 1) {
      const { code, out, err } = await grace.run(["apply", snippet], { cwd: hers });
      assert.deepEqual([code, out, err], [REFUSED, "", `${about}nothing by its author was ever shown here before\n${look}`], "a refusal shows nothing");
    }
    assert.ok(!created("first.txt"));

    const second = await offered("second.txt");
    const done = await grace.json("apply", second.snippet, "--yes", { cwd: hers });
    assert.deepEqual(done, {
      snippet: second.snippet, title: "Take second.txt", author: "mallory", author_user: mallory.user, author_doubt: null, dry_run: false,
      files: [{ path: "second.txt", outcome: "created" }],
    });
    assert.ok(created("second.txt"));
    // Now the author is known, and the snippet is not.
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).err, `${about}this snippet was never shown here before\n${look}`);
    const refused = await grace.run(["apply", snippet, "--json"], { cwd: hers });
    assert.equal(refused.code, REFUSED);
    const { error } = JSON.parse(refused.err);
    assert.equal(error.code, "refused");
    assert.match(error.next, /--yes/);
    assert.ok(!created("first.txt"));
    assert.equal((await grace.run(["open", snippet])).out, "new\n");
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).out, `${id}  "Take first.txt", by mallory\nCreated first.txt\n`);
  });

  test("at a terminal the files are shown, and only a yes goes on", async () => {
    for (const [answer, expected] of [["", REFUSED], ["no", REFUSED], ["mallory", REFUSED], ["y", OK], ["YES", OK]]) {
      const name = `asked-${answer}.txt`;
      const { snippet, id } = await offered(name);
      const shown = await grace.see(["apply", snippet], { cwd: hers, answer, env: { NO_COLOR: "1" } });
      assert.equal(shown.code, expected, shown.out);
      assert.match(unbroken(shown.out), new RegExp(`Would create ${name}\r\n\r\nYou are asked since .* shown here before\\. To look at it first: osmynt open ${id}\r\n\r\n`));
      assert.ok(unbroken(shown.out).includes(`Apply what @mallory (${mallory.user.slice(0, 16)}…) shared, "Take ${name}" (${id}), to 1 file? [y/N] `), shown.out);
      if (expected === REFUSED) {
        assert.match(shown.out, /error: it was not confirmed, so nothing has changed/);
        assert.equal((await grace.run(["apply", snippet], { cwd: hers })).code, REFUSED, "who said no is asked again");
      }
      assert.equal(created(name), expected === OK);
    }
  });

  test("nothing is asked about what was listed, opened or tried without writing, nor where there is nothing to do", async () => {
    const seen = [
      (snippet) => grace.json("list", "--limit", "5").then(({ snippets }) => assert.ok(snippets.some((each) => each.snippet === snippet))),
      (snippet) => grace.json("open", snippet),
      (snippet) => grace.json("apply", snippet, "--dry-run", { cwd: hers }),
    ];
    for (const [index, see] of seen.entries()) {
      const { snippet } = await offered(`seen-${index}.txt`);
      await see(snippet);
      assert.equal((await grace.run(["apply", snippet], { cwd: hers })).code, OK);
      assert.ok(created(`seen-${index}.txt`));
    }
    const { snippet } = await offered("seen-0.txt");
    assert.match((await grace.run(["apply", snippet], { cwd: hers })).out, /Nothing to do: seen-0\.txt has it already/);
  });

  test("a saved snippet is asked about as well", async () => {
    const { snippet, id } = await offered("saved.txt");
    writeFileSync(join(grace.folder, "saved.osmynt"), await mallory.api.snippet(team, snippet));
    const { code, err } = await grace.run(["apply", join(grace.folder, "saved.osmynt")], { cwd: hers });
    assert.equal(code, REFUSED);
    assert.match(err, new RegExp(`\\(${id}\\), is not applied: this snippet was never shown here before`));
    assert.ok(!created("saved.txt"));
  });

  test("nothing is asked about one's own", async () => {
    writeFileSync(join(hers, "own.txt"), "mine\n");
    const { snippet } = await grace.json("share", "own.txt", "--team", TEAM, { cwd: hers });
    rmSync(join(hers, "own.txt"));
    assert.equal((await grace.run(["apply", snippet], { cwd: hers })).out, `${snippet.slice(-8)}  by you\nCreated own.txt\n`);
  });
});

/** Somebody with a client of their own, who can write into a header whatever they like. */
const signIn = (login) =>
  Client.signIn({ origin: service.url, name: "m", approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login) });

function git(cwd, ...args) {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"];
  return execFileSync("git", [...identity, ...args], { cwd, encoding: "utf8", env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" } });
}
