//! What a team's Durable Object keeps: all of its SQL.
//!
//! Each method that writes does so in one transaction, so that an error part of the way leaves nothing behind. None of
//! them awaits. The schema comes into being with the first commit: an object that is only asked stores nothing. What an
//! earlier release wrote is brought forward by [`ladder`](super::ladder).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fmt::Display;

use osmynt_core::limits::{MAX_INTEGER, PAGE};
use osmynt_core::snippet::Audience;
use osmynt_core::statement::SnippetStatement;
use osmynt_core::teamlog::{CommitEntry, TeamEvent, TeamState};
use osmynt_core::{
    DeviceId, Envelope, Hash, Head, InviteId, PublicKey, SnippetId, TeamId, Time, UserId, Verified, api,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use worker::{Error, SqlStorage, SqlStorageValue, Storage};

use super::ladder::{Database, STEPS, VERSION, climb};
use super::requests::{Part, ReadOwn};

/// The schema of [`VERSION`]. Whoever changes it, or the JSON of the state, adds the step that leads there to the ladder.
pub(super) const SCHEMA: &str = "
-- The team as its log says. One row.
CREATE TABLE team (
  only    INTEGER PRIMARY KEY CHECK (only = 1),
  version INTEGER NOT NULL,
  state   TEXT    NOT NULL
) STRICT;

-- The log. `epoch` is the team's epoch after the commit that the entry came with.
CREATE TABLE entries (
  seq         INTEGER PRIMARY KEY,
  hash        TEXT    NOT NULL,
  jws         TEXT    NOT NULL,
  received_at INTEGER NOT NULL,
  epoch       INTEGER NOT NULL
) STRICT;

-- The public halves of all invitations that ever were, so that the holder of one that is over can be told so.
CREATE TABLE invitations (
  invite TEXT NOT NULL PRIMARY KEY,
  key    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Team keys, each sealed to one device.
CREATE TABLE envelopes (
  device   TEXT    NOT NULL,
  epoch    INTEGER NOT NULL,
  envelope TEXT    NOT NULL,
  PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;

-- The index of snippets, in the order of their admission. `statement` is null once deleted; the row stays, so that the
-- id is never used again.
CREATE TABLE snippets (
  seq         INTEGER PRIMARY KEY,
  snippet     TEXT    NOT NULL UNIQUE,
  hash        TEXT    NOT NULL,
  author      TEXT    NOT NULL,
  epoch       INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  exp         INTEGER,
  statement   TEXT
) STRICT;

CREATE INDEX snippets_by_epoch ON snippets (epoch, seq);
CREATE INDEX snippets_by_author ON snippets (author, seq);

-- Who a snippet is for: the author and the members whom it names; or, as one row with an empty string, everybody who is in
-- the team at its epoch.
CREATE TABLE readers (
  user TEXT    NOT NULL,
  seq  INTEGER NOT NULL REFERENCES snippets (seq),
  PRIMARY KEY (user, seq)
) STRICT, WITHOUT ROWID;

-- The content keys of snippets to named members, each sealed to one device, with the user whose device it is.
CREATE TABLE snippet_envelopes (
  seq      INTEGER NOT NULL REFERENCES snippets (seq),
  user     TEXT    NOT NULL,
  device   TEXT    NOT NULL,
  envelope TEXT    NOT NULL,
  PRIMARY KEY (seq, user, device)
) STRICT, WITHOUT ROWID;

-- In which epochs somebody is or was a member: from the first to the last whose key they have; without a last one while
-- they are. Whoever joins again has another row, and sees what was sent to the team in each.
CREATE TABLE memberships (
  user        TEXT    NOT NULL,
  since_epoch INTEGER NOT NULL,
  until_epoch INTEGER,
  PRIMARY KEY (user, since_epoch)
) STRICT, WITHOUT ROWID;

-- Log positions that D1 is not known to have heard of.
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY
) STRICT;

-- Objects that are to vanish from R2, one row for each time that this was decided. While there is a row for it, a
-- snippet is not admitted.
CREATE TABLE erasures (
  id      INTEGER PRIMARY KEY,
  snippet TEXT NOT NULL
) STRICT;

CREATE INDEX erasures_by_snippet ON erasures (snippet);
";

/// Takes away all of [`SCHEMA`] and leaves, in its place, the note that whatever R2 has of the team is to vanish.
const ERASE: &str = "
DROP TABLE IF EXISTS readers;
DROP TABLE IF EXISTS snippet_envelopes;
DROP TABLE IF EXISTS memberships;
DROP TABLE IF EXISTS snippets;
DROP TABLE IF EXISTS envelopes;
DROP TABLE IF EXISTS invitations;
DROP TABLE IF EXISTS entries;
DROP TABLE IF EXISTS outbox;
DROP TABLE IF EXISTS erasures;
DROP TABLE IF EXISTS team;
CREATE TABLE IF NOT EXISTS erased_team (
  team TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
";

/// The storage of one team's object.
pub(super) struct Store {
    storage: Storage,
    sql: SqlStorage,
}

/// An entry of the index of snippets.
#[derive(Deserialize)]
pub(super) struct IndexedSnippet {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) author: UserId,
    pub(super) epoch: u64,
    pub(super) received_at: Time,
    pub(super) exp: Option<Time>,
    /// None once deleted.
    pub(super) statement: Option<String>,
}

/// Something that is a user's.
#[derive(Deserialize)]
pub(super) struct Own {
    /// Its position.
    pub(super) at: u64,
    /// What the user is told of it.
    pub(super) json: String,
}

/// An object that is to vanish from R2.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Erasure {
    pub(super) id: u64,
    pub(super) snippet: SnippetId,
}

// The team and its log.
impl Store {
    pub(super) fn new(storage: Storage) -> Self {
        let sql = storage.sql();
        Self { storage, sql }
    }

    /// Brings what an earlier release wrote to this one's form. To be called before anything else.
    pub(super) fn bring_forward(&self) -> worker::Result<()> {
        climb(self, STEPS)
    }

    /// The team; none before the first commit.
    pub(super) fn team(&self) -> worker::Result<Option<TeamState>> {
        let Some((_, state)) = self.stored()? else { return Ok(None) };
        serde_json::from_str(&state).map(Some).map_err(|_| broken("the state is not as it was written"))
    }

    /// Keeps a commit: the new state, its entries, its envelopes, who is a member since and until when, and that D1 is to
    /// hear of it. `before` is the state that it was made on.
    pub(super) fn commit(
        &self,
        before: Option<&TeamState>,
        team: &TeamState,
        entries: &[CommitEntry],
        envelopes: &[Envelope],
    ) -> worker::Result<()> {
        let state = serde_json::to_string(team)?;
        let envelopes = serde_json::to_string(envelopes)?;
        let epoch = team.epoch().map_or(0, |epoch| epoch.number);
        self.transaction(|| {
            if !self.has("team")? {
                self.run(SCHEMA, [])?;
            }
            self.run(
                "INSERT INTO team (only, version, state) VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
                [integer(VERSION), state.into()],
            )?;
            for entry in entries.iter().map(CommitEntry::entry) {
                self.run(
                    "INSERT INTO entries (seq, hash, jws, received_at, epoch) VALUES (?, ?, ?, ?, ?)",
                    [
                        integer(entry.payload().seq),
                        text(entry.hash()),
                        entry.compact().into(),
                        integer(team.received_at().0),
                        integer(epoch),
                    ],
                )?;
                if let TeamEvent::InviteCreated { key, .. } = &entry.payload().event {
                    self.run(
                        "INSERT INTO invitations (invite, key) VALUES (?, ?) ON CONFLICT DO NOTHING",
                        [text(key.thumbprint()), serde_json::to_string(key)?.into()],
                    )?;
                }
            }
            self.run(
                "INSERT INTO envelopes (device, epoch, envelope) SELECT value ->> 'device', ?, value FROM json_each(?)",
                [integer(epoch), envelopes.into()],
            )?;
            for (user, change) in memberships(before, team) {
                match change {
                    Membership::Begins { since } => self.run(
                        "INSERT INTO memberships (user, since_epoch) VALUES (?, ?)",
                        [text(user), integer(since)],
                    )?,
                    Membership::Ends { until } => self.run(
                        "UPDATE memberships SET until_epoch = ? WHERE user = ? AND until_epoch IS NULL",
                        [integer(until), text(user)],
                    )?,
                }
            }
            self.run("INSERT INTO outbox (seq) VALUES (?)", [integer(team.head().seq)])
        })
    }

    /// The epoch after the commit that brought an entry; none if the log does not hold this very entry there.
    pub(super) fn epoch_after(&self, entry: Head) -> worker::Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Row {
            epoch: u64,
        }
        let row: Option<Row> =
            self.one("SELECT epoch FROM entries WHERE seq = ? AND hash = ?", [integer(entry.seq), text(entry.hash)])?;
        Ok(row.map(|row| row.epoch))
    }

    /// A page of the log.
    pub(super) fn entries(&self, from: u64, limit: usize) -> worker::Result<Vec<api::LoggedEntry>> {
        #[derive(Deserialize)]
        struct Row {
            jws: String,
            received_at: Time,
        }
        let rows: Vec<Row> = self.all(
            "SELECT jws, received_at FROM entries WHERE seq >= ? ORDER BY seq LIMIT ?",
            [integer(from), integer(limit as u64)],
        )?;
        Ok(rows.into_iter().map(|Row { jws, received_at }| api::LoggedEntry { jws, received_at }).collect())
    }

    /// The public half of an invitation, whether it is open or not.
    pub(super) fn invitation(&self, invite: InviteId) -> worker::Result<Option<PublicKey>> {
        #[derive(Deserialize)]
        struct Row {
            key: String,
        }
        let row: Option<Row> = self.one("SELECT key FROM invitations WHERE invite = ?", [text(invite)])?;
        row.map(|row| Ok(serde_json::from_str(&row.key)?)).transpose()
    }

    /// The team keys sealed to a device, ascending by epoch.
    pub(super) fn envelopes(
        &self,
        device: DeviceId,
        from: u64,
        limit: usize,
    ) -> worker::Result<Vec<api::EpochEnvelope>> {
        #[derive(Deserialize)]
        struct Row {
            epoch: u64,
            envelope: String,
        }
        let rows: Vec<Row> = self.all(
            "SELECT epoch, envelope FROM envelopes WHERE device = ? AND epoch >= ? ORDER BY epoch LIMIT ?",
            [text(device), integer(from), integer(limit as u64)],
        )?;
        rows.into_iter()
            .map(|Row { epoch, envelope }| Ok(api::EpochEnvelope { epoch, envelope: serde_json::from_str(&envelope)? }))
            .collect()
    }
}

