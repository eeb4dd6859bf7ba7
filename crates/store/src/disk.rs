//! Putting what was written on the disk, and hearing of it once and for all when that fails.
//!
//! The kernel tells each open file once of an error that came after it was opened. So a process has one file for this, from before it
//! wrote anything, and remembers: what was lost does not count because a later attempt finds nothing to do (RELIABILITY T4).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use crate::{Store, StoreError};

/// The disk gets to work after so many bytes.
const WRITE_BEHIND: u64 = 64 << 20;

/// The file system that a store is on.
#[derive(Debug)]
pub(crate) struct Disk {
    opened: File,
    has_failed: AtomicBool,
}

impl Disk {
    /// Opens it by a directory; to be called before anything is written.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let opened = File::open(directory).map_err(StoreError::io("open", directory))?;
        Ok(Self { opened, has_failed: AtomicBool::new(false) })
    }

    /// Writes everything out. After a failure it fails for ever.
    fn sync(&self) -> io::Result<()> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk failed while this program ran; start it again"));
        }
        shipway_linux::sync_filesystem(&self.opened)
            .inspect_err(|_| self.has_failed.store(true, Ordering::Release))
    }
}

impl Store {
    /// Puts the files of all layers recorded so far on the disk. Once per build or pull, before the image gets a name:
    /// layers that were not synced before a power cut are forgotten by the next [`Store::open`].
    pub fn sync_layers(&self) -> Result<(), StoreError> {
        let new: Vec<String> = self.read("list new layers", |connection| {
            let sql = "SELECT id FROM layers WHERE synced = 0";
            connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
        })?;
        // Also where nothing is new: it may have been forgotten because the disk failed.
        if new.is_empty() && !self.disk.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.flush()?;
        self.write("record synced layers", |transaction| {
            let mut statement = transaction.prepare("UPDATE layers SET synced = 1 WHERE id = ?1")?;
            new.iter().try_for_each(|id| statement.execute([id]).map(drop))
        })
    }

    /// Keeps the disk at work while layers are written, so that little is left to wait for at the end. `written` tells how many bytes were
    /// written more; nothing is recorded of them.
    pub fn write_behind(&self, written: &Receiver<u64>) {
        let mut bytes = 0;
        while let Ok(more) = written.recv() {
            bytes += more;
            if bytes < WRITE_BEHIND {
                continue;
            }
            bytes = 0;
            // Those that came meanwhile are part of it.
            while written.try_recv().is_ok() {}
            if let Err(error) = self.flush() {
                // The sync at the end fails too, and is heard of.
                tracing::debug!(%error, "nothing is written behind");
                return;
            }
        }
    }

    /// Writes everything to the disk that was written so far; nothing is recorded of it. Where that fails, the layers that were not
    /// there yet are forgotten: nobody can tell which of them are damaged.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.disk.sync().map_err(|error| {
            if let Err(error) = self.forget_all_unsynced() {
                tracing::warn!(%error, "layers that may be damaged are still recorded");
            }
            StoreError::io("sync", &self.root().join("layers"))(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerId;
    use crate::layer_rows::{LayerNotes, LayerRow};

    #[test]
    fn what_a_disk_lost_does_not_count_later() {
        let dir = tempfile::tempdir().unwrap();
        let (sound, lost) = (LayerId::unique(1), LayerId::unique(2));
        let row =
            |id: &LayerId| LayerRow { id: id.clone(), diff_id: None, size: 1, notes: LayerNotes::default() };
        let store = Store::open(dir.path()).unwrap();
        store.record_layer(&row(&sound)).unwrap();
        store.sync_layers().unwrap();
        store.record_layer(&row(&lost)).unwrap();
        store.disk.has_failed.store(true, Ordering::Release);
        for _again in 0..2 {
            let error = store.sync_layers().unwrap_err();
            assert!(error.to_string().contains("could not sync"), "{error}");
        }
        // Neither for whoever comes next, in whose file nothing of it can be seen.
        let next = Store::open(dir.path()).unwrap();
        next.sync_layers().unwrap();
        assert!(next.layer(&sound).unwrap().is_some());
        assert!(next.layer(&lost).unwrap().is_none());
    }
}
