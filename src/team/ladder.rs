//! How the storage of a team that an earlier release wrote is brought forward: step by step, each to the next version, all
//! in one transaction. So a release can change the schema of `store.rs` or the JSON of the state, and an object that is
//! used for the first time after an update, or that crashes on the way, is either of the old form or of the new.
//!
//! What an object must be before anything else of it is read: [`climb`] is called first.

use serde_json::Value;

/// Where a team is stored: the SQL of its Durable Object, or a plain `SQLite` in tests.
pub(super) trait Database {
    type Error;

    /// Version and state in the one row of the table `team`; none if there is no such table.
    fn stored(&self) -> Result<Option<(u64, String)>, Self::Error>;

    /// Runs statements that give no rows.
    fn execute(&self, sql: &str) -> Result<(), Self::Error>;

    /// Writes version and state into the one row of the table `team`.
    fn store(&self, version: u64, state: &str) -> Result<(), Self::Error>;

    /// Runs `writes` in a transaction that an error rolls back.
    fn transaction(&self, writes: &mut dyn FnMut() -> Result<(), Self::Error>) -> Result<(), Self::Error>;

    /// What is not as it should be, for whoever runs the service.
    fn broken(&self, what: &str) -> Self::Error;
}

/// What leads from one version to the next.
pub(super) struct Step {
    /// Changes the tables, and what is in them.
    pub(super) sql: &'static str,
    /// Changes the JSON of the state. None if it is not what that version wrote.
    pub(super) state: fn(Value) -> Option<Value>,
}

/// The steps from version 1 on, in their order. Whoever changes the schema or the state adds one, and a stored image of the
/// version before it to the tests below. A step is never changed or removed once it was released.
pub(super) const STEPS: &[Step] = &[];

/// The version of what this release writes.
pub(super) const VERSION: u64 = version_after(STEPS);

const fn version_after(steps: &[Step]) -> u64 {
    (steps.len() as u64).saturating_add(1)
}

