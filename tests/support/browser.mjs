// Plays a person at a browser, without JavaScript: follows redirects, keeps cookies, reads forms and presses buttons. It knows nothing of
// the service's pages beyond what a person would: there is a form, and a button that says what one wants.
import { request } from "node:http";

/**
 * Signs in: opens the address that a client shows, goes through GitHub as the person with this login, and approves the device.
 *
 * - `deny`: presses the button that refuses instead
 * - `cancel`: turns back at GitHub
 *
 * Gives the page it ended on, as `Browser.open` does: the last one, or the first that says that something is wrong.
 */
export async function approve(verificationUri, login, { deny = false, cancel = false, browser = new Browser() } = {}) {
  let page = await browser.open(verificationUri);
  // Start, GitHub, confirmation, end; a few more in case a page is put between.
  for (let step = 0; step < 8; step += 1) {
    if (page.status >= 400) return page;
    const button =
      page.button("as", cancel ? "" : login) ?? page.button("decision", deny ? "deny" : "approve") ?? page.onlyButton();
    if (!button) return page;
    page = await browser.press(page, button);
  }
  throw new Error(`the sign-in did not come to an end; the last page, ${page.url}, says:\n${page.text}`);
}

/** One browser: its cookies are shared by all its pages. */
export class Browser {
  /** As a list of `{ name, value, host, path, secure, httpOnly, sameSite, expires }`. */
  cookies = [];

  /** Opens an address and follows redirects. Gives a `Page`. */
  open(url) {
    return this.#follow("GET", new URL(url), undefined, { origin: null, formAction: null });
  }

  /** Presses a button of a page, as given by `Page.button`: sends its form. */
  press(page, { form, name, value }) {
    const fields = new URLSearchParams(form.fields);
    if (name) fields.append(name, value);
    const target = new URL(form.action, page.url);
    const from = { origin: new URL(page.url).origin, formAction: page.formAction };
    if (form.method === "POST") return this.#follow("POST", target, fields.toString(), from);
    target.search = fields.toString();
    return this.#follow("GET", target, undefined, from);
  }

  async #follow(method, url, body, { origin, formAction }) {
    for (let hops = 0; hops < 10; hops += 1) {
      // Browsers apply the page's `form-action` to the redirects of a form as well.
      if (formAction && !formAction.allows(url)) throw new Error(`the page's Content-Security-Policy forbids its form to lead to ${url.origin}`);
      const { status, headers, text } = await send(method, url, this.#headersFor(method, url, body, origin), body);
      this.#keep(url, headers["set-cookie"] ?? []);
      if (![301, 302, 303, 307, 308].includes(status)) return new Page(url, status, headers, text);
      url = new URL(headers.location, url);
      if (status <= 303) [method, body] = ["GET", undefined];
    }
    throw new Error(`too many redirects, the last to ${url}`);
  }

  #headersFor(method, url, body, origin) {
    const site = origin === null ? "none" : origin === url.origin ? "same-origin" : "same-site";
    const cookie = this.#cookiesFor(url);
    return {
      "user-agent": "Mozilla/5.0 (a robot that plays a person)",
      accept: "text/html,application/xhtml+xml",
      "sec-fetch-site": site,
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "document",
      ...(method === "POST" && { origin, "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) }),
      ...(cookie && { cookie }),
    };
  }

  /** RFC 6265 section 5.4, as far as it matters here. Cookies know no ports, so two services on one machine share them. */
  #cookiesFor(url) {
    const now = Date.now();
    return this.cookies
      .filter(({ host, path, expires }) => host === url.hostname && expires > now && (url.pathname === path || url.pathname.startsWith(path.endsWith("/") ? path : `${path}/`)))
      .map(({ name, value }) => `${name}=${value}`)
      .join("; ");
  }

