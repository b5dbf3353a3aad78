// `npm test`: builds the Worker and the command, then runs every test. Arguments name test files to run alone, without Rust's tests:
//
//   npm test -- tests/teams.test.mjs
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { buildCli, buildWorker } from "./build.mjs";
import { Failure, exitCode, main, path, say } from "./project.mjs";

main(async () => {
  const only = process.argv.slice(2);
  await buildWorker();
  await buildCli();

  const failed = [];
  if (only.length === 0) {
    say("Rust tests");
    if ((await exitCode("cargo", ["test", "--quiet", "--workspace"])) !== 0) failed.push("cargo test");
  }

  say("tests against the running Worker");
  const files = only.length > 0 ? only : testFiles("tests");
  // Each file starts services of its own; two at a time suit a small machine.
  const options = ["--test", "--test-concurrency=2", "--disable-warning=ExperimentalWarning", "--test-reporter=spec"];
  if ((await exitCode(process.execPath, [...options, ...files])) !== 0) failed.push("node --test");

  if (failed.length > 0) throw new Failure(`FAILED: ${failed.join(", ")}`);
  console.log("\nAll tests passed.");
});

/** Every *.test.mjs below a folder of the project. */
function testFiles(folder) {
  const names = readdirSync(path(folder), { recursive: true }).filter((name) => name.endsWith(".test.mjs"));
  return names.sort().map((name) => join(folder, name));
}
