//! Sources with wildcards, where links and empty directories are.

use shipway_testkit::{Need, require};

use crate::harness::{Bench, render};

#[test]
fn wildcards_find_what_buildkits_find() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let bench = Bench::new();
    bench.debian();
    for (path, content) in [
        ("one/f", "1"),
        ("three/f", "3"),
        ("two", "->three"),
        ("links/broken", "->nothing"),
        ("links/file", "file"),
        ("!/f", "!"),
    ] {
        bench.file(path, content);
    }
    fs_err::create_dir(bench.dir.path().join("context/empty")).unwrap();
    for (name, lines, want) in [
        ("no link is a way behind a wildcard", "COPY t*/f /out/", vec!["out/ 755 0:0", "out/f 644 0:0 3"]),
        ("but before one", "COPY two/* /out/", vec!["out/ 755 0:0", "out/f 644 0:0 3"]),
        ("and what it ends at", "COPY tw* /out/", vec!["out/ 755 0:0", "out/f 644 0:0 3"]),
        ("an exclamation mark is no negation", "COPY [!x]/f /out/", vec!["out/ 755 0:0", "out/f 644 0:0 !"]),
        (
            "a link to nothing keeps its place",
            "COPY --parents links/* /out/",
            vec![
                "out/ 755 0:0",
                "out/links/ 755 0:0",
                "out/links/broken -> nothing",
                "out/links/file 644 0:0 file",
            ],
        ),
        ("nothing that has parents", "COPY --parents no*/x /out/", vec!["out/ 755 0:0"]),
        ("nothing below the pivot", "COPY --parents --chown=5 links/./no* /out/", vec!["out/ 755 5:5"]),
        ("nothing above the pivot", "COPY --parents no*/./x /out/", vec![]),
        ("nothing but what is left out", "COPY --parents --exclude=** links /out/", vec!["out/ 755 0:0"]),
        (
            "nothing in an empty directory that another source names",
            "COPY empty empty/* /out/",
            vec!["out/ 755 0:0"],
        ),
        (
            "nothing in an empty directory of a stage",
            "COPY empty /e/\nFROM debian\nCOPY --from=0 /e/* /out/",
            vec![],
        ),
        ("nothing at the top", "COPY none* /out/", vec![]),
    ] {
        let built = bench.build(&format!("FROM debian\n{lines}\n"));
        let built = built.unwrap_or_else(|error| panic!("case {name}: {}", render(&error)));
        let mut listing = bench.listing(&built);
        listing.retain(|line| line.starts_with("out"));
        assert_eq!(listing, want, "case {name}");
    }
    bench.assert_nothing_left();
}
