//! The superblock and the device table, which together are in one block.
//!
//! Offsets and constants are those of `erofs_super_block` and `erofs_deviceslot` in Linux's
//! `fs/erofs/erofs_fs.h`; the checksum is that of `erofs_superblock_csum_verify` in `fs/erofs/super.c`.

use crate::crc32c;
use crate::kind::BLOCK_BYTES;
use crate::layout::Layout;
use crate::tree::Tree;

/// Where the superblock is (`EROFS_SUPER_OFFSET`).
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;

const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_SIZE_BITS: u8 = 9;
/// `SB_CHKSUM`, `MTIME`: the superblock has a checksum, inodes have times of modification.
const FEATURE_COMPAT: u32 = 0x1 | 0x2;
/// `CHUNKED_FILE`, `DEVICE_TABLE`.
const FEATURE_INCOMPAT: u32 = 0x4 | 0x8;
const DEVICE_SLOT_BYTES: usize = 128;
/// The device table's place in units of its slots: after the superblock, which newer kernels take for 144 bytes.
const DEVICE_TABLE_SLOT: u16 = 10;

/// The block at [`SUPERBLOCK_OFFSET`].
pub(crate) fn encode(layout: &Layout, uuid: [u8; 16]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    // The root is the first inode, at most a block after the place where inodes begin.
    let root_nid = u16::try_from(layout.nids[Tree::ROOT.index()]).unwrap_or(0);
    put(0, &MAGIC.to_le_bytes());
    put(8, &FEATURE_COMPAT.to_le_bytes());
    put(12, &[BLOCK_SIZE_BITS]);
    put(14, &root_nid.to_le_bytes());
    put(16, &(layout.order.len() as u64).to_le_bytes());
    put(36, &layout.blocks.to_le_bytes());
    put(48, &uuid);
    put(80, &FEATURE_INCOMPAT.to_le_bytes());
    put(86, &1_u16.to_le_bytes()); // extra_devices
    put(88, &DEVICE_TABLE_SLOT.to_le_bytes());
    let slot = usize::from(DEVICE_TABLE_SLOT) * DEVICE_SLOT_BYTES - SUPERBLOCK_OFFSET;
    put(slot + 64, &layout.tar_blocks.to_le_bytes());
    // Where the tar's blocks would be if it was appended to the index and the whole mounted as one device.
    put(slot + 68, &layout.blocks.to_le_bytes());
    let checksum = crc32c::update(!0, &block);
    block[4..8].copy_from_slice(&checksum.to_le_bytes());
    block
}
