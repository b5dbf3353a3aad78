//! What sealed things look like from outside. Sealing and opening is the client's business.

use serde::{Deserialize, Serialize};

use crate::{Bytes, DeviceId, KeyId, Refusal, Result, b64u};

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

/// The one suite of this version for envelopes: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180).
pub const ENVELOPE_SUITE: &str = "P256-HKDF-SHA256-A256GCM";
/// Bytes of `enc` in that suite: an uncompressed P-256 point.
const ENC_BYTES: usize = 65;
/// Bytes of `ct` in that suite: a key of 32 bytes and the tag.
const CT_BYTES: usize = 48;

/// A 32-byte key sealed to one device with HPKE (RFC 9180), base mode (section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The recipient.
    pub device: DeviceId,
    /// Which of the recipient's keys it is sealed to.
    pub prekey: KeyId,
    /// Which algorithms sealed it, see [`ENVELOPE_SUITE`]. A reader leaves out an envelope of a suite that it does not know.
    pub suite: String,
    /// The encapsulated key; its length follows from the suite.
    #[serde(with = "b64u::vec")]
    pub enc: Vec<u8>,
    /// The sealed key and its tag; its length follows from the suite.
    #[serde(with = "b64u::vec")]
    pub ct: Vec<u8>,
}

impl Envelope {
    /// Refuses (`invalid-request`) a suite that this version does not know, and parts whose length is not the suite's.
    pub fn check(&self) -> Result<()> {
        if self.suite != ENVELOPE_SUITE {
            return Err(Refusal::invalid("an envelope names a suite that this version does not know"));
        }
        if self.enc.len() != ENC_BYTES || self.ct.len() != CT_BYTES {
            return Err(Refusal::invalid("an envelope's `enc` has 65 bytes and its `ct` 48, as its suite says"));
        }
        Ok(())
    }
}
