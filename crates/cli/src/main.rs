//! The `osmynt` command: reads arguments, asks the client to do it, and shows what came of it.
//!
//! One file per group of commands ([`signin`], [`sessions`], [`account`], [`teams`], [`share`], [`list`], [`open`], [`apply`]). Below them:
//! [`args`] is the interface, [`output`] and [`failure`] what the person sees, [`git`] and [`worktree`] the only
//! places that touch a repository, and what is decided about its files is `osmynt-edits`'. Keys, encryption and verification are `osmynt-client`'s.

mod account;
mod apply;
mod args;
mod failure;
mod git;
mod highlight;
mod list;
mod open;
mod output;
mod sessions;
mod share;
mod signin;
mod teams;
mod worktree;

use args::{Cli, Command};
use clap::{Parser, error::ErrorKind};
use failure::{Exit, Failure, Result};
use osmynt_client::{Client, Home};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_arguments(&error),
    };
    let out = Output::new(cli.global);
    match run(&cli.command, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(command: &Command, out: Output) -> Result<()> {
    match command {
        Command::Login(args) => signin::login(args, out),
        Command::Logout(args) => sessions::logout(args, out),
        Command::Whoami => signin::whoami(out),
        Command::Session(command) => sessions::run(command, out),
        Command::Account(command) => account::run(command, out),
        Command::Team(command) => teams::run(command, out),
        Command::Share(args) => share::run(args, out),
        Command::List(args) => list::run(args, out),
        Command::Open(args) => open::run(args, out),
        Command::Apply(args) => apply::run(args, out),
        Command::Delete(args) => list::delete(args, out),
        Command::Export(args) => list::export(args, out),
    }
}

/// The signed-in person's client. Says first what they must not miss.
fn client(out: Output) -> Result<Client> {
    let client = Client::open(Home::find()?, output::waiting)?;
    account::warn(&client, out)?;
    Ok(client)
}

/// Help and version are no failures. Others clap words well itself; a program gets JSON here as well.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let text = error.to_string();
        // `error: …`, then paragraphs with a tip, the usage, and where to read more.
        let mut paragraphs =
            text.trim().split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let next = paragraphs.next().unwrap_or_default();
        Output::json_only().failure(&Failure::usage(message.trim_start_matches("error: ").to_owned()).next(next));
        return ExitCode::from(Exit::Usage as u8);
    }
    // Standard output or error is gone: nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}
