//! Everything that is installed in an image.

use std::collections::HashSet;
use std::path::Path;

use shipway_linux::{Kind, Root};

use crate::files::{read, walk};
use crate::{Package, Release, apk, dpkg, node, programs, python, rpm};

/// Largest `os-release`, in bytes.
const RELEASE_LIMIT: u64 = 64 << 10;
/// So many notes are kept.
const NOTES: usize = 100;

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
    /// Looks at the files of an image. Never fails: what cannot be read is told in the notes.
    pub fn read(root: &Root) -> Self {
        let mut notes = Vec::new();
        let releases = ["etc/os-release", "usr/lib/os-release"];
        let text = releases.iter().find_map(|path| read(root, Path::new(path), RELEASE_LIMIT).ok().flatten());
        let mut packages = dpkg::packages(root, &mut notes);
        packages.extend(apk::packages(root, &mut notes));
        packages.extend(rpm::packages(root, &mut notes));
        let mut modules = Vec::new();
        let mut distributions = Vec::new();
        let mut executables = Vec::new();
        // A program may have several names.
        let mut names = HashSet::new();
        let left_out = walk(root, |path, found| {
            let is_program = found.kind == Kind::File && found.mode & 0o111 != 0;
            if is_program && (found.links < 2 || names.insert((found.device, found.inode))) {
                executables.push(path.to_owned());
            }
            if let Some(metadata) = python::metadata_of(path, found.kind) {
                distributions.push(metadata);
                return false;
            }
            if node::is_module(path) {
                modules.push(path.to_owned());
            }
            true
        });
        notes.extend(left_out);
        packages.extend(distributions.iter().filter_map(|path| python::package(root, path, &mut notes)));
        packages.extend(modules.iter().filter_map(|path| node::package(root, path, &mut notes)));
        for path in &executables {
            match programs::packages(root, path) {
                Ok(found) => packages.extend(found),
                Err(error) => notes.push(format!("/{} could not be read: {error}", path.display())),
            }
        }
        packages.sort();
        packages.dedup();
        if notes.len() > NOTES {
            let more = notes.len() - NOTES;
            notes.truncate(NOTES);
            notes.push(format!("{more} more files could not be read"));
        }
        Self { release: text.and_then(|text| Release::parse(&text)), packages, notes }
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

        let found = Inventory::read(&root);
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
    fn an_empty_image_has_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Inventory::read(&Root::open(dir.path()).unwrap()), Inventory::default());
    }
}