// Snippets.
impl Store {
    /// Enters a snippet in the index. For one to named members, `envelopes` are those that came with it, each with the user
    /// whose device it is for.
    pub(super) fn index(
        &self,
        snippet: &Verified<SnippetStatement>,
        envelopes: &[(UserId, Envelope)],
        received_at: Time,
    ) -> worker::Result<()> {
        let said = snippet.payload();
        let readers = match &said.audience {
            Audience::Team { .. } => serde_json::to_string(&[EVERYBODY])?,
            Audience::Members { members, .. } => {
                serde_json::to_string(&members.iter().chain([&said.user]).collect::<Vec<_>>())?
            }
        };
        let envelopes = serde_json::to_string(envelopes)?;
        self.transaction(|| {
            self.run(
                "INSERT INTO snippets (snippet, hash, author, epoch, received_at, exp, statement) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    text(said.snippet),
                    text(snippet.hash()),
                    text(said.user),
                    integer(said.audience.epoch()),
                    integer(received_at.0),
                    said.exp.map_or(SqlStorageValue::Null, |exp| integer(exp.0)),
                    snippet.compact().into(),
                ],
            )?;
            self.run(
                "INSERT INTO readers (user, seq)
                 SELECT value, (SELECT seq FROM snippets WHERE snippet = ?) FROM json_each(?)",
                [text(said.snippet), readers.into()],
            )?;
            self.run(
                "INSERT INTO snippet_envelopes (seq, user, device, envelope)
                 SELECT (SELECT seq FROM snippets WHERE snippet = ?), value ->> 0, value ->> '$[1].device', value -> 1
                 FROM json_each(?)",
                [text(said.snippet), envelopes.into()],
            )
        })
    }

    /// A snippet that is or was in the index.
    pub(super) fn snippet(&self, snippet: SnippetId) -> worker::Result<Option<IndexedSnippet>> {
        self.one(
            "SELECT seq, hash, author, epoch, received_at, exp, statement FROM snippets WHERE snippet = ?",
            [text(snippet)],
        )
    }

    /// Whether a snippet is or was for a user.
    pub(super) fn is_for(&self, snippet: &IndexedSnippet, user: UserId) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Row {}
        let row: Option<Row> = self.one(
            "SELECT seq FROM readers WHERE user = ? AND seq = ?
             UNION ALL SELECT seq FROM readers WHERE user = ? AND seq = ? AND EXISTS (
               SELECT 1 FROM memberships
               WHERE user = ? AND since_epoch <= ? AND (until_epoch IS NULL OR until_epoch >= ?)
             ) LIMIT 1",
            [
                text(user),
                integer(snippet.seq),
                text(EVERYBODY),
                integer(snippet.seq),
                text(user),
                integer(snippet.epoch),
                integer(snippet.epoch),
            ],
        )?;
        Ok(row.is_some())
    }

    /// Those snippets for a user that have neither ended nor been deleted, newest first, with their positions in the index,
    /// which are below `before`.
    ///
    /// They are those that name the user or are theirs, and those to the team in each span of epochs that they were in. No
    /// position is in two of these, and each is a walk along an index, so that a page costs what is on it.
    pub(super) fn list(
        &self,
        user: UserId,
        before: u64,
        limit: usize,
        now: Time,
    ) -> worker::Result<Vec<(u64, api::ListedSnippet)>> {
        #[derive(Deserialize)]
        struct Row {
            seq: u64,
            statement: String,
            received_at: Time,
        }
        let walk = |reader: &str, first: u64, before: u64, limit: usize| -> worker::Result<Vec<Row>> {
            self.all(
                "SELECT seq, statement, received_at FROM readers JOIN snippets USING (seq)
                 WHERE user = ? AND seq >= ? AND seq < ? AND statement IS NOT NULL AND (exp IS NULL OR exp > ?)
                 ORDER BY seq DESC LIMIT ?",
                [text(reader), integer(first), integer(before), integer(now.0), integer(limit as u64)],
            )
        };
        let mut found = walk(&user.to_string(), 0, before, limit)?;
        let mut to_team = 0;
        for (first, last) in self.spans(user)? {
            let rest = limit.saturating_sub(to_team);
            if rest == 0 {
                break;
            }
            let rows = walk(EVERYBODY, first, before.min(last.saturating_add(1)), rest)?;
            to_team = to_team.saturating_add(rows.len());
            found.extend(rows);
        }
        found.sort_unstable_by_key(|row| Reverse(row.seq));
        found.truncate(limit);
        let listed = |Row { seq, statement, received_at }| {
            let envelopes = self.sealed_keys(seq, user)?;
            Ok((seq, api::ListedSnippet { statement, envelopes, received_at }))
        };
        found.into_iter().map(listed).collect()
    }

    /// The positions, first and last, of what may have been sent to the team in each span of epochs that a user was in,
    /// the newest first. Epochs only grow along the index.
    fn spans(&self, user: UserId) -> worker::Result<Vec<(u64, u64)>> {
        #[derive(Deserialize)]
        struct Row {
            first: Option<u64>,
            last: Option<u64>,
            ended: u8,
        }
        let rows: Vec<Row> = self.all(
            "SELECT (SELECT seq FROM snippets WHERE epoch >= since_epoch ORDER BY epoch, seq LIMIT 1) AS first,
                    (SELECT seq FROM snippets WHERE epoch <= until_epoch ORDER BY epoch DESC, seq DESC LIMIT 1) AS last,
                    until_epoch IS NOT NULL AS ended
             FROM memberships WHERE user = ? ORDER BY since_epoch DESC",
            [text(user)],
        )?;
        let span = |Row { first, last, ended }| Some((first?, if ended == 1 { last? } else { MAX_INTEGER }));
        Ok(rows.into_iter().filter_map(span).collect())
    }

    /// The envelopes of a snippet that are for a user's devices, ascending.
    pub(super) fn sealed_keys(&self, seq: u64, user: UserId) -> worker::Result<Vec<Envelope>> {
        #[derive(Deserialize)]
        struct Row {
            envelope: String,
        }
        let rows: Vec<Row> = self.all(
            "SELECT envelope FROM snippet_envelopes WHERE seq = ? AND user = ? ORDER BY device",
            [integer(seq), text(user)],
        )?;
        rows.into_iter().map(|Row { envelope }| Ok(serde_json::from_str(&envelope)?)).collect()
    }

    /// Deletes a snippet from the index and notes that its object is to vanish.
    pub(super) fn delete(&self, snippet: SnippetId) -> worker::Result<Erasure> {
        self.transaction(|| {
            self.run(
                "DELETE FROM snippet_envelopes WHERE seq = (SELECT seq FROM snippets WHERE snippet = ?)",
                [text(snippet)],
            )?;
            self.run("UPDATE snippets SET statement = NULL WHERE snippet = ?", [text(snippet)])?;
            self.insert_erasure(snippet)
        })
    }
}

