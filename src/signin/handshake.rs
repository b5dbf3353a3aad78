//! A handshake, from its start until somebody decides about it.

use std::fmt;
use std::str::FromStr;

use osmynt_core::limits::HANDSHAKE_SECONDS;
use osmynt_core::{Code, DeviceId, Hash, PublicKey, Refusal, Time};
use serde::{Deserialize, Serialize};
use worker::Env;

use crate::problem::Problem;
use crate::tokens::{Confirmation, Purpose};

/// A handshake, as the browser must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handshake {
    pub(crate) id: String,
    /// The device's signing key.
    pub(crate) jwk: PublicKey,
    /// What people call the device. Shown to the person, and in the list of their sessions.
    pub(crate) name: String,
    pub(crate) expires: Time,
}

impl Handshake {
    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.jwk.thumbprint())
    }

    /// Writes it to KV, where it is only ever read by its code until it expires.
    pub(crate) async fn store(&self, code: &UserCode, env: &Env) -> Result<(), Problem> {
        let value = serde_json::to_string(self)?;
        env.kv(STORE)?.put(&code.key(), value)?.expiration_ttl(HANDSHAKE_SECONDS).execute().await?;
        Ok(())
    }

    /// Finds the handshake with a code; none if there is none, or not any more.
    ///
    /// KV may take a moment to show at one place what was written at another, so a code that is not found is asked for
    /// again by the person, not by a loop: a miss is cached.
    pub(crate) async fn find(code: &UserCode, env: &Env, now: Time) -> Result<Option<Self>, Problem> {
        let Some(value) = env.kv(STORE)?.get(&code.key()).text().await? else { return Ok(None) };
        let handshake: Self = serde_json::from_str(&value)?;
        Ok(Some(handshake).filter(|handshake| now < handshake.expires))
    }
}

const STORE: &str = "HANDSHAKES";

/// What the device polls with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceCode {
    /// Id of the handshake.
    #[serde(rename = "hid")]
    pub(crate) handshake: String,
    /// SHA-256 of the verifier that comes with a poll.
    pub(crate) challenge: Hash,
    pub(crate) cnf: Confirmation,
}

impl Purpose for DeviceCode {
    const TYP: &'static str = "dc+jwt";
    const AUD: &'static str = "osmynt-device-code";
}

/// What the person compares: `XXXX-XXXX`, of the letters that RFC 8628 section 6.1 recommends, without vowels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UserCode(String);

impl UserCode {
    const LETTERS: &'static [u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    const LENGTH: usize = 8;

    /// A code from random bytes: each stands for a letter, those that would make some letters likelier for none.
    pub(crate) fn draw(random: &[u8]) -> Result<Self, Problem> {
        // 240 is the largest multiple of 20 that a byte can stay below.
        let even = random.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < 240);
        let letters = even.filter_map(|byte| Self::LETTERS.iter().cycle().nth(byte));
        let code: String = letters.take(Self::LENGTH).copied().map(char::from).collect();
        // Of 32 bytes 24 may be passed over, each with a chance of 1 in 16: more never are.
        code.parse().map_err(|_| Problem::internal("too few random letters for a user code"))
    }

    /// Where KV has the handshake. Not the code itself, so that a list of keys is no list of codes.
    fn key(&self) -> String {
        Hash::of(self.0.as_bytes()).to_string()
    }
}

impl FromStr for UserCode {
    type Err = Refusal;

    /// As people type it: in any case, with or without the hyphen, with spaces.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let letters = text.chars().filter(|character| !matches!(character, '-' | ' '));
        let code: String = letters.take(Self::LENGTH + 1).map(|letter| letter.to_ascii_uppercase()).collect();
        if code.len() == Self::LENGTH && code.bytes().all(|letter| Self::LETTERS.contains(&letter)) {
            Ok(Self(code))
        } else {
            Err(Refusal::new(Code::InvalidRequest, "A code has 8 letters: XXXX-XXXX."))
        }
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0.split_at_checked(Self::LENGTH / 2).unwrap_or_default();
        write!(f, "{first}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_without_bias_and_read_as_people_type_it() {
        let code = UserCode::draw(&[255, 240, 0, 19, 20, 39, 239, 1, 2, 3, 4]).ok().unwrap();
        assert_eq!(code.to_string(), "BZBZ-ZCDF");
        for typed in ["BZBZ-ZCDF", "bzbzzcdf", " bzbz zcdf "] {
            assert_eq!(typed.parse::<UserCode>().unwrap(), code);
        }
        assert!(UserCode::draw(&[0; 7]).is_err());
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in ["", "BZBZ-ZCD", "BZBZ-ZCDFF", "AEIO-UAEI", "BZBZ-ZCD1", "BZBZ-ZCDé", "BZBZ/ZCDF"] {
            assert!(text.parse::<UserCode>().is_err(), "{text}");
        }
    }
}
