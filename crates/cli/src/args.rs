//! The arguments: this file is what `--help` shows.

use clap::{Args, Parser, Subcommand, ValueEnum};
use osmynt_client::Server;
use osmynt_edits::lines::LineRange;
use std::{path::PathBuf, str::FromStr, time::Duration};

/// Share code with your team, end-to-end encrypted.
#[derive(Debug, Parser)]
#[command(
    name = "osmynt",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes:
  0  done                          4  refused, or there is no such thing
  1  something went wrong          5  did not verify: do not trust it
  2  wrong arguments               6  a conflict is left for you to resolve
  3  not signed in                 7  the service cannot be reached

Examples:
  osmynt login --server https://osmynt.example.org
  osmynt team new backend
  osmynt share src/main.rs:10-42 --team backend
  git diff | osmynt share - --team backend --title 'Fix the retry loop'"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Write JSON for programs; failures too, to standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write nothing but what was asked for and failures
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help = "Colour: auto, always or never"
    )]
    pub(crate) color: ColorWhen,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in on this device, through GitHub in your browser
    #[command(after_help = "\
The first device of an account can share and open. One that signs in later can do neither: use the
first one. If you have lost it, --start-over makes this device a new user of your account. Your
former user and its devices stay as they are, and teams must invite you again.

Examples:
  osmynt login --server https://osmynt.example.org --name 'work laptop'
  osmynt login --start-over")]
    Login(Login),
    /// Sign out on this device, or everywhere
    #[command(after_help = "\
The keys of this device and of your teams stay, so that the next `osmynt login` goes on with them.
With --erase they are removed: what was shared with you can then not be opened here any more.
If the service cannot be reached, nothing changes.

Examples:
  osmynt logout
  osmynt logout --everywhere
  osmynt logout --erase")]
    Logout(Logout),
    /// Show who is signed in, on which device and where
    #[command(after_help = "\
Example:
  osmynt whoami --json")]
    Whoami,
    /// See where you are signed in, and end sign-ins
    #[command(
        subcommand,
        after_help = "\
Example:
  osmynt session revoke --others"
    )]
    Session(Session),
    /// See what happened to your account, save all that the service holds of it, or delete it
    #[command(
        subcommand,
        after_help = "\
Example:
  osmynt account export -o my-account.json"
    )]
    Account(Account),
    /// Make, join and manage teams
    #[command(
        subcommand,
        after_help = "\
Example:
  osmynt team invite backend --uses 3 --expires 2d"
    )]
    Team(Team),
    /// Share a file, some of its lines, or what comes from standard input
    #[command(after_help = "\
A diff (a .diff or .patch file, or a diff on standard input) is shared as one: teammates can apply it.
Lines and files from a git repository remember what they replace, so that teammates can apply them too.

Examples:
  osmynt share src/main.rs:10-42 --team backend
  osmynt share notes.md --to alice --to bob --expires 7d
  git diff | osmynt share - --team backend --title 'Fix the retry loop'")]
    Share(Share),
    /// List what was shared with you and by you, newest first
    #[command(after_help = "\
Example:
  osmynt list --team backend --limit 10")]
    List(List),
    /// Show what was shared; piped or with -o, its exact bytes
    #[command(after_help = "\
Examples:
  osmynt open 3f9a61c2
  osmynt open 3f9a61c2 -o main.rs
  osmynt open saved.osmynt")]
    Open(Open),
    /// Put what was shared into your own files
    #[command(after_help = "\
Run it inside your clone of the repository. A diff is applied, lines are merged into the file that
they came from. Where your own changes are in the way, conflict markers are left in the file and the
exit code is 6. Nothing outside the repository is ever written, and nothing is staged or committed.
You are asked first if the snippet, or anything by its author, was never listed or opened here.

Examples:
  osmynt apply 3f9a61c2 --dry-run
  osmynt apply 3f9a61c2")]
    Apply(Apply),
    /// Delete something that you shared (owners and admins: anything)
    #[command(after_help = "\
Example:
  osmynt delete 3f9a61c2")]
    Delete(Delete),
    /// Save what was shared, still encrypted and signed, to open or apply later without the service
    #[command(after_help = "\
