//! How a command fails: an exit code for scripts, a sentence for people, and what to do next.

use osmynt_client::{Class, Error};
use std::{borrow::Cow, io};

/// The result of everything that a command does.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit codes. They are part of the command's interface, listed in its help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something went wrong that has no code of its own.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// Nobody is signed in.
    NotSignedIn = 3,
    /// It was refused, or does not exist.
    Refused = 4,
    /// Something did not verify: it must not be trusted.
    Untrusted = 5,
    /// A conflict is left for the person to resolve.
    Conflict = 6,
    /// The service cannot be reached.
    Unreachable = 7,
}

/// A failure on its way to the person.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// A stable word for programs.
    pub(crate) code: &'static str,
    /// The code of a refusal by the rules or the service (`docs/protocol.md` section 8).
    pub(crate) refusal: Option<&'static str>,
    /// What happened, without a full stop.
    pub(crate) message: Cow<'static, str>,
    /// What to do next: whole sentences.
    pub(crate) next: Option<Cow<'static, str>>,
}

impl Failure {
    fn new(exit: Exit, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { exit, code, refusal: None, message: message.into(), next: None }
    }

    /// Something went wrong on this machine.
    pub(crate) fn failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Failed, "failed", message)
    }

    /// The arguments cannot be meant.
    pub(crate) fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// This command does not do it.
    pub(crate) fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Refused, "refused", message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Refused, "not-found", message)
    }

    /// Something did not verify.
    pub(crate) fn untrusted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Untrusted, "not-verified", message)
    }

    /// The person has to resolve something.
    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Exit::Conflict, "conflict", message)
    }

    /// Turns an I/O error into a failure that begins with `doing`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |e| Self::failed(format!("{doing}: {e}"))
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn next(self, next: impl Into<Cow<'static, str>>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, code) = match error.class() {
            Class::Internal => (Exit::Failed, "failed"),
            Class::Usage => (Exit::Usage, "usage"),
            Class::NotSignedIn => (Exit::NotSignedIn, "not-signed-in"),
            // A contradiction that trying again did not solve is a refusal: no conflict is left in anybody's files.
            Class::Refused | Class::Conflict => (Exit::Refused, "refused"),
            Class::NotFound => (Exit::Refused, "not-found"),
            Class::Tampered => (Exit::Untrusted, "not-verified"),
            Class::Unavailable => (Exit::Unreachable, "unreachable"),
        };
        let refusal = match &error {
            Error::Refused { code, .. } => Some(code.as_str()),
            _ => None,
        };
        Self { exit, code, refusal, message: error.to_string().into(), next: error.advice() }
    }
}
