// `npm run dev`: the service on this machine under `wrangler dev`, with a stand-in for GitHub, until Ctrl-C. What it stores stays in .dev/
// from run to run; remove that folder to begin anew.
//
// wrangler watches the sources and rebuilds with the command in wrangler.toml.
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout } from "node:timers/promises";

import { startGitHub } from "../tests/support/github.mjs";
import { buildCli, buildWorker, cli } from "./build.mjs";
import { Failure, exitCode, isProgram, main, npmBin, path, run, say } from "./project.mjs";

const PORT = Number(process.env.PORT ?? 8787);
const ORIGIN = `http://127.0.0.1:${PORT}`;
const STATE = path(".dev");
const SECRETS = path(".dev", "secrets.env");
/** The folders with the schema of D1 and with stored images of a team. */
const SCHEMAS = ["migrations", "src/team/fixtures"];

async function dev() {
  checkSchemas(STATE, path());
  await buildWorker();
  await buildCli();

  const secrets = secretsOf();
  const github = await startGitHub({
    callback: `${ORIGIN}/sign-in/callback`,
    clientSecret: secrets.GITHUB_CLIENT_SECRET,
    port: PORT + 1,
  }).catch((error) => {
    if (error.code !== "EADDRINUSE") throw error;
    throw new Failure(`Port ${PORT + 1} is taken. Does \`npm run dev\` run already? If not, choose another: PORT=9000 npm run dev`);
  });
  try {
    say("applying database migrations");
    await run(npmBin("wrangler"), ["d1", "migrations", "apply", "DB", "--local", "--persist-to", STATE], { env: { CI: "true" } });

    const vars = { ORIGIN, GITHUB_URL: github.url, GITHUB_API_URL: github.apiUrl, GITHUB_CLIENT_ID: github.clientId };
    const options = ["--ip", "127.0.0.1", "--port", String(PORT), "--persist-to", STATE, "--env-file", SECRETS];
    const service = exitCode(npmBin("wrangler"), ["dev", "--local", ...options, ...varOptions(vars)], { env: { CI: "true" } });
    const ended = service.then(() => false);
    if (await Promise.race([ready(), ended])) console.log(welcome(github));
    process.exitCode = status(await service);
  } finally {
    await github.close();
  }
}

const welcome = (github) => `
Osmynt runs at ${ORIGIN}. In another terminal, sign in:

    ${relative(process.cwd(), cli())} login --server ${ORIGIN}

A stand-in for GitHub at ${github.url} asks who you are: ${github.people.map(({ login }) => login).join(", ")}.
A change in src or crates/core/src rebuilds the Worker; requests wait until that is done.
Ctrl-C ends it. What it stores stays in .dev/.
`;

/** Resolves to true as soon as the service answers. */
async function ready() {
  for (;;) {
    await setTimeout(200, undefined, { ref: false });
    const answer = await fetch(`${ORIGIN}/healthz`).catch(() => null);
    if (answer?.ok) return true;
  }
}

/**
 * Fails if `state` was stored with a schema that has been rewritten since, as may happen before the
 * first release. wrangler knows a migration by its name only: it would apply nothing, and requests
 * would fail with internal errors. A file that was added since is fine: it brings `state` forward.
 */
export function checkSchemas(state, root) {
  const record = join(state, "schemas.json");
  const files = SCHEMAS.flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`));
  const hash = (file) => createHash("sha256").update(readFileSync(join(root, file))).digest("hex");
  const now = Object.fromEntries(files.filter((file) => file.endsWith(".sql")).map((file) => [file, hash(file)]));
  // wrangler keeps everything in v3/. Checkouts that wrote no record have used it as well.
  if (existsSync(join(state, "v3"))) {
    if (!existsSync(record)) throw new Failure(outdated("it does not say which"));
    const before = JSON.parse(readFileSync(record, "utf8"));
    const rewritten = Object.keys(before).filter((file) => now[file] !== before[file]);
    if (rewritten.length > 0) throw new Failure(outdated(`with a different ${rewritten.join(", ")}`));
  }
  mkdirSync(state, { recursive: true });
  writeFileSync(record, `${JSON.stringify(now, null, 2)}\n`);
}

const outdated = (how) => `
The data in .dev/ was stored by another version of Osmynt (${how}), and this one cannot read it.
Remove it, and run this again:

    rm -r .dev

Its users, teams and snippets are lost. Whoever was signed in there runs \`osmynt logout --erase\`
and signs in again.`.trim();

/** The secrets of this machine's service: made once, readable by their owner only. */
function secretsOf() {
  mkdirSync(STATE, { recursive: true });
  if (!existsSync(SECRETS)) {
    const lines = ["JWT_SECRET", "GITHUB_CLIENT_SECRET"].map((name) => `${name}=${randomBytes(32).toString("base64url")}\n`);
    writeFileSync(SECRETS, lines.join(""), { mode: 0o600 });
  }
  chmodSync(SECRETS, 0o600);
  return Object.fromEntries(readFileSync(SECRETS, "utf8").split("\n").filter(Boolean).map((line) => line.split("=", 2)));
}

const varOptions = (vars) => Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}:${value}`]);

/** Ended by Ctrl-C is ended well. */
const status = (code) => (typeof code === "number" && code !== 130 ? code : 0);

if (isProgram(import.meta)) main(dev);