Example:
  osmynt export 3f9a61c2 -o saved.osmynt")]
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The service, if not the one of the last sign-in
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<Server>,
    /// What to call this device; its host name if not given
    #[arg(long, value_name = "DEVICE")]
    pub(crate) name: Option<String>,
    /// Only print the address, do not open a browser
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Become a new user with this device: teams must invite you again
    #[arg(long)]
    pub(crate) start_over: bool,
    /// Do not ask before starting over
    #[arg(long, requires = "start_over")]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// End all sign-ins of your account, on other devices too
    #[arg(long)]
    pub(crate) everywhere: bool,
    /// Also remove all keys and whatever else osmynt keeps on this machine for this sign-in
    #[arg(long)]
    pub(crate) erase: bool,
    /// Do not ask before removing
    #[arg(long, requires = "erase")]
    pub(crate) yes: bool,
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List the devices that are signed in, newest first
    #[command(after_help = "\
Example:
  osmynt session list --json")]
    List,
    /// End sign-ins on other devices, from their next request on
    #[command(after_help = "\
What those devices have read stays with them. To end this sign-in: osmynt logout

Examples:
  osmynt session revoke 2f181f3e
  osmynt session revoke --others")]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").args(["ids", "others"]).required(true)))]
pub(crate) struct Revoke {
    /// Which, as `osmynt session list` shows them; the beginning of an id is enough
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All but this one
    #[arg(long)]
    pub(crate) others: bool,
}

/// What to do with the account.
#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// List what happened to your account, newest first
    #[command(after_help = "\
