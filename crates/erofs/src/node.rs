//! A node of the tree: content and attributes.

use std::io;

use crate::kind::{FileType, Kind};
use crate::xattr::{Xattrs, invalid};

/// Names a node of a [`Tree`](crate::Tree), as an inode number does; of a removed node it may be given out anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The attributes that every kind of file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions with set-user-ID, set-group-ID and sticky bit; bits outside 07777 are ignored.
    pub mode: u16,
    /// User ID of the owner.
    pub uid: u32,
    /// Group ID of the owner.
    pub gid: u32,
    /// Time of last modification: seconds since 1970, and nanoseconds (below 1,000,000,000) after that second.
    pub mtime: (i64, u32),
    /// Extended attributes, names with their namespace; of two with one name the later counts.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What stat(2) would tell about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The node itself; names with the same one are hard links of each other.
    pub inode: NodeId,
    /// The kind of file.
    pub file_type: FileType,
    /// Permissions with set-user-ID, set-group-ID and sticky bit, at most 07777.
    pub mode: u16,
    /// User ID of the owner.
    pub uid: u32,
    /// Group ID of the owner.
    pub gid: u32,
    /// Time of last modification: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes in a file or in the target of a symbolic link, otherwise 0.
    pub size: u64,
    /// Device number as composed by makedev(3) of glibc, 0 for what is no device.
    pub rdev: u64,
    /// Number of names; for a directory two more than it has subdirectories.
    pub links: u32,
}

/// One inode. Kept small (64 bytes), as a layer may have hundreds of thousands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) mode: u16,
    pub(crate) xattrs: Option<Box<Xattrs>>,
}

impl Node {
    pub(crate) fn new(kind: Kind, attributes: Attributes) -> io::Result<Self> {
        let links = if matches!(kind, Kind::Directory(_)) { 2 } else { 1 };
        let mut node =
            Self { kind, seconds: 0, nanoseconds: 0, uid: 0, gid: 0, links, mode: 0, xattrs: None };
        node.set_attributes(attributes)?;
        Ok(node)
    }

    /// What is left where a node was removed.
    pub(crate) fn vacant() -> Self {
        let kind = Kind::Fifo;
        Self { kind, seconds: 0, nanoseconds: 0, uid: 0, gid: 0, links: 0, mode: 0, xattrs: None }
    }

    /// Replaces all attributes, or none if one is invalid.
    pub(crate) fn set_attributes(&mut self, attributes: Attributes) -> io::Result<()> {
        let xattrs = Xattrs::new(attributes.xattrs)?;
        self.set_mtime(attributes.mtime)?;
        self.xattrs = xattrs;
        self.mode = attributes.mode & 0o7777;
        (self.uid, self.gid) = (attributes.uid, attributes.gid);
        Ok(())
    }

    pub(crate) fn set_mtime(&mut self, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        if nanoseconds >= 1_000_000_000 {
            return Err(invalid(format!("{nanoseconds} nanoseconds are a second or more")));
        }
        (self.seconds, self.nanoseconds) = (seconds, nanoseconds);
        Ok(())
    }

    pub(crate) fn metadata(&self, inode: NodeId) -> Metadata {
        let (size, rdev) = match &self.kind {
            Kind::File { size, .. } => (*size, 0),
            Kind::Symlink(target) => (target.len() as u64, 0),
            Kind::Character(device) | Kind::Block(device) => (0, u64::from(*device)),
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => (0, 0),
        };
        Metadata {
            inode,
            file_type: self.kind.file_type(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: (self.seconds, self.nanoseconds),
            size,
            rdev,
            links: self.links,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_takes_64_bytes_of_memory() {
        assert_eq!(size_of::<Node>(), 64);
    }
}
