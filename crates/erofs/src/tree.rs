//! A file tree in memory, changed by path as a file system would be.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::kind::{Content, Directory, Kind};
use crate::node::{Attributes, Metadata, Node, NodeId};

/// The longest name in a directory, `NAME_MAX` of Linux and `EROFS_NAME_LEN`.
const NAME_MAX: usize = 255;

/// A file tree. Its root directory is always there (at first mode 0755, owned by root, from 1970).
///
/// Paths are relative to the root (`a/b/c`, the root itself is empty) and taken literally: a symbolic link on
/// the way is not followed but is no directory. A path with `..` or a leading slash is an error of kind
/// `InvalidInput`. Otherwise errors have the kind that Linux would give: `NotFound`, `NotADirectory`,
/// `InvalidFilename` for a name of more than 255 bytes, and so on.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// Returns a tree with nothing but the root directory.
    pub fn new() -> Self {
        let entries = BTreeMap::new();
        let mut root = Node::vacant();
        root.kind = Kind::Directory(Box::new(Directory { parent: Self::ROOT, entries }));
        (root.mode, root.links) = (0o755, 2);
        Self { nodes: vec![root], free: Vec::new() }
    }

    /// Returns what is at a path; `None` if there is nothing, for whatever reason.
    pub fn lookup(&self, path: impl AsRef<Path>) -> Option<Metadata> {
        self.metadata(path).ok()
    }

    /// Returns what is at a path. Where there is nothing, that is `NotFound` or `NotADirectory`.
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        self.find(path.as_ref()).map(|id| self.node(id).metadata(id))
    }

    /// Creates a file of any kind.
    ///
    /// It must not exist (`AlreadyExists`) and its parent must (`NotFound`, `NotADirectory`). A content or an attribute that cannot be is
    /// `InvalidInput`, `FileTooLarge` or `Unsupported`. Nothing is created after an error.
    pub fn create(
        &mut self,
        path: impl AsRef<Path>,
        content: Content,
        attributes: Attributes,
    ) -> io::Result<NodeId> {
        let (parent, name) = self.vacant_place(path.as_ref())?;
        let node = Node::new(Kind::new(content, parent)?, attributes)?;
        let subdirectory = matches!(node.kind, Kind::Directory(_));
        let id = self.allocate(node)?;
        self.directory_mut(parent)?.entries.insert(name.into(), id);
        self.node_mut(parent).links += u32::from(subdirectory);
        Ok(id)
    }

    /// Gives the file at `from`, which is no directory (`PermissionDenied`), a further name, which must not exist (`AlreadyExists`).
    pub fn hard_link(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let id = self.find(from)?;
        if matches!(self.node(id).kind, Kind::Directory(_)) {
            return Err(error(ErrorKind::PermissionDenied, from, "is a directory, which has no hard links"));
        }
        let (parent, name) = self.vacant_place(to)?;
        let links = self.node(id).links.checked_add(1);
        self.node_mut(id).links =
            links.ok_or_else(|| error(ErrorKind::TooManyLinks, from, "has 2^32 - 1 links"))?;
        self.directory_mut(parent)?.entries.insert(name.into(), id);
        Ok(())
    }

    /// Removes a name, which may be that of an empty directory (`DirectoryNotEmpty`), but not the root (`ResourceBusy`).
    pub fn remove(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        match &self.node(self.find(path)?).kind {
            Kind::Directory(directory) if !directory.entries.is_empty() => {
                Err(error(ErrorKind::DirectoryNotEmpty, path, "is a directory that is not empty"))
            }
            _ => self.remove_all(path),
        }
    }

    /// Removes a name and, if it is a directory, all that is in it; not the root (`ResourceBusy`).
    pub fn remove_all(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let id = self.find(path)?;
        let (parent, name) = self.place(path)?;
        let name = name.ok_or_else(|| error(ErrorKind::ResourceBusy, path, "is the root directory"))?;
        self.directory_mut(parent)?.entries.remove(name);
        self.node_mut(parent).links -= u32::from(matches!(self.node(id).kind, Kind::Directory(_)));
        // No recursion: a hostile archive may nest directories deeper than a stack allows.
        let mut unlinked = vec![id];
        while let Some(id) = unlinked.pop() {
            let node = self.node_mut(id);
            if let Kind::Directory(directory) = &mut node.kind {
                unlinked.extend(std::mem::take(&mut directory.entries).into_values());
                node.links = 0;
            } else {
                node.links -= 1;
            }
            if node.links == 0 {
                *node = Node::vacant();
                self.free.push(id);
            }
        }
        Ok(())
    }

    /// Replaces all attributes, the extended ones included. If one of them cannot be, none is changed.
    pub fn set_attributes(&mut self, path: impl AsRef<Path>, attributes: Attributes) -> io::Result<()> {
        self.find_mut(path.as_ref())?.set_attributes(attributes)
    }

    /// Sets the permissions, of which bits outside 07777 are ignored.
    pub fn set_mode(&mut self, path: impl AsRef<Path>, mode: u16) -> io::Result<()> {
        self.find_mut(path.as_ref())?.mode = mode & 0o7777;
        Ok(())
    }

    /// Sets owner and group.
    pub fn set_owner(&mut self, path: impl AsRef<Path>, uid: u32, gid: u32) -> io::Result<()> {
        let node = self.find_mut(path.as_ref())?;
        (node.uid, node.gid) = (uid, gid);
        Ok(())
    }

    /// Sets the modification time: seconds since 1970 and nanoseconds, fewer than 1,000,000,000 of them (`InvalidInput`).
    pub fn set_mtime(&mut self, path: impl AsRef<Path>, mtime: (i64, u32)) -> io::Result<()> {
        self.find_mut(path.as_ref())?.set_mtime(mtime)
    }

    /// Sets one extended attribute; its name includes the namespace (`user.overlay.opaque`).
    ///
    /// A namespace that EROFS does not know is `Unsupported`. A name, a value (of more than 65535 bytes) or a sum of all attributes that is
    /// too long is `InvalidInput`.
    pub fn set_xattr(&mut self, path: impl AsRef<Path>, name: &[u8], value: &[u8]) -> io::Result<()> {
        let node = self.find_mut(path.as_ref())?;
        let mut xattrs = node.xattrs.take().unwrap_or_default();
        let result = xattrs.set(name.to_vec(), value.to_vec());
        node.xattrs = Some(xattrs).filter(|xattrs| !xattrs.as_slice().is_empty());
        result
    }

    /// Returns the extended attributes, names and values, sorted by name.
    pub fn xattrs(&self, path: impl AsRef<Path>) -> io::Result<&[(Vec<u8>, Vec<u8>)]> {
        let node = self.node(self.find(path.as_ref())?);
        Ok(node.xattrs.as_ref().map_or(&[], |xattrs| xattrs.as_slice()))
    }

    /// Returns the target of a symbolic link; of anything else it is `InvalidInput`.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<&[u8]> {
        let path = path.as_ref();
        match &self.node(self.find(path)?).kind {
            Kind::Symlink(target) => Ok(target),
            _ => Err(error(ErrorKind::InvalidInput, path, "is no symbolic link")),
        }
    }

    /// Returns what is in a directory, without `.` and `..`, in the order of the bytes of the names; of anything else it is
    /// `NotADirectory`.
    pub fn entries(&self, path: impl AsRef<Path>) -> io::Result<impl Iterator<Item = (&OsStr, Metadata)>> {
        let path = path.as_ref();
        let Kind::Directory(directory) = &self.node(self.find(path)?).kind else {
            return Err(not_a_directory(path));
        };
        let entries = directory.entries.iter();
        Ok(entries.map(|(name, &id)| (OsStr::from_bytes(name), self.node(id).metadata(id))))
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// One more than the highest index of a node.
    pub(crate) fn capacity(&self) -> usize {
        self.nodes.len()
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    fn directory_mut(&mut self, id: NodeId) -> io::Result<&mut Directory> {
        match &mut self.node_mut(id).kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn allocate(&mut self, node: Node) -> io::Result<NodeId> {
        if let Some(id) = self.free.pop() {
            *self.node_mut(id) = node;
            return Ok(id);
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_wider| {
            io::Error::new(ErrorKind::StorageFull, "the tree has 2^32 files, no more fit")
        })?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    fn find_mut(&mut self, path: &Path) -> io::Result<&mut Node> {
        self.find(path).map(|id| self.node_mut(id))
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let (parent, name) = self.place(path)?;
        match name {
            None => Ok(parent),
            Some(name) => self.child(parent, name, path),
        }
    }

    /// Where something new can be: its directory, and its name, which is not there yet.
    fn vacant_place<'p>(&self, path: &'p Path) -> io::Result<(NodeId, &'p [u8])> {
        if let (parent, Some(name)) = self.place(path)? {
            match self.child(parent, name, path) {
                Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok((parent, name)),
                Err(other) => return Err(other),
                Ok(_) => {}
            }
        }
        Err(error(ErrorKind::AlreadyExists, path, "exists"))
    }

    /// Splits a path into its directory and the name in it, which the root has not.
    fn place<'p>(&self, path: &'p Path) -> io::Result<(NodeId, Option<&'p [u8]>)> {
        let mut place = (Self::ROOT, None);
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name.as_bytes(),
                Component::CurDir => continue,
                _ => return Err(error(ErrorKind::InvalidInput, path, "is no plain relative path")),
            };
            if let (parent, Some(name)) = place {
                place.0 = self.child(parent, name, path)?;
            }
            place.1 = Some(name);
        }
        Ok(place)
    }

    fn child(&self, parent: NodeId, name: &[u8], path: &Path) -> io::Result<NodeId> {
        let Kind::Directory(directory) = &self.node(parent).kind else {
            return Err(not_a_directory(path));
        };
        if name.len() > NAME_MAX {
            return Err(error(ErrorKind::InvalidFilename, path, "has a name of more than 255 bytes"));
        }
        if name.contains(&0) {
            return Err(error(ErrorKind::InvalidInput, path, "contains a NUL"));
        }
        let child = directory.entries.get(name).copied();
        child.ok_or_else(|| error(ErrorKind::NotFound, path, "does not exist"))
    }
}

fn not_a_directory(path: &Path) -> io::Error {
    error(ErrorKind::NotADirectory, path, "is not, or goes through what is not, a directory")
}

/// An error whose text shows the path, shortened, as it may be megabytes long.
fn error(kind: ErrorKind, path: &Path, text: &str) -> io::Error {
    io::Error::new(kind, format!("{:.300} {text}", format!("{path:?}")))
}
