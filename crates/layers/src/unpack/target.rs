//! Where the entries of an archive go.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Attributes, EarlyFile, Metadata, Root, set_modified};

use crate::refusal::Refusal;
use crate::serialise::OPAQUE;
use crate::tar_reader::TarReader;

/// Something that is neither a file nor a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node<'a> {
    /// With its target.
    Symlink(&'a Path),
    /// A device or a FIFO: its type and permission bits as in `st_mode`, and its number.
    Special(u32, u64),
}

/// A tree that an archive is unpacked to.
///
/// Paths are relative to its root, which is empty, and without symlinks on the way: a last name that is one means itself. What is
/// made must not be there yet ([`io::ErrorKind::AlreadyExists`]).
pub(crate) trait Target {
    /// Returns what is at a path.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;
    /// Returns where a symlink leads to.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Returns what is in the root.
    fn top(&self) -> io::Result<Vec<(OsString, Metadata)>>;
    /// Returns whether a path leads to a directory; the next things will often be in it.
    fn enter(&mut self, path: &Path) -> io::Result<bool>;
    /// Makes a directory, to be described.
    fn directory(&mut self, path: &Path) -> io::Result<()>;
    /// Makes a file of what comes next of the archive.
    fn file(
        &mut self,
        path: &Path,
        content: &mut TarReader<'_>,
        attributes: &Attributes,
        mtime: (i64, u32),
    ) -> Result<(), Refusal>;
    /// Makes something else. It is given its owner and time, and no extended attributes.
    fn node(&mut self, path: &Path, node: Node<'_>, owner: (u32, u32), mtime: (i64, u32)) -> io::Result<()>;
    /// Gives something that is no directory another name.
    fn hard_link(&mut self, target: &Path, path: &Path) -> io::Result<()>;
    /// Gives a directory its owner, mode and extended attributes.
    fn describe(&mut self, directory: &Path, attributes: &Attributes) -> io::Result<()>;
    /// Gives a directory its time.
    fn set_mtime(&mut self, directory: &Path, mtime: (i64, u32)) -> io::Result<()>;
    /// Marks a directory as one that hides what lower layers have in it.
    fn hide_below(&mut self, directory: &Path) -> io::Result<()>;
    /// Removes something, a directory with everything in it.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// A directory of a file system.
///
/// Nothing is written outside it: paths are resolved by the kernel inside it, metadata goes to the open descriptor of what was just made.
pub(crate) struct Disk<'a> {
    root: &'a Root,
    /// The directory that was entered last.
    entered: Option<(PathBuf, Root)>,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, entered: None }
    }

    /// Does something to the last name of a path, in the directory that is open if it is there.
    fn within<T>(&self, path: &Path, work: impl Fn(&Root, &Path) -> io::Result<T>) -> io::Result<T> {
        match (&self.entered, path.parent(), path.file_name()) {
            (Some((entered, root)), Some(parent), Some(name)) if entered == parent => {
                work(root, Path::new(name))
            }
            _ => work(self.root, path),
        }
    }
}

impl Target for Disk<'_> {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.within(path, |root, name| root.metadata(name))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.root.read_link(path)
    }

    fn top(&self) -> io::Result<Vec<(OsString, Metadata)>> {
        self.root.entries("")
    }

    fn enter(&mut self, path: &Path) -> io::Result<bool> {
        let Some(root) = self.root.open_plain(path)? else { return Ok(false) };
        self.entered = Some((path.to_owned(), root));
        Ok(true)
    }

    fn directory(&mut self, path: &Path) -> io::Result<()> {
        self.within(path, |root, name| root.create_private_dir(name))
    }

    fn file(
        &mut self,
        path: &Path,
        content: &mut TarReader<'_>,
        attributes: &Attributes,
        mtime: (i64, u32),
    ) -> Result<(), Refusal> {
        let mut file = EarlyFile::new(self.within(path, |root, name| root.create_private(name))?);
        content.copy_content(&mut file)?;
        attributes.apply(file.get_ref())?;
        Ok(set_modified(file.get_ref(), mtime)?)
    }

    fn node(&mut self, path: &Path, node: Node<'_>, owner: (u32, u32), mtime: (i64, u32)) -> io::Result<()> {
        self.within(path, |root, name| {
            match node {
                Node::Symlink(target) => root.symlink(target, name)?,
                Node::Special(mode, number) => root.make_node(name, mode, number)?,
            }
            root.set_owner(name, owner.0, owner.1)?;
            if let Node::Special(mode, _) = node {
                // After the owner: changing it drops set-uid bits.
                root.set_mode(name, mode & 0o7777)?;
            }
            root.set_mtime(name, mtime)
        })
    }

    fn hard_link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        self.root.hard_link(target, path)
    }

    fn describe(&mut self, directory: &Path, attributes: &Attributes) -> io::Result<()> {
        let opened = if directory.as_os_str().is_empty() {
            self.root.open_dir(directory)?
        } else {
            self.within(directory, |root, name| root.open_dir(name))?
        };
        attributes.apply(&opened)
    }

    fn set_mtime(&mut self, directory: &Path, mtime: (i64, u32)) -> io::Result<()> {
        self.root.set_mtime(directory, mtime)
    }

    fn hide_below(&mut self, directory: &Path) -> io::Result<()> {
        self.root.set_xattr(directory, OPAQUE, b"y")
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        if self.entered.as_ref().is_some_and(|(entered, _)| entered.starts_with(path)) {
            self.entered = None;
        }
        match self.root.metadata(path)? {
            Some(found) if found.is_directory() => self.root.remove_all(path),
            _ => self.root.remove(path),
        }
    }
}
