//! JWS in compact serialization (RFC 7515), read strictly: what statements and proofs of possession have in common.
//!
//! Nothing here trusts a signature. [`Verifier`] is who checks one: Web Crypto in the Worker, `RustCrypto` natively.

use serde::Serialize;

use crate::{PublicKey, Refusal, Result, b64u};

/// The one algorithm: ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
pub(crate) const ALG: &str = "ES256";

/// Checks ES256 signatures.
///
/// It only says whether a signature matches. What that means is decided here, so no caller can assert a verdict.
pub trait Verifier {
    /// What a check can fail with: a [`Refusal`] of this crate, or a fault of the platform.
    type Error: From<Refusal>;

    /// True when `signature` (64 bytes, r ‖ s) over `message` was made with the private half of `key`.
    fn es256(
        &self,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8; 64],
    ) -> impl Future<Output = Result<bool, Self::Error>>;
}

/// The parts of a compact serialization, decoded and not interpreted.
pub(crate) struct Compact<'a> {
    /// `header.payload`, as received: what is signed.
    pub(crate) signed: &'a str,
    /// The header's JSON.
    pub(crate) header: Vec<u8>,
    /// The payload's JSON.
    pub(crate) payload: Vec<u8>,
    /// r ‖ s.
    pub(crate) signature: [u8; 64],
}

impl<'a> Compact<'a> {
    /// Splits and decodes. `invalid-request` unless it is `header.payload.signature` in strict base64url with a signature
    /// of 64 bytes.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let not_compact = || Refusal::invalid("expected a JWS in compact serialization: header.payload.signature");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_compact)?;
        Ok(Self {
            signed,
            header: b64u::decode(header)?,
            payload: b64u::decode(payload)?,
            signature: b64u::decode_array(signature)?,
        })
    }
}

/// The string to sign: b64u of the header, a dot, b64u of the payload.
pub(crate) fn signing_input(header: &impl Serialize, payload: &impl Serialize) -> Result<String> {
    let unwritable = |_| Refusal::invalid("the statement cannot be written as JSON");
    let header = serde_json::to_vec(header).map_err(unwritable)?;
    let payload = serde_json::to_vec(payload).map_err(unwritable)?;
    Ok(format!("{}.{}", b64u::encode(&header), b64u::encode(&payload)))
}
