//! Attributes of mounts that are not attached yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Makes one mount read-only (`mount_setattr(2)`).
pub fn set_read_only(mount: impl AsFd) -> io::Result<()> {
    set(mount, libc::AT_EMPTY_PATH)
}

/// Makes a mount and everything mounted below it read-only.
pub(crate) fn set_tree_read_only(mount: impl AsFd) -> io::Result<()> {
    set(mount, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

fn set(mount: impl AsFd, flags: i32) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a constant string, the structure lives through the call and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
