//! Time, as numbers in statements and as text for people.

use chrono::{DateTime, SecondsFormat, Utc};
use core::fmt;
use serde::{Deserialize, Serialize};

use crate::limits::CLOCK_SKEW;
use crate::{Code, Refusal, Result};

/// Seconds since 1970-01-01T00:00:00Z. An integer in statements, RFC 3339 elsewhere (see [`rfc3339`]).
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

    /// For example `2026-01-31T12:00:00Z`.
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

/// For `#[serde(with = "…")]` on a [`Time`] that people read.
pub mod rfc3339 {
    use super::Time;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use std::borrow::Cow;

    /// Writes RFC 3339 in UTC, to the second.
    pub fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        Time::from_rfc3339(&text).map_err(|refusal| D::Error::custom(refusal.detail))
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
    fn a_claimed_time_may_differ_by_five_minutes_and_no_more() {
        let now = Time(1_000_000);
        for (claimed, fits) in [(999_700, true), (1_000_300, true), (999_699, false), (1_000_301, false)] {
            assert_eq!(Time(claimed).check_claimed(now).is_ok(), fits, "{claimed}");
        }
    }
}
