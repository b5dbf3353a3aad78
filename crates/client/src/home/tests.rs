//! Files left by killed processes, and the lock.

#![allow(clippy::arithmetic_side_effects, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

/// A home that is gone after the test.
struct Scratch(Home);

impl Scratch {
    /// Without any file, and without the folder.
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("osmynt-home-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
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

const ADA: (&str, &str) = (
    PROFILE,
    r#"{"server":"https://osmynt.example","user":"00000000-0000-4000-8000-000000000001","login":"ada","device":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","device_name":"laptop"}"#,
);
const LOGINS: (&str, &str) = ("logins.json", r#"{"00000000-0000-4000-8000-000000000001":"ada"}"#);

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, because: &str) {
    let refused = result.unwrap_err();
    assert_eq!(refused.class(), crate::Class::Internal, "{refused}");
    assert!(refused.to_string().contains(because), "{refused}");
}

// What killed processes leave.

/// Temporary files of killed writes, and files of others with similar names.
const LEFT: [&str; 3] = [".AAAAAAAAAAAA.new", "users/.0123456789-_.new", "teams/.zzzzzzzzzzzz.new"];
const FOREIGN: [&str; 4] = [".AAAAAAAAAAA.new", ".AAAAAAAAAAAA.old", "AAAAAAAAAAAA.new", "users.new"];

#[test]
fn a_write_removes_what_a_killed_one_left_and_nothing_else() {
    let home = Scratch::with("left", &[ADA]);
    home.put(&LEFT.map(|name| (name, "secret")));
    home.put(&FOREIGN.map(|name| (name, "theirs")));
    home.0.write(LOGINS.0, LOGINS.1.as_bytes()).unwrap();
    let files = home.files();
    assert!(LEFT.iter().all(|name| !files.contains_key(*name)), "{files:?}");
    assert!(FOREIGN.iter().all(|name| files.contains_key(*name)), "{files:?}");
    assert_eq!(files.len(), FOREIGN.len() + 2);
}

#[test]
fn erasing_removes_what_a_killed_write_left() {
    let home = Scratch::with("erased", &[ADA]);
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
    assert_eq!(home.files().len(), 4);
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
