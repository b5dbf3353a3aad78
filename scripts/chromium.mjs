// Where a Chromium is, for the tests of the pages. Runs on Node 20 without any package.
import { execFileSync } from "node:child_process";

/** What Chromium and its like are called, on the path or with a path of their own. */
const NAMES = [
  "chromium",
  "chromium-browser",
  "google-chrome",
  "google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** What to do without one. */
export const ADVICE =
  "Install one (on Debian: `sudo apt-get install chromium`), or set CHROMIUM to the path of a Chromium or Chrome that is there.";

/** A Chromium that can be run: the one that CHROMIUM names and no other, if it names one. Null when there is none. */
export function findChromium() {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : NAMES;
  return names.map(resolved).find((program) => program !== null && runs(program)) ?? null;
}

/** The whole path of a program. */
function resolved(name) {
  if (name.includes("/")) return name;
  try {
    return execFileSync("/bin/sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim() || null;
  } catch {
    return null;
  }
}

/** Whether it is one: what Ubuntu calls `chromium-browser` may only tell how to install it. */
function runs(program) {
  try {
    return /^(Chromium|Google Chrome)\b/.test(execFileSync(program, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  } catch {
    return false;
  }
}
