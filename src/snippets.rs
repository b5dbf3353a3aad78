//! Snippets: from the wire to R2 and back (section 7 of the protocol).
//!
//! On the wire a snippet is one object. At rest it is two: the ciphertext is an object in R2, created once and never
//! changed; statement and envelopes, of which the former names the hashes of the ciphertext and the latter, stand in the
//! index of the team's Durable Object. So a list needs no R2, R2 checks the very hash that was signed, a reader is given
//! the envelopes that are for them and no others, and the ciphertext passes by without being read.

use osmynt_core::limits::{PAGE, SNIPPET_BYTES, SNIPPET_ENVELOPES_BYTES, STATEMENT_BYTES};
use osmynt_core::snippet::{MEDIA_TYPE, parse_envelopes, part_length, prefix};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::teamlog::{check_sealed_keys, check_snippet};
use osmynt_core::{Code, SnippetId, TeamId, Unverified, Verified, api};
use worker::{Bucket, Conditional, Env, ObjectBody, Response, ResponseBody};

use crate::auth::{ActiveCaller, Member};
use crate::crypto::WebCrypto;
use crate::db::Db;
use crate::problem::Problem;
use crate::routes::{Call, Cursor, now};
use crate::streams::{Body, prefixed};
use crate::team;
use crate::team::requests::{self, Admit, Delete, Find, List};

/// The binding of wrangler.toml under which the ciphertexts are reached.
pub(crate) const BUCKET: &str = "SNIPPETS";

/// The header that tells a reader when a snippet was admitted: integer seconds, as everywhere.
const RECEIVED_AT: &str = "Osmynt-Received-At";

/// Seconds after which D1 is asked again where the members' logs stand.
const LOOKED_UP_SECONDS: u64 = 60;

/// Where the ciphertext of a snippet is.
pub(crate) fn object_key(team: TeamId, snippet: SnippetId) -> String {
    format!("{}{snippet}", keys_of(team))
}

/// What the keys of all ciphertexts of a team begin with.
pub(crate) fn keys_of(team: TeamId) -> String {
    format!("{team}/")
}

/// `PUT /v1/teams/{team}/snippets/{snippet}`
///
/// 1. Type and length are stated, and the length is within the limit (`invalid-request`, `too-large`), before any of the
///    body is read.
/// 2. Statement and envelopes are well formed (`invalid-request`, `too-large`); the statement is by the caller, signed by this
///    session's device (`forbidden`); about this team, snippet, envelopes and length, and as section 7 wants it
///    (`invalid-request`, `clock-skew`).
/// 3. Its signature fits (`bad-signature`).
/// 4. The ciphertext is in R2, put there now or before, and has the stated hash (`invalid-request`).
/// 5. The team admits it (`stale-log`, `rotation-required`, `coverage-mismatch`, `conflict`, `gone`, …).
pub(crate) async fn share(call: Call, member: Member) -> Result<Response, Problem> {
    let Member { caller, team, heads, .. } = member;
    let snippet: SnippetId = call.param("snippet")?;

    // 1.
    check_type(&call)?;
    let length = call.content_length()?;
    if length > SNIPPET_BYTES {
        return Err(Problem::new(Code::TooLarge, "A snippet has at most 10 MiB of content."));
    }

    // 2.
    let mut body = Body::of(&call.request).ok_or_else(cut_short)?;
    let mut rest = length;
    let statement = part(&mut body, &mut rest, STATEMENT_BYTES).await?;
    let statement = String::from_utf8(statement).map_err(|_| {
        Problem::new(Code::InvalidRequest, "The statement is not text: send it in compact serialization.")
    })?;
    let statement = Unverified::<SnippetStatement>::parse(&statement)?;
    let envelopes = parse_envelopes(&part(&mut body, &mut rest, SNIPPET_ENVELOPES_BYTES).await?)?;
    let ciphertext_length = u32::try_from(rest).map_err(|_| cut_short())?;
    check_author(&statement, &caller)?;
    let said = statement.payload();
    if said.team != team || said.snippet != snippet {
        return Err(Problem::new(
            Code::InvalidRequest,
            "The statement is about another team or snippet than the address: send it to its own.",
        ));
    }
    if said.length != u64::from(ciphertext_length) {
        return Err(Problem::new(
            Code::InvalidRequest,
            "The ciphertext's length does not match the statement. Send the bytes that were signed.",
        ));
    }
    check_snippet(said, call.now)?;
    check_sealed_keys(said, &envelopes)?;

    // 3.
    let statement = statement.verify(&caller.caller.key, &WebCrypto).await?;

    // 4.
    let created = put(&call.env, &statement, body, ciphertext_length).await?;

    // 5. A slow body lets minutes pass since D1 was asked where the members' logs stand; clients allow five.
    let heads = if now().since(call.now) > LOOKED_UP_SECONDS { Db::open(&call.env)?.heads(team).await? } else { heads };
    let statement = statement.compact().to_owned();
    let admit = Admit { asker: caller.asker(), statement, envelopes, heads, created };
    let admitted = requests::ask(&call.env, team, &admit).await?;
    let stored = api::SnippetStored { snippet, received_at: admitted.received_at };
    Ok(Response::from_json(&stored)?.with_status(if admitted.first { 201 } else { 200 }))
}

