// Checks that every test that docs/claims.md names as a proof exists, and that every claim names one.
//
// A proof is written `path › name of the test`. The test exists if the file has a test of that name: in Rust a
// function with #[test] (also inside proptest!), in JavaScript a
// title that begins so.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const claims = readFileSync(new URL("docs/claims.md", root), "utf8");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

export function exists(path, name) {
  let text;
  try {
    text = readFileSync(new URL(path, root), "utf8");
  } catch {
    return false;
  }
  return path.endsWith(".rs")
    ? new RegExp(`#\\[test\\]\\s*(#\\[[^\\]]*\\]\\s*)*fn ${escaped(name)}\\(`).test(text)
    : text.includes(`"${name}`) || text.includes(`\`${name}`);
}

function check() {
  const problems = [];
  let proofs = 0;
  for (const section of claims.split(/^### /m).slice(1)) {
    const [title] = section.split("\n", 1);
    const named = [...section.matchAll(/^- `([^`›]+) › ([^`]+)`/gm)];
    if (named.length === 0 && !section.includes("**Not claimed.**")) problems.push(`"${title}" names no test`);
    for (const [, path, name] of named) {
      proofs += 1;
      if (!exists(path.trim(), name.trim())) problems.push(`"${title}" names a test that does not exist: ${path} › ${name}`);
    }
  }
  if (proofs === 0) problems.push("docs/claims.md names no test at all");
  for (const problem of problems) console.error(`claims: ${problem}`);
  if (problems.length > 0) process.exit(1);
  console.log(`claims: ${proofs} proofs, all of them there`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) check();
