//! Power cuts: what was acknowledged is there afterwards, and what was not is gone or whole.
//!
//! The store lies on an ext4 file system of its own, with a journal, which is stopped in the middle of the work and mounted again.
//! That shows files that were never written to the disk; it does not show torn sectors or disks that lie.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use shipway_layers::{LayerStore as _, Unpacked};
use shipway_linux::{Root, cut_power, forget_private_mounts, keep_mounts_private};
use shipway_oci::{Descriptor, Digest, ImageConfig, Manifest, MediaType, Reference, RootFs};
use shipway_store::{Packed, Store};
use shipway_testkit::{Need, require};

use crate::collect;
use crate::model::{archive, parse};

/// A disk that can lose its power, with a store on it.
struct Disk {
    disk: shipway_testkit::Disk,
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        keep_mounts_private(dir.path()).unwrap();
        Self { disk: shipway_testkit::Disk::new(dir.path(), 96 << 20, None), dir }
    }

    fn path(&self) -> PathBuf {
        self.disk.path()
    }

    fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Gives the power back, and a new boot begins.
    fn restart(&self) {
        self.disk.restart();
        let tables = rusqlite::Connection::open(self.root().join("store.db")).unwrap();
        tables.execute("UPDATE layers SET boot = 'the one before'", []).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(forget_private_mounts(&self.path()));
        drop(forget_private_mounts(self.dir.path()));
    }
}

/// Fails the disk when so many bytes were read.
struct CutAt<'a> {
    inner: &'a [u8],
    left: usize,
    disk: &'a Path,
}

impl Read for CutAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(4096).min(self.left);
        if length == 0 && self.left == 0 {
            cut_power(self.disk)?;
            self.left = usize::MAX;
        }
        let read = self.inner.read(&mut buffer[..length.max(1)])?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

const FILES: usize = 40;

fn tar(content: char) -> Vec<u8> {
    let files = (0..FILES).map(|n| format!("; d/f{n}={}", content.to_string().repeat(10_000)));
    archive(&parse(&format!("d/ 711; l->d{}", files.collect::<String>())))
}

/// What stands for the archive of a layer: long enough to be lost.
fn packed(content: char) -> Vec<u8> {
    tar(content).repeat(2)
}

/// How far an import gets before the power goes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Reading(usize),
    Imported,
    Kept,
    Synced,
    Documents,
    Named,
}

/// Does what `shipway import` does, up to the power cut.
fn import(disk: &Disk, store: &Store, content: char, until: Phase) -> Result<(), Box<dyn std::error::Error>> {
    let layers = Unpacked::open_archiving(store.clone());
    let _lease = store.lease()?;
    let bytes = tar(content);
    let left = if let Phase::Reading(bytes) = until { bytes } else { usize::MAX };
    let layer = layers.import(&mut CutAt { inner: &bytes, left, disk: &disk.path() }, None)?;
    if matches!(until, Phase::Imported) {
        cut_power(&disk.path())?;
    }
    // Its archive, as a pull keeps it.
    let mut archive = store.ingest()?;
    archive.write_all(&packed(content))?;
    let digest = Digest::of(&packed(content));
    if matches!(until, Phase::Kept) {
        cut_power(&disk.path())?;
    }
    store.commit_all(vec![(archive, digest)])?;
    let form = Packed { digest, size: 1, media_type: "x".to_owned(), packer: String::new() };
    store.record_packed(layer.diff_id, &form)?;
    layers.sync()?;
    if matches!(until, Phase::Synced) {
        cut_power(&disk.path())?;
    }
    let config = ImageConfig { rootfs: RootFs::of_layers(vec![layer.diff_id]), ..ImageConfig::default() };
    let config = serde_json::to_vec(&config)?;
    let image_id = store.put_blob(&config)?;
    let manifest = Manifest::new(
        Descriptor::new(MediaType::OCI_CONFIG, image_id, config.len() as u64),
        vec![Descriptor::new("x", digest, 1)],
    );
    let manifest = store.put_blob(&serde_json::to_vec(&manifest)?)?;
    if matches!(until, Phase::Documents) {
        cut_power(&disk.path())?;
    }
    store.tag(&content.to_string().parse()?, manifest, image_id, 1)?;
    if matches!(until, Phase::Named) {
        cut_power(&disk.path())?;
    }
    Ok(())
}

