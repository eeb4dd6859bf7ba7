//! What COPY and ADD make of files.

use std::io::Write as _;

use shipway_testkit::{Need, require};

use crate::harness::{Bench, render};

fn bench() -> Option<Bench> {
    if !require(&[Need::Root, Need::Overlay]) {
        return None;
    }
    let bench = Bench::new();
    bench.debian();
    bench.file("a.txt", "a");
    bench.file("b.txt", "b");
    bench.file("dir/x", "x");
    bench.file("dir/sub/y", "y");
    bench.file("link", "->a.txt");
    bench.file("dirlink", "->dir");
    bench.file("dir/inner", "->x");
    Some(bench)
}

/// Builds on the base and lists what the instructions added.
fn added(bench: &Bench, lines: &str) -> Vec<String> {
    let base: Vec<String> = ["etc/", "etc/passwd", "lib64", "usr/", "usr/lib64/"].map(str::to_owned).to_vec();
    let built =
        bench.build(&format!("FROM debian\n{lines}\n")).unwrap_or_else(|error| panic!("{}", render(&error)));
    let mut listing = bench.listing(&built);
    listing.retain(|line| !base.contains(&line.split(' ').next().unwrap().to_owned()));
    bench.assert_nothing_left();
    listing
}

#[test]
fn sources_and_destinations() {
    let Some(bench) = bench() else { return };
    for (name, lines, want) in [
        ("file to file", "COPY a.txt /x", vec!["x 644 0:0 a"]),
        ("file to directory", "COPY a.txt /x/", vec!["x/ 755 0:0", "x/a.txt 644 0:0 a"]),
        ("file into an existing directory", "COPY a.txt /etc", vec!["etc/a.txt 644 0:0 a"]),
        ("file to a deep path", "COPY a.txt /p/q/r", vec!["p/ 755 0:0", "p/q/ 755 0:0", "p/q/r 644 0:0 a"]),
        (
            "relative destination",
            "WORKDIR /w\nCOPY a.txt b.txt ./",
            vec!["w/ 755 0:0", "w/a.txt 644 0:0 a", "w/b.txt 644 0:0 b"],
        ),
        (
            "contents of a directory",
            "COPY dir /d",
            vec!["d/ 755 0:0", "d/inner -> x", "d/sub/ 755 0:0", "d/sub/y 644 0:0 y", "d/x 644 0:0 x"],
        ),
        ("wildcard", "COPY *.txt /t/", vec!["t/ 755 0:0", "t/a.txt 644 0:0 a", "t/b.txt 644 0:0 b"]),
        ("wildcard of one", "COPY a.tx? /x", vec!["x 644 0:0 a"]),
        ("wildcard without a match beside one", "COPY a.txt z* /t/", vec!["t/ 755 0:0", "t/a.txt 644 0:0 a"]),
        (
            "wildcard of directories",
            "COPY di[r] /t/",
            vec!["t/ 755 0:0", "t/inner -> x", "t/sub/ 755 0:0", "t/sub/y 644 0:0 y", "t/x 644 0:0 x"],
        ),
        ("a link is followed", "COPY link /x", vec!["x 644 0:0 a"]),
        ("a link into a directory keeps its name", "COPY link /t/", vec!["t/ 755 0:0", "t/link 644 0:0 a"]),
        ("a link to a directory", "COPY dirlink/x /x", vec!["x 644 0:0 x"]),
        ("quoted", "COPY [\"a.txt\", \"/with space\"]", vec!["with space 644 0:0 a"]),
        ("dots stay inside", "COPY ../../a.txt /x", vec!["x 644 0:0 a"]),
        ("owner by number", "COPY --chown=5:6 a.txt /o/", vec!["o/ 755 5:6", "o/a.txt 644 5:6 a"]),
        ("owner by name", "COPY --chown=web dir/x /o", vec!["o 644 33:33 x"]),
        ("owner by name without a group", "COPY --chown=web: dir/x /o", vec!["o 644 33:0 x"]),
        ("octal mode", "COPY --chmod=750 dir/x /o", vec!["o 750 0:0 x"]),
        ("set-uid and owner", "COPY --chown=5 --chmod=4755 a.txt /o", vec!["o 4755 5:5 a"]),
        (
            "symbolic mode",
            "COPY --chmod=u=rwX,go= dir /o",
            vec!["o/ 755 0:0", "o/inner -> x", "o/sub/ 700 0:0", "o/sub/y 600 0:0 y", "o/x 600 0:0 x"],
        ),
        (
            "exclude in a directory",
            "COPY --exclude=sub --exclude=inner dir /o",
            vec!["o/ 755 0:0", "o/x 644 0:0 x"],
        ),
        ("exclude with a wildcard", "COPY --exclude=b* *.txt /o/", vec!["o/ 755 0:0", "o/a.txt 644 0:0 a"]),
        (
            "exclude but one",
            "COPY --exclude=** --exclude=!sub/y dir /o",
            vec!["o/ 755 0:0", "o/sub/ 755 0:0", "o/sub/y 644 0:0 y"],
        ),
        (
            "parents",
            "COPY --parents dir/sub/y /p/",
            vec!["p/ 755 0:0", "p/dir/ 755 0:0", "p/dir/sub/ 755 0:0", "p/dir/sub/y 644 0:0 y"],
        ),
        (
            "parents with a pivot",
            "COPY --parents dir/./sub/y /p/",
            vec!["p/ 755 0:0", "p/sub/ 755 0:0", "p/sub/y 644 0:0 y"],
        ),
        (
            "parents with stars",
            "COPY --parents **/y /p/",
            vec!["p/ 755 0:0", "p/dir/ 755 0:0", "p/dir/sub/ 755 0:0", "p/dir/sub/y 644 0:0 y"],
        ),
        ("link flag", "COPY --link a.txt /x", vec!["x 644 0:0 a"]),
        (
            "heredoc",
            "ENV V=1\nCOPY <<f.txt <<'g' /h/\n$V \"q\"\nf.txt\n$V\ng",
            vec!["h/ 755 0:0", "h/f.txt 644 0:0 1 \"q\"\n", "h/g 644 0:0 $V\n"],
        ),
        ("add of a file", "ADD a.txt /x", vec!["x 644 0:0 a"]),
        ("variable", "ARG F=b\nCOPY $F.txt /x", vec!["x 644 0:0 b"]),
    ] {
        assert_eq!(added(&bench, lines), want, "case {name}");
    }
}

