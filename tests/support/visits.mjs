// People in a real browser, on the pages of a service: how they get to each, and what goes wrong on the way.
import assert from "node:assert/strict";

import { Api } from "../client/api.mjs";
import { startChromium } from "./chromium.mjs";
import { person } from "./github.mjs";
import { startHandshake } from "./handshake.mjs";
import { startService } from "./harness.mjs";

/** What the device calls itself that asks to be signed in. */
export const DEVICE = "Ada's laptop";

/**
 * Starts a browser, and a service whose GitHub knows `people`. `vars` are those of `startService`.
 *
 * Gives `{ service, browse, openStart, openGitHub, openConfirmation, cookieOf, deviceThatAsks, outcomeOf, dispose }`. The `open…` are steps of
 * a person, up to a page: each takes what `browse` gives and the options of `deviceThatAsks`, and gives the answer.
 */
export async function startVisits({ people = [person(5001, "ada", "Ada"), person(5002, "grace", "Grace")], vars } = {}) {
  const browser = await startChromium();
  const service = await startService({ people, vars }).catch(async (error) => {
    await browser.close();
    throw error;
  });

  /** A device that waits for a person, by default on this service: as `startHandshake` gives it. */
  const deviceThatAsks = ({ to = service, ...options } = {}) => startHandshake(to.url, { name: DEVICE, ...options });

  /** What the device is told when it asks for its tokens: "signed in", or a code. */
  const outcomeOf = ({ key, verifier, started }) =>
    new Api(service.url, key).tokens(started.device_code, verifier).then(() => "signed in", ({ code }) => code);

  /**
   * Lets a person use a browser of their own. Fails when Chromium has a complaint about a page of the service, be it a breach of its policy or
   * a mistake in its HTML. `action` gets `{ page, open, press, complaints, requests, cdp }`; `open` and `press` give the answer that they end on.
   */
  const browse = async (options, action) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const complaints = [];
    const requests = [];
    try {
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      page.on("request", (request) => requests.push(request.url()));
      page.on("pageerror", (error) => complaints.push(error.message));
      // That an error page has the status of an error is no complaint.
      page.on("console", (message) => /^Failed to load resource: the server responded with a status of \d+/.test(message.text()) || complaints.push(message.text()));
      const cdp = await context.newCDPSession(page);
      cdp.on("Audits.issueAdded", ({ issue }) => complaints.push(issue.code));
      await cdp.send("Audits.enable");
      const land = async (action) => (await Promise.all([page.waitForNavigation(), action()]))[0];
      const open = (url) => page.goto(url);
      const press = (name) => land(() => page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })).click());
      const key = (name) => land(() => page.keyboard.press(name));
      await action({ context, page, open, press, key, complaints, requests, cdp });
      assert.deepEqual(complaints, []);
    } finally {
      await context.close();
    }
  };

  const openStart = async (person, options) => {
    person.device = await deviceThatAsks(options);
    return person.open(person.device.started.verification_uri_complete);
  };
  const openGitHub = async (person, options) => {
    await openStart(person, options);
    return person.press("Continue with GitHub");
  };
  const openConfirmation = async (person, { as = "Ada (ada)", ...options } = {}) => {
    await openGitHub(person, options);
    return person.press(as);
  };
  const cookieOf = async ({ context }) => (await context.cookies()).find(({ name }) => name === "osmynt-sign-in");

  const dispose = async () => {
    await browser.close();
    await service.dispose();
  };
  return { service, browse, openStart, openGitHub, openConfirmation, cookieOf, deviceThatAsks, outcomeOf, dispose };
}
