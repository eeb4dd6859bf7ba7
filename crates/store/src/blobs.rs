//! Content under its digest.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use shipway_linux::EarlyFile;
use shipway_oci::{Digest, Hashing};

use crate::atomic::unique_name;
use crate::{Store, StoreError};

/// Content on its way into the store. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    path: PathBuf,
    content: Content,
}

/// Where the bytes go.
#[derive(Debug)]
enum Content {
    Hashed(Hashing<EarlyFile>),
    /// With the digest that whoever brings them has checked.
    Checked(EarlyFile, Digest),
}

impl Content {
    fn file(&self) -> &EarlyFile {
        match self {
            Self::Hashed(hashing) => hashing.get_ref(),
            Self::Checked(file, _) => file,
        }
    }
}

impl Store {
    /// Starts to take content in.
    pub fn ingest(&self) -> Result<Ingest, StoreError> {
        self.ingest_by(|file| Content::Hashed(Hashing::new(file)))
    }

    /// Starts to take content in that is not hashed once more: before it is committed the caller has seen that it has this digest.
    pub fn ingest_checked(&self, digest: Digest) -> Result<Ingest, StoreError> {
        self.ingest_by(|file| Content::Checked(file, digest))
    }

    fn ingest_by(&self, content: impl FnOnce(EarlyFile) -> Content) -> Result<Ingest, StoreError> {
        let path = self.tmp().join(format!("ingest-{}", unique_name()));
        let file = create_private(&path).map_err(StoreError::io("create", &path))?;
        Ok(Ingest { store: self.clone(), path, content: content(EarlyFile::new(file)) })
    }

    /// Stores a small document and returns its digest.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest) {
            return Ok(digest);
        }
        let mut ingest = self.ingest()?;
        ingest.write_all(bytes).map_err(StoreError::io("write", &ingest.path))?;
        ingest.commit(Some(digest))
    }

    /// Returns where a blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }

    /// Returns whether the blob is there.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NoBlob(*digest),
            _ => StoreError::io("open", &path)(source),
        })
    }

    /// Names several contents by their digests, as [`Ingest::commit`] does, all of which are waited for at once.
    pub fn commit_all(&self, ingests: Vec<(Ingest, Digest)>) -> Result<(), StoreError> {
        if ingests.is_empty() {
            return Ok(());
        }
        self.flush()?;
        for (ingest, wanted) in ingests {
            ingest.name(Some(wanted))?;
        }
        self.sync_names()
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        let dir = self.root().join("blobs/sha256");
        shipway_linux::sync_directory(&dir).map_err(StoreError::io("sync", &dir))
    }

    /// Reads a document of at most `limit` bytes and checks that it is what its digest says.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = self.open_blob(digest)?.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(StoreError::io("read", &self.blob_path(digest)))?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::TooLarge { digest: *digest, limit });
        }
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(StoreError::Mismatch { wanted: *digest, found }) }
    }
}

impl Ingest {
    /// Opens what was taken in so far for reading, also while more comes and after the commit.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(StoreError::io("open", &self.path))
    }

    /// Returns how many bytes were taken in so far.
    pub fn written(&self) -> u64 {
        self.content.file().written()
    }

    /// Names the content by its digest, which must be `wanted` if given. Everything is on the disk afterwards.
    pub fn commit(self, wanted: Option<Digest>) -> Result<Digest, StoreError> {
        self.content.file().get_ref().sync_all().map_err(StoreError::io("sync", &self.path))?;
        let found = self.name(wanted)?;
        self.store.sync_names()?;
        Ok(found)
    }

    /// Names content that is on the disk.
    fn name(&self, wanted: Option<Digest>) -> Result<Digest, StoreError> {
        let found = match &self.content {
            Content::Hashed(hashing) => hashing.digest(),
            Content::Checked(_, digest) => *digest,
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(StoreError::Mismatch { wanted, found });
        }
        let path = self.store.blob_path(&found);
        fs_err::rename(&self.path, &path).map_err(StoreError::io("name", &path))?;
        Ok(found)
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Hashed(hashing) => hashing.write(bytes),
            Content::Checked(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is held back.
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // After a commit the name is gone already, and a left-over in `tmp` is harmless.
        drop(fs_err::remove_file(&self.path));
    }
}

