// What the Worker is made of: a border between crates is a border of trust only if nothing crosses it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

function crates(name) {
  const options = ["tree", "--locked", "--package", name, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
  const target = name === "osmynt-worker" ? ["--target", "wasm32-unknown-unknown"] : [];
  const lines = execFileSync("cargo", [...options, ...target], { encoding: "utf8" }).split("\n");
  return new Set(lines.map((line) => line.split(" ")[0]).filter(Boolean));
}

const decrypts = ["osmynt-client", "aes", "aes-gcm", "hpke", "chacha20poly1305"];

test("the Worker links no code that decrypts", () => {
  const worker = crates("osmynt-worker");
  assert.ok(worker.has("osmynt-core") && worker.has("worker"), "the list is the Worker's");
  assert.deepEqual(decrypts.filter((crate) => worker.has(crate)), []);
});

test("the Worker leaves signatures to Web Crypto", () => {
  const worker = crates("osmynt-worker");
  assert.deepEqual(["ecdsa", "rfc6979", "ring", "rsa"].filter((crate) => worker.has(crate)), []);
  assert.ok(crates("osmynt-client").has("ecdsa"), "the search for such code finds it where it is");
});

test("the search for such code finds it where it is", () => {
  const client = crates("osmynt-client");
  assert.deepEqual(["aes-gcm", "hpke"].filter((crate) => client.has(crate)), ["aes-gcm", "hpke"]);
});

test("the core does no I/O, and neither decrypts nor signs", () => {
  const core = crates("osmynt-core");
  assert.deepEqual([...decrypts, "worker", "ureq", "getrandom", "ecdsa"].filter((crate) => core.has(crate)), []);
});