/// Who a snippet to the team is for, in `readers`.
const EVERYBODY: &str = "";

/// What a commit does to somebody's membership.
#[derive(Debug, PartialEq, Eq)]
enum Membership {
    /// They have the keys from this epoch on.
    Begins { since: u64 },
    /// They have those up to this epoch.
    Ends { until: u64 },
}

/// What a commit did to memberships: the difference of the states before and after it.
fn memberships(before: Option<&TeamState>, after: &TeamState) -> Vec<(UserId, Membership)> {
    let were = |user: &UserId| before.is_some_and(|before| before.members().contains_key(user));
    let until = before.and_then(TeamState::epoch).map_or(0, |epoch| epoch.number);
    let ended = before.into_iter().flat_map(|before| before.members().keys());
    let ended = ended.filter(|user| !after.members().contains_key(user));
    let ended = ended.map(|user| (*user, Membership::Ends { until }));
    let begun = after.members().iter().filter(|(user, _)| !were(user));
    let begun = begun.map(|(user, member)| (*user, Membership::Begins { since: member.since_epoch }));
    ended.chain(begun).collect()
}

// What remains to be done outside of this object.
impl Store {
    /// Whether D1 is to hear of a commit.
    pub(super) fn is_unprojected(&self) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Row {}
        Ok(self.one::<Row>("SELECT seq FROM outbox LIMIT 1", [])?.is_some())
    }

    /// D1 has heard of the log up to a position.
    pub(super) fn projected(&self, seq: u64) -> worker::Result<()> {
        self.run("DELETE FROM outbox WHERE seq <= ?", [integer(seq)])
    }

    /// Notes that the object of a snippet is to vanish.
    pub(super) fn insert_erasure(&self, snippet: SnippetId) -> worker::Result<Erasure> {
        self.one("INSERT INTO erasures (snippet) VALUES (?) RETURNING id, snippet", [text(snippet)])?
            .ok_or_else(|| broken("an insertion without a row"))
    }

    /// The objects that are to vanish.
    pub(super) fn erasures(&self) -> worker::Result<Vec<Erasure>> {
        if !self.has("team")? {
            return Ok(Vec::new());
        }
        self.all("SELECT id, snippet FROM erasures ORDER BY id", [])
    }

    /// Whether the object of a snippet is to vanish.
    pub(super) fn is_erasing(&self, snippet: SnippetId) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Row {}
        Ok(self.one::<Row>("SELECT id FROM erasures WHERE snippet = ? LIMIT 1", [text(snippet)])?.is_some())
    }

    /// The objects have vanished.
    pub(super) fn erased(&self, erasures: &[Erasure]) -> worker::Result<()> {
        let ids: Vec<u64> = erasures.iter().map(|erasure| erasure.id).collect();
        self.run(
            "DELETE FROM erasures WHERE id IN (SELECT value FROM json_each(?))",
            [serde_json::to_string(&ids)?.into()],
        )
    }

    /// Whether nothing remains to be done.
    pub(super) fn is_settled(&self) -> worker::Result<bool> {
        if !self.has("team")? {
            return Ok(self.erased_team()?.is_none());
        }
        Ok(!self.is_unprojected()? && self.erasures()?.is_empty())
    }
}

