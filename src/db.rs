//! Every statement of SQL that D1 runs. The schema, and why each constraint is there, is in `migrations/`.
//!
//! Lists go in as one JSON array and `json_each`, since D1 takes at most 100 parameters.

use osmynt_core::teamlog::Role;
use osmynt_core::{DeviceId, Hash, Head, PublicKey, TeamId, Time, UserId, api};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::{D1Database, D1PreparedStatement, D1Result, Env, query};

use crate::problem::Problem;

/// The D1 database.
pub(crate) struct Db(D1Database);

// Who calls.
impl Db {
    pub(crate) fn open(env: &Env) -> Result<Self, Problem> {
        Ok(Self(env.d1("DB")?))
    }

    /// Everything that a request must know of its caller, if the session is open and the device was not revoked.
    ///
    /// With a `team`: whether it exists, the caller's role if they are a member under their present identity, and to
    /// members what `with` asks for.
    pub(crate) async fn caller(
        &self,
        session: &str,
        user: UserId,
        device: DeviceId,
        team: Option<TeamId>,
        with: With,
        now: Time,
    ) -> Result<Option<CallerRow>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT u.login, u.name, u.avatar_url, u.log_seq, u.log_hash, u.identity,
                    d.jwk, d.added_seq IS NOT NULL AS active,
                    EXISTS (SELECT 1 FROM teams WHERE id = ?5) AS team_exists, m.role,
                    CASE WHEN m.role IS NOT NULL AND ?6 THEN (
                      SELECT json_group_array(json_object('user', o.id, 'seq', o.log_seq, 'hash', o.log_hash))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?5
                    ) END AS heads,
                    CASE WHEN m.role IS NOT NULL AND ?7 THEN (
                      SELECT json_group_array(
                        json_object('id', o.id, 'login', o.login, 'name', o.name, 'avatar_url', o.avatar_url))
                      FROM team_members t JOIN users o ON o.id = t.user WHERE t.team = ?5
                    ) END AS profiles
             FROM sessions s
             JOIN users u ON u.id = s.user
             JOIN devices d ON d.user = s.user AND d.device = s.device
             LEFT JOIN team_members m ON m.team = ?5 AND m.user = s.user AND m.identity = u.identity
             WHERE s.id = ?1 AND s.user = ?2 AND s.device = ?3
               AND s.expires_at > ?4 AND s.ended_at IS NULL AND d.revoked_seq IS NULL",
            session,
            user,
            device,
            now,
            team,
            u8::from(with != With::Nothing),
            u8::from(with == With::HeadsAndProfiles),
        )?;
        first(&statement).await
    }
}

/// What a route wants to know of a team's members, beyond that the caller is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    /// The heads of their user logs.
    Heads,
    /// The heads, and what the identity provider says of them.
    HeadsAndProfiles,
}

#[derive(Deserialize)]
pub(crate) struct CallerRow {
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) avatar_url: Option<String>,
    log_seq: Option<u64>,
    log_hash: Option<Hash>,
    identity: Option<Hash>,
    jwk: String,
    active: u8,
    team_exists: u8,
    pub(crate) role: Option<Role>,
    /// JSON: an array of [`osmynt_core::teamlog::UserHead`].
    pub(crate) heads: Option<String>,
    /// JSON: an array of [`api::Profile`].
    pub(crate) profiles: Option<String>,
}

impl CallerRow {
    pub(crate) fn key(&self) -> Result<PublicKey, Problem> {
        Ok(serde_json::from_str(&self.jwk)?)
    }

    pub(crate) fn log(&self) -> Option<api::UserLogHead> {
        let head = Head { seq: self.log_seq?, hash: self.log_hash? };
        Some(api::UserLogHead { head, identity: self.identity? })
    }

    pub(crate) const fn active(&self) -> bool {
        self.active == 1
    }

    pub(crate) const fn team_exists(&self) -> bool {
        self.team_exists == 1
    }
}

