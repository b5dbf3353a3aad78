//! `login` and `whoami`.

use crate::{
    account::{day, erasure_of, pending, warn},
    args::Login,
    failure::{Failure, Result},
    output::{Output, Paint, counted, span, table, waiting},
    sessions::confirm,
    teams::{role_word, shortened},
};
use osmynt_client::{
    Client, GitHubName, Handshake, Home, Me, OtherTeam, OtherUser, Role, Server, Standing, UnsignedName,
};
use osmynt_core::{
    limits::DEVICE_NAME_CHARS,
    text::{EXCERPT_CHARS, check_name, is_name_char, line, quoted, word},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    process::{Command, Stdio},
};

/// Signs this device in.
pub(crate) fn login(args: &Login, out: Output) -> Result<()> {
    let home = Home::find()?;
    let before = home.profile()?;
    let server: Server =
        args.server.clone().or_else(|| before.as_ref().map(|profile| profile.server.clone())).ok_or_else(|| {
            Failure::usage("it is not known which service to sign in to")
                .next("Name it: osmynt login --server https://osmynt.example.org")
        })?;
    let name = args.name.clone().or_else(|| before.map(|profile| profile.device_name)).unwrap_or_else(host_name);

    let handshake = {
        let _progress = out.progress("Starting the sign-in");
        Handshake::start(&home, &server, &name, waiting)?
    };
    show(&handshake, out)?;
    if !args.no_browser && out.terminal {
        open_in_browser(&handshake.verification_uri_complete);
    }
    let (mut client, standing) = {
        let _progress = out.progress("Waiting for you to confirm in the browser");
        handshake.wait()?
    };

    if !out.json {
        let profile = client.profile();
        out.answer(&Value::Null, |paint| {
            format!(
                "Signed in as {} on {}.",
                paint.strong(&word(&profile.login, EXCERPT_CHARS)),
                line(&profile.device_name)
            )
        })?;
    }
    let stands = stand(&mut client, &standing, args, out);
    if out.json {
        // One event, once it is known who speaks from this device.
        let profile = client.profile();
        let event = json!({
            "event": "signed-in",
            "user": profile.user.map(|user| user.to_string()),
            "account": profile.account.to_string(),
            "login": profile.login,
            "device": profile.device.to_string(),
        });
        out.answer(&event, |_| String::new())?;
    }
    stands?;
    warn(&client, out)
}

/// Starts over if this device needs it and the person wants it.
fn stand(client: &mut Client, standing: &Standing, args: &Login, out: Output) -> Result<()> {
    match standing {
        Standing::Stranger(other) if args.start_over => start_over(client, other, args.yes, out),
        Standing::Stranger(other) => Err(stranger(other)),
        Standing::First | Standing::Known { .. } => {
            if let Standing::Known { unsigned: Some(unsigned) } = standing {
                out.note(&other_name(unsigned));
            }
            if args.start_over {
                out.note("nothing to start over: this device is one of your account's devices.");
            }
            Ok(())
        }
    }
}

/// What a device is told that is in no log. Starting over is spoken of only where no other device can help.
fn stranger(other: &OtherUser) -> Failure {
    if other.devices > 0 {
        return Failure::refused(
            "this device can neither share nor open: your account has another one, and so far only one device can",
        )
        .next("Use the device that you signed in with first.");
    }
    Failure::refused("no device of your account is active any more, and this one can neither share nor open").next(
        "Start over with this one:\n\n  osmynt login --start-over\n\n\
         It tells you first what that means for your teams.",
    )
}