// What is whose, and its end.
impl Store {
    /// A page of what is kept of a user, each with its position: their snippets, the ids of the snippets that name them with
    /// the envelopes for their devices, or the envelopes for their devices, of which a page has those of [`PAGE`] epochs.
    pub(super) fn own(&self, team: TeamId, asked: &ReadOwn) -> worker::Result<Vec<Own>> {
        let user = || text(asked.user);
        match asked.part {
            Part::Entries => Ok(Vec::new()),
            Part::Envelopes => self.all(
                "SELECT epoch AS at, json_object('device', device, 'epoch', epoch, 'envelope', json(envelope)) AS json
                 FROM envelopes WHERE device IN (SELECT value FROM json_each(?)) AND epoch >= ? AND epoch < ?
                 ORDER BY epoch, device",
                [
                    serde_json::to_string(&asked.devices)?.into(),
                    integer(asked.from),
                    integer(asked.from.saturating_add(PAGE as u64)),
                ],
            ),
            Part::Snippets => self.all(
                "SELECT seq AS at, json_object(
                   'snippet', snippet, 'received_at', received_at, 'statement', statement,
                   'envelopes', json((SELECT json_group_array(json(envelope)) FROM snippet_envelopes e
                                      WHERE e.seq = snippets.seq AND user = author)),
                   'path', CASE WHEN statement IS NOT NULL THEN '/v1/teams/' || ? || '/snippets/' || snippet END
                 ) AS json
                 FROM snippets WHERE author = ? AND seq >= ? ORDER BY seq LIMIT ?",
                [text(team), user(), integer(asked.from), integer(PAGE as u64)],
            ),
            Part::Named => self.all(
                "SELECT seq AS at, json_object(
                   'snippet', snippet,
                   'envelopes', json((SELECT json_group_array(json(envelope)) FROM snippet_envelopes e
                                      WHERE e.seq = r.seq AND e.user = r.user))
                 ) AS json
                 FROM readers r JOIN snippets USING (seq) WHERE r.user = ? AND author <> r.user AND seq >= ?
                 ORDER BY seq LIMIT ?",
                [user(), integer(asked.from), integer(PAGE as u64)],
            ),
        }
    }

    /// Deletes the snippets of a user, and what is kept for them alone: envelopes, and which snippets name them. Notes which
    /// objects are to vanish.
    pub(super) fn forget(&self, user: UserId, devices: &[DeviceId]) -> worker::Result<Vec<Erasure>> {
        let devices = serde_json::to_string(devices)?;
        self.transaction(|| {
            self.run("DELETE FROM envelopes WHERE device IN (SELECT value FROM json_each(?))", [devices.into()])?;
            self.run(
                "DELETE FROM snippet_envelopes WHERE seq IN (SELECT seq FROM readers WHERE user = ?) AND user = ?",
                [text(user), text(user)],
            )?;
            self.run(
                "DELETE FROM snippet_envelopes WHERE seq IN (SELECT seq FROM snippets WHERE author = ?)",
                [text(user)],
            )?;
            self.run("DELETE FROM readers WHERE user = ?", [text(user)])?;
            let erasures = self.all(
                "INSERT INTO erasures (snippet) SELECT snippet FROM snippets WHERE author = ? AND statement IS NOT NULL
                 RETURNING id, snippet",
                [text(user)],
            )?;
            self.run("UPDATE snippets SET statement = NULL WHERE author = ?", [text(user)])?;
            Ok(erasures)
        })
    }

    /// Takes the team away, if there is one. From now on there is none; what R2 has of it remains to be erased.
    pub(super) fn erase_team(&self, team: TeamId) -> worker::Result<()> {
        self.transaction(|| {
            self.run(ERASE, [])?;
            self.run("INSERT INTO erased_team (team) VALUES (?) ON CONFLICT DO NOTHING", [text(team)])
        })
    }

    /// The team of which something may be left in R2.
    pub(super) fn erased_team(&self) -> worker::Result<Option<TeamId>> {
        #[derive(Deserialize)]
        struct Row {
            team: TeamId,
        }
        if !self.has("erased_team")? {
            return Ok(None);
        }
        Ok(self.one::<Row>("SELECT team FROM erased_team", [])?.map(|row| row.team))
    }
}

