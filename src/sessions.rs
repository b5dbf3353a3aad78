//! The caller's sessions, and what happened to their account.

use osmynt_core::api::{AccountEvents, MySessions};
use osmynt_core::limits::PAGE;
use worker::Response;

use crate::auth::{ActiveCaller, Caller, in_no_log};
use crate::db::{Db, Ending};
use crate::problem::Problem;
use crate::routes::{Call, Cursor};

/// What stands for the calling session in a path.
const CURRENT: &str = "current";

/// `GET /v1/me/sessions`
pub(crate) async fn list(call: Call, ActiveCaller { caller, user }: ActiveCaller) -> Result<Response, Problem> {
    let sessions = Db::open(&call.env)?.sessions(caller.account.id, user, &caller.session, call.now).await?;
    Ok(Response::from_json(&MySessions { sessions })?)
}

/// `DELETE /v1/me/sessions/{session}`. A device that is in no user's log may end its own session only (`forbidden`).
pub(crate) async fn end(call: Call, caller: Caller) -> Result<Response, Problem> {
    let named = call.segment("session");
    let ending = if named == CURRENT || named == caller.session {
        Ending::Own(&caller.session)
    } else {
        let (by, _) = caller.user.ok_or_else(in_no_log)?;
        Ending::Other { session: named, by }
    };
    if !Db::open(&call.env)?.end(caller.account.id, ending, call.now).await? {
        return Err(Problem::not_found());
    }
    Ok(Response::empty()?.with_status(204))
}

/// `DELETE /v1/me/sessions`
pub(crate) async fn end_all(call: Call, ActiveCaller { caller, user }: ActiveCaller) -> Result<Response, Problem> {
    let ending = Ending::All { own: &caller.session, by: user };
    Db::open(&call.env)?.end(caller.account.id, ending, call.now).await?;
    Ok(Response::empty()?.with_status(204))
}

/// `GET /v1/me/events`
pub(crate) async fn events(call: Call, ActiveCaller { caller, .. }: ActiveCaller) -> Result<Response, Problem> {
    let before = Cursor::before(call.query("cursor")?);
    let mut page = Db::open(&call.env)?.events(caller.account.id, before, PAGE.saturating_add(1)).await?;
    let more = page.len() > PAGE;
    page.truncate(PAGE);
    let next = page.last().filter(|_| more).map(|(id, _)| Cursor(*id).to_string());
    Ok(Response::from_json(&AccountEvents { events: page.into_iter().map(|(_, event)| event).collect(), next })?)
}
