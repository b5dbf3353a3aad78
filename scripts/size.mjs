// Prints the size of the built Worker as Cloudflare counts it, compressed, and fails when it has grown out of hand.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

import { Failure, main, path } from "./project.mjs";

const MOST_KB = 610;

main(() => {
  const files = ["index.js", "index_bg.wasm"].map((name) => readFileSync(path("build", name)));
  const kb = (bytes) => Math.ceil(bytes / 1000);
  const raw = kb(files.reduce((sum, file) => sum + file.length, 0));
  const compressed = kb(files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0));
  console.log(`The Worker has ${raw} kB, ${compressed} kB compressed (at most ${MOST_KB}).`);
  if (compressed > MOST_KB) throw new Failure(`The Worker is over ${MOST_KB} kB. What did it begin to link?`);
});
