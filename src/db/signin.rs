//! Sign-in: what people decided about handshakes, and the sessions that came of it.

use osmynt_core::api::AccountEventType;
use osmynt_core::limits::WRONG_VERIFIERS;
use osmynt_core::{AccountId, DeviceId, PublicKey, Time};
use serde::Deserialize;
use worker::query;

use super::{Db, Returned, first, wrote};
use crate::problem::Problem;

impl Db {
    /// What a device is to the account of whom GitHub knows by `github_id`, who may have none yet.
    pub(crate) async fn standing(&self, github_id: u64, device: DeviceId) -> Result<Standing, Problem> {
        #[derive(Deserialize)]
        struct Row {
            foreign_device: u8,
            revoked: u8,
            known: u8,
            has_user: u8,
        }
        let account = "(SELECT id FROM accounts WHERE github_id = ?1)";
        let statement = query!(
            &self.0,
            &format!(
                "SELECT EXISTS (SELECT 1 FROM devices WHERE device = ?2 AND user IS NOT NULL
                                AND (account IS NULL OR account IS NOT {account})) AS foreign_device,
                        EXISTS (SELECT 1 FROM devices WHERE device = ?2 AND revoked_seq IS NOT NULL) AS revoked,
                        EXISTS (SELECT 1 FROM devices WHERE device = ?2 AND user IS NOT NULL) AS known,
                        EXISTS (SELECT 1 FROM users WHERE account = {account}) AS has_user"
            ),
            github_id,
            device,
        )?;
        let row: Option<Row> = first(&statement).await?;
        Ok(match row {
            Some(Row { foreign_device: 1, .. }) => Standing::Foreign,
            Some(Row { revoked: 1, .. }) => Standing::Revoked,
            Some(Row { known: 0, has_user: 1, .. }) => Standing::New,
            _ => Standing::Welcome,
        })
    }

    /// Records that a person confirmed a handshake, and who they are. False if it was decided before; then nothing is.
    pub(crate) async fn approve(&self, handshake: &NewHandshake<'_>, person: &Person<'_>) -> Result<bool, Problem> {
        let Person { new_id, github_id, login, name: full_name, avatar_url } = *person;
        let NewHandshake { id, device, jwk, name, now } = *handshake;
        let account = query!(
            &self.0,
            "INSERT INTO accounts (id, github_id, login, name, avatar_url, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM handshakes WHERE id = ?7)
             ON CONFLICT (github_id) DO UPDATE
             SET login = excluded.login, name = excluded.name, avatar_url = excluded.avatar_url",
            new_id,
            github_id,
            login,
            full_name,
            avatar_url,
            now,
            id,
        )?;
        let decision = query!(
            &self.0,
            "INSERT INTO handshakes (id, device, jwk, account, decided_at, name)
             SELECT ?1, ?2, ?3, id, ?5, ?6 FROM accounts WHERE github_id = ?4
             ON CONFLICT (id) DO NOTHING RETURNING id",
            id,
            device,
            serde_json::to_string(jwk)?,
            github_id,
            now,
            name,
        )?;
        let results = self.0.batch(vec![account, decision]).await?;
        results.last().map_or(Ok(false), wrote)
    }

    /// Records that a person refused a handshake. False if it was decided before.
    pub(crate) async fn deny(&self, handshake: &NewHandshake<'_>) -> Result<bool, Problem> {
        let NewHandshake { id, device, jwk, name, now } = *handshake;
        let statement = query!(
            &self.0,
            "INSERT INTO handshakes (id, device, jwk, account, decided_at, name) VALUES (?1, ?2, ?3, NULL, ?4, ?5)
             ON CONFLICT (id) DO NOTHING RETURNING id",
            id,
            device,
            serde_json::to_string(jwk)?,
            now,
            name,
        )?;
        Ok(first::<Returned>(&statement).await?.is_some())
    }

    /// What became of a handshake; none while nobody has decided.
    pub(crate) async fn handshake(&self, id: &str) -> Result<Option<HandshakeRow>, Problem> {
        let statement = query!(
            &self.0,
            &format!("SELECT account, session, NOT {BARRED} AS welcome FROM handshakes h WHERE id = ?1"),
            id,
        )?;
        first(&statement).await
    }

    /// Notes that a poll came with a wrong verifier. The last that is allowed refuses the handshake, also if a person has
    /// approved it, unless its tokens were claimed.
    pub(crate) async fn fail(
        &self,
        handshake: &str,
        device: DeviceId,
        jwk: &PublicKey,
        now: Time,
    ) -> Result<(), Problem> {
        let count = query!(
            &self.0,
            "INSERT INTO failed_polls (handshake, count, failed_at) VALUES (?1, 1, ?2)
             ON CONFLICT (handshake) DO UPDATE SET count = count + 1, failed_at = excluded.failed_at",
            handshake,
            now,
        )?;
        let refuse = query!(
            &self.0,
            "INSERT INTO handshakes (id, device, jwk, account, decided_at, name)
             SELECT handshake, ?2, ?3, NULL, ?4, '' FROM failed_polls WHERE handshake = ?1 AND count >= ?5
             ON CONFLICT (id) DO UPDATE SET account = NULL WHERE session IS NULL",
            handshake,
            device,
            serde_json::to_string(jwk)?,
            now,
            WRONG_VERIFIERS,
        )?;
        self.0.batch(vec![count, refuse]).await?;
        Ok(())
    }

    /// Opens the session of an approved handshake, and ends the one that the device had before. False if that was done
    /// before.
    ///
    /// The compare-and-set on `session` and the rows that follow from it are one transaction: two claims at once open
    /// one session, and a failure opens none and leaves the handshake to be claimed.
    pub(crate) async fn claim(
        &self,
        handshake: &str,
        session: &str,
        now: Time,
        expires: Time,
    ) -> Result<bool, Problem> {
        let claim = query!(
            &self.0,
            &format!(
                "UPDATE handshakes AS h SET session = ?2
                 WHERE id = ?1 AND account IS NOT NULL AND session IS NULL AND NOT {BARRED} RETURNING id"
            ),
            handshake,
            session,
        )?;
        // A device that is in no log goes to the account that it signs in to now.
        let device = query!(
            &self.0,
            "INSERT INTO devices (device, account, jwk) SELECT device, account, jwk FROM handshakes WHERE session = ?1 AND id = ?2
             ON CONFLICT (device) DO UPDATE SET account = excluded.account WHERE devices.user IS NULL",
            session,
            handshake,
        )?;
        // The device has the tokens of one session; those of an earlier one it forgets now.
        let end = query!(
            &self.0,
            "UPDATE sessions SET ended_at = ?3 FROM handshakes h
             WHERE h.id = ?2 AND h.session = ?1 AND sessions.device = h.device AND sessions.id <> ?1 AND ended_at IS NULL",
            session,
            handshake,
            now,
        )?;
        let open = query!(
            &self.0,
            "INSERT INTO sessions (id, account, device, name, created_at, expires_at)
             SELECT session, account, device, name, ?3, ?4 FROM handshakes WHERE session = ?1 AND id = ?2",
            session,
            handshake,
            now,
            expires,
        )?;
        let event = query!(
            &self.0,
            "INSERT INTO account_events (account, at, type, device, session)
             SELECT account, ?3, ?4, device, session FROM handshakes WHERE session = ?1 AND id = ?2",
            session,
            handshake,
            now,
            AccountEventType::SignedIn,
        )?;
        let results = self.0.batch(vec![claim, device, end, open, event]).await?;
        results.first().map_or(Ok(false), wrote)
    }
}

