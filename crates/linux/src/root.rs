//! A directory that nothing leads out of.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    openat2,
};
use rustix::io::Errno;

use crate::index_mount::is_index;

/// A directory with operations on paths inside it.
///
/// Paths are resolved by the kernel as if the directory were `/` (`openat2`, `RESOLVE_IN_ROOT` and
/// `RESOLVE_NO_MAGICLINKS`): `..`, absolute symlinks and links made by somebody else meanwhile stay inside. Where the last
/// component is created, changed or removed it is never followed.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

/// What is at a path, without following a last symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket.
    Special,
}

/// Metadata of a path.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// The raw `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Device of the file system.
    pub device: u64,
    /// Number of names.
    pub links: u64,
    /// Device number of a device node.
    pub rdev: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Change time: seconds and nanoseconds.
    pub ctime: (i64, u32),
}

impl Metadata {
    /// Returns whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the kernel's nanoseconds and sizes are in range"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        Self {
            kind,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            inode: stat.st_ino,
            device: stat.st_dev,
            links: stat.st_nlink,
            rdev: stat.st_rdev,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
        }
    }
}

/// How often a resolution that raced with a rename is tried again.
const RETRIES: usize = 128;

impl Root {
    /// Opens `path` as a root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens a layer as a root: a directory, or an index, which is mounted for as long as the root lives (see [`crate::mount_index`]).
    pub fn open_layer(path: &Path) -> io::Result<Self> {
        if is_index(path) { Ok(Self::from_fd(crate::mount_index(path)?)) } else { Self::open(path) }
    }

    /// Wraps an open directory or detached mount.
    pub fn from_fd(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// Opens what is at `path`, following symlinks inside the root.
    pub fn open_with(&self, path: impl AsRef<Path>, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let path = relative(path.as_ref());
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RETRIES {
            let opened = openat2(
                &self.dir,
                &path,
                flags | OFlags::CLOEXEC,
                Mode::from_raw_mode(mode & 0o7777),
                resolve,
            );
            match opened {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a file for reading.
    pub fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        Ok(self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?.into())
    }

    /// Opens a regular file for reading, following symlinks inside the root; `None` if something else is there, which is not opened, or a
    /// link that leads round in a circle.
    pub fn open_regular(&self, path: impl AsRef<Path>) -> io::Result<Option<File>> {
        let found = match self.open_with(path, OFlags::PATH, 0) {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
            other => other?,
        };
        if !FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode).is_file() {
            return Ok(None);
        }
        let again = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(Some(rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into()))
    }

    /// Opens a directory as a root of its own.
    pub fn open_root(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { dir: self.open_with(path, OFlags::PATH | OFlags::DIRECTORY, 0)? })
    }

    /// Creates a file that must not exist and opens it for writing. The umask does not apply.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(path.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(file.into())
    }