impl Store {
    fn has(&self, table: &str) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Row {}
        let row: Option<Row> =
            self.one("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", [table.into()])?;
        Ok(row.is_some())
    }

    fn all<T: DeserializeOwned>(
        &self,
        sql: &str,
        bindings: impl IntoIterator<Item = SqlStorageValue>,
    ) -> worker::Result<Vec<T>> {
        self.sql.exec(sql, bindings.into_iter().collect::<Vec<_>>())?.to_array()
    }

    fn one<T: DeserializeOwned>(
        &self,
        sql: &str,
        bindings: impl IntoIterator<Item = SqlStorageValue>,
    ) -> worker::Result<Option<T>> {
        Ok(self.all(sql, bindings)?.into_iter().next())
    }

    fn run(&self, sql: &str, bindings: impl IntoIterator<Item = SqlStorageValue>) -> worker::Result<()> {
        self.sql.exec(sql, bindings.into_iter().collect::<Vec<_>>()).map(drop)
    }

    /// Runs `writes` in a transaction that an error rolls back. Without it, what was written before the error would stay.
    fn transaction<T>(&self, writes: impl FnOnce() -> worker::Result<T>) -> worker::Result<T> {
        let mut writes = Some(writes);
        let outcome = RefCell::new(None);
        let storage: &TransactionSync = self.storage.as_raw().unchecked_ref();
        storage.transaction_sync(&mut || {
            let writes = writes.take().ok_or_else(|| JsValue::from_str("a transaction that runs twice"))?;
            outcome.replace(Some(writes()?));
            Ok(())
        })?;
        outcome.into_inner().ok_or_else(|| broken("a transaction that did not run"))
    }
}

