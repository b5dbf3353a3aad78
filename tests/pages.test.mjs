// The pages that people see, in a real browser: without JavaScript, by keyboard, for ears, in light and dark, on a narrow screen and with large
// letters, and against whoever gets HTML into one. (What a step of the sign-in stores and refuses is the business of sign-in.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import axe from "axe-core";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";

import { Api } from "./client/api.mjs";
import { Client } from "./client/client.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { sign } from "./client/statements.mjs";
import { approve } from "./support/browser.mjs";
import { startChromium } from "./support/chromium.mjs";
import { person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const DEVICE = "Ada's laptop";
const now = () => Math.floor(Date.now() / 1000);

let browser;
let service;
/** Its database has lost a table. */
let broken;
/** Lets one request through. */
let limited;
before(async () => {
  const people = [person(5001, "ada", "Ada"), person(5002, "grace", "Grace"), person(5003, "l".repeat(39), "W".repeat(100))];
  browser = await startChromium();
  service = await startService({ people, vars: { JWT_SECRET } });
  broken = await startService({ people });
  await (await broken.mf.getD1Database("DB")).exec("DROP TABLE handshakes");
  limited = await startService({ limits: { ADDRESS_LIMIT: 1 } });
});
after(async () => {
  await browser?.close();
  for (const each of [service, broken, limited]) await each?.dispose();
});

// --- a device ---

/** A device that waits for a person: `{ key, verifier, started }`, where `started` is the service's answer. */
async function deviceThatAsks({ name = DEVICE, key, to = service } = {}) {
  const device = key ?? (await makeKeyPair("ECDSA"));
  const verifier = b64u.encode(randomBytes(32));
  const payload = { jwk: device.jwk, challenge: await hashOf(utf8(verifier)), name, iat: now() };
  const started = await new Api(to.url, device).handshake(await sign("osmynt-handshake+jws", payload, device));
  return { key: device, verifier, started };
}

/** What the device is told when it asks for its tokens: "signed in", or a code. */
async function outcomeOf({ key, verifier, started }) {
  return new Api(service.url, key).tokens(started.device_code, verifier).then(() => "signed in", ({ code }) => code);
}

/** A key of Ada's that she revoked. */
let revoked;
async function revokedKey() {
  if (revoked === undefined) {
    const signIn = (name) =>
      Client.signIn({ origin: service.url, name, approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "ada") });
    const [desk, lost] = [await signIn("desk"), await signIn("lost")];
    await desk.addDevice(await lost.describe());
    await desk.revokeDevice(lost.device.id);
    revoked = lost.device;
  }
  return revoked;
}

// --- a person ---

/**
 * Lets a person use a browser of their own. Fails when Chromium has a complaint about a page of the service, be it a breach of its policy or
 * a mistake in its HTML. `action` gets `{ page, open, press, complaints, requests, cdp }`; `open` and `press` give the answer that they end on.
 */
async function browse(options, action) {
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
}

/** Steps of a person, up to a page. Each gives the answer. */
async function openStart(person, options) {
  person.device = await deviceThatAsks(options);
  return person.open(person.device.started.verification_uri_complete);
}
async function openGitHub(person, options) {
  await openStart(person, options);
  return person.press("Continue with GitHub");
}
async function openConfirmation(person, { as = "Ada (ada)", ...options } = {}) {
  await openGitHub(person, options);
  return person.press(as);
}
const cookieOf = async ({ context }) => (await context.cookies()).find(({ name }) => name === "osmynt-sign-in");
const setField = ({ page }, selector, value) => page.evaluate(([selector, value]) => document.querySelector(selector).setAttribute("value", value), [selector, value]);

