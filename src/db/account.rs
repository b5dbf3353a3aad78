//! All that D1 has of one user, and of their account: to hand out, and to delete.

use osmynt_core::teamlog::Role;
use osmynt_core::{AccountId, DeviceId, TeamId, Time, UserId};
use serde::{Deserialize, Serialize};
use worker::{D1PreparedStatement, D1Result, query};

use super::{Db, rows, wrote};
use crate::problem::Problem;

/// A table with rows that are somebody's.
struct Table {
    /// What an export calls them.
    part: &'static str,
    /// Whether there is exactly one.
    single: bool,
    name: &'static str,
    /// Which rows: those of the account that is parameter 1 and of its user who is parameter 2.
    whose: &'static str,
    /// What of them an export tells. The rows are ordered by the first of these.
    columns: &'static [&'static str],
}

/// Devices that are a user's, and those of the account that are in no log. Those of other users of the account are theirs.
macro_rules! own_devices {
    () => {
        "SELECT device FROM devices WHERE user = ?2 OR (account = ?1 AND user IS NULL)"
    };
}

/// All that an export has from D1, but for the teams.
const TABLES: [Table; 12] = [
    Table {
        part: "account",
        single: true,
        name: "accounts",
        whose: "id = ?1",
        columns: &["id", "github_id", "login", "name", "avatar_url", "created_at"],
    },
    Table {
        part: "user",
        single: true,
        name: "users",
        whose: "id = ?2 AND account = ?1",
        columns: &["id", "founded_at", "log_seq", "log_hash", "log_bytes"],
    },
    Table {
        part: "other_users",
        single: false,
        name: "users",
        whose: "account = ?1 AND id <> ?2",
        columns: &["founded_at", "id"],
    },
    Table { part: "log", single: false, name: "user_log", whose: "user = ?2", columns: &["seq", "jws", "received_at"] },
    Table {
        part: "names",
        single: false,
        name: "names",
        whose: "user = ?2",
        columns: &["seq", "provider", "provider_id", "login", "salt"],
    },
    Table {
        part: "devices",
        single: false,
        name: "devices",
        whose: concat!("device IN (", own_devices!(), ")"),
        columns: &["device", "jwk", "added_seq", "revoked_seq", "prekey", "prekey_id", "prekey_iat"],
    },
    Table {
        part: "erasures",
        single: false,
        name: "erasures",
        whose: "user IN (SELECT id FROM users WHERE account = ?1)",
        columns: &["asked_at", "user", "asked_by", "device", "due_at"],
    },
    Table {
        part: "events",
        single: false,
        name: "account_events",
        whose: "account = ?1",
        columns: &["id", "at", "type", "device", "session"],
    },
    Table {
        part: "proofs",
        single: false,
        name: "proofs",
        whose: concat!("device IN (", own_devices!(), ")"),
        columns: &["ends_at", "device", "jti"],
    },
    Table {
        // Who refused one is not known; it is as if each had refused their own.
        part: "handshakes",
        single: false,
        name: "handshakes",
        whose: concat!("account = ?1 OR (account IS NULL AND device IN (", own_devices!(), "))"),
        columns: &["decided_at", "id", "device", "jwk", "name", "account", "session"],
    },
    Table {
        part: "failed_polls",
        single: false,
        name: "failed_polls",
        whose: concat!(
            "handshake IN (SELECT id FROM handshakes WHERE account = ?1 OR (account IS NULL AND device IN (",
            own_devices!(),
            ")))"
        ),
        columns: &["failed_at", "handshake", "count"],
    },
    Table {
        part: "sessions",
        single: false,
        name: "sessions",
        whose: "account = ?1",
        columns: &["created_at", "id", "device", "name", "expires_at", "ended_at", "generation", "refreshed_at"],
    },
];

const REFRESHES: Table = Table {
    part: "refreshes",
    single: false,
    name: "refreshes",
    whose: "session IN (SELECT id FROM sessions WHERE account = ?1)",
    columns: &["refreshed_at", "session", "generation", "idempotency_key"],
};

/// The user who is parameter 2 has no account: they were deleted or erased, maybe a statement ago.
const ENDED: &str = "EXISTS (SELECT 1 FROM users WHERE id = ?2 AND account IS NULL)";

/// The account that is parameter 1 has no user.
const OVER: &str = "NOT EXISTS (SELECT 1 FROM users WHERE account = ?1)";

