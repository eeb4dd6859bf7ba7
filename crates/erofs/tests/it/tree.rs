//! Paths and errors of a tree in memory.

use std::io::{self, ErrorKind};
use std::path::Path;

use shipway_erofs::{Attributes, Content, FileType, Tree, write_index};

fn attributes() -> Attributes {
    Attributes { mode: 0o644, uid: 1, gid: 2, mtime: (3, 4), xattrs: Vec::new() }
}

/// `d/` with `d/e/` and the file `d/f`, and the symbolic link `s` to `d`.
fn sample() -> Tree {
    let mut tree = Tree::new();
    for (path, content) in [
        ("d", Content::Directory),
        ("d/e", Content::Directory),
        ("d/f", Content::File { offset: 512, size: 5 }),
        ("s", Content::Symlink(b"d".to_vec())),
    ] {
        tree.create(path, content, attributes()).expect(path);
    }
    tree
}

#[test]
fn wrong_paths_give_the_errors_of_linux() {
    let long = "n".repeat(256);
    let cases = [
        ("missing", ErrorKind::NotFound),
        ("missing/x", ErrorKind::NotFound),
        ("d/missing", ErrorKind::NotFound),
        ("d/f/x", ErrorKind::NotADirectory),
        ("d/f/x/y", ErrorKind::NotADirectory),
        ("s/f", ErrorKind::NotADirectory),
        ("../d", ErrorKind::InvalidInput),
        ("d/..", ErrorKind::InvalidInput),
        ("/d", ErrorKind::InvalidInput),
        ("d/\0", ErrorKind::InvalidInput),
        (&long, ErrorKind::InvalidFilename),
    ];
    for (path, expected) in cases {
        let mut tree = sample();
        assert_eq!(tree.metadata(path).expect_err(path).kind(), expected, "metadata {path}");
        assert_eq!(tree.lookup(path), None, "{path}");
        assert_eq!(tree.set_mode(path, 0).expect_err(path).kind(), expected, "set_mode {path}");
        assert_eq!(tree.remove(path).expect_err(path).kind(), expected, "remove {path}");
        assert_eq!(tree.remove_all(path).expect_err(path).kind(), expected, "remove_all {path}");
        assert_eq!(tree.hard_link(path, "new").expect_err(path).kind(), expected, "hard_link {path}");
        let created = tree.create(path, Content::Fifo, attributes()).map_err(|error| error.kind());
        match (path, expected) {
            ("missing" | "d/missing", _) => assert!(created.is_ok(), "{path}"),
            _ => assert_eq!(created, Err(expected), "create {path}"),
        }
    }
}

#[test]
fn operations_that_do_not_suit_what_is_there_are_refused() {
    let mut tree = sample();
    let create = tree.create("d", Content::Directory, attributes()).map(|_| ());
    let invalid = tree.create("x", Content::File { offset: 1, size: 1 }, attributes()).map(|_| ());
    let mtime = tree.create("x", Content::Fifo, Attributes { mtime: (0, 1_000_000_000), ..attributes() });
    let cases = [
        (create, ErrorKind::AlreadyExists),
        (tree.create("", Content::Directory, attributes()).map(|_| ()), ErrorKind::AlreadyExists),
        (invalid, ErrorKind::InvalidInput),
        (mtime.map(|_| ()), ErrorKind::InvalidInput),
        (tree.hard_link("d", "x"), ErrorKind::PermissionDenied),
        (tree.hard_link("d/f", "s"), ErrorKind::AlreadyExists),
        (tree.remove("d"), ErrorKind::DirectoryNotEmpty),
        (tree.remove_all(""), ErrorKind::ResourceBusy),
        (tree.read_link("d").map(|_| ()), ErrorKind::InvalidInput),
        (tree.entries("d/f").map(|_| ()), ErrorKind::NotADirectory),
        (tree.set_xattr("d", b"none", b""), ErrorKind::Unsupported),
    ];
    for (number, (result, expected)) in cases.into_iter().enumerate() {
        assert_eq!(result.map_err(|error| error.kind()), Err(expected), "case {number}");
    }
    assert_eq!(tree.lookup("x"), None);
    assert!(tree.xattrs("d").expect("is there").is_empty());
}

