//! Who calls: from `Authorization` to a caller, by one D1 query a request.
//!
//! The query also answers what every route of a team asks first: is the caller a member? So a stranger is turned away
//! before anything is written or a Durable Object wakes up.

use osmynt_core::teamlog::Role;
use osmynt_core::{Code, DeviceId, PublicKey, TeamId, UserId, api};
use worker::Headers;

use crate::db::{CallerRow, Db, With};
use crate::problem::Problem;
use crate::routes::Call;
use crate::tokens::{Access, TokenError};

/// A device with an open session. Unless a route lets new devices in, the device is active in its user's log.
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
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
    if caller.active {
        Ok(caller)
    } else {
        Err(Problem::new(Code::Forbidden, "This device is not in your user log yet: add it first, by POST /v1/me/log."))
    }
}

async fn look_up(call: &Call, team: Option<TeamId>, with: With) -> Result<(Caller, CallerRow), Problem> {
    let token = bearer(call.request.headers())?;
    let claims = call.issuer().open::<Access>(&token, call.now).map_err(|error| {
        let detail = match error {
            TokenError::Expired => "The access token has expired: refresh it.",
            TokenError::Invalid => "This is not an access token of this service.",
        };
        Problem::new(Code::Unauthenticated, detail)
    })?;
    let (user, device) = (claims.sub, claims.cnf.jkt);
    let row = Db::open(&call.env)?.caller(&claims.sid, user, device, team, with, call.now).await?;
    let row = row.ok_or_else(|| {
        Problem::new(Code::Unauthenticated, "The session has ended, or its device was revoked: sign in again.")
    })?;
    let caller = Caller {
        user,
        device,
        key: row.key()?,
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

/// RFC 6750 section 2.1.
fn bearer(headers: &Headers) -> Result<String, Problem> {
    headers
        .get("Authorization")?
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().to_owned())
        })
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "Send an access token: `Authorization: Bearer …`."))
}
