//! The key store and the home: what is on disk, who can read it, and what several processes do to it at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "tests")]

mod support;

use std::fs;
use std::path::PathBuf;

use osmynt_client::vault::{KnownName, Session, Vault};
use osmynt_client::{Error, Server, TeamId, Time};
use osmynt_core::{Bytes, Hash};

use support::home::Folder;

fn session(token: &str) -> Session {
    Session {
        access_token: token.to_owned(),
        access_ends: Time(1),
        refresh_token: "refresh".to_owned(),
        refresh_ends: Time(2),
        idempotency_key: None,
        deleting: false,
    }
}

#[test]
fn secrets_survive_and_stand_nowhere_in_the_clear() {
    let folder = Folder::new("survive");
    let vault = Vault::open(&folder.home()).unwrap();
    vault
        .update(|secrets| {
            secrets.session = Some(session("a-very-secret-token"));
            Ok(())
        })
        .unwrap();
    let again = Vault::open(&folder.home()).unwrap();
    assert_eq!(again.read().unwrap().session.as_ref().unwrap().access_token, "a-very-secret-token");
    for entry in fs::read_dir(&folder.0).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "a secret stands on the disk");
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_what_is_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("modes");
    Vault::open(&folder.home()).unwrap();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    for entry in fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[cfg(unix)]
#[test]
fn what_others_can_read_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    for (name, mode) in [("vault.key", 0o644), ("vault", 0o640), ("", 0o750)] {
        let folder = Folder::new(&format!("shared{name}"));
        Vault::open(&folder.home()).unwrap();
        fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
        let refused = Vault::open(&folder.home()).unwrap_err();
        assert!(matches!(refused, Error::Home { .. }) && refused.to_string().contains("chmod"), "{refused}");
    }
}

#[test]
fn a_changed_vault_does_not_open() {
    let folder = Folder::new("changed");
    Vault::open(&folder.home()).unwrap();
    let right = folder.read("vault");
    for at in [0, 20, 35, right.len() - 1] {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        fs::write(folder.0.join("vault"), &wrong).unwrap();
        assert!(matches!(Vault::open(&folder.home()), Err(Error::Home { .. })), "byte {at}");
    }
    fs::write(folder.0.join("vault"), &right[..30]).unwrap();
    assert!(Vault::open(&folder.home()).is_err(), "cut short");
    fs::write(folder.0.join("vault"), &right).unwrap();
    assert!(Vault::open(&folder.home()).is_ok());
}

#[test]
fn a_vault_without_its_key_is_kept_and_not_replaced() {
    let folder = Folder::new("keyless");
    Vault::open(&folder.home()).unwrap();
    let vault = folder.read("vault");
    fs::remove_file(folder.0.join("vault.key")).unwrap();
    let refused = Vault::open(&folder.home()).unwrap_err();
    assert!(refused.to_string().contains("missing"), "{refused}");
    assert_eq!(folder.read("vault"), vault);
}

/// A change of these texts needs a migration of every vault.
#[test]
fn a_session_looks_as_it_always_did_and_more_while_something_is_under_way() {
    let kept = r#"{"access_token":"access","access_ends":1,"refresh_token":"refresh","refresh_ends":2}"#;
    assert_eq!(serde_json::to_string(&session("access")).unwrap(), kept);
    let mut read: Session = serde_json::from_str(kept).unwrap();
    assert!(read.idempotency_key.is_none() && !read.deleting);
    read.idempotency_key = Some(Bytes([7; 16]));
    read.deleting = true;
    let busy = kept.replace('}', r#","idempotency_key":"BwcHBwcHBwcHBwcHBwcHBw","deleting":true}"#);
    assert_eq!(serde_json::to_string(&read).unwrap(), busy);
    assert_eq!(serde_json::from_str::<Session>(&busy).unwrap().idempotency_key, read.idempotency_key);
}

#[test]
fn what_is_erased_is_gone_and_what_is_somebody_elses_stays() {
    let folder = Folder::new("erased");
    Vault::open(&folder.home()).unwrap();
    fs::create_dir_all(folder.0.join("teams")).unwrap();
    fs::write(folder.0.join("teams/x.json"), "{}").unwrap();
    fs::write(folder.0.join("notes"), "mine").unwrap();
    assert!(folder.home().is_used());
    folder.home().erase().unwrap();
    assert!(!folder.home().is_used());
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);

    fs::remove_file(folder.0.join("notes")).unwrap();
    // What cannot be used any more is erased all the same.
    Vault::open(&folder.home()).unwrap();
    fs::remove_file(folder.0.join("vault.key")).unwrap();
    folder.home().erase().unwrap();
    assert!(!folder.0.exists());
    folder.home().erase().unwrap();
}

#[test]
fn a_failed_change_changes_nothing() {
    let folder = Folder::new("failed");
    let vault = Vault::open(&folder.home()).unwrap();
    let failed: Result<(), Error> = vault.update(|secrets| {
        secrets.session = Some(session("token"));
        Err(Error::NotSignedIn)
    });
    assert!(failed.is_err());
    assert!(vault.read().unwrap().session.is_none());
}

#[test]
fn processes_that_change_one_vault_at_once_lose_nothing_of_each_other() {
    const WRITERS: u8 = 4;
    const CHANGES: u8 = 10;
    let folder = Folder::new("race");
    Vault::open(&folder.home()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let home = folder.home();
            scope.spawn(move || {
                // Each opens the vault for itself, as a process would.
                let vault = Vault::open(&home).unwrap();
                for change in 0..CHANGES {
                    let team = TeamId(Hash::of(&[writer, change]));
                    vault
                        .update(|secrets| {
                            let name = KnownName { name: "n".to_owned(), seq: 0, vouched: true };
                            secrets.teams.entry(team).or_default().name = Some(name);
                            Ok(())
                        })
                        .unwrap();
                }
            });
        }
    });
    let kept = Vault::open(&folder.home()).unwrap().read().unwrap().teams.len();
    assert_eq!(kept, usize::from(WRITERS * CHANGES));
    let strays = fs::read_dir(&folder.0)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".new"));
    assert_eq!(strays.count(), 0, "no temporary file is left behind");
}

#[test]
fn debug_shows_no_token() {
    assert_eq!(format!("{:?}", session("secret")), "Session { access_ends: Time(1), .. }");
}

#[test]
fn a_service_is_named_by_its_origin_and_reached_in_the_clear_on_this_machine_only() {
    for (text, origin) in [
        ("https://osmynt.example", "https://osmynt.example"),
        ("https://osmynt.example/", "https://osmynt.example"),
        ("https://osmynt.example:8443", "https://osmynt.example:8443"),
        ("http://localhost:8787", "http://localhost:8787"),
        ("http://127.0.0.1:8787/", "http://127.0.0.1:8787"),
        ("http://[::1]:8787", "http://[::1]:8787"),
    ] {
        assert_eq!(text.parse::<Server>().unwrap().as_str(), origin);
    }
    for text in [
        "",
        "osmynt.example",
        "ftp://osmynt.example",
        "http://osmynt.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "https://user@osmynt.example",
        "https://osmynt.example/team",
        "https://osmynt.example/?a",
        "https://osmynt.example/#a",
    ] {
        assert!(text.parse::<Server>().is_err(), "{text:?} must be refused");
    }
}
