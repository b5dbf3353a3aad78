//! Who calls: from `Authorization` and `DPoP` to a caller, by one round trip to D1 a request.
//!
//! A handler that wants to know its caller is given one by the router, which gets it here: there is no other way to make a
//! [`Caller`], and none to make one without token, proof, session and device having been checked. What costs nothing is
//! checked first; D1 is asked once, for everything.
//!
//! The query also answers what every route of a team asks first: is the caller a member? So a stranger is turned away
//! before anything is written or a Durable Object wakes up.

use osmynt_core::{AccountId, Code, DeviceId, Head, PublicKey, TeamId, UserId, api};
use serde::Deserialize;
use worker::Headers;

use crate::db::{CallerRow, Db, Found, Session, With};
use crate::limits;
use crate::problem::Problem;
use crate::proof::{self, Proven};
use crate::routes::Call;
use crate::tokens::{Access, TokenError};

/// A device with an open session. It may be in no user's log yet.
pub(crate) struct Caller {
    /// Whose session it is, and what the identity provider says of them.
    pub(crate) account: api::Account,
    pub(crate) device: DeviceId,
    pub(crate) session: String,
    /// The device's signing key.
    pub(crate) key: PublicKey,
    /// In whose log the device is active, and where that log stands; none while it is in no log.
    pub(crate) user: Option<(UserId, Head)>,
}

/// A caller whose device is active in a user's log: who may act for that user.
pub(crate) struct ActiveCaller {
    pub(crate) caller: Caller,
    pub(crate) user: UserId,
}

/// A device that is active in a user's log. It has shown its key, and need not have a session.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Speaker {
    pub(crate) account: AccountId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
}

/// A caller who is a member of the team in the path.
pub(crate) struct Member {
    pub(crate) caller: ActiveCaller,
    pub(crate) team: TeamId,
    /// JSON: the heads of the members' user logs, an array of [`osmynt_core::teamlog::UserHead`]. For the Durable
    /// Object, unparsed. Empty if the route does not ask for it.
    pub(crate) heads: String,
}

/// A caller who asks for a team that exists. Whether they may have it is the handler's to decide: whoever is neither a
/// member nor pending needs an invitation.
pub(crate) struct Visitor {
    pub(crate) caller: ActiveCaller,
    pub(crate) team: TeamId,
    pub(crate) place: Place,
}

/// How somebody stands to a team, as its projection in D1 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Member,
    /// They wait to be confirmed.
    Pending,
    Stranger,
}

/// Any device with an open session, also one that is in no user's log yet. Refused with `unauthenticated`.
pub(crate) async fn session(call: &Call) -> Result<Caller, Problem> {
    Ok(look_up(call, None, With::Nothing).await?.0)
}

/// A device that is active in a user's log. Refused with `unauthenticated`, `forbidden`.
pub(crate) async fn device(call: &Call) -> Result<ActiveCaller, Problem> {
    look_up(call, None, With::Nothing).await?.0.active()
}

/// A device that is active in a user's log: with its session if it sends an access token, by its proof alone if it sends none.
/// Refused with `unauthenticated`, `forbidden`.
pub(crate) async fn speaker(call: &Call) -> Result<Speaker, Problem> {
    if call.request.headers().has("Authorization")? {
        let ActiveCaller { caller, user } = device(call).await?;
        return Ok(Speaker { account: caller.account.id, user, device: caller.device });
    }
    limits::by_address(call).await?;
    let Proven { device, .. } = proof::of(call, None).await?;
    let speaker = Db::open(&call.env)?.speaker(device).await?;
    speaker.ok_or_else(|| unauthenticated("This device is active in no user's log."))
}

/// A member of the team in the path. Refused with `unauthenticated`, `forbidden`, `not-found`.
pub(crate) async fn member(call: &Call, with: With) -> Result<Member, Problem> {
    let team = call.team();
    let (caller, row) = look_up(call, team.as_ref().ok().copied(), with).await?;
    let (caller, team) = (caller.active()?, team?);
    if row.place() != Place::Member {
        return Err(Problem::not_found());
    }
    Ok(Member { caller, team, heads: row.heads.unwrap_or_default() })
}

/// Anybody, where the team in the path exists. Refused with `unauthenticated`, `forbidden`, `not-found`.
pub(crate) async fn visitor(call: &Call) -> Result<Visitor, Problem> {
    let team = call.team();
    let (caller, row) = look_up(call, team.as_ref().ok().copied(), With::Nothing).await?;
    let (caller, team) = (caller.active()?, team?);
    if !row.team_exists() {
        return Err(Problem::not_found());
    }
    Ok(Visitor { caller, team, place: row.place() })
}

impl Caller {
    /// Refused with `forbidden` unless the device is active in a user's log.
    pub(crate) fn active(self) -> Result<ActiveCaller, Problem> {
        match self.user {
            Some((user, _)) => Ok(ActiveCaller { caller: self, user }),
            None => Err(in_no_log()),
        }
    }
}

/// What a device that is in no user's log is told where it takes one that is.
pub(crate) fn in_no_log() -> Problem {
    let detail = "This device is in no user log yet. Have one of your other devices add it, or found a log with it, by \
                  POST /v1/me/log.";
    Problem::new(Code::Forbidden, detail)
}

/// 1. The access token is this service's, and its time is not over.
/// 2. The proof is about this request and token, and made by the device that the token was given to.
/// 3. The device does not ask too often (`rate-limited`).
/// 4. The session is open, the token is of its latest generation, the device was not revoked, and the proof is new.
async fn look_up(call: &Call, team: Option<TeamId>, with: With) -> Result<(Caller, CallerRow), Problem> {
    // 1
    let token = access_token(call.request.headers())?;
    let claims = call.issuer().open::<Access>(&token, call.now).map_err(|error| {
        unauthenticated(match error {
            TokenError::Expired => "The access token has expired: refresh it.",
            TokenError::Invalid => {
                "This is not an access token of this service: refresh your tokens, or sign in again."
            }
        })
    })?;
    let Access { sub: account, sid, generation, cnf } = claims;
    // 2
    let Proven { device, key, proof } = proof::of(call, Some(&token)).await?;
    if device != cnf.jkt {
        let detail = "The proof was signed by a different device than the one the access token was issued to. Sign it with \
                      that device's key.";
        return Err(unauthenticated(detail));
    }
    // 3
    limits::by_device(call, device).await?;
    // 4
    let session = Session { id: &sid, account, device, generation };
    let row = match Db::open(&call.env)?.caller(session, &proof, team, with, call.now).await? {
        Found::Caller(row) => *row,
        Found::Nobody => {
            let detail = "The session has ended, its tokens were replaced, or its device was revoked: use the latest tokens, \
                          or sign in again.";
            return Err(unauthenticated(detail));
        }
        Found::Replay => return Err(unauthenticated("This proof was used before: sign a new one for each request.")),
    };
    let profile = api::Account {
        id: account,
        github_id: row.github_id,
        login: row.login.clone(),
        name: row.name.clone(),
        avatar_url: row.avatar_url.clone(),
    };
    Ok((Caller { account: profile, device, session: sid, key, user: row.user() }, row))
}

/// RFC 9449 section 7.1. A token that is bound to a key is not taken without its proof, so not as `Bearer`.
fn access_token(headers: &Headers) -> Result<String, Problem> {
    headers
        .get("Authorization")?
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("DPoP").then(|| token.trim().to_owned())
        })
        .ok_or_else(|| unauthenticated("Send an access token, `Authorization: DPoP …`, and a proof for it."))
}

fn unauthenticated(detail: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}
