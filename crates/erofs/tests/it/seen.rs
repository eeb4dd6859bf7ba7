//! What a program sees of a mounted tree.

use std::collections::BTreeMap;
use std::fs::FileType as StdFileType;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirEntryExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use shipway_erofs::FileType;
use shipway_linux::Root;

/// All that stat(2), readlink(2) and listxattr(2) tell about one name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) file_type: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    /// Nothing for directories: how large they are is the file system's own affair.
    pub(crate) size: u64,
    pub(crate) rdev: u64,
    pub(crate) links: u64,
    /// The first of all names of the same inode.
    pub(crate) first_name: PathBuf,
    pub(crate) target: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Where the files of a mount without a place are found.
pub(crate) fn path_of(root: &Root) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd()))
}

/// Looks at everything below `root`, which is mounted by itself. Directories are held to what their entries say and to listing no name
/// twice, the file system to the number of its inodes.
pub(crate) fn look(root: &Root) -> BTreeMap<PathBuf, Seen> {
    let top = path_of(root);
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    found.insert(PathBuf::new(), look_at(&top.join(""), &PathBuf::new()));
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(top.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = directory.join(entry.file_name());
            let (inode, seen) = look_at(&entry.path(), &name);
            assert_eq!(
                (entry.ino(), kind_of(entry.file_type().unwrap())),
                (inode, seen.file_type),
                "{name:?}"
            );
            if seen.file_type == FileType::Directory {
                directories.push(name.clone());
            }
            assert!(found.insert(name.clone(), (inode, seen)).is_none(), "{name:?} is there twice");
        }
    }
    let mut first_names = BTreeMap::new();
    for (name, (inode, seen)) in &mut found {
        seen.first_name = first_names.entry(*inode).or_insert_with(|| name.clone()).clone();
    }
    let counted = rustix::fs::statvfs(&top).unwrap();
    assert_eq!(counted.f_files - counted.f_ffree, first_names.len() as u64);
    found.into_iter().map(|(name, (_, seen))| (name, seen)).collect()
}

fn look_at(path: &Path, name: &Path) -> (u64, Seen) {
    let metadata = fs_err::symlink_metadata(path).unwrap();
    let file_type = kind_of(metadata.file_type());
    let target = match file_type {
        FileType::Symlink => fs_err::read_link(path).unwrap().into_os_string().into_vec(),
        _ => Vec::new(),
    };
    let seen = Seen {
        file_type,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        size: if file_type == FileType::Directory { 0 } else { metadata.size() },
        rdev: metadata.rdev(),
        links: metadata.nlink(),
        first_name: name.to_owned(),
        target,
        xattrs: xattrs(path),
    };
    (metadata.ino(), seen)
}

/// Also of what cannot be opened: links, and devices that nobody has.
fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

fn kind_of(kind: StdFileType) -> FileType {
    match kind {
        kind if kind.is_dir() => FileType::Directory,
        kind if kind.is_symlink() => FileType::Symlink,
        kind if kind.is_char_device() => FileType::Character,
        kind if kind.is_block_device() => FileType::Block,
        kind if kind.is_fifo() => FileType::Fifo,
        kind if kind.is_socket() => FileType::Socket,
        _ => FileType::File,
    }
}
