//! Every statement of SQL that D1 runs. The schema, and why each constraint is there, is in `migrations/`.
//!
//! Lists go in as one JSON array and `json_each`, since D1 takes at most 100 parameters.

use osmynt_core::dpop::Proof;
use osmynt_core::teamlog::Role;
use osmynt_core::{DeviceId, Hash, Head, TeamId, Time, UserId, api};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{D1Database, D1PreparedStatement, D1Result, Env, query};

use crate::problem::Problem;

mod account;
mod me;
mod sessions;
mod signin;
mod teams;

pub(crate) use account::{Belongings, LookedAt};
pub(crate) use me::{Append, ChangedDevice, LogRow, NewEntry};
pub(crate) use sessions::{Ending, NewEvent};
pub(crate) use signin::{NewHandshake, Person};
pub(crate) use teams::{ProjectedMember, Projection};

/// The D1 database.
pub(crate) struct Db(D1Database);

// Who calls.
impl Db {
    pub(crate) fn open(env: &Env) -> Result<Self, Problem> {
        Ok(Self(env.d1("DB")?))
    }

    /// Everything that a request must know of its caller, if the session is open, its tokens are the latest, the device was
    /// not revoked, and the proof was not used before. With that it is used.
    ///
    /// With a `team`: whether it exists, the caller's role if they are a member under their present identity, and to
    /// members what `with` asks for.
    pub(crate) async fn caller(
        &self,
        session: Session<'_>,
        proof: &Proof,
        team: Option<TeamId>,
        with: With,
        now: Time,
    ) -> Result<Found, Problem> {
        let Session { id, user, device, generation } = session;
        let used = query!(
            &self.0,
            &format!(
                "INSERT INTO proofs (device, jti, ends_at) SELECT d.device, ?6, ?7 {OPEN_SESSION}
                      ON CONFLICT DO NOTHING RETURNING jti AS id"
            ),
            id,
            user,
            device,
            now,
            generation,
            proof.jti,
            proof.ends_at(),
        )?;
        let caller = query!(
            &self.0,
            &format!(
                "SELECT u.login, u.name, u.avatar_url, u.log_seq, u.log_hash, u.identity,
                    d.added_seq IS NOT NULL AS active,
                    EXISTS (SELECT 1 FROM teams WHERE id = ?6) AS team_exists, m.role,
                    CASE WHEN m.role IS NOT NULL AND ?7 THEN (
                      SELECT json_group_array(json_object('user', o.id, 'seq', o.log_seq, 'hash', o.log_hash))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?6
                    ) END AS heads,
                    CASE WHEN m.role IS NOT NULL AND ?8 THEN (
                      SELECT json_group_array(
                        json_object('id', o.id, 'login', o.login, 'name', o.name, 'avatar_url', o.avatar_url))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?6
                    ) END AS profiles
             FROM (SELECT s.user, s.device {OPEN_SESSION}) s
             JOIN users u ON u.id = s.user
             JOIN devices d ON d.user = s.user AND d.device = s.device
             LEFT JOIN team_members m ON m.team = ?6 AND m.user = s.user AND m.identity = u.identity"
            ),
            id,
            user,
            device,
            now,
            generation,
            team,
            u8::from(with != With::Nothing),
            u8::from(with == With::HeadsAndProfiles),
        )?;
        // One batch is one transaction and one round trip.
        let results = self.0.batch(vec![used, caller]).await?;
        let [used, caller] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of two with another number"));
        };
        let caller = rows::<CallerRow>(caller)?.pop();
        Ok(match caller {
            None => Found::Nobody,
            Some(_) if rows::<Returned>(used)?.is_empty() => Found::Replay,
            Some(row) => Found::Caller(Box::new(row)),
        })
    }
}

/// The session that a token names, if its tokens are worth something: parameters 1 to 5 are its id, user, device, the time,
/// and the token's generation.
const OPEN_SESSION: &str = "
FROM sessions s JOIN devices d ON d.user = s.user AND d.device = s.device
WHERE s.id = ?1 AND s.user = ?2 AND s.device = ?3 AND s.expires_at > ?4 AND s.generation = ?5
  AND s.ended_at IS NULL AND d.revoked_seq IS NULL";

/// The user who is parameter 1 has an account: they may have deleted it since the request was authenticated.
const HAS_ACCOUNT: &str = "EXISTS (SELECT 1 FROM users WHERE id = ?1 AND github_id > 0)";

/// What a token says of its session.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) id: &'a str,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) generation: u64,
}

/// Who a token and a proof stand for.
pub(crate) enum Found {
    Caller(Box<CallerRow>),
    /// The session has ended or moved on, or the device was revoked.
    Nobody,
    /// The session is open, but the proof was used before.
    Replay,
}

/// What a route wants to know of a team's members, beyond that the caller is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    /// The heads of their user logs.
    Heads,
    /// The heads, and what the identity provider says of them.
    HeadsAndProfiles,
}

#[derive(Deserialize)]
pub(crate) struct CallerRow {
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) avatar_url: Option<String>,
    log_seq: Option<u64>,
    log_hash: Option<Hash>,
    identity: Option<Hash>,
    active: u8,
    team_exists: u8,
    pub(crate) role: Option<Role>,
    /// JSON: an array of [`osmynt_core::teamlog::UserHead`].
    pub(crate) heads: Option<String>,
    /// JSON: an array of [`api::Profile`].
    pub(crate) profiles: Option<String>,
}

impl CallerRow {
    pub(crate) fn log(&self) -> Option<api::UserLogHead> {
        let head = Head { seq: self.log_seq?, hash: self.log_hash? };
        Some(api::UserLogHead { head, identity: self.identity? })
    }

    pub(crate) const fn active(&self) -> bool {
        self.active == 1
    }

    pub(crate) const fn team_exists(&self) -> bool {
        self.team_exists == 1
    }
}

/// A row that a statement wrote, named by its id.
#[derive(Deserialize)]
struct Returned {
    #[serde(rename = "id")]
    _id: String,
}

async fn first<T: DeserializeOwned>(statement: &D1PreparedStatement) -> Result<Option<T>, Problem> {
    Ok(statement.first(None).await?)
}

async fn all<T: DeserializeOwned>(statement: &D1PreparedStatement) -> Result<Vec<T>, Problem> {
    rows(&statement.all().await?)
}

fn rows<T: DeserializeOwned>(result: &D1Result) -> Result<Vec<T>, Problem> {
    Ok(result.results()?)
}

/// True if a statement met a row that has its primary key already.
fn is_conflict(error: &worker::Error, table: &str) -> bool {
    error.to_string().contains(&format!("UNIQUE constraint failed: {table}."))
}
