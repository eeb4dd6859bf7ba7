//! What there is on this machine, found out by trying where nothing else tells.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::{Overlay, Root};

use crate::roots::Roots;

/// Kinds of namespaces that containers are made of: their names in `/proc/self/ns` and in `user.max_…_namespaces`.
const NAMESPACES: [&str; 6] = ["mnt", "pid", "ipc", "uts", "net", "cgroup"];

/// Bit of `CAP_SYS_ADMIN`. Spec: `linux/capability.h`.
const SYS_ADMIN: u64 = 1 << 21;

/// What containers need of the machine.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The effective user is 0.
    pub(crate) root: bool,
    /// `CAP_SYS_ADMIN` is there.
    pub(crate) admin: bool,
    pub(crate) namespaces: Namespaces,
    /// What mounting two layers and a writable directory ended in.
    pub(crate) overlay: io::Result<()>,
    /// Whether attributes `user.*` can be set.
    pub(crate) user_attributes: bool,
    pub(crate) cgroups: Cgroups,
    /// Where it was tried.
    pub(crate) path: PathBuf,
}

/// Kinds that are not there.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// The kernel does not know them.
    pub(crate) missing: Vec<&'static str>,
    /// The limit is 0.
    pub(crate) forbidden: Vec<&'static str>,
}

/// The control groups.
#[derive(Debug)]
pub(crate) struct Cgroups {
    /// 1 or 2; 0 if there are none.
    pub(crate) version: u8,
    pub(crate) controllers: Vec<String>,
    pub(crate) writable: bool,
}

impl Facts {
    /// Looks at everything, and tries what nothing tells.
    pub(crate) fn find(roots: &Roots) -> Self {
        let place = TryOut::new(&roots.data);
        Self { overlay: place.overlay(), user_attributes: place.user_attributes(), ..Self::look(roots) }
    }

    /// Looks at what the kernel tells, and takes for granted what would have to be tried.
    pub(crate) fn look(roots: &Roots) -> Self {
        let status = read("/proc/self/status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let capabilities = field("CapEff:").first().and_then(|text| u64::from_str_radix(text, 16).ok());
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            // Real, effective, saved, of the file system.
            root: field("Uid:").get(1).is_some_and(|uid| uid == "0"),
            admin: capabilities.unwrap_or(0) & SYS_ADMIN != 0,
            namespaces: Namespaces::find(),
            overlay: Ok(()),
            user_attributes: true,
            cgroups: Cgroups::find(),
            path: roots.data.clone(),
        }
    }
}

impl Namespaces {
    fn find() -> Self {
        let is_missing = |kind: &&&str| !Path::new("/proc/self/ns").join(kind).exists();
        let is_forbidden =
            |kind: &&&str| read(&format!("/proc/sys/user/max_{kind}_namespaces")).trim() == "0";
        Self {
            missing: NAMESPACES.iter().filter(is_missing).copied().collect(),
            forbidden: NAMESPACES.iter().filter(is_forbidden).copied().collect(),
        }
    }
}

impl Cgroups {
    fn find() -> Self {
        Self::of(&read("/proc/self/mounts"), &read("/sys/fs/cgroup/cgroup.controllers"))
    }

    /// Reads the list of mounts, and the controllers of version 2.
    fn of(mounts: &str, unified: &str) -> Self {
        let mut cgroups = Self { version: 0, controllers: Vec::new(), writable: false };
        for mount in mounts.lines() {
            let mut fields = mount.split(' ').skip(1);
            let (Some(place), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let writable = options.split(',').any(|option| option == "rw");
            match kind {
                "cgroup2" if place == "/sys/fs/cgroup" => {
                    let controllers = unified.split_whitespace().map(str::to_owned).collect();
                    return Self { version: 2, controllers, writable };
                }
                "cgroup" => {
                    let names = place.rsplit('/').next().unwrap_or_default().split(',');
                    cgroups.version = 1;
                    cgroups.writable |= writable;
                    cgroups.controllers.extend(names.map(str::to_owned));
                }
                _ => {}
            }
        }
        cgroups
    }
}

/// A directory to try things in, gone afterwards.
#[derive(Debug)]
struct TryOut {
    dir: PathBuf,
}

impl TryOut {
    fn new(root: &Path) -> Self {
        Self { dir: root.join("tmp").join(format!("try-{}", std::process::id())) }
    }

    fn overlay(&self) -> io::Result<()> {
        let path = |name: &str| self.dir.join(name);
        if ["a", "b", "upper", "work"].iter().any(|name| self.make(name).is_err()) {
            return Ok(());
        }
        let overlay = Overlay {
            lowers: vec![path("b"), path("a")],
            upper: Some(path("upper")),
            work: Some(path("work")),
            ..Overlay::default()
        };
        overlay.mount_detached().map(drop)
    }

    fn user_attributes(&self) -> bool {
        let set = || Root::open(&self.dir)?.set_xattr("upper", "user.shipway", b"y");
        self.make("upper").is_err() || set().is_ok()
    }

    /// Where not even a directory can be made, nothing is found out: what the verb itself meets with is clearer.
    fn make(&self, name: &str) -> io::Result<()> {
        fs_err::create_dir_all(self.dir.join(name))
    }
}

impl Drop for TryOut {
    fn drop(&mut self) {
        if self.dir.exists()
            && let Err(error) = fs_err::remove_dir_all(&self.dir)
        {
            tracing::warn!(%error, "could not remove what was tried");
        }
    }
}

/// Returns a file's text; none where it cannot be read.
fn read(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_known_by_their_mounts() {
        let two = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let one = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
                   cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /sys/fs/cgroup/pids cgroup ro,pids 0 0\n";
        for (name, mounts, want) in [
            ("version 2", two, (2, 2, true)),
            ("read only", "cgroup2 /sys/fs/cgroup cgroup2 ro 0 0\n", (2, 2, false)),
            ("version 1", one, (1, 3, true)),
            ("none", "proc /proc proc rw 0 0\n", (0, 0, false)),
            ("2 beside 1 without a controller", "x /sys/fs/cgroup/unified cgroup2 rw 0 0\n", (0, 0, false)),
        ] {
            let found = Cgroups::of(mounts, "cpu pids\n");
            assert_eq!((found.version, found.controllers.len(), found.writable), want, "case {name}");
        }
    }
}
