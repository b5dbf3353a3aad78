//! base64url without padding, decoded strictly (section 1): one value has one spelling.

use base64ct::{Base64UrlUnpadded, Encoding};
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

use crate::{Refusal, Result};

/// Encodes bytes.
pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Decodes text. `invalid-request` for padding, white space, other alphabets and non-zero trailing bits.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| Refusal::invalid("expected base64url without padding"))
}

/// Decodes text that must stand for exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N]> {
    <[u8; N]>::try_from(decode(text)?).map_err(|_| Refusal::invalid(format!("expected base64url of {N} bytes")))
}

/// Exactly `N` bytes, written as b64u.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        decode_array(&text).map(Self).map_err(|refusal| D::Error::custom(refusal.detail))
    }
}

/// For `#[serde(with = "…")]` on a `Vec<u8>` that is written as b64u.
pub mod vec {
    use super::{Cow, Deserialize, Deserializer, Result, Serializer, decode, encode};
    use serde::de::Error as _;

    /// Writes b64u.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// Reads b64u.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        decode(&text).map_err(|refusal| D::Error::custom(refusal.detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_spelling() {
        assert_eq!(encode(b"\xfb\xff"), "-_8");
        assert_eq!(decode("-_8").unwrap(), b"\xfb\xff");
        for other in ["-_9", "-_8=", "+/8", " -_8", "-_8\n", "-", "-_8A=", "é"] {
            assert!(decode(other).is_err(), "{other:?} must be refused");
        }
        assert!(decode_array::<3>("-_8").is_err());
    }
}
