//! Sign-in: what people decided about handshakes, and the sessions that came of it.

use osmynt_core::api::AccountEventType;
use osmynt_core::limits::WRONG_VERIFIERS;
use osmynt_core::{DeviceId, PublicKey, Time, UserId};
use serde::Deserialize;
use worker::query;

use super::{Db, Returned, first, rows};
use crate::problem::Problem;

impl Db {
    /// True if the user that GitHub knows by `github_id` has had this device and revoked it.
    pub(crate) async fn is_revoked(&self, github_id: u64, device: DeviceId) -> Result<bool, Problem> {
        let statement = query!(
            &self.0,
            "SELECT d.device AS id FROM users u JOIN devices d ON d.user = u.id
             WHERE u.github_id = ?1 AND d.device = ?2 AND d.revoked_seq IS NOT NULL",
            github_id,
            device,
        )?;
        Ok(first::<Returned>(&statement).await?.is_some())
    }

    /// Records that a person confirmed a handshake, and who they are. False if it was decided before; then nothing is.
    pub(crate) async fn approve(&self, handshake: &NewHandshake<'_>, person: &Person<'_>) -> Result<bool, Problem> {
        let Person { new_id, github_id, login, name: full_name, avatar_url } = *person;
        let NewHandshake { id, device, jwk, name, now } = *handshake;
        let user = query!(
            &self.0,
            "INSERT INTO users (id, github_id, login, name, avatar_url, created_at)
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
            "INSERT INTO handshakes (id, device, jwk, user, decided_at, name)
             SELECT ?1, ?2, ?3, id, ?5, ?6 FROM users WHERE github_id = ?4
             ON CONFLICT (id) DO NOTHING RETURNING id",
            id,
            device,
            serde_json::to_string(jwk)?,
            github_id,
            now,
            name,
        )?;
        let results = self.0.batch(vec![user, decision]).await?;
        Ok(results.last().map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty()))
    }

    /// Records that a person refused a handshake. False if it was decided before.
    pub(crate) async fn deny(&self, handshake: &NewHandshake<'_>) -> Result<bool, Problem> {
        let NewHandshake { id, device, jwk, now, .. } = *handshake;
        let statement = query!(
            &self.0,
            "INSERT INTO handshakes (id, device, jwk, user, decided_at) VALUES (?1, ?2, ?3, NULL, ?4)
             ON CONFLICT (id) DO NOTHING RETURNING id",
            id,
            device,
            serde_json::to_string(jwk)?,
            now,
        )?;
        Ok(first::<Returned>(&statement).await?.is_some())
    }

    /// What became of a handshake; none while nobody has decided.
    pub(crate) async fn handshake(&self, id: &str) -> Result<Option<HandshakeRow>, Problem> {
        first(&query!(&self.0, "SELECT user, session FROM handshakes WHERE id = ?1", id)?).await
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
            "INSERT INTO handshakes (id, device, jwk, user, decided_at)
             SELECT handshake, ?2, ?3, NULL, ?4 FROM failed_polls WHERE handshake = ?1 AND count >= ?5
             ON CONFLICT (id) DO UPDATE SET user = NULL WHERE session IS NULL",
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
            "UPDATE handshakes SET session = ?2 WHERE id = ?1 AND user IS NOT NULL AND session IS NULL RETURNING id",
            handshake,
            session,
        )?;
        let device = query!(
            &self.0,
            "INSERT INTO devices (user, device, jwk) SELECT user, device, jwk FROM handshakes WHERE session = ?1 AND id = ?2
             ON CONFLICT (user, device) DO NOTHING",
            session,
            handshake,
        )?;
        // The device has the tokens of one session; those of an earlier one it forgets now.
        let end = query!(
            &self.0,
            "UPDATE sessions SET ended_at = ?3 FROM handshakes h
             WHERE h.id = ?2 AND h.session = ?1 AND sessions.user = h.user AND sessions.device = h.device
               AND sessions.id <> ?1 AND ended_at IS NULL",
            session,
            handshake,
            now,
        )?;
        let open = query!(
            &self.0,
            "INSERT INTO sessions (id, user, device, name, created_at, expires_at)
             SELECT session, user, device, name, ?3, ?4 FROM handshakes WHERE session = ?1 AND id = ?2",
            session,
            handshake,
            now,
            expires,
        )?;
        let event = query!(
            &self.0,
            "INSERT INTO account_events (user, at, type, device, session)
             SELECT user, ?3, ?4, device, session FROM handshakes WHERE session = ?1 AND id = ?2",
            session,
            handshake,
            now,
            AccountEventType::SignedIn,
        )?;
        let results = self.0.batch(vec![claim, device, end, open, event]).await?;
        Ok(results.first().map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty()))
    }
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

/// A person, as GitHub knows them. `new_id` becomes their user id if they were never here before.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    pub(crate) new_id: UserId,
    pub(crate) github_id: u64,
    pub(crate) login: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) avatar_url: Option<&'a str>,
}

/// A handshake that a person has decided about.
#[derive(Deserialize)]
pub(crate) struct HandshakeRow {
    /// Who approved it; none if it was refused.
    pub(crate) user: Option<UserId>,
    /// The session that was opened for it.
    pub(crate) session: Option<String>,
}