/// `GET /v1/teams/{team}/snippets/{snippet}`
pub(crate) async fn open(call: Call, member: Member) -> Result<Response, Problem> {
    let snippet = existing(&call)?;
    let found = requests::ask(&call.env, member.team, &Find { asker: member.caller.asker(), snippet }).await?;
    let object = bucket(&call.env)?.get(object_key(member.team, snippet)).execute().await?;
    let missing = || {
        // It was deleted a moment ago. If not, something is badly wrong.
        Problem::unavailable(
            "The snippet is being deleted, or not complete. Retry in a moment.",
            "an object is missing",
        )
    };
    let object = object.ok_or_else(missing)?;
    let length = u32::try_from(object.size()).map_err(|_| Problem::internal("an object over every limit"))?;
    let Some(ResponseBody::Stream(ciphertext)) = object.body().map(ObjectBody::response_body).transpose()? else {
        return Err(missing());
    };
    let whole = prefixed(&prefix(&found.statement, &found.envelopes)?, &ciphertext, length)?;
    let mut response = team::with_type(MEDIA_TYPE, ResponseBody::Stream(whole))?;
    response.headers_mut().set(RECEIVED_AT, &found.received_at.0.to_string())?;
    Ok(response)
}

/// `DELETE /v1/teams/{team}/snippets/{snippet}`
pub(crate) async fn delete(call: Call, member: Member) -> Result<Response, Problem> {
    let snippet = existing(&call)?;
    requests::ask(&call.env, member.team, &Delete { asker: member.caller.asker(), snippet }).await?;
    Ok(Response::empty()?.with_status(204))
}

/// `GET /v1/teams/{team}/snippets`
pub(crate) async fn list(call: Call, member: Member) -> Result<Response, Problem> {
    let limit = call.integer("limit")?.map_or(Ok(PAGE), usize::try_from).unwrap_or(usize::MAX);
    if limit == 0 {
        return Err(Problem::new(Code::InvalidRequest, "Ask for 1 to 100 snippets at once."));
    }
    if limit > PAGE {
        return Err(Problem::new(Code::TooLarge, "Ask for at most 100 snippets at once."));
    }
    let asked = List { asker: member.caller.asker(), before: Cursor::before(call.query("cursor")?), limit };
    team::forward(&call, member.team, &asked).await
}

/// RFC 9110 section 8.3.1: in any case, with any parameters.
fn check_type(call: &Call) -> Result<(), Problem> {
    let stated = call.request.headers().get("Content-Type")?.unwrap_or_default();
    let media_type = stated.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
        Ok(())
    } else {
        Err(Problem::new(Code::InvalidRequest, format!("A snippet is sent with Content-Type: {MEDIA_TYPE}.")))
    }
}

/// Takes the next part of a snippet from the front of the body, of which `rest` bytes remain: its length and then its
/// bytes. `too-large` over `limit`, before it is read.
async fn part(body: &mut Body, rest: &mut u64, limit: usize) -> Result<Vec<u8>, Problem> {
    let prefix = take(body, rest, 4).await?;
    let length = part_length(prefix.try_into().map_err(|_| cut_short())?, limit)?;
    take(body, rest, u32::try_from(length).map_err(|_| cut_short())?).await
}

/// Takes bytes from the front of the body, of which `rest` remain.
async fn take(body: &mut Body, rest: &mut u64, length: u32) -> Result<Vec<u8>, Problem> {
    *rest = rest.checked_sub(u64::from(length)).ok_or_else(cut_short)?;
    // A body that breaks off fails to be read.
    body.take(length).await.ok().flatten().ok_or_else(cut_short)
}

fn check_author(statement: &Unverified<SnippetStatement>, caller: &ActiveCaller) -> Result<(), Problem> {
    if statement.payload().user == caller.user && statement.kid() == caller.caller.device.0 {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Forbidden,
            "A snippet names the caller as its author, and is signed by the device that is signed in.",
        ))
    }
}

/// Creates the object of a snippet from the rest of the body. False if there is one.
///
/// In that case R2 may leave the body unread. It does not matter: an object that the index knows by the same statement has
/// the stated bytes, and any other is compared with the statement before the snippet is admitted.
async fn put(env: &Env, statement: &Verified<SnippetStatement>, body: Body, length: u32) -> Result<bool, Problem> {
    let said = statement.payload();
    let nothing_there = Conditional {
        etag_matches: None,
        etag_does_not_match: Some("*".to_owned()),
        uploaded_before: None,
        uploaded_after: None,
    };
    let put = bucket(env)?
        .put(object_key(said.team, said.snippet), body.rest(length)?)
        .sha256(said.sha256.as_bytes().to_vec())
        .only_if(nothing_there)
        .execute()
        .await;
    match put {
        Ok(object) => Ok(object.is_some()),
        // R2's code for a checksum that does not match: https://developers.cloudflare.com/r2/api/error-codes/.
        Err(error) if error.to_string().contains("(10037)") => Err(Problem::new(
            Code::InvalidRequest,
            "The ciphertext's hash does not match the statement. Send the bytes that were signed.",
        )),
        Err(_) => Err(Problem::unavailable("The ciphertext could not be stored. Retry.", "R2 took no object")),
    }
}

/// The snippet in the path, where one is asked for: a text that is no id names none that exists.
fn existing(call: &Call) -> Result<SnippetId, Problem> {
    call.param("snippet").map_err(|_| Problem::not_found())
}

fn bucket(env: &Env) -> Result<Bucket, Problem> {
    Ok(env.bucket(BUCKET)?)
}

fn cut_short() -> Problem {
    Problem::new(Code::InvalidRequest, "The snippet is cut short: send all of it.")
}
