//! Making things and describing them by their descriptor: nothing can come between a name and what it stood for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags, openat2};
use rustix::io::Errno;

use crate::Root;
use crate::root::ids;

/// What a file or directory is given beside its content and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Gives them to an open file or directory.
    pub fn apply(&self, file: impl AsFd) -> io::Result<()> {
        let (uid, gid) = ids(self.uid, self.gid)?;
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        // After the owner: changing it drops set-uid bits and capabilities.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode & 0o7777))?;
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty())?;
        }
        Ok(())
    }
}

/// Sets the modification and access time of an open file or directory.
pub fn set_modified(file: impl AsFd, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

impl Root {
    /// Opens a directory as a root of its own if the path leads to one without a symlink on the way; `None` if it does not.
    pub fn open_plain(&self, path: impl AsRef<Path>) -> io::Result<Option<Self>> {
        let path = path.as_ref();
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        loop {
            return match openat2(self, path, flags, Mode::empty(), resolve) {
                Ok(dir) => Ok(Some(Self::from_fd(dir))),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Creates a file that must not exist, for its owner only, and opens it for writing.
    pub fn create_private(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (parent, name) = self.parent(path.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Makes a directory that must not exist, for its owner only.
    pub fn create_private_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?)
    }

    /// Opens what must be a directory itself, not a symlink to one, to describe it.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Ok(rustix::fs::openat(self, ".", flags, Mode::empty())?);
        }
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::openat(&parent, &name, flags, Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_has_no_link_on_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dir_all("a/b", 0o755).unwrap();
        root.create_private("file").unwrap();
        root.symlink(Path::new("a"), "link").unwrap();
        for (path, found) in
            [("", true), ("a/b", true), ("link", false), ("link/b", false), ("file", false), ("none", false)]
        {
            assert_eq!(root.open_plain(path).unwrap().is_some(), found, "case `{path}`");
        }
        assert!(root.open_plain("..").is_err(), "nothing leads out");
        assert!(root.open_dir("link").is_err());
    }

    #[test]
    fn attributes_go_to_what_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let file = root.create_private("f").unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let xattrs = vec![("user.x".to_owned(), b"1".to_vec())];
        Attributes { uid, gid, mode: 0o4711, xattrs: xattrs.clone() }.apply(&file).unwrap();
        set_modified(&file, (-5, 7)).unwrap();
        let found = root.metadata("f").unwrap().unwrap();
        assert_eq!((found.mode & 0o7777, found.mtime), (0o4711, (-5, 7)));
        assert_eq!(root.xattrs("f").unwrap(), xattrs);
    }
}
