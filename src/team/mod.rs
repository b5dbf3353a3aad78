//! Teams: the routes of sections 4 to 6 of the protocol, and the Durable Object behind them.
//!
//! | module | what it is |
//! |---|---|
//! | [`object`] | the Durable Object: the order in which things are verified, decided, written and told |
//! | [`requests`] | what it can be asked, and how it is reached |
//! | [`store`] | what it keeps: all of its SQL |
//! | [`ladder`] | how what an earlier release kept is brought forward |
//! | [`directory`] | the members' devices, as D1 has them |

mod directory;
mod ladder;
mod object;
pub(crate) mod requests;
mod store;

use osmynt_core::limits::ENTRIES_PER_COMMIT;
use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::TeamEvent;
use osmynt_core::{Code, TeamId, Unverified, api};
use worker::{Headers, Response, ResponseBody, ResponseBuilder};

use crate::auth::{ActiveCaller, Member, Place, Visitor};
use crate::db::Db;
use crate::problem::Problem;
use crate::routes::Call;
use requests::{Asker, Commit, Disband, Operation, ReadEnvelopes, ReadEveryone, ReadLog};

/// `GET /v1/teams`. From the projection in D1: no Durable Object wakes up.
pub(crate) async fn list(call: Call, caller: ActiveCaller) -> Result<Response, Problem> {
    let teams = Db::open(&call.env)?.teams(caller.user, call.now).await?;
    Ok(Response::from_json(&api::MyTeams { teams })?)
}

/// `POST /v1/teams`. The team's id follows from the first entry, so a repetition finds the same object.
pub(crate) async fn create(mut call: Call, active: ActiveCaller) -> Result<Response, Problem> {
    let commit: api::Commit = call.json().await?;
    let (first, _) = ends(&commit)?;
    if !matches!(first.payload().event, TeamEvent::TeamCreated { .. }) {
        return Err(Problem::new(Code::InvalidRequest, "A team begins with team.created."));
    }
    let team = TeamId(first.hash());
    let founding = Commit { asker: active.asker(), key: active.caller.key, founding: true, changes: commit };
    let committed = requests::ask(&call.env, team, &founding).await?;
    Ok(Response::from_json(&committed)?.with_status(201))
}

/// `DELETE /v1/teams/{team}`: the team goes, with all that is in it. The object decides whether the caller owns it.
pub(crate) async fn delete(call: Call, member: Member) -> Result<Response, Problem> {
    requests::ask(&call.env, member.team, &Disband { asker: member.caller.asker() }).await?;
    Ok(Response::empty()?.with_status(204))
}

/// `GET /v1/teams/{team}/log`
pub(crate) async fn log(call: Call, visitor: Visitor) -> Result<Response, Problem> {
    let asked = ReadLog {
        asker: visitor.caller.asker(),
        invite: invite(&call, &visitor)?,
        from: call.integer("from")?.unwrap_or(0),
    };
    forward(&call, visitor.team, &asked).await
}

/// `POST /v1/teams/{team}/commits`. The object decides. It is asked only for members, pending users, and those who join or
/// leave: a client whose answer to `member.left` was lost sends it again as no member any more.
pub(crate) async fn commit(mut call: Call, visitor: Visitor) -> Result<Response, Problem> {
    let commit: api::Commit = call.json().await?;
    let (first, last) = ends(&commit)?;
    let passes = visitor.place != Place::Stranger
        || matches!(first.payload().event, TeamEvent::MemberJoined { .. })
        || matches!(last.payload().event, TeamEvent::MemberLeft {});
    if !passes {
        return Err(Problem::not_found());
    }
    let active = visitor.caller;
    let asked = Commit { asker: active.asker(), key: active.caller.key, founding: false, changes: commit };
    Ok(Response::from_json(&requests::ask(&call.env, visitor.team, &asked).await?)?)
}

/// `GET /v1/teams/{team}/directory`. Who is in it comes from the log, what is known of them from D1.
pub(crate) async fn directory(call: Call, visitor: Visitor) -> Result<Response, Problem> {
    let asked =
        ReadEveryone { asker: visitor.caller.asker(), invite: invite(&call, &visitor)?, after: call.query("after")? };
    let everyone = requests::ask(&call.env, visitor.team, &asked).await?;
    let (users, more) = Db::open(&call.env)?.directory(&everyone.users).await?;
    // What does not fit on this page begins the next.
    let next = if more { users.last().map(|last| last.user) } else { everyone.next };
    Ok(Response::from_json(&api::DirectoryPage { users, next })?)
}

/// `GET /v1/teams/{team}/envelopes`
pub(crate) async fn envelopes(call: Call, member: Member) -> Result<Response, Problem> {
    let asked = ReadEnvelopes { asker: member.caller.asker(), from: call.integer("from")?.unwrap_or(0) };
    forward(&call, member.team, &asked).await
}

impl ActiveCaller {
    /// Who asks, for a team.
    pub(crate) const fn asker(&self) -> Asker {
        Asker { user: self.user, device: self.caller.device }
    }
}

/// Answers with what the object answers.
pub(crate) async fn forward<O: Operation>(call: &Call, team: TeamId, asked: &O) -> Result<Response, Problem> {
    let body = requests::forward(&call.env, team, asked).await?;
    Ok(with_type("application/json", body)?)
}

/// An answer of a media type.
pub(crate) fn with_type(media_type: &str, body: ResponseBody) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("Content-Type", media_type)?;
    Ok(ResponseBuilder::new().with_headers(headers).body(body))
}

/// The proof of an invitation, which a stranger needs (`not-found`).
fn invite(call: &Call, visitor: &Visitor) -> Result<Option<String>, Problem> {
    let invite = call.request.headers().get("Osmynt-Invite")?;
    if visitor.place == Place::Stranger && invite.is_none() {
        return Err(Problem::not_found());
    }
    Ok(invite)
}

/// The first and last entry of a commit, once it is known not to have so many that verifying them would be work.
fn ends(commit: &api::Commit) -> Result<(Unverified<TeamEntry>, Unverified<TeamEntry>), Problem> {
    if commit.entries.len() > ENTRIES_PER_COMMIT {
        return Err(Problem::new(Code::TooLarge, "A commit has at most 16 entries."));
    }
    let (Some(first), Some(last)) = (commit.entries.first(), commit.entries.last()) else {
        return Err(Problem::new(Code::InvalidRequest, "A commit has at least one entry."));
    };
    Ok((Unverified::parse(first)?, Unverified::parse(last)?))
}
