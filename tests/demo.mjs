// `npm run demo`: three people share code through a service on this machine, and nobody else can read it: not the service, not whoever
// copies its disks, not a thief of tokens, not somebody who was removed from the team. Everything goes through the `osmynt` command. Nothing is faked but GitHub.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { buildCli, buildWorker, cli } from "../scripts/build.mjs";
import { Failure, main, path } from "../scripts/project.mjs";
import { proofFor } from "./client/dpop.mjs";
import { b64u } from "./client/encodings.mjs";
import { parseCode } from "./client/invitation.mjs";
import { keyPairFromScalar, makeKeyPair } from "./client/keys.mjs";
import { approve } from "./support/browser.mjs";
import { dump, needlesOf, search } from "./support/dump.mjs";
import { startService } from "./support/harness.mjs";
import { containerOf, intrude, keysOf, readTeam, secretsOf } from "./support/intruder.mjs";

const TEAM = "Moonlight Kernel Guild";
const KIB = 1024;

/** The command, asked once: finding it takes Cargo a moment. */
let osmynt;

main(async () => {
  await buildWorker();
  await buildCli();
  osmynt = cli();

  const folder = await mkdtemp(join(tmpdir(), "osmynt-demo-"));
  const service = await startService({ limits: {} });
  try {
    await story(folder, service);
  } catch (error) {
    const lines = service.log.slice(-20).join("\n");
    if (lines) console.error(`\nThe last lines of the Worker's log:\n${lines}`);
    throw error;
  } finally {
    await service.dispose();
    await rm(folder, { recursive: true, force: true });
  }
});

