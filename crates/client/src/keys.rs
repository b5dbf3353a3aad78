//! A device's keys: what it signs with, and what others seal to.

use std::fmt;

use osmynt_core::dpop::{self, Proof};
use osmynt_core::{Hash, KeyId, Payload, PublicKey, Refusal, Time, Verifier, b64u, signing_input};
use p256::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer as _, Verifier as _},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use crate::seal::Prekey;
use crate::{Error, Result};

/// A private ECDSA P-256 key that signs statements. Wiped when dropped.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
}

/// Seconds that a signed prekey is published for before another takes its place: a week.
const PREKEY_SECONDS: u64 = 7 * 24 * 3600;

/// Everything private that one device has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceKeys {
    /// Signs everything the device says; its thumbprint is the device id.
    pub signer: Signer,
    /// Signed prekeys, oldest first. The last that was published is the current one; the earlier ones open what was
    /// sealed to them. After it there may be one that is about to be published.
    prekeys: Vec<StoredPrekey>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPrekey {
    published_at: Option<Time>,
    secret: Prekey,
}

impl DeviceKeys {
    /// New keys, whose prekey is published together with the device. `random` gives 32 fresh bytes at each call.
    pub fn generate(now: Time, mut random: impl FnMut() -> Result<[u8; 32]>) -> Result<Self> {
        let signer = Signer::generate(&mut random)?;
        let secret = Prekey::derive(&Zeroizing::new(random()?))?;
        Ok(Self { signer, prekeys: vec![StoredPrekey { published_at: Some(now), secret }] })
    }

    /// The published prekey. Keys read from a vault always have one.
    pub fn current_prekey(&self) -> Option<&Prekey> {
        self.prekeys.iter().rev().find(|stored| stored.published_at.is_some()).map(|stored| &stored.secret)
    }

    /// Whether the published prekey has served its time, or another one was about to take its place.
    pub fn is_prekey_due(&self, now: Time) -> bool {
        let published = self.prekeys.last().and_then(|stored| stored.published_at);
        published.is_none_or(|at| now.since(at) > PREKEY_SECONDS)
    }

    /// The prekey to publish next. It must be kept before it is published: what others seal to it in between can then be
    /// opened, whatever happens. One that was kept and never published is taken again.
    pub fn next_prekey(&mut self, random: impl FnOnce() -> Result<[u8; 32]>) -> Result<Prekey> {
        if let Some(StoredPrekey { published_at: None, secret }) = self.prekeys.last() {
            return Ok(secret.clone());
        }
        let secret = Prekey::derive(&Zeroizing::new(random()?))?;
        self.prekeys.push(StoredPrekey { published_at: None, secret: secret.clone() });
        Ok(secret)
    }

    /// Notes that a prekey is published.
    pub fn prekey_published(&mut self, id: &KeyId, now: Time) {
        for stored in self.prekeys.iter_mut().filter(|stored| stored.secret.id() == *id) {
            stored.published_at = Some(now);
        }
    }

    /// The prekey of that id, current or earlier.
    pub fn prekey(&self, id: &KeyId) -> Option<&Prekey> {
        self.prekeys.iter().map(|stored| &stored.secret).find(|prekey| prekey.id() == *id)
    }
}

impl Signer {
    /// A new key. `random` gives 32 fresh bytes at each call; it is asked again in the one case of 2^32 where they are
    /// no scalar of the curve (FIPS 186-5, appendix A.2.2).
    pub fn generate(mut random: impl FnMut() -> Result<[u8; 32]>) -> Result<Self> {
        const ATTEMPTS: usize = 8;
        for _ in 0..ATTEMPTS {
            if let Ok(signer) = Self::from_scalar(&Zeroizing::new(random()?)) {
                return Ok(signer);
            }
        }
        Err(Error::Internal { why: "the operating system's random numbers are not random".to_owned() })
    }

    /// The key with this private scalar, big-endian; refused when it is zero or not below the order of the curve.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self> {
        let refuse = || Error::usage("these bytes are no private key");
        let key = SigningKey::from_slice(scalar).map_err(|_| refuse())?;
        let public = PublicKey::from(p256::PublicKey::from(key.verifying_key()));
        Ok(Self { key, public })
    }

    /// The private scalar, big-endian.
    pub fn scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes().into())
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The thumbprint (RFC 7638): `kid`, device id or invite id.
    pub fn kid(&self) -> Hash {
        self.public.thumbprint()
    }

    /// Signs a statement: a compact JWS, ES256 with deterministic nonces (RFC 6979).
    pub fn sign<T: Payload>(&self, payload: &T) -> Result<String> {
        Ok(self.compact(signing_input(self.kid(), payload)?))
    }

    /// Signs a proof that a request is this device's (RFC 9449).
    pub fn prove(&self, proof: &Proof) -> Result<String> {
        Ok(self.compact(dpop::signing_input(&self.public, proof)?))
    }

    /// A JWS of what is to be signed, by RFC 7515 section 5.1.
    fn compact(&self, mut input: String) -> String {
        let signature: Signature = self.key.sign(input.as_bytes());
        input.push('.');
        input.push_str(&b64u::encode(&signature.to_bytes()));
        input
    }
}

/// Checks signatures with `RustCrypto`.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

impl Verifier for RustCrypto {
    type Error = Refusal;

    /// ECDSA P-256 with SHA-256, signature as r ‖ s (RFC 7518 section 3.4).
    async fn es256(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> Result<bool, Refusal> {
        let Ok(key) = VerifyingKey::from_sec1_bytes(&key.to_sec1()) else {
            return Ok(false);
        };
        Ok(Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok()))
    }
}

