//! What a team's Durable Object keeps: all of its SQL.
//!
//! Each method that writes does so in one transaction, so that an error part of the way leaves nothing behind. None of
//! them awaits. The schema comes into being with the first commit: an object that is only asked stores nothing.

use std::cell::RefCell;
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

use super::requests::{Part, ReadOwn};

/// The version of the schema below and of the JSON of the state. An object of another version is not read but reported:
/// whoever changes either adds the step that leads there.
const VERSION: u64 = 1;

const SCHEMA: &str = "
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

-- Who a snippet is for: the author and the members whom it names, each with the identity that they had then; or, as one
-- row with two empty strings, everybody who is in the team at its epoch.
CREATE TABLE readers (
  user     TEXT    NOT NULL,
  identity TEXT    NOT NULL,
  seq      INTEGER NOT NULL REFERENCES snippets (seq),
  PRIMARY KEY (user, identity, seq)
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

/// A member, as snippets are for them.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) user: UserId,
    pub(super) identity: Hash,
    /// The first epoch that they have been in.
    pub(super) since_epoch: u64,
}

/// An entry of the index of snippets.
#[derive(Deserialize)]
pub(super) struct IndexedSnippet {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) author: UserId,
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

    /// The team; none before the first commit.
    pub(super) fn team(&self) -> worker::Result<Option<TeamState>> {
        #[derive(Deserialize)]
        struct Row {
            version: u64,
            state: String,
        }
        if !self.has("team")? {
            return Ok(None);
        }
        let Row { version, state } =
            self.one("SELECT version, state FROM team", [])?.ok_or_else(|| broken("no state"))?;
        if version != VERSION {
            return Err(broken("a version that this release does not know"));
        }
        serde_json::from_str(&state).map(Some).map_err(|_| broken("the state is not as it was written"))
    }

    /// Keeps a commit: the new state, its entries, its envelopes, and that D1 is to hear of it.
    pub(super) fn commit(
        &self,
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
            for CommitEntry { entry, .. } in entries {
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
    /// Enters a snippet in the index. `named` are the users that it is for, with their identities, if it is not for the team.
    pub(super) fn index(
        &self,
        snippet: &Verified<SnippetStatement>,
        named: &[(UserId, Hash)],
        received_at: Time,
    ) -> worker::Result<()> {
        let said = snippet.payload();
        let readers = match said.audience {
            Audience::Team { .. } => serde_json::to_string(&[("", "")])?,
            Audience::Members { .. } => serde_json::to_string(named)?,
        };
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
                "INSERT INTO readers (user, identity, seq)
                 SELECT value ->> 0, value ->> 1, (SELECT seq FROM snippets WHERE snippet = ?) FROM json_each(?)",
                [text(said.snippet), readers.into()],
            )
        })
    }

    /// A snippet that is or was in the index.
    pub(super) fn snippet(&self, snippet: SnippetId) -> worker::Result<Option<IndexedSnippet>> {
        self.one(
            "SELECT seq, hash, author, received_at, exp, statement FROM snippets WHERE snippet = ?",
            [text(snippet)],
        )
    }

    /// Whether a snippet is or was for a member.
    pub(super) fn is_for(&self, snippet: &IndexedSnippet, reader: Reader) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Row {}
        let row: Option<Row> = self.one(
            &format!("SELECT seq FROM ({FOR_READER}) WHERE seq = ? LIMIT 1"),
            for_reader(reader).chain([integer(snippet.seq)]),
        )?;
        Ok(row.is_some())
    }

    /// Those snippets for a member that have neither ended nor been deleted, newest first, with their positions in the index,
    /// which are below `before`.
    pub(super) fn list(
        &self,
        reader: Reader,
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
        let rows: Vec<Row> = self.all(
            &format!(
                "SELECT seq, statement, received_at FROM ({FOR_READER}) JOIN snippets USING (seq)
                 WHERE seq < ? AND statement IS NOT NULL AND (exp IS NULL OR exp > ?) ORDER BY seq DESC LIMIT ?"
            ),
            for_reader(reader).chain([integer(before), integer(now.0), integer(limit as u64)]),
        )?;
        let listed = |Row { seq, statement, received_at }| (seq, api::ListedSnippet { statement, received_at });
        Ok(rows.into_iter().map(listed).collect())
    }

    /// Deletes a snippet from the index and notes that its object is to vanish.
    pub(super) fn delete(&self, snippet: SnippetId) -> worker::Result<Erasure> {
        self.transaction(|| {
            self.run("UPDATE snippets SET statement = NULL WHERE snippet = ?", [text(snippet)])?;
            self.insert_erasure(snippet)
        })
    }
}

