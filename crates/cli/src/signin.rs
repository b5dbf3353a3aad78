//! `login` and `whoami`.

use crate::{
    args::Login,
    client,
    failure::{Failure, Result},
    output::{Output, span, waiting},
};
use osmynt_client::{Handshake, Home, Server, Standing};
use osmynt_core::{
    limits::DEVICE_NAME_CHARS,
    text::{EXCERPT_CHARS, check_name, is_name_char, line, quoted, word},
};
use serde_json::json;
use std::process::{Command, Stdio};

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
    let (client, standing) = {
        let _progress = out.progress("Waiting for you to confirm in the browser");
        handshake.wait()?
    };

    let reset = args.reset && standing == Standing::Stranger;
    if reset {
        let _progress = out.progress("Starting your account over with this device");
        client.start_over()?;
    }
    let profile = client.profile();
    let (user, device) = (profile.user.to_string(), profile.device.to_string());
    let event = json!({"event": "signed-in", "user": user, "login": profile.login, "device": device});
    out.answer(&event, |paint| {
        let login = word(&profile.login, EXCERPT_CHARS);
        format!("Signed in as {} on {}.", paint.strong(&login), line(&profile.device_name))
    })?;
    match standing {
        Standing::Stranger if !reset => Err(stranger()),
        Standing::First | Standing::Known if args.reset => {
            out.note("nothing to reset: this device is one of your account's devices.");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn stranger() -> Failure {
    Failure::refused("your account has other devices, and this one is not among them: it can neither share nor open")
        .next(
            "Use the device that you signed in with first. If you no longer have it, start over with this one:\n\n  \
         osmynt login --reset\n\n\
         Your teams must then invite you again, and what was shared with you before cannot be opened here.",
        )
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
    let client = client()?;
    let me = {
        let _progress = out.progress("Asking the service");
        client.me()?
    };
    let server = client.profile().server.to_string();
    out.answer(
        &json!({
            "user": me.user.to_string(),
            "login": me.login,
            "name": me.name,
            "device": me.device.to_string(),
            "device_name": me.device_name,
            "active": me.active,
            "devices": me.devices,
            "server": server,
        }),
        |paint| {
            let login = word(&me.login, EXCERPT_CHARS);
            let name = me.name.as_deref().map(|name| format!(" ({})", quoted(name, EXCERPT_CHARS))).unwrap_or_default();
            let standing = if me.active { "" } else { ", which is not one of your account's devices" };
            format!("{}{name} on {}{standing}, at {server}", paint.strong(&login), line(&me.device_name))
        },
    )
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