#[test]
fn contents_leave_the_directory_that_they_go_into_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(bench) = bench() else { return };
    let dir = bench.request("").context.join("dir");
    fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let below = ["d/inner -> x", "d/sub/ 755 0:0", "d/sub/y 644 0:0 y", "d/x 644 0:0 x"];
    for line in ["COPY dir /d/", "COPY --parents dir/./ /d/", "COPY --parents ./dir/./. /d/"] {
        assert_eq!(added(&bench, line), [&["d/ 755 0:0"], &below[..]].concat(), "{line}");
    }
    assert_eq!(added(&bench, "COPY --parents ./dir /d/")[..2], ["d/ 755 0:0", "d/dir/ 700 0:0"]);
}

#[test]
fn existing_files_are_replaced_and_links_in_the_image_are_kept() {
    let Some(bench) = bench() else { return };
    bench.file("root/lib64/lib.so", "so");
    bench.file("over/etc/passwd/now-a-directory", "1");
    bench.file("file/usr", "file");
    for (name, lines, want) in [
        ("into a directory that is a link", "COPY a.txt /lib64/", vec!["usr/lib64/a.txt 644 0:0 a"]),
        ("a tree over a link to a directory", "COPY root /", vec!["usr/lib64/lib.so 644 0:0 so"]),
        ("a file again", "COPY a.txt /x\nCOPY b.txt /x", vec!["x 644 0:0 b"]),
    ] {
        assert_eq!(added(&bench, lines), want, "case {name}");
        let built = bench.build(&format!("FROM debian\n{lines}\n")).unwrap();
        assert!(bench.listing(&built).contains(&"lib64 -> usr/lib64".to_owned()), "case {name}");
    }
    let built = bench.build("FROM debian\nCOPY over /\n").unwrap();
    assert!(bench.listing(&built).contains(&"etc/passwd/now-a-directory 644 0:0 1".to_owned()));
    let built = bench.build("FROM debian\nCOPY file /\n").unwrap();
    assert!(bench.listing(&built).contains(&"usr 644 0:0 file".to_owned()));
}

#[test]
fn files_that_are_named_one_by_one_are_no_hard_links() {
    let Some(bench) = bench() else { return };
    let context = bench.dir.path().join("context");
    fs_err::hard_link(context.join("dir/x"), context.join("z")).unwrap();
    let built = bench.build("FROM debian\nCOPY dir/x z /l/\n").unwrap();
    let files = bench.files(&built);
    assert_eq!(["l/x", "l/z"].map(|path| files.metadata(path).unwrap().unwrap().links), [1, 1]);
}

