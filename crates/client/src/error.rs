//! What can go wrong, whose fault it is, and what the person does next.

use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

use osmynt_core::{Code, DeviceId, Refusal, UserId};

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is: what a command turns into its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A fault of this program, this machine or the service.
    Internal,
    /// What was asked for makes no sense as it stands.
    Usage,
    /// Nobody is signed in, or the sign-in is over.
    NotSignedIn,
    /// The service, a role or the person at the browser refused.
    Refused,
    /// There is no such team, member or snippet, or no longer.
    NotFound,
    /// What the service or a file holds does not verify.
    Tampered,
    /// It contradicts what is there, and trying again did not help.
    Conflict,
    /// The service cannot be reached at the moment.
    Unavailable,
}

/// A failure. `Display` says what happened, in one sentence without a full stop; [`Error::advice`] what to do next.
/// Neither ever holds a key, a token or a content. Whatever somebody else has worded (the service, a teammate, whoever
/// made a link) stands between quotes in the first ([`osmynt_core::text`]) and never in the second.
#[derive(Debug)]
pub enum Error {
    /// What was asked for makes no sense as it stands.
    Usage {
        /// Why.
        why: String,
    },
    /// A name or the beginning of an id fits more than one.
    Ambiguous {
        /// What was looked for: `team`, `member`, `snippet`, `invitation`, `session`.
        what: &'static str,
        /// What was given.
        selector: String,
        /// What it fits, ready to be shown.
        candidates: Vec<String>,
    },
    /// A login of which there is something odd to say was given to choose somebody by.
    Doubtful {
        /// What was given.
        selector: String,
        /// Whom it may mean, with what is odd, ready to be shown.
        people: Vec<String>,
    },
    /// Teams that this home is in, and that the service does not list any more, are in the way of a choice.
    Vanished {
        /// Which, ready to be shown.
        teams: Vec<String>,
    },
    /// What deleting the account would do to a team is not what the person confirmed.
    Unconfirmed {
        /// Which team, and what is different, ready to be shown.
        what: String,
    },
    /// The caller waits to be confirmed in a team, and asked for what only a member may do.
    Pending {
        /// The team's name, ready to be shown.
        team: String,
    },
    /// Nobody has signed in from this home.
    NotSignedIn,
    /// Somebody had, but the session is over or was ended.
    SessionOver,
    /// The person pressed the other button, GitHub refused, or the service does: it knows the device as a revoked one.
    SignInDenied {
        /// Whether this device was ever signed in, so that it can have been revoked.
        known: bool,
    },
    /// Nobody confirmed in time.
    SignInExpired,
    /// This home belongs to another user or another service.
    OtherAccount {
        /// Whose it is.
        home_of: String,
    },
    /// This device is in no user's log.
    UnknownDevice,
    /// This device's user has revoked it.
    RevokedDevice,
    /// There is no such thing, or none that is the caller's business.
    NotFound {
        /// What was looked for: `team`, `member`, `joiner` (somebody who waits to be confirmed), `snippet`, `invitation`,
        /// `session`.
        what: &'static str,
        /// What was given.
        selector: String,
    },
    /// The caller has no key for it: it was sealed before this device was added, or not for it.
    NoKey {
        /// What cannot be opened.
        what: String,
    },
    /// The caller should have a key for an epoch, and it is missing, does not open or is another one than was announced.
    BadKey {
        /// Which epoch's.
        epoch: u64,
        /// Who sealed it, and with which device, ready to be shown.
        by: String,
    },
    /// A device has published no key that this version can seal to.
    NoPrekey {
        /// Whose device.
        user: UserId,
        /// Which.
        device: DeviceId,
    },
    /// The service refused, with the code and the words of its problem document.
    Refused {
        /// `docs/protocol.md` section 8.
        code: Code,
        /// Why, in our words. What the service said stands in them between quotes.
        detail: String,
    },
    /// A file is none that has been exported, or is damaged so that nothing can be read of it.
    NoSnippetFile,
    /// What the service sent, or what a file holds, does not verify. Nothing of it was used.
    Tampered {
        /// What does not hold.
        what: String,
    },
    /// The service cannot be reached, or gave up.
    Unavailable {
        /// Why.
        why: String,
    },
    /// Too many requests: the service asks to come back later.
    RateLimited {
        /// How much later, if it says so.
        wait: Option<Duration>,
    },
    /// A file of the home cannot be used.
    Home {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The operating system's key store cannot be used.
    KeyStore {
        /// Why.
        why: String,
    },
    /// A fault of this program, or an answer of the service that makes no sense.
    Internal {
        /// What.
        why: String,
    },
}

impl Error {
    /// The kind of failure.
    pub fn class(&self) -> Class {
        match self {
            Self::Usage { .. } | Self::Ambiguous { .. } | Self::Doubtful { .. } | Self::OtherAccount { .. } => {
                Class::Usage
            }
            Self::NotSignedIn | Self::SessionOver => Class::NotSignedIn,
            Self::SignInDenied { .. }
            | Self::SignInExpired
            | Self::UnknownDevice
            | Self::RevokedDevice
            | Self::Pending { .. } => Class::Refused,
            Self::NotFound { .. } | Self::NoKey { .. } => Class::NotFound,
            Self::Tampered { .. } | Self::NoSnippetFile | Self::BadKey { .. } => Class::Tampered,
            Self::Vanished { .. } | Self::Unconfirmed { .. } | Self::NoPrekey { .. } => Class::Conflict,
            Self::Unavailable { .. } | Self::RateLimited { .. } => Class::Unavailable,
            Self::Home { .. } | Self::KeyStore { .. } | Self::Internal { .. } => Class::Internal,
            Self::Refused { code, .. } => match code {
                Code::Unauthenticated => Class::NotSignedIn,
                Code::NotFound | Code::Gone => Class::NotFound,
                Code::Conflict | Code::StaleLog | Code::RotationRequired | Code::CoverageMismatch => Class::Conflict,
                Code::Unavailable => Class::Unavailable,
                Code::Internal => Class::Internal,
                _ => Class::Refused,
            },
        }
    }

