//! Keeping the collector away while an operation relies on what it found.

use std::fs::File;
use std::io;

use crate::{Store, StoreError};

/// While it lives, in whatever process, [`Store::gc`] removes nothing. It ends with its process, however that ends.
#[derive(Debug)]
pub struct Lease {
    /// The lock ends with the file. None where nobody can collect anything: the store cannot be written, and nobody has made the file.
    _lock: Option<File>,
}

impl Store {
    /// Takes a lease: for each build, pull, import and removal; waits while a collection runs.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let (file, path) = match self.lock_file() {
            Err(StoreError::Io { source, .. })
                if self.is_read_only() && source.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(Lease { _lock: None });
            }
            other => other?,
        };
        file.lock_shared().map_err(StoreError::io("lock", &path))?;
        Ok(Lease { _lock: Some(file) })
    }

    /// Takes the one lock that excludes all leases, or `None` if there are any.
    pub(crate) fn try_exclusive(&self) -> Result<Option<Lease>, StoreError> {
        let (file, path) = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lease { _lock: Some(file) })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
        }
    }

    fn lock_file(&self) -> Result<(File, std::path::PathBuf), StoreError> {
        let path = self.root().join("lease.lock");
        let open = || -> io::Result<File> {
            use std::os::unix::fs::OpenOptionsExt as _;
            // Others may be able to write it.
            if self.is_read_only() {
                return File::open(&path);
            }
            File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)
        };
        Ok((open().map_err(StoreError::io("open", &path))?, path))
    }
}
