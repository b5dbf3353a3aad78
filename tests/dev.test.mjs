// `npm run dev`: what it makes of a rebuild that fails, and of data from another version.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { checkSchemas } from "../scripts/dev.mjs";
import { path } from "../scripts/project.mjs";

let folder;
before(async () => (folder = await mkdtemp(join(tmpdir(), "osmynt-dev-"))));
after(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
});

const write = async (file, text, options) => {
  await mkdir(join(folder, file, ".."), { recursive: true });
  await writeFile(join(folder, file), text, options);
};

describe("the command that wrangler builds the Worker with", () => {
  /** Runs it in a project whose compiler does nothing but what `compiler` says. */
  const build = async (compiler, env) => {
    for (const file of ["build.mjs", "project.mjs"]) await cp(path("scripts", file), join(folder, "scripts", file));
    await write(".tools/bin/worker-build", `#!/bin/sh\n${compiler}\n`, { mode: 0o755 });
    const { WRANGLER_COMMAND: _, ...rest } = process.env;
    return new Promise((resolve) => {
      execFile(process.execPath, ["scripts/build.mjs", "worker"], { cwd: folder, env: { ...rest, ...env } }, (error, _out, err) =>
        resolve({ code: error ? error.code : 0, err }),
      );
    });
  };
  const dev = { WRANGLER_COMMAND: "dev" };

  it("keeps the last good build under `wrangler dev` and says so when a rebuild fails", async () => {
    await write("build/index.js", "good");
    const { code, err } = await build("exit 3", dev);
    assert.equal(code, 0);
    assert.match(err, /building the Worker: failed \(3\)\nStill serving the last good build\. Save a file in src /);
    assert.equal(await readFile(join(folder, "build/index.js"), "utf8"), "good");
  });

  it("does not report a rebuild that wrangler stopped for a newer one", async () => {
    await write("build/index.js", "good");
    const { code, err } = await build("kill -TERM $$", dev);
    assert.equal(code, 1);
    assert.match(err, /ended by SIGTERM/);
    assert.doesNotMatch(err, /Still serving/);
  });

  it("fails when there is no build to go on with", async () => {
    assert.equal((await build("exit 3", dev)).code, 1);
  });

  it("fails everywhere else, so that no outdated build is tested or deployed", async () => {
    await write("build/index.js", "good");
    assert.equal((await build("exit 3", {})).code, 1);
    assert.equal((await build("exit 3", { WRANGLER_COMMAND: "deploy" })).code, 1);
  });
});

describe("data that `npm run dev` has kept", () => {
  const check = () => checkSchemas(join(folder, ".dev"), folder);
  const store = () => mkdir(join(folder, ".dev", "v3"), { recursive: true });
  beforeEach(async () => {
    await write("migrations/0001_first.sql", "CREATE TABLE a (b);");
    await write("src/team/fixtures/version-1.sql", "CREATE TABLE c (d);");
  });

  it("is used while the schemas are those it was stored with", async () => {
    check();
    await store();
    check();
  });

  it("is used after a migration or a version of a team was added", async () => {
    check();
    await store();
    await write("migrations/0002_second.sql", "CREATE TABLE e (f);");
    await write("src/team/fixtures/version-2.sql", "CREATE TABLE g (h);");
    check();
  });

  for (const file of ["migrations/0001_first.sql", "src/team/fixtures/version-1.sql"]) {
    it(`is refused once ${file.split("/").at(-1)} was rewritten, and stays refused`, async () => {
      check();
      await store();
      await write(file, "CREATE TABLE other (b);");
      assert.throws(check, new RegExp(`a different ${file}\\)[^]*rm -r \\.dev`));
      assert.throws(check, /a different/);
    });
  }

  it("is refused when a migration that it was stored with is not there, as on another branch", async () => {
    await write("migrations/0002_second.sql", "CREATE TABLE e (f);");
    check();
    await store();
    await rm(join(folder, "migrations/0002_second.sql"));
    assert.throws(check, /a different migrations\/0002_second\.sql/);
  });

  it("is refused when nothing tells which schemas it was stored with", async () => {
    await store();
    assert.throws(check, /it does not say which[^]*rm -r \.dev/);
  });

  it("is begun anew where the folder was removed", async () => {
    check();
    await store();
    await write("migrations/0001_first.sql", "CREATE TABLE other (b);");
    await rm(join(folder, ".dev"), { recursive: true });
    check();
    await store();
    check();
  });
});
