//! The `Packages` file: every package of a component.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::rc::Rc;

use shipway_oci::Digest;

use crate::relation::{Relation, parse_relations};
use crate::version;

/// Who provides a virtual package: name of the package, and the version that it provides.
pub(crate) type Providers = HashMap<String, Vec<(Rc<str>, Option<String>)>>;

/// One version of a package, as the index describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) essential: bool,
    pub(crate) priority: String,
    pub(crate) depends: String,
    pub(crate) pre_depends: String,
    pub(crate) conflicts: String,
    pub(crate) breaks: String,
    pub(crate) provides: String,
    /// Below the archive's root.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) digest: Option<Digest>,
    /// The archive's number, in the order that indexes were added.
    pub(crate) archive: usize,
}

/// The packages of several indexes; of each name the highest version.
#[derive(Debug, Default)]
pub(crate) struct PackageIndex {
    packages: HashMap<String, Package>,
}

impl PackageIndex {
    /// Adds the packages of an index that `archive` offers. Paragraphs without name, version, path or digest do not count.
    pub(crate) fn add(&mut self, index: &mut dyn BufRead, archive: usize) -> io::Result<()> {
        let mut line = Vec::new();
        let mut package = Package { archive, ..Package::default() };
        let mut last_field = Vec::new();
        loop {
            line.clear();
            let end = index.read_until(b'\n', &mut line)? == 0;
            let text = line.trim_ascii_end();
            if end || text.is_empty() {
                let done = std::mem::replace(&mut package, Package { archive, ..Package::default() });
                self.insert(done);
                if end {
                    return Ok(());
                }
            } else if text[0].is_ascii_whitespace() {
                package.set(&last_field, text, true);
            } else if let Some(colon) = text.iter().position(|byte| *byte == b':') {
                last_field.clear();
                last_field.extend_from_slice(&text[..colon]);
                package.set(&last_field, &text[colon + 1..], false);
            }
        }
    }

    fn insert(&mut self, package: Package) {
        if package.name.is_empty()
            || package.version.is_empty()
            || package.path.is_empty()
            || package.digest.is_none()
        {
            return;
        }
        match self.packages.get(&package.name) {
            Some(known) if version::compare(&known.version, &package.version).is_ge() => {}
            _ => {
                self.packages.insert(package.name.clone(), package);
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// Returns all packages, in no order.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Returns who provides names that may be no packages, with what they say of the version.
    pub(crate) fn providers(&self) -> Providers {
        let mut found: Providers = HashMap::new();
        for package in self.packages.values().filter(|package| !package.provides.is_empty()) {
            let name: Rc<str> = package.name.as_str().into();
            for provided in package.provided() {
                let exact = provided.constraint.as_ref().and_then(|constraint| constraint.exact());
                let version = exact.map(str::to_owned);
                found.entry(provided.name).or_default().push((Rc::clone(&name), version));
            }
        }
        found
    }
}

impl Package {
    /// Returns what the package provides beside its own name.
    pub(crate) fn provided(&self) -> Vec<Relation> {
        parse_relations(&self.provides).into_iter().flatten().collect()
    }

    fn set(&mut self, field: &[u8], value: &[u8], continued: bool) {
        let text = || String::from_utf8_lossy(value).trim().to_owned();
        let target = match field {
            b"Package" => &mut self.name,
            b"Version" => &mut self.version,
            b"Architecture" => &mut self.architecture,
            b"Priority" => &mut self.priority,
            b"Depends" => &mut self.depends,
            b"Pre-Depends" => &mut self.pre_depends,
            b"Conflicts" => &mut self.conflicts,
            b"Breaks" => &mut self.breaks,
            b"Provides" => &mut self.provides,
            b"Filename" => &mut self.path,
            b"Essential" => return self.essential = text() == "yes",
            b"Size" => return self.size = text().parse().unwrap_or(0),
            b"SHA256" => return self.digest = format!("sha256:{}", text()).parse().ok(),
            _ => return,
        };
        if !continued {
            target.clear();
        }
        target.push_str(&text());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a paragraph of an index; `more` are further lines.
    pub(crate) fn paragraph(name: &str, version: &str, more: &str) -> String {
        let sum = "0".repeat(64);
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {sum}\n{more}\n"
        )
    }

    pub(crate) fn index_of(paragraphs: &[String]) -> PackageIndex {
        let mut index = PackageIndex::default();
        index.add(&mut paragraphs.join("\n").as_bytes(), 0).unwrap();
        index
    }

    #[test]
    fn the_highest_version_of_all_indexes_counts() {
        let mut index = PackageIndex::default();
        for (archive, version) in [(0, "1.9-1"), (1, "1.10-1"), (2, "1.10-1~bpo")] {
            index.add(&mut paragraph("a", version, "").as_bytes(), archive).unwrap();
        }
        let found = index.get("a").unwrap();
        assert_eq!((found.version.as_str(), found.archive), ("1.10-1", 1));
    }

    #[test]
    fn fields_may_continue_and_broken_paragraphs_do_not_count() {
        let index = index_of(&[
            paragraph(
                "a",
                "1",
                "Essential: yes\nDepends: b,\n c (>= 1)\nDescription: x\n .\n Depends: not this\n",
            ),
            "Package: b\nVersion: 1\n\n".to_owned(),
        ]);
        let found = index.get("a").unwrap();
        assert!(found.essential);
        assert_eq!(found.depends, "b,c (>= 1)");
        assert!(index.get("b").is_none());
    }
}
