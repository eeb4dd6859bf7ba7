//! Files kept from one time to the next, by digest.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use shipway_oci::Digest;

use crate::error::BootstrapError;

/// A folder of files named by their digests. What is read is checked again, so a damaged file is as good as none.
#[derive(Clone, Debug)]
pub(crate) struct FileCache {
    folder: PathBuf,
}

impl FileCache {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, BootstrapError> {
        fs_err::create_dir_all(&folder).map_err(BootstrapError::io("make the folder", &folder))?;
        Ok(Self { folder })
    }

    pub(crate) fn load(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs_err::read(self.path(digest)).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a file that has this digest. It need not be synced: see the promise above.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BootstrapError> {
        let path = self.path(digest);
        let written = self.write(&path, bytes);
        written.map_err(BootstrapError::io("write", &path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FileCache::open(folder.path().join("debs")).unwrap();
        let digest = Digest::of(b"text");
        assert_eq!(cache.load(&digest), None);
        cache.keep(&digest, b"text").unwrap();
        assert_eq!(cache.load(&digest).unwrap(), b"text");
        fs_err::write(cache.path(&digest), "tex").unwrap();
        assert_eq!(cache.load(&digest), None);
    }
}
