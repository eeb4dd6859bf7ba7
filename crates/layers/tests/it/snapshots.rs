//! Changes on top of layers, as the kernel makes them.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use shipway_layers::{LayerStore as _, Unpacked};
use shipway_linux::Root;
use shipway_store::Store;
use shipway_testkit::{Need, require};

fn layers() -> (tempfile::TempDir, Unpacked) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, Unpacked::open(store))
}

#[test]
fn a_change_becomes_a_layer_with_whiteouts() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (_dir, layers) = layers();
    let base = layers.prepare(&[]).unwrap();
    let tree = Root::open(&base.upper).unwrap();
    tree.create_dir_all("etc/old", 0o755).unwrap();
    for file in ["etc/keep", "etc/gone"] {
        tree.create_file(file, 0o644).unwrap();
    }
    let base = layers.commit(base).unwrap();

    let change = layers.prepare(std::slice::from_ref(&base)).unwrap();
    let merged = Root::from_fd(change.overlay().mount_detached().unwrap());
    merged.remove("etc/gone").unwrap();
    merged.remove_all("etc/old").unwrap();
    merged.create_dir("etc/old", 0o700).unwrap();
    merged.create_file("etc/new", 0o644).unwrap();
    drop(merged);
    let top = layers.commit(change).unwrap();

    let tree = &layers.view(std::slice::from_ref(&top))[0];
    let gone = fs_err::symlink_metadata(tree.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut exported = Vec::new();
    layers.export(&top, &mut exported).unwrap();
    let names: Vec<String> = tar::Archive::new(exported.as_slice())
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
        .collect();
    assert_eq!(names, ["etc/", "etc/.wh.gone", "etc/new", "etc/old/", "etc/old/.wh..wh..opq"]);
    let hashed = layers.diff_id(&top).unwrap();
    assert_eq!(hashed.diff_id.0, shipway_oci::Digest::of(&exported));
    assert_eq!(layers.resolve(&[hashed.diff_id]).unwrap(), [top]);
}

#[test]
fn a_dropped_snapshot_leaves_nothing_and_a_kept_one_stays() {
    let (dir, layers) = layers();
    let active = dir.path().join("active");
    let dropped = layers.prepare(&[]).unwrap();
    fs_err::write(dropped.upper.join("f"), "").unwrap();
    drop(dropped);
    assert_eq!(fs_err::read_dir(&active).unwrap().count(), 0);

    let mut kept = layers.prepare(&[]).unwrap();
    kept.keep().unwrap();
    let id = kept.id.clone();
    drop(kept);
    assert_eq!(layers.open_snapshot(&id).unwrap().id, id);
    layers.remove_snapshot(&id).unwrap();
    assert!(layers.open_snapshot(&id).is_err());
    layers.remove_snapshot(&id).unwrap();
}
