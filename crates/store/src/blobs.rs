//! Content by digest.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rusqlite::OptionalExtension as _;
use shipway_oci::{Digest, Hasher};

use crate::atomic::RemoveOnDrop;
use crate::database::{Durable, clock};
use crate::error::io_error;
use crate::{Store, StoreError};

/// A blob being written. Dropping it, also by a panic, leaves nothing.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    file: File,
    guard: IngestGuard,
    hasher: Hasher,
    size: u64,
}

/// The unfinished file of an ingest.
#[derive(Debug)]
pub struct IngestGuard {
    path: PathBuf,
    remove: RemoveOnDrop,
}

impl Ingest {
    /// Returns the number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob visible under its digest. With `expected`, other content is an error and nothing is stored.
    pub fn commit(self, expected: Option<Digest>) -> Result<Digest, StoreError> {
        let Self { store, file, guard, hasher, size } = self;
        let got = hasher.finish();
        if let Some(want) = expected.filter(|want| *want != got) {
            return Err(StoreError::Digest { want, got });
        }
        file.sync_all().map_err(io_error("sync", &guard.path))?;
        let path = store.blob_path(&got);
        let lock = store.collector_lock(false)?;
        fs_err::rename(&guard.path, &path).map_err(io_error("name", &path))?;
        guard.remove.forget();
        let directory = store.root().join("blobs/sha256");
        shipway_linux::sync_directory(&directory).map_err(io_error("sync", &directory))?;
        store.write("record a blob", Durable::Later, |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO blobs VALUES (?1, ?2, ?3)",
                (got.to_string(), size.cast_signed(), clock(transaction)?),
            )
        })?;
        drop(lock);
        Ok(got)
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Store {
    /// Starts a blob.
    pub fn ingest(&self) -> Result<Ingest, StoreError> {
        let path = self.temporary_path();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("create", &path))?;
        let guard = IngestGuard { path: path.clone(), remove: RemoveOnDrop(Some(path)) };
        Ok(Ingest { store: self.clone(), file, guard, hasher: Hasher::default(), size: 0 })
    }

    /// Stores a small document.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest)? {
            return Ok(digest);
        }
        let mut ingest = self.ingest()?;
        let path = ingest.guard.path.clone();
        ingest.write_all(bytes).map_err(io_error("write", &path))?;
        ingest.commit(Some(digest))
    }

    /// Returns where a blob is, whether it exists or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }

    /// Returns whether the blob is there, and marks it as used.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let text = digest.to_string();
        let (found, now) = self.read("look a blob up", |connection| {
            let found: Option<i64> = connection
                .prepare_cached("SELECT seq FROM blobs WHERE digest = ?1")?
                .query_row([&text], |row| row.get(0))
                .optional()?;
            Ok((found, clock(connection)?))
        })?;
        let Some(seq) = found else { return Ok(false) };
        if seq >= now {
            return Ok(true);
        }
        let marked = self.write("mark a blob", Durable::Later, |transaction| {
            transaction.execute("UPDATE blobs SET seq = (SELECT seq FROM clock) WHERE digest = ?1", [&text])
        })?;
        Ok(marked == 1)
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound { kind: "blob", name: digest.to_string() },
            _ => io_error("open", &path)(error),
        })
    }

    /// Returns a document of at most `max` bytes, with its digest checked.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        self.open_blob(digest)?
            .take(max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(io_error("read", &path))?;
        if bytes.len() as u64 > max {
            return Err(StoreError::TooLarge { digest: *digest, limit: max });
        }
        let got = Digest::of(&bytes);
        if got != *digest {
            return Err(StoreError::Digest { want: *digest, got });
        }
        Ok(bytes)
    }
}
