//! Where this person's files are, and whose they are.
//!
//! | file | holds |
//! |---|---|
//! | `home.json` | the version of these files; older homes are brought forward when they are first used |
//! | `profile.json` | which service, user and device ([`Profile`]) |
//! | `vault` | every secret, encrypted ([`crate::vault`]) |
//! | `vault.key` | the key of the vault, only where there is no key store of the system |
//! | `users/`, `teams/` | what was verified so far, one file per log ([`crate::logs`]) |
//! | `read.json` | when each log was last read to its end |
//! | `teams.json` | the teams that this person is in, as far as their logs were verified |
//! | `logins.json` | who was known here first by which login |
//! | `snippets.json` | snippets that were verified here, and the short ids they were shown with |
//! | `notice.json` | an erasure that the service has told of, and when it was asked |
//! | `lock`, `refresh.lock` | nothing; several processes take turns by them, at changing files and at refreshing tokens |
//!
//! The folder is its owner's alone (0700, files 0600), made so and refused otherwise.
//!
//! Every file is written under the lock, first to a temporary file: a dot, 12 characters of base64url, `.new`. A temporary
//! file that exists when the lock is taken was left by a process that was killed, and is removed.

#[cfg(test)]
mod tests;
mod version;

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _};
use ureq::http::Uri;

use osmynt_core::{AccountId, DeviceId, UserId, b64u};

use crate::{Error, Result, system, vault};

const PROFILE: &str = "profile.json";
const LOCK: &str = "lock";
const REFRESH_LOCK: &str = "refresh.lock";
/// Every folder of the home that files are written to.
const FOLDERS: [&str; 2] = ["users", "teams"];

thread_local! {
    /// The folders of the homes whose lock this thread holds.
    static HELD: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// The folder that holds everything of one person's sign-in.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
    keystore: Keystore,
}

/// Where the vault's key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keystore {
    /// In the system's key store if there is one, else in a file.
    #[default]
    Best,
    /// In the system's key store, or nowhere (`OSMYNT_KEYSTORE=system`).
    System,
    /// In a file that only its owner can read (`OSMYNT_KEYSTORE=file`).
    File,
}

/// Whose home it is. Written at sign-in; holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The service.
    pub server: Server,
    /// The service's account.
    pub account: AccountId,
    /// The user in whose log this device stands: the hash of that log's first entry. None while it is in none.
    pub user: Option<UserId>,
    /// The GitHub login that this device's user has signed last; as told by the service while the device is in no log.
    pub login: String,
    /// This device.
    pub device: DeviceId,
    /// What the device is called.
    pub device_name: String,
}

/// The service's origin: `https://host[:port]`, or `http://` to this very machine, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(String);

