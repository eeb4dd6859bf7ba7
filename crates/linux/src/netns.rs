//! Network namespaces that outlive the process that made them, and work inside one.
//!
//! A namespace is joined by a thread made for that, never by the caller's: nothing the caller does afterwards lands in
//! the wrong network.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

use crate::process::join_namespace;

const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace; it exists at least as long as this value.
#[derive(Debug)]
pub struct NetworkNamespace {
    handle: OwnedFd,
}

impl NetworkNamespace {
    /// Makes a namespace that lives no longer than this value and the processes in it.
    pub fn new() -> io::Result<Self> {
        on_own_thread(|| {
            unshare_network()?;
            Ok(Self { handle: File::open(OWN)?.into() })
        })
    }

    /// Makes a namespace that stays until [`NetworkNamespace::delete`], found under a path.
    ///
    /// The path must not exist; after an error it does not.
    pub fn create(path: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let made = on_own_thread(|| {
            unshare_network()?;
            mount_bind(OWN, path)?;
            Ok(Self { handle: File::open(OWN)?.into() })
        });
        if made.is_err() {
            Self::delete(path)?;
        }
        made
    }

    /// Opens a namespace by its path.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { handle: File::open(path)?.into() })
    }

    /// Opens the namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// Takes the name away; the kernel removes the namespace when nothing uses it. One that is gone is no error.
    pub fn delete(path: &Path) -> io::Result<()> {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Nothing is mounted there, or nothing is there.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a function on a thread of its own inside the namespace; processes it starts are in there too.
    ///
    /// # Panics
    ///
    /// When the function does.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_own_thread(|| {
            join_namespace(&self.handle, libc::CLONE_NEWNET)?;
            Ok(inside())
        })
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Makes a directory a mount of its own, so that what is mounted below it appears in no other mount namespace.
pub fn keep_mounts_private(directory: &Path) -> io::Result<()> {
    match mount_change(directory, MountPropagationFlags::PRIVATE) {
        // Not a mount yet.
        Err(rustix::io::Errno::INVAL) => {
            mount_bind(directory, directory)?;
            Ok(mount_change(directory, MountPropagationFlags::PRIVATE)?)
        }
        other => Ok(other?),
    }
}

/// Undoes [`keep_mounts_private`]; a directory that is no mount, or is gone, is no error.
pub fn forget_private_mounts(directory: &Path) -> io::Result<()> {
    match unmount(directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn unshare_network() -> io::Result<()> {
    // SAFETY: plain system call; it changes this thread, which ends with its function.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    fn identity(namespace: &NetworkNamespace) -> u64 {
        rustix::fs::fstat(namespace).unwrap().st_ino
    }

    #[test]
    fn a_namespace_with_a_path_outlives_its_handle_until_it_is_deleted() {
        if !require(&[Need::Root]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one");
        let made = identity(&NetworkNamespace::create(&path).unwrap());
        let opened = NetworkNamespace::open(&path).unwrap();
        assert_eq!(identity(&opened), made);
        let inside = opened.run(|| identity(&NetworkNamespace::current().unwrap())).unwrap();
        assert_eq!(inside, made);
        assert_ne!(identity(&NetworkNamespace::current().unwrap()), made, "the caller's thread stays");
        assert!(NetworkNamespace::create(&path).is_err());
        NetworkNamespace::delete(&path).unwrap();
        NetworkNamespace::delete(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_private_directory_is_mounted_once_and_gone_afterwards() {
        if !require(&[Need::Root]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mounts = || {
            let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
            table.lines().filter(|line| line.contains(dir.path().to_str().unwrap())).count()
        };
        keep_mounts_private(dir.path()).unwrap();
        keep_mounts_private(dir.path()).unwrap();
        assert_eq!(mounts(), 1);
        forget_private_mounts(dir.path()).unwrap();
        forget_private_mounts(dir.path()).unwrap();
        assert_eq!(mounts(), 0);
    }
}
