//! What the command prints when it needs no service: help, wrong arguments, nobody signed in, and what goes wrong on
//! this machine.
//!
//! The transcripts are in `tests/cli/`. `TRYCMD=overwrite cargo test -p osmynt-cli --test transcripts` writes them
//! anew.

#[test]
fn the_command_prints_what_the_transcripts_show() {
    let home = tempfile::tempdir().unwrap();
    trycmd::TestCases::new()
        .env("OSMYNT_HOME", home.path().join("nobody").to_string_lossy())
        .env("OSMYNT_KEYSTORE", "file")
        .env("COLUMNS", "100")
        .case("../../tests/cli/*.trycmd");
}
