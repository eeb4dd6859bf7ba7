//! Keeping the collector away while an operation relies on what it found.

use std::fs::File;
use std::io;

use crate::{Store, StoreError};

/// While it lives, in whatever process, [`Store::gc`] removes nothing. It ends with its process, however that ends.
#[derive(Debug)]
pub struct Lease {
    /// The lock ends with the file.
    _lock: File,
}

impl Store {
    /// Takes a lease: for each build, pull, import and removal; waits while a collection runs.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let (file, path) = self.lock_file()?;
        file.lock_shared().map_err(StoreError::io("lock", &path))?;
        Ok(Lease { _lock: file })
    }

    /// Takes the one lock that excludes all leases, or `None` if there are any.
    pub(crate) fn try_exclusive(&self) -> Result<Option<Lease>, StoreError> {
        let (file, path) = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lease { _lock: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
        }
    }

    fn lock_file(&self) -> Result<(File, std::path::PathBuf), StoreError> {
        let path = self.root().join("lease.lock");
        let open = || -> io::Result<File> {
            use std::os::unix::fs::OpenOptionsExt as _;
            File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)
        };
        Ok((open().map_err(StoreError::io("open", &path))?, path))
    }
}
