//! Everything that is installed in an image.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use shipway_linux::{Kind, Root};

use crate::files::{read, walk};
use crate::listing::Listing;
use crate::{Package, Release, apk, dpkg, node, programs, python, rpm};

/// Largest `os-release`, in bytes.
const RELEASE_LIMIT: u64 = 64 << 10;

/// Everything that is installed in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The distribution, if it says which one it is.
    pub release: Option<Release>,
    /// The packages, sorted.
    pub packages: Vec<Package>,
    /// What could not be read, a sentence each.
    pub notes: Vec<String>,
}

impl Inventory {
    /// Looks at the files of an image. Never fails: what cannot be read is told in the notes, and that there is more than what is read of
    /// any image. `None` if it was stopped: `stop` is asked all the time.
    pub fn read(root: &Root, stop: &dyn Fn() -> bool) -> Option<Self> {
        let releases = ["etc/os-release", "usr/lib/os-release"];
        let text = releases.iter().find_map(|path| read(root, Path::new(path), RELEASE_LIMIT).ok().flatten());
        let mut listing = Listing::new(stop);
        dpkg::packages(root, &mut listing);
        apk::packages(root, &mut listing);
        rpm::packages(root, &mut listing);
        // A program may have several names.
        let mut names = HashSet::new();
        let left_out = walk(root, |path, found| {
            if listing.is_over() {
                return ControlFlow::Break(());
            }
            if let Some(metadata) = python::metadata_of(path, found.kind) {
                python::package(root, &metadata, &mut listing);
                return ControlFlow::Continue(false);
            }
            if node::is_module(path) {
                node::package(root, path, &mut listing);
            }
            let is_program = found.kind == Kind::File && found.mode & 0o111 != 0;
            if is_program && (found.links < 2 || names.insert((found.device, found.inode))) {
                programs::packages(root, path, &mut listing);
            }
            ControlFlow::Continue(true)
        });
        left_out.into_iter().for_each(|note| listing.note(note));
        let (packages, notes) = listing.finish()?;
        Some(Self { release: text.and_then(|text| Release::parse(&text)), packages, notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ecosystem;

    fn write(dir: &Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    #[test]
    fn all_worlds_of_an_image_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(dir.path(), path, text);
        write("usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
        write(
            "var/lib/dpkg/status",
            "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n",
        );
        write("usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", "Name: six\nVersion: 1.16.0\n");
        write(
            "usr/lib/python3/dist-packages/six-1.16.0.dist-info/deep.dist-info/METADATA",
            "Name: no\nVersion: 1\n",
        );
        write("app/node_modules/a/package.json", r#"{"name":"a","version":"1.0.0"}"#);
        write("app/node_modules/a/node_modules/b/package.json", r#"{"name":"b","version":"2.0.0"}"#);
        write("app/node_modules/broken/package.json", "{");
        write("var/lib/rpm/Packages", "");
        write("lib/apk/db/installed", "P:musl\nV:1\n");
        let root = Root::open(dir.path()).unwrap();
        root.symlink(Path::new("../usr/lib/os-release"), "etc-release").unwrap();

        let found = Inventory::read(&root, &|| false).unwrap();
        let names: Vec<_> =
            found.packages.iter().map(|package| (package.ecosystem, package.name.as_str())).collect();
        assert_eq!(
            names,
            [
                (Ecosystem::Apk, "musl"),
                (Ecosystem::Deb, "bash"),
                (Ecosystem::Node, "a"),
                (Ecosystem::Node, "b"),
                (Ecosystem::Python, "six")
            ]
        );
        assert_eq!(found.release.unwrap().short(), "debian-12");
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].contains("its packages are not listed"));
        assert!(found.notes[1].starts_with("/app/node_modules/broken/package.json could not be read: "));
    }

    #[test]
    fn it_can_be_stopped_between_any_two_files() {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..50 {
            let text = r#"{"name":"a","version":"1"}"#;
            write(dir.path(), &format!("node_modules/{at}/package.json"), text);
        }
        let root = Root::open(dir.path()).unwrap();
        let asked = std::cell::Cell::new(0);
        let count = |limit: u32| {
            asked.set(asked.get() + 1);
            asked.get() > limit
        };
        assert!(Inventory::read(&root, &|| count(u32::MAX)).is_some());
        let all = asked.replace(0);
        assert!(all > 50, "{all}");
        assert_eq!(Inventory::read(&root, &|| count(20)), None);
        assert!(asked.get() < 30, "it went on: {}", asked.get());
    }

    #[test]
    fn an_empty_image_has_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let found = Inventory::read(&Root::open(dir.path()).unwrap(), &|| false);
        assert_eq!(found, Some(Inventory::default()));
    }
}
