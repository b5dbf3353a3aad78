// A person at a terminal: a home folder of their own, and the real command.
import { spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { cli } from "../../scripts/build.mjs";
import { approve } from "../support/browser.mjs";

const osmynt = cli();

export class Person {
  /** `login` is their name at the stand-in GitHub. Each has a folder for files, outside of every repository. */
  static async create(login) {
    return new Person(login, await mkdtemp(join(tmpdir(), `osmynt-${login}-`)));
  }

  constructor(login, folder) {
    this.login = login;
    this.folder = folder;
    this.home = join(folder, ".osmynt");
  }

  /** The same person at a machine that they never used. */
  async elsewhere() {
    return Person.create(this.login);
  }

  /** `osmynt login --json`, with the browser played, by `as` if that is somebody else: `choice` is what `approve` takes. Gives what `run` gives, and the events. */
  async signIn(service, { args = [], choice = {}, as = this.login } = {}) {
    const child = this.#spawn(osmynt, ["login", "--json", "--no-browser", "--server", service.url, "--name", `${this.login}'s laptop`, ...args]);
    child.stdin.end();
    const ended = outcome(child);
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line);
      if (event.event === "verification") await approve(event.verification_uri_complete, as, choice);
    }
    const result = await ended;
    return { ...result, events: result.out.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
  }

  /** Runs the command to its end; kills it when `killed` is resolved, or once it says `until` on standard error. Gives `{ code, out, err, bytes }`. */
  run(args, { cwd, input, env, killed, until } = {}) {
    const child = this.#spawn(osmynt, args, { cwd, env });
    child.stdin.on("error", () => {}); // it need not read to the end
    child.stdin.end(input);
    killed?.then(() => child.kill("SIGKILL"));
    if (until) child.stderr.on("data", (chunk) => until.test(String(chunk)) && child.kill("SIGKILL"));
    return outcome(child);
  }

  /** As `run`, with `--json`; it must succeed. Gives the document. */
  async json(...args) {
    const options = typeof args.at(-1) === "object" ? args.pop() : {};
    const { code, out, err } = await this.run([...args, "--json"], options);
    if (code !== 0) throw new Error(`osmynt ${args.join(" ")} ended with ${code}: ${err}`);
    return JSON.parse(out);
  }

  /**
   * As `run`, at a terminal: standard output and error together, as they would be seen. The terminal is closed once it shows `until`; once it
   * shows a question, which ends with a colon or in brackets, `answer` is typed, or what it gives as a function. `early` is typed before anything is shown. With `browser`, the page of a sign-in is confirmed there.
   */
  see(args, { cwd, env, until, early, answer, browser = false } = {}) {
    const command = [osmynt, ...args].map((argument) => `'${argument.replaceAll("'", `'\\''`)}'`).join(" ");
    const child = this.#spawn("script", ["-qec", command, "/dev/null"], { cwd, env: { TERM: "xterm-256color", ...env } });
    const ended = outcome(child);
    if (answer === undefined) child.stdin.end();
    else if (early !== undefined) child.stdin.write(early);
    let shown = "";
    let asked = false;
    child.stdout.on("data", (chunk) => {
      shown += chunk;
      if (until?.test(shown)) child.kill("SIGKILL");
      if (answer !== undefined && !asked && /(: |\] )$/.test(shown)) {
        asked = true;
        const typed = Promise.resolve(typeof answer === "function" ? answer() : answer);
        typed.then((text) => child.stdin.end(`${text}\n`)).catch((error) => child.kill("SIGKILL") && console.error(error));
      }
      const page = browser && /(http\S+\/sign-in\S+)\r\n/.exec(shown)?.[1];
      if (page) {
        browser = false;
        approve(page, this.login).catch((error) => child.kill("SIGKILL") && console.error(error));
      }
    });
    return ended;
  }

  #spawn(program, args, { cwd = this.folder, env = {} } = {}) {
    const surroundings = { PATH: process.env.PATH, HOME: this.folder, OSMYNT_HOME: this.home, OSMYNT_KEYSTORE: "file", GIT_CONFIG_GLOBAL: "/dev/null" };
    return spawn(program, args, { cwd, env: { ...surroundings, ...env } });
  }
}

/** What a terminal shows, with the lines of prose whole that it has broken. Blank lines, and lines that are indented, begin anew. */
export function unbroken(shown) {
  return shown.replace(/(?<=\S)\r\n(?=\S)/g, " ");
}

async function outcome(child) {
  const [out, err] = [[], []];
  child.stdout.on("data", (chunk) => out.push(chunk));
  child.stderr.on("data", (chunk) => err.push(chunk));
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const bytes = Buffer.concat(out);
  return { code, out: bytes.toString("utf8"), err: Buffer.concat(err).toString("utf8"), bytes };
}
