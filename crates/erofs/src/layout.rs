//! Where everything goes in the index: the first of the two passes.
//!
//! ```text
//! byte 0      zeros                     (EROFS leaves 1024 bytes to boot loaders)
//!      1024   superblock and device table
//!      1536   inodes, the root first, children of one directory side by side; each at a multiple of 32,
//!             followed by its extended attributes and its chunk indexes or inline data
//!      …      blocks of directories and symbolic links that are too long to be inline, in inode order
//! ```
//!
//! All layouts are described in Linux's `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`.

use std::io::{self, ErrorKind};

use crate::directory;
use crate::kind::{BLOCK_SIZE, Kind};
use crate::node::{Node, NodeId};
use crate::tree::Tree;

/// Where the inodes begin; a multiple of [`SLOT_BYTES`], and early enough for the 16 bits of the root's number.
pub(crate) const FIRST_INODE: u64 = 1536;
/// Inodes are numbered by their position in units of this size, counted from the start of the index.
pub(crate) const SLOT_BYTES: u64 = 32;
/// Bytes of `erofs_inode_extended`.
pub(crate) const INODE_BYTES: usize = 64;
/// Bytes of `erofs_inode_chunk_index`, to which the first of an inode is aligned too.
pub(crate) const CHUNK_INDEX_BYTES: u64 = 8;
/// A chunk has at most 2^31 blocks (`EROFS_CHUNK_FORMAT_BLKBITS_MASK`).
const CHUNK_BITS_MAX: u32 = 31;

/// How the data of an inode are stored (`i_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataLayout {
    /// In blocks of the index, or there are none.
    Plain,
    /// Full blocks as in [`Self::Plain`], the rest right after inode and extended attributes.
    Inline,
    /// In the tar, in `count` chunks of 2^`bits` blocks each.
    Chunks { bits: u16, count: u64 },
}

/// The size of an inode and of what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of data as in `i_size`.
    pub(crate) size: u64,
    /// Bytes of inode and extended attributes.
    pub(crate) header_bytes: u64,
    pub(crate) data: DataLayout,
}

impl Shape {
    pub(crate) fn new(node: &Node, id: NodeId) -> Self {
        let xattr_bytes = node.xattrs.as_ref().map_or(0, |xattrs| xattrs.encoded_bytes() as u64);
        let header_bytes = INODE_BYTES as u64 + xattr_bytes;
        let (size, data) = match &node.kind {
            Kind::File { size, .. } => (*size, chunks(*size)),
            Kind::Directory(directory) => flat(directory::size(directory, id), header_bytes),
            Kind::Symlink(target) => flat(target.len() as u64, header_bytes),
            Kind::Character(_) | Kind::Block(_) | Kind::Fifo | Kind::Socket => (0, DataLayout::Plain),
        };
        Self { size, header_bytes, data }
    }

    /// Blocks of the index that hold data of this inode.
    pub(crate) fn blocks(&self) -> u64 {
        match self.data {
            DataLayout::Plain => self.size.div_ceil(BLOCK_SIZE),
            DataLayout::Inline => self.size / BLOCK_SIZE,
            DataLayout::Chunks { .. } => 0,
        }
    }

    /// The first position at or after `from` where the inode can be: inline data must not cross a block's end.
    fn position(&self, from: u64) -> u64 {
        let position = from.next_multiple_of(SLOT_BYTES);
        let tail = self.size % BLOCK_SIZE;
        let tail_offset = (position + self.header_bytes) % BLOCK_SIZE;
        if self.data == DataLayout::Inline && tail_offset + tail > BLOCK_SIZE {
            // `flat` has chosen inline only where the tail fits at the start of a block, give or take a slot.
            position + (BLOCK_SIZE - tail_offset).next_multiple_of(SLOT_BYTES)
        } else {
            position
        }
    }

    /// The end of an inode and its body.
    fn end(&self, position: u64) -> u64 {
        let header_end = position + self.header_bytes;
        match self.data {
            DataLayout::Plain => header_end,
            DataLayout::Inline => header_end + self.size % BLOCK_SIZE,
            DataLayout::Chunks { count, .. } => {
                header_end.next_multiple_of(CHUNK_INDEX_BYTES) + count * CHUNK_INDEX_BYTES
            }
        }
    }
}

/// Chunks as large as the file where possible, so that one index does.
fn chunks(size: u64) -> DataLayout {
    let blocks = size.div_ceil(BLOCK_SIZE);
    if blocks == 0 {
        return DataLayout::Plain;
    }
    let bits = blocks.next_power_of_two().trailing_zeros().min(CHUNK_BITS_MAX);
    DataLayout::Chunks { bits: u16::try_from(bits).unwrap_or(0), count: blocks.div_ceil(1 << bits) }
}

/// Inline where the last, incomplete block fits behind a header at the right position.
fn flat(size: u64, header_bytes: u64) -> (u64, DataLayout) {
    let tail = size % BLOCK_SIZE;
    let fits = header_bytes % SLOT_BYTES + tail <= BLOCK_SIZE;
    (size, if tail > 0 && fits { DataLayout::Inline } else { DataLayout::Plain })
}

