//! Docker's published defaults. Source of the lists: moby `daemon/pkg/oci/defaults.go` and `daemon/pkg/oci/caps/defaults.go`.

use shipway_linux::Capabilities;

use crate::CapabilityProfile;

/// What a build step has.
const BUILD: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
];

/// What a container has beside.
const CONTAINER: [&str; 3] = ["MKNOD", "NET_RAW", "AUDIT_WRITE"];

/// Files that show nothing and directories that are empty.
pub(crate) const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/firmware",
    "sys/devices/virtual/powercap",
];

/// What can be read only.
pub(crate) const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Character devices in `/dev`: name, major, minor.
pub(crate) const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What the device controller allows: making any node, opening these.
pub(crate) const DEVICE_RULES: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Symbolic links in `/dev`.
pub(crate) const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where programs are looked for if the environment does not say.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the capabilities of a profile.
pub(crate) fn capabilities(profile: CapabilityProfile) -> Capabilities {
    let more: &[&str] = match profile {
        CapabilityProfile::Container => &CONTAINER,
        CapabilityProfile::Build => &[],
    };
    let names = BUILD.iter().chain(more).copied();
    Capabilities::of_names(names).expect("the names above are the kernel's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_dockers() {
        // The value that `CapEff` shows in a container of Docker's.
        assert_eq!(capabilities(CapabilityProfile::Container).bits(), 0xa804_25fb);
    }
}
