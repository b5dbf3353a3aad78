// How people use the pages, in a real browser: without JavaScript and mouse, after mistakes, by a stranger's link; and what becomes of HTML that
// somebody gets into one. (What each page says is the business of pages.test.mjs.)

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { startService } from "./support/harness.mjs";
import { DEVICE, startVisits } from "./support/visits.mjs";

let visits, service, browse, openStart, openGitHub, openConfirmation, cookieOf, deviceThatAsks, outcomeOf;
/** Another service. */
let other;
before(async () => {
  visits = await startVisits();
  ({ service, browse, openStart, openGitHub, openConfirmation, cookieOf, deviceThatAsks, outcomeOf } = visits);
  other = await startService();
});
after(async () => {
  for (const each of [visits, other]) await each?.dispose();
});

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
  for (const [where, go] of [["before", "openStart"], ["after", "openConfirmation"]]) {
    it(`is shown as it was written where a device is called so, ${where} GitHub`, () =>
      browse({}, async (person) => {
        for (const name of ["</bdi></dl><script>alert(1)</script>", `"'><img src=x onerror=alert(1)>`, "<style>*{display:none}</style>&amp;"]) {
          await visits[go](person, { name });
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
      await person.page.evaluate((target) => document.querySelector("form").setAttribute("action", target), `${other.url}/sign-in`);
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
