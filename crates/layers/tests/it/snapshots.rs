//! Changes on top of layers, as the kernel makes them.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use shipway_layers::{LayerStore as _, Unpacked};
use shipway_linux::Root;
use shipway_store::Store;
use shipway_testkit::{Need, require};

use crate::collect;

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

#[test]
fn a_layer_shows_deletions_when_mounted_again_and_marks_only_what_hides_something() {
    if !require(&[Need::Root, Need::Overlay]) {
        return;
    }
    let (_dir, layers) = layers();
    let base = layers.prepare(&[]).unwrap();
    let tree = Root::open(&base.upper).unwrap();
    tree.create_dir_all("a/b", 0o755).unwrap();
    tree.create_file("a/b/old", 0o644).unwrap();
    tree.set_mode("", 0o751).unwrap();
    let base = layers.commit(base).unwrap();

    let mut change = layers.prepare(std::slice::from_ref(&base)).unwrap();
    change.latest_mtime = Some(1_000);
    let merged = Root::from_fd(change.overlay().mount_detached().unwrap());
    assert_eq!(merged.metadata("").unwrap().unwrap().mode & 0o7777, 0o751, "the root is that of the base");
    merged.remove_all("a/b").unwrap();
    merged.create_dir_all("a/b/c", 0o755).unwrap();
    merged.create_dir("new", 0o755).unwrap();
    let socket = change.upper.join("new/socket");
    drop(merged);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let top = layers.commit(change).unwrap();

    let lowers = layers.view(&[base, top.clone()]);
    let tree = Root::open(&lowers[0]).unwrap();
    let opaque =
        |path: &str| tree.xattrs(path).unwrap().iter().any(|(name, _)| name.starts_with("user.overlay."));
    assert!(opaque("a/b") && !opaque("a/b/c") && !opaque("new") && !opaque("a"));
    assert!(tree.metadata("new/socket").unwrap().is_none());
    assert_eq!(tree.metadata("new").unwrap().unwrap().mtime, (1_000, 0));

    let view = shipway_linux::Overlay { lowers, ..shipway_linux::Overlay::default() };
    let merged = Root::from_fd(view.mount_detached().unwrap());
    assert_eq!(merged.names("a/b").unwrap(), ["c"]);
    let first = layers.diff_id(&top).unwrap();
    let mut exported = Vec::new();
    layers.export(&top, &mut exported).unwrap();
    assert_eq!((first.diff_id.0, first.size), (shipway_oci::Digest::of(&exported), exported.len() as u64));
}

#[test]
fn the_collector_spares_snapshots_in_use_and_what_they_stand_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let layers = Unpacked::open(store.clone());
    let base = layers.commit(layers.prepare(&[]).unwrap()).unwrap();
    let mut snapshot = layers.prepare(std::slice::from_ref(&base)).unwrap();
    assert_eq!(store.gc(0).unwrap(), None);
    snapshot.keep().unwrap();
    let id = snapshot.id.clone();
    drop(snapshot);
    let freed = collect(&store).unwrap();
    assert_eq!((freed.layers, freed.snapshots), (0, 0));
    assert_eq!(layers.open_snapshot(&id).unwrap().lowers, layers.view(std::slice::from_ref(&base)));
    layers.remove_snapshot(&id).unwrap();
    assert_eq!(collect(&store).unwrap().layers, 1);
    assert!(layers.prepare(&[base]).is_err());
}
