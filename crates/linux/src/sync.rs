//! Making what was written outlast a power cut.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

/// Writes everything of the file system that `fd` is on to the disk.
pub fn sync_filesystem(fd: impl AsFd) -> io::Result<()> {
    rustix::fs::syncfs(fd)?;
    Ok(())
}

/// A new file, written from its start, with whose content the disk begins while more comes: less is left to do for whoever waits for all
/// of it. Where the file system cannot, it is a file like any other.
#[derive(Debug)]
pub struct EarlyFile {
    file: File,
    written: u64,
    begun: u64,
}

/// As soon as so many bytes are there, the disk begins with them.
const PIECE: u64 = 1 << 20;

/// So many are copied between two looks at that.
const AT_ONCE: u64 = 8 << 20;

impl EarlyFile {
    /// Takes a file that is empty.
    pub fn new(file: File) -> Self {
        Self { file, written: 0, begun: 0 }
    }

    /// Returns the file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// Returns how many bytes were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends what is left of another file; the kernel copies where it can. Returns how many bytes that were.
    pub fn copy_from(&mut self, source: &File) -> io::Result<u64> {
        let before = self.written;
        loop {
            let copied = io::copy(&mut source.take(AT_ONCE), &mut self.file)?;
            self.written += copied;
            if self.written - self.begun >= PIECE {
                self.begin();
            }
            if copied < AT_ONCE {
                return Ok(self.written - before);
            }
        }
    }

    fn begin(&mut self) {
        let length = self.written - self.begun;
        if let (Ok(from), Ok(length)) = (i64::try_from(self.begun), i64::try_from(length)) {
            // SAFETY: the descriptor is open, and the call takes numbers alone.
            unsafe {
                libc::sync_file_range(self.file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE)
            };
        }
        self.begun = self.written;
    }
}

impl Write for EarlyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        if self.written - self.begun >= PIECE {
            self.begin();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
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
    fn what_is_written_early_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = EarlyFile::new(File::create(&path).unwrap());
        let content: Vec<u8> = (0..2_500_000_u32).flat_map(u32::to_le_bytes).collect();
        content.chunks(70_000).for_each(|piece| file.write_all(piece).unwrap());
        assert_eq!(file.get_ref().metadata().unwrap().len(), content.len() as u64);
        assert!(fs_err::read(&path).unwrap() == content);
        let mut copy = EarlyFile::new(File::create(dir.path().join("copy")).unwrap());
        let length = content.len() as u64;
        assert_eq!(copy.copy_from(&File::open(&path).unwrap()).unwrap(), length);
        assert_eq!(copy.copy_from(&File::open(&path).unwrap()).unwrap(), length);
        assert!(fs_err::read(dir.path().join("copy")).unwrap() == content.repeat(2));
    }

    #[test]
    fn a_directory_can_be_synced() {
        let dir = tempfile::tempdir().unwrap();
        sync_directory(dir.path()).unwrap();
        sync_filesystem(File::open(dir.path()).unwrap()).unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0 && free_files(dir.path()).unwrap() > 0);
    }
}
