//! Records of writable snapshots.

use rusqlite::{OptionalExtension as _, Row};

use crate::database::Durable;
use crate::{LayerId, Store, StoreError, atomic, owner};

/// The record of a writable snapshot; its directory is `active/ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Its name.
    pub id: String,
    /// What it stands on, base first.
    pub parents: Vec<LayerId>,
    /// It outlives the process that made it.
    pub kept: bool,
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    let parents: String = row.get(1)?;
    Ok(SnapshotRow {
        id: row.get(0)?,
        parents: serde_json::from_str(&parents).unwrap_or_default(),
        kept: row.get(2)?,
    })
}

impl Store {
    /// Records a new snapshot of this process on `parents` and returns its name.
    pub fn add_snapshot(&self, parents: &[LayerId]) -> Result<String, StoreError> {
        let seed = format!("snapshot {} {}", owner::this_process(), atomic::next_number());
        let id: String = shipway_oci::Digest::of(seed.as_bytes()).hex().chars().take(26).collect();
        let list = serde_json::to_string(parents).expect("a list of texts");
        self.write("record a snapshot", Durable::Later, |transaction| {
            transaction
                .execute("INSERT INTO snapshots VALUES (?1, ?2, 0, ?3)", (&id, list, owner::this_process()))
        })?;
        Ok(id)
    }

    /// Makes a snapshot outlive this process.
    pub fn keep_snapshot(&self, id: &str) -> Result<(), StoreError> {
        self.write("keep a snapshot", Durable::Yes, |transaction| {
            transaction.execute("UPDATE snapshots SET kept = 1 WHERE id = ?1", [id])
        })?;
        Ok(())
    }

    /// Returns the record of a snapshot.
    pub fn snapshot(&self, id: &str) -> Result<Option<SnapshotRow>, StoreError> {
        self.read("look a snapshot up", |connection| {
            connection
                .prepare_cached("SELECT id, parents, kept FROM snapshots WHERE id = ?1")?
                .query_row([id], row_of)
                .optional()
        })
    }

    /// Returns the records of all snapshots.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRow>, StoreError> {
        self.read("list the snapshots", |connection| {
            connection
                .prepare_cached("SELECT id, parents, kept FROM snapshots ORDER BY id")?
                .query_map([], row_of)?
                .collect()
        })
    }

    /// Forgets a snapshot whose directory is gone.
    pub fn forget_snapshot(&self, id: &str) -> Result<(), StoreError> {
        self.write("forget a snapshot", Durable::Later, |transaction| {
            transaction.execute("DELETE FROM snapshots WHERE id = ?1", [id])
        })?;
        Ok(())
    }
}
