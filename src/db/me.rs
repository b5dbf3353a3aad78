//! The caller's own log and devices.

use osmynt_core::names::Name;
use osmynt_core::teamlog::Role;
use osmynt_core::{AccountId, DeviceId, Hash, Head, KeyId, PublicKey, TeamId, Time, UserId, api};
use serde::{Deserialize, Serialize};
use worker::{D1PreparedStatement, query};

use super::sessions::NewEvent;
use super::teams::NameRow;
use super::{Db, Returned, first, rows, wrote};
use crate::problem::Problem;

/// The user of an account, who is parameter 1, that was founded last.
pub(super) const PRESENT_USER: &str = "(SELECT id FROM users WHERE account = ?1 ORDER BY founded_at DESC LIMIT 1)";

impl Db {
    /// A page of a user's log: at most `limit` entries from `from` on, with what a client must know besides. All of one
    /// moment.
    pub(crate) async fn my_log(&self, user: UserId, from: u64, limit: usize) -> Result<api::MyLog, Problem> {
        #[derive(Deserialize)]
        struct Prekey {
            prekey: String,
        }
        let log = "SELECT jws, received_at FROM user_log WHERE user = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
        let statements = vec![
            query!(&self.0, log, user, from, limit)?,
            query!(&self.0, "SELECT log_seq AS seq, log_hash AS hash FROM users WHERE id = ?1", user)?,
            query!(&self.0, "SELECT user, provider, provider_id, login, salt FROM names WHERE user = ?1", user)?,
            query!(
                &self.0,
                "SELECT prekey FROM devices WHERE user = ?1 AND revoked_seq IS NULL AND prekey IS NOT NULL ORDER BY device",
                user,
            )?,
        ];
        let results = self.0.batch(statements).await?;
        let [log, head, name, prekeys] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of four with another number"));
        };
        let name = rows::<NameRow>(name)?.pop().map(NameRow::opening).transpose()?;
        Ok(api::MyLog {
            entries: rows::<LogRow>(log)?.into_iter().map(Into::into).collect(),
            head: rows::<Head>(head)?.pop(),
            name,
            prekeys: rows::<Prekey>(prekeys)?.into_iter().map(|row| row.prekey).collect(),
        })
    }

    /// What an append to the log of a user has to know, of one moment. `added` are the devices that it is to add.
    pub(crate) async fn before_append(
        &self,
        account: AccountId,
        user: UserId,
        added: &[DeviceId],
    ) -> Result<Before, Problem> {
        #[derive(Deserialize)]
        struct Device {
            device: DeviceId,
        }
        let log = query!(&self.0, "SELECT jws, received_at FROM user_log WHERE user = ?1 ORDER BY seq", user)?;
        let others = query!(&self.0, "SELECT id FROM users WHERE account = ?1 AND id <> ?2 LIMIT 1", account, user)?;
        let foreign = query!(
            &self.0,
            "SELECT device FROM devices WHERE device IN (SELECT value FROM json_each(?2)) AND user <> ?1 LIMIT 1",
            user,
            serde_json::to_string(added)?,
        )?;
        let results = self.0.batch(vec![log, others, foreign]).await?;
        let [log, others, foreign] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of three with another number"));
        };
        Ok(Before {
            log: rows(log)?,
            others: wrote(others)?,
            foreign: rows::<Device>(foreign)?.pop().map(|row| row.device),
        })
    }

    /// Appends to a user's log, or founds it, and brings the rows that follow from it up to date, all or nothing. False if
    /// the log is not at the head that the append continues, or if something else has come in between.
    ///
    /// The first statement decides, by compare-and-set on the head. The others do something only if it did, in this very
    /// transaction: the head is there, and its entry, which comes last, is not.
    pub(crate) async fn append(&self, append: &Append<'_>) -> Result<bool, Problem> {
        let Append { account, user, entries, head, devices, name, events, now, .. } = append;
        let devices = serde_json::to_string(devices)?;
        let moved = self.move_head(append, &devices)?;
        let is_at = "EXISTS (SELECT 1 FROM users WHERE id = ?1 AND log_seq = ?2 AND log_hash = ?3)
                     AND NOT EXISTS (SELECT 1 FROM user_log WHERE user = ?1 AND seq = ?2)";
        let devices = query!(
            &self.0,
            &format!(
                "INSERT INTO devices (device, account, user, jwk, added_seq, revoked_seq, prekey, prekey_id, prekey_iat)
                 SELECT value ->> 'device', ?5, ?1, value ->> 'jwk', value ->> 'added', value ->> 'revoked',
                        value ->> 'prekey', value ->> 'prekey_id', value ->> 'prekey_iat'
                 FROM json_each(?4) WHERE {is_at}
                 ON CONFLICT (device) DO UPDATE
                 SET account = excluded.account, user = excluded.user, added_seq = excluded.added_seq,
                     revoked_seq = excluded.revoked_seq, prekey = excluded.prekey, prekey_id = excluded.prekey_id,
                     prekey_iat = excluded.prekey_iat"
            ),
            user,
            head.seq,
            head.hash,
            devices,
            account,
        )?;
        let name = query!(
            &self.0,
            &format!(
                "INSERT INTO names (user, seq, provider, provider_id, login, salt)
                 SELECT ?1, value ->> 'seq', value ->> 'provider', value ->> 'id', value ->> 'login', value ->> 'salt'
                 FROM json_each(?4) WHERE {is_at}
                 ON CONFLICT (user) DO UPDATE
                 SET seq = excluded.seq, provider = excluded.provider, provider_id = excluded.provider_id,
                     login = excluded.login, salt = excluded.salt"
            ),
            user,
            head.seq,
            head.hash,
            serde_json::to_string(&name.iter().collect::<Vec<_>>())?,
        )?;
        let events = query!(
            &self.0,
            &format!(
                "INSERT INTO account_events (account, at, type, device)
                 SELECT ?5, ?6, value ->> 'type', value ->> 'device' FROM json_each(?4) WHERE {is_at}"
            ),
            user,
            head.seq,
            head.hash,
            serde_json::to_string(events)?,
            account,
            now,
        )?;
        let entries = query!(
            &self.0,
            &format!(
                "INSERT INTO user_log (user, seq, jws, received_at)
                 SELECT ?1, value ->> 'seq', value ->> 'jws', value ->> 'received_at' FROM json_each(?4) WHERE {is_at}"
            ),
            user,
            head.seq,
            head.hash,
            serde_json::to_string(entries)?,
        )?;
        let results = self.0.batch(vec![moved, devices, name, events, entries]).await?;
        results.first().map_or(Ok(false), wrote)
    }

    /// What decides on an append: it founds the log, or moves its head on from where the append continues it.
    fn move_head(&self, append: &Append<'_>, devices: &str) -> Result<D1PreparedStatement, Problem> {
        let Append { account, user, before, start_over, entries, head, now, .. } = append;
        let bytes: u64 = entries.iter().map(|entry| entry.jws.len() as u64).sum();
        let foreign = "EXISTS (SELECT 1 FROM devices WHERE device IN (SELECT value ->> 'device' FROM json_each(?6)) AND user <> ?2)";
        Ok(match before {
            Some(before) => query!(
                &self.0,
                &format!(
                    "UPDATE users SET log_seq = ?3, log_hash = ?4, log_bytes = log_bytes + ?5
                     WHERE account = ?1 AND id = ?2 AND log_hash = ?7 AND NOT {foreign} RETURNING id"
                ),
                account,
                user,
                head.seq,
                head.hash,
                bytes,
                devices,
                before,
            )?,
            None => query!(
                &self.0,
                &format!(
                    "INSERT INTO users (id, account, founded_at, log_seq, log_hash, log_bytes)
                     SELECT ?2, id,
                            max(?7, coalesce((SELECT max(founded_at) + 1 FROM users WHERE account = ?1), 0)), ?3, ?4, ?5
                     FROM accounts WHERE id = ?1 AND NOT {foreign}
                       AND (?8 OR NOT EXISTS (SELECT 1 FROM users WHERE account = ?1))
                     ON CONFLICT DO NOTHING RETURNING id"
                ),
                account,
                user,
                head.seq,
                head.hash,
                bytes,
                devices,
                now,
                u8::from(*start_over),
            )?,
        })
    }

    /// Replaces a device's signed prekey. False if the present one was signed later.
    pub(crate) async fn renew_prekey(
        &self,
        device: DeviceId,
        prekey: &str,
        prekey_id: KeyId,
        iat: Time,
    ) -> Result<bool, Problem> {
        let statement = query!(
            &self.0,
            "UPDATE devices SET prekey = ?2, prekey_id = ?3, prekey_iat = ?4
             WHERE device = ?1 AND user IS NOT NULL AND revoked_seq IS NULL AND (prekey_iat IS NULL OR prekey_iat <= ?4)
             RETURNING device AS id",
            device,
            prekey,
            prekey_id,
            iat,
        )?;
        Ok(first::<Returned>(&statement).await?.is_some())
    }

    /// The account's present user, as a device sees them that is not theirs; and the erasures of the account's users.
    pub(crate) async fn other_and_erasures(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<(Option<api::OtherUser>, Vec<api::Erasure>), Problem> {
        #[derive(Deserialize)]
        struct Other {
            user: UserId,
            devices: u64,
        }
        #[derive(Deserialize)]
        struct Place {
            team: TeamId,
            role: Option<Role>,
            others: u64,
            other_owner: u8,
        }
        let other = query!(
            &self.0,
            &format!(
                "SELECT id AS user, (SELECT count(*) FROM devices WHERE user = u.id AND revoked_seq IS NULL) AS devices
                 FROM users u WHERE id = {PRESENT_USER}"
            ),
            account,
        )?;
        let teams = query!(
            &self.0,
            &format!(
                "SELECT m.team, CASE WHEN m.pending_until IS NULL THEN m.role END AS role,
                        count(o.user) AS others, coalesce(max(o.role = 'owner'), 0) AS other_owner
                 FROM team_members m
                 LEFT JOIN team_members o ON o.team = m.team AND o.user <> m.user AND o.pending_until IS NULL
                 WHERE m.user = {PRESENT_USER} AND (m.pending_until IS NULL OR m.pending_until >= ?2)
                 GROUP BY m.team ORDER BY m.team"
            ),
            account,
            now,
        )?;
        let erasures = self.erasures_of(account)?;
        let results = self.0.batch(vec![other, teams, erasures]).await?;
        let [other, teams, erasures] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of three with another number"));
        };
        let place = |Place { team, role, others, other_owner }| api::OtherTeam {
            team,
            role,
            others,
            other_owner: other_owner == 1,
        };
        let teams = rows::<Place>(teams)?.into_iter().map(place).collect();
        let other = rows::<Other>(other)?.pop();
        Ok((other.map(|Other { user, devices }| api::OtherUser { user, devices, teams }), rows(erasures)?))
    }
}

