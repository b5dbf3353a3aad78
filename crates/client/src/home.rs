//! Where this person's files are, and whose they are.

use crate::{DeviceId, Error, Result, UserId};
use std::path::{Path, PathBuf};

/// The folder that holds everything of one person's sign-in: `profile.json`, the vault, and what was verified so far.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

/// The service's origin: `https://host[:port]`, or `http://` to this very machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(String);

/// Whose home it is. Written at sign-in; holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The service.
    pub server: Server,
    /// The user id that the service gave.
    pub user: UserId,
    /// The GitHub login, as told by the service.
    pub login: String,
    /// This device.
    pub device: DeviceId,
    /// What the device is called.
    pub device_name: String,
}

impl Home {
    /// `OSMYNT_HOME` if set, else `osmynt` in the platform's place for such files.
    pub fn find() -> Result<Self> {
        Err(Error::NotSignedIn)
    }

    /// That folder.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Whose it is, if somebody has signed in here.
    pub fn profile(&self) -> Result<Option<Profile>> {
        Ok(None)
    }

    pub(crate) fn profile_placeholder(&self) -> &Profile {
        loop {}
    }
}

impl std::str::FromStr for Server {
    type Err = Error;

    /// Parses an origin. A path, a query, or `http` to another machine is refused.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
