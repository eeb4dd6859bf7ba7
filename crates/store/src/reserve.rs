//! Space kept back so that something can be removed when the disk is full: the database writes also to forget.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rusqlite::{ErrorCode, Transaction};

use crate::{Durability, Store, StoreError};

/// Name of the folder below the root.
const NAME: &str = "reserve";

/// File in it that takes space, how much of it at most, and the least that is worth having.
const SPACE: &str = "space";
const LENGTH: u64 = 2 << 20;
const LEAST: u64 = 64 << 10;

/// Empty files in it: a file system can also be out of those.
const FILES: u64 = 8;

/// So many times the reserve must be free for it to be taken.
const PLENTY: u64 = 8;

/// The reserve's part of what stays free for others, where a removal has just used it.
const SHARE: u64 = 8;

/// Takes the reserve if it is not whole: all of it where there is plenty, less where little is free. Without it nothing but a removal
/// on a full disk is worse.
pub(crate) fn keep(root: &Path) {
    let free_files = shipway_linux::free_files(root).unwrap_or_default();
    let kept = length(root);
    let wanted = most(root).min((free_bytes(root) + kept) / PLENTY);
    // What grows by little is not worth the writes.
    if kept < most(root) && wanted >= LEAST.max(2 * kept).min(most(root)) && free_files >= PLENTY * FILES {
        take(root, wanted, FILES);
    }
}

/// Takes back all that there is: of a reserve that was spent, so that nothing else gets it, and of what a removal made free.
pub(crate) fn regain(root: &Path) {
    let (kept, free) = (length(root), free_bytes(root));
    let files = shipway_linux::free_files(root).unwrap_or_default();
    // A directory and a file hold the others, and something must be left to open the tables with.
    let files = FILES.min(files.saturating_sub(4));
    let mut wanted = most(root).min(kept + free - free / SHARE);
    // What is said to be free is not always to be had.
    while wanted > kept && wanted >= LEAST && !take(root, wanted, files) {
        wanted -= wanted / 4;
    }
}

fn free_bytes(root: &Path) -> u64 {
    shipway_linux::free_bytes(root).unwrap_or_default()
}

/// Returns how long the reserve may be: on a small file system it is small.
fn most(root: &Path) -> u64 {
    shipway_linux::total_bytes(root).map_or(LENGTH, |total| (total / 16).clamp(LEAST, LENGTH))
}

fn length(root: &Path) -> u64 {
    fs_err::metadata(root.join(NAME).join(SPACE)).map_or(0, |found| found.len())
}

/// Makes the reserve as long as that; one that another process spends meanwhile is none.
fn take(root: &Path, length: u64, files: u64) -> bool {
    let folder = root.join(NAME);
    let open = |name: &str| {
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).open(folder.join(name))
    };
    let taken = (|| {
        DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
        // Its length counts, so that comes last.
        (0..files).try_for_each(|number| open(&number.to_string()).map(drop))?;
        shipway_linux::reserve_bytes(&open(SPACE)?, length)
    })();
    if let Err(error) = &taken {
        tracing::debug!(root = %root.display(), %error, "not so much space is kept back");
    }
    taken.is_ok()
}

/// Gives the reserve up; `false` if there is none.
pub(crate) fn spend(root: &Path) -> bool {
    let kept = length(root);
    let folder = root.join(NAME);
    // Another process may just be making it longer.
    let spent = (0..2).any(|_| fs_err::remove_dir_all(&folder).is_ok());
    if spent {
        tracing::debug!(root = %root.display(), kept, "the space kept back for removals is used");
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
            Err(StoreError::NoSpace { .. }) if spend(self.root()) => {
                let done = attempt();
                // The files come next: what they leave is taken back when they are gone, and until then nothing else gets this.
                regain(self.root());
                done
            }
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
        assert_eq!(length(dir.path()), LENGTH);
        assert!(spend(dir.path()) && !spend(dir.path()));
        for again in [regain, keep] {
            again(dir.path());
            assert_eq!(length(dir.path()), LENGTH);
            let files = fs_err::read_dir(dir.path().join(NAME)).unwrap().count() as u64;
            assert_eq!(files, FILES + 1);
            spend(dir.path());
        }
        // One that was taken back in part is made whole.
        assert!(take(dir.path(), LEAST, 1));
        keep(dir.path());
        assert_eq!(length(dir.path()), LENGTH);
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
