use core::fmt;
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Bytes, Hash, Refusal, Result};

/// A P-256 public key: a point that is on the curve, whatever it came from.
///
/// As JSON it is a JWK (RFC 7517, RFC 7518 section 6.2.1) with exactly `kty`, `crv`, `x` and `y`. A private
/// key by mistake, with its `d`, is refused and not merely ignored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    x: Bytes<32>,
    y: Bytes<32>,
}

impl PublicKey {
    /// Reads the uncompressed SEC 1 form: 65 bytes, the first 0x04.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self> {
        let not_a_key = || Refusal::invalid("expected a public key on the curve P-256");
        let (tag, coordinates) = bytes.split_first().ok_or_else(not_a_key)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or_else(not_a_key)?;
        if *tag != 4 {
            return Err(not_a_key());
        }
        let key =
            Self { x: Bytes(x.try_into().map_err(|_| not_a_key())?), y: Bytes(y.try_into().map_err(|_| not_a_key())?) };
        key.on_curve().then_some(key).ok_or_else(not_a_key)
    }

    /// The uncompressed SEC 1 form: 0x04, x, y.
    pub fn to_sec1(self) -> [u8; 65] {
        let mut bytes = [4; 65];
        let coordinates = self.x.0.iter().chain(&self.y.0);
        for (target, source) in bytes.iter_mut().skip(1).zip(coordinates) {
            *target = *source;
        }
        bytes
    }

    /// The RFC 7638 SHA-256 thumbprint.
    pub fn thumbprint(&self) -> Hash {
        Hash::of(format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y).as_bytes())
    }

    fn on_curve(&self) -> bool {
        let point = p256::Sec1Point::from_bytes(self.to_sec1());
        point.is_ok_and(|point| bool::from(p256::PublicKey::from_sec1_point(&point).is_some()))
    }
}

impl From<p256::PublicKey> for PublicKey {
    fn from(key: p256::PublicKey) -> Self {
        let point = key.to_sec1_point(false);
        let coordinate = |bytes: Option<&p256::FieldBytes>| Bytes(bytes.map_or([0; 32], |bytes| (*bytes).into()));
        Self { x: coordinate(point.x()), y: coordinate(point.y()) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: Kty,
    crv: Crv,
    x: Bytes<32>,
    y: Bytes<32>,
}

#[derive(Serialize, Deserialize)]
enum Kty {
    #[serde(rename = "EC")]
    Ec,
}

#[derive(Serialize, Deserialize)]
enum Crv {
    #[serde(rename = "P-256")]
    P256,
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Jwk { kty: Kty::Ec, crv: Crv::P256, x: self.x, y: self.y }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let jwk = Jwk::deserialize(deserializer)?;
        let key = Self { x: jwk.x, y: jwk.y };
        if key.on_curve() { Ok(key) } else { Err(D::Error::custom("expected a public key on the curve P-256")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The public key of RFC 7515 appendix A.3.
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn parse(json: &str) -> Result<PublicKey, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_published_key_is_read_and_written() {
        let json = format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"}}"#);
        let key = parse(&json).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), json);
        assert_eq!(PublicKey::from_sec1(&key.to_sec1()).unwrap(), key);
    }

    #[test]
    fn anything_but_a_public_key_on_the_curve_is_refused() {
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (why, json) in [
            ("private", format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","d":"{zero}"}}"#)),
            ("off the curve", format!(r#"{{"kty":"EC","crv":"P-256","x":"{Y}","y":"{X}"}}"#)),
            ("zero", format!(r#"{{"kty":"EC","crv":"P-256","x":"{zero}","y":"{zero}"}}"#)),
            ("another curve", format!(r#"{{"kty":"EC","crv":"P-384","x":"{X}","y":"{Y}"}}"#)),
            ("another type", format!(r#"{{"kty":"OKP","crv":"P-256","x":"{X}","y":"{Y}"}}"#)),
            ("short", format!(r#"{{"kty":"EC","crv":"P-256","x":"AAAA","y":"{Y}"}}"#)),
            ("twice", format!(r#"{{"kty":"EC","kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"}}"#)),
            ("metadata", format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}","use":"sig"}}"#)),
        ] {
            assert!(parse(&json).is_err(), "{why} must be refused");
        }
    }
}
