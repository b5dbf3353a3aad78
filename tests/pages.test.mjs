// The pages that people see, in a real browser: what each says to eyes and ears, by keyboard, in light and dark, on a narrow screen and with large
// letters. (How people use them is the business of visits.test.mjs, what a step of the sign-in stores and refuses that of sign-in.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import axe from "axe-core";
import { SignJWT, decodeJwt, decodeProtectedHeader } from "jose";

import { Client } from "./client/client.mjs";
import { utf8 } from "./client/encodings.mjs";
import { approve } from "./support/browser.mjs";
import { person } from "./support/github.mjs";
import { startService } from "./support/harness.mjs";
import { startVisits } from "./support/visits.mjs";

const JWT_SECRET = "a secret of the tests, long enough for HMAC-SHA256";
const now = () => Math.floor(Date.now() / 1000);

let visits, service, browse, openGitHub, openStart, openConfirmation, cookieOf;
/** Its database has lost a table. */
let broken;
/** Lets one request through. */
let limited;
before(async () => {
  const people = [person(5001, "ada", "Ada"), person(5002, "grace", "Grace"), person(5003, "l".repeat(39), "W".repeat(100)), person(5004, "hedy", "Hedy")];
  visits = await startVisits({ people, vars: { JWT_SECRET } });
  ({ service, browse, openGitHub, openStart, openConfirmation, cookieOf } = visits);
  broken = await startService({ people });
  await (await broken.mf.getD1Database("DB")).exec("DROP TABLE handshakes");
  limited = await startService({ limits: { ADDRESS_LIMIT: 1 } });
});
after(async () => {
  for (const each of [visits, broken, limited]) await each?.dispose();
});

/** Keys of Hedy's: of `desk`, which is in her log, and of `lost`, which she revoked. Nobody else here has a user. */
let hedys;
async function devicesOfHedy() {
  if (hedys === undefined) {
    const signIn = (name) =>
      Client.signIn({ origin: service.url, name, approve: ({ verification_uri_complete }) => approve(verification_uri_complete, "hedy") });
    const [desk, lost] = [await signIn("desk"), await signIn("lost")];
    await desk.addDevice(await lost.describe());
    await desk.revokeDevice(lost.device.id);
    hedys = { desk: desk.device, lost: lost.device };
  }
  return hedys;
}
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
  "joining a team": {
    go: ({ open }) => open(`${service.url}/join`),
    status: 200,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Join a team" [level=1]
        - paragraph:
          - text: "An invitation to a team is a code: a long line of letters and digits that begins with"
          - code: osmynt1
          - text: . Keep it to yourself, as whoever has it can use it.
        - paragraph: "To accept it, run this in a terminal, with the whole code in the place of CODE:"
        - code: osmynt team join CODE
        - paragraph: Never paste it into a web page. This page does not need it and has no field for it.
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
  "the decision about a new device of somebody who has others": {
    go: async (person) => {
      await devicesOfHedy();
      return openConfirmation(person, { as: "Hedy (hedy)" });
    },
    status: 200,
    stops: ["Approve", "Refuse"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Is this your device?" [level=1]
        - paragraph: "It asks to be signed in to your account. It is a new device, so that opens nothing yet: one of your other devices must add it first."
        - paragraph: If you have none of them any more, you can start over on it. That makes you a new user, who is in no team and can open nothing of before; the teams and snippets of the former user stay as they are.
        - term: You
        - definition: Hedy (hedy)
        - term: Device
        - definition: Ada's laptop
        - term: Code
        - definition: CODE
        - paragraph: "Approve only if you started this yourself and your device shows this code. If somebody sent you the link or the code, refuse: they would be signed in as you."
        - button "Approve"
        - button "Refuse"
    `,
  },
  "the decision about a device that is in its user's log": {
    go: async (person) => openConfirmation(person, { as: "Hedy (hedy)", key: (await devicesOfHedy()).desk }),
    status: 200,
    stops: ["Approve", "Refuse"],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Is this your device?" [level=1]
        - paragraph: It asks to be signed in as you, and will be able to act for you.
        - term: You
        - definition: Hedy (hedy)
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
    go: async (person) => openConfirmation(person, { as: "Hedy (hedy)", key: (await devicesOfHedy()).lost }).then(() => person.press("Approve")),
    status: 403,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph:
          - text: This device was revoked, for good. To use it as a new device of yours, run
          - code: osmynt logout --erase
          - text: there, then sign in again.
    `,
  },
  "the device belongs to somebody else": {
    go: async (person) => openConfirmation(person, { key: (await devicesOfHedy()).desk }).then(() => person.press("Approve")),
    status: 403,
    stops: [],
    tree: `
      - banner: Osmynt
      - main:
        - heading "Nobody was signed in" [level=1]
        - paragraph:
          - text: "This device belongs to another user: one with another GitHub account, or one who was deleted. To use it as a new device of yours, run"
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
