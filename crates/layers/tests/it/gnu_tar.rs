//! Archives as a real tar program writes them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use shipway_layers::{LayerStore as _, decompress};
use shipway_linux::Root;
use shipway_store::Store;
use shipway_testkit::{Need, require};

use crate::OPENS;
use crate::model::render_files;

#[test]
fn every_format_of_gnu_tar_comes_out_as_it_went_in() {
    if !require(&[Need::Root, Need::Tar]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let long = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    fs_err::create_dir_all(tree.join(&long)).unwrap();
    let root = Root::open(&tree).unwrap();
    for (path, content) in [("a", "1"), ("b c\u{e9}", ""), (long.as_str(), "")] {
        fs_err::write(tree.join(path).with_extension("txt"), content).unwrap();
    }
    fs_err::write(tree.join("large"), "x".repeat(100_000)).unwrap();
    root.hard_link("a.txt", "hard").unwrap();
    root.symlink("a.txt".as_ref(), "soft").unwrap();
    root.make_node("pipe", 0o010_600, 0).unwrap();
    root.make_node("null", 0o020_666, 0x103).unwrap();
    fs_err::set_permissions(tree.join("large"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    root.set_mode("", 0o750).unwrap();
    let plain = render_files(&root);
    for format in ["ustar", "gnu", "posix"] {
        // What only some formats can say.
        if format != "ustar" {
            root.set_owner("large", 3_000_000, 4_000_000).unwrap();
            root.set_mode("large", 0o4711).unwrap();
            fs_err::create_dir_all(tree.join("n".repeat(200)).join("o".repeat(200))).unwrap();
            root.remove("soft").unwrap();
            root.symlink(long.as_ref(), "soft").unwrap();
            root.set_mtime("a.txt", (-1000, 0)).unwrap();
        }
        let mut options = vec!["--format", format, "--sort=name", "-C", tree.to_str().unwrap(), "-c", "."];
        if format == "posix" {
            root.set_xattr("large", "user.x", b"y").unwrap();
            root.set_mtime("a.txt", (1_700_000_000, 123_456_789)).unwrap();
            options.splice(0..0, ["--xattrs"]);
        }
        for compress in [None, Some("--gzip")] {
            let output = Command::new("tar").args(compress).args(&options).output().unwrap();
            assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
            for open in OPENS {
                let store = tempfile::tempdir().unwrap();
                let layers = open(Store::open(store.path()).unwrap());
                let mut archive = decompress(Box::new(output.stdout.as_slice())).unwrap();
                let layer =
                    layers.import(&mut *archive, None).unwrap_or_else(|error| panic!("{format}: {error}"));
                let imported = Root::open_layer(&layers.view(&[layer.id])[0]).unwrap();
                assert_eq!(render_files(&imported), render_files(&root), "{format}");
                let mtime = |root: &Root| root.metadata("a.txt").unwrap().unwrap().mtime;
                let exact = if format == "posix" { mtime(&root) } else { (mtime(&root).0, 0) };
                assert_eq!(mtime(&imported), exact, "{format}");
            }
        }
    }
    assert_ne!(render_files(&root), plain);
}
