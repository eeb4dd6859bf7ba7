//! What dpkg has installed. Specs: deb-control(5), dpkg(1) for `status`; copyright-format 1.0.

use std::io;
use std::path::{Path, PathBuf};

use shipway_linux::Root;

use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Larger databases are refused, in bytes.
const LIMIT: u64 = 64 << 20;
const COPYRIGHT_LIMIT: u64 = 1 << 20;
/// So many licences of a package are told.
const LICENCES: usize = 16;
/// So many fields of a paragraph are looked at.
const FIELDS: usize = 256;

/// Reads the database of an image, and that of distroless images: a file for each package.
pub(crate) fn packages(root: &Root, listing: &mut Listing<'_>) {
    let status = PathBuf::from("var/lib/dpkg/status");
    for path in [status].into_iter().chain(single_files(root).unwrap_or_default()) {
        if listing.is_over() {
            return;
        }
        match listing.read(root, &path, LIMIT) {
            Ok(text) => add(root, &text.unwrap_or_default(), &format!("/{}", path.display()), listing),
            Err(error) => listing.unread(&path, &error),
        }
    }
}

/// Adds the packages of a database.
fn add(root: &Root, text: &str, place: &str, listing: &mut Listing<'_>) {
    for mut package in paragraphs(text).filter_map(|fields| package(&fields, place)) {
        package.licence = licence(root, &package.name, listing);
        if !listing.add(package) {
            return;
        }
    }
}

fn single_files(root: &Root) -> io::Result<Vec<PathBuf>> {
    let directory = Path::new("var/lib/dpkg/status.d");
    let names = root.names(directory)?.into_iter();
    // Sums of files lie beside them.
    let is_package = |name: &std::ffi::OsString| !name.to_string_lossy().ends_with(".md5sums");
    Ok(names.filter(is_package).map(|name| directory.join(name)).collect())
}

/// Fields of one paragraph, with the first line of each.
type Fields<'a> = Vec<(&'a str, &'a str)>;

fn paragraphs(text: &str) -> impl Iterator<Item = Fields<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        let of_this = std::iter::from_fn(|| lines.next_if(|line| !line.trim().is_empty()));
        let first =
            of_this.filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
        let mut fields = Vec::new();
        for (key, value) in first {
            if fields.len() < FIELDS {
                fields.push((key.trim(), value.trim()));
            }
        }
        Some(fields)
    })
}

fn package(fields: &Fields<'_>, place: &str) -> Option<Package> {
    let value = |wanted: &str| {
        let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
        found.filter(|value| !value.is_empty())
    };
    // Without a status it is of a distroless image, which has what is there.
    let is_installed =
        value("Status").is_none_or(|status| status.split_whitespace().last() == Some("installed"));
    let (name, version) = (value("Package")?, value("Version")?);
    if !is_installed || !is_name(name) {
        return None;
    }
    let mut package = Package::new(Ecosystem::Deb, name, version, place);
    package.architecture = value("Architecture").map(str::to_owned);
    package.maintainer = value("Maintainer").map(str::to_owned);
    package.homepage = value("Homepage").map(str::to_owned);
    package.source = value("Source").map(|source| match source.split_once('(') {
        Some((name, version)) => (name.trim().to_owned(), version.trim_end_matches(')').trim().to_owned()),
        None => (source.to_owned(), version.to_owned()),
    });
    Some(package)
}

/// Spec: deb-control(5), Package: lower-case letters, digits, `+`, `-` and `.`.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    name.bytes().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Returns the licences that a package's copyright file names, if a machine can read it.
fn licence(root: &Root, name: &str, listing: &mut Listing<'_>) -> Option<String> {
    let path = Path::new("usr/share/doc").join(name).join("copyright");
    // It is text for people: one that cannot be read says nothing.
    let text = listing.read(root, &path, COPYRIGHT_LIMIT).ok().flatten()?;
    licences_in(&text)
}

fn licences_in(text: &str) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    let mut paragraphs = paragraphs(text);
    paragraphs.next()?.iter().find(|(key, _)| *key == "Format" || *key == "Format-Specification")?;
    for fields in paragraphs {
        let of_files = fields.iter().any(|(key, _)| *key == "Files");
        let named = fields.iter().find(|(key, value)| *key == "License" && !value.is_empty());
        if let Some((_, licence)) = named.filter(|(_, licence)| of_files && !all.contains(licence)) {
            all.push(licence);
            if all.len() > LICENCES {
                return None;
            }
        }
    }
    if all.is_empty() {
        return None;
    }
    let one = |licence: &&str| {
        let is_several = licence.split_whitespace().any(|word| word.eq_ignore_ascii_case("or"));
        if all.len() > 1 && is_several { format!("({licence})") } else { (*licence).to_owned() }
    };
    Some(all.iter().map(one).collect::<Vec<_>>().join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libstdc++6
Status: install ok installed
Priority: optional
Section: libs
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: amd64
Multi-Arch: same
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+deb12u1
Description: GNU Standard C++ Library v3
 This package contains an additional runtime library.
 .
 Version: 9
Homepage: http://gcc.gnu.org/

Package: removed
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b7

Package: half
Status: install ok half-installed
Version: 1

Package: ../../evil
Status: install ok installed
Version: 1

Package: without-version
Status: install ok installed
";

    fn image(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn what_is_installed_is_listed_and_nothing_else() {
        let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 1987-2022 Free Software Foundation, Inc.
License: GPL-3+

Files: debian/*
License: GPL-2 or Expat

License: BSD-3-clause
 Redistribution and use …
";
        let (_dir, root) =
            image(&[("var/lib/dpkg/status", STATUS), ("usr/share/doc/bash/copyright", copyright)]);
        let (found, notes) = Listing::of(|listing| packages(&root, listing));
        let names: Vec<_> =
            found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(names, [("libstdc++6", "12.2.0-14+deb12u1"), ("bash", "5.2.15-2+b7")]);
        assert_eq!(found[0].source, Some(("gcc-12".to_owned(), "12.2.0-14".to_owned())));
        assert_eq!(found[0].homepage.as_deref(), Some("http://gcc.gnu.org/"));
        assert_eq!(
            (found[0].licence.as_deref(), found[1].licence.as_deref()),
            (None, Some("GPL-3+ and (GPL-2 or Expat)"))
        );
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn distroless_images_have_a_file_for_each_package() {
        let (_dir, root) = image(&[
            ("var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"),
            ("var/lib/dpkg/status.d/base.md5sums", "d41d8cd98f00b204e9800998ecf8427e  etc/x\n"),
        ]);
        let (found, _) = Listing::of(|listing| packages(&root, listing));
        assert_eq!((found.len(), found[0].place.as_str()), (1, "/var/lib/dpkg/status.d/base"));
    }

    #[test]
    fn damage_takes_only_what_it_hits() {
        let mut dice = shipway_testkit::Dice::new(0x5b);
        let words: [&[u8]; 5] = [b"\n\n", b"Package:", b"\0", b": \xff", b"Version: 1\n"];
        for _ in 0..shipway_testkit::rounds(2000) {
            let text = String::from_utf8_lossy(&dice.mutate(STATUS.as_bytes(), &words)).into_owned();
            let found = paragraphs(&text).filter_map(|fields| package(&fields, "/x"));
            assert!(found.count() < 20);
        }
        let text = STATUS.replace("Package: removed", "\u{0}\u{1}garbage");
        assert_eq!(paragraphs(&text).filter_map(|fields| package(&fields, "/x")).count(), 2);
        assert_eq!(licences_in("This is debian's package of x.\n\nLicense: GPL-2\n"), None);
    }
}
