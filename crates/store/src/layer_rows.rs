//! Which layers there are.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use shipway_oci::DiffId;

use crate::atomic::unique_name;
use crate::{Store, StoreError};

/// What the names of layers end with that are kept as archives.
const INDEXED: &str = ".erofs";

/// Name of a layer's directory below `layers/`: made by us, so safe as a file name.
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

    /// Makes a name, as [`LayerId::unique`] does, for a layer that is kept as its archive, with an index.
    pub fn unique_indexed(now: u128) -> Self {
        Self(format!("{now:x}-{}{INDEXED}", unique_name()))
    }

    /// Returns whether the layer is kept as its archive, and not as a tree.
    pub fn is_indexed(&self) -> bool {
        self.0.ends_with(INDEXED)
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
    /// Length of its tar in bytes; 0 until it is known.
    pub size: u64,
    /// What a chain must know about it.
    pub notes: LayerNotes,
}

/// What a chain of layers must know about one of them beside its tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerNotes {
    /// Directories that the archive did not name itself, parents first; the root is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implied: Vec<NotedPath>,
    /// Hard links to files of lower layers: name and target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(NotedPath, NotedPath)>,
    /// Directories with whiteouts in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hiding: Vec<NotedPath>,
    /// Nothing of lower layers is seen, not even what is right below the root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empties_root: bool,
    /// What its root is like, where it is kept as an archive, which does not say that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<NotedRoot>,
    /// It only mends a chain of other layers: no image lists it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixup: bool,
}

/// What the root directory of a layer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedRoot {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since the epoch, and nanoseconds.
    pub mtime: (i64, u32),
}

