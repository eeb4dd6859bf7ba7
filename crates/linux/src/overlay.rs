//! Overlay mounts that have no place in the tree.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

/// A stack of directories shown as one.
///
/// Every mount uses `userxattr,redirect_dir=nofollow,metacopy=off,index=off`, so that the directories are whole layers by
/// themselves whoever mounts them (docs/adr/0004). Not `redirect_dir=off`: with the module parameter `redirect_always_follow`,
/// which is on by default, `off` still follows redirects and is refused beside `userxattr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Read-only directories, the top one first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; without it the result is read-only.
    pub upper: Option<PathBuf>,
    /// The kernel's own directory on the file system of `upper`; needed with it.
    pub work: Option<PathBuf>,
}

impl Overlay {
    /// Mounts the stack detached and returns its root; the mount ends with the last reference to it.
    ///
    /// Needs `CAP_SYS_ADMIN` and, for more than one lower directory, Linux 6.5 (`lowerdir+`).
    pub fn mount_detached(&self) -> io::Result<OwnedFd> {
        if let ([lower], None) = (self.lowers.as_slice(), &self.upper) {
            return clone_read_only(lower);
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |name: &str, path: &PathBuf| -> io::Result<()> {
            let value = CString::new(path.as_os_str().as_bytes())?;
            Ok(fsconfig_set_string(&context, name, &value)?)
        };
        for lower in &self.lowers {
            set("lowerdir+", lower)?;
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            set("upperdir", upper)?;
            set("workdir", work)?;
        }
        for (name, value) in [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
            fsconfig_set_string(&context, name, value)?;
        }
        fsconfig_set_flag(&context, "userxattr")?;
        fsconfig_create(&context)?;
        let attributes =
            if self.upper.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }
}

/// An overlay of one read-only directory is refused by the kernel: a copy of the directory's own mount serves.
fn clone_read_only(dir: &PathBuf) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, dir, flags)?;
    crate::mount_attr::set_read_only(&tree)?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    #[test]
    fn writes_go_to_the_upper_directory_only() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b", "upper", "work"] {
            fs_err::create_dir(path(name)).unwrap();
        }
        fs_err::write(path("a/f"), "a").unwrap();
        fs_err::write(path("b/f"), "b").unwrap();
        let overlay = Overlay {
            lowers: vec![path("b"), path("a")],
            upper: Some(path("upper")),
            work: Some(path("work")),
        };
        let root = crate::Root::from_fd(overlay.mount_detached().unwrap());
        assert_eq!(io::read_to_string(root.open_file("f").unwrap()).unwrap(), "b");
        root.create_file("new", 0o644).unwrap();
        assert!(path("upper/new").exists() && !path("a/new").exists());
        let single = Overlay { lowers: vec![path("a")], upper: None, work: None };
        let root = crate::Root::from_fd(single.mount_detached().unwrap());
        assert_eq!(io::read_to_string(root.open_file("f").unwrap()).unwrap(), "a");
        assert!(root.create_file("new", 0o644).is_err());
    }
}
