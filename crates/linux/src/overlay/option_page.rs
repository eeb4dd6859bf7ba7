//! The way of kernels without `lowerdir+`: `mount(2)`, whose options have to fit into one page.
//!
//! A thread gets a mount namespace and a working directory of its own. It opens every directory, goes to `/proc/self/fd`
//! and names each by its number: a full stack of 500 fits, whatever the paths are and whatever letters are in them. What it
//! mounts is copied without a place and the thread ends, and its namespace with it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};

use super::{OPTIONS, Overlay, VOLATILE};

/// Mounts a stack that has an upper directory or more than one lower.
pub(super) fn mount(overlay: &Overlay) -> io::Result<OwnedFd> {
    let [top, ..] = overlay.lowers.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is nothing to stack"));
    };
    // The path is looked up once more from another working directory.
    let place = std::path::absolute(top)?;
    on_own_thread(|| {
        // In the new namespace: the kernel stacks no mount of another one.
        let lowers =
            overlay.lowers.iter().map(|path| open_directory(path)).collect::<io::Result<Vec<_>>>()?;
        let changes = match (&overlay.upper, &overlay.work) {
            (Some(upper), Some(work)) => Some((open_directory(upper)?, open_directory(work)?)),
            _ => None,
        };
        stack(&lowers, changes.as_ref().map(|(upper, work)| (upper, work, overlay.volatile)), &place)
    })
}

/// Shows a directory through an overlay that has nowhere to write to.
pub(crate) fn read_only_view(dir: &Path) -> io::Result<OwnedFd> {
    let place = std::path::absolute(dir)?;
    on_own_thread(|| {
        let shown = open_directory(&place)?;
        // The kernel wants two lower directories where there is no upper one, and both mounted in the namespace.
        let attributes = crate::MountAttributes { read_only: true, ..crate::MountAttributes::default() };
        crate::attach(crate::new_filesystem("tmpfs", &[("size", "4096")], attributes)?, &shown)?;
        let nothing = open_directory(&place)?;
        stack(&[shown, nothing], None, &place)
    })
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Mounts over `place`, which only this thread sees, and takes a copy.
///
/// `changes` are the directories for them, and whether they are volatile.
fn stack(
    lowers: &[OwnedFd],
    changes: Option<(&OwnedFd, &OwnedFd, bool)>,
    place: &Path,
) -> io::Result<OwnedFd> {
    let numbers: Vec<String> = lowers.iter().map(|lower| lower.as_raw_fd().to_string()).collect();
    let mut options = format!("lowerdir={}", numbers.join(":"));
    if let Some((upper, work, volatile)) = changes {
        options.push_str(&format!(",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd()));
        if volatile {
            options.push_str(&format!(",{VOLATILE}"));
        }
    }
    for (name, value) in OPTIONS {
        let equals = if value.is_empty() { "" } else { "=" };
        options.push_str(&format!(",{name}{equals}{value}"));
    }
    rustix::process::chdir("/proc/self/fd")?;
    let flags = if changes.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
    rustix::mount::mount("overlay", place, "overlay", flags, &*CString::new(options)?)?;
    Ok(open_tree(CWD, place, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

/// Runs on a thread whose mounts and working directory are its own.
fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let inside = || {
            crate::process::new_mount_namespace()?;
            crate::make_all_private()?;
            work()
        };
        let worker = thread::Builder::new().name("mounts".into()).spawn_scoped(scope, inside)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
