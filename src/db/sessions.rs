//! Sessions, how their tokens are replaced, and what happened to an account.

use osmynt_core::api::{AccountEvent, AccountEventType, MySession};
use osmynt_core::limits::PAGE;
use osmynt_core::{AccountId, DeviceId, Time, UserId};
use serde::{Deserialize, Serialize};
use worker::query;

use super::{Db, OPEN_SESSION, Session, all, rows, wrote};
use crate::problem::Problem;
use crate::signin::IdempotencyKey;

impl Db {
    /// Notes the one use of a refresh token, if there was none and the session is open, and tells what is noted. None if the
    /// session has ended.
    ///
    /// The primary key of `refreshes` decides between two uses at once; the generation follows in the same transaction.
    pub(crate) async fn refresh(
        &self,
        session: Session<'_>,
        key: IdempotencyKey,
        now: Time,
    ) -> Result<Option<Refreshed>, Problem> {
        let Session { id, account, device, generation } = session;
        let used = query!(
            &self.0,
            &format!(
                "INSERT INTO refreshes (session, generation, idempotency_key, refreshed_at)
                 SELECT s.id, ?5, ?6, ?4 {OPEN_SESSION} ON CONFLICT DO NOTHING"
            ),
            id,
            account,
            device,
            now,
            generation,
            key,
        )?;
        let replaced = query!(
            &self.0,
            "UPDATE sessions SET generation = ?2 + 1, refreshed_at = ?3 WHERE id = ?1 AND generation = ?2
             AND EXISTS (SELECT 1 FROM refreshes WHERE session = ?1 AND generation = ?2)",
            id,
            generation,
            now,
        )?;
        let noted = query!(
            &self.0,
            "SELECT s.generation, s.expires_at, r.idempotency_key AS key, r.refreshed_at AS since
             FROM sessions s JOIN devices d ON d.device = s.device AND d.account = s.account
             JOIN refreshes r ON r.session = s.id AND r.generation = ?5
             WHERE s.id = ?1 AND s.account = ?2 AND s.device = ?3 AND s.expires_at > ?4
               AND s.ended_at IS NULL AND d.revoked_seq IS NULL",
            id,
            account,
            device,
            now,
            generation,
        )?;
        let results = self.0.batch(vec![used, replaced, noted]).await?;
        Ok(results.last().map(rows::<Refreshed>).transpose()?.and_then(|mut rows| rows.pop()))
    }

