//! Python's distributions. Specs: PyPA, core metadata and recording installed projects.

use std::path::Path;

use shipway_linux::{Kind, Root};

use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Larger metadata is refused, in bytes: descriptions are part of it.
const LIMIT: u64 = 8 << 20;
/// A licence that is longer is its text, not its name.
const NAME: usize = 100;
const CLASSIFIER: &str = "License :: OSI Approved :: ";

/// Returns where the metadata of a distribution is, if a path is one.
pub(crate) fn metadata_of(path: &Path, kind: Kind) -> Option<std::path::PathBuf> {
    let name = path.file_name()?.to_str()?;
    match kind {
        Kind::Directory if name.ends_with(".dist-info") => Some(path.join("METADATA")),
        Kind::Directory if name.ends_with(".egg-info") => Some(path.join("PKG-INFO")),
        Kind::File if name.ends_with(".egg-info") => Some(path.to_owned()),
        _ => None,
    }
}

/// Reads the metadata of a distribution.
pub(crate) fn package(root: &Root, path: &Path, listing: &mut Listing<'_>) {
    match listing.read(root, path, LIMIT) {
        Ok(text) => {
            let found = text.and_then(|text| parse(&text, &format!("/{}", path.display())));
            found.map(|package| listing.add(package));
        }
        Err(error) => listing.unread(path, &error),
    }
}

fn parse(text: &str, place: &str) -> Option<Package> {
    // The description comes after an empty line.
    let header = text.lines().take_while(|line| !line.trim().is_empty());
    let fields: Vec<(&str, &str)> = header
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .filter(|(_, value)| !value.is_empty() && *value != "UNKNOWN")
        .collect();
    let all = |wanted: &'static str| {
        fields.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    };
    let value = |wanted| all(wanted).next();
    let mut package = Package::new(Ecosystem::Python, value("Name")?, value("Version")?, place);
    let named = value("License").filter(|licence| licence.len() <= NAME);
    let classified = || {
        let names: Vec<&str> = all("Classifier").filter_map(|of| of.strip_prefix(CLASSIFIER)).collect();
        (!names.is_empty()).then(|| names.join(" and "))
    };
    package.licence = value("License-Expression").or(named).map(str::to_owned).or_else(classified);
    package.homepage = value("Home-page").map(str::to_owned);
    let address = value("Author-email");
    package.maintainer = match (value("Author"), address) {
        (Some(author), Some(address)) if !address.contains('<') => Some(format!("{author} <{address}>")),
        (author, address) => address.or(author).map(str::to_owned),
    };
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_every_age_is_read() {
        let old = "Metadata-Version: 2.1
Name: Flask
Version: 2.2.5
Summary: A simple framework for building complex web applications.
Home-page: https://palletsprojects.com/p/flask
Author: Armin Ronacher
Author-email: armin.ronacher@active-4.com
License: BSD-3-Clause
Classifier: License :: OSI Approved :: BSD License
Requires-Dist: Werkzeug (>=2.2.2)

Name: not this one
";
        let new = "Metadata-Version: 2.4\nName: attrs\nVersion: 25.1.0\nAuthor-email: Hynek Schlawack <hs@ox.cx>\n\
                   License-Expression: MIT\nLicense-File: LICENSE\n\nattrs is …\n";
        let classified =
            "Name: x\nVersion: 1\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n";
        let long = format!("Name: x\nVersion: 1\nLicense: {}\n        and more\n", "word ".repeat(40));
        for (name, text, licence, maintainer) in [
            ("old", old, Some("BSD-3-Clause"), Some("Armin Ronacher <armin.ronacher@active-4.com>")),
            ("new", new, Some("MIT"), Some("Hynek Schlawack <hs@ox.cx>")),
            ("classified", classified, Some("MIT License"), None),
            ("the text of a licence", &long, None, None),
        ] {
            let package = parse(text, "/x").unwrap();
            assert_eq!(
                (package.licence.as_deref(), package.maintainer.as_deref()),
                (licence, maintainer),
                "case {name}"
            );
        }
        assert_eq!(parse(old, "/x").unwrap().name, "Flask");
        for text in ["", "Name: x\n", "Version: 1\n", "\nName: x\nVersion: 1\n", "Name:\nVersion: 1\n"] {
            assert_eq!(parse(text, "/x"), None, "case {text:?}");
        }
    }

    #[test]
    fn only_metadata_is_looked_at() {
        for (path, kind, want) in [
            ("usr/lib/python3/dist-packages/six.dist-info", Kind::Directory, Some("six.dist-info/METADATA")),
            ("a/x.egg-info", Kind::Directory, Some("x.egg-info/PKG-INFO")),
            ("a/x.egg-info", Kind::File, Some("x.egg-info")),
            ("a/x.dist-info", Kind::File, None),
            ("a/six.py", Kind::File, None),
        ] {
            let found = metadata_of(Path::new(path), kind);
            assert_eq!(found.is_some(), want.is_some(), "case {path}");
            assert!(found.is_none_or(|found| found.ends_with(want.unwrap())), "case {path}");
        }
    }
}
