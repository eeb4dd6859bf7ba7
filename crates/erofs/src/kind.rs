//! The content of a node: what a file is, and the limits of that.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use crate::node::NodeId;
use crate::xattr::invalid;

/// Bytes in a block: the unit in which tar aligns contents and in which the index refers to them.
pub(crate) const BLOCK_BYTES: usize = 512;
/// [`BLOCK_BYTES`] for computing with positions.
pub(crate) const BLOCK_SIZE: u64 = BLOCK_BYTES as u64;
/// The longest symbolic-link target, `PATH_MAX` of Linux without its NUL.
const TARGET_MAX: usize = 4095;

/// What to create, with what only this kind of file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An empty directory.
    Directory,
    /// A regular file whose bytes are in the tar.
    File {
        /// Where the bytes begin in the tar: a multiple of 512 (not looked at if `size` is 0).
        offset: u64,
        /// Number of bytes.
        size: u64,
    },
    /// A symbolic link to this target, 1 to 4095 bytes without a NUL.
    Symlink(Vec<u8>),
    /// A character device, its number composed as by makedev(3) of glibc.
    Character(u64),
    /// A block device, its number composed as by makedev(3) of glibc.
    Block(u64),
    /// A named pipe.
    Fifo,
    /// A UNIX-domain socket.
    Socket,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A UNIX-domain socket.
    Socket,
}

impl FileType {
    /// The `S_IF…` bits of `st_mode`.
    pub(crate) fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::Character => 0o020_000,
            Self::Directory => 0o040_000,
            Self::Block => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The `FT_…` number in a directory entry (Linux `include/linux/fs_types.h`).
    pub(crate) fn dirent_type(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::Character => 3,
            Self::Block => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// A directory in memory.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The directory that this one is in; the root is in itself.
    pub(crate) parent: NodeId,
    /// Everything in it but `.` and `..`, in the order of the bytes of the names.
    pub(crate) entries: BTreeMap<Box<[u8]>, NodeId>,
}

/// The checked and compact form of [`Content`].
#[derive(Debug)]
pub(crate) enum Kind {
    Directory(Box<Directory>),
    File { first_block: u32, size: u64 },
    Symlink(Box<[u8]>),
    Character(u32),
    Block(u32),
    Fifo,
    Socket,
}

impl Kind {
    pub(crate) fn new(content: Content, parent: NodeId) -> io::Result<Self> {
        Ok(match content {
            Content::Directory => Self::Directory(Box::new(Directory { parent, entries: BTreeMap::new() })),
            Content::File { offset, size } => Self::File { first_block: first_block(offset, size)?, size },
            Content::Symlink(target) => Self::Symlink(checked_target(target)?),
            Content::Character(rdev) => Self::Character(encode_device(rdev)?),
            Content::Block(rdev) => Self::Block(encode_device(rdev)?),
            Content::Fifo => Self::Fifo,
            Content::Socket => Self::Socket,
        })
    }

    pub(crate) fn file_type(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::Directory,
            Self::File { .. } => FileType::File,
            Self::Symlink(_) => FileType::Symlink,
            Self::Character(_) => FileType::Character,
            Self::Block(_) => FileType::Block,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }
}

/// The tar block at which a file's bytes begin; 0 for an empty file.
fn first_block(offset: u64, size: u64) -> io::Result<u32> {
    if size == 0 {
        return Ok(0);
    }
    if !offset.is_multiple_of(BLOCK_SIZE) {
        return Err(invalid(format!("the content offset {offset} is no multiple of {BLOCK_SIZE}")));
    }
    let limit = u64::from(u32::MAX) * BLOCK_SIZE;
    match (u32::try_from(offset / BLOCK_SIZE), offset.checked_add(size)) {
        (Ok(block), Some(end)) if end <= limit => Ok(block),
        _ => Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!(
                "{size} bytes at offset {offset} go beyond the {limit} bytes that block numbers can reach"
            ),
        )),
    }
}

fn checked_target(target: Vec<u8>) -> io::Result<Box<[u8]>> {
    if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
        let length = target.len();
        return Err(invalid(format!(
            "a symbolic link's target has 1 to {TARGET_MAX} bytes and no NUL, not these {length} bytes"
        )));
    }
    Ok(target.into_boxed_slice())
}

/// Checks a device number of glibc, whose lower 32 bits are the form that Linux stores (12 bits of major and
/// 20 bits of minor number; `new_encode_dev` in `include/linux/kdev_t.h`).
fn encode_device(rdev: u64) -> io::Result<u32> {
    u32::try_from(rdev).map_err(|_wider| {
        invalid(format!("the device number {rdev:#x} exceeds Linux's 12 bits of major, 20 of minor"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_outside_the_limits_are_refused() {
        let limit = u64::from(u32::MAX) * BLOCK_SIZE;
        let file = |offset, size| Content::File { offset, size };
        let cases = [
            (file(512, 1), None),
            (file(513, 1), Some(ErrorKind::InvalidInput)),
            (file(513, 0), None),
            (file(u64::MAX, 0), None),
            (file(0, limit), None),
            (file(limit - 512, 512), None),
            (file(limit - 512, 513), Some(ErrorKind::FileTooLarge)),
            (file(limit, 1), Some(ErrorKind::FileTooLarge)),
            (file(512, u64::MAX), Some(ErrorKind::FileTooLarge)),
            (file(u64::MAX - 511, 511), Some(ErrorKind::FileTooLarge)),
            (file(u64::MAX - 511, u64::MAX), Some(ErrorKind::FileTooLarge)),
            (Content::Symlink(vec![]), Some(ErrorKind::InvalidInput)),
            (Content::Symlink(vec![b'a'; 4095]), None),
            (Content::Symlink(vec![b'a'; 4096]), Some(ErrorKind::InvalidInput)),
            (Content::Symlink(b"a\0b".to_vec()), Some(ErrorKind::InvalidInput)),
            (Content::Character(0), None),
            (Content::Block(0xffff_ffff), None),
            (Content::Block(0x1_0000_0000), Some(ErrorKind::InvalidInput)),
        ];
        for (content, expected) in cases {
            let shown = format!("{content:?}");
            let seen = Kind::new(content, NodeId(0)).err().map(|error| error.kind());
            assert_eq!(seen, expected, "{shown:.80}");
        }
    }
}
