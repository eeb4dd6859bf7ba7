//! What a program finds around it at its start: limits, umask, sysctls, its loopback device.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::fs::{IFlags, Mode, fstatfs, ioctl_getflags, ioctl_setflags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets the permissions that new files do not get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask));
}

/// Asks ext4 to keep what is in the directories of a directory apart from each other, each in a part of the disk where few files were removed a
/// short time ago: it passes over their inodes one by one for minutes. Other file systems refuse. Spec: ioctl_iflags(2), `FS_TOPDIR_FL`.
pub fn spread_directories(directory: impl AsFd) -> io::Result<()> {
    let flags = ioctl_getflags(&directory)?;
    if flags.contains(IFlags::TOPDIR) {
        return Ok(());
    }
    Ok(ioctl_setflags(&directory, flags | IFlags::TOPDIR)?)
}

/// Returns how long the machine has been running, also asleep. Setting its clock changes nothing of that.
pub fn since_boot() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    std::time::Duration::try_from(time).unwrap_or_default()
}

/// Returns whether this process may do what root may, in its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the user and the group of whoever started this process.
pub fn own_ids() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Limits the number of open files. A hard limit that is lower already stays; raising it needs a privilege we may lack.
pub fn limit_open_files(soft: u64, hard: u64) -> io::Result<()> {
    let allowed = getrlimit(Resource::Nofile).maximum.map_or(hard, |maximum| maximum.min(hard));
    let limit = Rlimit { current: Some(soft.min(allowed)), maximum: Some(allowed) };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Resources that a process can be limited in, by the names that `ulimit` options have. Compat: docker.
const RESOURCES: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Returns whether a process can be limited in something of this name.
pub fn is_limit(name: &str) -> bool {
    RESOURCES.iter().any(|(known, _)| *known == name)
}

/// Limits this process and its children in something, for which [`is_limit`] holds; `None` is no limit.
pub fn limit(name: &str, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    let (_, resource) =
        RESOURCES.iter().find(|(known, _)| *known == name).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(setrlimit(*resource, Rlimit { current: soft, maximum: hard })?)
}

/// Switches on the loopback device of this network namespace.
pub fn enable_loopback() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: the structure is plain bytes and numbers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, letter) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *place = letter.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).expect("two low bits");
    // SAFETY: the request lives through the call and is of the type that the number stands for.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns whether an open file is one of the kernel's process file system.
pub fn is_in_proc(file: impl AsFd) -> io::Result<bool> {
    const PROC_MAGIC: i64 = 0x9fa0;
    Ok(fstatfs(file)?.f_type == PROC_MAGIC)
}

/// Waits until either descriptor can be read (a pidfd: until its process has ended); returns whether the first can.
pub fn wait_readable(first: impl AsFd, second: impl AsFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut waiting = [PollFd::new(&first, PollFlags::IN), PollFd::new(&second, PollFlags::IN)];
    loop {
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => {}
            other => {
                other?;
                return Ok(!waiting[0].revents().is_empty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_known() {
        assert!(is_in_proc(std::fs::File::open("/proc/self/status").unwrap()).unwrap());
        assert!(!is_in_proc(std::fs::File::open("/").unwrap()).unwrap());
    }

    #[test]
    fn waiting_says_which_one_is_ready() {
        let (quiet, _open) = io::pipe().unwrap();
        let (ended, writer) = io::pipe().unwrap();
        drop(writer);
        assert!(wait_readable(&ended, &quiet).unwrap());
        assert!(!wait_readable(&quiet, &ended).unwrap());
    }

    #[test]
    fn directories_are_spread_where_the_file_system_knows_of_that() {
        let dir = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(dir.path()).unwrap();
        for _again in 0..2 {
            match spread_directories(&opened) {
                Ok(()) => assert!(ioctl_getflags(&opened).unwrap().contains(IFlags::TOPDIR)),
                Err(error) => assert!(matches!(
                    rustix::io::Errno::from_io_error(&error),
                    Some(rustix::io::Errno::NOTTY | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL)
                )),
            }
        }
    }
}
