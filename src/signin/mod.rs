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
//! Tokens are minted when they are claimed or replaced, and stored nowhere.

pub(crate) mod browser;
mod github;
mod handshake;
mod refresh;
mod ticket;

pub(crate) use refresh::IdempotencyKey;

use osmynt_core::api::{HandshakeStarted, StartHandshake, TokenRequest, Tokens};
use osmynt_core::limits::{ACCESS_SECONDS, DEVICE_NAME_CHARS, HANDSHAKE_SECONDS, POLL_SECONDS, REFRESH_SECONDS};
use osmynt_core::statement::HandshakeStatement;
use osmynt_core::{Code, DeviceId, Hash, Time, Unverified, b64u, text};
use uuid::Builder;
use worker::Response;

use crate::crypto::{self, WebCrypto};
use crate::db::{Db, Ending, Session};
use crate::limits;
use crate::problem::Problem;
use crate::proof::{self, Proven};
use crate::routes::Call;
use crate::tokens::{Access, Confirmation, Refresh, TokenError};
use handshake::{DeviceCode, Handshake, UserCode};
use refresh::{Verdict, judge};

/// `POST /v1/handshakes`: a device asks to be signed in.
///
/// Refused with `bad-signature` unless the device signed for itself, `clock-skew`, `invalid-request`.
pub(crate) async fn start(mut call: Call) -> Result<Response, Problem> {
    let StartHandshake { statement } = call.json().await?;
    let statement = Unverified::<HandshakeStatement>::parse(&statement)?;
    statement.payload().iat.check_claimed(call.now)?;
    let key = statement.payload().jwk;
    let statement = statement.verify(&key, &WebCrypto).await?;
    let said = statement.payload();
    // It is shown where a person decides whether to trust the device.
    text::check_name(&said.name, DEVICE_NAME_CHARS)?;

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

/// `POST /v1/tokens`. Every request comes with a proof by the device that the tokens are for; one that is used again while it
/// is fresh gets nothing that the first did not.
pub(crate) async fn tokens(mut call: Call) -> Result<Response, Problem> {
    let request = call.json().await?;
    let proven = proof::of(&call, None).await?;
    let tokens = match request {
        TokenRequest::DeviceCode { device_code, verifier } => claim(&call, &proven, &device_code, &verifier).await?,
        TokenRequest::RefreshToken { refresh_token, idempotency_key } => {
            refresh(&call, &proven, &refresh_token, idempotency_key).await?
        }
    };
    Ok(Response::from_json(&tokens)?)
}

/// RFC 8628 section 3.4: the tokens of a handshake, once.
///
/// 1. The device code is one of ours (`invalid-request`) and not over (`expired_token`), and the proof by its device
///    (`unauthenticated`).
/// 2. It does not poll too often (`slow_down`).
/// 3. The verifier is what the challenge was made of (`invalid-request`, and the fifth time the handshake is over).
/// 4. Somebody has decided (`authorization_pending`), and approved, and the device may be signed in (`access_denied`).
/// 5. Nobody has claimed the tokens (`expired_token`).
async fn claim(call: &Call, proven: &Proven, device_code: &str, verifier: &str) -> Result<Tokens, Problem> {
    // 1
    let code = call.issuer().open::<DeviceCode>(device_code, call.now).map_err(|error| match error {
        TokenError::Expired => expired(),
        TokenError::Invalid => {
            Problem::new(Code::InvalidRequest, "This is not a device code of this service. Start the sign-in again.")
        }
    })?;
    by_its_device(proven, &code.cnf)?;
    // 2
    limits::of_polls(call, &code.handshake).await?;
    // 3
    let db = Db::open(&call.env)?;
    if !is_verifier(verifier) || Hash::of(verifier.as_bytes()) != code.challenge {
        db.fail(&code.handshake, proven.device, &proven.key, call.now).await?;
        return Err(Problem::new(
            Code::InvalidRequest,
            "The verifier does not match the challenge. Send the one that the challenge was made of.",
        ));
    }
    // 4
    let decided = db.handshake(&code.handshake).await?.ok_or_else(|| {
        Problem::new(Code::AuthorizationPending, "Nobody has confirmed this sign-in yet. Ask again in 2 seconds.")
    })?;
    let account = decided.account.ok_or_else(|| {
        let detail = "The sign-in was refused in the browser, or ended by wrong verifiers. Start again.";
        Problem::new(Code::AccessDenied, detail)
    })?;
    if !decided.is_welcome() {
        let detail = "This device was revoked, or belongs to a user of another account. To use it here as a new one, run \
                      `osmynt logout --erase`, then sign in again.";
        return Err(Problem::new(Code::AccessDenied, detail));
    }
    // 5. What is read here may be out of date a moment later; the claim itself is a compare-and-set.
    let id = Builder::from_random_bytes(crypto::random()?).into_uuid().to_string();
    let expires = call.now.plus(REFRESH_SECONDS);
    if decided.session.is_some() || !db.claim(&code.handshake, &id, call.now, expires).await? {
        return Err(expired());
    }
    let session = Session { id: &id, account, device: proven.device, generation: 0 };
    mint(call, session, call.now, expires)
}

/// RFC 6749 section 6, with rotation (RFC 9700 section 4.14.2): the next generation of the session's tokens.
async fn refresh(call: &Call, proven: &Proven, refresh_token: &str, key: IdempotencyKey) -> Result<Tokens, Problem> {
    let over = || Problem::new(Code::Unauthenticated, "The session has ended: sign in again.");
    let Refresh { sub: account, sid, generation, cnf } =
        call.issuer().open::<Refresh>(refresh_token, call.now).map_err(|_| over())?;
    by_its_device(proven, &cnf)?;
    let db = Db::open(&call.env)?;
    let presented = Session { id: &sid, account, device: proven.device, generation };
    let noted = db.refresh(presented, key, call.now).await?.ok_or_else(over)?;
    match judge(generation, key, noted.key, noted.generation) {
        Verdict::Successor => {
            let session = Session { generation: noted.generation, ..presented };
            mint(call, session, noted.since, noted.expires_at)
        }
        Verdict::Superseded => Err(Problem::new(
            Code::Unauthenticated,
            "These tokens were replaced, and those that replaced them as well: use the latest.",
        )),
        Verdict::Reused => {
            db.end(account, Ending::Reused(&sid), call.now).await?;
            let detail = "This refresh token was used before, by somebody else. To be safe, the session has ended: sign in \
                          again.";
            Err(Problem::new(Code::Unauthenticated, detail))
        }
    }
}

/// The tokens of a session's generation, which came to be at `since`: the same refresh token whenever it is asked for.
fn mint(call: &Call, session: Session<'_>, since: Time, expires: Time) -> Result<Tokens, Problem> {
    let Session { id, account, device, generation } = session;
    let access = Access { sub: account, sid: id.to_owned(), generation, cnf: Confirmation { jkt: device } };
    let refresh = Refresh { sub: account, sid: id.to_owned(), generation, cnf: Confirmation { jkt: device } };
    // An access token does not outlive its session.
    let expires_in = ACCESS_SECONDS.min(expires.since(call.now));
    Ok(Tokens {
        token_type: "DPoP".to_owned(),
        access_token: call.issuer().mint(access, call.now, expires_in)?,
        expires_in,
        refresh_token: call.issuer().mint(refresh, since, expires.since(since))?,
        refresh_expires_in: expires.since(call.now),
        account,
    })
}

fn by_its_device(proven: &Proven, cnf: &Confirmation) -> Result<(), Problem> {
    if proven.device == cnf.jkt {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Unauthenticated,
            "The proof was signed by a different device than the one that this was issued to. Sign it with that device's key.",
        ))
    }
}

fn expired() -> Problem {
    Problem::new(Code::ExpiredToken, "The sign-in took too long, or its tokens were claimed. Start again.")
}

/// RFC 7636 section 4.1, with the alphabet of base64url.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