#[test]
fn directories_that_an_archive_implies_are_dated_today() {
    let Some(bench) = bench() else { return };
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mtime(7);
    header.set_mode(0o644);
    archive.append_data(&mut header, "p/q/f", std::io::empty()).unwrap();
    let archive = archive.into_inner().unwrap();
    fs_err::write(bench.dir.path().join("context/x.tar"), archive).unwrap();
    let built = bench.build("FROM debian\nADD x.tar /\n").unwrap();
    let files = bench.files(&built);
    let time = |path: &str| files.metadata(path).unwrap().unwrap().mtime.0;
    assert_eq!(time("p/q/f"), 7);
    assert!(time("p") > 1_700_000_000 && time("p/q") > 1_700_000_000, "{} {}", time("p"), time("p/q"));
}

#[test]
fn times_hard_links_and_attributes_are_kept() {
    let Some(bench) = bench() else { return };
    let context = bench.dir.path().join("context");
    fs_err::hard_link(context.join("dir/x"), context.join("dir/z")).unwrap();
    let file = std::fs::File::options().write(true).open(context.join("dir/x")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(12345)).unwrap();
    let root = shipway_linux::Root::open(&context).unwrap();
    let supports = root.set_xattr("dir/x", "user.note", b"kept").is_ok();
    let capability = [&[1, 0, 0, 2, 0, 0x20, 0, 0][..], &[0; 12]].concat();
    root.set_xattr("dir/sub/y", "security.capability", &capability).unwrap();
    let built = bench.build("FROM debian\nCOPY dir /d/\n").unwrap();
    let files = bench.files(&built);
    let x = files.metadata("d/x").unwrap().unwrap();
    assert_eq!(x.mtime.0, 12345);
    assert_eq!((x.inode, x.links), (files.metadata("d/z").unwrap().unwrap().inode, 2));
    let owned = bench.files(&bench.build("FROM debian\nCOPY --chown=7 dir/sub/y /y\n").unwrap());
    assert_eq!(owned.xattrs("y").unwrap(), [("security.capability".to_owned(), capability)]);
    if supports {
        assert_eq!(files.xattrs("d/x").unwrap(), [("user.note".to_owned(), b"kept".to_vec())]);
    }
}

