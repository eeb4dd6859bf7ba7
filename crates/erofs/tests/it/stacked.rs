//! Indexes as layers of overlays.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use shipway_erofs::{Attributes, Content};
use shipway_linux::{OpenFlags, Overlay, Root, filesystem_magic, mount_index};
use shipway_testkit::{Need, require};

use crate::fixture::{Fixture, attributes, scratch, with_xattrs};
use crate::seen::path_of;

const CHARACTER_DEVICE: u32 = 0o020_000;

/// What is in a layer: a directory, perhaps one that hides what lies below it, a file, or the mark of something that is gone.
#[derive(Clone, Copy)]
enum What {
    Directory,
    Opaque,
    File(&'static str),
    Gone,
}

const BELOW: [(&str, What); 6] = [
    ("gone", What::File("below")),
    ("merged", What::Directory),
    ("merged/old", What::File("below")),
    ("opaque", What::Directory),
    ("opaque/old", What::File("below")),
    ("stays", What::File("below")),
];

const ABOVE: [(&str, What); 5] = [
    ("gone", What::Gone),
    ("merged", What::Directory),
    ("merged/new", What::File("above")),
    ("opaque", What::Opaque),
    ("opaque/new", What::File("above")),
];

/// Makes a layer in `dir`, which it makes too.
fn layer(dir: PathBuf, as_index: bool, content: &[(&str, What)]) -> PathBuf {
    fs_err::create_dir(&dir).unwrap();
    if as_index { index(&dir, content) } else { directory(dir, content) }
}

fn index(dir: &Path, content: &[(&str, What)]) -> PathBuf {
    let mut fixture = Fixture::new();
    let opened = Attributes { mode: 0o755, ..attributes() };
    for (path, what) in content {
        match what {
            What::Directory => fixture.create(path, Content::Directory, opened.clone()),
            What::Opaque => {
                fixture.create(path, Content::Directory, with_xattrs(&[("user.overlay.opaque", b"y")]));
            }
            What::File(text) => fixture.file_of(path, text.as_bytes(), attributes()),
            What::Gone => fixture.create(path, Content::Character(0), attributes()),
        }
    }
    fixture.write(dir)
}

fn directory(dir: PathBuf, content: &[(&str, What)]) -> PathBuf {
    let root = Root::open(&dir).unwrap();
    for (path, what) in content {
        match what {
            What::Directory => root.create_dir(path, 0o755).unwrap(),
            What::Opaque => {
                root.create_dir(path, 0o755).unwrap();
                root.set_xattr(path, "user.overlay.opaque", b"y").unwrap();
            }
            What::File(text) => {
                root.create_file(path, 0o644).unwrap().write_all(text.as_bytes()).unwrap();
            }
            What::Gone => root.make_node(path, CHARACTER_DEVICE, 0).unwrap(),
        }
    }
    dir
}

fn read(root: &Root, path: &str) -> String {
    io::read_to_string(root.open_file(path).unwrap()).unwrap()
}

fn show(lowers: &[PathBuf], upper: Option<&Path>) -> Root {
    let inside = |name: &str| {
        let path = upper.map(|upper| upper.join(name));
        path.inspect(|path| fs_err::create_dir_all(path).unwrap())
    };
    let overlay = Overlay {
        lowers: lowers.to_vec(),
        upper: inside("upper"),
        work: inside("work"),
        ..Overlay::default()
    };
    Root::from_fd(overlay.mount_detached().unwrap())
}

fn check_names(root: &Root, case: &str) {
    for (path, want) in
        [("", &["merged", "opaque", "stays"][..]), ("opaque", &["new"]), ("merged", &["new", "old"])]
    {
        assert_eq!(root.names(path).unwrap(), want, "{path:?} of {case}");
    }
}

#[test]
fn a_stack_shows_the_same_whichever_of_its_layers_are_indexes() {
    let Some(dir) = scratch() else { return };
    for (case, above, below) in [
        ("index on directory", true, false),
        ("directory on index", false, true),
        ("two indexes", true, true),
    ] {
        let place = dir.path().join(case);
        fs_err::create_dir(&place).unwrap();
        let lowers = [layer(place.join("above"), above, &ABOVE), layer(place.join("below"), below, &BELOW)];

        let root = show(&lowers, None);
        check_names(&root, case);
        assert!(root.create_file("f", 0o644).is_err(), "{case}");

        let root = show(&lowers, Some(&place));
        check_names(&root, case);
        for (path, was) in [("merged/new", "above"), ("merged/old", "below"), ("stays", "below")] {
            assert_eq!(read(&root, path), was, "{path} of {case}");
            let mut file =
                File::from(root.open_with(path, OpenFlags::WRONLY | OpenFlags::APPEND, 0).unwrap());
            file.write_all(b" and more").unwrap();
            assert_eq!(read(&root, path), format!("{was} and more"), "{path} of {case}");
            let copy = place.join("upper").join(path);
            assert_eq!(fs_err::read_to_string(copy).unwrap(), format!("{was} and more"), "{path} of {case}");
        }
        root.remove("stays").unwrap();
        root.remove_all("merged").unwrap();
        root.create_dir("merged", 0o755).unwrap();
        assert_eq!(root.names("").unwrap(), ["merged", "opaque"], "{case}");
        assert!(root.names("merged").unwrap().is_empty(), "{case}");
        check_names(&show(&lowers, None), case);
    }
}

#[test]
fn an_index_alone_is_shown_read_only_or_below_changes() {
    let Some(dir) = scratch() else { return };
    let lowers = [layer(dir.path().join("layer"), true, &BELOW)];
    let root = show(&lowers, None);
    assert_eq!(read(&root, "merged/old"), "below");
    assert!(root.create_file("f", 0o644).is_err());
    let root = show(&lowers, Some(dir.path()));
    root.create_file("merged/f", 0o644).unwrap();
    assert_eq!(root.names("merged").unwrap(), ["f", "old"]);
}

#[test]
fn a_layer_is_opened_whether_it_is_a_directory_or_an_index() {
    let Some(dir) = scratch() else { return };
    for (name, as_index) in [("directory", false), ("index", true)] {
        let path = layer(dir.path().join(name), as_index, &ABOVE);
        let root = Root::open_layer(&path).unwrap();
        assert_eq!(root.names("").unwrap(), ["gone", "merged", "opaque"], "{name}");
        assert_eq!(read(&root, "merged/new"), "above", "{name}");
        let marks = [("user.overlay.opaque".to_owned(), b"y".to_vec())];
        assert_eq!(root.xattrs("opaque").unwrap(), marks, "{name}");
    }
}

#[test]
fn a_path_of_any_length_is_mounted_and_no_mount_is_left() {
    let Some(dir) = scratch() else { return };
    let long = dir.path().join("l".repeat(200)).join("m".repeat(200));
    fs_err::create_dir_all(&long).unwrap();
    let mounts = || fs_err::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    let lowers = ["above", "below"].map(|name| layer(long.join(name), true, &BELOW));
    let root = show(&lowers, None);
    assert_eq!(read(&root, "merged/old"), "below");
    assert_eq!(mounts(), before);
}

#[test]
fn an_index_on_tmpfs_is_refused_with_the_reason() {
    const TMPFS: u32 = 0x0102_1994;
    let place = Path::new("/dev/shm");
    if scratch().is_none() || !filesystem_magic(place).is_ok_and(|magic| magic == TMPFS) {
        return;
    }
    let dir = tempfile::tempdir_in(place).unwrap();
    let index = index(dir.path(), &BELOW);
    let refused = mount_index(&index).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    let want = format!("the kernel mounts no index on the file system of `{}`", index.display());
    assert_eq!(refused.to_string(), want);
}

#[test]
fn programs_run_from_an_index() {
    let Some(dir) = scratch() else { return };
    if !require(&[Need::Busybox]) {
        return;
    }
    let program = fs_err::read("/bin/busybox").unwrap();
    let mode = fs_err::metadata("/bin/busybox").unwrap().permissions().mode() & 0o7777;
    let mut fixture = Fixture::new();
    let attributes = Attributes { mode: u16::try_from(mode).unwrap(), ..attributes() };
    fixture.file_of("busybox", &program, attributes);
    let lowers = [fixture.write(dir.path())];
    for upper in [None, Some(dir.path())] {
        let root = show(&lowers, upper);
        let output = Command::new(path_of(&root).join("busybox")).args(["echo", "it runs"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it runs\n", "{upper:?}: {output:?}");
    }
}
