//! What the service must know of teams outside their Durable Objects.

use osmynt_core::teamlog::Role;
use osmynt_core::{DeviceId, Hash, Head, TeamId, UserId, api};
use serde::{Deserialize, Serialize};
use worker::query;

use super::{Db, LogRow, all, rows};
use crate::problem::Problem;

impl Db {
    /// The teams that a user is in under their present identity, ascending by id.
    pub(crate) async fn teams(&self, user: UserId) -> Result<Vec<api::MyTeam>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT t.id AS team, m.role, t.epoch
             FROM team_members m JOIN users u ON u.id = m.user AND u.identity = m.identity JOIN teams t ON t.id = m.team
             WHERE m.user = ?1",
            user,
        )?;
        let mut teams: Vec<api::MyTeam> = all(&statement).await?;
        // By the bytes of the id. SQL would order by its text, which is another order.
        teams.sort_unstable_by_key(|team| team.team);
        Ok(teams)
    }

    /// The user logs and the active devices' prekeys of some users, ascending.
    pub(crate) async fn directory(&self, users: &[UserId]) -> Result<Vec<api::DirectoryUser>, Problem> {
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
        let users = serde_json::to_string(users)?;
        let logs = query!(
            &self.0,
            "SELECT user, jws, received_at FROM user_log WHERE user IN (SELECT value FROM json_each(?1))
             ORDER BY user, seq",
            users,
        )?;
        let prekeys = query!(
            &self.0,
            "SELECT user, prekey FROM devices
             WHERE user IN (SELECT value FROM json_each(?1)) AND revoked_seq IS NULL AND prekey IS NOT NULL
             ORDER BY user, device",
            users,
        )?;
        // One batch is one transaction: log and prekeys are of the same moment.
        let results = self.0.batch(vec![logs, prekeys]).await?;
        let [logs, prekeys] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of two with another number"));
        };
        let mut directory: Vec<api::DirectoryUser> = Vec::new();
        for Entry { user, row } in rows(logs)? {
            match directory.last_mut().filter(|last| last.user == user) {
                Some(last) => last.log.push(row.into()),
                None => directory.push(api::DirectoryUser { user, log: vec![row.into()], prekeys: Vec::new() }),
            }
        }
        for Prekey { user, prekey } in rows(prekeys)? {
            if let Some(of) = directory.iter_mut().find(|of| of.user == user) {
                of.prekeys.push(prekey);
            }
        }
        Ok(directory)
    }

    /// The active devices of some users, with the heads and identities of their logs, all of one moment; ascending by
    /// user and device. Who has none, as their account was deleted, is there once, without a device.
    ///
    /// `joins` is a user who is about to become a member of a team. That is counted before the team decides on it, so that
    /// a deletion of the account under way notices.
    pub(crate) async fn active_devices(
        &self,
        users: &[UserId],
        joins: Option<(UserId, TeamId)>,
    ) -> Result<Vec<ActiveDevice>, Problem> {
        let mut statements = Vec::new();
        if let Some((user, team)) = joins {
            statements.push(query!(
                &self.0,
                "INSERT INTO user_teams (user, team, joins) SELECT id, ?2, 1 FROM users WHERE id = ?1 AND github_id > 0
                 ON CONFLICT DO UPDATE SET joins = joins + 1",
                user,
                team,
            )?);
        }
        statements.push(query!(
            &self.0,
            "SELECT u.id AS user, u.log_seq AS seq, u.log_hash AS hash, u.identity, d.device
             FROM users u LEFT JOIN devices d ON d.user = u.id AND d.added_seq IS NOT NULL AND d.revoked_seq IS NULL
             WHERE u.id IN (SELECT value FROM json_each(?1)) AND u.log_seq IS NOT NULL",
            serde_json::to_string(users)?,
        )?);
        let results = self.0.batch(statements).await?;
        let mut devices: Vec<ActiveDevice> = results.last().map(rows).transpose()?.unwrap_or_default();
        devices.sort_unstable_by_key(|row| (row.user, row.device));
        Ok(devices)
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
            "INSERT INTO team_members (team, user, identity, role)
             SELECT ?1, value ->> 'user', value ->> 'identity', value ->> 'role' FROM json_each(?3)
             WHERE ?2 = (SELECT seq FROM teams WHERE id = ?1)
             ON CONFLICT (team, user) DO UPDATE SET identity = excluded.identity, role = excluded.role
             WHERE identity <> excluded.identity OR role <> excluded.role",
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
}

/// A device that is active now, and where its user's log stands.
#[derive(Deserialize)]
pub(crate) struct ActiveDevice {
    pub(crate) user: UserId,
    seq: u64,
    hash: Hash,
    pub(crate) identity: Hash,
    pub(crate) device: Option<DeviceId>,
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
    pub(crate) identity: Hash,
    pub(crate) role: Role,
}
