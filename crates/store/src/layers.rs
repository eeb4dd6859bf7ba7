//! Records of layers.

use std::fmt;

use rusqlite::{OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};
use shipway_oci::DiffId;

use crate::database::{Durable, clock};
use crate::error::io_error;
use crate::{Store, StoreError, atomic, owner};

/// The local name of a layer: letters, digits and `-`, so it is safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(String);

impl LayerId {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name from a document; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a chain must know about a layer beside its tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerNotes {
    /// Directories that the tar did not name itself, without leading `/`; the root is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implied: Vec<String>,
    /// Hard links to files of lower layers: new name, target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(String, String)>,
}

/// The record of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Its local name; the tree is `layers/ID`.
    pub id: LayerId,
    /// Digest of its tar, once it is known.
    pub diff_id: Option<DiffId>,
    /// Length of its tar, 0 until it is known.
    pub size: u64,
    /// Version of our serialiser that makes the tar, 0 if somebody else wrote it.
    pub serialiser: u32,
    /// What a chain must know about it.
    pub notes: LayerNotes,
}

const COLUMNS: &str = "id, diff_id, size, serialiser, notes";

fn row_of(row: &Row<'_>) -> rusqlite::Result<LayerRow> {
    let diff_id: Option<String> = row.get(1)?;
    let notes: String = row.get(4)?;
    Ok(LayerRow {
        id: LayerId(row.get(0)?),
        diff_id: diff_id.and_then(|text| text.parse().ok()).map(DiffId),
        size: row.get::<_, i64>(2)?.cast_unsigned(),
        serialiser: row.get(3)?,
        notes: serde_json::from_str(&notes).unwrap_or_default(),
    })
}

impl Store {
    /// Returns a layer name that was not used before.
    pub fn new_layer_id(&self) -> LayerId {
        let seed = format!("{} {}", owner::this_process(), atomic::next_number());
        let hex = shipway_oci::Digest::of(seed.as_bytes()).hex();
        LayerId(hex.chars().take(26).collect())
    }

    /// Returns where a layer's tree is.
    pub fn layer_path(&self, id: &LayerId) -> std::path::PathBuf {
        self.root().join("layers").join(id.as_str())
    }

    /// Moves a finished tree to its place and records it. Its files need not be on the disk yet: see
    /// [`Store::sync_layers`].
    pub fn adopt_layer(&self, tree: &std::path::Path, row: &LayerRow) -> Result<(), StoreError> {
        let target = self.layer_path(&row.id);
        let notes = serde_json::to_string(&row.notes).expect("two lists of texts");
        let lock = self.collector_lock(false)?;
        fs_err::rename(tree, &target).map_err(io_error("name the layer", &target))?;
        self.write("record a layer", Durable::Later, |transaction| {
            transaction.execute(
                "INSERT INTO layers VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
                (
                    row.id.as_str(),
                    row.diff_id.map(|diff_id| diff_id.to_string()),
                    row.size.cast_signed(),
                    row.serialiser,
                    notes,
                    owner::boot(),
                    clock(transaction)?,
                ),
            )
        })?;
        drop(lock);
        Ok(())
    }

    /// Records the diff ID and tar length of a layer that we made.
    pub fn set_diff_id(&self, id: &LayerId, diff_id: DiffId, size: u64) -> Result<(), StoreError> {
        self.write("record a diff ID", Durable::Later, |transaction| {
            transaction.execute(
                "UPDATE layers SET diff_id = ?2, size = ?3 WHERE id = ?1",
                (id.as_str(), diff_id.to_string(), size.cast_signed()),
            )
        })?;
        Ok(())
    }

    /// Returns the record of a layer, and marks it as used. A layer that a power cut may have damaged is not there.
    pub fn layer(&self, id: &LayerId) -> Result<Option<LayerRow>, StoreError> {
        self.used_layer("id", id.as_str())
    }

    /// Returns a layer with this diff ID, and marks it as used.
    pub fn layer_of(&self, diff_id: &DiffId) -> Result<Option<LayerId>, StoreError> {
        Ok(self.used_layer("diff_id", &diff_id.to_string())?.map(|row| row.id))
    }

    fn used_layer(&self, column: &str, value: &str) -> Result<Option<LayerRow>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS}, seq, (SELECT seq FROM clock) FROM layers
             WHERE {column} = ?1 AND (synced = 1 OR boot = ?2) ORDER BY seq LIMIT 1"
        );
        let found = self.read("look a layer up", |connection| {
            connection
                .prepare_cached(&query)?
                .query_row((value, owner::boot()), |row| {
                    Ok((row_of(row)?, row.get::<_, i64>(5)? >= row.get::<_, i64>(6)?))
                })
                .optional()
        })?;
        let Some((row, marked)) = found else { return Ok(None) };
        if !marked {
            let changed = self.write("mark a layer", Durable::Later, |transaction| {
                transaction.execute(
                    "UPDATE layers SET seq = (SELECT seq FROM clock) WHERE id = ?1",
                    [row.id.as_str()],
                )
            })?;
            if changed == 0 {
                return Ok(None);
            }
        }
        Ok(Some(row))
    }

    /// Returns the records of all layers.
    pub fn layers(&self) -> Result<Vec<LayerRow>, StoreError> {
        self.read("list the layers", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM layers ORDER BY id"))?
                .query_map([], row_of)?
                .collect()
        })
    }

    /// Writes all layers recorded so far to the disk; once per build or pull, before its image gets a name.
    pub fn sync_layers(&self) -> Result<(), StoreError> {
        let unsynced: Vec<String> = self.read("list new layers", |connection| {
            connection
                .prepare_cached("SELECT id FROM layers WHERE synced = 0 AND boot = ?1")?
                .query_map([owner::boot()], |row| row.get(0))?
                .collect()
        })?;
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = std::fs::File::open(self.root()).map_err(io_error("open", self.root()))?;
        shipway_linux::sync_filesystem(&root).map_err(io_error("sync", self.root()))?;
        self.write("record synced layers", Durable::Yes, |transaction| {
            for id in &unsynced {
                transaction.execute("UPDATE layers SET synced = 1 WHERE id = ?1", [id])?;
            }
            Ok(())
        })
    }

    /// Returns the fix-up of a chain: `None` if it was not looked into yet, `Some(None)` if it needs none.
    pub fn fixup(&self, members: &[LayerId]) -> Result<Option<Option<LayerRow>>, StoreError> {
        let found: Option<Option<String>> = self.read("look a fix-up up", |connection| {
            connection
                .prepare_cached("SELECT layer FROM fixups WHERE chain = ?1")?
                .query_row([chain_key(members)], |row| row.get(0))
                .optional()
        })?;
        match found {
            None => Ok(None),
            Some(None) => Ok(Some(None)),
            Some(Some(id)) => Ok(self.layer(&LayerId(id))?.map(Some)),
        }
    }

    /// Records the fix-up of a chain.
    pub fn set_fixup(&self, members: &[LayerId], layer: Option<&LayerId>) -> Result<(), StoreError> {
        let list = serde_json::to_string(members).expect("a list of texts");
        self.write("record a fix-up", Durable::Later, |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO fixups VALUES (?1, ?2, ?3)",
                (chain_key(members), list, layer.map(LayerId::as_str)),
            )
        })?;
        Ok(())
    }
}

fn chain_key(members: &[LayerId]) -> String {
    members.iter().map(LayerId::as_str).collect::<Vec<_>>().join(",")
}
