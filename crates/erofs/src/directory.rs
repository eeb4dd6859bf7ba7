//! The content of directories: blocks of entries, each followed by the names.
//!
//! The format is `erofs_dirent` of Linux's `fs/erofs/erofs_fs.h`, see also "Directories" in
//! `Documentation/filesystems/erofs.rst`: in every block first all entries of twelve bytes, then their names
//! without separators; names ascend by their bytes, and only the last block may be shorter than 512 bytes.

use std::io;
use std::ops::Bound::{Excluded, Unbounded};

use crate::kind::{BLOCK_BYTES, BLOCK_SIZE, Directory};
use crate::node::NodeId;
use crate::tree::Tree;

const DIRENT_BYTES: usize = 12;

/// All entries with `.` and `..`, in order. Other names may come before, between and after these two.
fn entries(directory: &Directory, own: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
    const DOT: &[u8] = b".";
    const DOT_DOT: &[u8] = b"..";
    let range = |from, to| directory.entries.range::<[u8], _>((from, to)).map(|(name, &id)| (&**name, id));
    range(Unbounded, Excluded(DOT))
        .chain([(DOT, own)])
        .chain(range(Excluded(DOT), Excluded(DOT_DOT)))
        .chain([(DOT_DOT, directory.parent)])
        .chain(range(Excluded(DOT_DOT), Unbounded))
}

/// The number of bytes in a directory.
pub(crate) fn size(directory: &Directory, own: NodeId) -> u64 {
    let (mut full, mut used) = (0, 0);
    for (name, _) in entries(directory, own) {
        let bytes = DIRENT_BYTES + name.len();
        if used + bytes > BLOCK_BYTES {
            full += BLOCK_SIZE;
            used = 0;
        }
        used += bytes;
    }
    full + used as u64
}

/// Shows `visit` one block of a directory after the other, without the zeros that fill up a block.
pub(crate) fn for_each_block(
    (tree, nids): (&Tree, &[u32]),
    (directory, own): (&Directory, NodeId),
    visit: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut pending, mut used) = (Vec::new(), 0);
    for entry in entries(directory, own) {
        let bytes = DIRENT_BYTES + entry.0.len();
        if used + bytes > BLOCK_BYTES {
            visit(&block(tree, nids, &pending))?;
            pending.clear();
            used = 0;
        }
        used += bytes;
        pending.push(entry);
    }
    visit(&block(tree, nids, &pending))
}

fn block(tree: &Tree, nids: &[u32], entries: &[(&[u8], NodeId)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    let mut name_offset = entries.len() * DIRENT_BYTES;
    for &(name, id) in entries {
        let file_type = tree.node(id).kind.file_type();
        bytes.extend(u64::from(nids[id.index()]).to_le_bytes());
        // A block has 512 bytes, so offsets in it fit.
        bytes.extend(u16::try_from(name_offset).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend([file_type.dirent_type(), 0]);
        name_offset += name.len();
    }
    for (name, _) in entries {
        bytes.extend_from_slice(name);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Content, Kind};
    use crate::node::Attributes;

    /// Number, name and type of every entry of a block.
    fn parse(block: &[u8]) -> Vec<(u64, Vec<u8>, u8)> {
        let offset = |at: usize| usize::from(u16::from_le_bytes([block[at + 8], block[at + 9]]));
        let count = offset(0) / DIRENT_BYTES;
        (0..count)
            .map(|entry| {
                let at = entry * DIRENT_BYTES;
                let end = if entry + 1 < count { offset(at + DIRENT_BYTES) } else { block.len() };
                let nid = u64::from_le_bytes(block[at..at + 8].try_into().expect("has 8 bytes"));
                (nid, block[offset(at)..end].to_vec(), block[at + 10])
            })
            .collect()
    }

    fn blocks(tree: &Tree, path: &str) -> Vec<Vec<u8>> {
        let id = tree.metadata(path).expect("is there").inode;
        let Kind::Directory(directory) = &tree.node(id).kind else { panic!("{path} is no directory") };
        let nids: Vec<_> = (100..).take(tree.capacity()).collect();
        let mut blocks = Vec::new();
        for_each_block((tree, &nids), (directory, id), &mut |block| {
            blocks.push(block.to_vec());
            Ok(())
        })
        .expect("nothing fails");
        let total = (blocks.len() as u64 - 1) * BLOCK_SIZE + blocks[blocks.len() - 1].len() as u64;
        assert_eq!(size(directory, id), total);
        blocks
    }

    fn create(tree: &mut Tree, path: &str, content: Content) {
        let attributes = Attributes { mode: 0, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };
        tree.create(path, content, attributes).expect("is new");
    }

    #[test]
    fn the_entries_for_the_directory_itself_and_its_parent_are_where_they_sort() {
        let mut tree = Tree::new();
        create(&mut tree, "d", Content::Directory);
        for name in ["d/a", "d/..a", "d/.\u{1}", "d/!"] {
            create(&mut tree, name, Content::Fifo);
        }
        let expected: [(u64, &[u8], u8); 6] = [
            (105, b"!", 5),
            (101, b".", 2),
            (104, b".\x01", 5),
            (100, b"..", 2),
            (103, b"..a", 5),
            (102, b"a", 5),
        ];
        let expected: Vec<_> = expected.map(|(nid, name, kind)| (nid, name.to_vec(), kind)).into();
        assert_eq!(parse(&blocks(&tree, "d")[0]), expected);
        assert_eq!(
            parse(&blocks(&tree, "")[0]).iter().map(|entry| entry.0).collect::<Vec<_>>(),
            [100, 100, 101]
        );
    }

    #[test]
    fn blocks_are_filled_to_their_last_byte_but_not_beyond() {
        let mut tree = Tree::new();
        // `.` and `..` take 27 bytes, so that a name of 218 and one of 243 fill the first block.
        for (letter, length) in [("a", 218), ("b", 243), ("c", 255), ("d", 234)] {
            create(&mut tree, &letter.repeat(length), Content::Fifo);
        }
        let lengths: Vec<_> = blocks(&tree, "").iter().map(Vec::len).collect();
        assert_eq!(lengths, [512, 267, 246]);
    }
}
