// Makes a fresh clone able to build and test, and does nothing when that is so already:
//
//   node scripts/setup.mjs                        the Rust toolchain, npm packages, build tools
//   node scripts/setup.mjs --ci                   these and cargo-deny
//   node scripts/setup.mjs tests/demo.mjs …       these, then runs that script with the project's own Node
//   node scripts/setup.mjs scripts/test.mjs …     so, and a Chromium before, for the tests of the pages
//
// Runs on Node 20 and before node_modules exists: the npm scripts begin here. Everything comes from the crates and npm registries;
// what is installed stays under .tools/ and node_modules/. Only a Chromium comes from Debian's packages, and only where root runs this.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

import { ADVICE, findChromium } from "./chromium.mjs";
import { Failure, TOOLS, environment, exitCode, lockedVersion, main, npmBin, path, run, say, tool } from "./project.mjs";

const CARGO_DENY = "0.20.2";

main(async () => {
  const [first, ...rest] = process.argv.slice(2);
  const ci = first === "--ci";
  const script = ci ? rest.shift() : first;

  if (script === "scripts/test.mjs") await chromium();
  await rustToolchain();
  await npmPackages();
  // Both must be of one release with the crates that they work on.
  await cargoTool("wasm-bindgen", "wasm-bindgen-cli", lockedVersion("wasm-bindgen"));
  await cargoTool("worker-build", "worker-build", lockedVersion("worker"));
  if (ci) await cargoTool("cargo-deny", "cargo-deny", CARGO_DENY);

  if (script) process.exitCode = exitStatus(await exitCode(npmBin("node"), [script, ...rest]));
});

/** The toolchain of rust-toolchain.toml, with its components and the target that Workers are compiled for. */
async function rustToolchain() {
  const wanted = readFileSync(path("rust-toolchain.toml"), "utf8");
  const channel = /^channel = "([^"]+)"/m.exec(wanted)[1];
  const sysroot = output("rustup", ["run", channel, "rustc", "--print", "sysroot"]);
  const complete =
    sysroot !== null &&
    existsSync(join(sysroot, "lib/rustlib/wasm32-unknown-unknown")) &&
    ["cargo-clippy", "rustfmt"].every((name) => existsSync(join(sysroot, "bin", name)));
  if (complete) return;
  if (output("rustup", ["--version"]) === null) {
    throw new Failure("Osmynt needs Rust. Install rustup from https://rustup.rs, then run this again.");
  }
  say(`installing Rust ${channel} with clippy, rustfmt and the wasm32 target (a minute)`);
  const parts = ["--profile", "minimal", "--component", "clippy", "--component", "rustfmt", "--target", "wasm32-unknown-unknown"];
  await run("rustup", ["toolchain", "install", channel, ...parts, "--no-self-update"]);
}

/** A Chromium that is installed; where it is, the tests find out by themselves. */
async function chromium() {
  if (findChromium() !== null) return;
  const missing = process.env.CHROMIUM ? `CHROMIUM is ${process.env.CHROMIUM}, which is none that can be run.` : "The tests of the pages need Chromium.";
  const canInstall = !process.env.CHROMIUM && process.getuid?.() === 0 && existsSync("/etc/debian_version");
  if (!canInstall) throw new Failure(`${missing} ${ADVICE}`);
  say("installing Chromium from Debian's packages, for the tests of the pages (a minute)");
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", ["update", "-qq"], { env });
  await run("apt-get", ["install", "-qq", "--yes", "--no-install-recommends", "chromium"], { env });
  // Ubuntu's package of that name leads to another shop.
  if (findChromium() === null) throw new Failure(`${missing} apt-get brought none that can be run. ${ADVICE}`);
}

/** The npm packages of package-lock.json; one of them is the Node that everything else runs on. */
async function npmPackages() {
  const installed = path("node_modules", ".package-lock.json");
  const current = existsSync(npmBin("node")) && existsSync(installed) && modified(installed) >= modified(path("package-lock.json"));
  if (current) return;
  say("installing npm packages (half a minute)");
  // npm runs on the system's Node here, not on the one in node_modules, which it takes away and brings back. It would
  // warn that some packages want that newer Node: they get it.
  const PATH = process.env.PATH.split(delimiter).filter((folder) => !folder.endsWith(join("node_modules", ".bin"))).join(delimiter);
  await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { env: { PATH } });
}

/** A build tool from the crates registry, in exactly this version. */
async function cargoTool(program, crate, version) {
  const present = output(tool(program), ["--version"]);
  if (present?.split(/\s+/).includes(version)) return;
  say(`compiling ${crate} ${version} (once, some minutes)`);
  const target = join(TOOLS, "build");
  const where = ["--root", TOOLS, "--target-dir", target];
  const quiet = process.stderr.isTTY ? [] : ["--quiet"];
  await run("cargo", ["install", "--locked", ...quiet, ...where, "--version", `=${version}`, crate]);
  rmSync(target, { recursive: true, force: true });
}

/** What a program prints, or null when it cannot be run. */
function output(program, args) {
  try {
    return execFileSync(program, args, { encoding: "utf8", env: environment(), stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

const modified = (file) => statSync(file).mtimeMs;

const exitStatus = (code) => (typeof code === "number" ? code : 1);