#[test]
fn ignored_files_are_not_seen() {
    let Some(bench) = bench() else { return };
    bench.file(".dockerignore", "*.txt\n!b.txt\ndir\n!dir/sub/y\n.dockerignore\n");
    for (name, lines, want) in [
        (
            "all",
            "COPY . /",
            vec![
                "b.txt 644 0:0 b",
                "dir/ 755 0:0",
                "dir/sub/ 755 0:0",
                "dir/sub/y 644 0:0 y",
                "dirlink -> dir",
                "link -> a.txt",
            ],
        ),
        ("wildcard", "COPY *.txt /t/", vec!["t/ 755 0:0", "t/b.txt 644 0:0 b"]),
        (
            "below an ignored directory",
            "COPY dir /d/",
            vec!["d/ 755 0:0", "d/sub/ 755 0:0", "d/sub/y 644 0:0 y"],
        ),
    ] {
        assert_eq!(added(&bench, lines), want, "case {name}");
    }
    let error = bench.build("FROM debian\nCOPY a.txt /\n").unwrap_err();
    insta::assert_snapshot!(render(&error), @r"
    error: Dockerfile:2:6: `a.txt` is not in the build context
    Dockerfile:2:6
      2 | COPY a.txt /
        |      ^^^^^
    hint: it exists, but .dockerignore leaves it out
    ");
}

#[test]
fn what_is_ignored_is_a_place_and_no_way_to_it() {
    let Some(bench) = bench() else { return };
    bench.file("dir/again", "->../dirlink");
    let (x, sub) = (vec!["x 644 0:0 x"], vec!["s/ 755 0:0", "s/y 644 0:0 y"]);
    for (name, ignore, line, want) in [
        ("a way by a link", "dirlink/x", "COPY dirlink/x /x", Some(x.clone())),
        ("a way by two links", "dirlink/again", "COPY dirlink/x /x", Some(x.clone())),
        ("a wildcard behind a link", "dirlink/s*", "COPY dirlink/s* /s/", Some(sub.clone())),
        ("a directory behind a link", "dirlink/sub", "COPY dirlink/sub /s/", Some(sub)),
        ("a link to a file", "a.txt\n!a.txt\nlink/*", "COPY link /x", Some(vec!["x 644 0:0 a"])),
        ("the place behind a link", "dir/x", "COPY dirlink/x /x", None),
        ("the link itself", "dirlink", "COPY dirlink/x /x", None),
        ("the link at the end", "link", "COPY link /x", None),
        ("a link on the way of a link", "dirlink", "COPY dir/again/x /x", None),
        ("a link in a directory", "dir/again", "COPY dir/again/x /x", None),
        ("a link behind a wildcard", "dirlink", "COPY dirlin*/x z* a.t?t /x", Some(vec!["x 644 0:0 a"])),
        (
            "a directory that a wildcard names, in part",
            "dir\n!dir/x",
            "COPY di? /o/",
            Some(vec!["o/ 755 0:0", "o/x 644 0:0 x"]),
        ),
        (
            "a directory that a wildcard names, all of it",
            "dir\n!dir/none",
            "COPY di? a.* /o/",
            Some(vec!["o/ 755 0:0", "o/a.txt 644 0:0 a"]),
        ),
    ] {
        bench.file(".dockerignore", ignore);
        match want {
            Some(want) => assert_eq!(added(&bench, line), want, "case {name}"),
            None => {
                let error = bench.build(&format!("FROM debian\n{line}\n")).expect_err(name);
                assert!(
                    render(&error).contains(".dockerignore leaves it out"),
                    "case {name}: {}",
                    render(&error)
                );
            }
        }
    }
}

#[test]
fn a_link_to_nothing_is_not_left_out() {
    let Some(bench) = bench() else { return };
    bench.file("l/broken", "->nothing");
    bench.file("l/out", "->/etc/passwd");
    bench.file("l/hidden", "->../secret");
    bench.file("l/hidden-too", "->hidden");
    bench.file("l/way", "->../dirlink/x");
    bench.file("secret", "s");
    bench.file(".dockerignore", "secret\ndirlink");
    for (name, word, want) in [
        ("broken", "l/brok*", "`l/broken` is not in the build context"),
        ("in a directory that is a wildcard", "?/broken", "`l/broken` is not in the build context"),
        ("out of the context", "l/o*", "it is a symbolic link to `/etc/passwd`, which is not inside"),
        (
            "to what is ignored",
            "l/hidde?",
            "it is a symbolic link to `../secret`, which .dockerignore leaves out",
        ),
        ("to a link to what is ignored", "l/*-too", "it is a symbolic link to `hidden`, which .dockerignore"),
        ("by a link that is ignored", "l/w*", "it is a symbolic link to `../dirlink/x`, which .dockerignore"),
        ("without a wildcard", "l/hidden", "it is a symbolic link to `../secret`, which .dockerignore"),
    ] {
        let error = bench.build(&format!("FROM debian\nCOPY a.txt {word} /x/\n")).expect_err(name);
        assert!(render(&error).contains(want), "case {name}: {}", render(&error));
    }
    // One in a directory is copied as it is.
    assert_eq!(added(&bench, "COPY --exclude=[^b]* l /x/"), ["x/ 755 0:0", "x/broken -> nothing"]);
}

#[test]
fn archives_are_unpacked_by_add_and_only_by_add() {
    let Some(bench) = bench() else { return };
    let mut archive = Vec::new();
    let snapshot_bench = Bench::new();
    snapshot_bench.base(
        "one",
        |_| {},
        |root| {
            root.create_dir("in", 0o700).unwrap();
            std::io::Write::write_all(&mut root.create_file("in/f", 0o640).unwrap(), b"f").unwrap();
            root.set_owner("in/f", 7, 8).unwrap();
        },
    );
    let built = snapshot_bench.build("FROM one\nLABEL a=b\n").unwrap();
    let layers = shipway_layers::LayerStore::resolve(
        &*snapshot_bench.layers,
        &snapshot_bench.config(&built).rootfs.diff_ids,
    )
    .unwrap();
    shipway_layers::LayerStore::export(&*snapshot_bench.layers, &layers[0], &mut archive).unwrap();
    let context = bench.dir.path().join("context");
    fs_err::write(context.join("x.tar"), &archive).unwrap();
    fs_err::write(context.join("x.tar.zst"), zstd::encode_all(&archive[..], 1).unwrap()).unwrap();
    let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packer.write_all(&archive).unwrap();
    fs_err::write(context.join("x.tar.bz2"), packer.finish().unwrap()).unwrap();
    fs_err::write(context.join("broken.bz2"), b"BZh9xxxx").unwrap();
    let unpacked = vec!["u/ 755 0:0", "u/in/ 700 0:0", "u/in/f 640 7:8 f"];
    assert_eq!(added(&bench, "ADD x.tar /u/"), unpacked);
    assert_eq!(added(&bench, "ADD x.tar.zst /u"), unpacked);
    assert_eq!(added(&bench, "ADD x.tar.bz2 /u"), unpacked);
    assert_eq!(added(&bench, "ADD broken.bz2 /u"), ["u 644 0:0 BZh9xxxx"]);
    assert_eq!(added(&bench, "ADD --chown=1 x.tar /u/"), ["u/ 755 1:1", "u/in/ 700 1:1", "u/in/f 640 1:1 f"]);
    for (name, lines) in [
        ("a mode is for no archive", "ADD --chmod=600 x.tar /u/"),
        ("nor by letters", "ADD --chmod=go= x.tar /u/"),
        ("nor linked", "ADD --link --chmod=600 x.tar /u/"),
    ] {
        assert_eq!(added(&bench, lines), unpacked, "case {name}");
    }
    let both = ["u/ 755 0:0", "u/a.txt 600 0:0 a", "u/in/ 700 0:0", "u/in/f 640 7:8 f"];
    assert_eq!(added(&bench, "ADD --chmod=600 x.tar a.txt /u/"), both, "a file beside it has it");
    assert_eq!(added(&bench, "COPY x.tar /u/").len(), 2);
    assert_eq!(added(&bench, "ADD --unpack=false x.tar /u/").len(), 2);
}

#[test]
fn stages_and_images_are_sources_too_and_keep_owners() {
    let Some(bench) = bench() else { return };
    bench.base(
        "other",
        |_| {},
        |root| {
            drop(root.create_file("tool", 0o755).unwrap());
            root.set_owner("tool", 3, 4).unwrap();
            root.symlink(std::path::Path::new("/tool"), "alias").unwrap();
        },
    );
    for (name, text, want) in [
        ("image", "FROM scratch\nCOPY --from=other /tool /", vec!["tool 755 3:4 "]),
        ("link inside the image", "FROM scratch\nCOPY --from=other /alias /", vec!["alias 755 3:4 "]),
        ("number", "FROM other\nFROM scratch\nCOPY --from=0 tool /", vec!["tool 755 3:4 "]),
        (
            "name in another case",
            "FROM other AS Build\nFROM scratch\nCOPY --from=build tool /",
            vec!["tool 755 3:4 "],
        ),
        (
            "chown wins",
            "FROM other AS b\nFROM scratch\nCOPY --from=b --chown=9 tool /",
            vec!["tool 755 9:9 "],
        ),
        (
            "wildcard",
            "FROM other AS b\nFROM scratch\nCOPY --from=b to* /t/",
            vec!["t/ 755 0:0", "t/tool 755 3:4 "],
        ),
    ] {
        let built = bench.build(text).unwrap_or_else(|error| panic!("case {name}: {}", render(&error)));
        assert_eq!(bench.listing(&built), want, "case {name}");
    }
}

#[test]
fn what_is_left_out_is_not_missing_but_what_is_missing_is() {
    let Some(bench) = bench() else { return };
    let built = bench.build("FROM debian\nCOPY --exclude=a.txt a.txt b.txt /only/\n").unwrap();
    let listed = bench.listing(&built);
    assert!(listed.iter().any(|line| line.starts_with("only/b.txt")), "{listed:?}");
    assert!(!listed.iter().any(|line| line.starts_with("only/a.txt")), "{listed:?}");
    for (flags, word) in [("--exclude=*.md", "REEDME.md"), ("--parents --exclude=dir/*.md", "dir/REEDME.md")]
    {
        let failed = bench.build(&format!("FROM debian\nCOPY {flags} a.txt {word} /x/\n")).unwrap_err();
        assert!(render(&failed).contains("REEDME.md"), "{flags}: {}", render(&failed));
    }
    let built = bench.build("FROM debian\nCOPY --parents --exclude=dir/x a.txt dir/x /y/\n").unwrap();
    let listed = bench.listing(&built);
    assert!(!listed.iter().any(|line| line.starts_with("y/dir/x")), "{listed:?}");
}
