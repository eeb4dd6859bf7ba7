//! What was taken out of the store and is still to be removed: files by the thousand, for which nobody has to wait.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Store, StoreError};

/// Beginning of names in the folder for unfinished work.
const GONE: &str = "gone-";

/// Files and directories that nothing finds any more. What is not removed goes with the next collection.
#[derive(Debug, Default)]
#[must_use = "what is not removed takes space until the next collection"]
pub(crate) struct Trash(Vec<PathBuf>);

impl Trash {
    /// Takes one file or directory out of the store; the caller has the lock that excludes all leases.
    ///
    /// Where it cannot be moved, for want of space or because its like is there already, it is removed at once.
    pub(crate) fn take(&mut self, store: &Store, path: PathBuf) -> Result<(), StoreError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = store.tmp();
        // Once moved, no work that begins afterwards can have its name.
        if is_gone(&name) && path.parent() == Some(aside.as_path()) {
            self.0.push(path);
            return Ok(());
        }
        let moved = aside.join(format!("{GONE}{name}"));
        if fs_err::rename(&path, &moved).is_err() {
            return remove(&path);
        }
        self.0.push(moved);
        Ok(())
    }

    /// Removes all of it, needing no lock: another collection may be at the same. One that cannot be removed keeps none of the others;
    /// the first error is returned.
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        let was_gone = |error: &StoreError| matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let removed: Vec<_> = self.0.iter().map(|path| remove(path)).collect();
        removed.into_iter().find(|done| done.as_ref().is_err_and(|error| !was_gone(error))).unwrap_or(Ok(()))
    }
}

/// Returns whether a name is of something that was put aside.
pub(crate) fn is_gone(name: &str) -> bool {
    name.starts_with(GONE)
}

/// Removes a file, or a directory with all that is in it.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let metadata = fs_err::symlink_metadata(path).map_err(StoreError::io("examine", path))?;
    let removed = if metadata.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) };
    removed.map_err(StoreError::io("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_may_be_removed_by_two() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let put_aside = || {
            let mut trash = Trash::default();
            for path in store.strangers("active", |_| false).unwrap() {
                trash.take(&store, path).unwrap();
            }
            for path in store.strangers("tmp", |_| false).unwrap() {
                trash.take(&store, path).unwrap();
            }
            trash
        };
        fs_err::create_dir_all(store.root().join("active/one/upper")).unwrap();
        fs_err::create_dir_all(store.root().join("tmp/layer")).unwrap();
        let first = put_aside();
        assert!(!store.root().join("active/one").exists());
        // One of that name came again, and cannot be moved there.
        fs_err::create_dir_all(store.root().join("active/one/upper")).unwrap();
        let second = put_aside();
        assert!(!store.root().join("active/one").exists());
        second.remove().unwrap();
        first.remove().unwrap();
        assert_eq!(store.strangers("tmp", |_| false).unwrap(), Vec::<PathBuf>::new());
    }
}
