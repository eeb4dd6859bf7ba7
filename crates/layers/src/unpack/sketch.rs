//! A tree in memory, whose files lie where the archive has them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use shipway_erofs as erofs;
use shipway_erofs::{Content, FileType, Tree};
use shipway_linux::{Attributes, Kind, Metadata};

use super::target::{Node, Target};
use crate::refusal::Refusal;
use crate::serialise::OPAQUE;
use crate::tar_reader::TarReader;

/// So many names are kept in memory, at some 150 bytes each, and so many bytes of long ones, targets and attributes.
const NAMES: usize = 1_000_000;
const BYTES: usize = 64 << 20;

/// What an archive makes of a tree, to be written as an index of it.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    pub(crate) tree: Tree,
    names: usize,
    bytes: usize,
    /// Nothing more can be made.
    pub(crate) is_full: bool,
}

impl Sketch {
    fn create(&mut self, path: &Path, content: Content, attributes: erofs::Attributes) -> io::Result<()> {
        let target = if let Content::Symlink(target) = &content { target.len() } else { 0 };
        let more = target + length_of(&attributes.xattrs);
        self.tree.create(path, content, attributes)?;
        self.count(path, more)
    }

    /// Counts a name, and bytes beside it.
    fn count(&mut self, path: &Path, more: usize) -> io::Result<()> {
        self.names += 1;
        self.bytes += path.file_name().map_or(0, |name| name.len()) + more;
        self.is_full |= self.names > NAMES || self.bytes > BYTES;
        if self.is_full { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }
}

impl Target for Sketch {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        Ok(self.tree.lookup(path).map(of_tree))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(PathBuf::from(OsString::from_vec(self.tree.read_link(path)?.to_vec())))
    }

    fn top(&self) -> io::Result<Vec<(OsString, Metadata)>> {
        let entries = self.tree.entries("")?;
        Ok(entries.map(|(name, metadata)| (name.to_owned(), of_tree(metadata))).collect())
    }

    fn enter(&mut self, path: &Path) -> io::Result<bool> {
        Ok(self.tree.lookup(path).is_some_and(|found| found.file_type == FileType::Directory))
    }

    fn directory(&mut self, path: &Path) -> io::Result<()> {
        let private = Attributes { mode: 0o700, ..Attributes::default() };
        self.create(path, Content::Directory, to_tree(&private, (0, 0)))
    }

    fn file(
        &mut self,
        path: &Path,
        content: &mut TarReader<'_>,
        attributes: &Attributes,
        mtime: (i64, u32),
    ) -> Result<(), Refusal> {
        check(attributes)?;
        let (offset, size) = content.content();
        self.create(path, Content::File { offset, size }, to_tree(attributes, mtime))?;
        content.copy_content(&mut io::sink())
    }

    fn node(
        &mut self,
        path: &Path,
        node: Node<'_>,
        (uid, gid): (u32, u32),
        mtime: (i64, u32),
    ) -> io::Result<()> {
        let (content, mode) = match node {
            Node::Symlink(target) => (Content::Symlink(target.as_os_str().as_bytes().to_vec()), 0o777),
            Node::Special(mode, number) => match mode & 0o170_000 {
                0o020_000 => (Content::Character(number), mode),
                0o060_000 => (Content::Block(number), mode),
                _ => (Content::Fifo, mode),
            },
        };
        let attributes = Attributes { uid, gid, mode, xattrs: Vec::new() };
        self.create(path, content, to_tree(&attributes, mtime))
    }

    fn hard_link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        self.tree.hard_link(target, path)?;
        self.count(path, 0)
    }

    fn describe(&mut self, directory: &Path, attributes: &Attributes) -> io::Result<()> {
        check(attributes)?;
        let erofs::Attributes { mode, uid, gid, xattrs, .. } = to_tree(attributes, (0, 0));
        self.tree.set_owner(directory, uid, gid)?;
        self.tree.set_mode(directory, mode)?;
        xattrs.iter().try_for_each(|(name, value)| self.tree.set_xattr(directory, name, value))?;
        if xattrs.is_empty() { Ok(()) } else { self.count(Path::new(""), length_of(&xattrs)) }
    }

    fn set_mtime(&mut self, directory: &Path, mtime: (i64, u32)) -> io::Result<()> {
        self.tree.set_mtime(directory, mtime)
    }

    fn hide_below(&mut self, directory: &Path) -> io::Result<()> {
        self.tree.set_xattr(directory, OPAQUE.as_bytes(), b"y")
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.tree.remove_all(path)
    }
}

/// Refuses capabilities that are none, as the kernel does where they are set. Spec: `vfs_cap_data` of `linux/capability.h`: a revision
/// in the highest byte of the first number, and the length that it has.
fn check(attributes: &Attributes) -> io::Result<()> {
    let is_sound = |value: &[u8]| match value {
        [0 | 1, 0, 0, revision, ..] => matches!((*revision, value.len()), (2, 20) | (3, 24)),
        _ => false,
    };
    let mut capabilities = attributes.xattrs.iter().filter(|(name, _)| name == "security.capability");
    if capabilities.all(|(_, value)| is_sound(value)) {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Returns the bytes of extended attributes.
fn length_of(xattrs: &[(Vec<u8>, Vec<u8>)]) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn to_tree(attributes: &Attributes, mtime: (i64, u32)) -> erofs::Attributes {
    let xattrs = attributes.xattrs.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone()));
    erofs::Attributes {
        mode: u16::try_from(attributes.mode & 0o7777).unwrap_or_default(),
        uid: attributes.uid,
        gid: attributes.gid,
        mtime,
        xattrs: xattrs.collect(),
    }
}

fn of_tree(found: erofs::Metadata) -> Metadata {
    let (kind, bits) = match found.file_type {
        FileType::Directory => (Kind::Directory, 0o040_000),
        FileType::File => (Kind::File, 0o100_000),
        FileType::Symlink => (Kind::Symlink, 0o120_000),
        FileType::Character => (Kind::Special, 0o020_000),
        FileType::Block => (Kind::Special, 0o060_000),
        FileType::Fifo => (Kind::Special, 0o010_000),
        FileType::Socket => (Kind::Special, 0o140_000),
    };
    Metadata {
        kind,
        mode: bits | u32::from(found.mode),
        uid: found.uid,
        gid: found.gid,
        size: found.size,
        inode: 0,
        device: 0,
        links: found.links.into(),
        rdev: found.rdev,
        mtime: found.mtime,
        ctime: found.mtime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_what_the_kernel_takes_or_refused() {
        let with = |head: [u8; 4], length: usize| {
            let mut value = head.to_vec();
            value.resize(length, 0);
            let xattrs = vec![("security.capability".to_owned(), value)];
            check(&Attributes { xattrs, ..Attributes::default() }).is_ok()
        };
        for (head, length, want) in [
            ([1, 0, 0, 2], 20, true),
            ([0, 0, 0, 3], 24, true),
            ([0, 0, 0, 2], 24, false),
            ([0, 0, 0, 1], 12, false),
            ([2, 0, 0, 2], 20, false),
            ([0, 1, 0, 3], 24, false),
        ] {
            assert_eq!(with(head, length), want, "{head:?} {length}");
        }
        let short = vec![("security.capability".to_owned(), b"xx".to_vec())];
        assert!(check(&Attributes { xattrs: short, ..Attributes::default() }).is_err());
    }
}
