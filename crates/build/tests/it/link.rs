//! COPY --link: layers that know nothing of those below them.

use std::io::Write as _;

use shipway_layers::{Checked, LayerStore as _, Unpacked};
use shipway_linux::{Overlay, Root};
use shipway_store::Store;
use shipway_testkit::{Need, require};

use crate::harness::Bench;

fn bench() -> Option<Bench> {
    if !require(&[Need::Root, Need::Overlay]) {
        return None;
    }
    let bench = Bench::new();
    base(&bench, "first");
    bench.file("a", "a");
    bench.file("tree/x", "x");
    bench.file("tree/sub/y", "y");
    Some(bench)
}

/// Makes the image `base`, with `mark` in it, a directory that everybody may write to, and a link to a directory.
fn base(bench: &Bench, mark: &str) {
    bench.base(
        "base",
        |_| {},
        |root| {
            root.create_dir_all("usr/lib", 0o755).unwrap();
            root.create_dir_all("etc", 0o750).unwrap();
            root.create_dir("tmp", 0o755).unwrap();
            root.set_mode("tmp", 0o1777).unwrap();
            root.symlink(std::path::Path::new("usr/lib"), "lib").unwrap();
            for (path, text) in [("etc/passwd", "root:x:0:0::/:\nweb:x:33:34::/:\n"), ("mark", mark)] {
                root.create_file(path, 0o644).unwrap().write_all(text.as_bytes()).unwrap();
            }
        },
    );
}

#[test]
fn a_linked_copy_gives_the_files_that_a_plain_one_gives() {
    let Some(bench) = bench() else { return };
    for (name, copy) in [
        ("a file", "a /a"),
        ("into a directory that is there", "a /etc"),
        ("into one with a slash", "a /tmp/"),
        ("through a link to a directory", "a /lib/new/"),
        ("directories on the way", "a /x/y/z"),
        ("a tree", "tree /srv"),
        ("a tree into a directory that is there", "tree /tmp"),
        ("an owner by name", "--chown=web tree /srv/app"),
        ("an owner into a directory that is there", "--chown=web a /etc/"),
        ("a mode", "--chmod=700 tree /srv/app/"),
        ("a pattern", "--exclude=x tree /tmp/"),
        ("parents", "--parents tree/sub/y /srv/"),
    ] {
        let plain = bench.build(&format!("FROM base\nCOPY {copy}\n")).unwrap();
        let linked = bench.build(&format!("FROM base\nCOPY --link {copy}\n")).unwrap();
        assert_eq!(bench.listing(&linked), bench.listing(&plain), "case {name}");
    }
    bench.assert_nothing_left();
}

#[test]
fn directories_of_the_base_keep_their_times_in_later_layers() {
    let Some(bench) = bench() else { return };
    for (name, below, above) in [
        ("a file", "a /usr/lib/one", "a /usr/lib/two"),
        ("a directory", "tree /usr/lib/one", "--link tree /usr/lib/one/two"),
    ] {
        let built = bench
            .build(&format!("FROM base\nCOPY --link {below}\nCOPY {above}\nCOPY a /usr/three\n"))
            .unwrap();
        let found = bench.files(&built).metadata("etc").unwrap().unwrap();
        assert_eq!(found.mtime, (1_000_000_000, 0), "nobody has touched it");
        let found = bench.config(&built).rootfs.diff_ids;
        let layer = bench.layers.resolve(&found[found.len() - 2..found.len() - 1]).unwrap();
        let tree = Root::from_fd(
            Overlay { lowers: bench.layers.view(&layer), ..Overlay::default() }.mount_detached().unwrap(),
        );
        // Of a linked layer it is not: it says nothing of that directory.
        let usr = tree.metadata("usr").unwrap().unwrap();
        let want = if above.starts_with("--link") { (0, 0) } else { (1_000_000_000, 0) };
        assert_eq!(usr.mtime, want, "case {name}");
    }
    bench.assert_nothing_left();
}