// Sign-in.
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
        let Person { new_id, github_id, login, name, avatar_url } = *person;
        let NewHandshake { id, device, jwk, now } = *handshake;
        let user = query!(
            &self.0,
            "INSERT INTO users (id, github_id, login, name, avatar_url, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM handshakes WHERE id = ?7)
             ON CONFLICT (github_id) DO UPDATE
             SET login = excluded.login, name = excluded.name, avatar_url = excluded.avatar_url",
            new_id,
            github_id,
            login,
            name,
            avatar_url,
            now,
            id,
        )?;
        let decision = query!(
            &self.0,
            "INSERT INTO handshakes (id, device, jwk, user, decided_at)
             SELECT ?1, ?2, ?3, id, ?5 FROM users WHERE github_id = ?4
             ON CONFLICT (id) DO NOTHING RETURNING id",
            id,
            device,
            serde_json::to_string(jwk)?,
            github_id,
            now,
        )?;
        let results = self.0.batch(vec![user, decision]).await?;
        Ok(results.last().map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty()))
    }

    /// Records that a person refused a handshake. False if it was decided before.
    pub(crate) async fn deny(&self, handshake: &NewHandshake<'_>) -> Result<bool, Problem> {
        let NewHandshake { id, device, jwk, now } = *handshake;
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

    /// Opens the session of an approved handshake. False if that was done before.
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
        let open = query!(
            &self.0,
            "INSERT INTO sessions (id, user, device, created_at, expires_at)
             SELECT session, user, device, ?3, ?4 FROM handshakes WHERE session = ?1 AND id = ?2",
            session,
            handshake,
            now,
            expires,
        )?;
        let results = self.0.batch(vec![claim, device, open]).await?;
        Ok(results.first().map(rows::<Returned>).transpose()?.is_some_and(|rows| !rows.is_empty()))
    }
}

/// A handshake that is about to be decided.
#[derive(Clone, Copy)]
pub(crate) struct NewHandshake<'a> {
    pub(crate) id: &'a str,
    pub(crate) device: DeviceId,
    pub(crate) jwk: &'a PublicKey,
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

// The caller's own log and devices.
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
    /// append was faster: its entry then has the place of the first of these.
    pub(crate) async fn append(&self, append: &Append<'_>) -> Result<bool, Problem> {
        let Append { user, entries, log, devices } = append;
        let entries = query!(
            &self.0,
            "INSERT INTO user_log (user, seq, jws, received_at)
             SELECT ?1, value ->> 'seq', value ->> 'jws', value ->> 'received_at' FROM json_each(?2)",
            user,
            serde_json::to_string(entries)?,
        )?;
        let head = query!(
            &self.0,
            "UPDATE users SET log_seq = ?2, log_hash = ?3, identity = ?4 WHERE id = ?1",
            user,
            log.head.seq,
            log.head.hash,
            log.identity,
        )?;
        let devices = query!(
            &self.0,
            "INSERT INTO devices (user, device, jwk, added_seq, revoked_seq, prekey, prekey_iat)
             SELECT ?1, value ->> 'device', value ->> 'jwk', value ->> 'added', value ->> 'revoked',
                    value ->> 'prekey', value ->> 'prekey_iat'
             FROM json_each(?2) WHERE true
             ON CONFLICT (user, device) DO UPDATE
             SET added_seq = excluded.added_seq, revoked_seq = excluded.revoked_seq,
                 prekey = excluded.prekey, prekey_iat = excluded.prekey_iat",
            user,
            serde_json::to_string(devices)?,
        )?;
        match self.0.batch(vec![entries, head, devices]).await {
            Ok(_) => Ok(true),
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

// Teams: what the service must know of them outside their Durable Objects.
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

    /// The active devices of some users, with the heads and identities of their logs, all of one moment;
    /// ascending by user and device.
    pub(crate) async fn active_devices(&self, users: &[UserId]) -> Result<Vec<ActiveDevice>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT u.id AS user, u.log_seq AS seq, u.log_hash AS hash, u.identity, d.device
             FROM users u JOIN devices d ON d.user = u.id
             WHERE u.id IN (SELECT value FROM json_each(?1))
               AND u.log_seq IS NOT NULL AND d.added_seq IS NOT NULL AND d.revoked_seq IS NULL",
            serde_json::to_string(users)?,
        )?;
        let mut devices: Vec<ActiveDevice> = all(&statement).await?;
        devices.sort_unstable_by_key(|row| (row.user, row.device));
        Ok(devices)
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
        self.0.batch(vec![head, gone, present]).await?;
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
    pub(crate) device: DeviceId,
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

/// A row that a statement wrote, named by its id.
#[derive(Deserialize)]
struct Returned {
    #[serde(rename = "id")]
    _id: String,
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

/// True if a statement met a row that has its primary key already.
fn is_conflict(error: &worker::Error, table: &str) -> bool {
    error.to_string().contains(&format!("UNIQUE constraint failed: {table}."))
}
