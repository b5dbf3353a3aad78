//! What sealed things look like from outside. Sealing and opening is the client's business.

use serde::{Deserialize, Serialize};

use crate::{Bytes, DeviceId, KeyId, b64u};

/// AES-256-GCM under a key that the context names: a 12-byte nonce, and ciphertext with its 16-byte tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBox {
    /// The nonce, random.
    pub nonce: Bytes<12>,
    /// Ciphertext and tag.
    #[serde(with = "b64u::vec")]
    pub ct: Vec<u8>,
}

impl SealedBox {
    /// Whether the box can hold a plaintext of up to this many bytes.
    pub(crate) fn holds_at_most(&self, plaintext: usize) -> bool {
        self.ct.len().checked_sub(16).is_some_and(|length| length <= plaintext)
    }

    /// Whether the box holds a plaintext of exactly this many bytes.
    pub(crate) fn holds(&self, plaintext: usize) -> bool {
        self.ct.len().checked_sub(16) == Some(plaintext)
    }
}

/// A 32-byte key sealed to one device with HPKE (RFC 9180), base mode (section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The recipient.
    pub device: DeviceId,
    /// Which of the recipient's keys it is sealed to.
    pub prekey: KeyId,
    /// The encapsulated key: an uncompressed P-256 point.
    pub enc: Bytes<65>,
    /// The sealed key and its tag.
    pub ct: Bytes<48>,
}
