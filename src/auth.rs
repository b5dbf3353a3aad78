//! Who calls: from `Authorization` and `DPoP` to a caller, by one round trip to D1 a request.
//!
//! A handler that wants to know its caller is given one by the router, which gets it here: there is no other way to make a
//! [`Caller`], and none to make one without token, proof, session and device having been checked. What costs nothing is
//! checked first; D1 is asked once, for everything.
//!
//! The query also answers what every route of a team asks first: is the caller a member? So a stranger is turned away
//! before anything is written or a Durable Object wakes up.

use osmynt_core::teamlog::Role;
use osmynt_core::{Code, DeviceId, PublicKey, TeamId, UserId, api};
use worker::Headers;

use crate::db::{CallerRow, Db, Found, Session, With};
use crate::limits;
use crate::problem::Problem;
use crate::proof::{self, Proven};
use crate::routes::Call;
use crate::tokens::{Access, TokenError};

/// A device with an open session. Unless a route lets new devices in, the device is active in its user's log.
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) session: String,
    /// The device's signing key.
    pub(crate) key: PublicKey,
    /// Whether the device is active in the user's log: it is not before it has been added.
    pub(crate) active: bool,
    /// Where the user's log stands; none while it is empty.
    pub(crate) log: Option<api::UserLogHead>,
    /// What the identity provider says of the user.
    pub(crate) profile: api::Profile,
}

/// A caller who is a member of the team in the path, by an active device.
pub(crate) struct Member {
    pub(crate) caller: Caller,
    pub(crate) team: TeamId,
    /// JSON: the heads of the members' user logs, an array of [`osmynt_core::teamlog::UserHead`]. For the Durable
    /// Object, unparsed. Empty if the route does not ask for it.
    pub(crate) heads: String,
    /// JSON: what the identity provider says of the members, an array of [`api::Profile`]. Empty if the route does
    /// not ask for it.
    pub(crate) profiles: String,
}

/// A caller, by an active device, who asks for a team that exists. Whether they may have it is the handler's to decide:
/// whoever is not a member needs an invitation.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) team: TeamId,
    /// The caller's role, if they are a member.
    pub(crate) role: Option<Role>,
}

/// Any device with an open session, also one that is not in its user's log yet. Refused with `unauthenticated`.
pub(crate) async fn session(call: &Call) -> Result<Caller, Problem> {
    Ok(look_up(call, None, With::Nothing).await?.0)
}

/// A device that is active in its user's log. Refused with `unauthenticated`, `forbidden`.
pub(crate) async fn device(call: &Call) -> Result<Caller, Problem> {
    active(look_up(call, None, With::Nothing).await?.0)
}

/// A member of the team in the path. Refused with `unauthenticated`, `forbidden`, `not-found`.
pub(crate) async fn member(call: &Call, with: With) -> Result<Member, Problem> {
    let team = call.team();
    let (caller, row) = look_up(call, team.as_ref().ok().copied(), with).await?;
    let (caller, team) = (active(caller)?, team?);
    if row.role.is_none() {
        return Err(Problem::not_found());
    }
    Ok(Member { caller, team, heads: row.heads.unwrap_or_default(), profiles: row.profiles.unwrap_or_default() })
}

/// Anybody, where the team in the path exists. Refused with `unauthenticated`, `forbidden`, `not-found`.
pub(crate) async fn visitor(call: &Call) -> Result<Visitor, Problem> {
    let team = call.team();
    let (caller, row) = look_up(call, team.as_ref().ok().copied(), With::Nothing).await?;
    let (caller, team) = (active(caller)?, team?);
    if !row.team_exists() {
        return Err(Problem::not_found());
    }
    Ok(Visitor { caller, team, role: row.role })
}

fn active(caller: Caller) -> Result<Caller, Problem> {
    caller.settled()?;
    Ok(caller)
}

impl Caller {
    /// Refused with `forbidden` unless the device is active in its user's log.
    pub(crate) fn settled(&self) -> Result<(), Problem> {
        if self.active {
            Ok(())
        } else {
            let detail = "This device is not in your user log yet: add it first, by POST /v1/me/log.";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
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
            TokenError::Invalid => "This is not an access token of this service.",
        })
    })?;
    let Access { sub: user, sid, generation, cnf } = claims;
    // 2
    let Proven { device, key, proof } = proof::of(call, Some(&token)).await?;
    if device != cnf.jkt {
        return Err(unauthenticated("The proof is by another device than the access token is for."));
    }
    // 3
    limits::by_device(call, device).await?;
    // 4
    let session = Session { id: &sid, user, device, generation };
    let row = match Db::open(&call.env)?.caller(session, &proof, team, with, call.now).await? {
        Found::Caller(row) => *row,
        Found::Nobody => {
            let detail = "The session has ended, its tokens were replaced, or its device was revoked: use the latest tokens, \
                          or sign in again.";
            return Err(unauthenticated(detail));
        }
        Found::Replay => return Err(unauthenticated("This proof was used before: sign a new one for each request.")),
    };
    let caller = Caller {
        user,
        device,
        session: sid,
        key,
        active: row.active(),
        log: row.log(),
        profile: api::Profile {
            id: user,
            login: row.login.clone(),
            name: row.name.clone(),
            avatar_url: row.avatar_url.clone(),
        },
    };
    Ok((caller, row))
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