async function story(folder, service) {
  const began = Date.now();
  console.log(`\nA service runs at ${service.url}: the Worker that would be deployed, with D1, KV, R2 and Durable Objects on this machine.`);

  chapter("Three people sign in, each on a device of their own");
  const [ada, grace, linus] = ["ada", "grace", "linus"].map((login) => new Person(login, join(folder, login)));
  for (const person of [ada, grace, linus]) {
    await timed(`${person} runs \`osmynt login\`, goes through GitHub in a browser and confirms the code there`, () => person.login(service));
  }

  chapter(`Ada makes the team "${TEAM}" and invites two`);
  const { team } = await timed("ada makes it; its name stays between its members", () => ada.json("team", "new", TEAM));
  // One use more than is needed: what is left of it is no way back for who is removed.
  const { code } = await ada.json("team", "invite", TEAM, "--uses", "3");
  tell("ada has a code to send to both, and one more can use it; it goes to no browser, and the service never sees it");
  for (const person of [grace, linus]) await timed(`${person} joins with it; that makes a new team key for everybody`, () => person.json("team", "join", code));
  const before = await ada.json("team", "show", TEAM);
  check(before.members.length === 3, "all three are members");

  chapter("They share, open, and compare byte for byte");
  const sent = [];
  const source = await readFile(path("src", "lib.rs"));
  sent.push(await shareAndCompare("a source file of this repository", ada, [grace, linus], source, {
    what: path("src", "lib.rs"),
    title: "How the service begins",
  }));

  const [from, to] = [12, 48];
  const ranged = (await readFile(path("docs", "protocol.md"), "utf8")).split(/(?<=\n)/).slice(from - 1, to).join("");
  sent.push(await shareAndCompare(`lines ${from} to ${to} of another`, grace, [ada, linus], Buffer.from(ranged), {
    what: `${path("docs", "protocol.md")}:${from}-${to}`,
    title: "The encodings we agreed on",
  }));

  const random = randomBytes(2 * KIB * KIB);
  await writeFile(join(folder, "telescope-readings.bin"), random);
  sent.push(await shareAndCompare("2 MiB of random bytes", linus, [ada, grace], random, {
    what: join(folder, "telescope-readings.bin"),
    title: "Readings of last night",
  }));

  chapter("A diff travels from one clone of a repository to another");
  sent.push(await diffTravels(folder, ada, grace));

  chapter("A message to one is not for the other");
  const secret = Buffer.from("The rehearsal is on the ninth floor at a quarter past six.\nTell nobody before.\n");
  await writeFile(join(folder, "rehearsal.txt"), secret);
  const direct = await timed("ada shares a file with grace alone", () =>
    ada.json("share", join(folder, "rehearsal.txt"), "--team", TEAM, "--to", "grace", "--title", "For your eyes, Grace"),
  );
  sent.push({ content: secret, title: "For your eyes, Grace", name: "rehearsal.txt" });
  check((await grace.open(direct.snippet)).equals(secret), "grace opens it: the same bytes");
  check((await listed(grace)).includes(direct.snippet), "grace's list has it");
  check(!(await listed(linus)).includes(direct.snippet), "linus's list does not");
  await refused(linus, ["open", direct.snippet], "and it does not open for linus");

  chapter("A thief gets hold of grace's tokens");
  await theft(service, grace);

  chapter("Linus is removed");
  const saved = join(folder, "saved-while-a-member.osmynt");
  await linus.json("export", sent[0].snippet, "-o", saved);
  const { closed } = await timed("ada removes linus", () => ada.json("team", "remove", TEAM, "linus"));
  const after = await ada.json("team", "show", TEAM);
  check(after.members.length === 2, "two members are left");
  check(after.epoch === before.epoch + 1, `the team has a new key: epoch ${after.epoch} after ${before.epoch}`);

  const later = Buffer.from("fn after_the_farewell() -> &'static str {\n    \"the new door code is hyacinth\"\n}\n");
  await writeFile(join(folder, "door_code.rs"), later);
  const farewell = await ada.json("share", join(folder, "door_code.rs"), "--team", TEAM, "--title", "The new door code");
  sent.push({ content: later, title: "The new door code", name: "door_code.rs" });
  check((await grace.open(farewell.snippet)).equals(later), "what ada shares now, grace opens");
  await refused(linus, ["open", farewell.snippet], "linus cannot fetch it");
  await refused(linus, ["list", "--team", team], "nor list what the team has");
  check(closed.length === 1, "the invitation that he came in by had a use left, and was closed with his removal");
  await refused(linus, ["team", "join", code], "so he does not come back by its code");
  const open = await ada.json("team", "invite", TEAM, "--uses", "2");
  await refused(linus, ["team", "join", open.code], "nor by the code of a new one that is for anybody");
  await ada.json("team", "invite", "revoke", TEAM, open.invite);

  chapter("Linus gets hold of everything that the service has stored");
  const stores = await dump(service);
  const bytes = stores.parts.reduce((sum, part) => sum + part.bytes.length, 0);
  tell(`a copy of D1, KV, R2, the Durable Objects and the Worker's log: ${(bytes / KIB / KIB).toFixed(1)} MiB`);
  await intrusion(folder, stores, { before, after, farewell, direct, earlier: sent[0], grace, linus, saved });

  chapter("The copy is searched for what the service must not know");
  const needles = [
    { name: `the team's name, ${TEAM}`, bytes: Buffer.from(TEAM) },
    ...sent.map(({ title }) => ({ name: `the title ${title}`, bytes: Buffer.from(title) })),
    ...sent.map(({ name }) => ({ name: `the path ${name}`, bytes: Buffer.from(name) })),
    ...sent.flatMap(({ content, name }) => needlesOf(name, content)),
    { name: "the invitation's code", bytes: Buffer.from(code) },
    { name: "the invitation's key", bytes: Buffer.from((await parseCode(code)).key) },
  ];
  const known = search(stores, ["https://avatars.invalid/u/1002"]);
  check(known.length > 0, `a control: the address of grace's picture, which the service does hold, is found (in ${storesOf(known)})`);
  const hits = await timed(`looking for ${needles.length} pieces of contents, titles, paths and names, in plain, hexadecimal, base64 and more`, () => search(stores, needles));
  check(hits.length === 0, "none is there", hits.map(({ name, form, where }) => `${name}, ${form}, in ${where}`).join("\n"));

  console.log(`\nEverything worked, in ${seconds(Date.now() - began)}.`);
}

/** One shares a file, the others open it. */
async function shareAndCompare(what, author, readers, content, { what: argument, title }) {
  const { snippet } = await timed(`${author} shares ${what}`, () => author.json("share", argument, "--team", TEAM, "--title", title));
  for (const reader of readers) {
    const opened = await timed(`${reader} opens it`, () => reader.open(snippet));
    check(opened.equals(content), `the same ${content.length.toLocaleString("en")} bytes`);
  }
  return { snippet, content, title, name: argument.replace(/:\d+-\d+$/, "").split("/").slice(-2).join("/") };
}