    /// What the person can do about it: one sentence with a full stop. None when there is nothing to add.
    pub fn advice(&self) -> Option<Cow<'static, str>> {
        let advice = match self {
            Self::Usage { .. } | Self::SignInDenied { known: false } | Self::Home { .. } => return None,
            Self::Ambiguous { .. } => "Give its id, or more characters of it.",
            Self::Pending { .. } => "Ask them to run `osmynt team confirm`.",
            Self::Doubtful { .. } => {
                "Give the user id, after asking them whether it is theirs. If a name has changed for good, say so with `osmynt team accept-name`."
            }
            Self::Vanished { .. } => {
                "You were removed, the team was deleted, or the service hides it: ask your teammates. `osmynt team forget` takes it off the list; or say which team you mean by its id."
            }
            Self::Unconfirmed { .. } => {
                "Your account is not deleted, and this team is as it was. Run `osmynt account delete` again: it shows anew what becomes of each team, and asks."
            }
            Self::NotSignedIn | Self::SessionOver => "Sign in with `osmynt login`.",
            Self::SignInDenied { known: true } => {
                "If that was because this device was revoked, remove what it keeps here with `osmynt logout --erase`, and sign in again."
            }
            Self::SignInExpired => "Start again with `osmynt login`.",
            Self::OtherAccount { .. } => "Set OSMYNT_HOME to another folder to use another account beside it.",
            Self::UnknownDevice => {
                "Use the device that you signed in with first: so far, one device of an account can share and open. If you have lost it, see `osmynt login --help`."
            }
            Self::RevokedDevice => {
                "Remove what this device keeps with `osmynt logout --erase`, and sign in again to start over with a new key."
            }
            Self::NotFound { what: "team", .. } => "See `osmynt team list`.",
            Self::NotFound { what: "snippet", .. } => "See `osmynt list`.",
            Self::NotFound { what: "session", .. } => "See `osmynt session list`.",
            Self::NotFound { .. } => "See `osmynt team show TEAM`.",
            Self::BadKey { .. } => {
                "Ask them to run `osmynt team rotate`, or share something: that makes a new key. What was shared under the bad one must be shared again."
            }
            Self::NoPrekey { .. } => {
                "If its owner uses a later version of osmynt, update; otherwise ask them to run `osmynt list` there, which publishes a key."
            }
            Self::NoKey { .. } => "Ask its author to share it again: keys are never given out later.",
            Self::NoSnippetFile => "Have it exported again; `osmynt list` shows what you can open without a file.",
            Self::Tampered { .. } => {
                "Nothing of it was used. Ask whoever runs the service, and compare with your teammates, before you go on."
            }
            Self::Unavailable { .. } => "Check the connection and try again.",
            Self::RateLimited { wait: Some(wait) } => return Some(format!("Try again in {}.", span(*wait)).into()),
            Self::RateLimited { wait: None } => "Try again in a few minutes.",
            Self::KeyStore { .. } => {
                "Unlock it and try again; or set OSMYNT_KEYSTORE=file before the first sign-in to keep keys in a file that only you can read."
            }
            Self::Internal { .. } => "Try again; if it stays, report it.",
            Self::Refused { code, .. } => match code {
                Code::Unauthenticated => "Sign in with `osmynt login`.",
                Code::ClockSkew => "Set this machine's clock, and try again.",
                Code::StaleLog | Code::RotationRequired | Code::CoverageMismatch | Code::Unavailable => {
                    "Try again in a moment."
                }
                Code::Internal => "Try again; if it stays, tell whoever runs the service.",
                _ => return None,
            },
        };
        Some(Cow::Borrowed(advice))
    }

