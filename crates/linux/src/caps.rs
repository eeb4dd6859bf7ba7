//! Capabilities.

use std::io;

use crate::process::control;

/// A set of capabilities, one bit each. Numbers: `linux/capability.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// One half of the numbers.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION_3: u32 = 0x2008_0522;

/// The names without `CAP_`, in the kernel's order.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capabilities {
    /// Returns the set of some names, with or without `CAP_`; the first unknown name is the error.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut set = 0;
        for name in names {
            let bare = name.strip_prefix("CAP_").unwrap_or(name);
            let number = NAMES.iter().position(|known| *known == bare).ok_or(name)?;
            set |= 1 << number;
        }
        Ok(Self(set))
    }

    /// Returns the set that this process may have.
    pub fn permitted() -> io::Result<Self> {
        let mut header = Header { version: VERSION_3, pid: 0 };
        let mut data = [Data::default(); 2];
        // SAFETY: version 3 wants one header and two data structures, which live through the call.
        let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32))
    }

    /// Returns what is in either set.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in this set and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether every capability of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the bits, as `/proc/PID/status` shows them.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Takes everything else out of the bounding set: nothing started from here on can have it.
    pub fn bound(self) -> io::Result<()> {
        for number in 0..64_u32 {
            // A number that the kernel does not know ends the list.
            if self.0 & (1 << number) == 0 && control(libc::PR_CAPBSET_DROP, number.into()).is_err() {
                return if number as usize >= NAMES.len() { Ok(()) } else { Err(io::Error::last_os_error()) };
            }
        }
        Ok(())
    }

    /// Makes this the permitted and effective set; nothing is inheritable or ambient.
    pub fn apply(self) -> io::Result<()> {
        let mut header = Header { version: VERSION_3, pid: 0 };
        let half = |shift: u32| {
            let bits = u32::try_from((self.0 >> shift) & 0xffff_ffff).expect("masked to 32 bits");
            Data { effective: bits, permitted: bits, inheritable: 0 }
        };
        let data = [half(0), half(32)];
        // SAFETY: version 3 wants one header and two data structures, which live through the call.
        let done = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        control_ambient()
    }
}

fn control_ambient() -> io::Result<()> {
    let clear = libc::c_ulong::try_from(libc::PR_CAP_AMBIENT_CLEAR_ALL).expect("a small constant");
    control(libc::PR_CAP_AMBIENT, clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_added_and_taken_away() {
        let of = |names: &[&'static str]| Capabilities::of_names(names.iter().copied()).unwrap();
        let both = of(&["CHOWN"]).with(of(&["KILL"]));
        assert_eq!((both, both.without(of(&["CHOWN"]))), (of(&["CHOWN", "KILL"]), of(&["KILL"])));
        let status = fs_err::read_to_string("/proc/self/status").unwrap();
        let permitted = format!("CapPrm:\t{:016x}\n", Capabilities::permitted().unwrap().bits());
        assert!(status.contains(&permitted), "{status}");
    }

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(Capabilities::of_names(["CHOWN", "CAP_MKNOD"]).unwrap().bits(), 1 | 1 << 27);
        assert_eq!(Capabilities::of_names(["CHECKPOINT_RESTORE"]).unwrap().bits(), 1 << 40);
        assert_eq!(Capabilities::of_names(["NO_SUCH"]), Err("NO_SUCH"));
    }
}
