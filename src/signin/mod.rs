//! Sign-in, in the shape of RFC 8628: a device starts a handshake and polls for tokens, while a person goes through
//! GitHub and confirms in a browser.
//!
//! | what | where it lives | why there |
//! |---|---|---|
//! | the handshake, for the poller | the device code: a JWT | a poll needs no store before somebody has decided |
//! | the handshake, for the browser | KV, by its user code, written once, gone after 300 s | the person may type the code anywhere |
//! | what the browser has done so far | a signed cookie | bound to that browser, nothing to clean up |
//! | the person's decision, and the claim | D1 | each happens once: a primary key, a compare-and-set |
//!
//! Tokens are minted when they are claimed and stored nowhere.

pub(crate) mod browser;
mod github;
mod handshake;
mod ticket;

use osmynt_core::api::{HandshakeStarted, StartHandshake, TokenRequest, Tokens};
use osmynt_core::limits::{ACCESS_SECONDS, HANDSHAKE_SECONDS, POLL_SECONDS, REFRESH_SECONDS};
use osmynt_core::statement::HandshakeStatement;
use osmynt_core::{Code, DeviceId, Hash, Unverified, UserId, b64u};
use worker::Response;

use crate::crypto;
use crate::db::{Db, With};
use crate::problem::Problem;
use crate::routes::Call;
use crate::tokens::{Access, Confirmation, Refresh, TokenError};
use handshake::{DeviceCode, Handshake, UserCode};

/// `POST /v1/handshakes`: a device asks to be signed in.
///
/// Refused with `bad-signature` unless the device signed for itself, `clock-skew`, `invalid-request`.
pub(crate) async fn start(mut call: Call) -> Result<Response, Problem> {
    let StartHandshake { statement } = call.json().await?;
    let statement = Unverified::<HandshakeStatement>::parse(&statement)?;
    statement.payload().iat.check_claimed(call.now)?;
    let key = statement.payload().jwk;
    let statement = crypto::verify(statement, &key).await?;
    let said = statement.payload();
    handshake::check_name(&said.name)?;

    let handshake = Handshake {
        id: b64u::encode(&crypto::random::<16>()?),
        jwk: key,
        name: said.name.clone(),
        expires: call.now.plus(HANDSHAKE_SECONDS),
    };
    let user_code = UserCode::draw(&crypto::random::<32>()?)?;
    handshake.store(&user_code, &call.env).await?;
    let claims = DeviceCode {
        handshake: handshake.id,
        challenge: said.challenge,
        cnf: Confirmation { jkt: DeviceId(statement.kid()) },
    };
    let verification_uri = format!("{}/sign-in", call.config.origin);
    let started = HandshakeStarted {
        device_code: call.issuer().mint(claims, call.now, HANDSHAKE_SECONDS)?,
        verification_uri_complete: format!("{verification_uri}?code={user_code}"),
        user_code: user_code.to_string(),
        verification_uri,
        expires_in: HANDSHAKE_SECONDS,
        interval: POLL_SECONDS,
    };
    Ok(Response::from_json(&started)?.with_status(201))
}

/// `POST /v1/tokens`
pub(crate) async fn tokens(mut call: Call) -> Result<Response, Problem> {
    let tokens = match call.json().await? {
        TokenRequest::DeviceCode { device_code, verifier } => claim(&call, &device_code, &verifier).await?,
        TokenRequest::RefreshToken { refresh_token } => refresh(&call, &refresh_token).await?,
    };
    Ok(Response::from_json(&tokens)?)
}

/// RFC 8628 section 3.4: the tokens of a handshake, once.
///
/// 1. The device code is one of ours (`invalid-request`) and not over (`expired_token`).
/// 2. The verifier is what the challenge was made of (`invalid-request`).
/// 3. Somebody has decided (`authorization_pending`), and approved (`access_denied`).
/// 4. Nobody has claimed the tokens (`expired_token`).
async fn claim(call: &Call, device_code: &str, verifier: &str) -> Result<Tokens, Problem> {
    // 1
    let code = call.issuer().open::<DeviceCode>(device_code, call.now).map_err(|error| match error {
        TokenError::Expired => expired(),
        TokenError::Invalid => Problem::new(Code::InvalidRequest, "This is not a device code of this service."),
    })?;
    // 2
    if !is_verifier(verifier) || Hash::of(verifier.as_bytes()) != code.challenge {
        return Err(Problem::new(Code::InvalidRequest, "The verifier is not what the challenge was made of."));
    }
    // 3
    let db = Db::open(&call.env)?;
    let decided = db.handshake(&code.handshake).await?.ok_or_else(|| {
        Problem::new(Code::AuthorizationPending, "Nobody has confirmed this sign-in yet. Ask again in 2 seconds.")
    })?;
    let user =
        decided.user.ok_or_else(|| Problem::new(Code::AccessDenied, "The sign-in was refused in the browser."))?;
    // 4. What is read here may be out of date a moment later; the claim itself is a compare-and-set.
    let session = b64u::encode(&crypto::random::<16>()?);
    let expires = call.now.plus(REFRESH_SECONDS);
    if decided.session.is_some() || !db.claim(&code.handshake, &session, call.now, expires).await? {
        return Err(expired());
    }
    let refresh = Refresh { sub: user, sid: session.clone(), cnf: code.cnf.clone() };
    let refresh_token = call.issuer().mint(refresh, call.now, REFRESH_SECONDS)?;
    Ok(Tokens {
        refresh_token: Some(refresh_token),
        refresh_expires_in: Some(REFRESH_SECONDS),
        ..access(call, user, session, code.cnf)?
    })
}

/// RFC 6749 section 6: another access token, as long as the session is open and its device not revoked.
async fn refresh(call: &Call, refresh_token: &str) -> Result<Tokens, Problem> {
    let over = || Problem::new(Code::Unauthenticated, "The session has ended: sign in again.");
    let Refresh { sub, sid, cnf } = call.issuer().open::<Refresh>(refresh_token, call.now).map_err(|_| over())?;
    let caller = Db::open(&call.env)?.caller(&sid, sub, cnf.jkt, None, With::Nothing, call.now).await?;
    caller.ok_or_else(over)?;
    access(call, sub, sid, cnf)
}

fn access(call: &Call, user: UserId, session: String, cnf: Confirmation) -> Result<Tokens, Problem> {
    let access = Access { sub: user, sid: session, cnf };
    Ok(Tokens {
        token_type: "Bearer".to_owned(),
        access_token: call.issuer().mint(access, call.now, ACCESS_SECONDS)?,
        expires_in: ACCESS_SECONDS,
        refresh_token: None,
        refresh_expires_in: None,
        user,
    })
}

fn expired() -> Problem {
    Problem::new(Code::ExpiredToken, "The sign-in took too long, or its tokens were claimed. Start again.")
}

/// RFC 7636 section 4.1, with the alphabet of base64url.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
