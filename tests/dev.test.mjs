// `npm run dev`: what it makes of a rebuild that fails.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

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
