// The `osmynt` command as a program uses it: `--json` in, values out, a home folder of its own.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cli } from "../../scripts/build.mjs";
import { approve } from "../support/browser.mjs";

/** It exited with another code than 0. */
export class Exit extends Error {
  constructor(code, error) {
    super(`exit code ${code}: ${error}`);
    this.name = "Exit";
    this.code = code;
  }
}

let program;

/** One person's command on one device. */
export class Command {
  constructor(home) {
    this.home = home;
  }

  /** Signs in at `origin` as the person with this login. */
  static async signIn(login, origin) {
    const command = new Command(await mkdtemp(join(tmpdir(), `osmynt-${login}-`)));
    const args = ["login", "--server", origin, "--name", `${login}'s laptop`, "--no-browser"];
    const said = await command.run(args, ({ event, verification_uri_complete }) => {
      if (event === "verification") return approve(verification_uri_complete, login);
    });
    command.user = said.at(-1).user;
    return command;
  }

  dispose = () => rm(this.home, { recursive: true, force: true });

  createTeam = async (name) => (await this.one("team", "new", name, "--yes")).team;
  join = async (code) => (await this.one("team", "join", code)).team;
  invite = (team, { role = "member" } = {}) => this.one("team", "invite", team, "--role", role);
  show = (team) => this.one("team", "show", team);
  rotate = (team) => this.one("team", "rotate", team);
  confirm = (team, user) => this.one("team", "confirm", team, user);
  leave = (team) => this.one("team", "leave", team);
  removeMember = (team, user) => this.one("team", "remove", team, user);
  list = async (team) => (await this.one("list", "--team", team)).snippets;

  /** Shares a file of these bytes with the team, or with the members in `to`; gives the snippet's id. */
  async share(team, content, { to = null, name = "shared.rs", title } = {}) {
    const file = join(this.home, name);
    await writeFile(file, content);
    const options = [...(to ?? []).flatMap((user) => ["--to", user]), ...(title ? ["--title", title] : [])];
    return (await this.one("share", file, "--team", team, ...options)).snippet;
  }

  /** The exact bytes of a snippet. */
  async open(_team, snippet) {
    const file = join(this.home, "opened");
    await this.run(["open", snippet, "-o", file]);
    return { content: new Uint8Array(await readFile(file)) };
  }

  one = async (...args) => (await this.run(args)).at(-1);

  /** All that it says, as values, once it has ended; `hear` is given each as it comes. */
  async run(args, hear = () => {}) {
    program ??= cli();
    const env = { PATH: process.env.PATH, HOME: this.home, OSMYNT_HOME: join(this.home, "osmynt"), OSMYNT_KEYSTORE: "file" };
    const child = spawn(program, [...args, "--json"], { cwd: this.home, env, stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    const said = [];
    const hearing = [];
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(JSON.parse(line));
      hearing.push(hear(said.at(-1)));
    }
    await Promise.all(hearing);
    const code = await ended;
    if (code !== 0) throw new Exit(code, errors.trim());
    return said;
  }
}
