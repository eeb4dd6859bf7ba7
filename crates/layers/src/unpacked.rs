//! Layers as directories.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use shipway_linux::{Metadata, Root};
use shipway_oci::{Beside, DiffId};
use shipway_store::{LayerId, LayerNotes, LayerRow, Lease, NotedPath, NotedRoot, Store};

use crate::indexed::{INDEX, can_index};
use crate::layer_store::{Layer, LayerStore};
use crate::snapshot::{Snapshot, remove_tree};
use crate::tidy::tidy;
use crate::whole::{measure, unpack_whole, write};
use crate::{Drawing, LayerError, unpack};

/// Layers under `layers/`, mounted by overlayfs: as directories, or as archives with an index.
#[derive(Clone, Debug)]
pub struct Unpacked {
    pub(crate) store: Store,
    /// Whether layers can be archives, once that is known.
    indexes: Arc<OnceLock<bool>>,
    /// Whether what comes as an archive stays one.
    archives: bool,
}

impl Unpacked {
    /// Opens the layers of a store. Drawings become archives with an index where the kernel can mount that; archives that are taken in
    /// are unpacked, so that all who use them share what is read.
    pub fn open(store: Store) -> Self {
        Self { store, indexes: Arc::default(), archives: false }
    }

    /// Opens the layers of a store. Also archives that are taken in are kept with an index, where the kernel can mount that.
    pub fn open_archiving(store: Store) -> Self {
        Self { archives: true, ..Self::open(store) }
    }

    /// Opens the layers of a store. No layer that is made is an archive.
    pub fn open_unpacking(store: Store) -> Self {
        Self { indexes: Arc::new(OnceLock::from(false)), ..Self::open(store) }
    }

    /// Returns the directory that a layer has.
    pub(crate) fn path(&self, id: &LayerId) -> PathBuf {
        self.store.root().join("layers").join(id.as_str())
    }

    /// Returns what is mounted of a layer: its directory, or its index.
    pub(crate) fn lower(&self, id: &LayerId) -> PathBuf {
        if id.is_indexed() { self.path(id).join(INDEX) } else { self.path(id) }
    }

    /// Returns what [`LayerStore::view`] does, where `lower` says what is mounted of each layer.
    pub(crate) fn view_of(&self, layers: &[LayerId], lower: &dyn Fn(&LayerId) -> PathBuf) -> Vec<PathBuf> {
        if layers.is_empty() {
            return vec![self.store.root().join("empty")];
        }
        let mut seen = HashSet::new();
        layers.iter().rev().filter(|id| seen.insert(*id)).map(lower).collect()
    }

    pub(crate) fn open_layer(&self, id: &LayerId) -> Result<Root, LayerError> {
        let path = self.lower(id);
        Root::open_layer(&path).map_err(LayerError::io("open", &path))
    }

    fn snapshot(&self, id: &str, parents: &[LayerId], lease: Option<Lease>) -> Snapshot {
        let dir = self.store.snapshot_path(id);
        Snapshot {
            id: id.to_owned(),
            lowers: self.view(parents),
            upper: dir.join("upper"),
            work: dir.join("work"),
            latest_mtime: None,
            store: self.store.clone(),
            dir,
            lease,
        }
    }

    /// Returns what the root directory is like that a chain shows: that of its topmost layer which says so.
    fn shown_root(&self, parents: &[LayerId]) -> Result<Option<NotedRoot>, LayerError> {
        for id in parents.iter().rev() {
            let notes = self.row(id)?.notes;
            if notes.root.is_some() {
                return Ok(notes.root);
            }
            if !notes.implied.iter().any(|path| path.0.as_os_str().is_empty()) {
                let found = noted_root(&self.open_layer(id)?);
                return found.map_err(LayerError::io("examine", &self.path(id)));
            }
        }
        Ok(None)
    }

    pub(crate) fn record(&self, row: &LayerRow) -> Result<(), LayerError> {
        self.store.record_layer(row).map_err(|source| LayerError::Record { id: row.id.clone(), source })
    }

    /// Returns what is recorded of a layer, which must be there.
    pub(crate) fn row(&self, id: &LayerId) -> Result<LayerRow, LayerError> {
        let row = self.store.layer(id).map_err(|source| LayerError::LookUp { source })?;
        row.ok_or_else(|| LayerError::NoLayer(id.to_string()))
    }

    /// Names a finished tree as a layer. [`LayerStore::sync`] makes it lasting.
    pub(crate) fn adopt(&self, tree: &Path) -> Result<LayerId, LayerError> {
        self.adopt_as(unique_id(), tree)
    }

