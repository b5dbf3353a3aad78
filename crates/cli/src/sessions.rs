//! `session …` and `logout`.

use crate::{
    args::{Logout, Revoke, Session as Command},
    client,
    failure::{Failure, Result},
    output::{Output, ago, now, table, waiting},
};
use osmynt_client::{Client, Error, Home, MySession, SignedOut};
use osmynt_core::{
    limits::DEVICE_NAME_CHARS,
    text::{line, quoted},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Does one of the session commands.
pub(crate) fn run(command: &Command, out: Output) -> Result<()> {
    match command {
        Command::List => list(out),
        Command::Revoke(args) => revoke(args, out),
    }
}

fn list(out: Output) -> Result<()> {
    let client = client(out)?;
    let sessions = {
        let _progress = out.progress("Asking the service");
        client.sessions()?
    };
    out.answer(&json!({"sessions": sessions.iter().map(described).collect::<Vec<_>>()}), |paint| {
        let now = now();
        let ids = short_ids(&sessions);
        let rows: Vec<_> = sessions
            .iter()
            .zip(ids)
            .map(|(session, id)| {
                vec![
                    id,
                    line(&session.name),
                    short(&session.device.to_string()),
                    format!("signed in {}", ago(session.created_at, now)),
                    format!("refreshed {}", ago(session.refreshed_at, now)),
                    format!("ends {}", ago(session.expires_at, now)),
                    if session.current { "this one".into() } else { String::new() },
                ]
            })
            .collect();
        table(&rows, |column, cell| match column {
            0 => paint.id(cell),
            2..=5 => paint.faint(cell),
            6 => paint.strong(cell),
            _ => cell.to_owned(),
        })
    })
}

fn revoke(args: &Revoke, out: Output) -> Result<()> {
    let client = client(out)?;
    let revoked = {
        let _progress = out.progress("Ending sign-ins");
        if args.others { client.revoke_other_sessions()? } else { client.revoke_sessions(&args.ids)? }
    };
    out.done(&json!({"revoked": revoked.iter().map(described).collect::<Vec<_>>()}), |paint| {
        if revoked.is_empty() {
            return "Nothing to end: you are signed in here only.".into();
        }
        let names: Vec<_> =
            revoked.iter().map(|session| paint.strong(&quoted(&session.name, DEVICE_NAME_CHARS))).collect();
        format!("Ended the sign-in on {}. What was read there stays there.", names.join(", "))
    })
}

/// Signs this device out.
pub(crate) fn logout(args: &Logout, out: Output) -> Result<()> {
    let home = Home::find()?;
    if !home.is_used() {
        return Err(Error::NotSignedIn.into());
    }
    let folder = line(&home.path().to_string_lossy());
    let client = match Client::open(home.clone(), waiting) {
        // Removing is the way out when what is kept here cannot be used.
        Err(error) if args.erase && !args.everywhere => {
            out.note(&format!("nobody can be signed out: {}", line(&error.to_string())));
            None
        }
        client => Some(client?),
    };
    let signed_in = client.as_ref().map_or(Ok(false), Client::is_signed_in)?;
    if !signed_in && (args.everywhere || !args.erase) {
        return Err(Error::NotSignedIn.into());
    }
    let teams = client.as_ref().map_or(Ok(0), Client::teams_with_keys)?;
    let kept = kept(teams);
    if args.erase && !args.yes {
        let question = format!(
            "This removes {kept} from {folder}. What was shared with you cannot be opened here any more, and unless you \
             have another device you must start over to come back: osmynt login --start-over\n\nRemove it? [y/N]"
        );
        confirm(out, &question, |answer| matches!(answer.to_lowercase().as_str(), "y" | "yes"))?;
    }

    let progress = out.progress("Signing out");
    let ended = client.as_ref().filter(|_| signed_in).map(|client| client.sign_out(args.everywhere)).transpose()?;
    if args.erase {
        home.erase()?;
    }
    drop(progress);

    let value = json!({
        "session": match ended {
            Some(SignedOut::Now) => "ended",
            Some(SignedOut::Before) => "was-over",
            None => "none",
        },
        "everywhere": args.everywhere,
        "erased": args.erase,
        "folder": home.path().to_string_lossy(),
        "teams_with_keys": teams,
    });
    out.done(&value, |_| {
        let ended = match ended {
            Some(SignedOut::Now) if args.everywhere => "Signed out everywhere.",
            Some(SignedOut::Now) => "Signed out.",
            Some(SignedOut::Before) => "Signed out; the service had ended the sign-in before.",
            None => "",
        };
        let left = if args.erase {
            format!("Removed {kept} from {folder}.")
        } else {
            format!(
                "Left in {folder}: {kept}. The next `osmynt login` goes on with them.\n\
                 To remove them from this machine: osmynt logout --erase"
            )
        };
        format!("{ended}\n{left}").trim_start().to_owned()
    })
}

/// Goes on only if the person at the terminal says so.
pub(crate) fn confirm(out: Output, question: &str, agreed: impl FnOnce(&str) -> bool) -> Result<()> {
    match out.ask(question)? {
        None => Err(Failure::usage("cannot ask for confirmation without a terminal").next("Use --yes if you mean it.")),
        Some(answer) if agreed(&answer) => Ok(()),
        Some(_) => Err(Failure::refused("it was not confirmed, so nothing has changed")),
    }
}

/// What a home holds.
fn kept(teams: usize) -> String {
    let teams = match teams {
        0 => String::new(),
        1 => ", the keys of 1 team".into(),
        several => format!(", the keys of {several} teams"),
    };
    format!("this device's keys{teams} and what was verified")
}

fn described(session: &MySession) -> Value {
    json!({
        "session": session.id,
        "name": session.name,
        "device": session.device.to_string(),
        "created_at": session.created_at.to_rfc3339(),
        "refreshed_at": session.refreshed_at.to_rfc3339(),
        "expires_at": session.expires_at.to_rfc3339(),
        "current": session.current,
    })
}

const SHORT: usize = 8;

/// The beginning of an id, enough to tell it from others for a person.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(SHORT).collect()
}

