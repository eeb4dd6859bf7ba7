use super::*;
use crate::deb::tests::{Entry, tar_of};
use std::os::unix::fs::MetadataExt as _;

fn owner(name: &str, replaces: &[&str]) -> Owner {
    Owner { name: name.to_owned(), replaces: replaces.iter().map(|name| (*name).to_owned()).collect() }
}

fn started() -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::start(dir.path(), "amd64").unwrap();
    (dir, tree)
}

fn unpack(tree: &Tree, name: &str, entries: &[Entry<'_>]) -> io::Result<Vec<String>> {
    let paths = tree.unpack(&owner(name, &[]), &mut tar_of(entries).as_slice())?;
    Ok(paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect())
}

#[test]
fn the_merged_usr_is_written_through_its_links() {
    let (dir, tree) = started();
    let paths = unpack(
        &tree,
        "a",
        &[
            Entry::Dir("./", 0o755),
            Entry::Dir("./bin/", 0o755),
            Entry::File("./bin/sh", 0o755, "shell"),
            Entry::Link("./bin/sh2", "./bin/sh"),
            Entry::Symlink("./lib", "usr/lib"),
            Entry::File("./lib64/ld.so", 0o644, "ld"),
        ],
    )
    .unwrap();
    tree.finish().unwrap();
    assert_eq!(paths, ["/.", "/bin", "/bin/sh", "/bin/sh2", "/lib", "/lib64/ld.so"]);
    assert_eq!(fs_err::read_link(dir.path().join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs_err::read_to_string(dir.path().join("usr/bin/sh2")).unwrap(), "shell");
    assert_eq!(fs_err::metadata(dir.path().join("usr/bin/sh")).unwrap().nlink(), 2);
    assert!(dir.path().join("usr/lib64/ld.so").exists());
}

#[test]
fn modes_and_times_are_the_packages() {
    let (dir, tree) = started();
    unpack(
        &tree,
        "zz",
        &[Entry::Dir("./tmp/", 0o755), Entry::Dir("./opt/x/", 0o750), Entry::File("./opt/x/su", 0o4755, "x")],
    )
    .unwrap();
    unpack(&tree, "base-files", &[Entry::Dir("./tmp/", 0o1777)]).unwrap();
    unpack(&tree, "aa", &[Entry::Dir("./tmp/", 0o700)]).unwrap();
    tree.finish().unwrap();
    let mode = |path: &str| fs_err::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("tmp"), mode("opt"), mode("opt/x"), mode("opt/x/su")), (0o1777, 0o755, 0o750, 0o4755));
    assert_eq!(fs_err::metadata(dir.path().join("opt/x")).unwrap().mtime(), 1_000_000);
    assert_eq!(fs_err::metadata(dir.path().join("opt/x/su")).unwrap().mtime(), 1_000_000);
}

#[test]
fn nothing_is_written_outside_or_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let (dir, tree) = started();
    unpack(&tree, "a", &[Entry::Symlink("./etc/out", target), Entry::File("./etc/out/f", 0o644, "x")])
        .unwrap();
    assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
    assert!(dir.path().join(target.trim_start_matches('/')).join("f").exists());
    unpack(&tree, "a", &[Entry::Symlink("./etc/up", "../../../.."), Entry::File("./etc/up/g", 0o644, "x")])
        .unwrap();
    assert!(dir.path().join("g").exists());
    for (name, entries) in [
        ("loop", vec![Entry::Symlink("./l", "l"), Entry::File("./l/f", 0o644, "x")]),
        ("link over a merged one", vec![Entry::Symlink("./bin", "/tmp")]),
        ("hard link out", vec![Entry::Link("./etc/passwd2", "/etc/passwd")]),
        ("file as parent", vec![Entry::File("./f", 0o644, "x"), Entry::File("./f/g", 0o644, "x")]),
        ("file over a directory", vec![Entry::Dir("./d/", 0o755), Entry::File("./d", 0o644, "x")]),
    ] {
        assert!(unpack(&tree, "b", &entries).is_err(), "case {name}");
    }
    // The tar crate refuses to write such a name, so it is put in by hand.
    let mut archive = tar_of(&[Entry::File("./xx/f", 0o644, "x")]);
    let at = archive.windows(4).position(|window| window == b"xx/f").unwrap();
    archive[at..at + 4].copy_from_slice(b"../f");
    let mut header = tar::Header::from_byte_slice(&archive[..512]).clone();
    header.set_cksum();
    archive[..512].copy_from_slice(header.as_bytes());
    let error = tree.unpack(&owner("b", &[]), &mut archive.as_slice()).unwrap_err();
    assert!(error.to_string().contains(".."), "{error}");
}

#[test]
fn a_file_of_two_packages_is_the_replacing_ones_whoever_comes_first() {
    for order in [["old", "new"], ["new", "old"]] {
        let (dir, tree) = started();
        for name in order {
            let replaces: &[&str] = if name == "new" { &["old"] } else { &[] };
            let archive = tar_of(&[Entry::File("./usr/f", 0o644, name)]);
            tree.unpack(&owner(name, replaces), &mut archive.as_slice()).unwrap();
        }
        assert_eq!(fs_err::read_to_string(dir.path().join("usr/f")).unwrap(), "new", "{order:?}");
    }
    let (_dir, tree) = started();
    unpack(&tree, "a", &[Entry::File("./usr/f", 0o644, "a")]).unwrap();
    let error = unpack(&tree, "b", &[Entry::File("./usr/f", 0o644, "b")]).unwrap_err();
    assert!(error.to_string().contains("usr/f") && error.to_string().contains("package a"), "{error}");
}
