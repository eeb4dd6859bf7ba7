//! The archive of an earlier layer, of which files are taken that are the same: to read one archive is much less work than to open
//! many files.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use shipway_oci::Digest;

use crate::tar_reader::{Entry, EntryKind, TarReader};

/// Larger files are read where they are: that takes no longer.
const LARGEST: u64 = 256 << 10;
/// So many bytes, and so many times what was taken, may be read for nothing. Then it is not worth it.
const IN_VAIN: u64 = 64 << 20;
const TIMES: u64 = 4;

/// An archive that is gone through once, in the canonical order.
pub(crate) struct Earlier<'a> {
    /// `None` once it is at its end, or was found to be damaged.
    archive: Option<TarReader<'a>>,
    /// The entry that was not passed yet.
    next: Option<Entry>,
    content: Vec<u8>,
    taken: u64,
    /// Bytes of files that were passed.
    passed: u64,
}

impl<'a> Earlier<'a> {
    pub(crate) fn new(archive: &'a mut dyn BufRead) -> Self {
        Self { archive: Some(TarReader::new(archive)), next: None, content: Vec::new(), taken: 0, passed: 0 }
    }

    /// Returns the content of the file that has this path, if it has this digest. Paths must be asked for in order.
    pub(crate) fn find(&mut self, path: &Path, size: u64, digest: Digest) -> Option<&[u8]> {
        if size > LARGEST {
            return None;
        }
        self.advance(path)?;
        let found = self.next.take_if(|found| path_of(found) == path)?;
        if (found.kind, found.size) != (EntryKind::File, size) {
            return None;
        }
        self.content.clear();
        if self.archive.as_mut()?.copy_content(&mut self.content).is_err() {
            self.archive = None;
            return None;
        }
        self.taken += size;
        (Digest::of(&self.content) == digest).then_some(&*self.content)
    }

    /// Passes what comes before a path; `None` if nothing else is left.
    fn advance(&mut self, path: &Path) -> Option<()> {
        loop {
            if self.next.as_ref().is_some_and(|next| path_of(next).cmp(path) != Ordering::Less) {
                return Some(());
            }
            self.next = self.archive.as_mut()?.next().unwrap_or_default();
            let next_size = self.next.as_ref().map(|next| next.size);
            if let Some(size) = next_size.filter(|size| *size > LARGEST) {
                self.passed += size;
            }
            if next_size.is_none() || self.passed > IN_VAIN + TIMES * self.taken {
                self.archive = None;
                return None;
            }
        }
    }
}

fn path_of(entry: &Entry) -> &Path {
    Path::new(OsStr::from_bytes(&entry.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar_header::{Header, pad};

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, content) in files {
            let kind = if path.ends_with('/') { b'5' } else { b'0' };
            let size = content.len() as u64;
            Header { path: path.as_bytes().to_vec(), kind, size, mode: 0o644, ..Header::default() }
                .write(&mut out)
                .unwrap();
            out.extend(content.as_bytes());
            pad(&mut out, size).unwrap();
        }
        out.extend([0; 1024]);
        out
    }

    /// Asks for files, each with the content that it should have, and returns which of them were found.
    fn ask(archive: &[u8], files: &[(&str, &str)]) -> Vec<bool> {
        let mut archive = archive;
        let mut earlier = Earlier::new(&mut archive);
        let mut found = Vec::new();
        for (path, content) in files {
            let digest = Digest::of(content.as_bytes());
            let got = earlier.find(Path::new(path), content.len() as u64, digest);
            assert!(got.is_none_or(|got| got == content.as_bytes()), "{path}");
            found.push(got.is_some());
        }
        found
    }

    #[test]
    fn files_are_found_that_are_the_same() {
        let before =
            archive(&[("a/", ""), ("a/b", "1"), ("a/c", "2"), ("a/d/", ""), ("a/d/e", "3"), ("a-", "4")]);
        for (name, files, want) in [
            ("all", vec![("a/b", "1"), ("a/c", "2"), ("a/d/e", "3"), ("a-", "4")], vec![true; 4]),
            ("one changed", vec![("a/b", "1"), ("a/c", "9"), ("a/d/e", "3")], vec![true, false, true]),
            ("one is longer", vec![("a/b", "11"), ("a/c", "2")], vec![false, true]),
            ("one is new", vec![("a/b", "1"), ("a/bb", "1"), ("a/c", "2")], vec![true, false, true]),
            ("some are gone", vec![("a/d/e", "3")], vec![true]),
            ("a directory became a file", vec![("a/d", ""), ("a-", "4")], vec![false, true]),
            ("beyond the end", vec![("b", "1"), ("c", "2")], vec![false, false]),
        ] {
            assert_eq!(ask(&before, &files), want, "case {name}");
        }
    }

    #[test]
    fn much_is_not_read_in_vain() {
        let large = "x".repeat(1 << 20);
        for (count, want) in [(60, true), (70, false)] {
            let names: Vec<String> = (0..count).map(|number| format!("a/{number:03}")).collect();
            let files = names.iter().map(|name| (name.as_str(), large.as_str())).chain([("b", "small")]);
            let before = archive(&files.collect::<Vec<_>>());
            assert_eq!(ask(&before, &[("b", "small")]), [want], "{count} MiB before it");
        }
    }

    #[test]
    fn of_a_damaged_archive_nothing_is_taken_that_is_wrong() {
        let files = [("a", "one"), ("b", "two"), ("c", "three")];
        let good = archive(&files);
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x41;
            ask(&damaged, &files);
            ask(&good[..at], &files);
        }
        let mut damaged = good;
        damaged[512] ^= 1;
        assert_eq!(ask(&damaged, &files), [false, true, true], "content");
    }
}
