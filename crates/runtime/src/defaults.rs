//! Docker's published defaults. Source of the lists: moby `daemon/pkg/oci/defaults.go` and `daemon/pkg/oci/caps/defaults.go`.

use shipway_linux::Capabilities;

use crate::error::{Stage, StartFailure};
use crate::{CapabilityProfile, ContainerSpec};

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

/// What it allows in a privileged container.
pub(crate) const EVERY_DEVICE: [&str; 2] = ["c *:* rwm", "b *:* rwm"];

/// Character devices that a privileged container has beside: name, permissions, major, minor. Compat: BuildKit, `--security=insecure`.
pub(crate) const PRIVILEGED_DEVICES: [(&str, u32, u64, u64); 6] = [
    ("kmsg", 0o600, 1, 11),
    ("cuse", 0o600, 10, 203),
    ("fuse", 0o666, 10, 229),
    ("kvm", 0o666, 10, 232),
    ("net/tun", 0o666, 10, 200),
    ("loop-control", 0o600, 10, 237),
];

/// Major number of loop devices. Source: `Documentation/admin-guide/devices.txt`.
pub(crate) const LOOP: u64 = 7;

/// Loop devices that it has beside those of the host. Compat: BuildKit.
pub(crate) const SPARE_LOOPS: u64 = 8;

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

/// Returns the capabilities of a container. Compat: docker, what is added by name survives that all are dropped.
pub(crate) fn capabilities_of(spec: &ContainerSpec) -> Result<Capabilities, StartFailure> {
    let is_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let named = |names: &[String]| {
        let upper: Vec<String> = names.iter().map(|name| name.to_ascii_uppercase()).collect();
        let known = Capabilities::of_names(upper.iter().map(String::as_str).filter(|name| *name != "ALL"));
        known.map_err(|name| StartFailure::rule(Stage::Privileges, name, "there is no such capability"))
    };
    let (added, dropped) = (named(&spec.cap_add)?, named(&spec.cap_drop)?);
    let mut found = capabilities(spec.capabilities);
    if spec.privileged || is_all(&spec.cap_add) {
        // More than we have ourselves cannot be given.
        let own = Capabilities::permitted();
        found = own.map_err(|error| StartFailure::new(Stage::Privileges, &spec.id, &error))?;
    }
    if is_all(&spec.cap_drop) {
        found = Capabilities::default();
    }
    Ok(found.without(dropped).with(added))
}

/// Returns the capabilities of a profile.
fn capabilities(profile: CapabilityProfile) -> Capabilities {
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
    fn capabilities_are_added_and_dropped_by_name() {
        let set = |add: &[&str], drop: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            let spec =
                ContainerSpec { cap_add: owned(add), cap_drop: owned(drop), ..ContainerSpec::default() };
            capabilities_of(&spec).map(Capabilities::bits).map_err(|failure| failure.subject)
        };
        let default = 0xa804_25fb;
        assert_eq!(set(&[], &[]), Ok(default));
        assert_eq!(set(&["NET_ADMIN"], &["cap_chown"]), Ok((default | 1 << 12) & !1));
        assert_eq!(set(&["CHOWN"], &["all"]), Ok(1));
        assert_eq!(set(&["ALL"], &[]), Ok(Capabilities::permitted().unwrap().bits()));
        assert_eq!(set(&["CAP_FLY"], &[]), Err("CAP_FLY".to_owned()));
        let privileged = ContainerSpec { privileged: true, ..ContainerSpec::default() };
        assert_eq!(capabilities_of(&privileged).unwrap(), Capabilities::permitted().unwrap());
    }

    #[test]
    fn the_default_set_is_dockers() {
        // The value that `CapEff` shows in a container of Docker's.
        assert_eq!(capabilities(CapabilityProfile::Container).bits(), 0xa804_25fb);
    }
}
