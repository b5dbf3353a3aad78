//! `account …`.

use crate::{
    args::Account as Command,
    client,
    failure::{Failure, Result},
    output::{Output, ago, now, table, waiting},
    sessions::{confirm, short},
    signin::called,
    teams::{name_or_id, person},
};
use osmynt_client::{
    AccountEvent, AccountEventType, Client, Deletion, Departure, Erasure, Fate, Home, Profile, Time, UnsignedName,
    UserId,
};
use osmynt_core::text::{EXCERPT_CHARS, line, quoted, word};
use serde_json::{Value, json};
use std::{
    io::{self, Seek as _},
    path::{Path, PathBuf},
};

/// Does one of the account commands.
pub(crate) fn run(command: &Command, out: Output) -> Result<()> {
    match command {
        Command::Events { limit } => events(usize::try_from(*limit).unwrap_or(usize::MAX), out),
        Command::Export { output } => export(output.as_deref(), out),
        Command::EraseFormer { user, yes } => erase_former(user, *yes, out),
        Command::Keep { user } => keep(user.as_deref(), out),
        Command::SignName { yes } => sign_name(*yes, out),
        Command::Delete { yes } => delete(*yes, out),
    }
}

/// Says that somebody asked to erase this home's user, which only one of their own devices can stop.
pub(crate) fn warn(client: &Client, out: Output) -> Result<()> {
    let erasure = {
        let _progress = out.progress("Asking the service");
        client.notice()?
    };
    if let Some(erasure) = erasure {
        out.warn(&pending(&erasure));
    }
    Ok(())
}

/// The warning about it.
pub(crate) fn pending(erasure: &Erasure) -> String {
    format!(
        "somebody signed in to your account asked to erase you. On {} all that you shared is erased, and your own \
         teams. If that was not you: osmynt account keep",
        day(erasure.due_at)
    )
}