/// The positions of the snippets for a member: those sent to the team since they are in it, and those that name them or
/// are theirs. No position is in both halves, and each half is a walk along an index, so that a page costs what is on it.
/// Epochs only grow, so those of an epoch and later are those from the first of them on.
const FOR_READER: &str = "
SELECT seq FROM readers
WHERE user = '' AND identity = '' AND seq >= (SELECT seq FROM snippets WHERE epoch >= ? ORDER BY epoch, seq LIMIT 1)
UNION ALL SELECT seq FROM readers WHERE user = ? AND identity = ?";

/// The parameters of [`FOR_READER`].
fn for_reader(reader: Reader) -> impl Iterator<Item = SqlStorageValue> {
    [integer(reader.since_epoch), text(reader.user), text(reader.identity)].into_iter()
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
    /// A page of what is kept of a user, each with its position: the ids and statements of their snippets, the ids of the
    /// snippets that name them, or the envelopes for their devices, of which a page has those of [`PAGE`] epochs.
    pub(super) fn own(&self, team: TeamId, asked: &ReadOwn) -> worker::Result<Vec<Own>> {
        let user = || text(asked.asker.user);
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
                   'snippet', snippet, 'received_at', strftime('%Y-%m-%dT%H:%M:%SZ', received_at, 'unixepoch'),
                   'statement', statement,
                   'path', CASE WHEN statement IS NOT NULL THEN '/v1/teams/' || ? || '/snippets/' || snippet END
                 ) AS json
                 FROM snippets WHERE author = ? AND seq >= ? ORDER BY seq LIMIT ?",
                [text(team), user(), integer(asked.from), integer(PAGE as u64)],
            ),
            Part::Named => self.all(
                "SELECT seq AS at, json_quote(snippet) AS json FROM readers JOIN snippets USING (seq)
                 WHERE user = ? AND author <> user AND seq >= ? ORDER BY seq LIMIT ?",
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

    /// What objects in the field hold. If this test fails, teams that exist can no longer be read: raise [`VERSION`], add
    /// the step that rewrites what is stored, and keep this literal to test that step.
    #[test]
    fn the_stored_state_keeps_its_form() {
        let stored = concat!(
            r#"{"team":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","#,
            r#""head":{"seq":3,"hash":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},"#,
            r#""received_at":1769860800,"policy":{"max_epoch_age":2592000},"#,
            r#""members":{"0b0c3b2e-6f5a-4a5e-9d1f-0f6f1b1c2d3e":{"identity":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","#,
            r#""role":"owner","joined_seq":0,"since_epoch":1,"#,
            r#""head":{"seq":0,"hash":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},"#,
            r#""devices":["47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"]}},"#,
            r#""everyone":["0b0c3b2e-6f5a-4a5e-9d1f-0f6f1b1c2d3e"],"#,
            r#""invites":{"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU":{"#,
            r#""key":{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},"role":"member","exp":1769947200,"uses_left":1}},"#,
            r#""epoch":{"number":1,"seq":1,"received_at":1769860800,"#,
            r#""commitment":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},"#,
            r#""member_left":false,"rotation_due":null}"#,
        );
        let state: TeamState = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&state).unwrap(), stored);
        assert_eq!(VERSION, 1);
    }
}
