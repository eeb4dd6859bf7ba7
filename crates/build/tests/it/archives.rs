//! What ADD makes of archives.

use shipway_testkit::{Need, require};
use tar::{Builder, EntryType, Header};

use crate::harness::{Bench, render};

/// What an entry is: a file with its content, a directory, or another name of something.
enum What {
    File(&'static str),
    Directory,
    Link(&'static str),
}

/// Builds on a base that has `work/` (mode 1777, owner 5:6), `work/base`, `real/`, and `way`, which leads there.
fn added(entries: &[(&str, u32, What)], lines: &str) -> Result<Vec<String>, String> {
    let bench = Bench::new();
    bench.debian();
    bench.file("tree/work/base", "base");
    bench.file("tree/real/x", "x");
    bench.file("tree/way", "->real");
    let mut archive = Builder::new(Vec::new());
    for (name, mode, what) in entries {
        let mut header = Header::new_ustar();
        // Past the checks of the library, which writes no `..`.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(*mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        let content = match what {
            What::File(content) => *content,
            What::Directory => "",
            What::Link(target) => {
                header.set_link_name_literal(target).unwrap();
                ""
            }
        };
        header.set_entry_type(match what {
            What::File(_) => EntryType::Regular,
            What::Directory => EntryType::Directory,
            What::Link(_) => EntryType::Link,
        });
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    let context = bench.dir.path().join("context");
    fs_err::write(context.join("x.tar"), archive.into_inner().unwrap()).unwrap();
    let file = format!(
        "FROM debian\nCOPY tree /\nCOPY --chown=5:6 --chmod=1777 tree/work /there/work/\nADD {lines}\n"
    );
    let built = bench.build(&file).map_err(|error| render(&error))?;
    let below = ["way", "real", "there", "work", "out"];
    let mut listing = bench.listing(&built);
    listing.retain(|line| below.iter().any(|name| line.starts_with(name)));
    bench.assert_nothing_left();
    Ok(listing)
}

#[test]
fn archives_lie_on_what_is_there_as_docker_lays_them() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    use What::{Directory, File, Link};
    let plain = ["real/ 755 0:0", "real/x 644 0:0 x", "there/ 1777 5:6", "there/work/ 1777 5:6"];
    let work = ["there/work/base 1777 5:6 base", "way -> real", "work/ 755 0:0", "work/base 644 0:0 base"];
    let with = |more: &[&'static str]| {
        let mut all: Vec<&str> = plain.iter().chain(&work).chain(more).copied().collect();
        all.sort_unstable();
        all
    };
    let without = |mut all: Vec<&'static str>, gone: &str| {
        all.retain(|line| !line.starts_with(gone));
        all
    };
    for (name, entries, lines, want) in [
        (
            "directories that are only implied stay as they are",
            vec![("there/work/f", 0o600, File("f"))],
            "x.tar /",
            with(&["there/work/f 600 7:8 f"]),
        ),
        (
            "those that are new are root's",
            vec![("new/f", 0o600, File("f"))],
            "--chown=3:4 x.tar /out",
            with(&["out/ 755 3:4", "out/new/ 755 0:0", "out/new/f 600 3:4 f"]),
        ),
        (
            "in a linked copy, too",
            vec![("there/work/f", 0o600, File("f")), ("there/new/f", 0o600, File("f"))],
            "--link x.tar /",
            with(&["there/new/ 755 0:0", "there/new/f 600 7:8 f", "there/work/f 600 7:8 f"]),
        ),
        (
            "links are gone through where a directory is only implied",
            vec![("way/f", 0o600, File("f"))],
            "x.tar /",
            with(&["real/f 600 7:8 f"]),
        ),
        (
            "and replaced by a directory",
            vec![("way/", 0o700, Directory), ("way/f", 0o600, File("f"))],
            "x.tar /",
            without(with(&["way/ 700 7:8", "way/f 600 7:8 f"]), "way ->"),
        ),
        (
            "names are cleaned",
            vec![
                ("./gone/../a", 0o600, File("a")),
                ("/../b", 0o600, File("b")),
                ("c", 0o600, Link("x/../a")),
            ],
            "x.tar /out",
            with(&["out/ 755 0:0", "out/a 600 7:8 a", "out/b 600 7:8 b", "out/c 600 7:8 a"]),
        ),
        (
            "another name of a file of the base",
            vec![("n", 0o640, Link("base")), ("m", 0o640, Link("n"))],
            "x.tar /work",
            without(
                with(&["work/base 640 7:8 base", "work/m 640 7:8 base", "work/n 640 7:8 base"]),
                "work/base 644",
            ),
        ),
        (
            "and the file itself",
            vec![("n", 0o640, Link("base")), ("base", 0o600, File("new"))],
            "--chown=3:4 x.tar /work",
            without(with(&["work/base 600 3:4 new", "work/n 640 3:4 base"]), "work/base 644"),
        ),
    ] {
        let mut found = added(&entries, lines).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.sort_unstable();
        assert_eq!(found, want, "case {name}");
    }
    let error = added(&[("n", 0o640, Link("nothing"))], "x.tar /work").unwrap_err();
    assert!(error.contains("neither in it nor below `/work`"), "{error}");
    let error = added(&[("../n", 0o640, File(""))], "x.tar /work").unwrap_err();
    assert!(error.contains("leads out"), "{error}");
}
