//! Every statement of SQL that D1 runs. The schema, and why each constraint is there, is in `migrations/`.
//!
//! Lists go in as one JSON array and `json_each`, since D1 takes at most 100 parameters.

use osmynt_core::teamlog::Role;
use osmynt_core::{DeviceId, Hash, Head, PublicKey, TeamId, Time, UserId, api};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use worker::{D1Database, D1PreparedStatement, D1Result, Env, query};

use crate::problem::Problem;

mod me;
mod signin;
mod teams;

pub(crate) use me::{Append, ChangedDevice, LogRow, NewEntry};
pub(crate) use signin::{NewHandshake, Person};
pub(crate) use teams::{ProjectedMember, Projection};

/// The D1 database.
pub(crate) struct Db(D1Database);

// Who calls.
impl Db {
    pub(crate) fn open(env: &Env) -> Result<Self, Problem> {
        Ok(Self(env.d1("DB")?))
    }

    /// Everything that a request must know of its caller, if the session is open and the device was not revoked.
    ///
    /// With a `team`: whether it exists, the caller's role if they are a member under their present identity, and to
    /// members what `with` asks for.
    pub(crate) async fn caller(
        &self,
        session: &str,
        user: UserId,
        device: DeviceId,
        team: Option<TeamId>,
        with: With,
        now: Time,
    ) -> Result<Option<CallerRow>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT u.login, u.name, u.avatar_url, u.log_seq, u.log_hash, u.identity,
                    d.jwk, d.added_seq IS NOT NULL AS active,
                    EXISTS (SELECT 1 FROM teams WHERE id = ?5) AS team_exists, m.role,
                    CASE WHEN m.role IS NOT NULL AND ?6 THEN (
                      SELECT json_group_array(json_object('user', o.id, 'seq', o.log_seq, 'hash', o.log_hash))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?5
                    ) END AS heads,
                    CASE WHEN m.role IS NOT NULL AND ?7 THEN (
                      SELECT json_group_array(
                        json_object('id', o.id, 'login', o.login, 'name', o.name, 'avatar_url', o.avatar_url))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?5
                    ) END AS profiles
             FROM sessions s
             JOIN users u ON u.id = s.user
             JOIN devices d ON d.user = s.user AND d.device = s.device
             LEFT JOIN team_members m ON m.team = ?5 AND m.user = s.user AND m.identity = u.identity
             WHERE s.id = ?1 AND s.user = ?2 AND s.device = ?3
               AND s.expires_at > ?4 AND s.ended_at IS NULL AND d.revoked_seq IS NULL",
            session,
            user,
            device,
            now,
            team,
            u8::from(with != With::Nothing),
            u8::from(with == With::HeadsAndProfiles),
        )?;
        first(&statement).await
    }
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
    jwk: String,
    active: u8,
    team_exists: u8,
    pub(crate) role: Option<Role>,
    /// JSON: an array of [`osmynt_core::teamlog::UserHead`].
    pub(crate) heads: Option<String>,
    /// JSON: an array of [`api::Profile`].
    pub(crate) profiles: Option<String>,
}

impl CallerRow {
    pub(crate) fn key(&self) -> Result<PublicKey, Problem> {
        Ok(serde_json::from_str(&self.jwk)?)
    }

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
