//! Which layers there are.

use std::fmt;

use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use shipway_oci::DiffId;

use crate::atomic::unique_name;
use crate::{Store, StoreError};

/// Name of a layer's tree below `layers/`: made by us, so safe as a file name.
///
/// A layer has it from the start; its diff ID is known only once its bytes have been hashed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(String);

impl LayerId {
    /// Makes a name that no other layer has. `now` is nanoseconds since the epoch.
    pub fn unique(now: u128) -> Self {
        Self(format!("{now:x}-{}", unique_name()))
    }

    /// Wraps a name that the database holds.
    pub(crate) fn from_database(name: String) -> Self {
        Self(name)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is recorded of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Its name on disk.
    pub id: LayerId,
    /// Digest of its tar, once known.
    pub diff_id: Option<DiffId>,
    /// Bytes of the files in it.
    pub size: u64,
}

impl Store {
    /// Records a layer whose tree is complete under its name.
    pub fn record_layer(&self, row: &LayerRow) -> Result<(), StoreError> {
        let diff_id = row.diff_id.map(|diff_id| diff_id.to_string());
        let size = i64::try_from(row.size).unwrap_or(i64::MAX);
        self.write("record a layer", |transaction| {
            let sql = "INSERT INTO layers (id, diff_id, size) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![row.id.as_str(), diff_id, size]).map(drop)
        })
    }

    /// Records the diff ID of a layer and returns the layer that stands for it: another one with equal bytes may
    /// have been there before.
    pub fn record_diff_id(&self, id: &LayerId, diff_id: DiffId) -> Result<LayerId, StoreError> {
        self.write("record a diff ID", |transaction| {
            let text = diff_id.to_string();
            let sql = "SELECT id FROM layers WHERE diff_id = ?1";
            if let Some(known) = transaction.query_row(sql, [&text], |row| row.get(0)).optional()? {
                return Ok(LayerId(known));
            }
            transaction
                .execute("UPDATE layers SET diff_id = ?2 WHERE id = ?1", params![id.as_str(), text])?;
            Ok(id.clone())
        })
    }

    /// Records how many bytes the files of a layer have.
    pub fn record_size(&self, id: &LayerId, size: u64) -> Result<(), StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.write("record a size", |transaction| {
            transaction
                .execute("UPDATE layers SET size = ?2 WHERE id = ?1", params![id.as_str(), size])
                .map(drop)
        })
    }

    /// Returns what is recorded of a layer.
    pub fn layer(&self, id: &LayerId) -> Result<Option<LayerRow>, StoreError> {
        self.read("find a layer", |connection| {
            let sql = "SELECT id, diff_id, size FROM layers WHERE id = ?1";
            connection.query_row(sql, [id.as_str()], row_of).optional()
        })
    }

    /// Returns the layer that has a diff ID.
    pub fn layer_of(&self, diff_id: DiffId) -> Result<Option<LayerRow>, StoreError> {
        self.read("find a layer", |connection| {
            let sql = "SELECT id, diff_id, size FROM layers WHERE diff_id = ?1";
            connection.query_row(sql, [diff_id.to_string()], row_of).optional()
        })
    }
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<LayerRow> {
    let diff_id: Option<String> = row.get(1)?;
    let size: i64 = row.get(2)?;
    Ok(LayerRow {
        id: LayerId(row.get(0)?),
        diff_id: diff_id.and_then(|text| text.parse().ok()).map(DiffId),
        size: size.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_oci::Digest;

    #[test]
    fn equal_layers_are_found_under_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [a, b] = [LayerId::unique(1), LayerId::unique(1)];
        assert_ne!(a, b);
        for id in [&a, &b] {
            store.record_layer(&LayerRow { id: id.clone(), diff_id: None, size: 3 }).unwrap();
        }
        let diff_id = DiffId(Digest::of(b"tar"));
        assert_eq!(store.record_diff_id(&a, diff_id).unwrap(), a);
        assert_eq!(store.record_diff_id(&b, diff_id).unwrap(), a);
        assert_eq!(store.layer_of(diff_id).unwrap().unwrap().id, a);
        assert_eq!(store.layer(&b).unwrap().unwrap().diff_id, None);
    }
}