Example:
  osmynt account events --limit 10")]
    Events {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// Save all that the service holds about you, as JSON
    #[command(after_help = "\
What was shared is in it as the service has it: sealed. It is written once all of it is there.

Examples:
  osmynt account export
  osmynt account export -o - | jq .")]
    Export {
        /// Where to save it, or - for standard output; osmynt-export.json if not given
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Ask to erase the user that you had before you started over
    #[command(after_help = "\
It is done 14 days later, unless a device of that user says no. What they shared is erased then,
and so are the teams in which nobody else is. Teams with others keep their entries in the log.
Starting over has told you the id; `osmynt whoami` on a device of that user shows it, too.
To take it back: osmynt account keep USER_ID

Example:
  osmynt account erase-former 8fJ2cWpT0oZrV1b5yQxN3sKdLmEaHuGiRtYwPzXvCqE")]
    EraseFormer {
        /// The former user's whole id
        #[arg(value_name = "USER_ID", allow_hyphen_values = true)]
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Stop the erasure of this device's user, or one that you asked for
    #[command(after_help = "\
Only somebody who is signed in to your account can have asked for it, and they can ask again. Secure
the account at GitHub, and see what they did: osmynt account events

Examples:
  osmynt account keep
  osmynt account keep 8fJ2cWpT0oZrV1b5yQxN3sKdLmEaHuGiRtYwPzXvCqE")]
    Keep {
        /// Whose erasure; your own if not given
        #[arg(value_name = "USER_ID", allow_hyphen_values = true)]
        user: Option<String>,
    },
    /// Sign the login that GitHub gave you anew, so that your teammates see it
    #[command(after_help = "\
For when you have changed your login at GitHub, and `osmynt whoami` says that the service tells of
another one than you have signed. If you have not changed it, do not sign: the service may be giving
you somebody else's. Teammates who know you are told that your name has changed, and confirm it
with `osmynt team accept-name`.

Examples:
  osmynt account sign-name
  osmynt account sign-name --yes")]
    SignName {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete your account, for good
    #[command(after_help = "\
You leave your teams first; where you are the only owner, another member becomes one. Then the
service deletes you and what you shared, and all that osmynt keeps on this machine for you is
removed. A user that you had before you started over stays; see `osmynt account erase-former`.
If it breaks off, run it again.

Examples:
  osmynt account delete
  osmynt account delete --yes")]
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(crate) enum Team {
    /// Make a team, with you as its owner
    #[command(after_help = "\
Example:
  osmynt team new backend")]
    New {
        /// What to call it; the service does not learn the name
        #[arg(value_name = "NAME")]
        name: String,
        /// Do not ask, even if you are in a team of that name
        #[arg(long)]
        yes: bool,
    },
    /// List your teams
    #[command(after_help = "\
Example:
  osmynt team list")]
    List,
    /// Show a team's members, who waits to be confirmed, and open invitations
    #[command(after_help = "\
Members are shown by the GitHub login that their own device has signed. What is odd about a name is
said beside it; name that person by their user id.

Example:
  osmynt team show backend")]
    Show(TeamName),
    /// Make a code with which others can join; list and revoke such invitations
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        disable_help_subcommand = true,
        after_help = "\
Whoever has the code can join: send it through a channel that only they can read. With --for only
that user can; `osmynt whoami` shows them their id. Somebody who was removed, or whose role was
lowered before they left, comes back only by --for.
A team that is called `list` or `revoke` is named by its id.

Examples:
  osmynt team invite backend
  osmynt team invite backend --uses 3 --expires 2d
  osmynt team invite backend --for 8fJ2cWpT0oZrV1b5yQxN3sKdLmEaHuGiRtYwPzXvCqE
  osmynt team invite list backend
  osmynt team invite revoke backend 5Xq2"
    )]
    Invite(Invite),
    /// Join a team with an invitation's code
    #[command(after_help = "\
White space inside the code does not matter, so it may come from a message that breaks it into
lines. With - the code is read from standard input, and no shell keeps it.

Examples:
  osmynt team join osmynt1aef7vi5m...
  osmynt team join - < code.txt")]
    Join {
        /// The whole code, or - to read it from standard input
        // An id pasted by mistake may begin with a hyphen, and should be refused as no code, not as an unknown option.
        #[arg(value_name = "CODE", allow_hyphen_values = true)]
        code: String,
    },
    /// Take in somebody who has asked to join
    #[command(after_help = "\
People ask where the team wants it so: see `osmynt team joining`. Make sure first, not through
osmynt, that the user id is theirs. To turn them away: osmynt team remove

Example:
  osmynt team confirm backend grace")]
    Confirm(Somebody),
    /// Remove somebody, or turn away somebody who asks to join
    #[command(after_help = "\
What is shared from now on they cannot open. The open invitations that they made or came in by are
closed, and only one that is made for them (--for) lets them in again. Other open invitations that
anybody may use are named: revoke those that they may know. Somebody who has left can be removed as
well, so that they do not come back.

Example:
  osmynt team remove backend mallory")]
    Remove(Somebody),
    /// Change what somebody may do
    #[command(after_help = "\
Lowering a role closes the open invitations that they made or came in by.

Example:
  osmynt team role backend alice admin")]
    Role {
        #[command(flatten)]
        who: Somebody,
        /// What they will be
        #[arg(value_enum)]
        role: Role,
    },
    /// Choose what it takes to join
    #[command(after_help = "\
Example:
  osmynt team joining backend confirmation")]
    Joining {
        #[command(flatten)]
        team: TeamName,
        /// What it takes
        #[arg(value_enum)]
        joining: Joining,
    },
    /// Accept that somebody's name has changed
    #[command(after_help = "\
Ask them first, not through osmynt, whether the name and the user id are theirs.

Example:
  osmynt team accept-name backend 8fJ2cWpT0oZrV1b5")]
    AcceptName {
        #[command(flatten)]
        team: TeamName,
        /// Their user id, or its first 16 characters or more
        #[arg(value_name = "USER_ID", allow_hyphen_values = true)]
        user: String,
    },
    /// Give a team another name
    #[command(after_help = "\
Example:
  osmynt team rename backend platform")]
    Rename {
        #[command(flatten)]
        team: TeamName,
        /// The new name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Replace the team's key now; it also happens by itself whenever it must
    #[command(after_help = "\
Example:
  osmynt team rotate backend")]
    Rotate(TeamName),
    /// Leave a team, or no longer ask to join it
    #[command(after_help = "\
Example:
  osmynt team leave backend")]
    Leave(TeamName),
    /// Delete a team with all that is in it, for everybody
    #[command(after_help = "\
Only an owner can. What members have opened or saved stays with them.

Examples:
  osmynt team delete backend
  osmynt team delete backend --yes")]
    Delete {
        #[command(flatten)]
        team: TeamName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take a team that the service no longer lists off your list
    #[command(after_help = "\
Its keys stay on this machine: what was exported from it can still be opened.

Example:
  osmynt team forget backend")]
    Forget(TeamName),
}

/// `team invite`: makes an invitation unless a subcommand says otherwise.
#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(subcommand)]
    pub(crate) command: Option<Invitations>,
    /// The team: its name, or its id or the first 4 characters of it or more
    // Always there when there is no subcommand.
    #[arg(value_name = "TEAM", allow_hyphen_values = true, required = true)]
    pub(crate) team: Option<String>,
    /// What the invited will be
    #[arg(long, value_enum, default_value = "member")]
    pub(crate) role: Role,
    /// How many people can use it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) uses: u32,
    /// How long it can be used, at most 30d: a number and m, h, d or w
    #[arg(long, value_name = "TIME", default_value = "3d")]
    pub(crate) expires: Lifetime,
    /// Who alone can use it, by user id: whole, or 16 characters or more if they are or were in the team
    #[arg(long = "for", value_name = "USER_ID", allow_hyphen_values = true, conflicts_with = "uses")]
    pub(crate) user: Option<String>,
}

/// What to do with invitations that there are.
#[derive(Debug, Subcommand)]
pub(crate) enum Invitations {
    /// List a team's open invitations
    #[command(after_help = "\
Example:
  osmynt team invite list backend")]
    List(TeamName),
    /// Close an open invitation: nobody joins by it any more
    #[command(after_help = "\
Example:
  osmynt team invite revoke backend 5Xq2")]
    Revoke {
        #[command(flatten)]
        team: TeamName,
        /// Which, as `osmynt team show` shows it; the beginning of an id is enough
        #[arg(value_name = "ID", allow_hyphen_values = true)]
        invite: String,
    },
}

/// Somebody in a team.
#[derive(Debug, Args)]
pub(crate) struct Somebody {
    #[command(flatten)]
    pub(crate) team: TeamName,
    /// Who: a GitHub login as `osmynt team show` shows it, or a user id or its first 16 characters or more
    #[arg(value_name = "PERSON", allow_hyphen_values = true)]
    pub(crate) person: String,
}

#[derive(Debug, Args)]
pub(crate) struct TeamName {
    /// The team: its name, or its id or the first 4 characters of it or more
    // One id in 64 begins with a hyphen.
    #[arg(value_name = "TEAM", allow_hyphen_values = true)]
    pub(crate) team: String,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Share and open.
    Member,
    /// Also invite, confirm, remove members and rename.
    Admin,
    /// Everything.
    Owner,
}

/// What it takes to join a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Joining {
    /// An invitation is enough.
    Invitation,
    /// An invitation, and the word of an owner or admin.
    Confirmation,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("with").args(["team", "to"]).required(true).multiple(true)))]
