//! Overlay mounts that have no place in the tree.

mod option_page;

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use crate::index_mount::is_index;
use crate::{can_mount_indexes, mount_index};
pub(crate) use option_page::read_only_view;

/// How many lower directories the kernel stacks (`OVL_MAX_STACK`).
pub const MAX_LOWERS: usize = 500;

/// The options of every mount; a flag has no value.
const OPTIONS: [(&str, &str); 4] =
    [("userxattr", ""), ("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// The option for [`Overlay::volatile`]. Linux 5.10 and newer have it.
const VOLATILE: &str = "volatile";

/// A stack of directories and indexes shown as one.
///
/// Every mount uses `userxattr,redirect_dir=nofollow,metacopy=off,index=off`, so that the layers are whole by
/// themselves whoever mounts them (docs/adr/0004). Not `redirect_dir=off`: with the module parameter `redirect_always_follow`,
/// which is on by default, `off` still follows redirects and is refused beside `userxattr`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Read-only directories, or indexes (see [`mount_index`]), the top one first. A path of a regular file is that of an index.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; without it the result is read-only.
    pub upper: Option<PathBuf>,
    /// The kernel's own directory on the file system of `upper`; needed with it.
    pub work: Option<PathBuf>,
    /// What is written need not outlast a power cut: `fsync(2)` waits for nothing. Whoever says this uses nothing that was left by a
    /// mount when the machine went down, and syncs the file system of `upper` before the changes count.
    pub volatile: bool,
}

impl Overlay {
    /// Mounts the stack detached and returns its root; the mount ends with the last reference to it.
    ///
    /// Needs `CAP_SYS_ADMIN`.
    pub fn mount_detached(&self) -> io::Result<OwnedFd> {
        self.mount_by(if layers_can_be_appended() { Way::Appended } else { Way::OptionPage })
    }

    fn mount_by(&self, way: Way) -> io::Result<OwnedFd> {
        if let ([lower], None) = (self.lowers.as_slice(), &self.upper) {
            return if is_index(lower) { mount_index(lower) } else { clone_read_only(lower) };
        }
        if self.lowers.len() > MAX_LOWERS {
            let layers = self.lowers.len();
            return Err(unsupported(format!("{layers} layers, and the kernel stacks at most {MAX_LOWERS}")));
        }
        if (way == Way::OptionPage || !can_mount_indexes())
            && let Some(index) = self.lowers.iter().find(|lower| is_index(lower))
        {
            let index = index.display();
            return Err(unsupported(format!(
                "`{index}` is an index, and this kernel stacks directories alone (Linux 6.15 with EROFS does more)"
            )));
        }
        if let Some(upper) = &self.upper {
            see_user_attributes(upper)?;
        }
        if let (true, Some(work)) = (self.volatile, &self.work) {
            unmark(work)?;
        }
        let mounted = match way {
            Way::Appended => self.append(),
            Way::OptionPage => option_page::mount(self),
        };
        match mounted {
            // After an error of the disk that nobody has heard of yet, the kernel makes no mount that would not hear of it either.
            Err(error) if self.volatile && error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                self.work.as_deref().map_or(Ok(()), unmark)?;
                Self { volatile: false, ..self.clone() }.mount_by(way)
            }
            mounted => mounted,
        }
    }

    fn append(&self) -> io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |name: &str, path: &PathBuf| -> io::Result<()> {
            let value = CString::new(path.as_os_str().as_bytes())?;
            Ok(fsconfig_set_string(&context, name, &value)?)
        };
        // A mount without a place ends with its descriptor, and the kernel takes its own reference when all is told.
        let mut mounts = Vec::new();
        for lower in &self.lowers {
            if is_index(lower) {
                let mounted = mount_index(lower)?;
                fsconfig_set_fd(&context, "lowerdir+", &mounted)?;
                mounts.push(mounted);
            } else {
                set("lowerdir+", lower)?;
            }
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            set("upperdir", upper)?;
            set("workdir", work)?;
            if self.volatile {
                fsconfig_set_flag(&context, VOLATILE)?;
            }
        }
        for (name, value) in OPTIONS {
            match value {
                "" => fsconfig_set_flag(&context, name)?,
                value => fsconfig_set_string(&context, name, value)?,
            }
        }
        if !mounts.is_empty() {
            // Each index is a file system of its own: without this, inodes of several would have the same number, and another one after
            // their first change.
            fsconfig_set_string(&context, "xino", "on")?;
        }
        fsconfig_create(&context)?;
        let attributes =
            if self.upper.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    }
}

