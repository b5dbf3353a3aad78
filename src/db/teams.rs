//! What the service must know of teams outside their Durable Objects.

use osmynt_core::limits::PAGE_BYTES;
use osmynt_core::names::{Name, Provider};
use osmynt_core::teamlog::Role;
use osmynt_core::{Bytes, DeviceId, Hash, Head, KeyId, TeamId, Time, UserId, api};
use serde::{Deserialize, Serialize};
use worker::query;

use super::account::UNNAMED;
use super::{Db, LogRow, all, first, heads_of, rows};
use crate::problem::Problem;

impl Db {
    /// The teams that a user is in, or waits to be confirmed in, ascending by id.
    pub(crate) async fn teams(&self, user: UserId, now: Time) -> Result<Vec<api::MyTeam>, Problem> {
        #[derive(Deserialize)]
        struct Row {
            team: TeamId,
            pending: u8,
        }
        let statement = query!(
            &self.0,
            "SELECT team, pending_until IS NOT NULL AS pending FROM team_members
             WHERE user = ?1 AND (pending_until IS NULL OR pending_until >= ?2) ORDER BY team",
            user,
            now,
        )?;
        let team = |Row { team, pending }| api::MyTeam { team, pending: pending == 1 };
        Ok(all(&statement).await?.into_iter().map(team).collect())
    }

    /// JSON: where the user logs of a team's members stand, an array of [`osmynt_core::teamlog::UserHead`].
    pub(crate) async fn heads(&self, team: TeamId) -> Result<String, Problem> {
        #[derive(Deserialize)]
        struct Row {
            heads: String,
        }
        let statement = query!(&self.0, &format!("SELECT ({}) AS heads", heads_of("?1")), team)?;
        Ok(first::<Row>(&statement).await?.map(|row| row.heads).unwrap_or_default())
    }