/// Removes those who have ended and whom no team that is left names: the user themself, mostly; or others, whose stubs were
/// kept for a team that is no more.
pub(super) const UNNAMED: [&str; 4] = [
    "DELETE FROM devices WHERE user IN (
       SELECT id FROM users u WHERE account IS NULL AND NOT EXISTS (SELECT 1 FROM user_teams WHERE user = u.id))",
    "DELETE FROM names WHERE user IN (
       SELECT id FROM users u WHERE account IS NULL AND NOT EXISTS (SELECT 1 FROM user_teams WHERE user = u.id))",
    "DELETE FROM user_log WHERE user IN (
       SELECT id FROM users u WHERE account IS NULL AND NOT EXISTS (SELECT 1 FROM user_teams WHERE user = u.id))",
    "DELETE FROM users WHERE account IS NULL AND NOT EXISTS (SELECT 1 FROM user_teams WHERE user = users.id)",
];

impl Db {
    /// What is kept of a user and their account outside of teams, each part by its name and with its rows as JSON; and the
    /// teams to look at. All of one moment.
    pub(crate) async fn export(&self, account: AccountId, user: UserId) -> Result<(Vec<Part>, Belongings), Problem> {
        #[derive(Deserialize)]
        struct Row {
            json: String,
        }
        let mut statements = self.belonging_to(user)?;
        for Table { name, whose, columns, .. } in TABLES.iter().chain([&REFRESHES]) {
            let members: Vec<String> = columns.iter().map(|column| format!("'{column}', {}", told(column))).collect();
            let (members, first) = (members.join(", "), columns.first().copied().unwrap_or_default());
            // The second parameter is in each, as D1 takes no more of them than there are.
            let sql = format!(
                "SELECT json_object({members}) AS json FROM {name} WHERE ({whose}) AND ?2 <> '' ORDER BY {first}"
            );
            statements.push(query!(&self.0, &sql, account, user)?);
        }
        let results = self.0.batch(statements).await?;
        let (belongings, results) = belongings(&results)?;
        let part = |(table, result): (&Table, _)| {
            let rows = rows::<Row>(result)?.into_iter().map(|row| row.json).collect();
            Ok(Part { name: table.part, single: table.single, rows })
        };
        let parts = TABLES.iter().chain([&REFRESHES]).zip(results).map(part).collect::<Result<_, Problem>>()?;
        Ok((parts, belongings))
    }

    /// The teams to look at for what is a user's, and how to know it.
    pub(crate) async fn belongings(&self, user: UserId) -> Result<Belongings, Problem> {
        Ok(belongings(&self.0.batch(self.belonging_to(user)?).await?)?.0)
    }

    fn belonging_to(&self, user: UserId) -> Result<Vec<D1PreparedStatement>, Problem> {
        let teams = query!(
            &self.0,
            "SELECT t.team, t.joins, m.role, m.pending_until FROM user_teams t
             LEFT JOIN team_members m ON m.team = t.team AND m.user = t.user WHERE t.user = ?1 ORDER BY t.team",
            user,
        )?;
        Ok(vec![teams, query!(&self.0, "SELECT device AS id FROM devices WHERE user = ?1", user)?])
    }

    /// Ends a user, and with their last one the account, in one transaction. False, and nothing is changed, if the user's
    /// teams are not those that were looked at, or if they have set out to join one since.
    pub(crate) async fn end_user(
        &self,
        account: AccountId,
        user: UserId,
        looked_at: &LookedAt,
        whole: Whole,
    ) -> Result<bool, Problem> {
        let LookedAt { teams, erased, strange } = looked_at;
        let ended = query!(
            &self.0,
            "UPDATE users SET account = NULL
             WHERE id = ?2 AND account = ?1 AND NOT EXISTS (
               SELECT 1 FROM user_teams t WHERE user = ?2 AND NOT EXISTS (
                 SELECT 1 FROM json_each(?3) WHERE value ->> 0 = t.team AND value ->> 1 = t.joins))
             RETURNING id",
            account,
            user,
            serde_json::to_string(teams)?,
        )?;
        let mut statements = vec![ended];
        statements.extend(self.ending(account, Some(user))?);
        for sql in ["DELETE FROM names WHERE user = ?2", "DELETE FROM erasures WHERE user = ?2"] {
            statements.push(query!(&self.0, &format!("{sql} AND {ENDED}"), account, user)?);
        }
        // Of an erased user others may still be in a team with, so their rotations go on to cover the devices.
        let prekeys = match whole {
            Whole::Deleted => ", prekey = NULL, prekey_id = NULL, prekey_iat = NULL",
            Whole::Erased(_) => "",
        };
        let sql = format!("UPDATE devices SET account = NULL{prekeys} WHERE user = ?2 AND {ENDED}");
        statements.push(query!(&self.0, &sql, account, user)?);
        for (name, which, teams) in [
            ("team_members", "team", erased),
            ("teams", "id", erased),
            ("user_teams", "team", erased),
            ("user_teams", "user = ?2 AND team", strange),
        ] {
            let sql = format!("DELETE FROM {name} WHERE {which} IN (SELECT value FROM json_each(?3)) AND {ENDED}");
            statements.push(query!(&self.0, &sql, account, user, serde_json::to_string(teams)?)?);
        }
        if let Whole::Erased(now) = whole {
            let sql = format!(
                "INSERT INTO account_events (account, at, type) SELECT ?1, ?3, 'erased'
                 WHERE {ENDED} AND EXISTS (SELECT 1 FROM users WHERE account = ?1)"
            );
            statements.push(query!(&self.0, &sql, account, user, now)?);
        }
        statements.push(self.close(account)?);
        statements.extend(UNNAMED.map(|sql| query!(&self.0, sql)));
        let results = self.0.batch(statements).await?;
        results.first().map_or(Ok(false), wrote)
    }

