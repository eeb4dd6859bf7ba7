//! What a container should be.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::TerminalSize;

/// Everything that the shim needs to know about a container.
///
/// A file without a field that came later means its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unique name below the state root.
    pub id: String,
    /// Host name in the container.
    pub hostname: String,
    /// `/etc/hostname` is the image's, not a file of the container with that name.
    pub keeps_hostname_file: bool,
    /// Program and arguments; the program is looked up in the container's `PATH`.
    pub args: Vec<String>,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory in the container; made if it is missing.
    pub cwd: String,
    /// `user[:group]`, names or numbers, looked up in the container; empty is root.
    pub user: String,
    /// The root file system.
    pub rootfs: Rootfs,
    /// What is mounted into it, in order.
    pub mounts: Vec<Mount>,
    /// What network it sees.
    pub network: Network,
    /// Contents of `/etc/resolv.conf`, if it should not be the image's.
    pub resolv_conf: Option<String>,
    /// Contents of `/etc/hosts`, if it should not be the image's.
    pub hosts: Option<String>,
    /// The container cannot write to those two.
    pub names_read_only: bool,
    /// What the root user of the container may do.
    pub capabilities: CapabilityProfile,
    /// Capabilities beside those, with or without `CAP_`; `ALL` is all that there are.
    pub cap_add: Vec<String>,
    /// Capabilities taken away from those, before any is added; `ALL` is all of them.
    pub cap_drop: Vec<String>,
    /// No program in it gains privileges.
    pub no_new_privileges: bool,
    /// Only namespaces are between it and the host: its root user has every capability that we have, makes every system call,
    /// uses every device, and sees and writes all of `/proc` and `/sys`.
    pub privileged: bool,
    /// Limits.
    pub resources: Resources,
    /// Name of the control group above the container's own, relative to the hierarchy's root.
    pub cgroup_parent: String,
    /// Name of somebody's control group above that, in the hierarchies that have it, which bounds the container too; empty for none.
    pub cgroup_above: String,
    /// Ports of the host that lead to the container.
    pub publish: Vec<PortMapping>,
    /// The container's address, which published ports lead to.
    pub address: Option<Ipv4Addr>,
    /// Notes of whoever asked for it, found again after a restart.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Whether the program has a terminal, and its size at the start.
    pub terminal: Option<TerminalSize>,
    /// Limits of its processes; others are the usual ones.
    #[serde(default)]
    pub limits: Vec<ProcessLimit>,
    /// Bytes of `/dev/shm`; [`SHM_SIZE`] if not said.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// The process that starts it, if the container is to end with that process however it ends.
    pub ends_with: Option<i32>,
    /// Arguments that the shim runs this program with when the container has ended; nothing if there are none.
    pub after: Vec<String>,
}

/// Compat: docker, the usual bytes of `/dev/shm`.
pub const SHM_SIZE: u64 = 64 << 20;

/// A root file system of layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Read-only directories, the top one first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// The overlay's own directory.
    pub work: PathBuf,
    /// The container cannot write to it.
    pub read_only: bool,
    /// What the container writes need not outlast a power cut: nothing in it waits for the disk. See [`shipway_linux::Overlay`].
    #[serde(default)]
    pub volatile: bool,
}

/// Something of the host that the container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What it is.
    pub kind: MountKind,
    /// Where it is in the container; made if it is missing.
    pub target: PathBuf,
    /// The container cannot write to it.
    pub read_only: bool,
    /// Most bytes of one in memory.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A limit of each process: `ulimit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimit {
    /// What is limited: `nofile`, `nproc` and so on, see `setrlimit(2)`.
    pub name: String,
    /// What a process begins with; `None` is no limit.
    pub soft: Option<u64>,
    /// What it may raise that to; `None` is no limit.
    pub hard: Option<u64>,
}

/// Kinds of mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind(PathBuf),
    /// A mount of somebody's that has no place yet, or what is at a path in it, which has no links.
    Detached {
        /// The link of its descriptor, `/proc/PID/fd/N`.
        link: PathBuf,
        /// All of it if empty.
        sub: PathBuf,
    },
    /// An empty directory in memory.
    Tmpfs,
}

/// What network a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing but a loopback device.
    #[default]
    None,
    /// The host's.
    Host,
    /// A namespace that somebody made, by the file that stands for it.
    Path(PathBuf),
}

/// Sets of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapabilityProfile {
    /// Docker's fourteen.
    #[default]
    Container,
    /// Docker's without `AUDIT_WRITE`, `MKNOD` and `NET_RAW`: what a build step needs. Compat: Podman's default.
    Build,
}

/// Limits of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A port of the host that leads to one of the container (TCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address of the host.
    pub host_ip: IpAddr,
    /// Port of the host; 0 is any free one, the same for `0.0.0.0` and `[::]`.
    pub host_port: u16,
    /// Port of the container.
    pub container_port: u16,
}