/// The beginnings of ids, all as long as it takes to tell them apart.
fn short_ids(sessions: &[MySession]) -> Vec<String> {
    let beginnings = |length| sessions.iter().map(move |session| session.id.chars().take(length).collect::<String>());
    let longest = sessions.iter().map(|session| session.id.len()).max().unwrap_or_default();
    let length = (SHORT..longest).find(|length| beginnings(*length).collect::<BTreeSet<_>>().len() == sessions.len());
    beginnings(length.unwrap_or(longest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_client::Time;

    fn session(id: &str) -> MySession {
        let device = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU".parse().unwrap();
        let at = Time(1);
        MySession {
            id: id.into(),
            device,
            name: "laptop".into(),
            created_at: at,
            refreshed_at: at,
            expires_at: at,
            current: false,
        }
    }

    #[test]
    fn ids_are_shortened_as_far_as_they_can_be_told_apart() {
        assert_eq!(short_ids(&[session("AAAAAAAAAAAA"), session("BBBBBBBBBBBB")]), ["AAAAAAAA", "BBBBBBBB"]);
        assert_eq!(short_ids(&[session("AAAAAAAAAACA"), session("AAAAAAAAAABA")]), ["AAAAAAAAAAC", "AAAAAAAAAAB"]);
        assert_eq!(short_ids(&[session("AAA")]), ["AAA"]);
    }

    #[test]
    fn what_is_kept_is_counted() {
        assert_eq!(kept(0), "this device's keys and what was verified");
        assert_eq!(kept(1), "this device's keys, the keys of 1 team and what was verified");
        assert_eq!(kept(2), "this device's keys, the keys of 2 teams and what was verified");
    }
}
