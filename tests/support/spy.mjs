// A service whose use of its stores a test can count, let fail and hold up: for what happens only when two requests meet at a certain moment,
// or when something outside breaks. The service itself is the one that is deployed.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** What to start a service with so that `spyOn` works on it: `startService({ ...(await spied()) })`. */
export const spied = async () => ({ entry: await readFile(new URL("spy-entry.mjs", import.meta.url), "utf8") });

/**
 * The spy of a service. A use is called after who makes it and of what: "worker d1", "worker r2.put", "worker team" (a request to a team's
 * object), "team d1", "team r2.head", "team r2.delete" and so on.
 */
export function spyOn(service) {
  const put = (change) => fetch(`${service.url}/spy`, { method: "PUT", body: JSON.stringify(change) });
  const state = async () => (await fetch(`${service.url}/spy`)).json();
  return {
    /** What `action` uses, sorted. */
    async usesOf(action) {
      await put({ uses: [] });
      await action();
      return (await state()).uses.sort();
    },

    /**
     * Lets rules hold while `action` runs, then none. A rule is `{ use, before, after }`: "fail" or "wait" before or after a use takes place;
     * for `times` of them (1), after the first `skip` (0), of those with `detail` in their SQL, key or address. Whoever waits goes on when
     * `action` is over, or when it calls what it is given, for all rules or those of one use or detail.
     */
    async under(rules, action) {
      await put({ rules });
      try {
        return await action((use) => put(use === undefined ? { rules: [] } : { release: use }));
      } finally {
        await put({ rules: [] });
      }
    },

    /** Resolves when so many wait, under any rule or those of one use. */
    async waiting(count = 1, of) {
      const sum = ({ rules }) => rules.reduce((all, { use, waiting }) => all + (of === undefined || use === of ? waiting : 0), 0);
      await until(async () => sum(await state()) >= count, "somebody waits");
    },
  };
}

/** Resolves when `condition` holds; fails after `seconds`. */
export async function until(condition, what, seconds = 20) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) {
    if (await condition()) return;
  }
  throw new Error(`it did not come about within ${seconds} seconds that ${what}`);
}