fn start_over(client: &mut Client, other: &OtherUser, yes: bool, out: Output) -> Result<()> {
    if !yes {
        let login = word(&client.profile().login, EXCERPT_CHARS);
        let question = format!("\n{}\nType your login, {login}, to start over:", explained(other));
        confirm(out, &question, |answer| answer.eq_ignore_ascii_case(&login))?;
    }
    let user = {
        let _progress = out.progress("Starting over with this device");
        client.start_over()?
    };
    if out.json {
        return Ok(());
    }
    out.done(&Value::Null, |_| {
        format!(
            "Started over: you are user {user} now. Tell your teammates, who must invite you again.\n\
             If you want what you leave behind erased: osmynt account erase-former {}",
            other.user
        )
    })
}

/// What starting over leaves behind, as the service tells.
fn explained(other: &OtherUser) -> String {
    let devices = match other.devices {
        0 => "no active device".to_owned(),
        1 => "1 active device, which goes on as it is".into(),
        several => format!("{several} active devices, which go on as they are"),
    };
    let mut text = format!(
        "Starting over makes this device a new user of your account.\n\n\
         Your former user {} stays, with {devices}. \
         Nothing is deleted on any machine. What was shared before cannot be opened on this device.\n",
        other.user
    );
    if !other.teams.is_empty() {
        text.push_str("\nThe new user is in none of your teams, unless they invite you again:\n\n");
        let row = |team: &OtherTeam| {
            let role = team.role.map_or("waiting", role_word).to_owned();
            vec![format!("  team {}", shortened(&team.team)), role, left_behind(team, other.devices).into()]
        };
        text.push_str(&table(&other.teams.iter().map(row).collect::<Vec<_>>(), |_, cell| cell.to_owned()));
    }
    text
}

/// What becomes of a team when one of its members starts over, who has so many active devices.
const fn left_behind(team: &OtherTeam, devices: u64) -> &'static str {
    match (team.role, devices) {
        (None, _) => "goes on without you: you were not confirmed yet",
        (Some(_), 0) if team.others == 0 => "nobody else is in it: nobody can use it any more",
        (Some(_), _) if team.others == 0 => "nobody else is in it: only your other devices can use it",
        (Some(Role::Owner), 0) if !team.other_owner => "you are its only owner: it will have no owner that can act",
        (Some(Role::Owner), _) if !team.other_owner => "you are its only owner: only your other devices can act as one",
        (Some(_), _) => "goes on without you",
    }
}

/// Shows what the person needs for the browser.
fn show(handshake: &Handshake, out: Output) -> Result<()> {
    let seconds = handshake.expires_in.as_secs();
    out.answer(
        &json!({
            "event": "verification",
            "user_code": handshake.user_code,
            "verification_uri": handshake.verification_uri,
            "verification_uri_complete": handshake.verification_uri_complete,
            "expires_in": seconds,
        }),
        |paint| {
            format!(
                "To sign in, open this page within {}:\n\n  {}\n\nand confirm that it shows the code {}.\n",
                span(seconds),
                paint.strong(&line(&handshake.verification_uri_complete)),
                paint.id(&line(&handshake.user_code)),
            )
        },
    )
}

/// Shows who is signed in.
pub(crate) fn whoami(out: Output) -> Result<()> {
    // Asks for all that other commands warn of.
    let client = Client::open(Home::find()?, waiting)?;
    let me = {
        let _progress = out.progress("Asking the service");
        client.me()?
    };
    if let Some(erasure) = me.erasures.iter().find(|erasure| Some(erasure.user) == me.user) {
        out.note(&pending(erasure));
    }
    if let Some(unsigned) = &me.unsigned {
        out.note(&other_name(unsigned));
    }
    let server = client.profile().server.to_string();
    let value = json!({
        "account": me.account.to_string(),
        "user": me.user.map(|user| user.to_string()),
        "login": me.signed_login,
        "service_login": me.login,
        "name": me.name,
        "device": me.device.to_string(),
        "device_name": me.device_name,
        "active": me.active,
        "devices": me.devices,
        "server": server,
        "erasures": me.erasures.iter().map(erasure_of).collect::<Vec<_>>(),
    });
    out.answer(&value, |paint| about(&me, &server, paint))
}

