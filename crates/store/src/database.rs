//! The database's tables and how transactions run.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::StoreError;
use crate::error::database_error;

/// Format of the database; a change of the tables raises it and adds a step to [`upgrade`].
const VERSION: i64 = 1;

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(30);

const TABLES: &str = "
CREATE TABLE clock (seq INTEGER NOT NULL);
INSERT INTO clock VALUES (1);
CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE images (id TEXT PRIMARY KEY, manifest TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id), manifest TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX names_image ON names(image);
CREATE TABLE image_layers (image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, position INTEGER NOT NULL,
    diff_id TEXT NOT NULL, PRIMARY KEY (image, position)) WITHOUT ROWID;
CREATE TABLE image_blobs (image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, digest TEXT NOT NULL,
    PRIMARY KEY (image, digest)) WITHOUT ROWID;
CREATE TABLE layers (id TEXT PRIMARY KEY, diff_id TEXT, size INTEGER NOT NULL, serialiser INTEGER NOT NULL,
    notes TEXT NOT NULL, boot TEXT NOT NULL, synced INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX layers_diff_id ON layers(diff_id);
CREATE TABLE fixups (chain TEXT PRIMARY KEY, members TEXT NOT NULL, layer TEXT) WITHOUT ROWID;
CREATE TABLE snapshots (id TEXT PRIMARY KEY, parents TEXT NOT NULL, kept INTEGER NOT NULL, owner TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE leases (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE cache (key TEXT PRIMARY KEY, parent TEXT, value TEXT NOT NULL, inputs TEXT NOT NULL, layer TEXT,
    used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX cache_parent ON cache(parent);
CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, image_name TEXT NOT NULL,
    created INTEGER NOT NULL, snapshot TEXT, document TEXT NOT NULL) WITHOUT ROWID;
";

/// Opens the database, making or upgrading its tables.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    let mut connection = open().map_err(database_error("open a connection"))?;
    let found = version(&connection).map_err(database_error("read the version"))?;
    if found > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found < VERSION {
        upgrade(&mut connection).map_err(database_error("make the tables"))?;
    }
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited.
    if version(&transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// Whether a transaction must outlast a power cut by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// It is on the disk when the call returns.
    Yes,
    /// It is on the disk with the next durable one; losing it does no harm.
    Later,
}

/// Runs `change` in a transaction that is begun immediate.
pub(crate) fn write<T>(
    connection: &mut Connection,
    durable: Durable,
    change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    action: &'static str,
) -> Result<T, StoreError> {
    let level = if durable == Durable::Yes { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", level).map_err(database_error(action))?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(database_error(action))?;
    let done = change(&transaction)?;
    transaction.commit().map_err(database_error(action))?;
    Ok(done)
}

/// Returns the logical time: it grows with each lease, and what is used gets the present one.
pub(crate) fn clock(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT seq FROM clock")?.query_row([], |row| row.get(0))
}
