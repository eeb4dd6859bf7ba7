//! Mounts by file descriptor: nothing here resolves a path inside a container by its text.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};

/// Attributes of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-uid bits have no effect.
    pub no_suid: bool,
    /// Devices cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

impl MountAttributes {
    fn flags(self) -> MountAttrFlags {
        [
            (self.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (self.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (self.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
            (self.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .collect()
    }
}

/// Makes a new file system of a kind (`proc`, `tmpfs`, …) without a place.
pub fn new_filesystem(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttributes,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *name)?;
        } else {
            fsconfig_set_string(&context, *name, CString::new(*value)?)?;
        }
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes.flags())?)
}

/// Copies the mount of a path of this namespace, with everything mounted below it, without a place.
pub fn clone_tree(source: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags)?;
    if read_only {
        crate::mount_attr::set_tree_read_only(&tree)?;
    }
    Ok(tree)
}

/// Copies the mount at an open file or directory, without a place.
pub fn clone_at(target: impl AsFd, read_only: bool) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(target, "", flags)?;
    if read_only {
        crate::set_read_only(&tree)?;
    }
    Ok(tree)
}

/// Gives a mount its place: on top of an open file or directory.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Takes a mount away from its place, given its root; it ends with the last reference to it.
pub fn detach(mount: impl AsFd) -> io::Result<()> {
    let link = format!("/proc/self/fd/{}", mount.as_fd().as_raw_fd());
    Ok(unmount(link, UnmountFlags::DETACH)?)
}

/// Opens what is at a path, links followed, to be named and not to be read.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Nothing that is mounted from here on is seen by other namespaces.
pub fn make_all_private() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Makes `root`, which is a mount, the root of this namespace and lets go of the old one.
pub fn pivot_into(root: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
