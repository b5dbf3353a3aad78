// A running service for tests: the built Worker in workerd, with the bindings of wrangler.toml, real D1, KV, R2 and Durable Object
// storage in a folder of its own, and a stand-in for GitHub beside it. Each call of `startService` is a service apart.
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Log, LogLevel, Miniflare } from "miniflare";
import { Agent, setGlobalDispatcher } from "undici";
import { unstable_getMiniflareWorkerOptions as workerOptions, unstable_splitSqlQuery as statements } from "wrangler";

import { path } from "../../scripts/project.mjs";
import { startGitHub } from "./github.mjs";

// workerd closes a connection that was idle for some seconds. `fetch` would keep it about as long, and now and then send a request on one that is
// just being closed.
setGlobalDispatcher(new Agent({ keepAliveTimeout: 500, keepAliveMaxTimeout: 500 }));

const NONE_TO_SPEAK_OF = { ADDRESS_LIMIT: 1_000_000, DEVICE_LIMIT: 1_000_000 };

/**
 * Starts a service.
 *
 * - `people`: who has an account at the stand-in GitHub, as in github.mjs
 * - `persist`: the folder for its state; a temporary one, removed at the end, when absent
 * - `vars`: variables that differ from those of a usual run
 * - `limits`: limits of rate that differ from those of wrangler.toml: `{ DEVICE_LIMIT: 5 }`, by the names of their bindings. When absent, none
 *   that a test could meet: all of a test's people have one address, and sign in faster than people do
 * - `entry`: the text of a module that stands before the built Worker and imports it from "./index.js"; none when absent
 *
 * Gives `url`, `github`, `mf` (Miniflare, for its bindings), `persist`, `log` (all that the Worker wrote, as an array of lines), `restart`
 * (which keeps what is stored and forgets what is in memory, and takes variables that differ from then on) and `dispose`. JWT_SECRET and the GitHub secret are new for each service.
 */
export async function startService({ people, persist, vars = {}, limits = NONE_TO_SPEAK_OF, entry } = {}) {
  if (!existsSync(path("build", "index.js"))) {
    throw new Error("The Worker is not built. `npm test` builds it; `npm run build` builds it alone.");
  }
  const folder = persist ?? (await mkdtemp(join(tmpdir(), "osmynt-service-")));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const github = await startGitHub({ people, callback: `${vars.ORIGIN ?? url}/sign-in/callback` });
  const log = new Lines();

  const { workerOptions: options } = workerOptions(path("wrangler.toml"));
  const all = {
    ...options,
    name: "osmynt",
    ...script(entry),
    bindings: {
      ...options.bindings,
      ORIGIN: url,
      GITHUB_URL: github.url,
      GITHUB_API_URL: github.apiUrl,
      GITHUB_CLIENT_ID: github.clientId,
      GITHUB_CLIENT_SECRET: github.clientSecret,
      JWT_SECRET: randomBytes(32).toString("base64url"),
      ...vars,
    },
    host: "127.0.0.1",
    port,
    defaultPersistRoot: folder,
    log: new CapturedLog(log),
    handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => log.follow(stream)),
    // Neither a look-up of this machine's place in the world, nor a line for each request that the Worker did not write.
    cf: false,
    logRequests: false,
  };
  const service = {
    url,
    github,
    mf: null,
    persist: folder,
    log: log.lines,
    restart: (vars = {}) => service.mf.setOptions({ ...all, bindings: { ...all.bindings, ...vars } }),
    async dispose() {
      await service.mf?.dispose();
      await github.close();
      if (!persist) await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    for (const [name, limit] of Object.entries(limits)) {
      const usual = all.ratelimits?.[name];
      if (!usual) throw new Error(`wrangler.toml has no limit ${name}`);
      all.ratelimits = { ...all.ratelimits, [name]: { ...usual, simple: { ...usual.simple, limit } } };
    }
    service.mf = new Miniflare(all);
    await service.mf.ready;
    await migrate(await service.mf.getD1Database("DB"));
  } catch (error) {
    await service.dispose();
    throw error;
  }
  return service;
}

/** The built Worker, or `entry` in front of it. */
function script(entry) {
  const files = { rootPath: path("build"), modulesRoot: path("build") };
  if (entry === undefined) return { ...files, modules: true, scriptPath: path("build", "index.js") };
  const modules = [
    { type: "ESModule", path: path("build", "entry.mjs"), contents: entry },
    { type: "ESModule", path: path("build", "index.js") },
    { type: "CompiledWasm", path: path("build", "index_bg.wasm") },
  ];
  return { ...files, modules };
}

/** Applies the migrations that wrangler would apply, in the same order and split in the same way. */
async function migrate(database) {
  const folder = path("migrations");
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort()) {
    const sql = await readFile(join(folder, file), "utf8");
    await database.batch(statements(sql).map((statement) => database.prepare(statement)));
  }
}

/** A port that was free a moment ago. The service must know its own origin before it starts. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Complete lines, from streams and from calls. */
class Lines {
  lines = [];

  follow(stream) {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop();
      this.lines.push(...parts);
    });
    stream.on("end", () => rest && this.lines.push(rest));
  }
}

/** Miniflare's own messages, a failing Worker's among them, kept instead of printed. */
class CapturedLog extends Log {
  #lines;

  constructor(lines) {
    super(LogLevel.INFO);
    this.#lines = lines;
  }

  log(message) {
    this.#lines.lines.push(...message.split("\n"));
  }
}
