//! Running from a copy of our own program that nothing in a container can write to.
//!
//! A process that is seen inside a container offers its program through `/proc/PID/exe`. If that were the host's file, root in
//! the container could overwrite it (CVE-2019-5736). Seen through an overlay without an upper directory it cannot be
//! opened for writing at all, at no cost in memory; where the kernel cannot do that, a sealed copy in memory serves.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::overlay::read_only_view;
use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals, fstatfs,
    fstatvfs, memfd_create, open, openat,
};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsmount, fsopen,
};

const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// Set for the second run: a program that still is not sealed then must not try for ever.
const MARKER: &str = "SHIPWAY_SEALED";

/// Returns if this process runs from a sealed program; otherwise starts it again, with the same arguments, from one.
///
/// Descriptors without close-on-exec stay open, as through any exec.
pub fn ensure_sealed() -> io::Result<()> {
    let running = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if is_sealed(&running)? {
        return Ok(());
    }
    if std::env::var_os(MARKER).is_some() {
        return Err(io::Error::other("the sealed copy of the program is not sealed"));
    }
    let sealed = through_overlay(view_by_descriptors)
        .or_else(|_older_kernel| through_overlay(read_only_view))
        .or_else(|_unsupported| in_memory(running.into()))?;
    let text = |value: OsString| CString::new(value.into_vec()).map_err(io::Error::from);
    let arguments = std::env::args_os().map(text).collect::<Result<Vec<_>, _>>()?;
    let variables = std::env::vars_os().chain([(OsString::from(MARKER), OsString::from("1"))]);
    let line = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    let environment = variables.map(line).collect::<Result<Vec<_>, _>>()?;
    Err(execute_file(&sealed, &arguments, &environment))
}

fn is_sealed(program: &OwnedFd) -> io::Result<bool> {
    let on_overlay = u64::try_from(fstatfs(program)?.f_type).is_ok_and(|magic| magic == OVERLAY_MAGIC);
    if on_overlay && fstatvfs(program)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    // Only files in memory have seals.
    Ok(fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SEAL)))
}

/// Opens our program through an overlay that has nowhere to write to.
fn through_overlay(view: impl Fn(&Path) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let path = rustix::fs::readlink("/proc/self/exe", Vec::new())?;
    let path = OsString::from_vec(path.into_bytes());
    let (Some(dir), Some(name)) = (Path::new(&path).parent(), Path::new(&path).file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let name: &OsStr = name;
    Ok(openat(view(dir)?, name, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Shows a directory in an overlay by descriptors, which newer kernels take.
fn view_by_descriptors(dir: &Path) -> io::Result<OwnedFd> {
    let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel wants two lower directories where there is no upper one.
    let nothing = crate::new_filesystem(
        "tmpfs",
        &[("size", "4096")],
        crate::MountAttributes { read_only: true, ..crate::MountAttributes::default() },
    )?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in [dir.as_fd(), nothing.as_fd()] {
        fsconfig_set_fd(&context, "lowerdir+", lower)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Copies our program into memory and seals it.
fn in_memory(mut program: File) -> io::Result<OwnedFd> {
    let mut copy: File = memfd_create("shipway", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
    io::copy(&mut program, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    // A file that is open for writing cannot be executed.
    let name = format!("/proc/self/fd/{}", copy.as_raw_fd());
    Ok(open(name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Becomes the program behind a descriptor; returns only if that fails.
fn execute_file(program: &OwnedFd, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: the path is a constant, both arrays end in null and point to strings that live until the call returns.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    #[test]
    fn neither_copy_can_be_written() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        let own = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(!is_sealed(&own).unwrap());
        let copies = [
            ("overlay by descriptors", through_overlay(view_by_descriptors).ok()),
            ("overlay by the option page", Some(through_overlay(read_only_view).unwrap())),
            ("memory", Some(in_memory(own.into()).unwrap())),
        ];
        for (name, copy) in copies {
            let Some(copy) = copy else { continue };
            let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
            let read = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert!(is_sealed(&read).unwrap(), "{name}");
            let writing = open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            let refused = match writing {
                Err(_) => true,
                // Memory can be opened for writing, and no byte of it changed.
                Ok(file) => {
                    rustix::io::write(&file, b"x").is_err() && rustix::fs::ftruncate(&file, 0).is_err()
                }
            };
            assert!(refused, "{name}");
        }
    }
}
