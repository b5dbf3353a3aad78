// Builds what the tests and the demo run, and skips what is newer than its sources:
//
//   node scripts/build.mjs            both
//   node scripts/build.mjs worker     the Worker, as it is deployed, to build/
//   node scripts/build.mjs cli        the `osmynt` command, to Cargo's target folder
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Failure, environment, isProgram, main, npmBin, path, run, say, tool } from "./project.mjs";

/** What the Worker is made of. */
const WORKER_SOURCES = ["src", "crates/core", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "scripts/build.mjs"];
/** Touched with the time at which the build that is in build/ began. */
const STAMP = path("build", ".begun");

/** Builds the Worker in its own profile, as `wrangler deploy` would. */
export async function buildWorker() {
  if (existsSync(STAMP) && newest(WORKER_SOURCES) < statSync(STAMP).mtimeMs) return;
  say("building the Worker (the first time some minutes)");
  const begun = new Date();
  // worker-build would fetch these three from release pages; everything here comes from the two registries.
  const env = { WASM_BINDGEN_BIN: tool("wasm-bindgen"), WASM_OPT_BIN: npmBin("wasm-opt"), ESBUILD_BIN: npmBin("esbuild") };
  await run(tool("worker-build"), ["--profile", "worker", ".", "--package", "osmynt-worker"], { env, what: "building the Worker" });
  await dropNames();
  writeFileSync(STAMP, "");
  utimesSync(STAMP, begun, begun);
}

/**
 * Takes the names of functions out of the Worker, where worker-build insists on leaving them: they are an eighth of what would be uploaded. They are
 * kept beside it, for whoever reads a trace: `wasm-function[7]` is what stands after `7:`.
 */
async function dropNames() {
  const wasm = path("build", "index_bg.wasm");
  await run(npmBin("wasm-opt"), [wasm, "--output", wasm, `--symbolmap=${path("build", "functions.txt")}`], { what: "wasm-opt" });
}

/** Builds the `osmynt` command in the development profile, which the tests have compiled anyway. */
export async function buildCli() {
  say("building the osmynt command (the first time a minute or two)");
  await run("cargo", ["build", "--quiet", "--package", "osmynt-cli"], { what: "building the osmynt command" });
  if (!existsSync(cli())) throw new Failure(`The build made no ${cli()}.`);
}

/** Where the built `osmynt` command is. */
export function cli() {
  const metadata = execFileSync("cargo", ["metadata", "--no-deps", "--format-version", "1"], {
    cwd: path(),
    env: environment(),
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  return join(JSON.parse(metadata).target_directory, "debug", "osmynt");
}

/** The latest modification below these files and folders; a folder counts too, as that is how a removed file shows. */
function newest(names) {
  const times = names.map((name) => {
    const stat = statSync(path(name));
    const inside = stat.isDirectory() ? readdirSync(path(name)).map((entry) => join(name, entry)) : [];
    return Math.max(stat.mtimeMs, inside.length > 0 ? newest(inside) : 0);
  });
  return Math.max(...times);
}

/**
 * Keeps the Worker of the last good build when a rebuild under `wrangler dev` fails. wrangler holds
 * every request back from the start of a rebuild until one succeeds: if the command failed, the
 * service would accept connections and never answer.
 */
function keepLastGood(error) {
  const isRebuild = process.env.WRANGLER_COMMAND === "dev" && existsSync(path("build", "index.js"));
  // A file changed again: wrangler has stopped this build and started another.
  const isSuperseded = error.code === "SIGTERM";
  if (!(error instanceof Failure) || !isRebuild || isSuperseded) throw error;
  const next = "Still serving the last good build. Save a file in src or crates/core/src to build again.";
  console.error(`\n${error.message}\n${next}`);
}

if (isProgram(import.meta)) {
  main(async () => {
    const [only] = process.argv.slice(2);
    if (only !== "cli") await buildWorker().catch(keepLastGood);
    if (only !== "worker") await buildCli();
  });
}
