//! Writable states on top of layers.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::Root;
use shipway_store::{Lease, Store};

use crate::LayerError;

/// A writable state on top of layers. Dropping it removes it, unless it was kept or committed.
#[derive(Debug)]
pub struct Snapshot {
    /// Its name below `active/`.
    pub id: String,
    /// Layers below it, the top one first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// The overlay's own directory.
    pub work: PathBuf,
    /// Times after this one, in seconds since the epoch, become it when the snapshot is committed (SOURCE_DATE_EPOCH).
    pub latest_mtime: Option<i64>,
    pub(crate) store: Store,
    pub(crate) dir: PathBuf,
    /// Keeps the collector away; none when the snapshot is kept, whose record protects it.
    pub(crate) lease: Option<Lease>,
}

impl Snapshot {
    /// Keeps the snapshot on disk after this value, and this process, are gone: a container lives in it.
    pub fn keep(&mut self) -> Result<(), LayerError> {
        self.store
            .keep_snapshot(&self.id)
            .map_err(|source| LayerError::Keep { id: self.id.clone(), source })?;
        self.lease = None;
        Ok(())
    }

    /// Returns how to mount it.
    pub fn overlay(&self) -> shipway_linux::Overlay {
        shipway_linux::Overlay {
            lowers: self.lowers.clone(),
            upper: Some(self.upper.clone()),
            work: Some(self.work.clone()),
            // What becomes a layer counts after [`LayerStore::sync`] only; what is kept has no lease.
            volatile: self.lease.is_some(),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.lease.is_some()
            && let Err(error) = remove_tree(&self.dir)
        {
            tracing::warn!(snapshot = self.id, %error, "could not remove a snapshot");
        }
    }
}

/// Removes a directory with everything in it.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(()) };
    Root::open(parent)?.remove_all(name)
}
