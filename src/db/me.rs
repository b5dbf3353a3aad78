//! The caller's own log and devices.

use osmynt_core::{DeviceId, PublicKey, Time, UserId, api};
use serde::{Deserialize, Serialize};
use worker::query;

use super::sessions::NewEvent;
use super::{Db, HAS_ACCOUNT, Returned, all, first, is_conflict, rows};
use crate::problem::Problem;

impl Db {
    /// A page of a user's log: at most `limit` entries from `from` on.
    pub(crate) async fn log(&self, user: UserId, from: u64, limit: usize) -> Result<Vec<LogRow>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT jws, received_at FROM user_log WHERE user = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            user,
            from,
            limit,
        )?;
        all(&statement).await
    }

    /// Appends to a user's log and brings the rows that follow from it up to date, all or nothing. False if another
    /// append was faster: its entry then has the place of the first of these. Or if the account was deleted meanwhile.
    pub(crate) async fn append(&self, append: &Append<'_>) -> Result<bool, Problem> {
        let Append { user, entries, log, devices, events, now } = append;
        let events = self.keep_events(*user, events, *now)?;
        let entries = query!(
            &self.0,
            &format!(
                "INSERT INTO user_log (user, seq, jws, received_at)
                 SELECT ?1, value ->> 'seq', value ->> 'jws', value ->> 'received_at' FROM json_each(?2) WHERE {HAS_ACCOUNT}"
            ),
            user,
            serde_json::to_string(entries)?,
        )?;
        let head = query!(
            &self.0,
            &format!(
                "UPDATE users SET log_seq = ?2, log_hash = ?3, identity = ?4 WHERE id = ?1 AND {HAS_ACCOUNT} RETURNING id"
            ),
            user,
            log.head.seq,
            log.head.hash,
            log.identity,
        )?;
        let devices = query!(
            &self.0,
            &format!(
                "INSERT INTO devices (user, device, jwk, added_seq, revoked_seq, prekey, prekey_iat)
                 SELECT ?1, value ->> 'device', value ->> 'jwk', value ->> 'added', value ->> 'revoked',
                        value ->> 'prekey', value ->> 'prekey_iat'
                 FROM json_each(?2) WHERE {HAS_ACCOUNT}
                 ON CONFLICT (user, device) DO UPDATE
                 SET added_seq = excluded.added_seq, revoked_seq = excluded.revoked_seq,
                     prekey = excluded.prekey, prekey_iat = excluded.prekey_iat"
            ),
            user,
            serde_json::to_string(devices)?,
        )?;
        match self.0.batch(vec![entries, head, devices, events]).await {
            Ok(results) => Ok(results.get(1).map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty())),
            Err(error) if is_conflict(&error, "user_log") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces a device's signed prekey. False if the present one was signed later.
    pub(crate) async fn renew_prekey(
        &self,
        user: UserId,
        device: DeviceId,
        prekey: &str,
        iat: Time,
    ) -> Result<bool, Problem> {
        let statement = query!(
            &self.0,
            "UPDATE devices SET prekey = ?3, prekey_iat = ?4
             WHERE user = ?1 AND device = ?2 AND revoked_seq IS NULL AND (prekey_iat IS NULL OR prekey_iat <= ?4)
             RETURNING device AS id",
            user,
            device,
            prekey,
            iat,
        )?;
        Ok(first::<Returned>(&statement).await?.is_some())
    }
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
    pub(crate) user: UserId,
    pub(crate) entries: Vec<NewEntry<'a>>,
    /// Where the log stands after them.
    pub(crate) log: api::UserLogHead,
    /// The devices that they change.
    pub(crate) devices: Vec<ChangedDevice<'a>>,
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

/// A device that was added or revoked. One that is revoked loses its prekey: nothing is to be sealed to it.
#[derive(Serialize)]
pub(crate) struct ChangedDevice<'a> {
    pub(crate) device: DeviceId,
    pub(crate) jwk: PublicKey,
    pub(crate) added: u64,
    pub(crate) revoked: Option<u64>,
    pub(crate) prekey: Option<&'a str>,
    pub(crate) prekey_iat: Option<Time>,
}