impl Home {
    /// The folder named by `OSMYNT_HOME`, else `osmynt` where the platform keeps such files; keys where
    /// `OSMYNT_KEYSTORE` (`file` or `system`) says.
    pub fn find() -> Result<Self> {
        let keystore = match std::env::var("OSMYNT_KEYSTORE").as_deref() {
            Err(_) | Ok("") => Keystore::Best,
            Ok("file") => Keystore::File,
            Ok("system") => Keystore::System,
            Ok(other) => {
                return Err(Error::usage(format!("OSMYNT_KEYSTORE is \"{other}\"; it can be \"file\" or \"system\"")));
            }
        };
        let dir = match std::env::var_os("OSMYNT_HOME") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => default_dir()
                .ok_or_else(|| Error::usage("there is no home folder; set OSMYNT_HOME to a folder of your own"))?,
        };
        Ok(Self::at(dir, keystore))
    }

    /// That folder; made when something is first written to it.
    pub fn at(dir: impl Into<PathBuf>, keystore: Keystore) -> Self {
        Self { dir: dir.into(), keystore }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Where its keys are to be kept.
    pub fn keystore(&self) -> Keystore {
        self.keystore
    }

    /// Whose it is, if somebody has signed in here.
    pub fn profile(&self) -> Result<Option<Profile>> {
        self.read_json(PROFILE)
    }

    pub(crate) fn set_profile(&self, profile: &Profile) -> Result<()> {
        self.write_json(PROFILE, profile)
    }

    /// Runs `work` while no other process changes the home. A thread that holds the lock may call this again. The home is
    /// brought forward to the present version first, or refused.
    pub(crate) fn locked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_held() {
            return work();
        }
        self.taking_turns(LOCK, || {
            let _held = Held::new(&self.dir);
            version::bring_forward(self, version::STEPS)?;
            // Best effort: the next command tries again.
            let _ = self.remove_leftovers();
            work()
        })
    }

    /// Runs `work` while no other process refreshes the tokens. It may talk to the service, and use [`Home::locked`] inside.
    pub(crate) fn refreshing<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.taking_turns(REFRESH_LOCK, work)
    }

    fn taking_turns<T>(&self, lock: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.dir.join(lock);
        // Dropping the file unlocks it, also on an early return.
        let _locked = loop {
            make_dir(&self.dir)?;
            let file = private_file(OpenOptions::new().write(true).create(true), &path)?;
            file.lock().map_err(|error| io(&path, &error))?;
            // The home may have been erased in the meantime. Others then lock a new file.
            if is_still_at(&file, &path)? {
                break file;
            }
        };
        work()
    }

    /// Whether this thread holds the home's lock.
    fn is_held(&self) -> bool {
        HELD.with_borrow(|held| held.contains(&self.dir))
    }

    /// Removes all that this program keeps here, and the vault's key from the system's key store. Nothing here need be whole,
    /// and what failed may be done again. Files that are somebody else's stay, and the folder with them. A home of a newer
    /// version is refused: it may keep secrets in files that this program does not know.
    pub fn erase(&self) -> Result<()> {
        if !self.dir.try_exists().map_err(|error| io(&self.dir, &error))? {
            return Ok(());
        }
        self.taking_turns(LOCK, || {
            version::refuse_newer(self)?;
            vault::forget_key(self)?;
            // The key's file after the vault: a vault without it would be taken for one whose key the system keeps.
            for name in [
                "vault",
                "vault.key",
                "read.json",
                "teams.json",
                "logins.json",
                "snippets.json",
                "notice.json",
                PROFILE,
            ]
            .into_iter()
            .chain(FOLDERS)
            {
                remove(&self.dir.join(name))?;
            }
            self.remove_leftovers()?;
            // The lock last, and while it is held: nobody can change the home between these two.
            for name in [version::FILE, REFRESH_LOCK, LOCK] {
                remove(&self.dir.join(name))?;
            }
            Ok(())
        })?;
        // Not empty: there is something that is not ours.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }

    /// Removes the temporary files of killed processes. Only under the lock, when no other process has one.
    fn remove_leftovers(&self) -> Result<()> {
        let folders = FOLDERS.map(|folder| self.dir.join(folder));
        for folder in folders.iter().chain([&self.dir]) {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| io(folder, &error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| io(folder, &error))?;
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if !is_dir && is_temporary(&entry.file_name()) {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is anything of a sign-in here.
    pub fn is_used(&self) -> bool {
        [PROFILE, "vault", "vault.key"].into_iter().any(|name| self.dir.join(name).exists())
    }

    /// The bytes of a file of the home, or none if it is not there. The home is brought forward to the present version
    /// first, or refused.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if !self.is_held() && !version::is_present(self)? {
            self.locked(|| Ok(()))?;
        }
        self.read_file(name)
    }

    fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                refuse_shared(&self.dir)?;
                refuse_shared(&path)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(&path, &error)),
        }
    }

    /// Replaces a file of the home: whoever reads it, now or after a crash, gets the old bytes or the new ones. Takes the
    /// lock unless this thread holds it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.locked(|| self.write_file(name, bytes))
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let dir = match name.split_once('/') {
            None => self.dir.clone(),
            Some((folder, _)) if FOLDERS.contains(&folder) => self.dir.join(folder),
            Some(_) => return Err(Error::Internal { why: format!("{name} is in no folder of the home") }),
        };
        make_dir(&dir)?;
        let temporary = dir.join(temporary_name()?);
        let written = (|| {
            let mut file = private_file(OpenOptions::new().write(true).create_new(true), &temporary)?;
            file.write_all(bytes).map_err(|e| io(&temporary, &e))?;
            file.sync_all().map_err(|e| io(&temporary, &e))?;
            drop(file);
            fs::rename(&temporary, &path).map_err(|e| io(&path, &e))
        })();
        if written.is_err() {
            // Best effort: the error that matters is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        sync_dir(&dir)
    }

    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.read(name)?.map(|bytes| self.parse(name, &bytes)).transpose()
    }

    fn parse<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| Error::Home {
            path: self.dir.join(name),
            why: format!("is not as it was written: {error}"),
        })
    }

    pub(crate) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::Internal { why: format!("{name} cannot be written: {error}") })?;
        self.write(name, &bytes)
    }
}

