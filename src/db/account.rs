//! All that D1 has of one user: to hand out, and to delete.

use osmynt_core::teamlog::Role;
use osmynt_core::{DeviceId, Hash, TeamId, UserId};
use serde::{Deserialize, Serialize};
use worker::{D1PreparedStatement, D1Result, query};

use super::{Db, Returned, rows};
use crate::problem::Problem;

/// Devices that are this user's and nobody else's.
macro_rules! own_devices {
    () => {
        "SELECT device AS id FROM devices d
         WHERE user = ?1 AND NOT EXISTS (SELECT 1 FROM devices o WHERE o.device = d.device AND o.user <> d.user)"
    };
}

/// A table with rows that are a user's.
struct Table {
    /// What an export calls them.
    part: &'static str,
    name: &'static str,
    /// Which rows: those of the user who is parameter 1.
    whose: &'static str,
    /// What of them an export tells. The rows are ordered by the first of these.
    columns: &'static [&'static str],
}

/// All of them but for those that are about the user's teams. Each stands before those that it refers to, so that they can
/// be emptied in turn; how the last two end is another matter.
const TABLES: [Table; 9] = [
    Table {
        part: "refreshes",
        name: "refreshes",
        whose: "session IN (SELECT id FROM sessions WHERE user = ?1)",
        columns: &["refreshed_at", "session", "generation", "idempotency_key"],
    },
    Table {
        part: "sessions",
        name: "sessions",
        whose: "user = ?1",
        columns: &["created_at", "id", "device", "name", "expires_at", "ended_at", "generation", "refreshed_at"],
    },
    Table {
        part: "failed_polls",
        name: "failed_polls",
        whose: concat!(
            "handshake IN (SELECT id FROM handshakes WHERE user = ?1 OR (user IS NULL AND device IN (",
            own_devices!(),
            ")))"
        ),
        columns: &["failed_at", "handshake", "count"],
    },
    Table {
        // Who refused one is not known; it is as if each had refused their own.
        part: "handshakes",
        name: "handshakes",
        whose: concat!("user = ?1 OR (user IS NULL AND device IN (", own_devices!(), "))"),
        columns: &["decided_at", "id", "device", "jwk", "name", "user", "session"],
    },
    Table {
        part: "proofs",
        name: "proofs",
        whose: concat!("device IN (", own_devices!(), ")"),
        columns: &["ends_at", "device", "jti"],
    },
    Table {
        part: "events",
        name: "account_events",
        whose: "user = ?1",
        columns: &["id", "at", "type", "device", "session"],
    },
    Table {
        part: "devices",
        name: "devices",
        whose: "user = ?1",
        columns: &["device", "jwk", "added_seq", "revoked_seq", "prekey", "prekey_iat"],
    },
    Table { part: "log", name: "user_log", whose: "user = ?1", columns: &["seq", "jws", "received_at"] },
    Table {
        part: "account",
        name: "users",
        whose: "id = ?1",
        columns: &["id", "github_id", "login", "name", "avatar_url", "created_at", "log_seq", "log_hash", "identity"],
    },
];

/// How many of [`TABLES`] are emptied of a user.
const EMPTIED: usize = 7;

/// Those who deleted their account and whom no team that is left names: the user themself, mostly; or others, whose stubs
/// were kept for a team that goes with this account.
const UNNAMED: &str =
    "(SELECT id FROM users u WHERE github_id < 0 AND NOT EXISTS (SELECT 1 FROM user_teams WHERE user = u.id))";

impl Db {
    /// What is kept of a user outside of teams, each part by its name and with its rows as JSON; and the teams to look at.
    /// All of one moment.
    pub(crate) async fn export(&self, user: UserId) -> Result<(Vec<Part>, Belongings), Problem> {
        #[derive(Deserialize)]
        struct Row {
            json: String,
        }
        let mut statements = self.belonging_to(user)?;
        for Table { name, whose, columns, .. } in &TABLES {
            let members: Vec<String> = columns.iter().map(|column| format!("'{column}', {}", told(column))).collect();
            let (members, first) = (members.join(", "), columns.first().copied().unwrap_or_default());
            let sql = format!("SELECT json_object({members}) AS json FROM {name} WHERE {whose} ORDER BY {first}");
            statements.push(query!(&self.0, &sql, user)?);
        }
        let results = self.0.batch(statements).await?;
        let (belongings, results) = belongings(&results)?;
        let part = |(table, result): (&Table, _)| {
            Ok((table.part, rows::<Row>(result)?.into_iter().map(|row| row.json).collect()))
        };
        // The account comes first, and then what refers to it.
        Ok((TABLES.iter().zip(results).rev().map(part).collect::<Result<_, Problem>>()?, belongings))
    }

