//! DPoP proofs (RFC 9449): who sends a request holds the device's key, and signed for this very request.
//!
//! A proof is a JWS like a statement, but its header carries the key itself. Whether its signature fits, the platform
//! says; whether it is about the request at hand, [`Proof::check`].

use serde::{Deserialize, Serialize};

use crate::jws::{self, ALG, Compact, Verifier};
use crate::limits::{PROOF_BYTES, PROOF_ID_BYTES, PROOF_SKEW};
use crate::{Code, DeviceId, Hash, PublicKey, Refusal, Result, Time};

/// The `typ` in the header of a proof.
pub const TYP: &str = "dpop+jwt";

/// What a proof says (RFC 9449 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Unlike that of any other proof of this device: 1 to 64 visible ASCII characters.
    pub jti: String,
    /// The request's method.
    pub htm: String,
    /// The request's address, without query and fragment.
    pub htu: String,
    /// When it was signed.
    pub iat: Time,
    /// Hash of the access token that the request carries; none where it carries none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ath: Option<Hash>,
}

/// The string that the device signs: `header.payload`. The proof is this, a dot, and b64u of r ‖ s.
pub fn signing_input(key: &PublicKey, proof: &Proof) -> Result<String> {
    let header = Header { typ: TYP.to_owned(), alg: ALG.to_owned(), jwk: *key };
    jws::signing_input(&header, proof)
}

/// A proof that is well formed. Nobody has checked its signature yet.
#[derive(Debug, Clone)]
pub struct UnverifiedProof<'a> {
    signed: &'a str,
    signature: [u8; 64],
    key: PublicKey,
    proof: Proof,
}

impl<'a> UnverifiedProof<'a> {
    /// Parses the value of the header `DPoP`. `unauthenticated` if it is no proof: another `typ` or `alg`, unknown or
    /// repeated members, a key that is not public or not on P-256, more than 4 KiB.
    pub fn parse(compact: &'a str) -> Result<Self> {
        Self::read(compact).ok_or_else(|| unauthenticated("The header DPoP holds no proof as in RFC 9449."))
    }

    fn read(compact: &'a str) -> Option<Self> {
        if compact.len() > PROOF_BYTES {
            return None;
        }
        let parts = Compact::parse(compact).ok()?;
        let Header { typ, alg, jwk } = serde_json::from_slice(&parts.header).ok()?;
        let proof: Proof = serde_json::from_slice(&parts.payload).ok()?;
        let jti = proof.jti.as_bytes();
        let fits = typ == TYP
            && alg == ALG
            && (1..=PROOF_ID_BYTES).contains(&jti.len())
            && jti.iter().all(u8::is_ascii_graphic);
        fits.then_some(Self { signed: parts.signed, signature: parts.signature, key: jwk, proof })
    }

    /// What is said. Not to be trusted: nobody has checked who said it.
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Checks the signature with the key in the header. Gives the proof and the device that made it.
    pub async fn verify<V: Verifier>(self, verifier: &V) -> Result<(Proof, DeviceId), V::Error> {
        if verifier.es256(&self.key, self.signed.as_bytes(), &self.signature).await? {
            Ok((self.proof, DeviceId(self.key.thumbprint())))
        } else {
            Err(unauthenticated("The signature of the proof does not match.").into())
        }
    }

    /// The key that is said to have signed.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

impl Proof {
    /// Whether it is about this request: its method, whether its address is the request's (which takes knowing what
    /// addresses are alike), the access token that came along, and the time of receipt.
    ///
    /// `unauthenticated`, or `clock-skew` when all but the time is right: signed more than 60 seconds ago or ahead.
    pub fn check(&self, method: &str, address_fits: bool, token: Option<&str>, received_at: Time) -> Result<()> {
        if self.htm != method || !address_fits {
            return Err(unauthenticated("The proof was made for another request: `htm` and `htu` name this one's."));
        }
        if self.ath != token.map(|token| Hash::of(token.as_bytes())) {
            return Err(unauthenticated("The proof was made for another access token: `ath` is the hash of this one."));
        }
        if self.iat.0.abs_diff(received_at.0) > PROOF_SKEW {
            let detail = "The proof was signed more than a minute ago, or ahead. Sign one for each request; if it was new, \
                          set this machine's clock.";
            return Err(Refusal::new(Code::ClockSkew, detail));
        }
        Ok(())
    }

    /// When it will be refused for its age.
    pub const fn ends_at(&self) -> Time {
        self.iat.plus(PROOF_SKEW + 1)
    }
}

fn unauthenticated(detail: &'static str) -> Refusal {
    Refusal::new(Code::Unauthenticated, detail)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    jwk: PublicKey,
}
