//! What apk has installed. Spec: apk-tools, the installed database: records of `LETTER:value` lines.

use std::path::Path;

use shipway_linux::Root;

use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Larger databases are refused, in bytes.
const LIMIT: u64 = 64 << 20;
/// Where it is; apk 3 may have it below `usr`.
const PLACES: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// What is read of a package.
const FIELDS: [&str; 7] = ["P", "V", "A", "L", "m", "U", "o"];

/// Reads the database of an image.
pub(crate) fn packages(root: &Root, listing: &mut Listing<'_>) {
    for place in PLACES {
        match listing.read(root, Path::new(place), LIMIT) {
            Ok(Some(text)) => return parse(&text, &format!("/{place}"), listing),
            Ok(None) => {}
            Err(error) => listing.unread(Path::new(place), &error),
        }
    }
}

fn parse(text: &str, place: &str, listing: &mut Listing<'_>) {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            if package(&std::mem::take(&mut fields), place).is_some_and(|package| !listing.add(package)) {
                return;
            }
        } else if let Some((key, value)) = line.split_once(':').filter(|(key, _)| FIELDS.contains(key)) {
            // The first one counts.
            if fields.iter().all(|(known, _)| *known != key) {
                fields.push((key, value.trim()));
            }
        }
    }
}

fn package(fields: &[(&str, &str)], place: &str) -> Option<Package> {
    // Files have letters of their own, after those of the package.
    let value = |wanted: &str| {
        let found = fields.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        found.filter(|value| !value.is_empty())
    };
    let (name, version) = (value("P")?, value("V")?);
    let mut package = Package::new(Ecosystem::Apk, name, version, place);
    package.architecture = value("A").map(str::to_owned);
    package.licence = value("L").map(str::to_owned);
    package.maintainer = value("m").map(str::to_owned);
    package.homepage = value("U").map(str::to_owned);
    package.source =
        value("o").filter(|origin| *origin != name).map(|origin| (origin.to_owned(), version.to_owned()));
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:alpine-baselayout
V:3.6.8-r1
A:x86_64
S:8515
I:315392
T:Alpine base dir structure and init scripts
U:https://git.alpinelinux.org/cgit/aports/tree/main/alpine-baselayout
L:GPL-2.0-only
o:alpine-baselayout
m:Natanael Copa <ncopa@alpinelinux.org>
t:1733694026
D:alpine-baselayout-data=3.6.8-r1 /bin/sh
F:dev
F:etc
R:motd
Z:Q1SLkS9hBidUbPwwrw+XR0Whv3ww8=

P:musl-utils
V:1.2.5-r9
A:x86_64
L:MIT AND BSD-2-Clause AND GPL-2.0-or-later
o:musl
F:usr/bin
P:not-the-name

P:no-version

garbage without a colon
P:last
V:1";

    #[test]
    fn records_become_packages() {
        let (found, _) = Listing::of(|listing| parse(INSTALLED, "/lib/apk/db/installed", listing));
        let names: Vec<_> =
            found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(names, [("alpine-baselayout", "3.6.8-r1"), ("musl-utils", "1.2.5-r9"), ("last", "1")]);
        assert_eq!((found[0].source.clone(), found[0].licence.as_deref()), (None, Some("GPL-2.0-only")));
        assert_eq!(found[1].source, Some(("musl".to_owned(), "1.2.5-r9".to_owned())));
    }

    #[test]
    fn any_bytes_are_some_packages() {
        let mut dice = shipway_testkit::Dice::new(0xa9);
        let words: [&[u8]; 4] = [b"\n\n", b"P:", b"\0", b"V:\n"];
        for _ in 0..shipway_testkit::rounds(2000) {
            let text = String::from_utf8_lossy(&dice.mutate(INSTALLED.as_bytes(), &words)).into_owned();
            assert!(Listing::of(|listing| parse(&text, "/x", listing)).0.len() < 20);
        }
    }
}
