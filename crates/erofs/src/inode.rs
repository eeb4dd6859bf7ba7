//! The bytes of an inode and its chunk indexes.
//!
//! Offsets and constants are those of `erofs_inode_extended`, `erofs_inode_chunk_info` and
//! `erofs_inode_chunk_index` in Linux's `fs/erofs/erofs_fs.h`.

use crate::kind::Kind;
use crate::layout::{DataLayout, INODE_BYTES, Shape};
use crate::node::Node;

/// `EROFS_INODE_LAYOUT_EXTENDED`, the lowest bit of `i_format`; the data layout follows.
const EXTENDED: u16 = 1;
/// `EROFS_CHUNK_FORMAT_INDEXES`: chunks have indexes of eight bytes, which name a device.
const CHUNK_INDEXES: u16 = 0x20;
/// The tar is the first device of the device table.
const TAR_DEVICE: u16 = 1;

/// An extended inode; `first_block` is the index's block where its data are, if it has any there, and
/// `number` counts inodes, for programs with inode numbers of 32 bits.
pub(crate) fn encode(node: &Node, shape: &Shape, first_block: u32, number: u32) -> [u8; INODE_BYTES] {
    let mut inode = [0; INODE_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| inode[offset..offset + bytes.len()].copy_from_slice(bytes);
    let (format, union) = match (shape.data, &node.kind) {
        (DataLayout::Plain, Kind::Character(device) | Kind::Block(device)) => (0_u16, *device),
        (DataLayout::Plain, _) => (0, first_block),
        (DataLayout::Inline, _) => (2, first_block),
        (DataLayout::Chunks { bits, .. }, _) => (4, u32::from(CHUNK_INDEXES | bits)),
    };
    put(0, &(EXTENDED | format << 1).to_le_bytes());
    put(2, &xattr_count(shape).to_le_bytes());
    put(4, &(node.kind.file_type().mode_bits() | node.mode).to_le_bytes());
    put(8, &shape.size.to_le_bytes());
    put(16, &union.to_le_bytes());
    put(20, &number.to_le_bytes());
    put(24, &node.uid.to_le_bytes());
    put(28, &node.gid.to_le_bytes());
    put(32, &node.seconds.to_le_bytes());
    put(40, &node.nanoseconds.to_le_bytes());
    put(44, &node.links.to_le_bytes());
    inode
}

/// `i_xattr_icount`: 0 without extended attributes, otherwise 1 for their header of 12 bytes and 1 for every
/// four bytes more. The limits in `xattr.rs` keep it within 16 bits.
fn xattr_count(shape: &Shape) -> u16 {
    match shape.header_bytes - INODE_BYTES as u64 {
        0 => 0,
        bytes => u16::try_from((bytes - 12) / 4 + 1).unwrap_or(u16::MAX),
    }
}

/// The indexes of a file's chunks, which follow each other in the tar.
pub(crate) fn chunk_indexes(first_block: u32, bits: u16, count: u64) -> impl Iterator<Item = [u8; 8]> {
    (0..count).map(move |chunk| {
        // All of the file's blocks have addresses of 32 bits, as `Kind::new` has checked.
        let address = u32::try_from(u64::from(first_block) + (chunk << bits)).unwrap_or(u32::MAX);
        let mut index = [0; 8];
        index[2..4].copy_from_slice(&TAR_DEVICE.to_le_bytes());
        index[4..8].copy_from_slice(&address.to_le_bytes());
        index
    })
}
