//! Directories with so many files that they go into a layer without being written to a tree.

use std::path::PathBuf;

use shipway_build::BuildRequest;
use shipway_layers::Checked;
use shipway_linux::Root;
use shipway_testkit::{Need, require};

use crate::harness::Bench;

const FILES: usize = 300;

/// Fills the context with files of all kinds.
fn fill(bench: &Bench) {
    bench.debian();
    for number in 0..FILES {
        let content = "x".repeat(number * number % 1500);
        bench.file(&format!("src/d{}/e{}/file {number}", number % 7, number % 3), &content);
    }
    bench.file("src/d1!/after a directory", "sorted");
    bench.file("src/link", "->d1/e1");
    bench.file("beside", "1");
    let root = Root::open(&bench.dir.path().join("context")).unwrap();
    root.hard_link("src/d0/e0/file 0", "src/a first name").unwrap();
    root.hard_link("src/d0/e0/file 0", "src/z last name").unwrap();
    root.hard_link("src/link", "src/link too").unwrap();
    root.set_mode("src/d2", 0o1777).unwrap();
    root.set_mode("src/d1/e1/file 1", 0o4755).unwrap();
    root.set_xattr("src/d1/e1/file 1", "user.some", b"thing").unwrap();
    root.set_xattr("src/d3", "user.of", b"a directory").unwrap();
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        for (name, metadata) in root.entries(&directory).unwrap() {
            let path = directory.join(name);
            root.set_mtime(&path, (1_600_000_000, 5)).unwrap();
            todo.extend(metadata.is_directory().then_some(path));
        }
    }
    for (path, time) in [("src/d4", (-5, 0)), ("src/d1/e1/file 1", (2_000_000_000, 7)), ("src", (9, 9))] {
        root.set_mtime(path, time).unwrap();
    }
}