fn events(limit: usize, out: Output) -> Result<()> {
    let client = client(out)?;
    let (events, more) = {
        let _progress = out.progress("Asking the service");
        client.events(limit)?
    };
    let this = client.profile().device;
    out.answer(&json!({"events": events.iter().map(described).collect::<Vec<_>>(), "more": more}), |paint| {
        if events.is_empty() {
            return "Nothing has happened yet.".into();
        }
        let rows: Vec<_> = events
            .iter()
            .map(|event| {
                let device = event.device.map(|device| {
                    if device == this { "this device".into() } else { format!("device {}", short(&device.to_string())) }
                });
                vec![minute(event.at), ago(event.at, now()), words(event.r#type).into(), device.unwrap_or_default()]
            })
            .collect();
        let alarming: Vec<_> = events.iter().map(|event| event.r#type == AccountEventType::RefreshReused).collect();
        let alarm = words(AccountEventType::RefreshReused);
        let text = table(&rows, |column, cell| match column {
            0 | 1 | 3 => paint.faint(cell),
            _ if cell == alarm => paint.warning(cell),
            _ => cell.to_owned(),
        });
        if alarming.contains(&true) {
            format!("{text}\nSomebody else had a copy of that sign-in. Sign in anew, and look after that machine: osmynt session list")
        } else {
            text
        }
    })?;
    if more {
        out.note("there are more; see them with --limit.");
    }
    Ok(())
}

/// What happened, for a person.
const fn words(event: AccountEventType) -> &'static str {
    match event {
        AccountEventType::SignedIn => "signed in",
        AccountEventType::SignedOut => "signed out",
        AccountEventType::SessionRevoked => "sign-in ended from another device",
        AccountEventType::RefreshReused => "a copied sign-in was used, so it was ended",
        AccountEventType::DeviceAdded => "device added",
        AccountEventType::DeviceRevoked => "device removed",
        AccountEventType::StartedOver => "account started over with another user",
        AccountEventType::ErasureAsked => "erasure of a former user asked for",
        AccountEventType::ErasureWithdrawn => "erasure of a former user called off",
        AccountEventType::Erased => "former user erased",
    }
}

/// A point in time to the minute, for a person.
fn minute(time: Time) -> String {
    let text = time.to_rfc3339();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

/// A point in time to the day, for a person.
pub(crate) fn day(time: Time) -> String {
    time.to_rfc3339().split('T').next().unwrap_or_default().to_owned()
}

fn described(event: &AccountEvent) -> Value {
    json!({
        "at": event.at.to_rfc3339(),
        "type": event.r#type,
        "device": event.device.map(|device| device.to_string()),
        "session": event.session,
    })
}

fn erase_former(user: &str, yes: bool, out: Output) -> Result<()> {
    let user = user_id(user)?;
    let client = client(out)?;
    if client.profile().user == Some(user) {
        return Err(Failure::usage("that is the user of this device, not a former one")
            .next("To delete yourself: osmynt account delete"));
    }
    if !yes {
        let login = word(&client.profile().login, EXCERPT_CHARS);
        let question = format!("{}\nType your login, {login}, to ask for it:", erased(user, client.profile()));
        confirm(out, &question, |answer| answer.eq_ignore_ascii_case(&login))?;
    }
    let progress = out.progress("Asking the service");
    let erasure = client.ask_erasure(user)?;
    drop(progress);
    out.done(&erasure_of(&erasure), |_| {
        format!(
            "User {user} will be erased on {}, unless a device of theirs says no.\n\
             To take it back: osmynt account keep {user}",
            day(erasure.due_at)
        )
    })
}

/// What erasing a former user means.
fn erased(user: UserId, profile: &Profile) -> String {
    format!(
        "This asks {} to erase user {user}, if it is a former one of your account {}, 14 days from now.\n\n\
         All that they shared is deleted then, for their teammates too, and so are the teams in which nobody else is. \
         Other teams keep their entries in the log, and an admin should remove them. Each of their devices is told, and \
         can say no until then.\n",
        profile.server,
        word(&profile.login, EXCERPT_CHARS)
    )
}

fn keep(user: Option<&str>, out: Output) -> Result<()> {
    let user = user.map(user_id).transpose()?;
    // Not with the warning, which is what is being answered.
    let client = Client::open(Home::find()?, waiting)?;
    let user = user.map_or_else(|| client.user(), Ok)?;
    let progress = out.progress("Asking the service");
    client.object_to_erasure(user)?;
    drop(progress);
    out.done(&json!({"user": user.to_string(), "kept": true}), |_| {
        if client.profile().user == Some(user) {
            "You will not be erased. If somebody else is signed in to your account, secure it at GitHub, and see what they \
             did: osmynt account events"
                .into()
        } else {
            format!("User {user} will not be erased.")
        }
    })
}

fn user_id(text: &str) -> Result<UserId> {
    text.parse().map_err(|_| {
        Failure::usage(format!("{} is not a user id", quoted(text, EXCERPT_CHARS)))
            .next("Give all 43 characters of it. On a device of that user, `osmynt whoami` shows it.")
    })
}

/// An erasure for a program.
pub(crate) fn erasure_of(erasure: &Erasure) -> Value {
    json!({
        "user": erasure.user.to_string(),
        "asked_at": erasure.asked_at.to_rfc3339(),
        "due_at": erasure.due_at.to_rfc3339(),
    })
}

fn sign_name(yes: bool, out: Output) -> Result<()> {
    let mut client = client(out)?;
    // A device that is in no log has no name to sign.
    client.user()?;
    let me = {
        let _progress = out.progress("Asking the service");
        client.me()?
    };
    let Some(unsigned) = me.unsigned else {
        return out.done(&json!({"login": me.login, "before": me.signed_login, "signed": false}), |_| {
            format!("Nothing to do: you have signed {} already.", quoted(&me.login, EXCERPT_CHARS))
        });
    };
    if !yes {
        let login = word(&unsigned.said.login, EXCERPT_CHARS);
        let question = format!("{}\nType that login, {login}, to sign it:", naming(&unsigned));
        confirm(out, &question, |answer| answer.eq_ignore_ascii_case(&login))?;
    }
    {
        let _progress = out.progress("Signing the login");
        client.sign_name(&unsigned.said)?;
    }
    out.done(&json!({"login": unsigned.said.login, "before": me.signed_login, "signed": true}), |_| {
        format!(
            "Signed {}. Teammates who know you are told that your name has changed: tell them that it was you.",
            quoted(&unsigned.said.login, EXCERPT_CHARS)
        )
    })
}

/// What signing another name means.
fn naming(unsigned: &UnsignedName) -> String {
    let (said, signed) = called(unsigned);
    let before = signed.map_or_else(
        || "The service does not show what you have signed before.".to_owned(),
        |signed| format!("Until now you have signed {signed}."),
    );
    format!(
        "This signs that GitHub calls you {said}, as the service says. {before} \
         Your teammates will see you by that login. Sign it only if it is yours.\n"
    )
}

fn export(output: Option<&Path>, out: Output) -> Result<()> {
    let client = client(out)?;
    let file = output.unwrap_or(Path::new("osmynt-export.json"));
    let progress = out.progress("Fetching all that the service holds about you");
    if file == Path::new("-") {
        // Nobody can take back what went to standard output, so it comes when all of it is there.
        let mut whole = tempfile::tempfile().map_err(Failure::io("cannot make a temporary file"))?;
        client.export_account(&whole)?;
        whole.rewind().map_err(Failure::io("cannot read a temporary file"))?;
        drop(progress);
        return Output::copy(&mut whole);
    }
    if file.exists() {
        return Err(in_the_way(file));
    }
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    let unwritable = || format!("cannot write {}", file.display());
    // Beside it, and for its owner alone.
    let part = tempfile::Builder::new().prefix(".osmynt-export-").tempfile_in(&folder);
    let part = part.map_err(Failure::io(unwritable()))?;
    client.export_account(part.as_file())?;
    let size = part.as_file().metadata().map(|metadata| metadata.len()).unwrap_or_default();
    part.as_file().sync_all().map_err(Failure::io(unwritable()))?;
    part.persist_noclobber(file).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => in_the_way(file),
        _ => Failure::io(unwritable())(error.error),
    })?;
    drop(progress);
    let shown = line(&file.to_string_lossy());
    out.done(&json!({"file": file.to_string_lossy(), "size": size}), |_| format!("Saved to {shown}."))
}

fn in_the_way(file: &Path) -> Failure {
    Failure::usage(format!("{} is there already", file.display())).next("Name another file with -o FILE.")
}

fn delete(yes: bool, out: Output) -> Result<()> {
    let home = Home::find()?;
    let client = client(out)?;
    let deletion = {
        let _progress = out.progress("Reading your teams");
        client.deletion()?
    };
    let gone = match deletion {
        Deletion::Ahead(departures) => {
            if !yes {
                let login = word(&client.profile().login, EXCERPT_CHARS);
                let question = format!("{}\nType your login, {login}, to delete it:", explained(&client, &departures));
                confirm(out, &question, |answer| answer.eq_ignore_ascii_case(&login))?;
            }
            let _progress = out.progress("Leaving your teams and deleting your account");
            client.delete_account(&departures)?
        }
        Deletion::Done => {
            out.note("the deletion was asked for before, and the service no longer knows this sign-in.");
            Vec::new()
        }
    };
    home.erase().map_err(|error| {
        let failure = Failure::from(error);
        failure.next("Your account is deleted. Remove what is left on this machine with: osmynt logout --erase")
    })?;
    let value = json!({"deleted": true, "teams": gone.iter().map(fate_of).collect::<Vec<_>>()});
    out.done(&value, |_| "Deleted your account, and what osmynt kept of it on this machine.".into())
}

/// What deleting the account means, team by team.
fn explained(client: &Client, departures: &[Departure]) -> String {
    let profile = client.profile();
    let login = word(&profile.login, EXCERPT_CHARS);
    let mut text = format!("This deletes your account {login} at {}, for good.\n", profile.server);
    if !departures.is_empty() {
        let rows: Vec<_> = departures
            .iter()
            .map(|departure| {
                let fate = match &departure.fate {
                    Fate::Deleted => "is deleted with all that is in it: nobody else is in it".to_owned(),
                    Fate::Left => "you leave it".into(),
                    Fate::HandedOver(heir) => format!("you leave it, and {} becomes its owner", person(heir)),
                };
                vec![String::new(), name_or_id(departure.name.as_deref(), departure.team), fate]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&rows, |_, cell| cell.to_owned()));
    }
    text.push_str(
        "\nWhat you shared is deleted, for your teammates too. Your keys and all else that osmynt keeps on this machine are \
         removed, and what was shared with you cannot be opened any more. Teams that go on keep your entries in their logs, \
         with your user id and public keys: their members could not verify them otherwise. A user that you had before you \
         started over stays, and your account with it.\n",
    );
    text
}

fn fate_of(departure: &Departure) -> Value {
    let (fate, new_owner) = match &departure.fate {
        Fate::Deleted => ("deleted", None),
        Fate::Left => ("left", None),
        Fate::HandedOver(heir) => ("handed-over", Some(heir.user.to_string())),
    };
    json!({"team": departure.team.to_string(), "name": departure.name, "fate": fate, "new_owner": new_owner})
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_client::GitHubName;

    #[test]
    fn a_time_is_told_to_the_minute_or_day() {
        assert_eq!(minute(Time(1_732_414_543)), "2024-11-24 02:15 UTC");
        assert_eq!(day(Time(1_732_414_543)), "2024-11-24");
    }

    const ID: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn an_erasure_is_announced_with_its_day_and_what_stops_it() {
        let erasure = Erasure { user: ID.parse().unwrap(), asked_at: Time(0), due_at: Time(1_732_414_543) };
        let said = pending(&erasure);
        assert!(said.contains("2024-11-24") && said.ends_with("osmynt account keep"), "{said}");
    }

    #[test]
    fn who_signs_another_name_is_asked_with_both() {
        let name = |id, login: &str| GitHubName { id, login: login.to_owned() };
        let asked = naming(&UnsignedName { said: name(1, "new"), signed: Some(name(1, "old")) });
        assert!(asked.contains("\"new\"") && asked.contains("\"old\"") && !asked.contains("account 1"), "{asked}");
        let asked = naming(&UnsignedName { said: name(2, "ada"), signed: Some(name(1, "ada")) });
        assert!(asked.contains("\"ada\" (account 2)") && asked.contains("\"ada\" (account 1)"), "{asked}");
        let asked = naming(&UnsignedName { said: name(1, "new\u{1b}[2J"), signed: None });
        assert!(asked.contains("does not show") && !asked.contains('\u{1b}'), "{asked}");
    }

    #[test]
    fn only_a_whole_user_id_says_whom_to_erase() {
        assert_eq!(user_id(ID).unwrap().to_string(), ID);
        for wrong in ["", "ada", "47DEQpj8", &format!("{ID}A")] {
            assert_eq!(user_id(wrong).unwrap_err().code, "usage", "{wrong}");
        }
    }
}
