//! A tree under test, a plain model of what it should be, and the tar with the contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use shipway_erofs::{Attributes, Content, FileType, Tree, write_index};
use shipway_linux::{INDEX_DATA, Root, filesystem_magic};
use shipway_testkit::{Dice, Need, require};
use tempfile::TempDir;

use crate::seen::{Seen, look, path_of};

/// File systems whose files are no sources of mounts: tmpfs, ramfs, overlayfs.
const NO_SOURCES: [u32; 3] = [0x0102_1994, 0x8584_58f6, 0x794c_7630];

/// How much is compared at once.
const PIECE: u64 = 1 << 20;

/// Attributes like those of many files.
pub(crate) fn attributes() -> Attributes {
    Attributes { mode: 0o644, uid: 0, gid: 0, mtime: (1_700_000_000, 0), xattrs: Vec::new() }
}

/// The same with extended attributes.
pub(crate) fn with_xattrs(xattrs: &[(&str, &[u8])]) -> Attributes {
    let xattrs = xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    Attributes { xattrs, ..attributes() }
}

/// Makes a directory for files that can be mounted. Says why and returns `None` where that cannot be; with `CI` set that is a failure.
pub(crate) fn scratch() -> Option<TempDir> {
    if !require(&[Need::Root, Need::Overlay, Need::Indexes]) {
        return None;
    }
    let places = [PathBuf::from(env!("CARGO_TARGET_TMPDIR")), std::env::temp_dir()];
    let serves = |place: &&PathBuf| filesystem_magic(place).is_ok_and(|magic| !NO_SOURCES.contains(&magic));
    let Some(place) = places.iter().find(serves) else {
        let reason = format!("skipped: neither of {places:?} is on a file system with sources for mounts");
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("{reason}");
        return None;
    };
    Some(tempfile::tempdir_in(place).unwrap())
}

/// Returns bytes that look random.
pub(crate) fn bytes(dice: &mut Dice, count: usize) -> Vec<u8> {
    (0..count.div_ceil(8)).flat_map(|_| dice.roll(usize::MAX).to_le_bytes()).take(count).collect()
}

