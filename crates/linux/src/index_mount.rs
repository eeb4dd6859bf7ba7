//! Indexes as mounts: a tar that is shown as a tree, without a place in ours.
//!
//! An index is a file in the EROFS format that says where in a tar beside it the contents are. The kernel reads both
//! straight from the regular files: there is no loop device, and nothing is unpacked.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

/// The name of the file beside an index that has its contents.
pub const INDEX_DATA: &str = "tar";

/// The first version of Linux whose overlays stack mounts that have no place, given by descriptor.
const STACKS_MOUNTS: (u32, u32) = (6, 15);

/// Mounts an index detached and read-only and returns its root; the mount ends with the last reference to it.
///
/// The contents are those of the file [`INDEX_DATA`] in the same directory. Needs `CAP_SYS_ADMIN` and Linux 6.12, and both files on a file
/// system that keeps them in the page cache: neither tmpfs nor an overlay, which are refused with `Unsupported`.
pub fn mount_index(index: &Path) -> io::Result<OwnedFd> {
    let failed = |what: &str, error: &io::Error| {
        io::Error::new(error.kind(), format!("{what} `{}`: {error}", index.display()))
    };
    let tar = index.with_file_name(INDEX_DATA);
    // The kernel takes 255 bytes for a path: a number always fits.
    let index_file = File::open(index).map_err(|error| failed("opening the index", &error))?;
    let tar_file = File::open(tar).map_err(|error| failed("opening the tar beside the index", &error))?;
    mount(&index_file, &tar_file).map_err(|errno| match errno {
        Errno::NOTBLK => io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the kernel mounts no index on the file system of `{}`", index.display()),
        ),
        Errno::NODEV => io::Error::new(io::ErrorKind::Unsupported, "the kernel has no EROFS"),
        errno => failed("mounting the index", &errno.into()),
    })
}

fn mount(index: &File, tar: &File) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", format!("/proc/self/fd/{}", index.as_raw_fd()))?;
    fsconfig_set_string(&context, "device", format!("/proc/self/fd/{}", tar.as_raw_fd()))?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Returns whether an overlay can have indexes among its lower layers, as far as that is seen without mounting one: the kernel has EROFS
/// and stacks mounts that have no place. Looked at once.
pub fn can_mount_indexes() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let release = rustix::system::uname();
        version(&release.release().to_string_lossy()).is_some_and(|version| version >= STACKS_MOUNTS)
            && fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
    })
}

/// Returns the first two numbers of what a kernel calls itself.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Returns whether a layer is an index and no directory.
pub(crate) fn is_index(layer: &Path) -> bool {
    layer.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    #[test]
    fn versions_of_kernels_are_read_from_their_names() {
        let cases = [
            ("6.18.44", Some((6, 18))),
            ("6.15-rc1", Some((6, 15))),
            ("7.0.0-12-generic", Some((7, 0))),
            ("5.10+", Some((5, 10))),
            ("6", None),
            ("linux", None),
        ];
        for (release, want) in cases {
            assert_eq!(version(release), want, "{release}");
        }
    }

    #[test]
    fn what_is_missing_or_no_index_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("index");
        let missing = mount_index(&index).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().starts_with("opening the index `/"), "{missing}");
        fs_err::write(&index, [0; 4096]).unwrap();
        let alone = mount_index(&index).unwrap_err();
        assert_eq!(alone.kind(), io::ErrorKind::NotFound);
        assert!(alone.to_string().starts_with("opening the tar beside the index `/"), "{alone}");
        fs_err::write(dir.path().join(INDEX_DATA), []).unwrap();
        if !require(&[Need::Root, Need::Indexes]) {
            return;
        }
        assert!(can_mount_indexes());
        let zeros = mount_index(&index).unwrap_err().to_string();
        assert!(zeros.contains(index.to_str().unwrap()), "{zeros}");
    }
}
