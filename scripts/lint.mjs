// `npm run lint`: formatting and lints of all Rust code, the Worker's and what editors use also as compiled to WebAssembly.
import { main, run } from "./project.mjs";

main(async () => {
  const strict = ["--", "--deny", "warnings"];
  await run("cargo", ["fmt", "--all", "--check"], { what: "cargo fmt (run `cargo fmt --all`)" });
  await run("cargo", ["clippy", "--quiet", "--workspace", "--all-targets", ...strict]);
  await run("cargo", ["clippy", "--quiet", "--package", "osmynt-worker", "--package", "osmynt-edits", "--lib", "--target", "wasm32-unknown-unknown", ...strict]);
  console.log("No complaints.");
});
