//! Making one file, link or directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use filetime::FileTime;

/// What an entry is beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) mtime: Option<i64>,
}

impl Metadata {
    /// Of something that belongs to root, as of now.
    pub(super) fn plain(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: None }
    }

    pub(super) fn of(header: &tar::Header) -> io::Result<Self> {
        let id = |id: u64| u32::try_from(id).map_err(|_large| super::invalid("an owner above 2^32"));
        Ok(Self {
            mode: header.mode()? & 0o7777,
            uid: id(header.uid()?)?,
            gid: id(header.gid()?)?,
            mtime: i64::try_from(header.mtime()?).ok(),
        })
    }

    fn time(&self) -> Option<FileTime> {
        self.mtime.map(|mtime| FileTime::from_unix_time(mtime, 0))
    }

    fn is_of_root(&self) -> bool {
        (self.uid, self.gid) == (0, 0)
    }
}

/// Writes a file that must not exist, or replaces one of ours that has no owner and time of its own.
pub(super) fn write_file(path: &Path, metadata: Metadata, content: &mut dyn Read) -> io::Result<()> {
    if metadata.mtime.is_none() && path.symlink_metadata().is_ok() {
        fs_err::remove_file(path)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    set(&file, metadata)
}

/// The owner first: changing it drops set-uid bits.
fn set(file: &File, metadata: Metadata) -> io::Result<()> {
    if !metadata.is_of_root() {
        std::os::unix::fs::fchown(file, Some(metadata.uid), Some(metadata.gid))?;
    }
    file.set_permissions(Permissions::from_mode(metadata.mode))?;
    match metadata.time() {
        Some(time) => filetime::set_file_handle_times(file, Some(time), Some(time)),
        None => Ok(()),
    }
}

/// Makes a symlink that must not exist.
pub(super) fn make_symlink(path: &Path, target: &Path, metadata: Metadata) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)?;
    if !metadata.is_of_root() {
        std::os::unix::fs::lchown(path, Some(metadata.uid), Some(metadata.gid))?;
    }
    match metadata.time() {
        Some(time) => filetime::set_symlink_file_times(path, time, time),
        None => Ok(()),
    }
}

/// Makes a directory that must not exist; its metadata comes last of all.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o755).create(path)
}

pub(super) fn set_directory(path: &Path, metadata: Metadata) -> io::Result<()> {
    set(&File::open(path)?, metadata)
}