pub(crate) struct Share {
    /// The file, with :FROM-TO for some of its lines, or - for standard input
    #[arg(value_name = "FILE[:FROM-TO]")]
    pub(crate) what: String,
    /// Share with this team, or with --to, members of it
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) team: Option<String>,
    /// Share with this member only, a GitHub login or user id; can be repeated
    #[arg(long, value_name = "PERSON", allow_hyphen_values = true)]
    pub(crate) to: Vec<String>,
    /// What it is about
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// How long it is there: a number and m, h, d or w; for ever if not given
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Lifetime>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this team's
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) team: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Open {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Write the exact bytes to this file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only say what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask, whoever shared it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Which, as `osmynt list` shows it; the beginning or end of an id is enough
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Which, as `osmynt list` shows it; the beginning or end of an id is enough
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where to save it, or - for standard output; ID.osmynt if not given
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Which, as `osmynt list` shows it (the beginning or end of an id is enough), or a file from `osmynt export`
    #[arg(value_name = "ID|FILE")]
    pub(crate) which: String,
}

/// A length of time as people write it: `90s`, `30m`, `12h`, `7d`, `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) Duration);

impl FromStr for Lifetime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write a number and m, h, d or w, for example 12h or 7d";
        let split = text.len().checked_sub(1).ok_or(wrong)?;
        let (number, unit) = text.split_at_checked(split).ok_or(wrong)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong),
        };
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong);
        }
        let number: u64 = number.parse().map_err(|_| wrong)?;
        // A hundred years is for ever, and keeps every sum of times in range.
        match number.checked_mul(unit) {
            Some(seconds @ 1..=3_155_760_000) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err("between a second and a hundred years"),
        }
    }
}