impl Database for Store {
    type Error = Error;

    fn stored(&self) -> worker::Result<Option<(u64, String)>> {
        #[derive(Deserialize)]
        struct Row {
            version: u64,
            state: String,
        }
        if !self.has("team")? {
            return Ok(None);
        }
        let row: Option<Row> = self.one("SELECT version, state FROM team", [])?;
        row.map(|Row { version, state }| Some((version, state))).ok_or_else(|| broken("no state"))
    }

    fn execute(&self, sql: &str) -> worker::Result<()> {
        self.run(sql, [])
    }

    fn store(&self, version: u64, state: &str) -> worker::Result<()> {
        self.run("UPDATE team SET version = ?, state = ?", [integer(version), state.into()])
    }

    fn transaction(&self, writes: &mut dyn FnMut() -> worker::Result<()>) -> worker::Result<()> {
        Self::transaction(self, writes)
    }

    fn broken(&self, what: &str) -> Error {
        broken(what)
    }
}

#[wasm_bindgen]
extern "C" {
    /// What the `worker` crate does not bind of a Durable Object's storage:
    /// <https://developers.cloudflare.com/durable-objects/api/sqlite-storage-api/#transactionsync>.
    type TransactionSync;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &TransactionSync,
        closure: &mut dyn FnMut() -> Result<(), JsValue>,
    ) -> Result<(), JsValue>;
}

