//! The caller's sessions, and what happened to their account.

use osmynt_core::api::{AccountEvents, MySessions};
use osmynt_core::limits::{MAX_INTEGER, PAGE};
use osmynt_core::{Code, b64u};
use worker::Response;

use crate::auth::{ActiveCaller, Caller, in_no_log};
use crate::db::{Db, Ending};
use crate::problem::Problem;
use crate::routes::Call;

/// What stands for the calling session in a path.
const CURRENT: &str = "current";

/// `GET /v1/me/sessions`
pub(crate) async fn list(call: Call, ActiveCaller { caller, .. }: ActiveCaller) -> Result<Response, Problem> {
    let sessions = Db::open(&call.env)?.sessions(caller.account.id, &caller.session, call.now).await?;
    Ok(Response::from_json(&MySessions { sessions })?)
}

/// `DELETE /v1/me/sessions/{session}`. A device that is in no user's log may end its own session only (`forbidden`).
pub(crate) async fn end(call: Call, caller: Caller) -> Result<Response, Problem> {
    let named = call.segment("session");
    let ending = if named == CURRENT || named == caller.session {
        Ending::Own(&caller.session)
    } else if caller.user.is_some() {
        Ending::Other(named)
    } else {
        return Err(in_no_log());
    };
    if !Db::open(&call.env)?.end(caller.account.id, ending, call.now).await? {
        return Err(Problem::not_found());
    }
    Ok(Response::empty()?.with_status(204))
}

/// `DELETE /v1/me/sessions`
pub(crate) async fn end_all(call: Call, ActiveCaller { caller, .. }: ActiveCaller) -> Result<Response, Problem> {
    Db::open(&call.env)?.end(caller.account.id, Ending::All { own: &caller.session }, call.now).await?;
    Ok(Response::empty()?.with_status(204))
}

/// `GET /v1/me/events`
pub(crate) async fn events(call: Call, ActiveCaller { caller, .. }: ActiveCaller) -> Result<Response, Problem> {
    let before = match call.query::<String>("cursor")? {
        Some(cursor) => position(&cursor)?,
        None => MAX_INTEGER,
    };
    let mut page = Db::open(&call.env)?.events(caller.account.id, before, PAGE.saturating_add(1)).await?;
    let more = page.len() > PAGE;
    page.truncate(PAGE);
    let next = page.last().filter(|_| more).map(|(id, _)| b64u::encode(&id.to_be_bytes()));
    Ok(Response::from_json(&AccountEvents { events: page.into_iter().map(|(_, event)| event).collect(), next })?)
}

fn position(cursor: &str) -> Result<u64, Problem> {
    let position = u64::from_be_bytes(b64u::decode_array(cursor)?);
    if position <= MAX_INTEGER {
        Ok(position)
    } else {
        Err(Problem::new(Code::InvalidRequest, "`cursor` is not one that a page gave: begin without it."))
    }
}