fn request(bench: &Bench, copy: &str) -> BuildRequest {
    let dockerfile =
        format!("FROM debian AS made\nCOPY src /made\nFROM debian\n{copy}\nRUN write /after command\n");
    let build_args = vec![("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())];
    BuildRequest { build_args, ..bench.request(&dockerfile) }
}

#[test]
fn an_image_is_the_same_whether_files_are_written_to_a_tree_or_not() {
    if !require(&[Need::Root, Need::Overlay, Need::Indexes]) {
        return;
    }
    for (copy, is_drawn) in [
        ("COPY . /new", true),
        ("COPY src /new/below/", true),
        ("COPY --chown=web --chmod=u=rwX,go= src new", true),
        ("COPY --chown=7:8 --chmod=751 src /lib64/new", true),
        ("COPY --link --chown=web src /new/below", true),
        ("COPY --link src /new/below", true),
        ("COPY --link . new/", true),
        ("COPY --link src /etc", true),
        ("COPY --from=made /made /new", true),
        ("ADD src /new", true),
        ("COPY --exclude=**/e1 src /new", true),
        ("COPY src /etc", false),
        ("COPY src beside /new/", false),
        ("COPY --parents src /new", false),
    ] {
        let [drawn, unpacked] = [Bench::new(), Bench::unpacking()].map(|bench| {
            fill(&bench);
            let built = bench.run(&request(&bench, copy)).unwrap();
            (built.image_id, bench.listing(&built), bench)
        });
        assert_eq!(drawn.1, unpacked.1, "{copy}");
        assert_eq!(drawn.0, unpacked.0, "{copy}");
        let indexed = drawn.2.store.layers().unwrap().iter().filter(|row| row.id.is_indexed()).count();
        let wanted = usize::from(is_drawn) + usize::from(copy.contains("made"));
        assert!(indexed >= wanted.min(1) && (is_drawn || indexed == 0), "{copy}: {indexed}");
        for row in drawn.2.store.layers().unwrap() {
            assert_eq!(drawn.2.layers.check(&row).unwrap(), Checked::Sound, "{copy}");
        }
        drawn.2.assert_nothing_left();
    }
}

#[test]
fn names_that_mean_something_in_archives_are_names_as_others() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    fill(&bench);
    bench.file("src/d1/.wh.gone", "");
    bench.file("src/d1/.wh.full", "content");
    let built = bench.run(&request(&bench, "COPY src /new")).unwrap();
    let listed = bench.listing(&built);
    for name in ["new/d1/.wh.gone 644 0:0 ", "new/d1/.wh.full 644 0:0 content"] {
        assert!(listed.iter().any(|line| line == name), "{listed:?}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    if !require(&[Need::Root, Need::Overlay, Need::Indexes]) {
        return;
    }
    let bench = Bench::new();
    fill(&bench);
    let path = bench.dir.path().join("context/src/d1/e1/file 1");
    // After its content was read for the key, and before it is copied.
    bench.log.at_a_miss(move || fs_err::write(&path, "longer than it was").unwrap());
    let error = bench.build("FROM debian\nCOPY src /new\n").unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile:2:1: `src/d1/e1/file 1` changed while the build read it");
    bench.assert_nothing_left();
    bench.build("FROM debian\nCOPY src /new\n").unwrap();
    assert_eq!(bench.log.lines("MISSED").len(), 1);
}

/// Changes some of the files, as an edit of the sources would.
fn edit(bench: &Bench) {
    let root = Root::open(&bench.dir.path().join("context")).unwrap();
    bench.file("src/d5/e2/file 5", "edited");
    bench.file("src/d5/e2/new", "not there before");
    root.remove("src/d6/e0/file 6").unwrap();
    root.set_mode("src/d0/e1/file 7", 0o600).unwrap();
    root.set_xattr("src/d1/e2/file 8", "user.new", b"attribute").unwrap();
    root.remove_xattr("src/d1/e1/file 1", "user.some").unwrap();
    root.remove_all("src/d2/e0").unwrap();
    bench.file("src/d2/e0", "a file now");
    for path in ["src", "src/d2", "src/d2/e0", "src/d5/e2", "src/d5/e2/file 5", "src/d5/e2/new", "src/d6/e0"]
    {
        root.set_mtime(path, (1_650_000_000, 0)).unwrap();
    }
    root.set_mtime("src/d3/e1/file 10", (1_650_000_001, 0)).unwrap();
}

#[test]
fn what_did_not_change_comes_from_the_layer_before() {
    if !require(&[Need::Root, Need::Overlay, Need::Indexes]) {
        return;
    }
    for copy in ["COPY . /new", "COPY --chown=web --chmod=u=rwX,go= src new", "COPY --link src /new/below"] {
        let [again, anew] = [Bench::new(), Bench::unpacking()].map(|bench| {
            fill(&bench);
            bench
        });
        again.run(&request(&again, copy)).unwrap();
        edit(&again);
        // What was read for the key counts: this file is not opened again.
        let path = again.dir.path().join("context/src/d4/e2/file 11");
        again.log.at_a_miss(move || fs_err::write(&path, "too late").unwrap());
        let built = again.run(&request(&again, copy)).unwrap();
        edit(&anew);
        let fresh = anew.run(&request(&anew, copy)).unwrap();
        assert_eq!(again.listing(&built), anew.listing(&fresh), "{copy}");
        assert_eq!(built.image_id, fresh.image_id, "{copy}");
        for row in again.store.layers().unwrap() {
            assert_eq!(again.layers.check(&row).unwrap(), Checked::Sound, "{copy}");
        }
        again.assert_nothing_left();
    }
}

#[test]
fn a_layer_before_that_is_damaged_is_not_taken_from() {
    if !require(&[Need::Root, Need::Overlay, Need::Indexes]) {
        return;
    }
    let [again, anew] = [Bench::new(), Bench::unpacking()].map(|bench| {
        fill(&bench);
        bench
    });
    let copy = "COPY src /new";
    again.run(&request(&again, copy)).unwrap();
    for row in again.store.layers().unwrap().iter().filter(|row| row.id.is_indexed()) {
        let path = again.store.root().join("layers").join(row.id.as_str()).join("tar");
        let mut bytes = fs_err::read(&path).unwrap();
        bytes.iter_mut().filter(|byte| **byte == b'x').for_each(|byte| *byte = b'y');
        fs_err::write(&path, bytes).unwrap();
    }
    edit(&again);
    let built = again.run(&request(&again, copy)).unwrap();
    edit(&anew);
    let fresh = anew.run(&request(&anew, copy)).unwrap();
    assert_eq!(built.image_id, fresh.image_id);
}