    /// Whether reading everything again and building the request anew may help (`docs/protocol.md` section 11, 7).
    pub(crate) fn wants_rebuild(&self) -> bool {
        matches!(self, Self::Refused { code: Code::StaleLog | Code::CoverageMismatch | Code::RotationRequired, .. })
    }

    /// A refusal of something that the service sent: a lie, or a fault that cannot be told from one.
    pub(crate) fn tampered(what: impl fmt::Display, refusal: &Refusal) -> Self {
        Self::Tampered { what: format!("{what}: {}", refusal.detail) }
    }

    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Usage { why: why.into() }
    }
}

/// A time to wait, never less than it is.
fn span(wait: Duration) -> String {
    let seconds = wait.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A refusal by the rules of `osmynt-core` of something that the caller asked for.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, detail: refusal.detail.into_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { why } | Self::Internal { why } => f.write_str(why),
            Self::Ambiguous { what, selector, candidates } => {
                write!(f, "\"{selector}\" is more than one {what}: {}", candidates.join(", "))
            }
            Self::NotSignedIn => f.write_str("nobody is signed in"),
            Self::SessionOver => f.write_str("the sign-in is over"),
            Self::SignInDenied { .. } => f.write_str("the sign-in was refused in the browser"),
            Self::SignInExpired => {
                f.write_str("nobody confirmed the sign-in in time, or the answer was lost on its way")
            }
            Self::OtherAccount { home_of } => write!(f, "this home belongs to {home_of}"),
            Self::Doubtful { selector, people } => {
                write!(f, "\"{selector}\" is a name that cannot be relied on: {}", people.join(", "))
            }
            Self::Vanished { teams } => {
                write!(f, "you are in {}, which the service no longer lists", teams.join(", "))
            }
            Self::Unconfirmed { what } => f.write_str(what),
            Self::Pending { team } => {
                write!(
                    f,
                    "you wait to be confirmed in {team}, and can do this once an owner or admin has confirmed you"
                )
            }
            Self::UnknownDevice => {
                f.write_str("this device can neither share nor open: it is not the first of your account")
            }
            Self::RevokedDevice => f.write_str("this device was revoked"),
            Self::NotFound { what: "joiner", selector } => {
                write!(f, "nobody of the name or user id \"{selector}\" waits to be confirmed")
            }
            Self::NotFound { what, selector } => write!(f, "there is no {what} \"{selector}\""),
            Self::BadKey { epoch, by } => {
                write!(
                    f,
                    "the key of epoch {epoch} of the team, sealed by {by}, is missing, does not open or is not the one announced"
                )
            }
            Self::NoPrekey { user, device } => {
                write!(
                    f,
                    "the device {device} of user {user} has published no key that this version of osmynt can seal to"
                )
            }
            Self::NoKey { what } => write!(f, "this device has no key for {what}"),
            Self::Refused { code: Code::ClockSkew, .. } => {
                f.write_str("the clocks of this machine and of the service differ by more than a minute")
            }
            Self::Refused { detail, .. } => f.write_str(detail),
            Self::NoSnippetFile => f.write_str("this is no file that `osmynt export` has saved, or it is damaged"),
            Self::Tampered { what } => write!(f, "verification failed: {what}"),
            Self::Unavailable { why } => write!(f, "the service cannot be reached: {why}"),
            Self::RateLimited { .. } => f.write_str("the service has had too many requests from here"),
            Self::Home { path, why } => write!(f, "{}: {why}", path.display()),
            Self::KeyStore { why } => write!(f, "the system's key store cannot be used: {why}"),
        }
    }
}

impl std::error::Error for Error {}
