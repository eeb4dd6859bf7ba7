//! Writes an index: the second of the two passes.

use std::io::{self, BufWriter, Write};

use crate::kind::{BLOCK_BYTES, BLOCK_SIZE, Kind};
use crate::layout::{CHUNK_INDEX_BYTES, DataLayout, Layout, Shape};
use crate::node::NodeId;
use crate::superblock::{self, SUPERBLOCK_OFFSET};
use crate::tree::Tree;
use crate::{directory, inode};

/// Writes an EROFS file system that has the tree's names and attributes, and whose files' contents are in the
/// tar. Returns the number of bytes written, a multiple of 512.
///
/// It is mounted with the index as its source and the tar as its `device`; Linux 6.12 and later do so straight
/// from regular files (the index on a file system with a page cache of its own: not tmpfs, not overlayfs). The tar
/// must stay as it is from then on. `tar_length` is its length in bytes, at most 512 × (2³² − 1); contents must be
/// padded to 512 bytes, as tar does. The `uuid` shows up as the file system's, e.g. for overlayfs to tell layers apart
/// (one of all zeros stands for none). Equal arguments give equal bytes.
///
/// A file that with its padding is not within the tar is `InvalidInput`; tar or index being too large for the format is `FileTooLarge`.
/// Nothing was written after these two.
///
/// Spec: Linux's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`; blocks have 512 bytes.
pub fn write_index(tree: &Tree, tar_length: u64, uuid: [u8; 16], out: &mut impl Write) -> io::Result<u64> {
    let layout = Layout::new(tree, tar_length)?;
    let mut writer = Writer { out: BufWriter::with_capacity(1 << 16, out), position: 0 };
    writer.put(&[0; SUPERBLOCK_OFFSET])?;
    writer.put(&superblock::encode(&layout, uuid))?;
    write_inodes(tree, &layout, &mut writer)?;
    writer.align(BLOCK_SIZE)?;
    for &id in &layout.order {
        write_blocks(tree, &layout, id, &mut writer)?;
    }
    writer.out.flush()?;
    Ok(writer.position)
}

/// Writes and counts.
struct Writer<W: Write> {
    out: BufWriter<W>,
    position: u64,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Writes zeros up to a position, which is never far.
    fn pad_to(&mut self, position: u64) -> io::Result<()> {
        while self.position < position {
            let zeros = [0; BLOCK_BYTES];
            let count = zeros.len().min(usize::try_from(position - self.position).unwrap_or(usize::MAX));
            self.put(&zeros[..count])?;
        }
        Ok(())
    }

    fn align(&mut self, unit: u64) -> io::Result<()> {
        self.pad_to(self.position.next_multiple_of(unit))
    }
}

fn write_inodes(tree: &Tree, layout: &Layout, writer: &mut Writer<impl Write>) -> io::Result<()> {
    let mut block = layout.first_block;
    for (number, &id) in (1..).zip(&layout.order) {
        let node = tree.node(id);
        let shape = Shape::new(node, id);
        writer.pad_to(layout.position(id))?;
        // `Layout::new` has checked that the last block's number fits.
        let first_block = if shape.blocks() == 0 { 0 } else { u32::try_from(block).unwrap_or(u32::MAX) };
        block += shape.blocks();
        writer.put(&inode::encode(node, &shape, first_block, number))?;
        if let Some(xattrs) = &node.xattrs {
            writer.put(&xattrs.encode())?;
        }
        match (shape.data, &node.kind) {
            (DataLayout::Chunks { bits, count }, Kind::File { first_block, .. }) => {
                writer.align(CHUNK_INDEX_BYTES)?;
                for index in inode::chunk_indexes(*first_block, bits, count) {
                    writer.put(&index)?;
                }
            }
            (DataLayout::Inline, _) => {
                for_each_block(tree, layout, id, &mut |number, bytes| match number {
                    tail if tail == shape.blocks() => writer.put(bytes),
                    _ => Ok(()),
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes those data of an inode that are in blocks of their own.
fn write_blocks(tree: &Tree, layout: &Layout, id: NodeId, writer: &mut Writer<impl Write>) -> io::Result<()> {
    let node = tree.node(id);
    if !matches!(node.kind, Kind::Directory(_) | Kind::Symlink(_)) {
        return Ok(());
    }
    let blocks = Shape::new(node, id).blocks();
    if blocks == 0 {
        return Ok(());
    }
    for_each_block(tree, layout, id, &mut |number, bytes| {
        if number < blocks {
            writer.put(bytes)?;
            writer.align(BLOCK_SIZE)?;
        }
        Ok(())
    })
}

/// Shows `visit` the data of a directory or symbolic link block by block, each with its number.
fn for_each_block(
    tree: &Tree,
    layout: &Layout,
    id: NodeId,
    visit: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut numbers = 0..;
    let mut numbered = |bytes: &[u8]| numbers.next().map_or(Ok(()), |number| visit(number, bytes));
    match &tree.node(id).kind {
        Kind::Directory(content) => {
            directory::for_each_block((tree, &layout.nids), (content, id), &mut numbered)
        }
        Kind::Symlink(target) => target.chunks(BLOCK_BYTES).try_for_each(numbered),
        _ => Ok(()),
    }
}