    /// The teams to look at for what is a user's, and how to know it.
    pub(crate) async fn belongings(&self, user: UserId) -> Result<Belongings, Problem> {
        Ok(belongings(&self.0.batch(self.belonging_to(user)?).await?)?.0)
    }

    fn belonging_to(&self, user: UserId) -> Result<Vec<D1PreparedStatement>, Problem> {
        let teams = query!(
            &self.0,
            "SELECT t.team, t.joins, m.role, m.identity FROM user_teams t
             LEFT JOIN team_members m ON m.team = t.team AND m.user = t.user WHERE t.user = ?1",
            user,
        )?;
        Ok(vec![teams, query!(&self.0, own_devices!(), user)?])
    }

    /// Ends an account, in one transaction. False, and nothing is changed, if the user's teams are not those that were
    /// looked at, or if they have set out to join one since.
    pub(crate) async fn delete_account(&self, user: UserId, looked_at: &LookedAt) -> Result<bool, Problem> {
        let LookedAt { teams, erased, strange } = looked_at;
        // The next free number below zero takes the place of GitHub's, which is unique for each user and must be gone. (Not
        // the row's own number, negated: it is another one after an export and import of the database.)
        let stub = query!(
            &self.0,
            "UPDATE users SET login = '', name = NULL, avatar_url = NULL,
                    github_id = (SELECT min(0, min(github_id)) - 1 FROM users)
             WHERE id = ?1 AND NOT EXISTS (
               SELECT 1 FROM user_teams t WHERE user = ?1 AND NOT EXISTS (
                 SELECT 1 FROM json_each(?2) WHERE value ->> 0 = t.team AND value ->> 1 = t.joins))
             RETURNING id",
            user,
            serde_json::to_string(teams)?,
        )?;
        let mut statements = vec![stub];
        let ended = "(SELECT github_id FROM users WHERE id = ?1) < 0";
        for Table { name, whose, .. } in TABLES.iter().take(EMPTIED) {
            statements.push(query!(&self.0, &format!("DELETE FROM {name} WHERE ({whose}) AND {ended}"), user)?);
        }
        for (name, which, teams) in [
            ("team_members", "team", erased),
            ("teams", "id", erased),
            ("user_teams", "team", erased),
            ("user_teams", "user = ?1 AND team", strange),
        ] {
            let sql = format!("DELETE FROM {name} WHERE {which} IN (SELECT value FROM json_each(?2)) AND {ended}");
            statements.push(query!(&self.0, &sql, user, serde_json::to_string(teams)?)?);
        }
        statements.push(query!(&self.0, &format!("DELETE FROM user_log WHERE user IN {UNNAMED}")));
        statements.push(query!(&self.0, &format!("DELETE FROM users WHERE id IN {UNNAMED}")));
        let results = self.0.batch(statements).await?;
        Ok(results.first().map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty()))
    }
}

/// The name of a part of an export, and its rows as JSON.
pub(crate) type Part = (&'static str, Vec<String>);

/// The teams to look at for what is a user's, and how to know it.
pub(crate) struct Belongings {
    pub(crate) teams: Vec<Belonging>,
    /// Every device that is or was theirs, and nobody else's.
    pub(crate) devices: Vec<DeviceId>,
}

/// A team that a user is or was in, or has set out to be in. As an export tells it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Belonging {
    pub(crate) team: TeamId,
    /// How often they have founded or joined it, or set out to.
    pub(crate) joins: u64,
    /// As what they are in it now, if they are.
    role: Option<Role>,
    /// Under which identity.
    identity: Option<Hash>,
}

/// What a deletion has found, and done, in the teams of its user.
#[derive(Default)]
pub(crate) struct LookedAt {
    /// All of them, with how often the user had set out to join each.
    pub(crate) teams: Vec<(TeamId, u64)>,
    /// Those that are no more.
    pub(crate) erased: Vec<TeamId>,
    /// Those that the user never was in.
    pub(crate) strange: Vec<TeamId>,
}

fn belongings(results: &[D1Result]) -> Result<(Belongings, &[D1Result]), Problem> {
    #[derive(Deserialize)]
    struct Device {
        id: DeviceId,
    }
    let [teams, devices, rest @ ..] = results else {
        return Err(Problem::internal("D1 answered a batch with another number of results"));
    };
    let devices = rows::<Device>(devices)?.into_iter().map(|device| device.id).collect();
    Ok((Belongings { teams: rows(teams)?, devices }, rest))
}

/// How an export tells a column: keys as JSON, times as section 1 of the protocol has them.
fn told(column: &str) -> String {
    match column {
        "jwk" => format!("json({column})"),
        _ if column == "at" || column.ends_with("_at") => {
            format!("strftime('%Y-%m-%dT%H:%M:%SZ', {column}, 'unixepoch')")
        }
        _ => column.to_owned(),
    }
}