pub(crate) struct Fixture {
    pub(crate) tree: Tree,
    /// All names, each with the number of its inode.
    pub(crate) names: BTreeMap<PathBuf, usize>,
    pub(crate) inodes: Vec<(Content, Attributes)>,
    pub(crate) tar: Vec<u8>,
    /// How long the tar is where that is more than its bytes: the rest is a hole.
    pub(crate) tar_length: u64,
    pub(crate) dice: Dice,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut tree = Tree::new();
        tree.set_attributes("", attributes()).unwrap();
        Self {
            tree,
            names: BTreeMap::from([(PathBuf::new(), 0)]),
            inodes: vec![(Content::Directory, attributes())],
            tar: vec![0; 512],
            tar_length: 0,
            dice: Dice::new(0xe0f5),
        }
    }

    pub(crate) fn create(&mut self, path: impl AsRef<Path>, content: Content, attributes: Attributes) {
        let path = path.as_ref();
        self.tree.create(path, content.clone(), attributes.clone()).unwrap();
        self.names.insert(path.to_owned(), self.inodes.len());
        self.inodes.push((content, attributes));
    }

    /// Creates a file of random bytes.
    pub(crate) fn file(&mut self, path: impl AsRef<Path>, size: usize, attributes: Attributes) {
        let content = bytes(&mut self.dice, size);
        self.file_of(path, &content, attributes);
    }

    pub(crate) fn file_of(&mut self, path: impl AsRef<Path>, content: &[u8], attributes: Attributes) {
        let content = self.content(content);
        self.create(path, content, attributes);
    }

    /// Appends contents to the tar.
    pub(crate) fn content(&mut self, content: &[u8]) -> Content {
        let offset = self.tar.len() as u64;
        self.tar.extend(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        Content::File { offset, size: content.len() as u64 }
    }

    pub(crate) fn hard_link(&mut self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.tree.hard_link(&from, &to).unwrap();
        self.names.insert(to.as_ref().to_owned(), self.names[from.as_ref()]);
    }

    pub(crate) fn remove_all(&mut self, path: &Path) {
        self.tree.remove_all(path).unwrap();
        self.names.retain(|name, _| !name.starts_with(path));
    }

    /// Writes index and tar into a directory and returns the index.
    pub(crate) fn write(&self, dir: &Path) -> PathBuf {
        let index = dir.join("index");
        let tar_length = self.tar_length.max(self.tar.len() as u64);
        let mut file = File::create(&index).unwrap();
        let length = write_index(&self.tree, tar_length, [7; 16], &mut file).unwrap();
        assert_eq!((fs_err::metadata(&index).unwrap().len(), length % 512), (length, 0));
        let mut tar = File::create(dir.join(INDEX_DATA)).unwrap();
        tar.write_all(&self.tar).unwrap();
        if self.tar_length > 0 {
            tar.set_len(self.tar_length).unwrap();
            for position in [(1 << 40) - 1536, self.tar_length - 4096] {
                tar.seek(SeekFrom::Start(position)).unwrap();
                tar.write_all(&self.tar[512..4608]).unwrap();
            }
        }
        index
    }

    /// Mounts the index of the tree and compares all that is seen, and all contents.
    pub(crate) fn check_mounted(&self, scratch: &TempDir) {
        let dir = tempfile::tempdir_in(scratch).unwrap();
        let index = self.write(dir.path());
        let root = Root::open_layer(&index).unwrap();
        let mut seen = look(&root);
        for (name, inode) in &self.names {
            let found = seen.remove(name).unwrap_or_else(|| panic!("{name:?} is missing"));
            assert_eq!(found, self.expected(name, *inode), "{name:?}");
        }
        assert!(seen.is_empty(), "nobody made {:?}", seen.keys());
        let tar = File::open(dir.path().join(INDEX_DATA)).unwrap();
        for (name, inode) in &self.names {
            if let Content::File { offset, size } = self.inodes[*inode].0 {
                compare_content(&path_of(&root).join(name), &tar, offset, size);
            }
        }
    }

    fn expected(&self, path: &Path, inode: usize) -> Seen {
        let (content, attributes) = &self.inodes[inode];
        let is_directory = |inode: usize| self.inodes[inode].0 == Content::Directory;
        let links = if is_directory(inode) {
            let inside = |name: &Path| name != Path::new("") && name.parent() == Some(path);
            2 + self.names.iter().filter(|(name, inode)| is_directory(**inode) && inside(name)).count()
        } else {
            self.names.values().filter(|other| **other == inode).count()
        };
        let first_name = self.names.iter().find(|(_, other)| **other == inode).unwrap().0.clone();
        let (file_type, size, rdev, target) = match content {
            Content::Directory => (FileType::Directory, 0, 0, &[][..]),
            Content::File { size, .. } => (FileType::File, *size, 0, &[][..]),
            Content::Symlink(target) => (FileType::Symlink, target.len() as u64, 0, &target[..]),
            Content::Character(rdev) => (FileType::Character, 0, *rdev, &[][..]),
            Content::Block(rdev) => (FileType::Block, 0, *rdev, &[][..]),
            Content::Fifo => (FileType::Fifo, 0, 0, &[][..]),
            Content::Socket => (FileType::Socket, 0, 0, &[][..]),
        };
        Seen {
            file_type,
            mode: attributes.mode.into(),
            owner: (attributes.uid, attributes.gid),
            mtime: (attributes.mtime.0, attributes.mtime.1.into()),
            size,
            rdev,
            links: links as u64,
            first_name,
            target: target.to_vec(),
            xattrs: attributes.xattrs.iter().cloned().collect(),
        }
    }
}

/// Compares all bytes; of a file of more than a gibibyte those at its ends and around the end of its first chunk.
fn compare_content(path: &Path, tar: &File, offset: u64, size: u64) {
    let file = File::open(path).unwrap();
    let starts = match size {
        0 => Vec::new(),
        1..0x4000_0000 => (0..size.div_ceil(PIECE)).map(|piece| piece * PIECE).collect(),
        _ => vec![0, (1 << 40) - PIECE / 2, size - PIECE],
    };
    for start in starts {
        let length = usize::try_from(PIECE.min(size - start)).unwrap();
        let (mut mounted, mut original) = (vec![0; length], vec![0; length]);
        file.read_exact_at(&mut mounted, start).unwrap();
        tar.read_exact_at(&mut original, offset + start).unwrap();
        assert!(mounted == original, "{path:?} differs from the tar in the mebibyte from {start} on");
    }
}
