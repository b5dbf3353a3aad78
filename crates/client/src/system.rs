//! The clock and the random numbers of the operating system. Everything that decides takes both as arguments.

use osmynt_core::Time;

use crate::{Error, Result};

/// The time of this machine.
pub(crate) fn now() -> Time {
    Time(now_millis() / 1000)
}

/// Milliseconds since 1970, for identifiers that sort by time.
#[allow(clippy::disallowed_methods, reason = "the one place where the client reads the time of day")]
pub(crate) fn now_millis() -> u64 {
    // A clock before 1970 is as wrong as one at 1970: the service says so with `clock-skew`.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A point in time to measure from, whatever happens to the clock.
#[allow(clippy::disallowed_methods, reason = "how long the service takes is measured here alone")]
pub(crate) fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// Random bytes from the operating system, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal { why: format!("the operating system gave no random numbers: {error}") })?;
    Ok(bytes)
}