    /// The open sessions of a user's devices, and of the account's devices that are in no log yet, newest first.
    pub(crate) async fn sessions(
        &self,
        account: AccountId,
        user: UserId,
        current: &str,
        now: Time,
    ) -> Result<Vec<MySession>, Problem> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
            device: DeviceId,
            name: String,
            created_at: Time,
            refreshed_at: Time,
            expires_at: Time,
        }
        let statement = query!(
            &self.0,
            "SELECT s.id, s.device, s.name, s.created_at, coalesce(s.refreshed_at, s.created_at) AS refreshed_at, s.expires_at
             FROM sessions s JOIN devices d ON d.device = s.device AND d.account = s.account
             WHERE s.account = ?1 AND s.expires_at > ?2 AND s.ended_at IS NULL AND d.revoked_seq IS NULL
               AND (d.user = ?4 OR d.user IS NULL)
             ORDER BY s.created_at DESC, s.id LIMIT ?3",
            account,
            now,
            PAGE,
            user,
        )?;
        let listed = |row: Row| {
            let Row { id, device, name, created_at, refreshed_at, expires_at } = row;
            MySession { current: id == current, id, device, name, created_at, refreshed_at, expires_at }
        };
        Ok(all(&statement).await?.into_iter().map(listed).collect())
    }

    /// Ends sessions, if they are open, with an event for each. False if the one that is named is not one that the caller may
    /// end: a user's devices end their own sessions and those of devices in no log, and never those of another user of the
    /// account. So whoever takes over the account cannot silence the devices of its former user.
    pub(crate) async fn end(&self, account: AccountId, ending: Ending<'_>, now: Time) -> Result<bool, Problem> {
        let (session, own, by, because) = match ending {
            Ending::Own(session) => (Some(session), Some(session), None, AccountEventType::SignedOut),
            Ending::Other { session, by } => (Some(session), None, Some(by), AccountEventType::SessionRevoked),
            Ending::Reused(session) => (Some(session), None, None, AccountEventType::RefreshReused),
            Ending::All { own, by } => (None, Some(own), Some(by), AccountEventType::SessionRevoked),
        };
        let named = "account = ?1 AND (?2 IS NULL OR id = ?2) AND (?4 IS NULL OR EXISTS (
                       SELECT 1 FROM devices d
                       WHERE d.device = sessions.device AND (d.user = ?4 OR d.user IS NULL)))";
        let events = query!(
            &self.0,
            &format!(
                "INSERT INTO account_events (account, at, type, device, session)
                 SELECT account, ?3, CASE id WHEN ?5 THEN 'signed-out' ELSE ?6 END, device, id
                 FROM sessions WHERE {named} AND ended_at IS NULL AND expires_at > ?3"
            ),
            account,
            session,
            now,
            by,
            own,
            because,
        )?;
        let ended = query!(
            &self.0,
            &format!("UPDATE sessions SET ended_at = coalesce(ended_at, ?3) WHERE {named} RETURNING id"),
            account,
            session,
            now,
            by,
        )?;
        let results = self.0.batch(vec![events, ended]).await?;
        results.last().map_or(Ok(false), wrote)
    }

    /// A page of what happened to an account, newest first, with the position of each in the order of all.
    pub(crate) async fn events(
        &self,
        account: AccountId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AccountEvent)>, Problem> {
        #[derive(Deserialize)]
        struct Row {
            id: u64,
            at: Time,
            r#type: AccountEventType,
            device: Option<DeviceId>,
            session: Option<String>,
        }
        let statement = query!(
            &self.0,
            "SELECT id, at, type, device, session FROM account_events WHERE account = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
            account,
            before,
            limit,
        )?;
        let event = |Row { id, at, r#type, device, session }| (id, AccountEvent { at, r#type, device, session });
        Ok(all(&statement).await?.into_iter().map(event).collect())
    }

    /// Removes what time has made worthless. Twice is as good as once.
    pub(crate) async fn sweep(&self, now: Time) -> Result<(), Problem> {
        const DAY: u64 = 24 * 3600;
        const EVENTS_DAYS: u64 = 400;
        // Handshakes: their device codes have expired long ago. Sessions: no token of theirs is good for anything.
        let yesterday = Time(now.0.saturating_sub(DAY));
        // Not all clocks of the network agree to the second.
        let a_minute_ago = Time(now.0.saturating_sub(60));
        let long_ago = Time(now.0.saturating_sub(EVENTS_DAYS * DAY));
        let over = "(expires_at < ?1 OR ended_at < ?1)";
        let statements = [
            query!(&self.0, "DELETE FROM proofs WHERE ends_at < ?1", a_minute_ago)?,
            query!(&self.0, "DELETE FROM failed_polls WHERE failed_at < ?1", yesterday)?,
            query!(&self.0, "DELETE FROM handshakes WHERE decided_at < ?1", yesterday)?,
            query!(
                &self.0,
                &format!("DELETE FROM refreshes WHERE session IN (SELECT id FROM sessions WHERE {over})"),
                yesterday,
            )?,
            query!(&self.0, &format!("DELETE FROM sessions WHERE {over}"), yesterday)?,
            // Devices that signed in and never came into a user's log.
            query!(
                &self.0,
                "DELETE FROM devices WHERE user IS NULL AND NOT EXISTS (SELECT 1 FROM sessions WHERE device = devices.device)"
            ),
            // Those who wait no more to be confirmed.
            query!(&self.0, "DELETE FROM team_members WHERE pending_until < ?1", yesterday)?,
            query!(&self.0, "DELETE FROM account_events WHERE at < ?1", long_ago)?,
        ];
        self.0.batch(statements.into()).await?;
        Ok(())
    }
}

/// How a refresh token was used first, and where the session stands.
#[derive(Deserialize)]
pub(crate) struct Refreshed {
    /// The session's generation.
    pub(crate) generation: u64,
    /// The session's end.
    pub(crate) expires_at: Time,
    /// The idempotency key of that use.
    pub(crate) key: IdempotencyKey,
    /// When that was.
    pub(crate) since: Time,
}

/// Which sessions end, and why.
#[derive(Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// The one that asks for it.
    Own(&'a str),
    /// Another one, by a device of this user.
    Other { session: &'a str, by: UserId },
    /// One whose refresh token was used twice.
    Reused(&'a str),
    /// All that this user may end; `own` is the one that asks for it.
    All { own: &'a str, by: UserId },
}

/// Something that happens to an account.
#[derive(Serialize)]
pub(crate) struct NewEvent {
    pub(crate) r#type: AccountEventType,
    pub(crate) device: DeviceId,
}