/** Ada changes a file of a repository and shares the diff; Grace applies it to her clone. */
async function diffTravels(folder, ada, grace) {
  const [origin, clone] = [join(folder, "ada-orrery"), join(folder, "grace-orrery")];
  const file = join("engine", "gravity_well.rs");
  const old = Array.from({ length: 30 }, (_, line) => `fn orbit_${line}() -> u64 { ${line * 7} }\n`).join("");
  await mkdir(join(origin, "engine"), { recursive: true });
  await writeFile(join(origin, file), old);
  await git(origin, "init", "--quiet");
  await git(origin, "add", ".");
  await git(origin, "commit", "--quiet", "--message", "Begin");
  await git(folder, "clone", "--quiet", origin, clone);

  const changed = old.replace("fn orbit_11() -> u64 { 77 }", "fn orbit_11() -> u64 { perihelion_of_the_comet() }");
  await writeFile(join(origin, file), changed);
  const diff = await git(origin, "diff");
  const title = "Let the comet come closer";
  const { snippet } = await timed("ada changes a file and runs `git diff | osmynt share -`", () =>
    ada.json("share", "-", "--team", TEAM, "--title", title, { cwd: origin, input: diff }),
  );
  check((await grace.open(snippet)).equals(diff), "grace opens it: the same bytes");
  await timed("grace runs `osmynt apply` in her clone", () => grace.json("apply", snippet, { cwd: clone }));
  check((await readFile(join(clone, file), "utf8")) === changed, "grace's file has become ada's");
  return { snippet, content: diff, title, name: "engine/gravity_well.rs" };
}

/** Somebody who has the tokens of a person's sign-in, but not the key of the device that they were given to. */
async function theft(service, victim) {
  const { session, device } = await secretsOf(victim.osmyntHome);
  const url = `${service.url}/v1/teams`;
  const token = session.access_token;
  const ask = async (headers) => (await fetch(url, { headers })).status;
  check((await ask({ Authorization: `Bearer ${token}` })) === 401, "the access token alone is refused");
  const proof = { method: "GET", url, token };
  const own = await proofFor({ ...proof, key: await makeKeyPair("ECDSA") });
  check((await ask({ Authorization: `DPoP ${token}`, DPoP: own })) === 401, "so is the token with a proof by the thief's own key");
  const hers = await proofFor({ ...proof, key: await keyPairFromScalar("ECDSA", b64u.decode(device.signer, 32)) });
  check((await ask({ Authorization: `DPoP ${token}`, DPoP: hers })) === 200, `a control: a proof by the key of ${victim}'s device is taken`);
  check((await ask({ Authorization: `DPoP ${token}`, DPoP: hers })) === 401, "once: the very same request is refused the second time");
}

/** Everything that somebody who was removed can try with the disks of the service and the keys of their own device. */
async function intrusion(folder, stores, { before, after, farewell, direct, earlier, grace, linus, saved }) {
  const stored = readTeam(stores);
  const events = stored.entries.map(({ payload, receivedAt }) => ({ ...payload.event, receivedAt }));
  const removal = events.findIndex(({ type }) => type === "member.removed");
  const next = events[removal + 1];
  check(next?.type === "key.rotated" && next.epoch === after.epoch, "next to his removal the team's log has the new key");
  check(next.receivedAt === events[removal].receivedAt, "and both arrived at once, in one commit");

  const keys = await keysOf(linus.osmyntHome);
  const mine = stored.envelopes.filter(({ device }) => device === keys.device).map(({ epoch }) => epoch);
  check(Math.max(...mine) === before.epoch, `team keys are sealed to his device up to epoch ${before.epoch}, and none for epoch ${after.epoch}`);

  const his = await timed("linus tries every key that he has on everything that is there", () => intrude(stored, keys));
  check(his.epochs.has(before.epoch), "he gets the keys of the time when he was a member");
  check(Buffer.from(his.read.get(earlier.snippet)?.content ?? []).equals(earlier.content), "and reads again what was sent to him then");
  check(!his.epochs.has(after.epoch), "he does not get the key of the new epoch");
  check(!his.read.has(farewell.snippet), "he cannot read what came after his removal");
  check(!his.read.has(direct.snippet), "nor the message to grace");
  const hers = await intrude(stored, await keysOf(grace.osmyntHome));
  check(hers.read.has(farewell.snippet) && hers.read.has(direct.snippet), "a control: grace, doing the same, reads both");

  // The same with the command, on files put together from the disks.
  const files = {};
  for (const [name, snippet] of Object.entries({ farewell: farewell.snippet, direct: direct.snippet, earlier: earlier.snippet })) {
    files[name] = join(folder, `${name}-from-the-disks.osmynt`);
    await writeFile(files[name], containerOf(stored.snippets.find(({ payload }) => payload.snippet === snippet)));
  }
  check((await linus.open(saved)).equals(earlier.content), "`osmynt open` still opens for linus what he saved as a member");
  check((await linus.open(files.earlier)).equals(earlier.content), "and the same file put together from the disks");
  await refused(linus, ["open", files.farewell], "but not what came after his removal");
  await refused(linus, ["open", files.direct], "nor the message to grace");
}