    /// Ends an account that has no user. False, and nothing is changed, if it has one.
    pub(crate) async fn end_account(&self, account: AccountId) -> Result<bool, Problem> {
        let mut statements = self.ending(account, None)?;
        statements.push(self.close(account)?);
        let results = self.0.batch(statements).await?;
        results.last().map_or(Ok(false), wrote)
    }

    /// Removes what is about the devices of a user who has ended, and all that is about an account without a user; each
    /// table before those that it refers to.
    fn ending(&self, account: AccountId, user: Option<UserId>) -> Result<Vec<D1PreparedStatement>, Problem> {
        let devices = format!(
            "SELECT device FROM devices WHERE (user = ?2 AND {ENDED}) OR (account = ?1 AND user IS NULL AND {OVER})"
        );
        let of_these = format!("(device IN ({devices}) OR (account = ?1 AND {OVER}))");
        let over = format!("account = ?1 AND user IS NULL AND {OVER} AND ?2 IS ?2");
        [
            format!("DELETE FROM refreshes WHERE session IN (SELECT id FROM sessions WHERE {of_these})"),
            format!("DELETE FROM sessions WHERE {of_these}"),
            format!("DELETE FROM failed_polls WHERE handshake IN (SELECT id FROM handshakes WHERE {of_these})"),
            format!("DELETE FROM handshakes WHERE {of_these}"),
            format!("DELETE FROM proofs WHERE device IN ({devices})"),
            format!("DELETE FROM account_events WHERE {of_these}"),
            format!("DELETE FROM devices WHERE {over}"),
        ]
        .iter()
        .map(|sql| Ok(query!(&self.0, sql, account, user)?))
        .collect()
    }

    /// Removes an account that has no user. What refers to it is gone by then.
    fn close(&self, account: AccountId) -> Result<D1PreparedStatement, Problem> {
        Ok(query!(&self.0, &format!("DELETE FROM accounts WHERE id = ?1 AND {OVER} RETURNING id"), account)?)
    }
}

/// How much of a user ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whole {
    /// They have left every team that others are in, and are deleted.
    Deleted,
    /// They may be in teams with others, and were erased, at this time.
    Erased(Time),
}

/// A part of an export: its name, and its rows as JSON.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Whether there is exactly one row.
    pub(crate) single: bool,
    pub(crate) rows: Vec<String>,
}

/// The teams to look at for what is a user's, and how to know it.
pub(crate) struct Belongings {
    pub(crate) teams: Vec<Belonging>,
    /// Every device that is or was theirs.
    pub(crate) devices: Vec<DeviceId>,
}

/// A team that a user is or ever was in, as an export tells it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Belonging {
    pub(crate) team: TeamId,
    pub(crate) joins: u64,
    /// Their role; if they wait to be confirmed, what they would become.
    pub(crate) role: Option<Role>,
    /// How long they wait.
    pub(crate) pending_until: Option<Time>,
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

/// How an export tells a column: keys as JSON, everything else as it is kept.
fn told(column: &str) -> String {
    match column {
        "jwk" => format!("json({column})"),
        _ => column.to_owned(),
    }
}