/// How the kernel is told what to stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One layer after the other, by `fsconfig(2)`.
    Appended,
    /// All in the one page that `mount(2)` takes: directories alone.
    OptionPage,
}

/// Returns whether the kernel knows `lowerdir+`. Looked at once.
///
/// A kernel from before there was that name either says so at once, or takes every option as it comes, also one that there is not, and
/// looks at none before the end. All three answer without a line in the kernel's log.
fn layers_can_be_appended() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Ok(context) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return false };
        let takes_all = fsconfig_set_flag(&context, "shipway").is_ok();
        !takes_all && fsconfig_set_string(&context, "lowerdir+", c"/").is_ok()
    })
}

/// Layers keep marks in user attributes; without them a directory that replaced another one would show what was in that.
fn see_user_attributes(upper: &Path) -> io::Result<()> {
    match rustix::fs::getxattr(upper, "user.overlay.opaque", &mut [0_u8; 8][..]) {
        Err(Errno::OPNOTSUPP) => Err(unsupported(format!(
            "`{}` is on a file system without user extended attributes (tmpfs has them from Linux 6.6 on)",
            upper.display()
        ))),
        // What else is wrong is said by the mount.
        _ => Ok(()),
    }
}

/// Takes away what the kernel leaves in `work` of a volatile mount, also one that has ended, so that nobody mounts the same again.
/// Spec: Documentation/filesystems/overlayfs.rst, "Volatile mount".
fn unmark(work: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(work.join("work/incompat/volatile")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn unsupported(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
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

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs_err::create_dir(dir.path().join(name)).unwrap();
        }
        dir
    }

    fn read(root: &crate::Root, name: &str) -> String {
        io::read_to_string(root.open_file(name).unwrap()).unwrap()
    }

    /// What this kernel can do; every kernel has the option page.
    fn ways() -> Vec<Way> {
        let appended = layers_can_be_appended().then_some(Way::Appended);
        appended.into_iter().chain([Way::OptionPage]).collect()
    }

    #[test]
    fn writes_go_to_the_upper_directory_only() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        for way in ways() {
            let dir = directory(&["a,odd:name", "b", "upper", "work"]);
            let path = |name: &str| dir.path().join(name);
            fs_err::write(path("a,odd:name/f"), "a").unwrap();
            fs_err::write(path("b/f"), "b").unwrap();
            fs_err::create_dir(path("a,odd:name/d")).unwrap();
            fs_err::write(path("a,odd:name/d/hidden"), "").unwrap();
            let overlay = Overlay {
                lowers: vec![path("b"), path("a,odd:name")],
                upper: Some(path("upper")),
                work: Some(path("work")),
                ..Overlay::default()
            };
            let root = crate::Root::from_fd(overlay.mount_by(way).unwrap());
            assert_eq!(read(&root, "f"), "b", "{way:?}");
            root.create_file("new", 0o644).unwrap();
            assert!(path("upper/new").exists() && !path("b/new").exists(), "{way:?}");
            // A directory in the place of another one needs a mark in a user attribute.
            root.remove_all("d").unwrap();
            root.create_dir("d", 0o755).unwrap();
            assert!(root.names("d").unwrap().is_empty(), "{way:?}");
            let marks = crate::Root::open(&path("upper")).unwrap().xattrs("d").unwrap();
            assert!(marks.contains(&("user.overlay.opaque".to_owned(), b"y".to_vec())), "{way:?}: {marks:?}");
        }
    }

    #[test]
    fn a_volatile_mount_can_be_made_again() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        for way in ways() {
            let dir = directory(&["a", "b", "upper", "work"]);
            let path = |name: &str| dir.path().join(name);
            let (upper, work) = (Some(path("upper")), Some(path("work")));
            let lowers = vec![path("b"), path("a")];
            let overlay = Overlay { lowers, upper, work, volatile: true };
            for name in ["first", "second"] {
                let root = crate::Root::from_fd(overlay.mount_by(way).unwrap());
                root.create_file(name, 0o644).unwrap();
                assert!(
                    path("work/work/incompat/volatile").exists(),
                    "{way:?}: the kernel takes it as asked"
                );
            }
            let lasting = Overlay { volatile: false, ..overlay };
            assert!(lasting.mount_by(way).is_err(), "{way:?}: nobody else takes it for lasting");
            assert!(path("upper/first").exists() && path("upper/second").exists(), "{way:?}");
        }
    }

    #[test]
    fn without_an_upper_directory_nothing_can_be_written() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        for way in ways() {
            let dir = directory(&["a", "b"]);
            fs_err::write(dir.path().join("a/f"), "a").unwrap();
            for lowers in [vec![dir.path().join("a")], vec![dir.path().join("b"), dir.path().join("a")]] {
                let overlay = Overlay { lowers, ..Overlay::default() };
                let root = crate::Root::from_fd(overlay.mount_by(way).unwrap());
                assert_eq!(read(&root, "f"), "a", "{way:?}");
                assert!(root.create_file("new", 0o644).is_err(), "{way:?}");
            }
        }
    }

    #[test]
    fn a_stack_may_be_as_high_as_the_kernel_allows() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        let dir = directory(&["upper", "work"]);
        let mut lowers = Vec::new();
        for number in 0..=MAX_LOWERS {
            let lower = dir.path().join(format!("a-layer-with-a-name-of-some-length-{number}"));
            fs_err::create_dir(&lower).unwrap();
            fs_err::write(lower.join("top"), number.to_string()).unwrap();
            fs_err::write(lower.join(format!("file-{number}")), "").unwrap();
            lowers.insert(0, lower);
        }
        let upper = Some(dir.path().join("upper"));
        let mut overlay =
            Overlay { lowers, upper, work: Some(dir.path().join("work")), ..Overlay::default() };
        for way in ways() {
            let refused = overlay.mount_by(way).unwrap_err();
            assert!(refused.to_string().starts_with("501 layers"), "{refused}");
        }
        overlay.lowers.remove(0);
        for way in ways() {
            let root = crate::Root::from_fd(overlay.mount_by(way).unwrap());
            assert_eq!(read(&root, "top"), (MAX_LOWERS - 1).to_string(), "{way:?}");
            assert_eq!(root.names("").unwrap().len(), MAX_LOWERS + 1, "{way:?}");
        }
    }

    #[test]
    fn an_index_is_refused_where_only_directories_are_stacked() {
        let dir = directory(&["a"]);
        let index = dir.path().join("index");
        fs_err::write(&index, "").unwrap();
        let overlay = Overlay { lowers: vec![dir.path().join("a"), index], ..Overlay::default() };
        let refused = overlay.mount_by(Way::OptionPage).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert!(refused.to_string().contains("/index` is an index"), "{refused}");
    }

    #[test]
    fn the_way_by_the_option_page_leaves_no_mount_and_no_thread_elsewhere() {
        if !require(&[Need::Root, Need::Overlay]) {
            return;
        }
        let dir = directory(&["a", "b"]);
        let place = std::env::current_dir().unwrap();
        let lowers = vec![dir.path().join("b"), dir.path().join("a")];
        let _mounted = Overlay { lowers, ..Overlay::default() }.mount_by(Way::OptionPage).unwrap();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
        assert_eq!(std::env::current_dir().unwrap(), place);
    }
}
