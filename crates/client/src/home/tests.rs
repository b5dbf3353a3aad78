//! Versions of homes, files left by killed processes, and the lock.

#![allow(clippy::arithmetic_side_effects, reason = "tests")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::version::{self, Step, bring_forward};
use super::*;
use crate::vault::Vault;
use crate::{Class, Client};

/// A home that is gone after the test.
struct Scratch(Home);

impl Scratch {
    /// Without any file, and without the folder.
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("osmynt-home-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        RUNS.set(0);
        Self(Home::at(dir, Keystore::File))
    }

    /// With these files, as another version or a killed process left them.
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let scratch = Self::new(name);
        scratch.put(files);
        scratch
    }

    fn put(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.0.dir.join(name);
            make_dir(&self.0.dir).unwrap();
            make_dir(path.parent().unwrap()).unwrap();
            let mut file = private_file(OpenOptions::new().write(true).create(true).truncate(true), &path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    /// Every file and what it holds. Empty lock files are left out.
    fn files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for folder in ["", "users", "teams"] {
            let Ok(entries) = fs::read_dir(self.0.dir.join(folder)) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
                let name = path.strip_prefix(&self.0.dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
            }
        }
        found.remove(LOCK);
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.dir);
    }
}

const VERSION_1: (&str, &str) = (version::FILE, r#"{"version":1}"#);
const ADA: (&str, &str) = (
    PROFILE,
    r#"{"server":"https://osmynt.example","user":"00000000-0000-4000-8000-000000000001","login":"ada","device":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","device_name":"laptop"}"#,
);
const LOGINS: (&str, &str) = ("logins.json", r#"{"00000000-0000-4000-8000-000000000001":"ada"}"#);

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, because: &str) {
    let refused = result.unwrap_err();
    assert_eq!(refused.class(), Class::Internal, "{refused}");
    assert!(refused.to_string().contains(because), "{refused}");
}

// Versions.

#[test]
fn a_new_home_gets_the_present_version_with_its_first_file() {
    let home = Scratch::new("new");
    assert!(home.0.profile().unwrap().is_none());
    assert!(!home.0.dir.exists(), "reading makes nothing");
    home.0.write(LOGINS.0, LOGINS.1.as_bytes()).unwrap();
    let written = [VERSION_1, LOGINS].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(home.files(), BTreeMap::from(written), "a change of this text needs a new way to recognise a version");
}

#[test]
fn a_home_of_a_newer_version_is_refused_and_left_as_it_is() {
    let newer = (version::FILE, r#"{"version":2,"more":true}"#);
    let home = Scratch::with("newer", &[newer, ADA, ("vault", "of another kind"), (".AAAAAAAAAAAA.new", "")]);
    let before = home.files();
    let upgrade = "upgrade osmynt";
    assert_refused(home.0.profile(), upgrade);
    assert_refused(Client::open(home.0.clone(), |_| {}), upgrade);
    assert_refused(Vault::open(&home.0), upgrade);
    assert_refused(home.0.write("logins.json", b"{}"), upgrade);
    assert_refused(home.0.locked(|| Ok(())), upgrade);
    assert_refused(home.0.erase(), upgrade);
    assert_eq!(home.files(), before);
}

#[test]
fn a_home_without_a_version_is_refused_and_can_be_erased() {
    for file in [ADA, ("vault", "osmynt-vault-1"), ("vault.key", "key")] {
        let home = Scratch::with("unversioned", &[file]);
        let erase = "osmynt logout --erase";
        assert_refused(home.0.profile(), erase);
        assert_refused(Client::open(home.0.clone(), |_| {}), erase);
        assert_refused(Vault::open(&home.0), erase);
        assert_eq!(home.files().len(), 1);
        home.0.erase().unwrap();
        assert!(!home.0.dir.exists());
    }
}

#[test]
fn a_home_whose_version_cannot_be_read_is_refused_and_can_be_erased() {
    for text in ["", "1", "{}", r#"{"version":0}"#, r#"{"version":"1"}"#] {
        let home = Scratch::with("unreadable", &[(version::FILE, text), ADA]);
        assert_refused(home.0.profile(), version::FILE);
        assert_refused(home.0.locked(|| Ok(())), version::FILE);
        home.0.erase().unwrap();
        assert!(!home.0.dir.exists());
    }
}

thread_local! {
    /// How often the first step ran since a home was made. Tests on several threads do not share it.
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

/// A made-up step: from version 2 on, the names of people are an array in another file.
fn names_in_an_array(home: &Home) -> Result<()> {
    RUNS.set(RUNS.get() + 1);
    let Some(logins) = home.read_json::<BTreeMap<String, String>>("logins.json")? else { return Ok(()) };
    home.write_json("people.json", &logins.into_iter().collect::<Vec<_>>())?;
    remove(&home.dir.join("logins.json"))
}

/// A step that cannot be done.
fn fails(_: &Home) -> Result<()> {
    Err(Error::Internal { why: "the disk is full".to_owned() })
}

/// A step after the first one.
fn shouts(home: &Home) -> Result<()> {
    let people: Vec<(String, String)> = home.read_json("people.json")?.unwrap_or_default();
    let people: Vec<_> = people.into_iter().map(|(user, name)| (user, name.to_uppercase())).collect();
    home.write_json("people.json", &people)
}

/// As on the first use of a home by a program with these steps.
fn first_use(home: &Scratch, steps: &[Step]) -> Result<()> {
    home.0.taking_turns(LOCK, || {
        let _held = Held::new(&home.0.dir);
        bring_forward(&home.0, steps)
    })
}

#[track_caller]
fn assert_version_2(home: &Scratch) {
    let files = home.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["home.json", "people.json", "profile.json"]);
    assert_eq!(files["home.json"], r#"{"version":2}"#);
    assert_eq!(files["people.json"], r#"[["00000000-0000-4000-8000-000000000001","ada"]]"#);
}

#[test]
fn a_step_brings_a_home_forward_once() {
    let home = Scratch::with("step", &[VERSION_1, ADA, LOGINS]);
    for _ in 0..3 {
        first_use(&home, &[names_in_an_array]).unwrap();
        assert_version_2(&home);
    }
    assert_eq!(RUNS.get(), 1);
    assert_refused(home.0.profile(), "upgrade osmynt");
}

#[test]
fn a_step_runs_again_after_a_crash_before_its_version_was_written() {
    let home = Scratch::with("crash", &[VERSION_1, ADA, LOGINS]);
    // All of it was done, but for the version.
    home.0.locked(|| names_in_an_array(&home.0)).unwrap();
    assert_eq!(home.files()["home.json"], VERSION_1.1);
    first_use(&home, &[names_in_an_array]).unwrap();
    assert_version_2(&home);
    assert_eq!(RUNS.get(), 2);

    let home = Scratch::with("half-way", &[VERSION_1, ADA, LOGINS, ("people.json", "[]")]);
    first_use(&home, &[names_in_an_array]).unwrap();
    assert_version_2(&home);
}

#[test]
fn steps_run_in_order_and_from_where_the_home_is() {
    let home = Scratch::with("order", &[VERSION_1, ADA, LOGINS]);
    assert_refused(first_use(&home, &[names_in_an_array, fails, shouts]), "full");
    assert_version_2(&home);
    first_use(&home, &[names_in_an_array, shouts]).unwrap();
    let files = home.files();
    assert_eq!(files["home.json"], r#"{"version":3}"#);
    assert_eq!(files["people.json"], r#"[["00000000-0000-4000-8000-000000000001","ADA"]]"#);
    assert_eq!(RUNS.get(), 1);
}

#[test]
fn a_new_home_needs_no_step() {
    let home = Scratch::new("stepless");
    first_use(&home, &[names_in_an_array]).unwrap();
    assert_eq!(home.files()["home.json"], r#"{"version":2}"#);
    assert_eq!(RUNS.get(), 0);
}

// What killed processes leave.

/// Temporary files of killed writes, and files of others with similar names.
const LEFT: [&str; 3] = [".AAAAAAAAAAAA.new", "users/.0123456789-_.new", "teams/.zzzzzzzzzzzz.new"];
const FOREIGN: [&str; 4] = [".AAAAAAAAAAA.new", ".AAAAAAAAAAAA.old", "AAAAAAAAAAAA.new", "users.new"];

#[test]
fn a_write_removes_what_a_killed_one_left_and_nothing_else() {
    let home = Scratch::with("left", &[VERSION_1, ADA]);
    home.put(&LEFT.map(|name| (name, "secret")));
    home.put(&FOREIGN.map(|name| (name, "theirs")));
    home.0.write(LOGINS.0, LOGINS.1.as_bytes()).unwrap();
    let files = home.files();
    assert!(LEFT.iter().all(|name| !files.contains_key(*name)), "{files:?}");
    assert!(FOREIGN.iter().all(|name| files.contains_key(*name)), "{files:?}");
    assert_eq!(files.len(), FOREIGN.len() + 3);
}

#[test]
fn erasing_removes_what_a_killed_write_left() {
    let home = Scratch::with("erased", &[VERSION_1, ADA]);
    home.put(&LEFT.map(|name| (name, "secret")));
    home.0.erase().unwrap();
    assert!(!home.0.dir.exists());
    // Also when the write was the first of all.
    let home = Scratch::with("erased-first", &[(LEFT[0], "secret")]);
    home.0.erase().unwrap();
    assert!(!home.0.dir.exists());
}

#[test]
fn a_temporary_file_has_a_name_by_which_it_is_recognised() {
    for _ in 0..100 {
        assert!(is_temporary(OsStr::new(&temporary_name().unwrap())));
    }
    assert!(!FOREIGN.iter().any(|name| is_temporary(OsStr::new(name))));
}

#[test]
fn a_write_to_a_folder_that_is_not_searched_for_temporary_files_fails() {
    let home = Scratch::new("elsewhere");
    assert_refused(home.0.write("snippets/x.json", b"{}"), "no folder of the home");
    assert!(!home.0.dir.join("snippets").exists());
}

// Taking turns.

#[test]
fn writers_at_the_same_time_do_not_remove_each_others_files() {
    let home = Scratch::new("writers");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            // Each opens the home for itself, as a process would.
            let home = Home::at(&home.0.dir, Keystore::File);
            scope.spawn(move || {
                for _ in 0..25 {
                    home.write(&format!("users/{writer}.json"), b"{}").unwrap();
                }
            });
        }
    });
    assert_eq!(home.files().len(), 5);
}

#[test]
fn the_lock_has_one_holder_even_when_the_home_is_erased_meanwhile() {
    let home = Scratch::new("turns");
    let (busy, turns) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (home, busy, turns) = (&home.0, &busy, &turns);
            scope.spawn(move || {
                for _ in 0..100 {
                    // Fails when another thread erases the folder before the lock file is made.
                    let _ = home.locked(|| {
                        assert!(!busy.swap(true, Ordering::SeqCst), "two hold the lock");
                        std::thread::yield_now();
                        busy.store(false, Ordering::SeqCst);
                        turns.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                    let _ = home.erase();
                }
            });
        }
    });
    assert!(turns.into_inner() > 0);
}

#[test]
fn a_holder_of_the_lock_may_take_it_again() {
    let home = Scratch::new("again");
    home.0.locked(|| home.0.locked(|| home.0.write(LOGINS.0, LOGINS.1.as_bytes()))).unwrap();
    // And gives it back.
    assert!(!home.0.is_held());
    home.0.write(LOGINS.0, b"{}").unwrap();
}