const PAGES = {
  "the address of the service": {
    go: ({ open }) => open(`${service.url}/`),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Share code from a terminal" [level=1]
        - paragraph: This is the address of a service through which people share code, end-to-end encrypted. It holds no key and can read nothing of what they share.
        - paragraph: "There is nothing to do here in a browser. To sign in, run in a terminal:"
        - code: osmynt login --server SERVICE
    `,
  },
  "an invitation": {
    go: ({ open }) => open(`${service.url}/join#v1.eyJ0ZWFtIjoi`),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "You are invited to a team" [level=1]
        - paragraph: "This link is an invitation to a team. Keep it to yourself: whoever has it can use it."
        - paragraph: "To accept it, copy the whole link from the address bar, with everything after the #, and run this in a terminal, with the link in the place of LINK:"
        - code: osmynt team join 'LINK'
        - paragraph: "The part after the # is a key. Your browser has not sent it to this service, and this page has not read it."
    `,
  },
  "the field for the code": {
    go: ({ open }) => open(`${service.url}/sign-in`),
    status: 200,
    stops: ["Code that your device shows", "Continue"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Sign in" [level=1]
        - text: Code that your device shows
        - paragraph: 8 letters, as in BCDF-GHJK
        - textbox "Code that your device shows"
        - button "Continue"
    `,
  },
  "the field after a text that is no code": {
    go: ({ open }) => open(`${service.url}/sign-in?code=${encodeURIComponent('"><b>hello')}`),
    status: 400,
    stops: ["Code that your device shows", "Continue"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "That is not a code" [level=1]
        - paragraph: A code has 8 letters, none of them a vowel. Look at your device and type it once more.
        - text: Code that your device shows
        - paragraph: 8 letters, as in BCDF-GHJK
        - textbox "Code that your device shows" [invalid]: "\\"><b>hello"
        - button "Continue"
    `,
  },
  "the field after a code that nobody waits with": {
    go: ({ open }) => open(`${service.url}/sign-in?code=bcdfghjk`),
    status: 404,
    stops: ["Code that your device shows", "Continue"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "No device waits with this code" [level=1]
        - paragraph: "Compare it with the one that your device shows. A code ends after 5 minutes: if yours is older, start again on your device. If it is new and right, wait a minute, then press Continue once more."
        - text: Code that your device shows
        - paragraph: 8 letters, as in BCDF-GHJK
        - textbox "Code that your device shows" [invalid]: BCDF-GHJK
        - button "Continue"
    `,
  },
  "the device that asks": {
    go: (person) => openStart(person),
    status: 200,
    stops: ["Continue with GitHub"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Sign in" [level=1]
        - paragraph: A device asks to be signed in. Go on only if you have just started this yourself, and your device shows this code.
        - term: Device
        - definition: Ada's laptop
        - term: Code
        - definition: CODE
        - paragraph: GitHub tells who you are, and nothing but what everybody can see there. Then you decide.
        - button "Continue with GitHub"
    `,
  },
  "the decision": {
    go: (person) => openConfirmation(person),
    status: 200,
    stops: ["Approve", "Refuse"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Is this your device?" [level=1]
        - paragraph: It asks to be signed in as you, and will be able to act for you.
        - term: You
        - definition: Ada (ada)
        - term: Device
        - definition: Ada's laptop
        - term: Code
        - definition: CODE
        - paragraph: "Approve only if you started this yourself and your device shows this code. If somebody sent you the link or the code, refuse: they would be signed in as you."
        - button "Approve"
        - button "Refuse"
    `,
  },
  "the decision, with the longest names": {
    go: (person) => openConfirmation(person, { name: "W".repeat(64), as: `${"W".repeat(100)} (${"l".repeat(39)})` }),
    status: 200,
    stops: ["Approve", "Refuse"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Is this your device?" [level=1]
        - paragraph: It asks to be signed in as you, and will be able to act for you.
        - term: You
        - definition: ${"W".repeat(100)} (${"l".repeat(39)})
        - term: Device
        - definition: ${"W".repeat(64)}
        - term: Code
        - definition: CODE
        - paragraph: "Approve only if you started this yourself and your device shows this code. If somebody sent you the link or the code, refuse: they would be signed in as you."
        - button "Approve"
        - button "Refuse"
    `,
  },
  "approved": {
    go: (person) => openConfirmation(person).then(() => person.press("Approve")),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Approved" [level=1]
        - paragraph: Your device is being signed in. Close this page and go back to it.
    `,
  },
  "refused": {
    go: (person) => openConfirmation(person).then(() => person.press("Refuse")),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Refused" [level=1]
        - paragraph: The device was not signed in. You can close this page.
    `,
  },
  "the end, by its bare address": {
    go: ({ open }) => open(`${service.url}/sign-in/done`),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Done" [level=1]
        - paragraph: Close this page and go back to your device.
    `,
  },
  "turned back at GitHub": {
    go: (person) => openGitHub(person).then(() => person.press("Nobody: cancel")),
    status: 403,
    stops: ["Try again"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph: You turned back at GitHub. If you did not mean to, try again; if you did, close this page.
        - paragraph:
          - link "Try again":
            - /url: /sign-in?code=CODE
    `,
  },
  "GitHub says something else": {
    go: (person) => openGitHub(person).then(() => person.open(callback(person, { error: "server_error" }))),
    status: 403,
    stops: ["Try again"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph: GitHub did not say who you are. Try again.
        - paragraph:
          - link "Try again":
            - /url: /sign-in?code=CODE
    `,
  },
  "GitHub is down": {
    go: async (person) => {
      await openGitHub(person);
      service.github.outage = true;
      return person.open(callback(person, { code: "x" })).finally(() => (service.github.outage = false));
    },
    status: 503,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Not available right now" [level=1]
        - paragraph: GitHub could not be asked who you are. Wait a moment, then open the link that your device shows once more.
    `,
  },
  "GitHub's answer was used before": {
    go: (person) => openGitHub(person).then(() => person.open(callback(person, { code: "used" }))),
    status: 410,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Too late" [level=1]
        - paragraph: GitHub's answer was used before, or is too old. Open the link that your device shows once more.
    `,
  },
  "GitHub's answer belongs to another sign-in": {
    go: (person) => openGitHub(person).then(() => person.open(callback(person, { code: "x", state: "other" }))),
    status: 400,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "This did not work" [level=1]
        - paragraph: This answer of GitHub's belongs to another sign-in. Open the link that your device shows once more.
    `,
  },
  "the cookie is lost": {
    go: (person) => openConfirmation(person).then(() => person.context.clearCookies()).then(() => person.press("Approve")),
    status: 400,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "This did not work" [level=1]
        - paragraph: "If you have just approved or refused, you are done. If not, this browser has lost its place: cookies may be off, or you began in another browser. Open the link that your device shows once more, in this one."
    `,
  },
  "the sign-in took too long": {
    go: async (person) => {
      await openConfirmation(person);
      const cookie = await cookieOf(person);
      await person.context.addCookies([{ ...cookie, value: await again(cookie.value, { exp: now() - 1 }) }]);
      return person.press("Approve");
    },
    status: 410,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Too late" [level=1]
        - paragraph: The sign-in took longer than 5 minutes. Start again on your device.
    `,
  },
  "the form is of another page": {
    go: (person) => openConfirmation(person).then(() => setField(person, "[name=form]", "forged")).then(() => person.press("Approve")),
    status: 403,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph: This page is out of date. Open the link that your device shows once more.
    `,
  },
  "the button was none of the two": {
    go: (person) => openConfirmation(person).then(() => setField(person, "[value=approve]", "maybe")).then(() => person.press("Approve")),
    status: 400,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "This did not work" [level=1]
        - paragraph: Go back and press one of the two buttons.
    `,
  },
  "somebody has decided before": {
    go: async (person) => {
      await openConfirmation(person);
      await approve(person.device.started.verification_uri_complete, "grace");
      return person.press("Approve");
    },
    status: 409,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Already decided" [level=1]
        - paragraph: "This sign-in was decided before. Look at your device: if it still waits, start again there."
    `,
  },
  "the device was revoked": {
    go: async (person) => openConfirmation(person, { key: await revokedKey() }).then(() => person.press("Approve")),
    status: 403,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph:
          - text: This device was revoked from your account, for good. To use it again, as a new one, run
          - code: osmynt logout --erase
          - text: there, then sign in again.
    `,
  },
  "there were too many requests": {
    go: async ({ open }) => {
      // A minute may end between two of them, but not between three.
      for (let count = 0; count < 2; count += 1) await open(`${limited.url}/`);
      return open(`${limited.url}/`);
    },
    status: 429,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Wait a minute" [level=1]
        - paragraph: Too many requests. Wait a minute, then go on.
    `,
  },
  "the service fails": {
    go: (person) => openConfirmation(person, { to: broken }).then(() => person.press("Approve")),
    status: 500,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "A fault of the service" [level=1]
        - paragraph: The service failed. Retry later; if it stays so, tell whoever runs the service.
    `,
  },
};

/** Where GitHub would send the person who is on its page. */
function callback({ page }, answer) {
  const state = new URL(page.url()).searchParams.get("state");
  return `${service.url}/sign-in/callback?${new URLSearchParams({ state, ...answer })}`;
}

/** A token of the service with other claims. */
const again = (token, claims) =>
  new SignJWT({ ...decodeJwt(token), ...claims }).setProtectedHeader(decodeProtectedHeader(token)).sign(utf8(JWT_SECRET));

/** What a screen reader finds. */
async function treeOf({ page, device }) {
  const tree = await page.locator("body").ariaSnapshot();
  return tree.replaceAll(device?.started.user_code ?? "CODE", "CODE").replaceAll(service.url, "SERVICE");
}

for (const [name, { go, status, stops, tree }] of Object.entries(PAGES)) {
  describe(`the page "${name}"`, () => {
    it("says what it is and what to do, to eyes and ears", () =>
      browse({}, async (person) => {
        const answer = await go(person);
        assert.equal(answer.status(), status);
        assert.match(answer.headers()["content-type"], /^text\/html/);
        assert.equal(answer.headers()["retry-after"], status === 429 ? "60" : undefined);
        assert.equal(await treeOf(person), tree.trim().replaceAll(/^ {6}/gm, ""));
        assert.equal(await person.page.title(), `${await person.page.locator("main h1").textContent()} · Osmynt`);
        assert.equal(await person.page.locator("html").getAttribute("lang"), "en");
        assert.equal(await person.page.locator("h1").count(), 1);
      }));

    it("is accessible, shows where the focus is and needs no sideways scrolling, in light and dark, however large its letters", () =>
      browse({}, async (person) => {
        const { page, cdp } = person;
        await go(person);
        for (const colorScheme of ["light", "dark"]) {
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await offences(page), [], colorScheme);
          assert.deepEqual(await tabStops(page), stops, colorScheme);
        }
        for (const letters of [16, 32]) {
          await cdp.send("Page.setFontSizes", { fontSizes: { standard: letters } });
          for (const width of [320, 1280]) {
            await page.setViewportSize({ width, height: 640 });
            const { content, ...seen } = await page.evaluate(() => ({
              letters: Number.parseFloat(getComputedStyle(document.documentElement).fontSize),
              width: document.documentElement.clientWidth,
              content: Math.max(...[...document.querySelectorAll("*")].map((element) => Math.max(element.scrollWidth, element.getBoundingClientRect().right))),
            }));
            assert.deepEqual(seen, { letters, width });
            assert.ok(content <= width, `${letters} px letters in ${width} px take ${content} px`);
          }
        }
      }));
  });
}

/** What axe finds wrong, or cannot tell to be right. */
async function offences(page) {
  await page.evaluate(axe.source);
  const { violations, incomplete, passes } = await page.evaluate(() => window.axe.run(document));
  assert.ok(passes.some(({ id }) => id === "color-contrast"), "axe has not looked at the contrast");
  return [...violations, ...incomplete].map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any.map(({ message }) => message)}`)}`);
}

/** The names of what Tab leads to, in order. Each must show that it has the focus, by an outline that stands out from the page. */
async function tabStops(page) {
  // From the top of the page, wherever the focus is.
  await page.evaluate(() => {
    const top = document.createElement("span");
    top.tabIndex = -1;
    document.body.prepend(top);
    top.focus();
    top.remove();
  });
  const stops = [];
  for (;;) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return null;
      const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
      const behind = getComputedStyle(document.body).backgroundColor;
      return { name: (element.labels?.[0] ?? element).textContent, outlineStyle, outlineWidth, outlineColor, behind };
    });
    if (focused === null || stops.includes(focused.name)) return stops;
    const { name, outlineStyle, outlineWidth, outlineColor, behind } = focused;
    assert.ok(outlineStyle === "solid" && Number.parseFloat(outlineWidth) >= 2, `${name} does not show that it has the focus`);
    assert.ok(contrast(outlineColor, behind) >= 3, `the outline of ${name}, ${outlineColor}, can hardly be told from ${behind}`);
    stops.push(name);
  }
}

/** The contrast of two colours as WCAG 2 defines it. */
function contrast(...colors) {
  const luminance = (color) => {
    const [red, green, blue] = color.match(/\d+/g).map((part) => {
      const share = Number(part) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [darker, lighter] = colors.map(luminance).sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

describe("a person without JavaScript and mouse", () => {
  const WITHOUT = { javaScriptEnabled: false };
  /** Presses Tab until this has the focus. */
  const tabTo = async ({ page }, name) => {
    const target = page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true }));
    for (let presses = 0; presses < 6; presses += 1) {
      await page.keyboard.press("Tab");
      if (await target.and(page.locator(":focus")).count()) return;
    }
    assert.fail(`Tab does not lead to ${name}`);
  };
  const enter = async (person, name) => {
    await tabTo(person, name);
    return person.key("Enter");
  };
  const heading = ({ page }) => page.getByRole("heading", { level: 1 }).textContent();

  it("signs in from the link", () =>
    browse(WITHOUT, async (person) => {
      await openStart(person);
      await enter(person, "Continue with GitHub");
      await enter(person, "Ada (ada)");
      await enter(person, "Approve");
      assert.equal(await heading(person), "Approved");
      assert.equal(await outcomeOf(person.device), "signed in");
      assert.equal(await cookieOf(person), undefined);
    }));

  it("signs in by typing the code, after a slip", () =>
    browse(WITHOUT, async (person) => {
      const { page, open, key } = person;
      const device = await deviceThatAsks();
      await open(`${service.url}/sign-in`);
      await page.keyboard.type("nonsense");
      assert.equal((await key("Enter")).status(), 400);
      // The field has the focus, and still holds what was typed.
      await page.keyboard.press("ControlOrMeta+A");
      await page.keyboard.type(device.started.user_code.toLowerCase());
      assert.equal((await key("Enter")).status(), 200);
      await enter(person, "Continue with GitHub");
      await enter(person, "Ada (ada)");
      await enter(person, "Approve");
      assert.equal(await outcomeOf(device), "signed in");
    }));

  it("hears what was wrong with the code when the field gets the focus", () =>
    browse(WITHOUT, async ({ page, open }) => {
      await open(`${service.url}/sign-in?code=nonsense`);
      const heard = await page.locator("input:focus").evaluate((field) =>
        field.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent).join(" "),
      );
      assert.match(heard, /^A code has 8 letters, none of them a vowel\..* 8 letters, as in BCDF-GHJK$/);
    }));

  it("refuses", () =>
    browse(WITHOUT, async (person) => {
      await openConfirmation(person);
      await enter(person, "Refuse");
      assert.equal(await heading(person), "Refused");
      assert.equal(await outcomeOf(person.device), "access_denied");
    }));

  it("tries again after turning back at GitHub", () =>
    browse(WITHOUT, async (person) => {
      await openGitHub(person);
      await enter(person, "Nobody: cancel");
      await enter(person, "Try again");
      await enter(person, "Continue with GitHub");
      await enter(person, "Ada (ada)");
      await enter(person, "Approve");
      assert.equal(await outcomeOf(person.device), "signed in");
    }));

  it("decides nothing by pressing Enter too early", () =>
    browse(WITHOUT, async (person) => {
      await openConfirmation(person);
      await person.page.keyboard.press("Enter");
      assert.equal(await heading(person), "Is this your device?");
      assert.equal(await outcomeOf(person.device), "authorization_pending");
    }));

  it("goes back after deciding, and is told that there is nothing more to do", () =>
    browse(WITHOUT, async (person) => {
      await openConfirmation(person);
      await person.press("Approve");
      const answer = await person.page.goBack();
      assert.equal(answer.status(), 400);
      assert.match(await person.page.locator("main").textContent(), /If you have just approved or refused, you are done/);
      assert.equal(await outcomeOf(person.device), "signed in");
    }));
});

describe("the decision", () => {
  it("names a stranger's device and its code before anybody is signed in by the stranger's link", () =>
    browse({}, async (person) => {
      const own = await deviceThatAsks();
      await openConfirmation(person, { name: "A stranger's machine" });
      const text = await person.page.locator("main").innerText();
      assert.match(text, /A stranger's machine/);
      assert.ok(text.includes(person.device.started.user_code));
      assert.ok(!text.includes(DEVICE) && !text.includes(own.started.user_code));
      assert.match(text, /If somebody sent you the link or the code, refuse/);
      assert.equal(await outcomeOf(person.device), "authorization_pending");
      await person.press("Refuse");
      assert.deepEqual([await outcomeOf(person.device), await outcomeOf(own)], ["access_denied", "authorization_pending"]);
    }));

  it("offers to refuse as readily as to approve: in one row, of one size, in sight on a phone", () =>
    browse({ viewport: { width: 360, height: 640 } }, async (person) => {
      await openConfirmation(person);
      const [approving, refusing] = await Promise.all(["Approve", "Refuse"].map((name) => person.page.getByRole("button", { name }).boundingBox()));
      assert.deepEqual([refusing.y, refusing.width, refusing.height], [approving.y, approving.width, approving.height]);
      assert.ok(refusing.height >= 44 && refusing.y + refusing.height <= 640, JSON.stringify(refusing));
    }));
});

describe("the pages together", () => {
  it("ask for nothing but themselves", () =>
    browse({}, async (person) => {
      await openConfirmation(person);
      await person.press("Approve");
      const paths = person.requests.filter((url) => url.startsWith(service.url)).map((url) => new URL(url).pathname);
      assert.deepEqual(paths, ["/sign-in", "/sign-in", "/sign-in/callback", "/sign-in/confirm", "/sign-in/confirm", "/sign-in/done"]);
      // What Chromium asks for by itself, a favicon, Playwright does not show. GitHub was asked for one; the policy forbids to ask the service.
      assert.ok(service.github.requests.some(({ path }) => path === "/favicon.ico"));
      const routes = service.log.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line).route);
      assert.ok(routes.includes("/sign-in/confirm") && !routes.includes("none"), service.log.join("\n"));
    }));
});

/** What somebody would like to have in a page. Each part leaves a trace when it takes effect. */
const HOSTILE =
  '<script>document.title = "ran"</script><style>h1 { display: none }</style><h2 style="display: none" onclick="">x</h2>' +
  `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" onload="document.title = 'ran'" onerror="document.title = 'ran'">`;

describe("HTML from a stranger", () => {
  for (const [where, go] of [["before", openStart], ["after", openConfirmation]]) {
    it(`is shown as it was written where a device is called so, ${where} GitHub`, () =>
      browse({}, async (person) => {
        for (const name of ["</bdi></dl><script>alert(1)</script>", `"'><img src=x onerror=alert(1)>`, "<style>*{display:none}</style>&amp;"]) {
          await go(person, { name });
          assert.equal(await person.page.locator("dt", { hasText: "Device" }).locator("+ dd").textContent(), name);
          assert.equal(await person.page.locator("script, img, body style").count(), 0);
        }
      }));
  }

  /** Puts HOSTILE into the page where a person decides, and says what came of it. */
  const infect = async (person) => {
    await openConfirmation(person);
    await person.page.route("**/sign-in/confirm", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: (await response.text()).replace("</main>", `${HOSTILE}</main>`) });
    });
    await person.page.reload();
    assert.equal(await person.page.locator("h2").count(), 1);
    return {
      ran: (await person.page.title()) === "ran",
      styled: !(await person.page.locator("h1").isVisible()),
      styledInline: !(await person.page.locator("h2").isVisible()),
    };
  };

  it("would be worth nothing in a page: the policy lets no script, style or picture of it take effect", () =>
    browse({}, async (person) => {
      assert.deepEqual(await infect(person), { ran: false, styled: false, styledInline: false });
      // The tests notice every breach.
      const { complaints } = person;
      for (const kind of [/inline script/, /inline style/, /inline event handler/, /data:image/]) assert.ok(complaints.some((text) => kind.test(text)), `${kind}: ${complaints.join("\n")}`);
      assert.ok(complaints.includes("ContentSecurityPolicyIssue"));
      complaints.length = 0;
    }));

  it("would take effect without the policy", () =>
    browse({ bypassCSP: true }, async (person) => {
      assert.deepEqual(await infect(person), { ran: true, styled: true, styledInline: true });
      person.complaints.length = 0;
    }));

  it("cannot send the page's form elsewhere", () =>
    browse({}, async (person) => {
      await openConfirmation(person);
      const there = person.page.url();
      await person.page.evaluate((target) => document.querySelector("form").setAttribute("action", target), `${broken.url}/sign-in`);
      const before = person.requests.length;
      await person.page.getByRole("button", { name: "Approve" }).focus();
      await Promise.all([person.page.waitForEvent("console"), person.page.keyboard.press("Enter")]);
      assert.ok(person.complaints.some((text) => /form-action/.test(text)), person.complaints.join("\n"));
      assert.deepEqual([person.page.url(), person.requests.slice(before)], [there, []]);
      person.complaints.length = 0;
    }));

  it("cannot show a page inside another", () =>
    browse({}, async (person) => {
      await person.open(`${service.github.url}/login/oauth/authorize`);
      await person.page.evaluate((address) => {
        const frame = document.createElement("iframe");
        const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
        frame.src = address;
        document.body.append(frame);
        return loaded;
      }, `${service.url}/sign-in`);
      assert.equal(await person.page.frames()[1].locator("form").count(), 0);
      assert.ok(person.complaints.some((text) => /frame-ancestors/.test(text)), person.complaints.join("\n"));
      person.complaints.length = 0;
    }));
});