  #keep(url, headers) {
    for (const header of headers) {
      const [pair, ...attributes] = header.split(";").map((part) => part.trim());
      const name = pair.slice(0, pair.indexOf("="));
      const given = new Map(attributes.map((attribute) => [attribute.split("=")[0].toLowerCase(), attribute.split("=").slice(1).join("=")]));
      const cookie = {
        name,
        value: pair.slice(pair.indexOf("=") + 1),
        host: url.hostname,
        path: given.get("path")?.startsWith("/") ? given.get("path") : url.pathname.replace(/\/[^/]*$/, "") || "/",
        secure: given.has("secure"),
        httpOnly: given.has("httponly"),
        sameSite: given.get("samesite")?.toLowerCase(),
        expires: given.has("max-age") ? Date.now() + Number(given.get("max-age")) * 1000 : given.has("expires") ? Date.parse(given.get("expires")) : Infinity,
      };
      // A browser would drop these silently, and the sign-in would fail only there.
      if (name.startsWith("__Host-") && (!cookie.secure || cookie.path !== "/" || given.has("domain"))) throw new Error(`the cookie ${name} breaks the rules of its prefix`);
      if (name.startsWith("__Secure-") && !cookie.secure) throw new Error(`the cookie ${name} breaks the rules of its prefix`);
      this.cookies = this.cookies.filter((other) => !(other.name === name && other.host === cookie.host && other.path === cookie.path));
      this.cookies.push(cookie);
    }
  }
}

/** What came at the end of the redirects. `text` is what a person reads, `html` what was sent. */
export class Page {
  constructor(url, status, headers, html) {
    this.url = url.href;
    this.status = status;
    this.headers = headers;
    this.html = html;
    this.text = decode(html.replace(/<(style|script|title)\b.*?<\/\1>/gis, "").replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ").trim();
    this.formAction = formActionOf(headers["content-security-policy"], url.origin);
    this.forms = [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(([, tag, inside]) => formOf(attributesOf(tag), inside));
  }

  /** The button with this name and value, to press; undefined when there is none. */
  button(name, value) {
    return this.#buttons().find((button) => button.name === name && button.value === value);
  }

  /** The page's only button, to press; undefined when there is none or a choice. */
  onlyButton() {
    const buttons = this.#buttons();
    return buttons.length === 1 ? buttons[0] : undefined;
  }

  #buttons() {
    return this.forms.flatMap((form) => form.buttons.map((button) => ({ ...button, form })));
  }
}

function formOf({ action = "", method = "get" }, inside) {
  const fields = [];
  const buttons = [];
  for (const [, tag] of inside.matchAll(/<input\b([^>]*)>/gi)) {
    const { type = "text", name, value = "" } = attributesOf(tag);
    if (type === "submit") buttons.push({ name, value });
    else if (name) fields.push([name, value]);
  }
  for (const [, tag] of inside.matchAll(/<button\b([^>]*)>/gi)) {
    const { type = "submit", name, value = "" } = attributesOf(tag);
    if (type === "submit") buttons.push({ name, value });
  }
  return { action, method: method.toUpperCase(), fields, buttons };
}

function attributesOf(tag) {
  const found = tag.matchAll(/([a-z][\w-]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/gi);
  return Object.fromEntries([...found].map(([, name, ...values]) => [name.toLowerCase(), decode(values.find((value) => value !== undefined) ?? "")]));
}

/** The `form-action` directive; null when the page sets none. */
function formActionOf(policy, self) {
  const directive = policy?.split(";").map((part) => part.trim().split(/\s+/)).find(([name]) => name === "form-action");
  if (!directive) return null;
  const sources = directive.slice(1).map((source) => (source === "'self'" ? self : source));
  return { allows: (url) => sources.some((source) => source === "*" || url.origin === source || url.protocol === source || url.href.startsWith(source)) };
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " " };
const decode = (text) =>
  text
    .replace(/&#x([0-9a-f]+);/gi, (_, digits) => String.fromCodePoint(Number.parseInt(digits, 16)))
    .replace(/&#(\d+);/g, (_, digits) => String.fromCodePoint(Number(digits)))
    .replace(/&(\w+);/g, (whole, name) => ENTITIES[name] ?? whole);

/** One request. Not `fetch`, which sends headers of its own where a browser would send others. */
function send(method, url, headers, body) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString("utf8") }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