    /// The user logs of some users, ascending, with what their names open to and the prekeys of their active devices; as
    /// many as fit on a page, and at least one. All of one moment. And whether some did not fit.
    pub(crate) async fn directory(&self, users: &[UserId]) -> Result<(Vec<api::DirectoryUser>, bool), Problem> {
        #[derive(Deserialize)]
        struct Sized {
            user: UserId,
            fits: u8,
        }
        #[derive(Deserialize)]
        struct Entry {
            user: UserId,
            #[serde(flatten)]
            row: LogRow,
        }
        #[derive(Deserialize)]
        struct Prekey {
            user: UserId,
            prekey: String,
        }
        // What comes before a user on the page, and the user, is not more than a page.
        let sized = "sized AS (
               SELECT id AS user, sum(log_bytes + coalesce((
                 SELECT sum(length(prekey)) FROM devices WHERE user = u.id AND revoked_seq IS NULL
               ), 0)) OVER (ORDER BY id) <= ?2 OR row_number() OVER (ORDER BY id) = 1 AS fits
               FROM users u WHERE id IN (SELECT value FROM json_each(?1)))";
        let users = serde_json::to_string(users)?;
        let fitting = format!("WITH {sized} SELECT user FROM sized WHERE fits");
        let ask = |sql: String| query!(&self.0, &sql, users, PAGE_BYTES);
        let statements = vec![
            ask(format!("WITH {sized} SELECT user, fits FROM sized ORDER BY user"))?,
            ask(format!("SELECT user, jws, received_at FROM user_log WHERE user IN ({fitting}) ORDER BY user, seq"))?,
            ask(format!("SELECT user, provider, provider_id, login, salt FROM names WHERE user IN ({fitting})"))?,
            ask(format!(
                "SELECT user, prekey FROM devices
                 WHERE user IN ({fitting}) AND revoked_seq IS NULL AND prekey IS NOT NULL ORDER BY user, device"
            ))?,
        ];
        // One batch is one transaction: everything is of the same moment.
        let results = self.0.batch(statements).await?;
        let [sized, logs, names, prekeys] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of four with another number"));
        };
        let sized: Vec<Sized> = rows(sized)?;
        let on_page = sized.iter().filter(|row| row.fits == 1).count();
        let empty =
            |row: &Sized| api::DirectoryUser { user: row.user, log: Vec::new(), name: None, prekeys: Vec::new() };
        let mut directory: Vec<api::DirectoryUser> = sized.iter().take(on_page).map(empty).collect();
        let mut of = |user: UserId, change: &mut dyn FnMut(&mut api::DirectoryUser)| {
            if let Ok(at) = directory.binary_search_by_key(&user, |of| of.user) {
                directory.get_mut(at).into_iter().for_each(change);
            }
        };
        for Entry { user, row } in rows(logs)? {
            let mut entry = Some(row.into());
            of(user, &mut |user| user.log.extend(entry.take()));
        }
        for name in rows::<NameRow>(names)? {
            let user = name.user;
            let mut name = Some(name.opening()?);
            of(user, &mut |user| user.name = name.take());
        }
        for Prekey { user, prekey } in rows(prekeys)? {
            let mut prekey = Some(prekey);
            of(user, &mut |user| user.prekeys.extend(prekey.take()));
        }
        Ok((directory, on_page < sized.len()))
    }

    /// The active devices of some users, with the heads of their logs and the keys of the devices' current prekeys, all of
    /// one moment. Who has none is there once, without a device. `speaker` is the device that is to speak: for it, also when
    /// it was added.
    ///
    /// `joins` is a user who is about to be in a team. That is counted before the team decides on it, so that a deletion of
    /// the user under way notices.
    pub(crate) async fn active_devices(
        &self,
        users: &[UserId],
        speaker: DeviceId,
        joins: Option<(UserId, TeamId)>,
    ) -> Result<Vec<ActiveDevice>, Problem> {
        let mut statements = Vec::new();
        if let Some((user, team)) = joins {
            statements.push(query!(
                &self.0,
                "INSERT INTO user_teams (user, team, joins)
                 SELECT id, ?2, 1 FROM users WHERE id = ?1 AND account IS NOT NULL
                 ON CONFLICT DO UPDATE SET joins = joins + 1",
                user,
                team,
            )?);
        }
        statements.push(query!(
            &self.0,
            "SELECT u.id AS user, u.log_seq AS seq, u.log_hash AS hash, d.device, d.prekey_id, d.added_seq,
                    CASE d.device WHEN ?2 THEN (
                      SELECT received_at FROM user_log WHERE user = d.user AND seq = d.added_seq
                    ) END AS added_at
             FROM users u LEFT JOIN devices d ON d.user = u.id AND d.revoked_seq IS NULL
             WHERE u.id IN (SELECT value FROM json_each(?1)) ORDER BY u.id, d.device",
            serde_json::to_string(users)?,
            speaker,
        )?);
        let results = self.0.batch(statements).await?;
        Ok(results.last().map(rows).transpose()?.unwrap_or_default())
    }

    /// Takes back what [`Self::active_devices`] has counted for a user who is not to join after all.
    pub(crate) async fn not_joined(&self, user: UserId, team: TeamId) -> Result<(), Problem> {
        let count = "UPDATE user_teams SET joins = joins - 1 WHERE user = ?1 AND team = ?2";
        let none = "DELETE FROM user_teams WHERE user = ?1 AND team = ?2 AND joins = 0";
        self.0.batch(vec![query!(&self.0, count, user, team)?, query!(&self.0, none, user, team)?]).await?;
        Ok(())
    }

    /// Brings the projection of a team to what its log says at `seq`. Changes nothing if the projection is newer;
    /// twice is as good as once.
    pub(crate) async fn project(&self, team: &Projection) -> Result<(), Problem> {
        let Projection { team, seq, epoch, members } = team;
        let members = serde_json::to_string(members)?;
        let head = query!(
            &self.0,
            "INSERT INTO teams (id, seq, epoch) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, epoch = excluded.epoch WHERE excluded.seq > seq",
            team,
            seq,
            epoch,
        )?;
        // Only if the statement before made `seq` the projection's, or it was already.
        let gone = query!(
            &self.0,
            "DELETE FROM team_members
             WHERE team = ?1 AND ?2 = (SELECT seq FROM teams WHERE id = ?1)
               AND user NOT IN (SELECT value ->> 'user' FROM json_each(?3))",
            team,
            seq,
            members,
        )?;
        let present = query!(
            &self.0,
            "INSERT INTO team_members (team, user, role, pending_until)
             SELECT ?1, value ->> 'user', value ->> 'role', value ->> 'pending_until' FROM json_each(?3)
             WHERE ?2 = (SELECT seq FROM teams WHERE id = ?1)
             ON CONFLICT (team, user) DO UPDATE SET role = excluded.role, pending_until = excluded.pending_until
             WHERE role <> excluded.role OR pending_until IS NOT excluded.pending_until",
            team,
            seq,
            members,
        )?;
        // Whoever is in a team stays in its log, so this is never undone while there is the team.
        let ever = query!(
            &self.0,
            "INSERT INTO user_teams (user, team, joins) SELECT id, ?1, 1 FROM users
             WHERE id IN (SELECT value ->> 'user' FROM json_each(?2)) ON CONFLICT DO NOTHING",
            team,
            members,
        )?;
        self.0.batch(vec![head, gone, present, ever]).await?;
        Ok(())
    }

    /// Forgets a team that is no more, and the stubs that were kept for it alone. Twice is as good as once.
    pub(crate) async fn forget_team(&self, team: TeamId) -> Result<(), Problem> {
        let mut statements = vec![
            query!(&self.0, "DELETE FROM team_members WHERE team = ?1", team)?,
            query!(&self.0, "DELETE FROM teams WHERE id = ?1", team)?,
            query!(&self.0, "DELETE FROM user_teams WHERE team = ?1", team)?,
        ];
        statements.extend(UNNAMED.map(|sql| query!(&self.0, sql)));
        self.0.batch(statements).await?;
        Ok(())
    }
}

/// What a name opens to, as it is kept.
#[derive(Deserialize)]
pub(super) struct NameRow {
    user: UserId,
    provider: Provider,
    provider_id: u64,
    login: String,
    salt: String,
}

impl NameRow {
    pub(super) fn opening(self) -> Result<Name, Problem> {
        let salt = osmynt_core::b64u::decode_array(&self.salt).map(Bytes);
        let salt = salt.map_err(|_| Problem::internal("a stored salt is not 32 bytes"))?;
        Ok(Name { provider: self.provider, id: self.provider_id, login: self.login, salt })
    }
}

/// A device that is active now, and where its user's log stands.
#[derive(Deserialize)]
pub(crate) struct ActiveDevice {
    pub(crate) user: UserId,
    seq: u64,
    hash: Hash,
    pub(crate) device: Option<DeviceId>,
    pub(crate) prekey_id: Option<KeyId>,
    pub(crate) added_seq: Option<u64>,
    /// For the device that is to speak.
    pub(crate) added_at: Option<Time>,
}

impl ActiveDevice {
    pub(crate) const fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// What D1 keeps of a team.
#[derive(Serialize, Deserialize)]
pub(crate) struct Projection {
    pub(crate) team: TeamId,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    pub(crate) members: Vec<ProjectedMember>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ProjectedMember {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    /// For somebody who waits to be confirmed: the last second of their waiting.
    pub(crate) pending_until: Option<Time>,
}