    /// Makes a directory that must not exist.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&parent, &name, flags, Mode::empty())?;
        Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode & 0o7777))?)
    }

    /// Makes a directory and those above it; returns the ones that were missing, outermost first.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        let mut current = PathBuf::new();
        for component in relative(path.as_ref()).components() {
            current.push(component);
            match self.open_root(&current) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.create_dir(&current, mode)?;
                    made.push(current.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Makes a symlink that must not exist; its target is not looked at.
    pub fn symlink(&self, target: &Path, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::symlinkat(target, &parent, &name)?)
    }

    /// Gives the file at `from`, not followed, a second name that must not exist.
    pub fn hard_link(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from.as_ref())?;
        let (to_parent, to_name) = self.parent(to.as_ref())?;
        Ok(rustix::fs::linkat(&from_parent, &from_name, &to_parent, &to_name, AtFlags::empty())?)
    }

    /// Makes a device node or FIFO that must not exist; `mode` holds the type.
    pub fn make_node(&self, path: impl AsRef<Path>, mode: u32, device: u64) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        let kind = FileType::from_raw_mode(mode);
        rustix::fs::mknodat(&parent, &name, kind, Mode::from_raw_mode(mode & 0o7777), device)?;
        Ok(rustix::fs::chmodat(&parent, &name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?)
    }

    /// Returns the metadata of `path` itself, or `None` if there is nothing.
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Option<Metadata>> {
        let path = relative(path.as_ref());
        if path == Path::new(".") {
            return Ok(Some(Metadata::of(&rustix::fs::fstat(&self.dir)?)));
        }
        let found = self
            .parent(&path)
            .and_then(|(parent, name)| Ok(rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(stat) => Ok(Some(Metadata::of(&stat))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the target of a symlink.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (parent, name) = self.parent(path.as_ref())?;
        let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Sets owner and group of `path` itself.
    pub fn set_owner(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = ids(uid, gid)?;
        self.at(path.as_ref(), |dir, name| {
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets the permission bits of `path`, which is no symlink.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent_or_self(path.as_ref())?;
        // A handle only: opening a device for reading could already act on it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(&parent, &name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        let magic = format!("/proc/self/fd/{}", found.as_raw_fd());
        Ok(rustix::fs::chmod(magic, Mode::from_raw_mode(mode & 0o7777))?)
    }

    /// Sets the modification and access time of `path` itself.
    pub fn set_mtime(&self, path: impl AsRef<Path>, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        self.at(path.as_ref(), |dir, name| {
            rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets an extended attribute of a file or directory.
    pub fn set_xattr(&self, path: impl AsRef<Path>, name: &str, value: &[u8]) -> io::Result<()> {
        let file = self.open_nofollow(path.as_ref())?;
        Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
    }

    /// Returns the extended attributes of a file or directory, sorted by name; none where there cannot be any.
    pub fn xattrs(&self, path: impl AsRef<Path>) -> io::Result<Vec<(String, Vec<u8>)>> {
        xattrs_of(self.open_nofollow(path.as_ref())?)
    }

    /// Removes an extended attribute of a file or directory.
    pub fn remove_xattr(&self, path: impl AsRef<Path>, name: &str) -> io::Result<()> {
        let file = self.open_nofollow(path.as_ref())?;
        Ok(rustix::fs::fremovexattr(file, name)?)
    }

    /// Removes a file, symlink, device or empty directory.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (parent, name) = self.parent(path.as_ref())?;
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?),
            other => Ok(other?),
        }
    }

    /// Removes whatever is at `path` with everything below it; nothing there is no error.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        match self.metadata(path)? {
            None => return Ok(()),
            Some(found) if found.is_directory() => {
                for name in self.names(path)? {
                    self.remove_all(path.join(name))?;
                }
            }
            Some(_) => {}
        }
        self.remove(path)
    }

    /// Returns the names in a directory, sorted, without `.` and `..`.
    pub fn names(&self, path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let mut buffer = Vec::with_capacity(32_768);
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn open_nofollow(&self, path: &Path) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent_or_self(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&parent, &name, flags, Mode::empty())?)
    }

    fn at(
        &self,
        path: &Path,
        call: impl Fn(BorrowedFd<'_>, &Path) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        let (parent, name) = self.parent_or_self(path)?;
        Ok(call(parent.as_fd(), Path::new(&name))?)
    }

    fn parent_or_self(&self, path: &Path) -> io::Result<(Directory<'_>, OsString)> {
        let path = relative(path);
        if path == Path::new(".") {
            return Ok((Directory::Own(self.dir.as_fd()), OsString::from(".")));
        }
        self.parent(&path)
    }

    /// Resolves everything but the last component.
    pub(crate) fn parent(&self, path: &Path) -> io::Result<(Directory<'_>, OsString)> {
        let path = relative(path);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names the root itself"));
        };
        if parent.as_os_str().is_empty() {
            return Ok((Directory::Own(self.dir.as_fd()), name.to_owned()));
        }
        let opened = self.open_with(parent, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        Ok((Directory::Opened(opened), name.to_owned()))
    }
}

/// Returns the extended attributes of an open file or directory, sorted by name; none where there cannot be any.
pub fn xattrs_of(file: impl AsFd) -> io::Result<Vec<(String, Vec<u8>)>> {
    // Most files have none or few: a buffer on the stack serves.
    let mut short = [0; 256];
    let mut long = Vec::new();
    let names = match rustix::fs::flistxattr(&file, &mut short[..]) {
        Ok(length) => &short[..length],
        Err(Errno::RANGE) => {
            long.resize(65_536, 0);
            let length = rustix::fs::flistxattr(&file, &mut long)?;
            &long[..length]
        }
        Err(Errno::OPNOTSUPP) => &[],
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0; 65_536];
        let length = rustix::fs::fgetxattr(&file, &name, &mut value)?;
        value.truncate(length);
        found.push((name, value));
    }
    found.sort();
    Ok(found)
}

/// The directory that a last component is in: often the root itself, which needs no call.
pub(crate) enum Directory<'a> {
    Own(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The largest number means "leave it" to the kernel and is nobody.
pub(crate) fn ids(uid: u32, gid: u32) -> io::Result<(Uid, Gid)> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// Returns the path without a leading `/` and without `.` parts; `..` stays for the kernel to confine.
fn relative(path: &Path) -> PathBuf {
    let parts: PathBuf = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .collect();
    if parts.as_os_str().is_empty() { PathBuf::from(".") } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("root")).unwrap();
        fs_err::write(dir.path().join("secret"), "outside").unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (dir, root) = root();
        root.symlink(Path::new("/"), "top").unwrap();
        root.symlink(Path::new("../.."), "up").unwrap();
        root.symlink(&dir.path().join("secret"), "absolute").unwrap();
        for path in ["../secret", "up/secret", "absolute", "top/../../secret"] {
            assert!(root.open_file(path).is_err(), "{path}");
        }
        root.create_file("up/made", 0o644).unwrap();
        assert!(dir.path().join("root/made").exists());
    }

    #[test]
    fn a_last_symlink_is_never_followed_by_changes() {
        let (dir, root) = root();
        root.symlink(&dir.path().join("secret"), "link").unwrap();
        assert!(root.create_file("link", 0o644).is_err());
        assert!(root.set_mode("link", 0o777).is_err());
        assert!(root.set_owner("link", u32::MAX, 0).is_err());
        root.remove_all("link").unwrap();
        assert_eq!(fs_err::read_to_string(dir.path().join("secret")).unwrap(), "outside");
    }

    #[test]
    fn whole_trees_come_and_go() {
        let (dir, root) = root();
        assert_eq!(root.create_dir_all("a/b/c", 0o755).unwrap().len(), 3);
        root.create_file("a/b/c/f", 0o640).unwrap();
        root.set_mtime("a", (7, 5)).unwrap();
        assert_eq!(root.metadata("a").unwrap().unwrap().mtime, (7, 5));
        assert_eq!(root.metadata("a/b/c/f").unwrap().unwrap().mode & 0o7777, 0o640);
        root.set_xattr("a", "user.x", b"1").unwrap();
        assert_eq!(root.xattrs("a").unwrap(), [("user.x".to_owned(), b"1".to_vec())]);
        assert_eq!(root.names("a/b").unwrap(), ["c"]);
        root.remove_all("a").unwrap();
        assert!(!dir.path().join("root/a").exists());
        assert!(root.metadata("a").unwrap().is_none());
    }
}