/** A person at a computer: a home folder with keys, and the command. */
class Person {
  constructor(name, home) {
    this.name = name;
    this.home = home;
    this.osmyntHome = join(home, "osmynt");
  }

  toString() {
    return this.name;
  }

  /** Runs `osmynt login` and plays the browser. */
  async login(service) {
    const child = this.#start(["--json", "login", "--server", service.url, "--no-browser", "--name", `${this}'s laptop`]);
    const ended = finished(child);
    let signedIn = false;
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        const { event, ...about } = JSON.parse(line);
        signedIn ||= event === "signed-in";
        if (event !== "verification") continue;
        const page = await approve(about.verification_uri_complete, this.name);
        if (page.status !== 200) throw new Failure(`The browser of ${this} ended on a page that says: ${page.text}`);
      }
    } finally {
      child.kill();
    }
    const { code, stderr } = await ended;
    if (code !== 0 || !signedIn) throw new Failure(`${this} could not sign in (${code}): ${stderr}`);
  }

  /** Runs the command, which must succeed; gives what it says as JSON. */
  async json(...args) {
    const options = typeof args.at(-1) === "object" ? args.pop() : {};
    const { code, stdout, stderr } = await this.run(["--json", ...args], options);
    if (code !== 0) throw new Failure(`${this}: osmynt ${args.join(" ")} ended with ${code}:\n${stderr}`);
    return JSON.parse(stdout);
  }

  /** The bytes of a snippet, or of a saved one. */
  async open(which) {
    const file = join(this.home, "..", `opened-by-${this}`);
    await rm(file, { force: true });
    await this.json("open", which, "-o", file);
    return readFile(file);
  }

  /** Runs the command to its end, whatever that is. */
  async run(args, { cwd, input } = {}) {
    const child = this.#start(args, cwd);
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    return finished(child);
  }

  #start(args, cwd = path()) {
    const env = { PATH: process.env.PATH, HOME: this.home, OSMYNT_HOME: this.osmyntHome, OSMYNT_KEYSTORE: "file", NO_COLOR: "1" };
    return spawn(osmynt, args, { cwd, env });
  }
}

/** In which stores something was found, by their names. */
const storesOf = (hits) => [...new Set(hits.map(({ where }) => where.split("/")[0].toUpperCase()))].join(", ");

async function listed(person) {
  const { snippets } = await person.json("list", "--team", TEAM);
  return snippets.map(({ snippet }) => snippet);
}

/**
 * The command must fail, and for a reason: not by a crash, and not because the service is away. 4 is a refusal, 5 a failed verification. What
 * was saved to a file is also refused with 2 when it is from a part of the log that this home has never been allowed to read.
 */
async function refused(person, args, what, codes = [4, 5]) {
  const { code, stderr } = await person.run(args);
  check(codes.includes(code), what, `osmynt ${args.join(" ")} ended with ${code}:\n${stderr}`);
}

async function git(cwd, ...args) {
  const identity = ["-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "init.defaultBranch=main"];
  const child = spawn("git", [...identity, ...args], { cwd, env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" } });
  const { code, stdout, stderr } = await finished(child);
  if (code !== 0) throw new Failure(`git ${args.join(" ")} ended with ${code}:\n${stderr}`);
  return stdout;
}

/** What a program wrote, once it has ended. */
function finished(child) {
  const out = [];
  const err = [];
  child.stdout.on("data", (chunk) => out.push(chunk));
  child.stderr.on("data", (chunk) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? signal, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }));
  });
}

// What is printed.

let number = 0;
const chapter = (title) => console.log(`\n${(number += 1)}. ${title}`);
const tell = (line) => console.log(`   ${line}`);
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

async function timed(line, work) {
  const began = Date.now();
  const result = await work();
  tell(`${line} (${seconds(Date.now() - began)})`);
  return result;
}

function check(holds, claim, details = "") {
  if (!holds) throw new Failure(`This did not hold: ${claim}${details && `\n${details}`}`);
  tell(`✓ ${claim}`);
}
