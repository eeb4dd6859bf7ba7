//! dpkg's database, as if dpkg had unpacked the packages itself.
//!
//! Each package is recorded as unpacked and not configured, with its list of files, its scripts, the digests of its
//! configuration files, and what it wants to be told of (triggers). dpkg then configures them as it always does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use md5::{Digest as _, Md5};

use crate::deb::Control;
use crate::tree::Tree;

const INFO: &str = "var/lib/dpkg/info";

/// A package that is in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) control: Control,
    /// Its paths as dpkg lists them.
    pub(crate) paths: Vec<Vec<u8>>,
}

impl Unpacked {
    /// Returns the name that its files in the database have. Packages of which several architectures may be installed
    /// together carry theirs.
    pub(crate) fn file_name(&self) -> String {
        match self.control_field("Multi-Arch").as_deref() {
            Some("same") => format!("{}:{}", self.name, self.architecture),
            _ => self.name.clone(),
        }
    }

    /// Whether it brings a script of this name.
    pub(crate) fn has_script(&self, name: &str) -> bool {
        self.control.files.iter().any(|file| file.name == name)
    }

    pub(crate) fn control_field(&self, field: &str) -> Option<String> {
        let text = self.control.text("control")?;
        crate::apt::paragraphs(&text).first()?.get(field).map(str::to_owned)
    }
}

/// What packages want to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// Paths and names, with the packages that are interested, as dpkg writes them.
    interests: BTreeMap<String, BTreeSet<String>>,
    /// Names that packages set off by being installed.
    activated: BTreeSet<String>,
}

/// Writes the database. Packages must be sorted by name.
pub(crate) fn write(tree: &Tree, packages: &[Unpacked]) -> io::Result<Triggers> {
    for folder in ["alternatives", "info", "parts", "triggers", "updates"] {
        tree.ensure_directory(format!("var/lib/dpkg/{folder}").as_ref())?;
    }
    tree.write(&format!("{INFO}/format"), 0o644, b"1\n")?;
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for package in packages {
        write_info(tree, package)?;
        status.push_str(&paragraph(tree, package)?);
        triggers.add(package);
    }
    tree.write("var/lib/dpkg/status", 0o644, status.as_bytes())?;
    tree.write("var/lib/dpkg/available", 0o644, b"")?;
    triggers.write(tree)?;
    Ok(triggers)
}

fn write_info(tree: &Tree, package: &Unpacked) -> io::Result<()> {
    let name = package.file_name();
    let mut list = package.paths.join(&b'\n');
    list.push(b'\n');
    tree.write(&format!("{INFO}/{name}.list"), 0o644, &list)?;
    for file in package.control.files.iter().filter(|file| file.name != "control") {
        let mode = if file.mode & 0o111 == 0 { 0o644 } else { 0o755 };
        tree.write(&format!("{INFO}/{name}.{}", file.name), mode, &file.bytes)?;
    }
    Ok(())
}