/// What `FILE[:FROM-TO]` means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `-`
    Stdin,
    /// A file, or some of its lines.
    File(PathBuf, Option<LineRange>),
}

impl Source {
    /// Reads the argument. A file whose name really ends like a range is meant when it exists (`exists`).
    pub(crate) fn parse(text: &str, exists: impl FnOnce(&str) -> bool) -> Result<Self, &'static str> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        let whole = || Ok(Self::File(text.into(), None));
        match text.rsplit_once(':') {
            Some((file, lines))
                if !file.is_empty() && lines.starts_with(|c: char| c.is_ascii_digit()) && !exists(text) =>
            {
                Ok(Self::File(file.into(), Some(lines.parse()?)))
            }
            _ => whole(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("osmynt "), "{} has no example", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn a_teams_id_may_begin_with_a_hyphen() {
        for args in [
            &["team", "show", "-Uab", "--json"][..],
            &["team", "remove", "-q-b", "alice"],
            &["team", "remove", "backend", "-q-b_c12", "--json"],
            &["team", "role", "-Uab", "--b_c1234", "admin"],
            &["team", "accept-name", "backend", "-Uab_c12"],
            &["team", "invite", "-Uab", "--for", "-Uab_c12"],
            &["team", "invite", "revoke", "-Uab", "-q-b"],
            &["account", "keep", "-Uab_c12"],
            &["team", "join", "-3ab"],
            &["team", "join", "-"],
            &["list", "--team", "--ab"],
            &["share", "main.rs", "--team", "-Uab", "--to", "alice"],
        ] {
            assert!(Cli::try_parse_from([&["osmynt"], args].concat()).is_ok(), "{args:?}");
        }
    }

    fn invite(args: &[&str]) -> Option<Invite> {
        match Cli::try_parse_from([&["osmynt", "team", "invite"], args].concat()).ok()?.command {
            Command::Team(Team::Invite(invite)) => Some(invite),
            _ => None,
        }
    }

    #[test]
    fn an_invitation_is_made_unless_a_subcommand_says_otherwise() {
        let made = invite(&["backend"]).unwrap();
        assert_eq!((made.command.is_none(), made.team.as_deref(), made.uses), (true, Some("backend"), 1));
        assert_eq!(made.expires.0, osmynt_client::INVITATION_LIFETIME);
        let Some(Invitations::List(team)) = invite(&["list", "backend"]).unwrap().command else { panic!() };
        assert_eq!(team.team, "backend");
        assert!(matches!(invite(&["revoke", "backend", "5Xq2"]).unwrap().command, Some(Invitations::Revoke { .. })));
        for wrong in [&[][..], &["list"], &["revoke", "backend"], &["backend", "list"]] {
            assert!(invite(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn an_invitation_for_one_user_has_one_use() {
        assert_eq!(invite(&["backend", "--for", "8fJ2cWpT"]).unwrap().user.as_deref(), Some("8fJ2cWpT"));
        assert!(invite(&["backend", "--for", "8fJ2cWpT", "--uses", "2"]).is_none());
    }

    #[test]
    fn lifetimes_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(text.parse(), Ok(Lifetime(Duration::from_secs(seconds))));
        }
        for wrong in ["", "d", "7", "7y", "-1d", "+1d", "1.5h", "0d", "7 d", "99999999999999999999d", "9999999w", "7ö"]
        {
            assert!(wrong.parse::<Lifetime>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_range_after_the_last_colon_is_a_range() {
        let parse = |text| Source::parse(text, |_| false);
        assert_eq!(parse("-"), Ok(Source::Stdin));
        assert_eq!(parse("a/b.rs"), Ok(Source::File("a/b.rs".into(), None)));
        assert_eq!(parse("b.rs:3-9"), Ok(Source::File("b.rs".into(), Some(LineRange { from: 3, to: 9 }))));
        assert_eq!(parse("a:b.rs:3"), Ok(Source::File("a:b.rs".into(), Some(LineRange { from: 3, to: 3 }))));
        assert_eq!(parse(r"C:\x.rs"), Ok(Source::File(r"C:\x.rs".into(), None)));
        assert!(parse("b.rs:9-3").is_err());
        assert_eq!(Source::parse("b:12", |_| true), Ok(Source::File("b:12".into(), None)));
    }
}