fn about(me: &Me, server: &str, paint: Paint) -> String {
    let name = me.name.as_deref().map(|name| format!(" ({})", quoted(name, EXCERPT_CHARS))).unwrap_or_default();
    let login = match &me.signed_login {
        Some(login) => paint.strong(&word(login, EXCERPT_CHARS)),
        None => format!("{}, as the service says,", word(&me.login, EXCERPT_CHARS)),
    };
    let mut text = format!("{login}{name} on {}, at {server}\n", line(&me.device_name));
    if let Some(user) = me.user {
        let these = counted(u64::try_from(me.devices).unwrap_or(u64::MAX), "active device");
        let _ = writeln!(text, "user {}, with {these}", paint.id(&user.to_string()));
    } else {
        let instead = match &me.other {
            Some(other) if other.devices > 0 => {
                "use the one that you signed in with first. So far, one device of an account can share and open."
            }
            _ => "start over with it: osmynt login --start-over",
        };
        let _ = writeln!(text, "{}", paint.warning(&format!("This device can neither share nor open: {instead}")));
    }
    for erasure in me.erasures.iter().filter(|erasure| Some(erasure.user) != me.user) {
        let _ = writeln!(
            text,
            "user {} of your account will be erased on {}; to stop that: osmynt account keep {0}",
            erasure.user,
            day(erasure.due_at)
        );
    }
    text
}

/// The note that the service says another name than was signed.
fn other_name(unsigned: &UnsignedName) -> String {
    let same_account = unsigned.signed.as_ref().is_none_or(|signed| signed.id == unsigned.said.id);
    match called(unsigned) {
        (said, Some(signed)) if same_account => format!(
            "the service says that GitHub calls you {said} now, and you have signed {signed}. If you have changed your \
             login at GitHub: osmynt account sign-name. Otherwise ask whoever runs the service"
        ),
        // A changed login keeps the number, so this is no reason to sign anything.
        (said, Some(signed)) => format!(
            "the service says that GitHub calls you {said}, and you have signed {signed}, which is another account at \
             GitHub. Ask whoever runs the service"
        ),
        (said, None) => format!(
            "the service says that GitHub calls you {said}, and shows no login that you have signed. If this one is \
             yours: osmynt account sign-name. Otherwise ask whoever runs the service"
        ),
    }
}

/// What the service says, and what was signed: with GitHub's numbers of the accounts if these differ.
pub(crate) fn called(unsigned: &UnsignedName) -> (String, Option<String>) {
    let UnsignedName { said, signed } = unsigned;
    let numbers = signed.as_ref().is_some_and(|signed| signed.id != said.id);
    let shown = |name: &GitHubName| {
        let login = quoted(&name.login, EXCERPT_CHARS);
        if numbers { format!("{login} (account {})", name.id) } else { login }
    };
    (shown(said), signed.as_ref().map(shown))
}

/// What this machine calls itself, as a device's name.
fn host_name() -> String {
    device_name(&gethostname::gethostname().to_string_lossy())
}

/// A host's name, with `-` for what may not be in a device's.
fn device_name(host: &str) -> String {
    let allowed = |c: char| if is_name_char(c) && c != ' ' { c } else { '-' };
    let name: String = host.trim().chars().map(allowed).take(DEVICE_NAME_CHARS).collect();
    let says_something = name.chars().any(char::is_alphanumeric) && check_name(&name, DEVICE_NAME_CHARS).is_ok();
    if says_something { name } else { "device".into() }
}

