//! A directory's names together with their metadata, for one call per name.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;

use crate::{Metadata, Root};

impl Root {
    /// Returns what is in a directory, sorted by name, not following links. A name that goes away meanwhile is left out.
    pub fn entries(&self, path: impl AsRef<Path>) -> io::Result<Vec<(OsString, Metadata)>> {
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let mut buffer = Vec::with_capacity(32_768);
        let mut names = RawDir::new(&dir, buffer.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push((OsString::from_vec(name.to_bytes().to_vec()), Metadata::of(&stat))),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn names_come_sorted_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.symlink(Path::new("nowhere"), "b").unwrap();
        root.create_dir("a", 0o755).unwrap();
        let found: Vec<_> =
            root.entries(".").unwrap().into_iter().map(|(name, metadata)| (name, metadata.kind)).collect();
        assert_eq!(found, [("a".into(), Kind::Directory), ("b".into(), Kind::Symlink)]);
    }
}