    pub(crate) fn adopt_as(&self, id: LayerId, tree: &Path) -> Result<LayerId, LayerError> {
        let path = self.path(&id);
        fs_err::rename(tree, &path).map_err(LayerError::io("name", &path))?;
        Ok(id)
    }

    /// Starts a state on nothing.
    pub(crate) fn prepare_empty(&self) -> Result<Snapshot, LayerError> {
        self.prepare(&[])
    }

    /// Returns the layer that has a diff ID.
    pub(crate) fn known(&self, diff_id: DiffId) -> Result<Option<Layer>, LayerError> {
        let row = self.store.layer_of(diff_id).map_err(|source| LayerError::LookUp { source })?;
        Ok(row.map(|row| Layer { id: row.id, diff_id, size: row.size }))
    }

    /// Takes in an archive and unpacks it.
    pub(crate) fn import_unpacked(
        &self,
        tar: &mut dyn Read,
        wanted: Option<DiffId>,
        beside: Option<&dyn Beside>,
    ) -> Result<Layer, LayerError> {
        let snapshot = self.prepare_empty()?;
        let (unpacked, found, size) = unpack_whole(&snapshot.upper, tar, wanted, beside)?;
        if let Some(known) = self.known(found)? {
            return Ok(known);
        }
        let id = self.adopt(&snapshot.upper)?;
        self.record_import(id, unpacked, found, size)
    }

    /// Records a layer that was taken in, without its diff ID.
    pub(crate) fn record_import(
        &self,
        id: LayerId,
        unpacked: unpack::Unpacked,
        diff_id: DiffId,
        size: u64,
    ) -> Result<Layer, LayerError> {
        let links = unpacked.links.into_iter().map(|link| (link.path, link.target));
        let notes = LayerNotes {
            implied: unpacked.implied.into_iter().map(NotedPath).collect(),
            links: links.map(|(name, target)| (NotedPath(name), NotedPath(target))).collect(),
            hiding: unpacked.hiding.into_iter().map(NotedPath).collect(),
            empties_root: unpacked.empties_root,
            ..LayerNotes::default()
        };
        self.record(&LayerRow { id: id.clone(), diff_id: None, size, notes })?;
        Ok(Layer { id, diff_id, size })
    }
}

impl LayerStore for Unpacked {
    fn import_unseen(
        &self,
        tar: &mut dyn Read,
        wanted: Option<DiffId>,
        beside: Option<&dyn Beside>,
    ) -> Result<Layer, LayerError> {
        if self.archives && self.draws() {
            self.import_indexed(tar, wanted, beside)
        } else {
            self.import_unpacked(tar, wanted, beside)
        }
    }

    fn publish(&self, layers: &[&Layer]) -> Result<Vec<LayerId>, LayerError> {
        // Where all were here already nothing is written.
        let Some(first) = layers.first() else { return Ok(Vec::new()) };
        let named = self.store.record_diff_ids(layers.iter().map(|layer| (&layer.id, layer.diff_id)));
        named.map_err(|source| LayerError::Record { id: first.id.clone(), source })
    }

    fn prepare(&self, parents: &[LayerId]) -> Result<Snapshot, LayerError> {
        let id = unique_id();
        let lease = self.store.lease().map_err(|source| LayerError::Keep { id: id.to_string(), source })?;
        let shown = self.shown_root(parents)?;
        let snapshot = self.snapshot(id.as_str(), parents, Some(lease));
        for dir in [&snapshot.dir, &snapshot.upper, &snapshot.work] {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(dir)
                .map_err(LayerError::io("make the directory", dir))?;
        }
        self.store
            .note_parents(&snapshot.id, parents)
            .map_err(|source| LayerError::Keep { id: snapshot.id.clone(), source })?;
        // What a container sees as `/`, whatever the umask is.
        let root = Root::open(&snapshot.upper).map_err(LayerError::io("open", &snapshot.upper))?;
        let set = || -> io::Result<()> {
            // Without layers it is root's, whatever group this program, or the directory, has.
            let owner = shown.as_ref().map(|shown| (shown.uid, shown.gid));
            if let Some((uid, gid)) = owner.or_else(|| shipway_linux::is_root().then_some((0, 0))) {
                root.set_owner("", uid, gid)?;
            }
            root.set_mode("", shown.as_ref().map_or(0o755, |shown| shown.mode))
        };
        set().map_err(LayerError::io("set the mode of", &snapshot.upper))?;
        Ok(snapshot)
    }

    fn open_snapshot(&self, id: &str) -> Result<Snapshot, LayerError> {
        let parents = self.store.snapshot_parents(id).map_err(|source| LayerError::LookUp { source })?;
        let parents = parents.ok_or_else(|| LayerError::NoLayer(id.to_owned()))?;
        Ok(self.snapshot(id, &parents, None))
    }

