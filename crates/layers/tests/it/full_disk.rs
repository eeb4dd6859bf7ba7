//! A full disk: one clear error, nothing half-done under a name, and images can still be removed.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use shipway_layers::{LayerStore as _, Unpacked};
use shipway_linux::{
    MountAttributes, OpenFlags, Root, attach, forget_private_mounts, free_bytes, keep_mounts_private,
    new_filesystem,
};
use shipway_oci::{Descriptor, Digest, ImageConfig, Manifest, MediaType, Reference, RootFs};
use shipway_store::{Store, StoreError};
use shipway_testkit::{Need, require};

use crate::collect;
use crate::model::{archive, parse};

/// A small file system of its own, gone with this value.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new(options: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("fs")).unwrap();
        let small = Self { dir };
        // What is mounted below is seen by no other namespace, and goes with this.
        keep_mounts_private(small.dir.path()).unwrap();
        let mount = new_filesystem("tmpfs", options, MountAttributes::default()).unwrap();
        let place = Root::open(small.dir.path()).unwrap();
        attach(mount, place.open_with("fs", OpenFlags::PATH, 0).unwrap()).unwrap();
        small
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("fs")
    }

    fn store(&self) -> Store {
        Store::open(&self.path().join("root")).unwrap()
    }

    /// Leaves only so many bytes free.
    fn fill(&self, left: u64) {
        let mut filler = std::fs::File::create(self.path().join("filler")).unwrap();
        // More than once: what was removed just now may become free only later.
        loop {
            let free = free_bytes(&self.path()).unwrap();
            if free <= left {
                return;
            }
            let piece = vec![b'x'; usize::try_from(free - left).unwrap()];
            let full = filler.write_all(&piece).is_err();
            assert!(
                !full || free_bytes(&self.path()).unwrap() == 0,
                "nothing more fits, but something is free"
            );
        }
    }

    fn empty(&self) {
        fs_err::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(forget_private_mounts(&self.path()));
        drop(forget_private_mounts(self.dir.path()));
    }
}

/// Everything that `shipway import` does.
fn add_image(store: &Store, name: &str, tar: &[u8]) -> Result<Digest, Box<dyn Error>> {
    let layers = Unpacked::open_archiving(store.clone());
    let _lease = store.lease()?;
    let layer = layers.import(&mut &*tar, None)?;
    let config = ImageConfig { rootfs: RootFs::of_layers(vec![layer.diff_id]), ..ImageConfig::default() };
    let config = serde_json::to_vec(&config)?;
    let image_id = store.put_blob(&config)?;
    let manifest =
        Manifest::new(Descriptor::new(MediaType::OCI_CONFIG, image_id, config.len() as u64), Vec::new());
    let manifest = store.put_blob(&serde_json::to_vec(&manifest)?)?;
    layers.sync()?;
    store.tag(&reference(name), manifest, image_id, 1)?;
    Ok(image_id)
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// The error with its causes.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Every name leads to an image that is whole.
fn assert_whole(store: &Store, case: &str) {
    let layers = Unpacked::open_archiving(store.clone());
    for image in store.images().unwrap() {
        let config = store.config(&image.image_id).unwrap_or_else(|error| panic!("case {case}: {error}"));
        let ids = layers.resolve(&config.rootfs.diff_ids).unwrap();
        for path in layers.view(&ids) {
            let big = Root::open_layer(&path).unwrap().metadata("big").unwrap().unwrap();
            assert_eq!(big.size, BIG as u64, "case {case}");
        }
    }
}

const BIG: usize = 300_000;

fn tar(content: char) -> Vec<u8> {
    archive(&parse(&format!("big={}; d/e/f=1; l->big", content.to_string().repeat(BIG))))
}

fn count(path: &Path) -> usize {
    fs_err::read_dir(path).unwrap().count()
}

#[test]
fn a_full_disk_is_named_in_every_phase_and_leaves_nothing_half_done() {
    if !require(&[Need::Root]) {
        return;
    }
    let small = Small::new(&[("size", "24m")]);
    let (mut failed, mut done) = (0, 0);
    for step in 0..110_u64 {
        let left = step * 4096;
        let store = small.store();
        small.fill(left);
        let case = format!("{left} bytes free");
        match add_image(&store, "app", &tar('a')) {
            Ok(_) => done += 1,
            Err(error) => {
                failed += 1;
                let text = chain(&*error);
                assert!(text.contains("no space left to") && text.contains('`'), "case {case}: {text}");
                assert_eq!(store.images().unwrap(), [], "case {case}: a name for something half done");
            }
        }
        assert_whole(&store, &case);
        assert_eq!(count(&small.path().join("root/active")), 0, "case {case}");
        small.empty();
        if !store.images().unwrap().is_empty() {
            store.untag(&reference("app")).unwrap();
        }
        collect(&store).unwrap();
        for dir in ["layers", "blobs/sha256", "tmp"] {
            assert_eq!(count(&small.path().join("root").join(dir)), 0, "case {case}: {dir}");
        }
    }
    assert!(failed > 50 && done > 5, "{failed} failed, {done} done");
    add_image(&small.store(), "app", &tar('a')).unwrap();
}

#[test]
fn images_can_be_removed_when_nothing_is_free() {
    if !require(&[Need::Root]) {
        return;
    }
    for (name, options, inodes) in [
        ("no bytes", [("size", "24m"), ("mode", "700")], 0),
        ("no files", [("size", "24m"), ("nr_inodes", "400")], 400),
    ] {
        let small = Small::new(&options);
        for (image, content) in [("one", 'a'), ("two", 'b')] {
            add_image(&small.store(), image, &tar(content)).unwrap();
        }
        if inodes == 0 {
            small.fill(0);
        } else {
            let fill = || {
                (0..inodes)
                    .try_for_each(|n| std::fs::File::create(small.path().join(format!("f{n}"))).map(drop))
            };
            assert!(fill().is_err(), "case {name}");
        }
        // As a new process would find it.
        let store = small.store();
        let refused = add_image(&store, "three", &tar('c')).unwrap_err();
        assert!(chain(&*refused).contains("no space left"), "case {name}: {}", chain(&*refused));
        store.untag(&reference("one")).unwrap_or_else(|error| panic!("case {name}: {}", chain(&error)));
        let freed = collect(&store).unwrap_or_else(|error| panic!("case {name}: {}", chain(&error)));
        assert_eq!((freed.layers, freed.blobs), (1, 2), "case {name}");
        assert!(matches!(store.resolve("one"), Err(StoreError::NoImage(_))), "case {name}");
        assert_whole(&store, name);
        assert_eq!(store.images().unwrap().len(), 1, "case {name}");
        drop(store);
        // And again: what was kept back may be gone by now, but a removal has made room.
        let store = small.store();
        store.untag(&reference("two")).unwrap();
        assert_eq!(collect(&store).unwrap().layers, 1, "case {name}");
    }
}
