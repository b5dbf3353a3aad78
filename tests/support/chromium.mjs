// A real browser for tests: an installed Chromium, without a window and with a profile of its own. It never asks the network for anything
// but what a page asks for.
import { chromium } from "playwright-core";

import { ADVICE, findChromium } from "../../scripts/chromium.mjs";

/** Starts it. Gives a `Browser` of Playwright. */
export async function startChromium() {
  const executablePath = findChromium();
  if (executablePath === null) throw new Error(`No Chromium was found. ${ADVICE}`);
  return chromium.launch({
    executablePath,
    // Chromium refuses to run as root in its sandbox.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
