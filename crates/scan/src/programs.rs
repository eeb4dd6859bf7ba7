//! What compilers write into programs about their making: Go's build information, and what cargo-auditable adds to Rust's.
//!
//! Specs: Go, debug/buildinfo (since Go 1.18, where texts stand in place); cargo-auditable, section `.dep-v0`.

use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use shipway_linux::Root;

use crate::elf::Program;
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
pub(crate) fn packages(root: &Root, path: &Path) -> io::Result<Vec<Package>> {
    let Some(file) = root.open_regular(path)? else { return Ok(Vec::new()) };
    let Some(program) = Program::read(&file)? else { return Ok(Vec::new()) };
    let place = format!("/{}", path.display());
    let mut found = Vec::new();
    if let Some(info) = program.section(".go.buildinfo", LIMIT)? {
        found.extend(of_go(&info, &place));
    }
    if let Some(packed) = program.section(".dep-v0", LIMIT)? {
        found.extend(of_rust(&packed, &place)?);
    }
    Ok(found)
}

/// Returns the modules of a Go program, and the standard library.
fn of_go(info: &[u8], place: &str) -> Vec<Package> {
    let Some(rest) = info.strip_prefix(MAGIC).and(info.get(TEXTS..)) else { return Vec::new() };
    if info.get(MAGIC.len() + 1).is_none_or(|flags| flags & IN_PLACE == 0) {
        return Vec::new();
    }
    let mut rest = rest;
    let version = text(&mut rest).unwrap_or_default();
    let modules = text(&mut rest).unwrap_or_default();
    let mut found = Vec::new();
    // `go1.22.1 X:…`: experiments follow.
    if let Some(number) = version.split_whitespace().next().and_then(|word| word.strip_prefix("go")) {
        found.push(Package::new(Ecosystem::Go, "stdlib", number, place));
    }
    let mut is_listed = false;
    let listed = modules.get(MARK..modules.len().saturating_sub(MARK)).unwrap_or_default();
    for line in listed.lines() {
        let mut words = line.split('\t');
        let (kind, path, version) = (words.next(), words.next(), words.next());
        match (kind, path, version.unwrap_or_default()) {
            // One that was built of a directory has no version.
            (Some("mod" | "dep"), Some(path), version) => {
                is_listed = !version.is_empty() && version != "(devel)";
                found.extend(is_listed.then(|| Package::new(Ecosystem::Go, path, version, place)));
            }
            // What stands in the place of the one before.
            (Some("=>"), Some(path), version) => {
                if is_listed {
                    found.pop();
                }
                is_listed = !version.is_empty();
                found.extend(is_listed.then(|| Package::new(Ecosystem::Go, path, version, place)));
            }
            _ => {}
        }
    }
    found
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

/// Returns the crates of a Rust program.
fn of_rust(packed: &[u8], place: &str) -> io::Result<Vec<Package>> {
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(packed).take(LIMIT).read_to_end(&mut bytes)?;
    let document: Value = serde_json::from_slice(&bytes)?;
    let crates = document["packages"].as_array().into_iter().flatten();
    // Those that only helped to build are not in it.
    let inside = crates.filter(|found| found["kind"] != "build");
    let package = |found: &Value| {
        Some(Package::new(Ecosystem::Cargo, found["name"].as_str()?, found["version"].as_str()?, place))
    };
    Ok(inside.filter_map(package).collect())
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

    const MODULES: &str = "path\texample.test/tool\nmod\texample.test/tool\t(devel)\t\n\
                           dep\tgithub.com/Spf13/cobra\tv1.8.0\th1:x=\ndep\tgolang.org/x/net\tv0.1.0\th1:y=\n\
                           =>\tgithub.com/fork/net\tv0.2.0\th1:z=\ndep\tlocal.test/a\tv1.0.0\n=>\t./a\t\t\n\
                           build\t-compiler=gc\n";

    fn names(found: &[Package]) -> Vec<(&str, &str)> {
        found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect()
    }

    #[test]
    fn programs_tell_what_they_are_made_of() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        let document = r#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io","kind":"runtime"},
            {"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},
            {"name":"tool","version":"0.1.0","source":"local","root":true}]}"#;
        packed.write_all(document.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("go"), program(&[(".go.buildinfo", &info(MODULES))])).unwrap();
        fs_err::write(dir.path().join("rust"), program(&[(".dep-v0", &packed)])).unwrap();
        fs_err::write(dir.path().join("script"), "#!/bin/sh\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let of = |path: &str| packages(&root, Path::new(path)).unwrap();
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
            assert!(of_go(&dice.mutate(&seed, &words), "/x").len() < 50);
        }
        assert_eq!(of_go(b"", "/x"), []);
        assert_eq!(of_go(MAGIC, "/x"), []);
        assert!(of_rust(b"not zlib", "/x").is_err());
    }
}