/// Whether the device of a handshake `h` may not be signed in: it was revoked, or belongs to a user of another account.
const BARRED: &str = "EXISTS (SELECT 1 FROM devices d WHERE d.device = h.device
  AND (d.revoked_seq IS NOT NULL OR (d.user IS NOT NULL AND d.account IS NOT h.account)))";

/// What a device is to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is active in the log of a user of the account, or may found the log of its first.
    Welcome,
    /// It is in no log, and the account has a user.
    New,
    /// It was revoked.
    Revoked,
    /// It is in the log of somebody who is no user of the account.
    Foreign,
}

/// A handshake that is about to be decided.
#[derive(Clone, Copy)]
pub(crate) struct NewHandshake<'a> {
    pub(crate) id: &'a str,
    pub(crate) device: DeviceId,
    pub(crate) jwk: &'a PublicKey,
    /// What people call the device.
    pub(crate) name: &'a str,
    pub(crate) now: Time,
}

/// A person, as GitHub knows them. `new_id` becomes the id of their account if they were never here before.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    pub(crate) new_id: AccountId,
    pub(crate) github_id: u64,
    pub(crate) login: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) avatar_url: Option<&'a str>,
}

/// A handshake that a person has decided about.
#[derive(Deserialize)]
pub(crate) struct HandshakeRow {
    /// Who approved it; none if it was refused.
    pub(crate) account: Option<AccountId>,
    /// Whether its device may be signed in there.
    welcome: u8,
    /// The session that was opened for it.
    pub(crate) session: Option<String>,
}

impl HandshakeRow {
    pub(crate) const fn is_welcome(&self) -> bool {
        self.welcome == 1
    }
}