/// The positions of everything in an index.
pub(crate) struct Layout {
    /// All inodes in the order of their positions.
    pub(crate) order: Vec<NodeId>,
    /// The EROFS inode number of every node of the tree, 0 for one without a name.
    pub(crate) nids: Vec<u32>,
    /// The first block after the inodes.
    pub(crate) first_block: u64,
    /// Blocks in the index.
    pub(crate) blocks: u32,
    /// Blocks in the tar, the last of which may be incomplete.
    pub(crate) tar_blocks: u32,
}

impl Layout {
    /// Places all inodes of a tree; fails if numbers of 32 bits do not do, or a file is not within the tar.
    pub(crate) fn new(tree: &Tree, tar_length: u64) -> io::Result<Self> {
        let tar_blocks = block_count(tar_length.div_ceil(BLOCK_SIZE), "tar")?;
        let mut order = vec![Tree::ROOT];
        let mut nids = vec![0; tree.capacity()];
        let (mut end, mut data_blocks, mut next) = (FIRST_INODE, 0, 0);
        // Breadth first, and numbered when queued, so that hard links get one number.
        let mut place = |id: NodeId, nids: &mut [u32]| {
            let node = tree.node(id);
            check_content(node, tar_length)?;
            let shape = Shape::new(node, id);
            let position = shape.position(end);
            nids[id.index()] = u32::try_from(position / SLOT_BYTES).map_err(|_wider| too_large("inodes"))?;
            end = shape.end(position);
            data_blocks += shape.blocks();
            Ok::<(), io::Error>(())
        };
        place(Tree::ROOT, &mut nids)?;
        while let Some(&id) = order.get(next) {
            next += 1;
            let Kind::Directory(directory) = &tree.node(id).kind else {
                continue;
            };
            for &child in directory.entries.values() {
                if nids[child.index()] == 0 {
                    place(child, &mut nids)?;
                    order.push(child);
                }
            }
        }
        let first_block = end.div_ceil(BLOCK_SIZE);
        let blocks = block_count(first_block + data_blocks, "index")?;
        Ok(Self { order, nids, first_block, blocks, tar_blocks })
    }

    /// The position of a node's inode in bytes.
    pub(crate) fn position(&self, id: NodeId) -> u64 {
        u64::from(self.nids[id.index()]) * SLOT_BYTES
    }
}

/// Checks that a file's blocks are within the tar, the last one in full: Linux 6.18 fails with EIO to read bytes of
/// a block that the backing file ends in.
fn check_content(node: &Node, tar_length: u64) -> io::Result<()> {
    let Kind::File { first_block, size } = node.kind else {
        return Ok(());
    };
    // `Kind::new` has seen to it that this sum is far from overflowing.
    let offset = u64::from(first_block) * BLOCK_SIZE;
    if offset + size.next_multiple_of(BLOCK_SIZE) > tar_length {
        let text = format!(
            "a file of {size} bytes at offset {offset}, padded to blocks, is not within the tar's {tar_length} bytes"
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// Checks that every block has an address of 32 bits; the address of all ones stands for a hole.
fn block_count(blocks: u64, what: &str) -> io::Result<u32> {
    u32::try_from(blocks).map_err(|_wider| too_large(what))
}

fn too_large(what: &str) -> io::Error {
    let text = format!("the {what} would need block or inode numbers of more than 32 bits");
    io::Error::new(ErrorKind::FileTooLarge, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_as_few_chunks_as_the_format_allows() {
        let tebibyte = 1 << 40;
        let cases = [
            (1, Some((0, 1))),
            (512, Some((0, 1))),
            (513, Some((1, 1))),
            (5000, Some((4, 1))),
            (tebibyte, Some((31, 1))),
            (tebibyte + 1, Some((31, 2))),
            (2 * tebibyte - 512, Some((31, 2))),
            (0, None),
        ];
        for (size, expected) in cases {
            let expected =
                expected.map_or(DataLayout::Plain, |(bits, count)| DataLayout::Chunks { bits, count });
            assert_eq!(chunks(size), expected, "{size}");
        }
    }

    #[test]
    fn inline_data_never_cross_a_block_boundary_wherever_the_inode_has_to_go() {
        for header_bytes in (64..1200).step_by(4) {
            for size in 1..1100 {
                let (size, data) = flat(size, header_bytes);
                let shape = Shape { size, header_bytes, data };
                for from in (1536..2048).step_by(20) {
                    let position = shape.position(from);
                    assert!(position >= from && position < from + 544 && position.is_multiple_of(SLOT_BYTES));
                    let (start, end) = (position + header_bytes, shape.end(position));
                    let inline = data == DataLayout::Inline;
                    assert!(!inline || start / BLOCK_SIZE == (end - 1) / BLOCK_SIZE, "{shape:?} {from}");
                }
            }
        }
    }

    #[test]
    fn a_tar_of_2_tebibytes_or_more_is_refused() {
        let limit = u64::from(u32::MAX) * BLOCK_SIZE;
        for (length, expected) in [(0, true), (limit, true), (limit + 1, false), (u64::MAX, false)] {
            assert_eq!(Layout::new(&Tree::new(), length).is_ok(), expected, "{length}");
        }
    }
}
