// `npm run lint`: formatting and lints of all Rust code, the Worker's also as it is compiled for the edge.
import { main, run } from "./project.mjs";

main(async () => {
  const strict = ["--", "--deny", "warnings"];
  await run("cargo", ["fmt", "--all", "--check"], { what: "cargo fmt (run `cargo fmt --all`)" });
  await run("cargo", ["clippy", "--quiet", "--workspace", "--all-targets", ...strict]);
  await run("cargo", ["clippy", "--quiet", "--package", "osmynt-worker", "--lib", "--target", "wasm32-unknown-unknown", ...strict]);
  console.log("No complaints.");
});