/// The result of a check by [`RustCrypto`]. The rules are written for verifiers that take their time; this one never waits.
pub fn checked<T>(check: impl Future<Output = T>) -> T {
    pollster::block_on(check)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kid())
    }
}

impl Serialize for Signer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(b64u::encode(self.scalar().as_slice())))
    }
}

impl<'de> Deserialize<'de> for Signer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let scalar = b64u::decode_array(&text).map_err(|_| D::Error::custom("not a private key"))?;
        Self::from_scalar(&Zeroizing::new(scalar)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_core::statement::{DeviceStatement, PrekeyKind, PrekeyStatement};
    use osmynt_core::{Code, Unverified, Verified};

    fn signer(seed: u8) -> Signer {
        Signer::from_scalar(&[seed; 32]).unwrap()
    }

    fn statement(signer: &Signer) -> DeviceStatement {
        DeviceStatement { user: None, jwk: *signer.public(), iat: Time(1_000_000) }
    }

    fn verify<T: Payload>(compact: &str, key: &PublicKey) -> Result<Verified<T>, Refusal> {
        checked(Unverified::parse(compact)?.verify(key, &RustCrypto))
    }

    #[test]
    fn debug_shows_no_private_key() {
        let keys = DeviceKeys::generate(Time(1), || Ok([7; 32])).unwrap();
        let prekey = keys.current_prekey().unwrap();
        assert_eq!(
            format!("{keys:?}"),
            format!(
                "DeviceKeys {{ signer: Signer({}), prekeys: [StoredPrekey {{ published_at: Some(Time(1)), secret: Prekey({}) }}] }}",
                keys.signer.kid(),
                prekey.id()
            )
        );
    }

    #[test]
    fn keys_survive_being_stored() {
        let keys = DeviceKeys::generate(Time(1), || Ok([7; 32])).unwrap();
        let stored = serde_json::to_string(&keys).unwrap();
        let read: DeviceKeys = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.signer.kid(), keys.signer.kid());
        let prekey = read.current_prekey().unwrap();
        assert!(keys.prekey(&prekey.id()).is_some());
    }

    /// A change of these texts needs a migration of every vault.
    #[test]
    fn stored_keys_look_as_they_always_did() {
        let stored = serde_json::to_string(&DeviceKeys::generate(Time(1), || Ok([7; 32])).unwrap()).unwrap();
        assert_eq!(
            stored,
            concat!(
                r#"{"signer":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","#,
                r#""prekeys":[{"published_at":1,"secret":"ZdYryMP4oVu7omNYjcDaAESqYOZAWND0pYPX6VilRAo"}]}"#
            )
        );
    }

    #[test]
    fn a_prekey_is_replaced_after_a_week_and_stays_until_its_successor_is_published() {
        let mut keys = DeviceKeys::generate(Time(1), || Ok([7; 32])).unwrap();
        let first = keys.current_prekey().unwrap().id();
        let due = Time(1).plus(PREKEY_SECONDS + 1);
        assert!(!keys.is_prekey_due(Time(due.0 - 1)) && keys.is_prekey_due(due));

        let second = keys.next_prekey(|| Ok([8; 32])).unwrap().id();
        assert_eq!(keys.current_prekey().unwrap().id(), first, "not before it is published");
        assert!(keys.is_prekey_due(due), "publishing it is still to be done");
        let again = keys.next_prekey(|| Ok([9; 32])).unwrap().id();
        assert_eq!(again, second, "a failure makes no further keys");

        keys.prekey_published(&second, due);
        assert_eq!(keys.current_prekey().unwrap().id(), second);
        assert!(!keys.is_prekey_due(due));
        assert!(keys.prekey(&first).is_some(), "what was sealed to the first still opens");
    }

    #[test]
    fn a_signature_fits_its_key_and_statement_only() {
        let (mine, other) = (signer(1), signer(2));
        let compact = mine.sign(&statement(&mine)).unwrap();
        assert_eq!(verify::<DeviceStatement>(&compact, mine.public()).unwrap().kid(), mine.kid());
        let refused = verify::<DeviceStatement>(&compact, other.public()).unwrap_err();
        assert_eq!(refused.code, Code::BadSignature);

        let (body, _) = compact.rsplit_once('.').unwrap();
        let theirs = other.sign(&statement(&mine)).unwrap();
        let (_, foreign) = theirs.rsplit_once('.').unwrap();
        let swapped = format!("{body}.{foreign}");
        assert_eq!(verify::<DeviceStatement>(&swapped, mine.public()).unwrap_err().code, Code::BadSignature);
    }

    #[test]
    fn a_statement_of_one_kind_never_passes_for_another() {
        let mine = signer(1);
        let compact = mine.sign(&statement(&mine)).unwrap();
        assert_eq!(verify::<PrekeyStatement>(&compact, mine.public()).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(serde_json::to_string(&PrekeyKind::Signed).unwrap(), r#""signed""#);
    }

    #[test]
    fn random_bytes_that_are_no_scalar_are_drawn_again() {
        let mut draws = [[0xff; 32], [0; 32], [5; 32]].into_iter();
        let third = Signer::generate(|| Ok(draws.next().unwrap())).unwrap();
        assert_eq!(third.kid(), signer(5).kid());
        assert!(Signer::generate(|| Ok([0xff; 32])).is_err(), "a broken generator is noticed");
    }
}