    fn remove_snapshot(&self, id: &str) -> Result<(), LayerError> {
        let dir = self.store.snapshot_path(id);
        remove_tree(&dir).map_err(LayerError::io("remove", &dir))
    }

    fn view(&self, layers: &[LayerId]) -> Vec<PathBuf> {
        self.view_of(layers, &|id| self.lower(id))
    }

    fn commit(&self, snapshot: Snapshot) -> Result<LayerId, LayerError> {
        tidy(&snapshot.upper, &snapshot.lowers, snapshot.latest_mtime)
            .map_err(LayerError::io("tidy", &snapshot.upper))?;
        let id = self.adopt(&snapshot.upper)?;
        self.record(&LayerRow { id: id.clone(), diff_id: None, size: 0, notes: LayerNotes::default() })?;
        Ok(id)
    }

    fn commit_apart(&self, snapshot: Snapshot, implied: Vec<PathBuf>) -> Result<LayerId, LayerError> {
        tidy(&snapshot.upper, &snapshot.lowers, snapshot.latest_mtime)
            .map_err(LayerError::io("tidy", &snapshot.upper))?;
        let notes = imply(&snapshot, implied)?;
        let id = self.adopt(&snapshot.upper)?;
        self.record(&LayerRow { id: id.clone(), diff_id: None, size: 0, notes })?;
        Ok(id)
    }

    fn draws(&self) -> bool {
        *self.indexes.get_or_init(|| can_index(&self.store.tmp()))
    }

    fn commit_drawn(
        &self,
        snapshot: Snapshot,
        implied: Option<Vec<PathBuf>>,
        drawing: Drawing<'_>,
    ) -> Result<LayerId, LayerError> {
        self.commit_indexed(&snapshot, implied, drawing)
    }

    fn stack(&self, below: &[LayerId], layer: &LayerId) -> Result<Vec<LayerId>, LayerError> {
        self.stack_layer(below, layer)
    }

    fn diff_id(&self, id: &LayerId) -> Result<Layer, LayerError> {
        let row = self.row(id)?;
        if let Some(diff_id) = row.diff_id {
            return Ok(Layer { id: row.id, diff_id, size: row.size });
        }
        let (diff_id, size) = measure(&self.lower(id), &row.notes)?;
        let record = self.store.record_size(id, size).and_then(|()| self.store.record_diff_id(id, diff_id));
        let id = record.map_err(|source| LayerError::Record { id: id.clone(), source })?;
        Ok(Layer { id, diff_id, size })
    }

    fn export(&self, id: &LayerId, out: &mut dyn Write) -> Result<(), LayerError> {
        let row = self.row(id)?;
        if id.is_indexed() { self.export_indexed(id, out) } else { write(&self.path(id), &row.notes, out) }
    }

    fn resolve(&self, diff_ids: &[DiffId]) -> Result<Vec<LayerId>, LayerError> {
        self.resolve_chain(diff_ids)
    }

    fn own(&self, layers: &[LayerId]) -> Result<Vec<LayerId>, LayerError> {
        self.own_layers(layers)
    }

    fn sync(&self) -> Result<(), LayerError> {
        self.store.sync_layers().map_err(|source| LayerError::Sync { source })
    }
}

/// Returns what the root of a tree is like.
pub(crate) fn noted_root(tree: &Root) -> io::Result<Option<NotedRoot>> {
    let metadata = tree.metadata("")?;
    Ok(metadata.map(|Metadata { uid, gid, mode, mtime, .. }| NotedRoot {
        uid,
        gid,
        mode: mode & 0o7777,
        mtime,
    }))
}

/// Notes which directories of a state on nothing are there only for what is in them.
pub(crate) fn imply(snapshot: &Snapshot, mut implied: Vec<PathBuf>) -> Result<LayerNotes, LayerError> {
    // An archive will not tell their times; here they are those that whoever unpacks it gives them.
    let root = Root::open(&snapshot.upper).map_err(LayerError::io("open", &snapshot.upper))?;
    for directory in &implied {
        root.set_mtime(directory, (0, 0)).map_err(LayerError::io("date", directory))?;
    }
    // It says nothing of the root either.
    implied.push(PathBuf::new());
    implied.sort();
    Ok(LayerNotes { implied: implied.into_iter().map(NotedPath).collect(), ..LayerNotes::default() })
}

fn unique_id() -> LayerId {
    LayerId::unique(now())
}

/// Returns nanoseconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "only makes a name unique; nothing that is built depends on it"
)]
pub(crate) fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}
