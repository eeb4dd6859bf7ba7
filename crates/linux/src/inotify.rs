//! Being told of changes in a directory.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Tells when files of directories are written, made or renamed. The descriptor is readable when something has changed.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl Inotify {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches the files in `dir`, not those below it.
    pub fn watch_directory(&self, dir: &Path) -> io::Result<()> {
        let changes =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
        inotify::add_watch(&self.0, dir, changes | WatchFlags::ONLYDIR)?;
        Ok(())
    }

    /// Takes what has been told so far; returns whether there was anything.
    pub fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut any = false;
        loop {
            match reader.next() {
                Ok(_event) => any = true,
                Err(rustix::io::Errno::AGAIN) => return Ok(any),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.watch_directory(dir.path()).unwrap();
        assert!(!inotify.drain().unwrap());
        fs_err::write(dir.path().join("log"), "x").unwrap();
        assert!(inotify.drain().unwrap());
        assert!(!inotify.drain().unwrap());
    }
}