/// Returns whether an image is there; one that is there is whole.
fn has(store: &Store, content: char) -> bool {
    let name: Reference = content.to_string().parse().unwrap();
    let Ok(found) = store.resolve(&name.to_string()) else { return false };
    let layers = Unpacked::open_archiving(store.clone());
    let config = store.config(&found.image_id).unwrap();
    store.manifest(&found.manifest).unwrap();
    let ids = layers.resolve(&config.rootfs.diff_ids).unwrap();
    let tree = Root::open_layer(&layers.view(&ids)[0]).unwrap();
    for n in 0..FILES {
        let mut bytes = Vec::new();
        tree.open_file(format!("d/f{n}")).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(
            bytes.len() == 10_000 && bytes.iter().all(|byte| char::from(*byte) == content),
            "d/f{n} of {content}"
        );
    }
    assert_eq!(tree.read_link("l").unwrap(), Path::new("d"));
    true
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done() {
    if !require(&[Need::Root, Need::LoopDevices]) {
        return;
    }
    let disk = Disk::new();
    let length = tar('b').len();
    let reading = (0..8).map(|part| Phase::Reading(length * part / 8 + 1));
    let phases = reading.chain([Phase::Imported, Phase::Kept, Phase::Synced, Phase::Documents, Phase::Named]);
    import(&disk, &Store::open(&disk.root()).unwrap(), 'a', Phase::Reading(usize::MAX)).unwrap();
    let mut named = 0;
    for phase in phases {
        let store = Store::open(&disk.root()).unwrap();
        let done = import(&disk, &store, 'b', phase);
        drop(store);
        disk.restart();
        let store = Store::open(&disk.root()).unwrap();
        assert!(has(&store, 'a'), "{phase:?}: an image that was there before is lost");
        assert!(!matches!(phase, Phase::Reading(_)) || done.is_err(), "{phase:?} was not reached");
        let there = has(&store, 'b');
        assert_eq!(store.fsck(&|_| {}).unwrap(), [], "{phase:?}");
        assert_eq!(there, done.is_ok(), "{phase:?}: acknowledged and there must be the same");
        named += usize::from(there);
        collect(&store).unwrap();
        let count = |dir: &str| fs_err::read_dir(disk.root().join(dir)).unwrap().count();
        let images = 1 + usize::from(there);
        assert_eq!((count("layers"), count("blobs/sha256")), (images, 3 * images), "{phase:?}");
        assert_eq!((count("active"), count("tmp")), (0, 0), "{phase:?}");
        if there {
            store.untag(&"b".parse().unwrap()).unwrap();
            collect(&store).unwrap();
        }
    }
    assert_eq!(named, 1, "only the last one was acknowledged");
    // The harness finds what it is for: without the sync, files are lost.
    let store = Store::open(&disk.root()).unwrap();
    let layers = Unpacked::open_unpacking(store.clone());
    layers.import(&mut tar('c').as_slice(), None).unwrap();
    let tree = |store: &Store| {
        let id = store.layers().unwrap().into_iter().map(|row| row.id).max();
        disk.root().join("layers").join(id.unwrap().as_str())
    };
    let path = tree(&store);
    assert_eq!(fs_err::read(path.join("d/f0")).unwrap().len(), 10_000);
    cut_power(&disk.path()).unwrap();
    drop((store, layers));
    disk.restart();
    assert!(
        !fs_err::read(path.join("d/f0")).is_ok_and(|bytes| bytes.len() == 10_000),
        "the harness shows nothing"
    );
    let store = Store::open(&disk.root()).unwrap();
    assert_eq!(store.layers().unwrap().len(), 1, "the damaged layer is forgotten");
}
