//! What a process inherits from whoever started it, and what programs in containers are not to see of that.

use std::ptr;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{sched_getaffinity, sched_setaffinity};

/// Bytes of a signal set as the kernel has it, and numbers of an action: handler, flags, restorer and such a set. All zero, it is what the
/// system does by default. Spec: sigaction(2).
const SET: usize = 8;
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// `MLOCK_LIMIT` and `_STK_LIM` of the kernel.
const LOCKED: u64 = 8 << 20;
const STACK: u64 = 8 << 20;

/// What the kernel gives its first process, and services have that nobody limits. Compat: docker, whose containers have those of its service.
const LIMITS: [(Resource, Option<u64>, Option<u64>); 11] = [
    (Resource::As, None, None),
    (Resource::Core, None, None),
    (Resource::Cpu, None, None),
    (Resource::Data, None, None),
    (Resource::Fsize, None, None),
    (Resource::Locks, None, None),
    (Resource::Memlock, Some(LOCKED), Some(LOCKED)),
    (Resource::Nproc, None, None),
    (Resource::Rss, None, None),
    (Resource::Rttime, None, None),
    (Resource::Stack, Some(STACK), None),
];

/// Hears of the end of children again where whoever started this program has it ignore that: the kernel would keep nothing to wait for.
pub fn hear_of_children() {
    // SAFETY: resetting to the default installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Gives this process and its children what a service of this machine begins with, in place of the limits, processors and personality of the
/// shell that it was started from; to be called before there are other threads. What needs a privilege that is not there stays.
pub fn forget_caller() {
    for (resource, soft, hard) in LIMITS {
        if setrlimit(resource, Rlimit { current: soft, maximum: hard }).is_err() {
            // Up to the hard limit everybody may go.
            let maximum = getrlimit(resource).maximum;
            let current =
                soft.map_or(maximum, |soft| Some(maximum.map_or(soft, |maximum| soft.min(maximum))));
            let _stays = setrlimit(resource, Rlimit { current, maximum });
        }
    }
    // Those of the first process leave out what the machine keeps for itself (`isolcpus`).
    if let Ok(processors) = sched_getaffinity(Some(Pid::INIT)) {
        let _stays = sched_setaffinity(None, &processors);
    }
    // SAFETY: a plain number, that of Linux itself; what programs see of memory changes with the next one that is executed.
    unsafe { libc::personality(0) };
}

/// Sets signal handling and mask back to what a program expects at its start.
pub fn reset_signals() {
    for signal in 1..=64 {
        default_action(signal);
    }
    // SAFETY: a zeroed set is an empty one, and the pointer to the old mask may be null.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut()) };
}

/// Sets what a signal does back, also of those that the C library keeps for itself and refuses to change; numbers that cannot be changed are refused.
fn default_action(signal: libc::c_int) {
    // SAFETY: the action has room for what any architecture's kernel reads of one, lives through the call and installs no handler; the old one
    // is not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            DEFAULT_ACTION.as_ptr(),
            ptr::null_mut::<libc::c_void>(),
            SET,
        )
    };
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::Command;

    use super::*;

    /// What this process ignores, bit by bit.
    fn ignored() -> u64 {
        let status = io::read_to_string(std::fs::File::open("/proc/self/status").unwrap()).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    /// Has this process ignore a signal, as the kernel sees it.
    fn ignore(signal: libc::c_int) {
        let action = [libc::SIG_IGN as u64, 0, 0, 0];
        let old = ptr::null_mut::<libc::c_void>();
        // SAFETY: as above.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, SET) };
        assert_eq!(done, 0, "signal {signal}");
    }

    #[test]
    fn no_signal_stays_ignored_and_the_end_of_a_child_is_heard_of() {
        ignore(libc::SIGCHLD);
        assert!(Command::new("true").status().is_err(), "the kernel keeps nothing of it");
        hear_of_children();
        assert!(Command::new("true").status().unwrap().success());
        for signal in [libc::SIGCHLD, libc::SIGUSR1, 32, 33, 34, 64] {
            ignore(signal);
        }
        assert_ne!(ignored(), 0);
        reset_signals();
        assert_eq!(ignored(), 0);
    }

    #[test]
    fn limits_and_personality_of_the_caller_are_forgotten() {
        let lower = |resource, soft| {
            let maximum = getrlimit(resource).maximum;
            setrlimit(resource, Rlimit { current: Some(soft), maximum }).unwrap();
        };
        lower(Resource::Fsize, 1 << 20);
        lower(Resource::Stack, 1 << 20);
        // SAFETY: a plain number.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE.cast_unsigned().into()) };
        forget_caller();
        assert_eq!(getrlimit(Resource::Fsize).current, getrlimit(Resource::Fsize).maximum);
        assert_eq!(getrlimit(Resource::Stack).current, Some(STACK));
        // SAFETY: a plain number, which changes nothing.
        assert_eq!(unsafe { libc::personality(0xffff_ffff) }, 0);
    }
}
