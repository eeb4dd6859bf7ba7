//! What compilers write into programs about their making: Go's build information, and what cargo-auditable adds to Rust's.
//!
//! Specs: Go, debug/buildinfo (since Go 1.18, where texts stand in place); cargo-auditable, section `.dep-v0`.

use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use shipway_linux::Root;

use crate::elf::Program;
use crate::listing::Listing;
use crate::package::{Ecosystem, Package};

/// Largest information of either kind, in bytes, unpacked.
const LIMIT: u64 = 8 << 20;
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the texts of Go's information begin, and the flag that says so.
const TEXTS: usize = 32;
const IN_PLACE: u8 = 2;
/// Bytes before and after Go's list of modules.
const MARK: usize = 16;

/// Reads what a program is made of.
pub(crate) fn packages(root: &Root, path: &Path, listing: &mut Listing<'_>) {
    if let Err(error) = read(root, path, listing) {
        listing.unread(path, &error);
    }
}

fn read(root: &Root, path: &Path, listing: &mut Listing<'_>) -> io::Result<()> {
    let Some(file) = root.open_regular(path)? else { return Ok(()) };
    let Some(program) = Program::read(&file)? else { return Ok(()) };
    let place = format!("/{}", path.display());
    if let Some(info) = program.section(".go.buildinfo", LIMIT.min(listing.bytes_left))? {
        listing.charge(info.len());
        of_go(&info, &place, listing);
    }
    if let Some(packed) = program.section(".dep-v0", LIMIT.min(listing.bytes_left))? {
        listing.charge(packed.len());
        of_rust(&packed, &place, listing)?;
    }
    Ok(())
}

/// Adds the modules of a Go program, and the standard library.
fn of_go(info: &[u8], place: &str, listing: &mut Listing<'_>) {
    let Some(rest) = info.strip_prefix(MAGIC).and(info.get(TEXTS..)) else { return };
    if info.get(MAGIC.len() + 1).is_none_or(|flags| flags & IN_PLACE == 0) {
        return;
    }
    let mut rest = rest;
    let version = text(&mut rest).unwrap_or_default();
    let modules = text(&mut rest).unwrap_or_default();
    let mut add = |name: &str, version: &str| listing.add(Package::new(Ecosystem::Go, name, version, place));
    // `go1.22.1 X:…`: experiments follow.
    if let Some(number) = version.split_whitespace().next().and_then(|word| word.strip_prefix("go")) {
        add("stdlib", number);
    }
    let listed = modules.get(MARK..modules.len().saturating_sub(MARK)).unwrap_or_default();
    // One that something else may stand in the place of.
    let mut last = None;
    for line in listed.lines() {
        let mut words = line.split('\t');
        let (kind, path, version) = (words.next(), words.next(), words.next().unwrap_or_default());
        let next = match (kind, path) {
            // One that was built of a directory has no version.
            (Some("mod" | "dep"), Some(path)) => {
                (!version.is_empty() && version != "(devel)").then_some((path, version))
            }
            (Some("=>"), Some(path)) => {
                last = None;
                (!version.is_empty()).then_some((path, version))
            }
            _ => continue,
        };
        if std::mem::replace(&mut last, next).is_some_and(|(name, version)| !add(name, version)) {
            return;
        }
    }
    last.map(|(name, version)| add(name, version));
}

/// Takes a text with its length before it. Spec: Go, encoding/binary, Uvarint. What is no UTF-8 is none of ours: the marks are.
fn text(rest: &mut &[u8]) -> Option<String> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            // A byte is a character, so that the marks keep their length.
            return Some(
                text.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect(),
            );
        }
    }
    None
}

/// What cargo-auditable writes, as far as it is read: nothing else of it is kept.
#[derive(Deserialize)]
struct Audited {
    #[serde(default)]
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    #[serde(default)]
    kind: Option<String>,
}