/// Opens an address in the person's browser. It was shown as well, so nothing is said when that fails.
fn open_in_browser(address: &str) {
    // The service sent it: nothing but a web address reaches the programs below, which would open files and start
    // programs as well.
    let web = address.starts_with("https://") || address.starts_with("http://");
    if !web || !address.chars().all(|c| c.is_ascii_graphic()) {
        return;
    }
    let graphical = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        // Not `start`, for which `&` in the address would begin another command.
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else if graphical {
        ("xdg-open", &[])
    } else {
        // It would start a browser for terminals in this one.
        return;
    };
    let _ = Command::new(program)
        .args(arguments)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    fn team(role: Option<Role>, others: u64, other_owner: bool) -> OtherTeam {
        OtherTeam { team: ID.parse().unwrap(), role, others, other_owner }
    }

    fn other(devices: u64, teams: Vec<OtherTeam>) -> OtherUser {
        OtherUser { user: ID.parse().unwrap(), devices, teams }
    }

    #[test]
    fn starting_over_is_spoken_of_only_where_no_other_device_can_help() {
        let told = |devices| stranger(&other(devices, Vec::new())).next.unwrap();
        assert!(told(0).contains("--start-over"));
        for devices in [1, 2] {
            assert!(!told(devices).contains("start"), "{}", told(devices));
        }
    }

    #[test]
    fn another_name_than_the_signed_one_is_told_with_what_to_do() {
        let name = |id, login: &str| GitHubName { id, login: login.to_owned() };
        let said = |signed| other_name(&UnsignedName { said: name(1, "new"), signed });
        assert_eq!(
            said(Some(name(1, "old"))),
            "the service says that GitHub calls you \"new\" now, and you have signed \"old\". If you have changed your \
             login at GitHub: osmynt account sign-name. Otherwise ask whoever runs the service"
        );
        let number = said(Some(name(7, "new")));
        assert!(number.contains("\"new\" (account 1)") && number.contains("\"new\" (account 7)"), "{number}");
        assert!(!number.contains("sign-name"), "{number}");
        assert!(said(None).contains("no login that you have signed"));
    }

    #[test]
    fn who_somebody_is_is_what_they_signed() {
        let me = |signed: Option<&str>| Me {
            account: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            user: None,
            login: "new".to_owned(),
            signed_login: signed.map(str::to_owned),
            unsigned: None,
            name: None,
            device: ID.parse().unwrap(),
            device_name: "laptop".to_owned(),
            active: false,
            devices: 0,
            other: None,
            erasures: Vec::new(),
        };
        let shown = |signed| about(&me(signed), "https://osmynt.example", Output::json_only().paint());
        assert!(shown(Some("old")).starts_with("old on laptop, at "));
        assert!(shown(None).starts_with("new, as the service says, on laptop, at "));
    }

    #[test]
    fn what_starting_over_means_is_said_team_by_team() {
        let owner = Some(Role::Owner);
        for (team, devices, meaning) in [
            (team(None, 2, true), 0, "not confirmed yet"),
            (team(owner, 0, false), 0, "nobody can use it"),
            (team(owner, 0, false), 1, "only your other devices can use it"),
            (team(owner, 2, false), 0, "no owner that can act"),
            (team(owner, 2, false), 1, "only your other devices can act as one"),
            (team(owner, 2, true), 0, "goes on without you"),
            (team(Some(Role::Member), 2, true), 1, "goes on without you"),
        ] {
            let role = team.role.map_or("waiting", role_word);
            let text = explained(&other(devices, vec![team]));
            assert!(text.contains(meaning) && text.contains(role) && text.contains("team 47DEQpj8"), "{text}");
        }
    }

    #[test]
    fn a_host_has_a_name_that_a_device_may_have() {
        assert_eq!(device_name("Adas-MacBook.local"), "Adas-MacBook.local");
        assert_eq!(device_name("größe"), "größe");
        assert_eq!(device_name(" ada's\u{a0}laptop\n"), "ada's-laptop");
        assert_eq!(device_name("host\u{ad}\u{202e}  x"), "host----x");
        assert_eq!(device_name(&"x".repeat(100)), "x".repeat(64));
        for none in ["", " ", "\u{3164}", "🦀"] {
            assert_eq!(device_name(none), "device", "{none:?}");
        }
    }
}
