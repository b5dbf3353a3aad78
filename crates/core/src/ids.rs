//! Identifiers. Each is its own type, so that one can never stand where another belongs.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use uuid::Uuid;

use crate::{Bytes, Refusal, Result, b64u};

/// A SHA-256 digest, written as b64u: 43 characters.
///
/// Ordered as that text is, like everything in the protocol: as SQL and JavaScript sort it without being told how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(Bytes<32>);

impl Ord for Hash {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = || self.as_bytes().iter().zip(other.as_bytes());
        // Text differs first where the first bits do. The three bytes that a group of four characters stands for are enough.
        let Some(at) = pairs().position(|(a, b)| a != b) else { return Ordering::Equal };
        let group = |hash: &Self| {
            let start = at.saturating_sub(at.checked_rem(3).unwrap_or_default());
            b64u::encode(hash.as_bytes().get(start..start.saturating_add(3).min(32)).unwrap_or_default())
        };
        group(self).cmp(&group(other))
    }
}

impl PartialOrd for Hash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Bytes(Sha256::digest(bytes).into()))
    }

    /// A digest that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Bytes(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self> {
        b64u::decode_array(text).map(Self::from_bytes)
    }
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Hash);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<Self> {
                text.parse().map(Self)
            }
        }
    };
}

hash_id! {
    /// A team: the hash of the first entry of its log.
    TeamId
}
hash_id! {
    /// A user: the hash of the first entry of their log.
    UserId
}
hash_id! {
    /// A device: the RFC 7638 thumbprint of its signing key.
    DeviceId
}
hash_id! {
    /// An encryption key: the RFC 7638 thumbprint of an ECDH key.
    KeyId
}
hash_id! {
    /// An invitation: the RFC 7638 thumbprint of its public key.
    InviteId
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $check:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id that a UUID stands for; `invalid-request` if it is of the wrong version.
            pub fn new(uuid: Uuid) -> Result<Self> {
                let check: fn(&Uuid) -> bool = $check;
                if check(&uuid) { Ok(Self(uuid)) } else { Err(Refusal::invalid($what)) }
            }

            /// The UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Refusal;

            /// One value has one spelling: lower case, with hyphens.
            fn from_str(text: &str) -> Result<Self> {
                let id = Uuid::try_parse(text).map_err(|_| Refusal::invalid($what)).and_then(Self::new)?;
                if id.to_string() == text { Ok(id) } else { Err(Refusal::invalid($what)) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(|refusal: Refusal| serde::de::Error::custom(refusal.detail))
            }
        }
    };
}

uuid_id! {
    /// An account at the service, as the service numbers it.
    AccountId, |uuid| !uuid.is_nil(), "expected an account id: a UUID in lower case with hyphens"
}
uuid_id! {
    /// A snippet, numbered by the client that made it: a UUID of version 7.
    SnippetId, |uuid| uuid.get_version_num() == 7, "expected a snippet id: a UUID of version 7 in lower case with hyphens"
}

/// The last entry of a log: what a client pins, and what an append builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Position in the log, from 0.
    pub seq: u64,
    /// Hash of the entry there.
    pub hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let id = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        assert_eq!(id.parse::<SnippetId>().unwrap().to_string(), id);
        for other in [
            "0192F3A4-5b6c-7d8e-9f00-112233445566",
            "0192f3a45b6c7d8e9f00112233445566",
            "{0192f3a4-5b6c-7d8e-9f00-112233445566}",
            "urn:uuid:0192f3a4-5b6c-7d8e-9f00-112233445566",
            "0192f3a4-5b6c-4d8e-9f00-112233445566",
            "",
        ] {
            assert!(other.parse::<SnippetId>().is_err(), "{other:?} must be refused");
        }
    }

    #[test]
    fn hashes_are_ordered_as_their_text_is() {
        let hashes: Vec<Hash> = (0..400_u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
        let last_byte = |byte| Hash::from_bytes(core::array::from_fn(|at| if at == 31 { byte } else { 7 }));
        let near: Vec<Hash> = (0..=255).map(last_byte).collect();
        for hashes in [hashes, near] {
            let mut by_hash = hashes.clone();
            by_hash.sort_unstable();
            let mut by_text = hashes;
            by_text.sort_unstable_by_key(Hash::to_string);
            assert_eq!(by_hash, by_text);
        }
    }

    #[test]
    fn a_hash_is_43_characters() {
        // SHA-256 of the empty string, FIPS 180-4.
        let hash = Hash::of(b"");
        assert_eq!(hash.to_string(), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
    }
}
