//! The database file.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::{StorageError, Stored, index};
use crate::KINDS;

/// Revisions reserved at once: what a crash may skip, and what non-durable writes use between two commits.
const RESERVE: u64 = 10_000;

/// An open database; only the writer thread uses it.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    reserved: u64,
}

/// One durable change.
#[derive(Debug)]
pub(super) enum Row<'a> {
    Put { at: usize, stored: &'a Stored },
    Drop { at: usize, key: &'a str },
}

fn failed(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StorageError {
    move |source| StorageError::Database { what, source: Arc::new(source) }
}

type Loaded = (Disk, u64, Vec<(usize, Stored)>);

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Loaded, StorageError> {
        let connection = Connection::open(path).map_err(failed("open"))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
                 PRAGMA cache_size=-1024; PRAGMA locking_mode=EXCLUSIVE;
                 CREATE TABLE IF NOT EXISTS object(
                   kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json BLOB NOT NULL,
                   PRIMARY KEY(kind, key)) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);",
            )
            .map_err(failed("prepare"))?;
        let revision: Option<i64> = connection
            .query_row("SELECT value FROM meta WHERE name = 'reserved'", [], |row| row.get(0))
            .optional()
            .map_err(failed("read"))?;
        let revision = revision.map_or(0, i64::unsigned_abs);
        let objects = load(&connection).map_err(failed("read"))?;
        let mut disk = Self { connection, reserved: revision };
        disk.reserve(revision + RESERVE)?;
        Ok((disk, revision, objects))
    }

    fn reserve(&mut self, up_to: u64) -> Result<(), StorageError> {
        self.connection
            .execute("INSERT OR REPLACE INTO meta VALUES('reserved', ?1)", params![up_to.cast_signed()])
            .map_err(failed("write"))?;
        self.reserved = up_to;
        Ok(())
    }

    /// Makes all rows durable, or none; revisions up to `last` will never be handed out again.
    pub(super) fn commit(&mut self, rows: &[Row<'_>], last: u64) -> Result<(), StorageError> {
        if last >= self.reserved {
            self.reserve(last + RESERVE)?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.write(rows).map_err(failed("write"))
    }

    fn write(&mut self, rows: &[Row<'_>]) -> Result<(), rusqlite::Error> {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO object VALUES(?1, ?2, ?3, ?4)")?;
            let mut drop_row =
                transaction.prepare_cached("DELETE FROM object WHERE kind = ?1 AND key = ?2")?;
            for row in rows {
                match row {
                    Row::Put { at, stored } => {
                        let revision = stored.revision.cast_signed();
                        put.execute(params![name(*at), stored.key, revision, &stored.json[..]])?
                    }
                    Row::Drop { at, key } => drop_row.execute(params![name(*at), key])?,
                };
            }
        }
        transaction.commit()
    }
}

/// Name of a kind in the database.
fn name(at: usize) -> String {
    KINDS[at].qualified()
}

fn load(connection: &Connection) -> Result<Vec<(usize, Stored)>, rusqlite::Error> {
    let mut query = connection.prepare("SELECT kind, key, revision, json FROM object")?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let Some(kind) = KINDS.iter().find(|k| k.qualified() == kind) else { continue };
        let json: Vec<u8> = row.get(3)?;
        let Ok(object) = serde_json::from_slice::<Value>(&json) else { continue };
        let revision = row.get::<_, i64>(2)?.unsigned_abs();
        found.push((index(kind), Stored::new(kind, row.get(1)?, revision, &object, Bytes::from(json))));
    }
    Ok(found)
}