/// A path in a layer: text where it is UTF-8, its bytes where it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathText", into = "PathText")]
pub struct NotedPath(pub PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathText {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<PathText> for NotedPath {
    fn from(text: PathText) -> Self {
        Self(match text {
            PathText::Text(text) => text.into(),
            PathText::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

impl From<NotedPath> for PathText {
    fn from(path: NotedPath) -> Self {
        match path.0.into_os_string().into_string() {
            Ok(text) => Self::Text(text),
            Err(other) => Self::Bytes(other.into_vec()),
        }
    }
}

/// What [`row_of`] reads.
pub(crate) const COLUMNS: &str = "id, diff_id, size, notes";

/// Returns the ID of this boot of the machine: a layer that was not synced before a power cut may be damaged.
pub(crate) fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

impl Store {
    /// Records a layer whose tree is complete under its name. [`Store::sync_layers`] makes it lasting.
    pub fn record_layer(&self, row: &LayerRow) -> Result<(), StoreError> {
        let diff_id = row.diff_id.map(|diff_id| diff_id.to_string());
        let size = i64::try_from(row.size).unwrap_or(i64::MAX);
        let notes = serde_json::to_string(&row.notes).expect("lists of texts are always JSON");
        self.write_lazily("record a layer", |transaction| {
            let sql =
                "INSERT INTO layers (id, diff_id, size, notes, boot, synced) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
            transaction.execute(sql, params![row.id.as_str(), diff_id, size, notes, boot()]).map(drop)
        })
    }

    /// Records the diff ID of a layer and returns the layer that stands for it: another one with equal bytes may
    /// have been there before.
    pub fn record_diff_id(&self, id: &LayerId, diff_id: DiffId) -> Result<LayerId, StoreError> {
        self.write_lazily("record a diff ID", |transaction| name_layer(transaction, id, diff_id))
    }

    /// Does the same for several at once.
    pub fn record_diff_ids<'a>(
        &self,
        layers: impl IntoIterator<Item = (&'a LayerId, DiffId)>,
    ) -> Result<Vec<LayerId>, StoreError> {
        self.write_lazily("record diff IDs", |transaction| {
            layers.into_iter().map(|(id, diff_id)| name_layer(transaction, id, diff_id)).collect()
        })
    }

    /// Records how many bytes the files of a layer have.
    pub fn record_size(&self, id: &LayerId, size: u64) -> Result<(), StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.write_lazily("record a size", |transaction| {
            transaction
                .execute("UPDATE layers SET size = ?2 WHERE id = ?1", params![id.as_str(), size])
                .map(drop)
        })
    }

    /// Returns what is recorded of a layer.
    pub fn layer(&self, id: &LayerId) -> Result<Option<LayerRow>, StoreError> {
        self.read("find a layer", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM layers WHERE id = ?1");
            connection.prepare_cached(&sql)?.query_row([id.as_str()], row_of).optional()
        })
    }

    /// Returns the layer that has a diff ID.
    pub fn layer_of(&self, diff_id: DiffId) -> Result<Option<LayerRow>, StoreError> {
        self.read("find a layer", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM layers WHERE diff_id = ?1");
            connection.prepare_cached(&sql)?.query_row([diff_id.to_string()], row_of).optional()
        })
    }

    /// Returns all layers.
    pub fn layers(&self) -> Result<Vec<LayerRow>, StoreError> {
        self.read("list the layers", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM layers ORDER BY id");
            connection.prepare_cached(&sql)?.query_map([], row_of)?.collect()
        })
    }

    /// Forgets the layers that a power cut may have damaged; [`Store::gc`] finds their trees.
    pub(crate) fn forget_unsynced(&self) -> Result<(), StoreError> {
        let sql = "FROM layers WHERE synced = 0 AND boot <> ?1";
        let damaged: i64 = self.read("look for a power cut", |connection| {
            connection.query_row(&format!("SELECT count(*) {sql}"), [boot()], |row| row.get(0))
        })?;
        if damaged == 0 {
            return Ok(());
        }
        tracing::warn!(
            layers = damaged,
            "layers that were not on the disk at the last shutdown are made again"
        );
        self.free("forget damaged layers", |transaction| {
            transaction.execute(&format!("DELETE {sql}"), [boot()]).map(drop)
        })
    }

    /// Forgets the layers that the disk may have lost.
    pub(crate) fn forget_all_unsynced(&self) -> Result<(), StoreError> {
        self.free("forget damaged layers", |transaction| {
            transaction.execute("DELETE FROM layers WHERE synced = 0", []).map(drop)
        })
    }
}

pub(crate) fn row_of(row: &Row<'_>) -> rusqlite::Result<LayerRow> {
    let diff_id: Option<String> = row.get(1)?;
    let size: i64 = row.get(2)?;
    Ok(LayerRow {
        id: LayerId(row.get(0)?),
        diff_id: diff_id.and_then(|text| text.parse().ok()).map(DiffId),
        size: size.unsigned_abs(),
        notes: serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default(),
    })
}

/// Gives a layer its diff ID, unless another one has it, which is returned then.
fn name_layer(transaction: &Transaction<'_>, id: &LayerId, diff_id: DiffId) -> rusqlite::Result<LayerId> {
    let text = diff_id.to_string();
    let sql = "SELECT id FROM layers WHERE diff_id = ?1";
    if let Some(known) = transaction.prepare_cached(sql)?.query_row([&text], |row| row.get(0)).optional()? {
        return Ok(LayerId(known));
    }
    let sql = "UPDATE layers SET diff_id = ?2 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![id.as_str(), text])?;
    Ok(id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_oci::Digest;

    #[test]
    fn paths_that_are_no_text_come_back() {
        let notes = LayerNotes {
            implied: vec![NotedPath("a".into()), NotedPath(OsString::from_vec(b"\xff/b".to_vec()).into())],
            ..LayerNotes::default()
        };
        let json = serde_json::to_string(&notes).unwrap();
        assert_eq!(json, r#"{"implied":["a",[255,47,98]]}"#);
        assert_eq!(serde_json::from_str::<LayerNotes>(&json).unwrap(), notes);
    }

    #[test]
    fn equal_layers_are_found_under_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [a, b] = [LayerId::unique(1), LayerId::unique(1)];
        assert_ne!(a, b);
        for id in [&a, &b] {
            store
                .record_layer(&LayerRow {
                    id: id.clone(),
                    diff_id: None,
                    size: 3,
                    notes: LayerNotes::default(),
                })
                .unwrap();
        }
        let diff_id = DiffId(Digest::of(b"tar"));
        assert_eq!(store.record_diff_id(&a, diff_id).unwrap(), a);
        assert_eq!(store.record_diff_id(&b, diff_id).unwrap(), a);
        assert_eq!(store.layer_of(diff_id).unwrap().unwrap().id, a);
        assert_eq!(store.layer(&b).unwrap().unwrap().diff_id, None);
    }

    #[test]
    fn a_layer_that_was_not_synced_before_a_power_cut_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [lost, kept] = [LayerId::unique(1), LayerId::unique(1)];
        let row =
            |id: &LayerId| LayerRow { id: id.clone(), diff_id: None, size: 0, notes: LayerNotes::default() };
        store.record_layer(&row(&kept)).unwrap();
        store.sync_layers().unwrap();
        store.record_layer(&row(&lost)).unwrap();
        store
            .write("test", |transaction| transaction.execute("UPDATE layers SET boot = 'before'", []))
            .unwrap();
        let again = Store::open(dir.path()).unwrap();
        assert_eq!(again.layers().unwrap(), [row(&kept)]);
    }
}
