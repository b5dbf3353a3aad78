//! JWTs (RFC 7519), each for one purpose.
//!
//! All are HS256, and nothing else is accepted. `typ` and `aud` keep them apart (RFC 8725 sections 3.9 and 3.11): an
//! access token never passes for a refresh token, nor a device code for either. `kid` names the secret, so that it can be
//! replaced with nobody signed out. Time comes in as an argument.

use chrono::{DateTime, TimeDelta, Utc};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, Claims, Header, TimeOptions, UntrustedToken};
use osmynt_core::{AccountId, DeviceId, Hash, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// What a kind of token says, and how it is told from the others.
pub(crate) trait Purpose: Serialize + DeserializeOwned {
    /// The header's `typ`.
    const TYP: &'static str;
    /// The claim `aud`.
    const AUD: &'static str;
}

/// For `Authorization` (RFC 9068 names the `typ`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) sub: AccountId,
    /// The session.
    pub(crate) sid: String,
    /// How often the session's tokens had been replaced when this one was made.
    #[serde(rename = "gen")]
    pub(crate) generation: u64,
    pub(crate) cnf: Confirmation,
}

impl Purpose for Access {
    const TYP: &'static str = "at+jwt";
    const AUD: &'static str = "osmynt-access";
}

/// For the next access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refresh {
    pub(crate) sub: AccountId,
    /// The session.
    pub(crate) sid: String,
    /// How often the session's tokens had been replaced when this one was made.
    #[serde(rename = "gen")]
    pub(crate) generation: u64,
    pub(crate) cnf: Confirmation,
}

impl Purpose for Refresh {
    const TYP: &'static str = "rt+jwt";
    const AUD: &'static str = "osmynt-refresh";
}

/// Whose token it is (RFC 7800; `jkt` as in RFC 9449 section 6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: DeviceId,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// It was one, until its time was over.
    Expired,
    /// It was never one of this service's for this purpose.
    Invalid,
}

/// What tokens are signed with. Not `Debug`.
pub(crate) struct Secrets {
    /// For new tokens.
    pub(crate) current: Vec<u8>,
    /// Tokens of this one are still accepted.
    pub(crate) previous: Option<Vec<u8>>,
}

/// Mints tokens and opens those that it minted.
pub(crate) struct Issuer<'a> {
    secrets: &'a Secrets,
    origin: &'a str,
}

impl<'a> Issuer<'a> {
    /// `origin` is the `iss` of every token.
    pub(crate) const fn new(secrets: &'a Secrets, origin: &'a str) -> Self {
        Self { secrets, origin }
    }

    /// A token that says `claims` for so many seconds.
    pub(crate) fn mint<T: Purpose>(&self, claims: T, now: Time, seconds: u64) -> Result<String, Problem> {
        let unmintable = || Problem::internal("a token cannot be minted");
        let clock = instant(now).ok_or_else(unmintable)?;
        let lifetime = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).ok_or_else(unmintable)?;
        let claims = Claims::new(Envelope { iss: self.origin.to_owned(), aud: T::AUD.to_owned(), claims })
            .set_duration_and_issuance(&TimeOptions::new(TimeDelta::zero(), || clock), lifetime);
        let secret = &self.secrets.current;
        let header = Header::empty().with_token_type(T::TYP).with_key_id(kid(secret));
        Hs256.token(&header, &claims, &Hs256Key::new(secret)).map_err(|_| unmintable())
    }

    /// What a token says, if it is one of this purpose and its time is not over.
    pub(crate) fn open<T: Purpose>(&self, token: &str, now: Time) -> Result<T, TokenError> {
        let token = UntrustedToken::new(token).map_err(|_| TokenError::Invalid)?;
        let named = |secret: &&Vec<u8>| token.header().key_id.as_deref() == Some(kid(secret).as_str());
        let secrets = [Some(&self.secrets.current), self.secrets.previous.as_ref()];
        let secret = secrets.into_iter().flatten().find(named).ok_or(TokenError::Invalid)?;
        let validator = Hs256Key::new(secret);
        let token = Hs256.validator::<Envelope<T>>(&validator).validate(&token).map_err(|_| TokenError::Invalid)?;
        let (header, claims) = token.into_parts();
        let Envelope { iss, aud, claims: said } = claims.custom;
        if header.token_type.as_deref() != Some(T::TYP) || aud != T::AUD || iss != self.origin {
            return Err(TokenError::Invalid);
        }
        // RFC 7519 section 4.1.4: not "on or after" that time.
        match (claims.expiration, instant(now)) {
            (Some(expiration), Some(now)) if now < expiration => Ok(said),
            (Some(_), Some(_)) => Err(TokenError::Expired),
            _ => Err(TokenError::Invalid),
        }
    }
}

/// The claims that every token has besides `iat` and `exp`.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    iss: String,
    aud: String,
    #[serde(flatten)]
    claims: T,
}

/// What names a secret in the header of its tokens: 64 bits of a hash of it, which tell no more than a token does.
fn kid(secret: &[u8]) -> String {
    const LENGTH: usize = 11;
    Hash::of(&[b"osmynt/v1/kid\n", secret].concat()).to_string().chars().take(LENGTH).collect()
}