/// Returns the package's paragraph of the status file.
fn paragraph(tree: &Tree, package: &Unpacked) -> io::Result<String> {
    let control = package.control.text("control").unwrap_or_default();
    let mut text = String::new();
    for (number, line) in control.trim_end().lines().enumerate() {
        text.push_str(line);
        text.push('\n');
        if number == 0 {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    let conffiles = package.control.text("conffiles").unwrap_or_default();
    let mut header = "Conffiles:\n";
    // A line may start with a flag, such as `remove-on-upgrade`, for a file that is gone.
    for path in conffiles.lines().map(str::trim).filter(|line| line.starts_with('/')) {
        let Some(sum) = tree.md5(path)? else { continue };
        let line = writeln!(text, "{header} {path} {sum}");
        line.expect("a String takes everything");
        header = "";
    }
    text.push('\n');
    Ok(text)
}

impl Tree {
    /// Returns the MD5 sum of a file, which is how dpkg knows whether a configuration file was changed.
    fn md5(&self, path: &str) -> io::Result<Option<String>> {
        match fs_err::read(self.root().join(path.trim_start_matches('/'))) {
            Ok(bytes) => {
                let sum = Md5::digest(&bytes);
                Ok(Some(sum.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Triggers {
    /// Spec: `deb-triggers(5)`.
    fn add(&mut self, package: &Unpacked) {
        for line in package.control.text("triggers").unwrap_or_default().lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
            let interested = match directive {
                "interest" | "interest-await" => package.file_name(),
                "interest-noawait" => format!("{}/noawait", package.file_name()),
                "activate" | "activate-await" | "activate-noawait" => {
                    self.activated.insert(name.to_owned());
                    continue;
                }
                _ => continue,
            };
            self.interests.entry(name.to_owned()).or_default().insert(interested);
        }
    }

    fn write(&self, tree: &Tree) -> io::Result<()> {
        let mut of_files = String::new();
        for (name, interested) in &self.interests {
            if name.starts_with('/') {
                of_files.extend(interested.iter().map(|package| format!("{name} {package}\n")));
            } else {
                let lines: String = interested.iter().map(|package| format!("{package}\n")).collect();
                tree.write(&format!("var/lib/dpkg/triggers/{name}"), 0o644, lines.as_bytes())?;
            }
        }
        tree.write("var/lib/dpkg/triggers/File", 0o644, of_files.as_bytes())?;
        tree.write("var/lib/dpkg/triggers/Unincorp", 0o644, b"")
    }

    /// Returns the triggers that unpacking would have set off: by name, and by files below watched paths.
    pub(crate) fn pending(&self, packages: &[Unpacked]) -> Vec<String> {
        let has_path = |watched: &str| {
            packages.iter().flat_map(|package| &package.paths).any(|path| {
                let rest = path.strip_prefix(watched.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            })
        };
        let names = self.interests.keys();
        names
            .filter(
                |name| if name.starts_with('/') { has_path(name) } else { self.activated.contains(*name) },
            )
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::ControlFile;

    fn package(name: &str, files: &[(&str, u32, &str)], paths: &[&str]) -> Unpacked {
        let file = |(name, mode, text): &(&str, u32, &str)| ControlFile {
            name: (*name).to_owned(),
            mode: *mode,
            bytes: text.as_bytes().to_vec(),
        };
        Unpacked {
            name: name.to_owned(),
            version: "1".to_owned(),
            architecture: "amd64".to_owned(),
            control: Control { files: files.iter().map(file).collect() },
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn the_database_is_what_dpkg_would_have_written() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::start(dir.path(), "amd64").unwrap();
        tree.write("etc/a.conf", 0o644, b"text").unwrap();
        let packages = [
            package(
                "a",
                &[
                    ("control", 0o644, "Package: a\nVersion: 1\nMulti-Arch: same\nDescription: x\n y\n"),
                    ("postinst", 0o755, "#!/bin/sh\n"),
                    ("conffiles", 0o644, "/etc/a.conf\nremove-on-upgrade /etc/old\n/etc/missing\n"),
                    (
                        "triggers",
                        0o644,
                        "# c\ninterest-noawait /usr/share/shells\nactivate-noawait ldconfig\n",
                    ),
                ],
                &["/.", "/etc", "/etc/a.conf"],
            ),
            package(
                "b",
                &[
                    ("control", 0o644, "Package: b\n"),
                    ("triggers", 0o644, "interest ldconfig\ninterest other\n"),
                ],
                &["/.", "/usr/share/shells/b"],
            ),
        ];
        let triggers = write(&tree, &packages).unwrap();
        let read = |path: &str| fs_err::read_to_string(dir.path().join("var/lib/dpkg").join(path)).unwrap();
        assert_eq!(
            read("status"),
            "Package: a\nStatus: install ok unpacked\nVersion: 1\nMulti-Arch: same\nDescription: x\n y\n\
             Conffiles:\n /etc/a.conf 1cb251ec0d568de6a929b520c4aed8d1\n\nPackage: b\nStatus: install ok unpacked\n\n"
        );
        assert_eq!(read("info/a:amd64.list"), "/.\n/etc\n/etc/a.conf\n");
        assert_eq!(read("info/a:amd64.postinst"), "#!/bin/sh\n");
        assert_eq!(read("triggers/File"), "/usr/share/shells a:amd64/noawait\n");
        assert_eq!(read("triggers/ldconfig"), "b\n");
        assert_eq!(triggers.pending(&packages), ["/usr/share/shells", "ldconfig"]);
    }
}
