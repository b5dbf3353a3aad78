//! Time, as numbers in statements and as text for people.

use chrono::{DateTime, SecondsFormat, Utc};
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::limits::CLOCK_SKEW;
use crate::{Code, Refusal, Result};

/// Seconds since 1970-01-01T00:00:00Z: an integer in JSON, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// This time and some seconds more.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from an earlier time to this one; 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Refuses a claimed time that is more than 300 seconds from the time of receipt, in either direction.
    pub fn check_claimed(self, received_at: Self) -> Result<()> {
        if self.0.abs_diff(received_at.0) <= CLOCK_SKEW {
            Ok(())
        } else {
            Err(Refusal::new(
                Code::ClockSkew,
                "the signed time is more than 5 minutes from the time of receipt; check this machine's clock",
            ))
        }
    }

    /// Whether this time of receipt is no later than another, up to the tolerance between clocks.
    pub const fn is_by(self, other: Self) -> bool {
        self.0 <= other.0.saturating_add(CLOCK_SKEW)
    }

    /// For example `2026-01-31T12:00:00Z`: for people.
    pub fn to_rfc3339(self) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
            .map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    /// Reads RFC 3339; a fraction of a second is dropped.
    pub fn from_rfc3339(text: &str) -> Result<Self> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .and_then(|time| u64::try_from(time.timestamp()).ok())
            .map(Self)
            .ok_or_else(|| Refusal::invalid("expected a time as in RFC 3339"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Between which times the entries can have been received that a log has gained since it was last read to its end.
///
/// Without it, a service could let somebody who has lost a right speak at a time when they had it.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// When the log was last read to its end, by the reader's clock; none if it never was.
    pub read_at: Option<Time>,
    /// The reader's clock.
    pub now: Time,
}

impl Window {
    /// For who receives entries: at this moment.
    pub const fn receiving(now: Time) -> Self {
        Self { read_at: None, now }
    }

    /// `clock-skew` for a receipt time before the last reading or after now, by more than the tolerance.
    pub fn check(&self, received_at: Time) -> Result<()> {
        let refuse = |detail: &'static str| Err(Refusal::new(Code::ClockSkew, detail));
        if self.read_at.is_some_and(|read_at| !read_at.is_by(received_at)) {
            return refuse("the entry is said to have been received before the log was last read, which lacked it");
        }
        if !received_at.is_by(self.now) {
            return refuse("the entry is said to have been received in the future");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_rfc_3339() {
        assert_eq!(Time(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Time::from_rfc3339("2026-01-31T13:00:00.9+01:00").unwrap().to_rfc3339(), "2026-01-31T12:00:00Z");
        assert!(Time::from_rfc3339("yesterday").is_err());
    }

    #[test]
    fn what_is_new_was_received_since_the_last_reading_and_before_now() {
        let window = Window { read_at: Some(Time(10_000)), now: Time(20_000) };
        for (received_at, fits) in [(9_699, false), (9_700, true), (20_300, true), (20_301, false)] {
            assert_eq!(window.check(Time(received_at)).is_ok(), fits, "{received_at}");
        }
        assert!(Window::receiving(Time(20_000)).check(Time(0)).is_ok(), "a first reading knows no earlier one");
    }

    #[test]
    fn a_claimed_time_may_differ_by_five_minutes_and_no_more() {
        let now = Time(1_000_000);
        for (claimed, fits) in [(999_700, true), (1_000_300, true), (999_699, false), (1_000_301, false)] {
            assert_eq!(Time(claimed).check_claimed(now).is_ok(), fits, "{claimed}");
        }
    }
}
