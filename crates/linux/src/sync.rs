//! Making what was written outlast a power cut.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Writes everything of the file system that `fd` is on to the disk.
pub fn sync_filesystem(fd: impl AsFd) -> io::Result<()> {
    rustix::fs::syncfs(fd)?;
    Ok(())
}

/// Lets two names change places, at once.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Gives something another name, which nothing may have yet, not even an empty directory.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Writes a directory's entries to the disk: a rename or creation in it is lasting afterwards.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Gives a file a length and takes the blocks for it now, so that they are there when nothing else is free.
pub fn reserve_bytes(file: &File, length: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length)?)
}

/// Returns the free bytes that an unprivileged writer has on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns how many bytes the file system of `path` has in all.
pub fn total_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// Returns how many files can still be made on the file system of `path`.
pub fn free_files(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    // Some file systems make room for files as they go and say 0 of 0.
    Ok(if stat.f_files == 0 { u64::MAX } else { stat.f_favail })
}

/// Returns whether nothing below a path can be changed because it is mounted so.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(path)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Returns the magic number of the file system that `path` is on (`statfs(2)`).
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "magic numbers have 32 bits")]
pub fn filesystem_magic(path: &Path) -> io::Result<u32> {
    Ok(rustix::fs::statfs(path)?.f_type as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_places() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        fs_err::write(&one, "1").unwrap();
        assert!(exchange(&one, &other).is_err());
        fs_err::create_dir(&other).unwrap();
        assert!(rename_new(&one, &other).is_err() && other.is_dir());
        rename_new(&one, &dir.path().join("third")).unwrap();
        rename_new(&dir.path().join("third"), &one).unwrap();
        exchange(&one, &other).unwrap();
        assert!(one.is_dir() && fs_err::read_to_string(&other).unwrap() == "1");
    }

    #[test]
    fn a_directory_can_be_synced() {
        let dir = tempfile::tempdir().unwrap();
        sync_directory(dir.path()).unwrap();
        sync_filesystem(File::open(dir.path()).unwrap()).unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0 && free_files(dir.path()).unwrap() > 0);
    }
}
