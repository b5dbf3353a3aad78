// What the scripts share: where things are, and how a program is run. Runs on Node 20 without any package.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, "");
export const TOOLS = join(ROOT, ".tools");
const BIN = join(ROOT, "node_modules", ".bin");

/** A path inside the project. */
export const path = (...parts) => join(ROOT, ...parts);

/** A program that an npm package of the project brings. */
export const npmBin = (name) => join(BIN, name);

/** A program that `scripts/setup.mjs` installed from the crates registry. */
export const tool = (name) => join(TOOLS, "bin", name);

/** The environment for everything the scripts start: the project's Node and tools come first. */
export const environment = (more = {}) => ({
  ...process.env,
  PATH: [BIN, join(TOOLS, "bin"), process.env.PATH].join(delimiter),
  // wrangler and Miniflare would ask the network for a newer release and for this machine's place in the world.
  WRANGLER_HIDE_BANNER: "true",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  ...more,
});

/** Says what is going on. */
export const say = (line) => console.error(`· ${line}`);

/**
 * A failure whose message is meant for the person at the terminal, who needs no stack trace. `code`
 * is the exit code of the program that failed, or the name of the signal that ended it.
 */
export class Failure extends Error {
  constructor(message, { code } = {}) {
    super(message);
    this.code = code;
  }
}

/** The version of a crate in Cargo.lock, so that a tool that must match a crate cannot drift from it. */
export function lockedVersion(crate) {
  const lock = readFileSync(path("Cargo.lock"), "utf8");
  const found = new RegExp(`^name = "${crate}"\\nversion = "([^"]+)"`, "m").exec(lock);
  if (!found) throw new Failure(`Cargo.lock names no ${crate}; is it the one of this repository?`);
  return found[1];
}

/**
 * Runs a program in the project's folder, sharing this terminal, and resolves when it has ended well. A signal to this process is passed
 * on, and this process waits for the program to end. Ctrl-C is not: a terminal sends it to both.
 */
export async function run(program, args, { env = {}, what = `${program} ${args.join(" ")}` } = {}) {
  const code = await exitCode(program, args, { env });
  if (code === 0) return;
  throw new Failure(`${what}: ${typeof code === "number" ? `failed (${code})` : `ended by ${code}`}`, { code });
}

/** As `run`, but resolves to the exit code, or to the name of the signal that ended the program. */
export function exitCode(program, args, { env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: "inherit", env: environment(env) });
    const pass = (signal) => (signal !== "SIGINT" || !process.stdin.isTTY) && child.kill(signal);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, pass);
    const end = (settle, value) => {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(signal, pass);
      settle(value);
    };
    child.once("error", (error) => end(reject, new Failure(`${program} could not be started: ${error.message}`)));
    child.once("exit", (code, signal) => end(resolve, code ?? signal));
  });
}

/** Ends this process for good: quietly after success, with the message alone after a `Failure`. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    console.error(error instanceof Failure ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

/** Whether this module is the program that was started, and not imported by another. */
export const isProgram = (meta) => process.argv[1] && existsSync(process.argv[1]) && fileURLToPath(meta.url) === process.argv[1];
