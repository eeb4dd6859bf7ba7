use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use serde_json::Value;

use super::*;

/// Returns a tar with an entry of each kind that matters here, and a file of several pieces.
fn tar_of(large: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_mtime(if path == "empty" { 0 } else { 1_767_323_045 });
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        builder.append_data(&mut header, path, content).unwrap();
    };
    let bytes: Vec<u8> = (0..large).map(|at| u8::try_from(at / 3 % 251).unwrap()).collect();
    add("dir/", tar::EntryType::Directory, "", b"");
    add("dir/small", tar::EntryType::Regular, "", b"some text\n");
    add("empty", tar::EntryType::Regular, "", b"");
    add("large", tar::EntryType::Regular, "", &bytes);
    add("link", tar::EntryType::Symlink, "dir/small", b"");
    add("again", tar::EntryType::Link, "dir/small", b"");
    add("null", tar::EntryType::Char, "", b"");
    add("last", tar::EntryType::Regular, "", b"x");
    builder.into_inner().unwrap()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn write(tar: &[u8]) -> (Stargz, Vec<u8>) {
    let mut layer = Vec::new();
    let said = write_stargz(&file_of(tar), None, &mut layer).unwrap();
    (said, layer)
}

/// Decompresses one member.
fn member(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Returns the table that a layer ends with, as anybody would find it, and its bytes.
fn table_of(layer: &[u8]) -> (Value, Vec<u8>) {
    let footer = &layer[layer.len() - FOOTER..];
    assert_eq!(member(footer), b"");
    let text = std::str::from_utf8(&footer[16..38]).unwrap();
    let start = usize::from_str_radix(text.strip_suffix("STARGZ").unwrap(), 16).unwrap();
    let archive = member(&layer[start..]);
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut toc = entries.next().unwrap().unwrap();
    assert_eq!(toc.path().unwrap().to_str(), Some("stargz.index.json"));
    let mut bytes = Vec::new();
    toc.read_to_end(&mut bytes).unwrap();
    assert!(entries.next().is_none(), "it is the last entry");
    (serde_json::from_slice(&bytes).unwrap(), bytes)
}

#[test]
fn each_piece_is_a_member_where_the_table_says_and_has_its_digest() {
    for large in [1, usize::try_from(PIECE).unwrap(), usize::try_from(2 * PIECE).unwrap() + 5] {
        let tar = tar_of(large);
        let (said, layer) = write(&tar);
        let (toc, bytes) = table_of(&layer);
        assert_eq!((said.toc, &toc["version"]), (Digest::of(&bytes), &1.into()));
        let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let entries = toc["entries"].as_array().unwrap();
        for (at, entry) in entries.iter().enumerate() {
            let (name, kind) = (entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap());
            let Some(offset) = entry["offset"].as_u64() else {
                assert!(kind != "chunk" && (kind != "reg" || entry.get("size").is_none()), "{entry}");
                continue;
            };
            let content = contents.entry(name.to_owned()).or_default();
            assert_eq!(entry["chunkOffset"].as_u64().unwrap_or(0), content.len() as u64, "{entry}");
            let size = if kind == "reg" { entry["size"].as_u64() } else { None };
            let size = size.unwrap_or_else(|| {
                let first = entries[..at].iter().rfind(|entry| entry["type"] == "reg").unwrap();
                first["size"].as_u64().unwrap()
            });
            let length = entry["chunkSize"].as_u64().unwrap_or(size - content.len() as u64);
            let plain = member(&layer[usize::try_from(offset).unwrap()..]);
            let piece = &plain[..usize::try_from(length).unwrap()];
            assert_eq!(entry["chunkDigest"], Digest::of(piece).to_string(), "{entry}");
            content.extend_from_slice(piece);
        }
        let names: Vec<&String> = contents.keys().collect();
        assert_eq!(names, [".no.prefetch.landmark", "dir/small", "large", "last"]);
        for entry in entries.iter().filter(|entry| entry["type"] == "reg") {
            let content = contents.get(entry["name"].as_str().unwrap()).cloned().unwrap_or_default();
            assert_eq!(entry["digest"], Digest::of(&content).to_string(), "{entry}");
        }
        assert_eq!((contents["large"].len(), &contents[LANDMARK]), (large, &vec![0xf]));
    }
}

#[test]
fn the_table_tells_what_the_headers_say() {
    let (toc, _) = table_of(&write(&tar_of(1)).1);
    let entries = toc["entries"].as_array().unwrap();
    let told = |name: &str| entries.iter().find(|entry| entry["name"] == name).unwrap();
    for (name, kind, link) in [
        ("dir/", "dir", None),
        ("dir/small", "reg", None),
        ("link", "symlink", Some("dir/small")),
        ("again", "hardlink", Some("dir/small")),
        ("null", "char", None),
    ] {
        let entry = told(name);
        assert_eq!((entry["type"].as_str(), entry["linkName"].as_str()), (Some(kind), link), "{entry}");
        assert_eq!((&entry["mode"], &entry["uid"], &entry["gid"]), (&0o4755.into(), &7.into(), &8.into()));
        assert_eq!(entry["modtime"], "2026-01-02T03:04:05Z");
    }
    assert_eq!((&told("null")["devMajor"], &told("null")["devMinor"]), (&1.into(), &3.into()));
    assert!(told("dir/")["devMajor"].is_null() && told("empty")["modtime"].is_null());
}

#[test]
fn the_whole_is_the_tar_as_it_was_and_the_same_again() {
    let tar = tar_of(100_000);
    let (said, layer) = write(&tar);
    assert_eq!(write(&tar), (said, layer.clone()));
    let mut plain = Vec::new();
    let mut hashing = Hashing::new(MultiGzDecoder::new(layer.as_slice()));
    hashing.read_to_end(&mut plain).unwrap();
    let (_, digest, size) = hashing.finish();
    assert_eq!((said.diff_id, said.size), (DiffId(digest), size));
    assert!(plain.starts_with(&tar) && said.tar == tar.len() as u64);
    let names = |all: bool| {
        let mut archive = tar::Archive::new(plain.as_slice());
        archive.set_ignore_zeros(all);
        let names =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(false), ["dir/", "dir/small", "empty", "large", "link", "again", "null", "last"]);
    assert_eq!(names(true)[8..], [LANDMARK, TOC]);
    assert_eq!(find_stargz_toc(&file_of(&layer)).unwrap(), Some(said.toc));
    for (name, other) in [
        ("a tar", tar.clone()),
        ("nothing", Vec::new()),
        ("another gzip", compress(&tar, 6).unwrap()),
        ("an end alone", footer(0).to_vec()),
        (
            "an end that leads elsewhere",
            [layer[..layer.len() - FOOTER].to_vec(), footer(3).to_vec()].concat(),
        ),
        (
            "an end that leads behind",
            [layer[..layer.len() - FOOTER].to_vec(), footer(u64::MAX).to_vec()].concat(),
        ),
    ] {
        assert_eq!(find_stargz_toc(&file_of(&other)).unwrap(), None, "case {name}");
    }
}

#[test]
fn names_with_a_meaning_and_those_that_cannot_be_told_are_refused() {
    for (name, path, is_refused) in [
        ("table", &b"stargz.index.json"[..], true),
        ("in other words", b"./.prefetch.landmark", true),
        ("landmark", b".no.prefetch.landmark", true),
        ("further down", b"dir/stargz.index.json", false),
        ("no text", b"a\xffb", true),
    ] {
        let header = Header { path: path.to_vec(), kind: b'0', mode: 0o644, ..Header::default() };
        let mut tar = Vec::new();
        header.write(&mut tar).unwrap();
        tar.extend_from_slice(&[0; 2 * BLOCK]);
        let written = write_stargz(&file_of(&tar), None, &mut io::sink());
        assert_eq!(matches!(written, Err(WriteStargzError::Name { .. })), is_refused, "case {name}");
    }
    let broken = write_stargz(&file_of(&[7; 600]), None, &mut io::sink());
    assert!(matches!(broken, Err(WriteStargzError::Tar(_))));
}

#[test]
fn no_member_is_long_also_where_there_is_no_content() {
    let mut tar = tar_of(1);
    let end = tar.len();
    tar.resize(end + usize::try_from(3 * PIECE).unwrap(), 0);
    let (said, layer) = write(&tar);
    assert_eq!(said.tar, tar.len() as u64);
    let mut rest = layer.as_slice();
    let mut longest = 0;
    while !rest.is_empty() {
        let mut member = GzDecoder::new(rest);
        let length = io::copy(&mut member, &mut io::sink()).unwrap();
        longest = longest.max(length);
        rest = member.into_inner();
    }
    assert!(longest <= PIECE + 2 * BLOCK as u64, "{longest}");
    let (toc, _) = table_of(&layer);
    let last = toc["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == "last").unwrap();
    let offset = usize::try_from(last["offset"].as_u64().unwrap()).unwrap();
    assert_eq!(member(&layer[offset..])[0], b'x');
}
