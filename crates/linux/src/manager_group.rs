//! Getting out of the group that a service manager would end us with.

use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::move_here;

/// A group of our own in the hierarchies that service managers use; empty if nobody manages us there.
#[derive(Debug, Default)]
pub struct OwnGroup {
    /// Root of a hierarchy and our group in it.
    groups: Vec<(PathBuf, PathBuf)>,
}

impl OwnGroup {
    /// Moves this process to the group `path` wherever a manager has put it into one that is not the root.
    pub fn enter(path: &str) -> io::Result<Self> {
        let mut own = Self::default();
        let text = std::fs::File::open("/proc/self/cgroup").and_then(io::read_to_string)?;
        for root in managed(&text, Path::new("/sys/fs/cgroup")) {
            let group = root.join(path);
            let make = || std::fs::DirBuilder::new().recursive(true).create(&group);
            // Somebody else may be removing the parent, which was empty.
            make().or_else(|_raced| make())?;
            own.groups.push((root, group.clone()));
            move_here(&group)?;
        }
        Ok(own)
    }

    /// Goes to the root of the hierarchy and removes the group.
    pub fn leave(self) -> io::Result<()> {
        for (root, group) in &self.groups {
            // Inside a container the root is a group like others, and has been emptied.
            move_here(root).or_else(|_emptied| move_here(&root.join(crate::cgroup::LEAF)))?;
            std::fs::remove_dir(group)?;
            // A parent directly below the root is ours as well; another container's group in it keeps it.
            if let Some(parent) = group.parent().filter(|parent| parent.parent() == Some(root)) {
                drop(std::fs::remove_dir(parent));
            }
        }
        Ok(())
    }
}

/// Returns the roots of the hierarchies in which the process is not in the root group. Spec: cgroups(7), `/proc/[pid]/cgroup`.
fn managed(text: &str, mount: &Path) -> Vec<PathBuf> {
    let unified =
        if mount.join("cgroup.controllers").exists() { mount.to_owned() } else { mount.join("unified") };
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let root = match (number, names) {
                ("0", "") => unified.clone(),
                (_, "name=systemd") => mount.join("systemd"),
                _ => return None,
            };
            (path != "/" && root.join("cgroup.procs").exists()).then_some(root)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_managers_hierarchies_count() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["systemd", "unified", "memory"] {
            fs_err::create_dir(dir.path().join(name)).unwrap();
            fs_err::write(dir.path().join(name).join("cgroup.procs"), "").unwrap();
        }
        let of = |text| managed(text, dir.path());
        assert_eq!(of("4:memory:/user\n1:name=systemd:/\n0::/\n"), Vec::<PathBuf>::new());
        let both = of("4:memory:/user\n1:name=systemd:/a.service\n0::/a.service:odd\n");
        assert_eq!(both, [dir.path().join("systemd"), dir.path().join("unified")]);
        fs_err::write(dir.path().join("cgroup.controllers"), "").unwrap();
        fs_err::write(dir.path().join("cgroup.procs"), "").unwrap();
        assert_eq!(of("0::/user.slice\n"), [dir.path().to_owned()]);
    }
}