/// Every integer of ours comes from a counter, a clock, or a number that a statement may hold, and so is exact in a double.
fn integer(value: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(value.min(MAX_INTEGER)).unwrap_or_default())
}

fn text(value: impl Display) -> SqlStorageValue {
    value.to_string().into()
}

fn broken(what: &str) -> Error {
    Error::RustError(format!("the storage of a team is broken: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// A state as core pins it: two members at epoch 5, one who is pending, and former ones.
    const STATE: &str = include_str!("../../crates/core/tests/stored_state.json");

    fn state(change: impl FnOnce(&mut Value)) -> TeamState {
        let mut state: Value = serde_json::from_str(STATE).unwrap();
        change(&mut state);
        serde_json::from_value(state).unwrap()
    }

    #[test]
    fn who_leaves_keeps_the_epochs_up_to_the_last_and_who_joins_has_those_from_the_next() {
        let before = state(|_| {});
        let [plain, owner] = before.members().keys().copied().collect::<Vec<_>>().try_into().unwrap();
        let after = state(|state| {
            let members = state["members"].as_object_mut().unwrap();
            let mut member = members.remove(&plain.to_string()).unwrap();
            member["since_epoch"] = 6.into();
            members.insert("J5Fd14H4zDMANbrLFv7VyPhhKPhLbQlcs-E96wVNRw8".into(), member);
            state["epoch"]["number"] = 6.into();
        });
        let joined = "J5Fd14H4zDMANbrLFv7VyPhhKPhLbQlcs-E96wVNRw8".parse().unwrap();
        let expected = [(plain, Membership::Ends { until: 5 }), (joined, Membership::Begins { since: 6 })];
        assert_eq!(memberships(Some(&before), &after), expected);
        assert_eq!(memberships(Some(&before), &before), []);
        let founders = memberships(None, &before);
        assert_eq!(founders, [(plain, Membership::Begins { since: 2 }), (owner, Membership::Begins { since: 1 })]);
    }
}
