//! Docker's default system call filter, as facts.
//!
//! Source of the lists: moby/profiles `seccomp/default.json`, commit cd3bed8061c7. Whatever is not listed here fails with
//! `EPERM`. Names that an architecture does not have are left out by the compiler of the filter.

use shipway_linux::{ArgumentTest, Capabilities, FilterAction, FilterRule, SyscallFilter};

/// Returns the filter for a program with some capabilities.
pub(crate) fn filter(capabilities: Capabilities) -> SyscallFilter {
    let allow = |calls, when| FilterRule { calls, when, action: FilterAction::Allow };
    let mut rules = vec![allow(ALWAYS, None), allow(TRACING, None)];
    let has = |name: &str| {
        capabilities.contains(Capabilities::of_names([name]).expect("the names below are the kernel's"))
    };
    rules.extend(BY_CAPABILITY.iter().filter(|(name, _)| has(name)).map(|(_, calls)| allow(calls, None)));
    let here = |architecture: &str| architecture == std::env::consts::ARCH;
    rules.extend(BY_ARCHITECTURE.iter().filter(|(name, _)| here(name)).map(|(_, calls)| allow(calls, None)));
    let families = [
        ArgumentTest::Below(FIRST_REFUSED_FAMILY),
        ArgumentTest::Equals(ALLOWED_FAMILY),
        ArgumentTest::Above(LAST_REFUSED_FAMILY),
    ];
    rules.extend(families.map(|test| allow("socket", Some((0, test)))));
    rules.extend(PERSONALITIES.map(|value| allow("personality", Some((0, ArgumentTest::Equals(value))))));
    if !has("SYS_ADMIN") {
        rules.push(allow("clone", Some((0, ArgumentTest::NoneOf(NAMESPACE_FLAGS)))));
        rules.push(FilterRule { calls: "clone3", when: None, action: FilterAction::Fail(CLONE3_ERRNO) });
    }
    SyscallFilter::compile(&rules, DEFAULT_ERRNO)
}

/// `EPERM`
const DEFAULT_ERRNO: u16 = 1;

/// Allowed to everybody, whatever the arguments.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
    get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount
    listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
    prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe
    rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
    sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64
    sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
    setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32
    setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask
    sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
    uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid
    waitpid write writev
";

/// Allowed since Linux 4.8, whose checks of a traced process are sound; older kernels are not supported.
const TRACING: &str = "ptrace process_vm_readv process_vm_writev";

/// Values of the first argument of `personality`: Linux, no randomisation and others that debuggers and old programs use.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Socket families below this are allowed, but not this one (`AF_ALG`) and not `AF_VSOCK`.
const FIRST_REFUSED_FAMILY: u32 = 38;
/// The family between the two refused ones (`AF_NFC`).
const ALLOWED_FAMILY: u32 = 39;
/// Families above this are allowed (`AF_VSOCK` is refused).
const LAST_REFUSED_FAMILY: u32 = 40;

/// Flags of `clone` that make namespaces, which only `CAP_SYS_ADMIN` may.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;

/// Errno of `clone3` without `CAP_SYS_ADMIN`: its flags cannot be looked at, and this one makes libraries use `clone`.
const CLONE3_ERRNO: u16 = 38;

/// Calls that come with an architecture, by Rust's name of it.
const BY_ARCHITECTURE: [(&str, &str); 2] = [
    ("x86_64", "arch_prctl modify_ldt"),
    ("aarch64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
];

/// Calls that come with a capability.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount \
         umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole_and_sane() {
        let always: Vec<&str> = ALWAYS.split_whitespace().collect();
        assert_eq!(always.len(), 361);
        for dangerous in [
            "mount",
            "clone",
            "clone3",
            "bpf",
            "keyctl",
            "io_uring_setup",
            "userfaultfd",
            "socket",
            "kexec_load",
        ] {
            assert!(!always.contains(&dangerous), "{dangerous}");
        }
        assert!(
            BY_CAPABILITY.iter().any(|(name, calls)| *name == "SYS_ADMIN" && calls.contains("move_mount"))
        );
    }
}