fn instant(time: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(time.0).ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_core::{Hash, b64u};

    const OLD: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NEW: &[u8] = b"another secret of 32 bytes or more";
    const ORIGIN: &str = "https://osmynt.example";
    const NOW: Time = Time(1_800_000_000);

    fn secrets(current: &[u8], previous: Option<&[u8]>) -> Secrets {
        Secrets { current: current.to_vec(), previous: previous.map(<[u8]>::to_vec) }
    }

    fn opened<T: Purpose>(token: &str, now: Time) -> Result<T, TokenError> {
        Issuer::new(&secrets(OLD, None), ORIGIN).open(token, now)
    }

    fn access() -> Access {
        let sub: AccountId = "6b1d7f0a-7c2e-4f43-9d3c-0d6f5b8f6a10".parse().unwrap();
        Access { sub, sid: "session".into(), generation: 3, cnf: Confirmation { jkt: DeviceId(Hash::of(b"device")) } }
    }

    fn refresh() -> Refresh {
        let Access { sub, sid, generation, cnf } = access();
        Refresh { sub, sid, generation, cnf }
    }

    fn mint<T: Purpose>(claims: T) -> String {
        Issuer::new(&secrets(OLD, None), ORIGIN).mint(claims, NOW, 60).ok().unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_minted_with_until_the_second_it_expires() {
        let token = mint(access());
        assert_eq!(opened::<Access>(&token, NOW), Ok(access()));
        assert_eq!(opened::<Access>(&token, Time(NOW.0 + 59)), Ok(access()));
        assert_eq!(opened::<Access>(&token, Time(NOW.0 + 60)), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_is_accepted_for_its_own_purpose_only() {
        // The two have the same claims: `typ` and `aud` alone keep them apart.
        assert_eq!(opened::<Refresh>(&mint(access()), NOW), Err(TokenError::Invalid));
        assert_eq!(opened::<Access>(&mint(refresh()), NOW), Err(TokenError::Invalid));
    }

    /// `Access` by its claims, with the `typ` of the other.
    #[test]
    fn typ_and_aud_are_each_checked() {
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct WrongTyp(Access);
        impl Purpose for WrongTyp {
            const TYP: &'static str = Refresh::TYP;
            const AUD: &'static str = Access::AUD;
        }
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct WrongAud(Access);
        impl Purpose for WrongAud {
            const TYP: &'static str = Access::TYP;
            const AUD: &'static str = Refresh::AUD;
        }
        assert_eq!(opened::<Access>(&mint(WrongTyp(access())), NOW), Err(TokenError::Invalid));
        assert_eq!(opened::<Access>(&mint(WrongAud(access())), NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn another_service_is_refused() {
        let elsewhere = secrets(OLD, None);
        let elsewhere = Issuer::new(&elsewhere, "https://elsewhere.example");
        assert_eq!(elsewhere.open::<Access>(&mint(access()), NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn a_secret_is_replaced_with_nobody_signed_out_as_long_as_the_previous_one_is_known() {
        let token = mint(access());
        let during = secrets(NEW, Some(OLD));
        assert_eq!(Issuer::new(&during, ORIGIN).open::<Access>(&token, NOW), Ok(access()));
        let next = Issuer::new(&during, ORIGIN).mint(access(), NOW, 60).ok().unwrap();
        let after = secrets(NEW, None);
        assert_eq!(Issuer::new(&after, ORIGIN).open::<Access>(&next, NOW), Ok(access()));
        assert_eq!(Issuer::new(&after, ORIGIN).open::<Access>(&token, NOW), Err(TokenError::Invalid));
        assert_eq!(opened::<Access>(&next, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_that_names_no_secret_or_the_other_one_is_refused() {
        let both = secrets(OLD, Some(NEW));
        let [header, rest] = mint(access()).split_once('.').map(|(a, b)| [a.to_owned(), b.to_owned()]).unwrap();
        let header = String::from_utf8(b64u::decode(&header).unwrap()).unwrap();
        for changed in [header.replace(&kid(OLD), &kid(NEW)), header.replace(&format!(r#","kid":"{}""#, kid(OLD)), "")]
        {
            assert_ne!(changed, header);
            let forged = format!("{}.{rest}", b64u::encode(changed.as_bytes()));
            assert_eq!(Issuer::new(&both, ORIGIN).open::<Access>(&forged, NOW), Err(TokenError::Invalid), "{changed}");
        }
    }

    #[test]
    fn alg_none_and_changed_claims_are_refused() {
        let token = mint(access());
        let [_, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let none = b64u::encode(format!(r#"{{"alg":"none","typ":"at+jwt","kid":"{}"}}"#, kid(OLD)).as_bytes());
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            token.replace(claims, &claims.replace('e', "f")),
        ] {
            assert_eq!(opened::<Access>(&forged, NOW), Err(TokenError::Invalid), "{forged}");
        }
    }
}