/// What an append has to know of the log that it continues, and of what is in its way.
pub(crate) struct Before {
    /// All entries, in their order.
    pub(crate) log: Vec<LogRow>,
    /// Whether the account has another user.
    pub(crate) others: bool,
    /// A device to be added that is in another user's log, if there is one.
    pub(crate) foreign: Option<DeviceId>,
}

/// An entry of a user log, as it is kept.
#[derive(Deserialize)]
pub(crate) struct LogRow {
    pub(crate) jws: String,
    pub(crate) received_at: Time,
}

impl From<LogRow> for api::LoggedEntry {
    fn from(row: LogRow) -> Self {
        Self { jws: row.jws, received_at: row.received_at }
    }
}

/// What an append to a user log writes.
pub(crate) struct Append<'a> {
    pub(crate) account: AccountId,
    pub(crate) user: UserId,
    /// The hash of the entry that it continues; none if it founds the log.
    pub(crate) before: Option<Hash>,
    /// Whether it may found a log although the account has a user.
    pub(crate) start_over: bool,
    pub(crate) entries: Vec<NewEntry<'a>>,
    /// The last of them.
    pub(crate) head: Head,
    /// The devices that they change.
    pub(crate) devices: Vec<ChangedDevice<'a>>,
    /// What the last `name.signed` among them opens to.
    pub(crate) name: Option<NewName<'a>>,
    /// What that means for the account.
    pub(crate) events: Vec<NewEvent>,
    pub(crate) now: Time,
}

#[derive(Serialize)]
pub(crate) struct NewEntry<'a> {
    pub(crate) seq: u64,
    pub(crate) jws: &'a str,
    pub(crate) received_at: Time,
}

#[derive(Serialize)]
pub(crate) struct NewName<'a> {
    /// Position of the `name.signed`.
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) name: &'a Name,
}

/// A device that was added or revoked. One that is revoked loses its prekey: nothing is to be sealed to it.
#[derive(Serialize)]
pub(crate) struct ChangedDevice<'a> {
    pub(crate) device: DeviceId,
    pub(crate) jwk: PublicKey,
    pub(crate) added: u64,
    pub(crate) revoked: Option<u64>,
    pub(crate) prekey: Option<&'a str>,
    pub(crate) prekey_id: Option<KeyId>,
    pub(crate) prekey_iat: Option<Time>,
}