/// Brings what is stored to the version after the last step. An object of a version that this release does not know, as
/// a newer one wrote it, is not read but reported.
pub(super) fn climb<D: Database>(database: &D, steps: &[Step]) -> Result<(), D::Error> {
    let Some((version, state)) = database.stored()? else { return Ok(()) };
    let last = version_after(steps);
    if version == last {
        return Ok(());
    }
    let done = version.checked_sub(1).and_then(|done| usize::try_from(done).ok());
    let ahead = done.and_then(|done| steps.get(done..)).filter(|ahead| !ahead.is_empty());
    let ahead = ahead.ok_or_else(|| database.broken("a version that this release does not know"))?;
    database.transaction(&mut || {
        let unreadable = || database.broken("a state that is not as its version wrote it");
        let mut state: Value = serde_json::from_str(&state).map_err(|_| unreadable())?;
        for step in ahead {
            database.execute(step.sql)?;
            state = (step.state)(state).ok_or_else(unreadable)?;
        }
        database.store(last, &state.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use osmynt_core::teamlog::TeamState;
    use rusqlite::{Connection, OptionalExtension as _};

    use super::super::store::SCHEMA;
    use super::*;

    /// All that an object of version 1 had, as its `SQLite` dumped it: a team with members, former members and invitations,
    /// and snippets, of which one was deleted.
    const VERSION_1: &str = include_str!("fixtures/version-1.sql");

    impl Database for Connection {
        type Error = String;

        fn stored(&self) -> Result<Option<(u64, String)>, String> {
            let found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'team'";
            let found: Option<String> =
                self.query_row(found, [], |row| row.get(0)).optional().map_err(|error| error.to_string())?;
            found
                .map(|_| self.query_row("SELECT version, state FROM team", [], version_and_state))
                .transpose()
                .map_err(|error| error.to_string())
        }

        fn execute(&self, sql: &str) -> Result<(), String> {
            self.execute_batch(sql).map_err(|error| error.to_string())
        }

        fn store(&self, version: u64, state: &str) -> Result<(), String> {
            let version = i64::try_from(version).map_err(|_| "a version over every limit".to_owned())?;
            self.execute("UPDATE team SET version = ?, state = ?", (version, state))
                .map(drop)
                .map_err(|error| error.to_string())
        }

        fn transaction(&self, writes: &mut dyn FnMut() -> Result<(), String>) -> Result<(), String> {
            self.execute_batch("BEGIN").map_err(|error| error.to_string())?;
            let outcome = writes();
            self.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })
                .map_err(|error| error.to_string())?;
            outcome
        }

        fn broken(&self, what: &str) -> String {
            what.to_owned()
        }
    }

    fn version_and_state(row: &rusqlite::Row<'_>) -> rusqlite::Result<(u64, String)> {
        Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap(), row.get(1)?))
    }

    fn image(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    /// Every table and index, as it was made.
    fn schema(connection: &Connection) -> Vec<(String, String)> {
        let sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Every row of every table, as text.
    fn rows(connection: &Connection) -> Vec<String> {
        let tables = schema(connection).into_iter().filter(|(_, sql)| sql.starts_with("CREATE TABLE"));
        tables
            .flat_map(|(table, _)| {
                let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).unwrap());
                    Ok(format!("{table}: {:?}", values.collect::<Vec<_>>()))
                };
                statement.query_map([], row).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
            })
            .collect()
    }

    /// If this fails, teams that exist can no longer be read: the schema or the JSON of the state has changed. Add the step
    /// that leads there, and keep this image to test it.
    #[test]
    fn what_version_1_stored_is_what_this_release_reads() {
        let stored = image(VERSION_1);
        climb(&stored, STEPS).unwrap();
        assert_eq!(schema(&stored), schema(&image(SCHEMA)));
        let (version, state) = stored.stored().unwrap().unwrap();
        assert_eq!(version, VERSION);
        let read: TeamState = serde_json::from_str(&state).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), state);
    }

    /// Steps such as the next releases may have.
    const LATER: &[Step] = &[
        Step {
            sql: "ALTER TABLE snippets ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
                  UPDATE snippets SET size = length(statement) WHERE statement IS NOT NULL;",
            state: |mut state| {
                state.as_object_mut()?.insert("colour".into(), "blue".into());
                Some(state)
            },
        },
        Step { sql: "CREATE TABLE pins (seq INTEGER PRIMARY KEY) STRICT;", state: Some },
    ];

    #[test]
    fn each_step_leads_to_the_next_version_and_keeps_what_was_stored() {
        let stored = image(VERSION_1);
        let entries = |stored: &Connection| {
            let sql = "SELECT count(*), sum(length(jws)) FROM entries";
            stored.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
        };
        let before = entries(&stored);
        climb(&stored, LATER).unwrap();
        let (version, state) = stored.stored().unwrap().unwrap();
        assert_eq!((version, before), (3, entries(&stored)));
        assert!(state.contains(r#""colour":"blue""#) && state.contains(r#""members""#), "{state}");
        let sized = "SELECT count(*) FROM snippets WHERE size = coalesce(length(statement), 0)";
        let all = "SELECT count(*) FROM snippets";
        let count = |sql| stored.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(count(all) > 0 && count(sized) == count(all));
        let after = rows(&stored);
        climb(&stored, LATER).unwrap();
        assert_eq!(rows(&stored), after, "an object of the last version is left as it is");
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before() {
        for broken in [
            Step { sql: "CREATE TABLE more (seq INTEGER) STRICT; INSERT INTO nowhere VALUES (1);", state: Some },
            Step { sql: "DELETE FROM entries;", state: |_| None },
        ] {
            let stored = image(VERSION_1);
            let before = (schema(&stored), rows(&stored));
            let [first, _] = LATER else { panic!("two steps") };
            climb(&stored, &[Step { sql: first.sql, state: first.state }, broken]).unwrap_err();
            assert_eq!((schema(&stored), rows(&stored)), before);
            climb(&stored, LATER).unwrap();
            assert_eq!(stored.stored().unwrap().unwrap().0, 3, "what was left can be brought forward");
        }
    }

    /// A database of which everything ends in the middle of the last write.
    struct Crashing(Connection);

    impl Database for Crashing {
        type Error = String;

        fn stored(&self) -> Result<Option<(u64, String)>, String> {
            self.0.stored()
        }

        fn execute(&self, sql: &str) -> Result<(), String> {
            Database::execute(&self.0, sql)
        }

        fn store(&self, version: u64, state: &str) -> Result<(), String> {
            self.0.store(version, state).and(Err("the power is gone".to_owned()))
        }

        fn transaction(&self, writes: &mut dyn FnMut() -> Result<(), String>) -> Result<(), String> {
            self.0.execute_batch("BEGIN").map_err(|error| error.to_string())?;
            writes()
        }

        fn broken(&self, what: &str) -> String {
            what.to_owned()
        }
    }

    #[test]
    fn a_crash_between_two_steps_leaves_the_version_before() {
        let file = std::env::temp_dir().join(format!("osmynt-ladder-{}.sqlite", std::process::id()));
        let _absent = fs::remove_file(&file);
        let stored = Connection::open(&file).unwrap();
        stored.execute_batch(VERSION_1).unwrap();
        let before = (schema(&stored), rows(&stored));
        climb(&Crashing(stored), LATER).unwrap_err();

        let found = Connection::open(&file).unwrap();
        assert_eq!((schema(&found), rows(&found)), before);
        climb(&found, LATER).unwrap();
        assert_eq!(found.stored().unwrap().unwrap().0, 3);
        drop(found);
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn an_object_of_a_newer_version_is_reported_and_left_alone() {
        let stored = image(VERSION_1);
        climb(&stored, LATER).unwrap();
        let before = rows(&stored);
        assert_eq!(climb(&stored, STEPS).unwrap_err(), "a version that this release does not know");
        assert_eq!(rows(&stored), before);
    }

    #[test]
    fn an_object_that_stores_nothing_is_left_alone() {
        let stored = Connection::open_in_memory().unwrap();
        climb(&stored, LATER).unwrap();
        assert!(schema(&stored).is_empty());
    }
}
