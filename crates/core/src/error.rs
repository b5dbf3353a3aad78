use core::fmt;
use std::borrow::Cow;

/// The stable code of a refusal, as in the problem documents of section 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The request is not well formed, or says something that can never be right.
    InvalidRequest,
    /// No token, or one that is not valid (any more).
    Unauthenticated,
    /// The caller is known, but role or device does not allow it.
    Forbidden,
    /// It does not exist, or is none of the caller's business.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The log has moved on: read, rebuild, retry.
    StaleLog,
    /// The epoch has ended: rotate, then retry.
    RotationRequired,
    /// The devices covered are not the devices there are.
    CoverageMismatch,
    /// Expired, revoked, used up or deleted.
    Gone,
    /// Over a limit of section 12.
    TooLarge,
    /// A signature does not fit its statement and key.
    BadSignature,
    /// A claimed time is too far from the time of receipt.
    ClockSkew,
    /// Too many requests.
    RateLimited,
    /// A fault of the service.
    Internal,
    /// Not now.
    Unavailable,
    /// RFC 8628 section 3.5: nobody has confirmed the sign-in yet.
    AuthorizationPending,
    /// RFC 8628 section 3.5: poll less often.
    SlowDown,
    /// RFC 8628 section 3.5: the sign-in took too long, or was used.
    ExpiredToken,
    /// RFC 8628 section 3.5: the person refused the sign-in.
    AccessDenied,
}

impl Code {
    /// Every code, in the order of the table in section 8.
    pub const ALL: [Self; 19] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::StaleLog,
        Self::RotationRequired,
        Self::CoverageMismatch,
        Self::Gone,
        Self::TooLarge,
        Self::BadSignature,
        Self::ClockSkew,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::AccessDenied,
    ];

    /// The code as it is written in a problem document.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with the code.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// A short text for people.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// The code that is written so; `None` for one that this version does not know.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", 400, "The request is not valid"),
            Self::Unauthenticated => ("unauthenticated", 401, "Sign-in needed"),
            Self::Forbidden => ("forbidden", 403, "Not allowed"),
            Self::NotFound => ("not-found", 404, "Not found"),
            Self::Conflict => ("conflict", 409, "It contradicts what is there"),
            Self::StaleLog => ("stale-log", 409, "The log has moved on"),
            Self::RotationRequired => ("rotation-required", 409, "The team key must be rotated first"),
            Self::CoverageMismatch => ("coverage-mismatch", 409, "The devices have changed"),
            Self::Gone => ("gone", 410, "No longer available"),
            Self::TooLarge => ("too-large", 413, "Too large"),
            Self::BadSignature => ("bad-signature", 422, "The signature does not fit"),
            Self::ClockSkew => ("clock-skew", 422, "The clocks differ"),
            Self::RateLimited => ("rate-limited", 429, "Too many requests"),
            Self::Internal => ("internal", 500, "A fault of the service"),
            Self::Unavailable => ("unavailable", 503, "Not available right now"),
            Self::AuthorizationPending => ("authorization_pending", 400, "Not confirmed yet"),
            Self::SlowDown => ("slow_down", 400, "Polling too often"),
            Self::ExpiredToken => ("expired_token", 400, "The sign-in has expired"),
            Self::AccessDenied => ("access_denied", 400, "The sign-in was refused"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something was refused: a stable code, and a text that tells the caller what is wrong and what to do.
///
/// The detail never holds internals, and holds no input of more than an identifier's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub code: Code,
    /// What to tell the caller.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with its text.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Forbidden, detail)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl core::error::Error for Refusal {}
