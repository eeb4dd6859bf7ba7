//! Processes: making one in new namespaces, watching it, becoming another program.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::ptr;

use crate::Cgroup;

/// Namespaces that a new process gets for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// None: those of its parent, and for processes the one that its parent has chosen for its children.
    Inherited,
    /// For mounts, processes, IPC and the host name.
    Own {
        /// A network namespace as well, with nothing but a loopback device that is down.
        network: bool,
    },
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process, and whether it is in its group.
    Child(io::Result<()>),
    /// The old one, with the new one's id and a descriptor that stands for it.
    Parent {
        /// Process id as the parent sees it.
        pid: i32,
        /// Stays valid whatever becomes of the number.
        pidfd: OwnedFd,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with a code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
}

impl Ended {
    /// Returns the exit code as shells and Docker give it: 128 + signal for a killed process.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Forks into a control group and, if asked, into new namespaces (`clone3(2)`).
///
/// Under version 2 the kernel makes the process in its group; under version 1 it goes there by itself. Moving another process would
/// wait for every processor of the machine to pass a quiet point, which takes some ten milliseconds.
///
/// # Panics
///
/// When the process has more than one thread: locks of the others would never be released in the child.
pub fn fork_into(namespaces: Namespaces, group: &Cgroup) -> io::Result<Forked> {
    assert!(thread_count() <= 1, "only a single-threaded process may fork");
    let mut pidfd: libc::c_int = -1;
    let mut flags = libc::CLONE_PIDFD;
    if let Namespaces::Own { network } = namespaces {
        flags |= libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        flags |= if network { libc::CLONE_NEWNET } else { 0 };
    }
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(flags.cast_unsigned());
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    let unified = group.unified()?;
    if let Some(unified) = &unified {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::from(unified.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM this is a fork; there are no other threads; pointer and size describe a live structure.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child(if unified.is_some() { Ok(()) } else { group.enter() })),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
        }
    }
}

/// `CLONE_INTO_CGROUP`, since Linux 5.7. Spec: `linux/sched.h`.
const INTO_CGROUP: u64 = 1 << 33;

/// Zero where `/proc` belongs to another process namespace and does not know us.
pub(crate) fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Waits for one child and reaps it.
pub fn wait_for(pid: i32) -> io::Result<Ended> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if libc::WIFSIGNALED(status) {
        Ok(Ended::Signaled(libc::WTERMSIG(status)))
    } else {
        Ok(Ended::Exited(libc::WEXITSTATUS(status)))
    }
}

/// Opens a descriptor that stands for a process.
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Opens a descriptor that stands for this process's parent, if that is still the process with this number.
pub fn open_parent(pid: i32) -> io::Result<OwnedFd> {
    let parent = open_pidfd(pid)?;
    // Looked at after the descriptor was opened: a parent that is still ours cannot have been another process then.
    let now = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    if now == Some(pid) { Ok(parent) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// Waits until the process behind a descriptor has ended, however long that takes.
pub fn wait_end(pidfd: impl AsFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Sends a signal to the process behind a descriptor; one that has ended is an error.
pub fn signal_pidfd(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers and a null pointer, which the kernel allows here.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until the process behind a descriptor has ended, or `timeout` has passed; returns whether it has.
pub fn wait_pidfd(pidfd: impl AsFd, timeout: std::time::Duration) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut waiting = [PollFd::new(&pidfd, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    Ok(poll(&mut waiting, Some(&limit))? > 0)
}

/// Leaves the terminal and the parent's session.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Orphans of our descendants become our children.
pub fn become_subreaper() -> io::Result<()> {
    control(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// The process dies with its parent.
pub fn die_with_parent() -> io::Result<()> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL.cast_unsigned().into())
}

/// Starts a program that is killed when this thread or process ends, however that comes, and that takes all signals, whatever is held
/// back here.
pub fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    let own = rustix::process::getpid();
    let bind = move || {
        die_with_parent()?;
        crate::interrupt::take_signals();
        // Who was quicker to die has left it to somebody else.
        if rustix::process::getppid() == Some(own) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: it makes three system calls, and neither takes memory nor locks; its errors are plain numbers.
    unsafe { command.pre_exec(bind) }.spawn()
}

/// No program started from here on gains privileges by set-uid bits or file capabilities.
pub fn no_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

pub(crate) fn control(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: plain numbers.
    let done = unsafe { libc::prctl(option, value, zero, zero, zero) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Joins the namespace behind a descriptor; for a pidfd, the namespaces that `kinds` names (`CLONE_NEW*`).
pub fn join_namespace(namespace: impl AsFd, kinds: i32) -> io::Result<()> {
    // SAFETY: plain system call on an open descriptor.
    if unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kinds) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The namespaces of a container that a second process joins.
pub const CONTAINER_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// The one of them that only processes made afterwards are in.
pub const PROCESS_NAMESPACE: i32 = libc::CLONE_NEWPID;

/// Sees its own cgroup as the root from here on.
pub fn new_cgroup_namespace() -> io::Result<()> {
    // SAFETY: plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives this thread mounts, a root and a working directory of its own.
pub(crate) fn new_mount_namespace() -> io::Result<()> {
    // SAFETY: plain system call; the flag implies CLONE_FS, so nothing of other threads changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the host name of this namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Sets supplementary groups, group and user, in the order that works.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length describe a live slice of group ids.
    if unsafe { libc::setgroups(groups.len(), groups.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers.
    if unsafe { libc::setresgid(gid, gid, gid) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers.
    if unsafe { libc::setresuid(uid, uid, uid) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Marks every descriptor above the three standard ones to be closed on exec.
pub fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: plain numbers.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a descriptor live through exec.
pub fn keep_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

/// Puts a descriptor in the place of standard input (0), output (1) or error (2).
pub fn replace_standard(fd: impl AsFd, place: u8) -> io::Result<()> {
    match place {
        0 => rustix::stdio::dup2_stdin(fd)?,
        1 => rustix::stdio::dup2_stdout(fd)?,
        _ => rustix::stdio::dup2_stderr(fd)?,
    }
    Ok(())
}

/// Becomes another program; returns only if that fails.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end in null and point to strings that live until the call returns.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once, without running anything of the parent's that it inherited.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Returns the working directory as the kernel knows it; it starts with `(unreachable)` outside the root.
pub fn kernel_working_directory() -> io::Result<Vec<u8>> {
    let mut buffer = [0_u8; 4096];
    // SAFETY: pointer and length describe the buffer.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let length = usize::try_from(length).map_err(|_negative| io::Error::last_os_error())?;
    Ok(buffer[..length.saturating_sub(1)].to_vec())
}

/// Makes an open directory the working directory.
pub fn change_directory(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::fchdir(dir)?)
}
