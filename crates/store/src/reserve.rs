//! Space kept back so that something can be removed when the disk is full: the database writes also to forget.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rusqlite::{ErrorCode, Transaction};

use crate::atomic::unique_name;
use crate::{Durability, Store, StoreError};

/// Name of the folder below the root.
const NAME: &str = "reserve";

/// File in it that takes space, and how much.
const SPACE: &str = "space";
const LENGTH: u64 = 2 << 20;

/// Empty files in it: a file system can also be out of those.
const FILES: usize = 8;

/// So many times the reserve must be free for it to be taken.
const PLENTY: u64 = 8;

/// Takes the reserve if it is not whole and there is plenty; without it nothing but a removal on a full disk is worse.
pub(crate) fn keep(root: &Path) {
    let space = fs_err::metadata(root.join(NAME).join(SPACE));
    let is_whole = space.is_ok_and(|found| found.len() >= LENGTH);
    let is_plenty = || {
        shipway_linux::free_bytes(root).is_ok_and(|free| free >= PLENTY * LENGTH)
            && shipway_linux::free_files(root).is_ok_and(|free| free >= PLENTY * FILES as u64)
    };
    if !is_whole && is_plenty() {
        take(root, LENGTH, FILES);
    }
}

/// Takes back what was not needed of a reserve that was spent to open the tables, so that nothing else gets it.
pub(crate) fn keep_rest(root: &Path) {
    for part in [8, 4, 2] {
        if take(root, LENGTH - LENGTH / part, FILES / 2) {
            return;
        }
    }
}

fn take(root: &Path, length: u64, files: usize) -> bool {
    let unfinished = root.join("tmp").join(format!("{NAME}-{}", unique_name()));
    let new = |name: &str| {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).open(unfinished.join(name))
    };
    let taken = (|| {
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        shipway_linux::reserve_bytes(&new(SPACE)?, length)?;
        (0..files).try_for_each(|number| new(&number.to_string()).map(drop))?;
        spend(root);
        fs_err::rename(&unfinished, root.join(NAME))
    })();
    if let Err(error) = &taken {
        tracing::debug!(root = %root.display(), %error, "no space is kept back");
        drop(fs_err::remove_dir_all(&unfinished));
    }
    taken.is_ok()
}

/// Gives the reserve up; `false` if there is none.
pub(crate) fn spend(root: &Path) -> bool {
    let spent = fs_err::remove_dir_all(root.join(NAME)).is_ok();
    if spent {
        tracing::debug!(root = %root.display(), "the space kept back for removals is used");
    }
    spent
}

/// Returns whether SQLite could not go on because the disk is full. Of its shared memory and journal it says less clearly.
pub(crate) fn is_full(error: &rusqlite::Error, root: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            shipway_linux::free_bytes(root).is_ok_and(|free| free < 1 << 16)
                || shipway_linux::free_files(root).is_ok_and(|free| free < 4)
        }
        _ => false,
    }
}

impl Store {
    /// Runs `work`, which removes something, in a transaction; where the disk is full, with the space that was kept back.
    pub(crate) fn free<T>(
        &self,
        operation: &'static str,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.free_as(operation, Durability::Synced, work)
    }

    /// Removes something as [`Store::free`] does.
    pub(crate) fn free_as<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let attempt = || self.try_write(operation, durability, |transaction| work(transaction).map(Ok));
        match attempt() {
            Err(StoreError::NoSpace { .. }) if spend(self.root()) => attempt(),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_kept_back_once_and_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let path = dir.path().join(NAME).join(SPACE);
        assert_eq!(fs_err::metadata(&path).unwrap().len(), LENGTH);
        assert!(spend(dir.path()) && !spend(dir.path()));
        keep_rest(dir.path());
        assert!(fs_err::metadata(&path).unwrap().len() < LENGTH);
        keep(dir.path());
        assert_eq!(fs_err::metadata(&path).unwrap().len(), LENGTH);
        assert_eq!(fs_err::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_removal_is_tried_again_only_where_the_disk_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let full = || {
            let code = rusqlite::ffi::Error { code: ErrorCode::DiskFull, extended_code: 13 };
            rusqlite::Error::SqliteFailure(code, None)
        };
        let calls = std::cell::Cell::new(0);
        let done = store.free("test", |_| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { Err(full()) } else { Ok(7) }
        });
        assert_eq!((done.unwrap(), calls.get()), (7, 2));
        let again = store.free("test", |_| Err::<(), _>(full()));
        let text = again.unwrap_err().to_string();
        assert!(text.contains("no space left") && text.contains("store.db"), "{text}");
        assert!(store.free("test", |_| Err::<(), _>(rusqlite::Error::InvalidQuery)).is_err());
    }
}
