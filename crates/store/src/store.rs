//! The store as a whole.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};

use crate::StoreError;
use crate::atomic::{atomic_write, create_private_dir, next_number};
use crate::database::{self, Durable};
use crate::error::{database_error, io_error};
use crate::owner;

/// A directory of images, layers and what belongs to them. Cheap to clone; usable from many threads and processes.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    connection: Mutex<Connection>,
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

impl Store {
    /// Opens the store at `root`, making it where there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        create_private_dir(root)?;
        refuse_network(root)?;
        for name in ["blobs/sha256", "layers", "active", "containers", "tmp", "empty"] {
            create_private_dir(&root.join(name))?;
        }
        // Others may own the parent, never the content: setuid files of a layer must not be reachable.
        fs_err::set_permissions(root, std::fs::Permissions::from_mode(0o700))
            .map_err(io_error("set the mode of", root))?;
        let layout = root.join("oci-layout");
        if !layout.exists() {
            atomic_write(&layout, LAYOUT, 0o600)?;
        }
        let connection = database::open(&root.join("store.db"))?;
        Ok(Self { inner: Arc::new(Inner { root: root.to_owned(), connection: Mutex::new(connection) }) })
    }

    /// Returns the store's directory.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Returns a new path in `tmp` for unfinished work of this process; nothing is there yet.
    pub fn temporary_path(&self) -> PathBuf {
        self.root().join("tmp").join(format!("{}.{}", owner::this_process(), next_number()))
    }

    /// Reads records.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
        query(&connection).map_err(database_error(action))
    }

    /// Changes records in one transaction that only SQLite can fail.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        durable: Durable,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.try_write(action, durable, |transaction| change(transaction).map_err(database_error(action)))
    }

    /// Changes records in one transaction; nothing changes on an error.
    pub(crate) fn try_write<T>(
        &self,
        action: &'static str,
        durable: Durable,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
        database::write(&mut connection, durable, change, action)
    }

    /// Keeps the collector away while a file gets its name and its record.
    pub(crate) fn collector_lock(&self, exclusive: bool) -> Result<File, StoreError> {
        let path = self.root().join("gc.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error("open the lock", &path))?;
        let locked = if exclusive { file.lock() } else { file.lock_shared() };
        locked.map_err(io_error("lock", &path))?;
        Ok(file)
    }
}

fn refuse_network(root: &Path) -> Result<(), StoreError> {
    let found = shipway_linux::filesystem_magic(root).map_err(io_error("examine", root))?;
    let kind = match found {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "a Windows share",
        0x0102_1997 => "9p (a directory of the host of a virtual machine)",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        _ => return Ok(()),
    };
    Err(StoreError::FileSystem { path: root.to_owned(), kind })
}