fn create_private(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn what_comes_can_be_read_before_it_has_a_name() {
        let (_dir, store) = store();
        let mut ingest = store.ingest().unwrap();
        let mut reader = ingest.reader().unwrap();
        let mut text = String::new();
        ingest.write_all(b"one ").unwrap();
        reader.read_to_string(&mut text).unwrap();
        ingest.write_all(b"two").unwrap();
        assert_eq!(ingest.written(), 7);
        ingest.commit(None).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn what_was_checked_on_its_way_has_its_name_at_once() {
        let (_dir, store) = store();
        let digest = Digest::of(b"checked");
        let mut ingest = store.ingest_checked(digest).unwrap();
        ingest.write_all(b"checked").unwrap();
        assert_eq!((ingest.written(), ingest.commit(Some(digest)).unwrap()), (7, digest));
        assert_eq!(store.read_blob(&digest, 10).unwrap(), b"checked");
        let other = store.ingest_checked(digest).unwrap().commit(Some(Digest::of(b"other")));
        assert!(matches!(other, Err(StoreError::Mismatch { .. })));
    }

    #[test]
    fn a_dropped_ingest_leaves_no_file() {
        let (_dir, store) = store();
        let mut ingest = store.ingest().unwrap();
        ingest.write_all(b"half").unwrap();
        drop(ingest);
        assert_eq!(fs_err::read_dir(store.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn several_get_their_names_together_up_to_the_first_that_is_wrong() {
        let (_dir, store) = store();
        let ingest = |text: &str| {
            let mut ingest = store.ingest().unwrap();
            ingest.write_all(text.as_bytes()).unwrap();
            ingest
        };
        let digest = |text: &str| Digest::of(text.as_bytes());
        store.commit_all(vec![(ingest("a"), digest("a")), (ingest("b"), digest("b"))]).unwrap();
        assert!(store.has_blob(&digest("a")) && store.has_blob(&digest("b")));
        let wrong = store.commit_all(vec![(ingest("c"), digest("d")), (ingest("e"), digest("e"))]);
        assert!(matches!(wrong, Err(StoreError::Mismatch { .. })));
        assert!(!store.has_blob(&digest("c")) && !store.has_blob(&digest("d")));
        assert_eq!(fs_err::read_dir(store.tmp()).unwrap().count(), 0);
        store.commit_all(Vec::new()).unwrap();
    }

    #[test]
    fn content_that_is_not_what_was_expected_is_not_kept() {
        let (_dir, store) = store();
        let mut ingest = store.ingest().unwrap();
        ingest.write_all(b"other").unwrap();
        let wanted = Digest::of(b"this");
        assert!(matches!(ingest.commit(Some(wanted)), Err(StoreError::Mismatch { .. })));
        assert!(!store.has_blob(&wanted) && !store.has_blob(&Digest::of(b"other")));
        assert_eq!(fs_err::read_dir(store.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn blobs_come_back_and_damage_is_seen() {
        let (_dir, store) = store();
        let digest = store.put_blob(b"text").unwrap();
        assert_eq!(store.read_blob(&digest, 10).unwrap(), b"text");
        assert!(matches!(store.read_blob(&digest, 3), Err(StoreError::TooLarge { .. })));
        fs_err::write(store.blob_path(&digest), "tex!").unwrap();
        assert!(matches!(store.read_blob(&digest, 10), Err(StoreError::Mismatch { .. })));
        assert!(matches!(store.open_blob(&Digest::of(b"no")), Err(StoreError::NoBlob(_))));
    }
}