#[test]
fn links_are_counted_as_names_come_and_go() {
    let mut tree = sample();
    let links = |tree: &Tree, path: &str| tree.metadata(path).expect("is there").links;
    assert_eq!((links(&tree, ""), links(&tree, "d"), links(&tree, "d/e")), (3, 3, 2));
    tree.hard_link("d/f", "d/e/g").expect("is new");
    tree.hard_link("d/e/g", "h").expect("is new");
    assert_eq!(links(&tree, "h"), 3);
    assert_eq!(tree.lookup("h").map(|h| h.inode), tree.lookup("d/f").map(|f| f.inode));
    tree.remove_all("d").expect("is there");
    assert_eq!((links(&tree, ""), links(&tree, "h")), (2, 1));
    tree.remove("h").expect("is there");
    assert_eq!(tree.entries("").expect("is a directory").map(|(name, _)| name).collect::<Vec<_>>(), ["s"]);
}

#[test]
fn attributes_are_read_as_they_were_set() {
    let mut tree = sample();
    tree.set_mode("d/f", 0o104_755).expect("is there");
    tree.set_owner("d/f", 70_000, 80_000).expect("is there");
    tree.set_mtime("d/f", (-1, 5)).expect("is valid");
    tree.set_xattr("d/f", b"user.b", b"1").expect("is valid");
    tree.set_xattr("d/f", b"user.a", b"2").expect("is valid");
    tree.set_xattr("d/f", b"user.b", b"3").expect("is valid");
    let seen = tree.metadata("d/f").expect("is there");
    assert_eq!((seen.mode, seen.uid, seen.gid, seen.mtime), (0o4755, 70_000, 80_000, (-1, 5)));
    assert_eq!((seen.file_type, seen.size, seen.links), (FileType::File, 5, 1));
    let pairs = [("user.a", "2"), ("user.b", "3")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(tree.xattrs("d/f").expect("is there"), pairs);
    assert_eq!(tree.read_link("s").expect("is a link"), b"d");
}

#[test]
fn directories_nested_thousands_deep_do_no_harm() {
    let mut tree = Tree::new();
    let mut path = "a".to_string();
    for _ in 0..5000 {
        tree.create(&path, Content::Directory, attributes()).expect("is new");
        path.push_str("/a");
    }
    let written = write_index(&tree, 0, [0; 16], &mut io::sink()).expect("can be written");
    assert!(written > 5000 * 96);
    tree.remove_all(Path::new("a")).expect("is there");
    assert!(write_index(&tree, 0, [0; 16], &mut io::sink()).expect("can be written") < 4096);
}

#[test]
fn files_outside_the_tar_are_refused_before_anything_is_written() {
    let cases = [
        (512, 513, 1024, Some(ErrorKind::InvalidInput)),
        (512, 512, 1024, None),
        (512, 500, 1023, Some(ErrorKind::InvalidInput)),
        (512, 500, 1024, None),
        (1024, 1, 1024, Some(ErrorKind::InvalidInput)),
        (0, 0, 0, None),
        (0, 1, u64::MAX, Some(ErrorKind::FileTooLarge)),
    ];
    for (offset, size, tar_length, expected) in cases {
        let mut tree = Tree::new();
        tree.create("f", Content::File { offset, size }, attributes()).expect("is valid by itself");
        let mut out = Vec::new();
        let result = write_index(&tree, tar_length, [0; 16], &mut out);
        assert_eq!(
            result.as_ref().err().map(io::Error::kind),
            expected,
            "{size} at {offset} of {tar_length}"
        );
        assert_eq!(result.unwrap_or(0), out.len() as u64);
    }
}

#[test]
fn an_index_takes_an_inode_and_an_entry_for_a_file_and_not_much_more() {
    for files in [25_000, 50_000] {
        let mut tree = Tree::new();
        for number in 0..files {
            let directory = format!("directory-{}", number / 100);
            if number % 100 == 0 {
                tree.create(&directory, Content::Directory, attributes()).expect("is new");
            }
            let content = Content::File { offset: number * 1024 + 512, size: 100 };
            tree.create(format!("{directory}/file-{number}"), content, attributes()).expect("is new");
        }
        let length =
            write_index(&tree, files * 1024 + 1024, [0; 16], &mut io::sink()).expect("can be written");
        assert!(length < files * 130, "{length} bytes for {files} files");
    }
}
