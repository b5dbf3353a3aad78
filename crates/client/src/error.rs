//! What can go wrong, whose fault it is, and what the person does next.

use std::fmt;

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, for scripts that only see an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A fault of this program or of the service. Exit code 1.
    Internal,
    /// What was asked for makes no sense as it stands. Exit code 2, as with unknown arguments.
    Usage,
    /// Nobody is signed in, or the sign-in is over. Exit code 3.
    NotSignedIn,
    /// The service, a role or the person at the browser refused. Exit code 4.
    Refused,
    /// There is no such team, member or snippet, or no longer. Exit code 5.
    NotFound,
    /// What the service sent does not verify. Exit code 6.
    Tampered,
    /// It contradicts what is there, and trying again did not help. Exit code 7.
    Conflict,
    /// The service or the key store cannot be reached at the moment. Exit code 8.
    Unavailable,
}

impl Class {
    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::NotSignedIn => 3,
            Self::Refused => 4,
            Self::NotFound => 5,
            Self::Tampered => 6,
            Self::Conflict => 7,
            Self::Unavailable => 8,
        }
    }
}

/// A failure. `Display` says what happened, in one sentence without a full stop; [`Error::advice`] what to do next.
#[derive(Debug)]
pub enum Error {
    /// Nobody has signed in from this home, or the session has ended.
    NotSignedIn,
}

impl Error {
    /// The kind of failure.
    pub fn class(&self) -> Class {
        Class::NotSignedIn
    }

    /// What the person can do about it: one sentence with a full stop. None when there is nothing to add.
    pub fn advice(&self) -> Option<String> {
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody is signed in")
    }
}

impl std::error::Error for Error {}