#[test]
fn directories_that_are_new_are_in_its_layer() {
    let Some(bench) = bench() else { return };
    let builder = "FROM base AS from\nWORKDIR /e\nFROM base\n";
    for (name, copy, want) in [
        ("empty", "--from=from /e /data", "data/ 755 0:0"),
        ("empty, on the way", "--from=from /e /x/y", "x/y/ 755 0:0"),
        ("empty, below one that is there", "--from=from /e /tmp/data", "tmp/data/ 755 0:0"),
    ] {
        let text = format!("{builder}COPY --link {copy}\n");
        let built = bench.build(&text).unwrap();
        assert!(bench.listing(&built).contains(&want.to_owned()), "case {name}: {:?}", bench.listing(&built));
        // Also where the layer is not the one that was just written.
        let again = bench.build(&format!("{text}RUN write /n 1\n")).unwrap();
        assert!(bench.listing(&again).contains(&want.to_owned()), "case {name}: {:?}", bench.listing(&again));
        assert!(bench.listing(&again).contains(&"tmp/ 1777 0:0".to_owned()), "case {name}");
    }
    bench.assert_nothing_left();
}

#[test]
fn a_linked_copy_stays_when_what_it_lies_on_changes() {
    let Some(bench) = bench() else { return };
    let text = "FROM base\nCOPY --link a /tmp/\nCOPY --link --chown=web tree /srv\nRUN write /n 1\n";
    let first = bench.build(text).unwrap();
    base(&bench, "second");
    let second = bench.build(text).unwrap();
    assert_eq!(
        bench.log.lines("CACHED"),
        ["[2/4] COPY --link a /tmp/", "[3/4] COPY --link --chown=web tree /srv"]
    );
    assert!(bench.log.lines("DONE").contains(&"[4/4] RUN write /n 1".to_owned()));
    let (first, second) = (bench.listing(&first), bench.listing(&second));
    let changed: Vec<&String> = second.iter().filter(|line| !first.contains(line)).collect();
    assert_eq!(changed, ["mark 644 0:0 second"]);
    assert!(second.contains(&"tmp/ 1777 0:0".to_owned()) && second.contains(&"tmp/a 644 0:0 a".to_owned()));
    // A directory in the place of a file would hide it.
    let error = bench.build("FROM base\nCOPY --link a /etc/passwd/\n").unwrap_err();
    assert!(error.to_string().contains("`/etc/passwd"), "{error}");
    // On something without that user it cannot be.
    let error = bench.build("FROM scratch\nCOPY --link --chown=web tree /srv\n").unwrap_err();
    assert!(error.to_string().contains("web"), "{error}");
    // A plain copy does not stand for it.
    bench.build("FROM base\nCOPY a /tmp/\n").unwrap();
    assert_eq!(bench.log.lines("CACHED"), [""; 0]);
}

#[test]
fn its_archive_leaves_what_is_there_as_it_is() {
    let Some(bench) = bench() else { return };
    let built = bench.build("FROM base\nCOPY --link a /tmp/deep/\n").unwrap();
    let diff_ids = bench.config(&built).rootfs.diff_ids;
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Unpacked::open(Store::open(dir.path()).unwrap());
    for diff_id in &diff_ids {
        let row = bench.store.layer_of(*diff_id).unwrap().unwrap();
        let mut tar = Vec::new();
        bench.layers.export(&row.id, &mut tar).unwrap();
        elsewhere.import(&mut tar.as_slice(), Some(*diff_id)).unwrap();
        assert_eq!(bench.layers.check(&row).unwrap(), Checked::Sound);
    }
    let lowers = elsewhere.view(&elsewhere.resolve(&diff_ids).unwrap());
    let here = bench.files(&built).metadata("tmp/deep").unwrap().unwrap();
    let files = Root::from_fd(Overlay { lowers, ..Overlay::default() }.mount_detached().unwrap());
    assert_eq!(files.metadata("tmp").unwrap().unwrap().mode & 0o7777, 0o1777);
    assert!(files.metadata("tmp/deep/a").unwrap().is_some());
    // An archive has whole seconds.
    assert_eq!(files.metadata("tmp/deep").unwrap().unwrap().mtime.0, here.mtime.0, "as it is here");
}
