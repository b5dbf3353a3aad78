// Runs inside the service, in front of the built Worker, when a test starts it with spy.mjs: every use that Worker and Durable Object make of
// a store, and of each other, passes here, is counted, and can be made to fail or to wait. Nothing of it is in what is deployed.

import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import BuiltWorker, { Team as BuiltTeam } from "./index.js";

/** All of the service runs in one isolate, so that this is one for Worker and objects. */
const spy = { uses: [], rules: [] };

export default class extends WorkerEntrypoint {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/spy") return new BuiltWorker(this.ctx, watched(this.env, "worker")).fetch(request);
    if (request.method === "PUT") {
      const { rules, release, uses } = await request.json();
      if (rules) spy.rules = rules.map((rule) => ({ met: 0, waiting: 0, ...rule }));
      if (release) spy.rules = spy.rules.filter(({ use, detail }) => use !== release && detail !== release);
      if (uses) spy.uses = uses;
    }
    return Response.json(spy);
  }
  scheduled(controller) {
    return new BuiltWorker(this.ctx, watched(this.env, "worker")).scheduled(controller);
  }
}

export class Team extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.built = new BuiltTeam(ctx, watched(env, "team"));
  }
  fetch(request) {
    return this.built.fetch(request);
  }
  alarm() {
    return this.built.alarm();
  }
}

/** The bindings, watched. `by` says who uses them: "worker" or "team". */
function watched(env, by) {
  const use = (of, detail, action) => pass(`${by} ${of}`, detail, action);
  const statements = new WeakMap();
  const statement = (real, sql) => {
    const proxy = standIn(real, {
      bind: (...values) => statement(real.bind(...values), sql),
      ...Object.fromEntries(["first", "all", "run", "raw"].map((name) => [name, (...args) => use("d1", sql, () => real[name](...args))])),
    });
    statements.set(proxy, { real, sql });
    return proxy;
  };
  const batch = (all) => {
    const inner = all.map((each) => statements.get(each));
    return use("d1", inner.map(({ sql }) => sql).join(";"), () => env.DB.batch(inner.map(({ real }) => real)));
  };
  // What comes first is a key, several keys, or what to list.
  const r2 = (name) => [name, (first, ...rest) => use(`r2.${name}`, JSON.stringify(first), () => env.SNIPPETS[name](first, ...rest))];
  return standIn(env, {
    DB: standIn(env.DB, { prepare: (sql) => statement(env.DB.prepare(sql), sql), batch }),
    SNIPPETS: standIn(env.SNIPPETS, Object.fromEntries(["head", "get", "put", "delete", "list"].map(r2))),
    TEAMS: standIn(env.TEAMS, {
      getByName: (name) => {
        const stub = env.TEAMS.getByName(name);
        return standIn(stub, { fetch: (request) => use("team", request.url, () => stub.fetch(request)) });
      },
    }),
  });
}

/** `real`, but for some members. Other methods run on `real` itself, as objects of the platform insist on it. */
function standIn(real, members) {
  return new Proxy(real, {
    get(target, name) {
      if (Object.hasOwn(members, name)) return members[name];
      const value = target[name];
      return typeof value === "function" && name !== "constructor" ? value.bind(target) : value;
    },
  });
}

/** Does what is asked, unless a rule is met: `{ use, detail, skip, times, before, after }`, see spy.mjs. */
async function pass(use, detail, action) {
  const rule = spy.rules.find((each) => each.use === use && detail.includes(each.detail ?? "") && each.met < (each.skip ?? 0) + (each.times ?? 1));
  if (rule) rule.met += 1;
  const applies = rule && rule.met > (rule.skip ?? 0);
  spy.uses.push(use);
  if (applies) await suffer(rule, rule.before);
  const result = await action();
  if (applies) await suffer(rule, rule.after);
  return result;
}

async function suffer(rule, what) {
  if (what === "fail") throw new Error("a failure that a test asked for");
  if (what === "wait") {
    rule.waiting += 1;
    // Whoever takes the rule away lets everybody go. A promise of another request could not be waited for here.
    while (spy.rules.includes(rule)) await scheduler.wait(5);
  }
}
