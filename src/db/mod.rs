//! Every statement of SQL that D1 runs. The schema, and why each constraint is there, is in `migrations/`.
//!
//! Lists go in as one JSON array and `json_each`, since D1 takes at most 100 parameters.

use osmynt_core::dpop::Proof;
use osmynt_core::{AccountId, DeviceId, Hash, Head, TeamId, Time, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{D1Database, D1PreparedStatement, D1Result, Env, query};

use crate::auth::Place;
use crate::problem::Problem;

mod account;
mod erasures;
mod me;
mod sessions;
mod signin;
mod teams;

pub(crate) use account::{Belongings, LookedAt, Part, Whole};
pub(crate) use erasures::{Asked, Due, Withdrawn};
pub(crate) use me::{Append, Before, ChangedDevice, LogRow, NewEntry, NewName};
pub(crate) use sessions::{Ending, NewEvent};
pub(crate) use signin::{NewHandshake, Person, Standing};
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
    /// With a `team`: whether it exists, the caller's place in it, and to members what `with` asks for.
    pub(crate) async fn caller(
        &self,
        session: Session<'_>,
        proof: &Proof,
        team: Option<TeamId>,
        with: With,
        now: Time,
    ) -> Result<Found, Problem> {
        let Session { id, account, device, generation } = session;
        let used = query!(
            &self.0,
            &format!(
                "INSERT INTO proofs (device, jti, ends_at) SELECT d.device, ?6, ?7 {OPEN_SESSION}
                      ON CONFLICT DO NOTHING RETURNING jti AS id"
            ),
            id,
            account,
            device,
            now,
            generation,
            proof.jti,
            proof.ends_at(),
        )?;
        let caller = query!(
            &self.0,
            &format!(
                "SELECT a.github_id, a.login, a.name, a.avatar_url, u.id AS user, u.log_seq, u.log_hash,
                    EXISTS (SELECT 1 FROM teams WHERE id = ?6) AS team_exists,
                    m.team IS NOT NULL AS in_team, m.pending_until IS NOT NULL AS pending,
                    CASE WHEN m.team IS NOT NULL AND m.pending_until IS NULL AND ?7 THEN ({}) END AS heads
             FROM (SELECT s.account, d.user {OPEN_SESSION}) s
             JOIN accounts a ON a.id = s.account
             LEFT JOIN users u ON u.id = s.user
             LEFT JOIN team_members m
               ON m.team = ?6 AND m.user = s.user AND (m.pending_until IS NULL OR m.pending_until >= ?4)",
                heads_of("?6")
            ),
            id,
            account,
            device,
            now,
            generation,
            team,
            u8::from(with == With::Heads),
        )?;
        // One batch is one transaction and one round trip.
        let results = self.0.batch(vec![used, caller]).await?;
        let [used, caller] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of two with another number"));
        };
        let caller = rows::<CallerRow>(caller)?.pop();
        Ok(match caller {
            None => Found::Nobody,
            Some(_) if !wrote(used)? => Found::Replay,
            Some(row) => Found::Caller(Box::new(row)),
        })
    }
}

/// The session that a token names, if its tokens are worth something: parameters 1 to 5 are its id, account, device, the
/// time, and the token's generation. A device that came to another account since has lost it.
const OPEN_SESSION: &str = "
FROM sessions s JOIN devices d ON d.device = s.device AND d.account = s.account
WHERE s.id = ?1 AND s.account = ?2 AND s.device = ?3 AND s.expires_at > ?4 AND s.generation = ?5
  AND s.ended_at IS NULL AND d.revoked_seq IS NULL";

/// Where the user logs stand of the members of the team that is a parameter: JSON, an array of
/// [`osmynt_core::teamlog::UserHead`].
fn heads_of(team: &str) -> String {
    format!(
        "SELECT json_group_array(json_object('user', o.id, 'seq', o.log_seq, 'hash', o.log_hash))
         FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = {team} AND t.pending_until IS NULL"
    )
}

/// What a token says of its session.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) id: &'a str,
    pub(crate) account: AccountId,
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
}

#[derive(Deserialize)]
pub(crate) struct CallerRow {
    pub(crate) github_id: u64,
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) avatar_url: Option<String>,
    user: Option<UserId>,
    log_seq: Option<u64>,
    log_hash: Option<Hash>,
    team_exists: u8,
    in_team: u8,
    pending: u8,
    /// JSON: an array of [`osmynt_core::teamlog::UserHead`].
    pub(crate) heads: Option<String>,
}

impl CallerRow {
    /// The user in whose log the device is, and where that log stands.
    pub(crate) fn user(&self) -> Option<(UserId, Head)> {
        Some((self.user?, Head { seq: self.log_seq?, hash: self.log_hash? }))
    }

    pub(crate) const fn team_exists(&self) -> bool {
        self.team_exists == 1
    }

    pub(crate) const fn place(&self) -> Place {
        match (self.in_team, self.pending) {
            (1, 0) => Place::Member,
            (1, _) => Place::Pending,
            _ => Place::Stranger,
        }
    }
}

/// A row that a statement wrote, named by its id.
#[derive(Deserialize)]
struct Returned {
    #[serde(rename = "id")]
    _id: String,
}

/// Whether a statement that returns what it wrote, by its id, wrote anything.
fn wrote(result: &D1Result) -> Result<bool, Problem> {
    Ok(!rows::<Returned>(result)?.is_empty())
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