/// Adds the crates of a Rust program.
fn of_rust(packed: &[u8], place: &str, listing: &mut Listing<'_>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let allowed = LIMIT.min(listing.bytes_left);
    flate2::read::ZlibDecoder::new(packed).take(allowed).read_to_end(&mut bytes)?;
    listing.charge(bytes.len());
    if listing.is_over() {
        return Ok(());
    }
    let document: Audited = serde_json::from_slice(&bytes)?;
    // Those that only helped to build are not in it.
    for found in document.packages.iter().filter(|found| found.kind.as_deref() != Some("build")) {
        if !listing.add(Package::new(Ecosystem::Cargo, &found.name, &found.version, place)) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::elf::program;

    /// What Go 1.22 writes.
    fn info(modules: &str) -> Vec<u8> {
        let mut info = [MAGIC, &[8, IN_PLACE]].concat();
        info.resize(TEXTS, 0);
        let marked = format!("{0}{modules}{0}", "0123456789abcdef");
        for text in ["go1.22.1", &marked] {
            let mut length = text.len();
            while length >= 0x80 {
                info.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            info.push(u8::try_from(length).unwrap());
            info.extend(text.bytes());
        }
        info
    }

    fn pack(text: &str) -> Vec<u8> {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn many_small_programs_are_not_much_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let some = r#"{"name":"a","version":"1"},"#.repeat(30_000);
        let crates = format!(r#"{{"packages":[{}]}}"#, some.trim_end_matches(','));
        let large = format!(r#"{{"packages":[],"x":"{}"}}"#, " ".repeat(7 << 20));
        for (kind, text, number) in [("crates", &crates, 5), ("large", &large, 40)] {
            let program = program(&[(".dep-v0", &pack(text))]);
            for at in 0..number {
                let path = dir.path().join(format!("{kind}-{at}"));
                fs_err::write(&path, &program).unwrap();
                fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        let root = Root::open(dir.path()).unwrap();
        let of = |kind: &str, number: usize| {
            Listing::of(|listing| {
                (0..number).for_each(|at| packages(&root, Path::new(&format!("{kind}-{at}")), listing));
            })
        };
        let (found, notes) = of("crates", 5);
        assert_eq!((found.len(), notes.len()), (100_000, 1), "{notes:?}");
        assert!(notes[0].starts_with("there are more than 100000 packages"), "{notes:?}");
        let (found, notes) = of("large", 40);
        assert_eq!((found.len(), notes.len()), (0, 1), "{notes:?}");
        assert!(notes[0].starts_with("more than 268435456 bytes were to be read"), "{notes:?}");
        // The whole ends with the first limit that is met.
        let whole = crate::Inventory::read(&root, &|| false).unwrap();
        assert_eq!(whole.notes.len(), 1, "{:?}", whole.notes);
    }

    const MODULES: &str = "path\texample.test/tool\nmod\texample.test/tool\t(devel)\t\n\
                           dep\tgithub.com/Spf13/cobra\tv1.8.0\th1:x=\ndep\tgolang.org/x/net\tv0.1.0\th1:y=\n\
                           =>\tgithub.com/fork/net\tv0.2.0\th1:z=\ndep\tlocal.test/a\tv1.0.0\n=>\t./a\t\t\n\
                           build\t-compiler=gc\n";

    fn names(found: &[Package]) -> Vec<(&str, &str)> {
        found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect()
    }

    #[test]
    fn programs_tell_what_they_are_made_of() {
        let document = r#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io","kind":"runtime"},
            {"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},
            {"name":"tool","version":"0.1.0","source":"local","root":true}]}"#;
        let packed = pack(document);
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("go"), program(&[(".go.buildinfo", &info(MODULES))])).unwrap();
        fs_err::write(dir.path().join("rust"), program(&[(".dep-v0", &packed)])).unwrap();
        fs_err::write(dir.path().join("script"), "#!/bin/sh\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let of = |path: &str| Listing::of(|listing| packages(&root, Path::new(path), listing)).0;
        assert_eq!(
            names(&of("go")),
            [("stdlib", "1.22.1"), ("github.com/Spf13/cobra", "v1.8.0"), ("github.com/fork/net", "v0.2.0")]
        );
        assert_eq!(names(&of("rust")), [("serde", "1.0.1"), ("tool", "0.1.0")]);
        assert_eq!(names(&of("script")), []);
        assert_eq!(of("go")[1].purl(None), "pkg:golang/github.com/spf13/cobra@v1.8.0");
        assert_eq!(of("rust")[0].purl(None), "pkg:cargo/serde@1.0.1");
    }

    #[test]
    fn information_that_is_damaged_says_what_can_be_read_or_nothing() {
        let mut dice = shipway_testkit::Dice::new(0x60);
        let seed = info(MODULES);
        let words: [&[u8]; 4] = [&[0xff; 6], b"dep\t", b"\n=>\t", b"\t"];
        for _ in 0..shipway_testkit::rounds(2000) {
            assert!(Listing::of(|listing| of_go(&dice.mutate(&seed, &words), "/x", listing)).0.len() < 50);
        }
        for info in [b"", MAGIC] {
            assert_eq!(Listing::of(|listing| of_go(info, "/x", listing)).0, []);
        }
        assert!(of_rust(b"not zlib", "/x", &mut Listing::endless()).is_err());
    }
}