/// Marks this thread in [`HELD`] as the holder of a home's lock until it is dropped.
struct Held<'a>(&'a Path);

impl<'a> Held<'a> {
    fn new(dir: &'a Path) -> Self {
        HELD.with_borrow_mut(|held| held.push(dir.to_owned()));
        Self(dir)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| held.retain(|dir| dir != self.0));
    }
}

fn temporary_name() -> Result<String> {
    Ok(format!(".{}.new", b64u::encode(&system::random::<9>()?)))
}

fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".new"));
    random.is_some_and(|random| b64u::decode_array::<9>(random).is_ok())
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path, &error)),
        _ => Ok(()),
    }
}

/// `$XDG_CONFIG_HOME` or `~/.config` on Unix, `~/Library/Application Support` on macOS, `%APPDATA%` on Windows.
fn default_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = if cfg!(windows) {
        PathBuf::from(set("APPDATA")?)
    } else if cfg!(target_os = "macos") {
        std::env::home_dir()?.join("Library/Application Support")
    } else if let Some(config) = set("XDG_CONFIG_HOME") {
        PathBuf::from(config)
    } else {
        std::env::home_dir()?.join(".config")
    };
    Some(base.join("osmynt"))
}

fn make_dir(dir: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| io(dir, &error))?;
    refuse_shared(dir)
}

/// Opens a file that nobody else may read, from its first moment on.
fn private_file(options: &mut OpenOptions, path: &Path) -> Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path).map_err(|error| io(path, &error))
}

/// Whether an open file is still the one at its path.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let open = file.metadata().map_err(|error| io(path, &error))?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(path, &error)),
    }
}

/// The standard library cannot identify a file on other systems.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "one signature on all platforms")]
fn is_still_at(_file: &File, _path: &Path) -> Result<bool> {
    Ok(true)
}

/// Somebody else could have read the secrets, or put other logs in place.
#[cfg(unix)]
fn refuse_shared(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o077;
    let metadata = fs::metadata(path).map_err(|error| io(path, &error))?;
    if metadata.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    let mode = if metadata.is_dir() { 700 } else { 600 };
    Err(Error::Home {
        path: path.to_owned(),
        why: format!(
            "others on this machine can get at it; run `chmod {mode}` on it, and think about who could have read it"
        ),
    })
}

/// Windows gives a user's own folders to nobody else, by inheritance.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "one signature on all platforms")]
fn refuse_shared(_path: &Path) -> Result<()> {
    Ok(())
}

/// Makes a rename last through a power failure.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| io(dir, &error))
}

/// A folder cannot be opened as a file on Windows; the file system orders renames by itself.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "one signature on all platforms")]
fn sync_dir(_dir: &Path) -> Result<()> {
    Ok(())
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::Home { path: path.to_owned(), why: error.to_string() }
}

impl FromStr for Server {
    type Err = Error;

    /// Parses an origin. A path, a query, a user, or `http` to another machine is refused.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::usage(format!("\"{text}\" is not a service's address: {why}"));
        let uri: Uri = text.parse().map_err(|_| refuse("write it like https://osmynt.example"))?;
        let authority = uri.authority().ok_or_else(|| refuse("write it like https://osmynt.example"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it must not name a user"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(refuse("it must end after the host and port"));
        }
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") if is_this_machine(authority.host()) => "http",
            Some("http") => return Err(refuse("only https is safe to another machine")),
            _ => return Err(refuse("it must begin with https://")),
        };
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

impl Server {
    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

/// RFC 6761 section 6.3 for the name, RFC 1122 and RFC 4291 for the addresses.
fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
