//! Removing what nothing needs.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use shipway_oci::{DiffId, Digest, Index, is_attestation, parse_json};

use crate::chains::drop_chains;
use crate::images::DOCUMENT_LIMIT;
use crate::trash::{Trash, is_gone, remove};
use crate::{Found, ImageRecord, LayerId, Store, StoreError};

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs.
    pub blobs: usize,
    /// Layers.
    pub layers: usize,
    /// Snapshots that nobody kept.
    pub snapshots: usize,
    /// Bytes of the blobs and of the layers' tars.
    pub bytes: u64,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Bytes of the layers' tars.
    pub layer_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
    /// Steps in the build cache.
    pub cached_steps: u64,
    /// Containers.
    pub containers: u64,
}

/// Names of files in a kept snapshot's folder: what it stands on, and that it outlives its process.
const PARENTS: &str = "parents";
const KEPT: &str = "kept";

/// What images, containers and kept snapshots need.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    /// Hex digests.
    pub(crate) blobs: HashSet<String>,
    pub(crate) diff_ids: HashSet<String>,
    /// Layers that snapshots stand on.
    pub(crate) layers: HashSet<String>,
}

impl Store {
    /// Removes the blobs, layers, snapshots and unfinished work that no image, cached step, container or kept snapshot
    /// needs; `None` if somebody holds a lease, and then nothing is removed. `now` is seconds since the epoch.
    ///
    /// Records go first, files after; what a crash leaves in between has no record, and the next collection removes it.
    pub fn gc(&self, now: i64) -> Result<Option<Freed>, StoreError> {
        let Some((freed, trash)) = self.collect(now)? else { return Ok(None) };
        // Others go on meanwhile: a tree of many files takes seconds.
        trash.remove()?;
        crate::reserve::regain(self.root());
        Ok(Some(freed))
    }

    /// Takes what nothing needs out of the store while nobody is at work.
    fn collect(&self, now: i64) -> Result<Option<(Freed, Trash)>, StoreError> {
        let Some(_lock) = self.try_exclusive()? else { return Ok(None) };
        // What cannot be read needs nobody knows what.
        let mut needed = self.needed_by(|_| true, |_| false)?;
        let hosted = self.hosted_needs(now)?;
        // Repositories may have a layer as its files, of which its archive is made when it is asked for.
        needed.diff_ids.extend(hosted.iter().map(|hex| format!("sha256:{hex}")));
        needed.blobs.extend(hosted);
        let (kept, mut freed) = self.free("collect garbage", |transaction| {
            let mut freed = Freed::default();
            let mut kept = HashSet::new();
            let sql = "SELECT id, diff_id, size, id IN (SELECT layer FROM steps) FROM layers
                       WHERE id NOT IN (SELECT fixup FROM chains WHERE fixup IS NOT NULL)";
            let layers: Vec<(String, Option<String>, i64, Option<bool>)> = transaction
                .prepare(sql)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<Result<_, _>>()?;
            for (id, diff_id, size, cached) in layers {
                let named = diff_id.is_some_and(|diff_id| needed.diff_ids.contains(&diff_id));
                if named || cached == Some(true) || needed.layers.contains(&id) {
                    kept.insert(id);
                } else {
                    transaction.execute("DELETE FROM layers WHERE id = ?1", [&id])?;
                    freed.bytes += size.unsigned_abs();
                }
            }
            drop_chains(transaction, &needed.layers, &mut kept)?;
            transaction
                .execute("DELETE FROM digests WHERE image_id NOT IN (SELECT image_id FROM images)", [])?;
            let forgotten = "DELETE FROM packed WHERE diff_id NOT IN
                             (SELECT diff_id FROM layers WHERE diff_id IS NOT NULL)";
            transaction.execute(forgotten, [])?;
            Ok((kept, freed))
        })?;
        // Foreign archives cannot be made again: they stay as long as their layers do.
        let packed = self.packed_blobs()?;
        let blob_bytes = |path: &Path| fs_err::metadata(path).map(|found| found.len());
        for path in
            self.strangers("blobs/sha256", |name| needed.blobs.contains(name) || packed.contains(name))?
        {
            freed.bytes += blob_bytes(&path).map_err(StoreError::io("examine", &path))?;
            remove(&path)?;
            freed.blobs += 1;
        }
        let mut trash = Trash::default();
        for path in self.strangers("tmp", |_| false)? {
            // A directory is a layer that was being unpacked, or a tree that was being removed: few bytes are its own.
            freed.bytes += if path.is_dir() { 0 } else { blob_bytes(&path).unwrap_or_default() };
            trash.take(self, path)?;
        }
        for path in self.strangers("layers", |name| kept.contains(name))? {
            trash.take(self, path)?;
            freed.layers += 1;
        }
        for path in self.unfinished_snapshots()? {
            trash.take(self, path)?;
            freed.snapshots += 1;
        }
        Ok(Some((freed, trash)))
    }

    /// Removes the unfinished work of processes that were killed, unless somebody holds a lease: it may be his. What a collection removes
    /// besides stays.
    pub fn sweep(&self) -> Result<(), StoreError> {
        let unfinished = || {
            let mut all = self.unfinished_snapshots()?;
            // What a collection has put aside it removes itself, or the next one does.
            all.extend(self.strangers("tmp", is_gone)?);
            Ok(all)
        };
        if unfinished()?.is_empty() {
            return Ok(());
        }
        let Some(lock) = self.try_exclusive()? else { return Ok(()) };
        let mut trash = Trash::default();
        // One that cannot be taken keeps none of the others.
        let taken: Vec<_> = unfinished()?.into_iter().map(|path| trash.take(self, path)).collect();
        drop(lock);
        trash.remove()?;
        taken.into_iter().collect()
    }

    fn unfinished_snapshots(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.strangers("active", |name| self.snapshot_path(name).join(KEPT).exists())
    }

    /// Returns what the store holds.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = self.read("sum the usage up", |connection| {
            let number =
                |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
            Ok(Usage {
                images: number("SELECT count(DISTINCT image_id) FROM images")?,
                layers: number("SELECT count(*) FROM layers")?,
                layer_bytes: number("SELECT coalesce(sum(size), 0) FROM layers")?,
                cached_steps: number("SELECT count(*) FROM steps")?,
                containers: number("SELECT count(*) FROM containers")?,
                ..Usage::default()
            })
        })?;
        for path in self.strangers("blobs/sha256", |_| false)? {
            usage.blobs += 1;
            usage.blob_bytes += fs_err::metadata(&path).map_or(0, |found| found.len());
        }
        Ok(usage)
    }

    /// Returns the bytes of an image's layers, as far as they are here.
    pub fn image_size(&self, image_id: &Digest) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for diff_id in self.config(image_id)?.rootfs.diff_ids {
            bytes += self.layer_of(diff_id)?.map_or(0, |row| row.size);
        }
        Ok(bytes)
    }

    /// Returns the folder of a snapshot.
    pub fn snapshot_path(&self, id: &str) -> PathBuf {
        self.root().join("active").join(id)
    }

    /// Writes down what the snapshot in `active/ID` stands on, base first.
    pub fn note_parents(&self, id: &str, parents: &[LayerId]) -> Result<(), StoreError> {
        let path = self.snapshot_path(id).join(PARENTS);
        let lines: String = parents.iter().map(|parent| format!("{parent}\n")).collect();
        fs_err::write(&path, lines).map_err(StoreError::io("write", &path))
    }

    /// Returns what a snapshot stands on, base first; `None` if there is no such snapshot.
    pub fn snapshot_parents(&self, id: &str) -> Result<Option<Vec<LayerId>>, StoreError> {
        let path = self.snapshot_path(id).join(PARENTS);
        match fs_err::read_to_string(&path) {
            Ok(lines) => {
                Ok(Some(lines.lines().map(|line| LayerId::from_database(line.to_owned())).collect()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Lets a snapshot outlive its process, until it is removed by name.
    pub fn keep_snapshot(&self, id: &str) -> Result<(), StoreError> {
        let path = self.snapshot_path(id).join(KEPT);
        fs_err::write(&path, "").map_err(StoreError::io("write", &path))
    }

    /// Returns what is needed, as far as it can be told: of an image with a damaged document not all is.
    pub(crate) fn needed(&self) -> Result<Needed, StoreError> {
        self.needed_by(|_| true, StoreError::is_of_document)
    }

    /// Returns what containers, kept snapshots and those images need whose ID the closure takes, without what cannot be told for reasons
    /// that may be `passed` over.
    pub(crate) fn needed_by(
        &self,
        counts: impl Fn(&Digest) -> bool,
        passed: impl Fn(&StoreError) -> bool,
    ) -> Result<Needed, StoreError> {
        let mut needed = Needed::default();
        for image in self.images()?.into_iter().filter(|image| counts(&image.image_id)) {
            if let Some(index) = image.index {
                self.need_index(&index, true, &mut needed);
            }
            let told = self.need_image(&Found::new(image.image_id, image.manifest), &mut needed);
            told.or_else(|error| if passed(&error) { Ok(()) } else { Err(error) })?;
        }
        for (_, digest, manifest) in self.digests_of_images()?.into_iter().filter(|(id, ..)| counts(id)) {
            needed.blobs.extend([digest.hex(), manifest.hex()]);
            if digest != manifest {
                self.need_index(&digest, false, &mut needed);
            }
            // A manifest that only a registry's index needs names blobs that a push of it would want.
            if let Ok(manifest) = self.manifest(&manifest) {
                needed.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex()));
            }
        }
        needed.blobs.extend(self.containers()?.iter().map(|container| container.image_id.hex()));
        for path in self.strangers("active", |name| !self.snapshot_path(name).join(KEPT).exists())? {
            let id = path.file_name().unwrap_or_default().to_string_lossy();
            needed
                .layers
                .extend(self.snapshot_parents(&id)?.unwrap_or_default().iter().map(ToString::to_string));
        }
        Ok(needed)
    }

    /// An index needs what it says is attested of its images, as far as that is here. One that a name stands for needs the images too.
    fn need_index(&self, digest: &Digest, is_named: bool, needed: &mut Needed) {
        needed.blobs.insert(digest.hex());
        let Ok(bytes) = self.read_blob(digest, DOCUMENT_LIMIT) else { return };
        let Ok(index) = parse_json::<Index>(&bytes) else { return };
        for listed in index.manifests.iter().filter(|listed| is_attestation(listed)) {
            needed.blobs.insert(listed.digest.hex());
            if let Ok(manifest) = self.manifest(&listed.digest) {
                needed.blobs.insert(manifest.config.digest.hex());
                needed.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex()));
            }
        }
        for image in if is_named { self.whole_images(&index) } else { Vec::new() } {
            // What was read just now is there.
            drop(self.need_image(&image, needed));
        }
    }

    /// Returns the images of an index that are here.
    pub(crate) fn whole_images(&self, index: &Index) -> Vec<Found> {
        let images = index.manifests.iter().filter(|listed| !is_attestation(listed));
        images.filter_map(|listed| self.whole_image(&listed.digest)).collect()
    }

    /// Returns the layers that are here because of an image: its own, and those of images for other platforms that its name stands for.
    pub fn layers_of_image(&self, image: &ImageRecord) -> Result<HashSet<DiffId>, StoreError> {
        let mut found: HashSet<DiffId> = self.config(&image.image_id)?.rootfs.diff_ids.into_iter().collect();
        let index = image.index.and_then(|index| self.read_blob(&index, DOCUMENT_LIMIT).ok());
        if let Some(index) = index.and_then(|bytes| parse_json::<Index>(&bytes).ok()) {
            for other in self.whole_images(&index) {
                found.extend(self.config(&other.image_id)?.rootfs.diff_ids);
            }
        }
        Ok(found)
    }

    fn need_image(&self, image: &Found, needed: &mut Needed) -> Result<(), StoreError> {
        needed.blobs.extend([image.manifest.hex(), image.image_id.hex()]);
        let manifest = self.manifest(&image.manifest)?;
        needed.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex()));
        let config = self.config(&image.image_id)?;
        needed.diff_ids.extend(config.rootfs.diff_ids.iter().map(ToString::to_string));
        Ok(())
    }

    /// Returns what is in a directory and not known.
    pub(crate) fn strangers(
        &self,
        directory: &str,
        known: impl Fn(&str) -> bool,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let path = self.root().join(directory);
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&path).map_err(StoreError::io("list", &path))? {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            if !known(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CachedStep, Chain, LayerNotes, LayerRow};
    use shipway_oci::{Attested, Descriptor, ImageConfig, Manifest, MediaType, RootFs, Statement};

    fn layer(store: &Store, content: &str) -> (LayerId, DiffId) {
        let id = LayerId::unique(1);
        fs_err::create_dir(store.root().join("layers").join(id.as_str())).unwrap();
        let row = LayerRow { id: id.clone(), diff_id: None, size: 10, notes: LayerNotes::default() };
        store.record_layer(&row).unwrap();
        let diff_id = DiffId(Digest::of(content.as_bytes()));
        store.record_diff_id(&id, diff_id).unwrap();
        (id, diff_id)
    }

    fn image(store: &Store, diff_id: DiffId) -> (Digest, Digest) {
        let config = ImageConfig { rootfs: RootFs::of_layers(vec![diff_id]), ..ImageConfig::default() };
        let id = store.put_blob(&serde_json::to_vec(&config).unwrap()).unwrap();
        let manifest = Manifest::new(Descriptor::new("application/json", id, 1), Vec::new());
        (store.put_blob(&serde_json::to_vec(&manifest).unwrap()).unwrap(), id)
    }

    #[test]
    fn what_was_left_unfinished_goes_while_nobody_is_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let unnamed = store.put_blob(b"without a name").unwrap();
        for path in ["active/left/upper", "active/kept", "tmp/layer"] {
            fs_err::create_dir_all(store.root().join(path)).unwrap();
        }
        store.keep_snapshot("kept").unwrap();
        let there =
            || ["active/left", "active/kept", "tmp/layer"].map(|path| store.root().join(path).exists());
        let lease = store.lease().unwrap();
        store.sweep().unwrap();
        assert_eq!(there(), [true; 3]);
        drop(lease);
        store.sweep().unwrap();
        assert_eq!(there(), [false, true, false]);
        assert!(store.blob_path(&unnamed).exists(), "that is for a collection");
    }

    #[test]
    fn only_what_nothing_needs_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [(_, named), (cached, _), (under, _), (unused, _)] =
            ["named", "cached", "under", "unused"].map(|content| layer(&store, content));
        let (manifest, id) = image(&store, named);
        store.tag(&"web".parse().unwrap(), manifest, id, 1).unwrap();
        let step = CachedStep {
            key: Digest::of(b"k"),
            state: String::new(),
            position: String::new(),
            inputs: String::new(),
            result: String::new(),
            layer: Some(cached.clone()),
        };
        store.cache_put(&step, 1).unwrap();
        for name in ["kept", "dropped"] {
            fs_err::create_dir(store.snapshot_path(name)).unwrap();
            store.note_parents(name, std::slice::from_ref(&under)).unwrap();
        }
        store.keep_snapshot("kept").unwrap();
        let stray = store.put_blob(b"stray").unwrap();
        fs_err::write(store.tmp().join("half"), "").unwrap();

        let lease = store.lease().unwrap();
        assert_eq!(store.gc(0).unwrap(), None, "somebody works");
        drop(lease);
        let freed = store.gc(0).unwrap().unwrap();
        assert_eq!(freed, Freed { blobs: 1, layers: 1, snapshots: 1, bytes: 15 });
        assert!(store.layer(&unused).unwrap().is_none() && !store.has_blob(&stray));
        assert_eq!(store.layers().unwrap().len(), 3);
        assert!(store.layer_of(named).unwrap().is_some());
        assert_eq!(fs_err::read_dir(store.tmp()).unwrap().count(), 0);
        assert_eq!(store.gc(0).unwrap().unwrap(), Freed::default());

        store.untag(&"web".parse().unwrap()).unwrap();
        store.cache_prune(i64::MAX).unwrap();
        let freed = store.gc(0).unwrap().unwrap();
        assert_eq!((freed.blobs, freed.layers), (2, 2));
    }

    #[test]
    fn others_go_on_while_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (unused, _) = layer(&store, "unused");
        let (freed, trash) = store.collect(0).unwrap().unwrap();
        assert_eq!(freed.layers, 1);
        assert!(!store.root().join("layers").join(unused.as_str()).exists());
        let left = || fs_err::read_dir(store.tmp()).unwrap().count();
        assert_eq!(left(), 1);
        assert!(store.try_exclusive().unwrap().is_some(), "the lock is free");
        trash.remove().unwrap();
        assert_eq!(left(), 0);
    }

    #[test]
    fn what_is_attested_of_an_image_stays_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (_, in_use) = layer(&store, "layer");
        let (manifest, id) = image(&store, in_use);
        let size = fs_err::metadata(store.blob_path(&manifest)).unwrap().len();
        let said = Statement::new(Statement::SPDX, "a list".into(), &[], &manifest);
        let described = Descriptor::new(MediaType::OCI_MANIFEST, manifest, size);
        let attested = Attested::new(described, &[said], <_>::default());
        let index = store.put_attested(&attested).unwrap();
        let image = Found { index: Some(index), ..Found::new(id, manifest) };
        let [first, second] = ["web:1", "web:2"].map(|name| name.parse().unwrap());
        store.tag_found(&first, &image, 1).unwrap();

        assert_eq!(store.gc(0).unwrap().unwrap().blobs, 0);
        let found = store.resolve("web:1").unwrap();
        assert_eq!((found.index, store.attested(&found).unwrap()), (Some(index), attested));
        assert_eq!(store.resolve(&format!("web@{index}")).unwrap().image_id, id);
        assert_eq!(store.resolve(&index.to_string()).unwrap().image_id, id);

        // The name moves on, and the image keeps what is said of it.
        let (other_manifest, other) = self::image(&store, DiffId(Digest::of(b"other")));
        store.tag_found(&first, &Found::new(other, other_manifest), 2).unwrap();
        assert_eq!(store.resolve(&id.to_string()).unwrap().index, Some(index));
        store.tag(&second, manifest, id, 3).unwrap();
        assert_eq!(store.resolve("web:2").unwrap().index, None);
        assert_eq!(store.gc(0).unwrap().unwrap().blobs, 4, "index, manifest, config, statement");
        assert_eq!(store.attested(&found), None);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (manifest, _) = image(&store, DiffId(Digest::of(b"layer")));
        let described = Descriptor::new(MediaType::OCI_MANIFEST, manifest, 1);
        let said = Statement::new(Statement::SPDX, "a list".into(), &[], &manifest);
        let mut attested = Attested::new(described, &[said], <_>::default());
        let before = store.gc(0).unwrap().unwrap();
        attested.blobs[0].1.resize(usize::try_from(crate::ATTESTATION_LIMIT).unwrap() + 1, b' ');
        let refused = store.put_attested(&attested).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the list of packages has 50331649 bytes, more than the 50331648 that there may be"
        );
        assert_eq!(store.gc(0).unwrap().unwrap().blobs, 0, "after {before:?}");
        attested.blobs[0].1.pop();
        assert!(crate::images::fits(&attested).is_ok());
    }

    #[test]
    fn what_an_unreadable_image_needs_is_not_collected() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let config = vec![b' '; usize::try_from(crate::CONFIG_LIMIT).unwrap() + 1];
        let refused = store.put_config(&config).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the image's config has 16777217 bytes, more than the 16777216 that there may be"
        );
        let (manifest, id) = image(&store, DiffId(Digest::of(b"layer")));
        store.tag(&"web".parse().unwrap(), manifest, id, 1).unwrap();
        fs_err::write(store.blob_path(&id), "x").unwrap();
        assert!(store.needed().is_ok());
        assert!(store.gc(0).unwrap_err().is_of_document());
    }

    #[test]
    fn a_fix_up_stays_while_its_chain_or_a_snapshot_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [(a, in_use), (b, _), (first, _), (second, _)] =
            ["a", "b", "first", "second"].map(|content| layer(&store, content));
        let (manifest, id) = image(&store, in_use);
        store.tag(&"web".parse().unwrap(), manifest, id, 1).unwrap();
        let mut chain = Chain::default();
        chain.push(&a);
        store.record_fixup(&mut chain, &first).unwrap();
        chain.push(&b);
        store.record_fixup(&mut chain, &second).unwrap();
        fs_err::create_dir(store.snapshot_path("kept")).unwrap();
        store.note_parents("kept", std::slice::from_ref(&second)).unwrap();
        store.keep_snapshot("kept").unwrap();
        store.gc(0).unwrap().unwrap();
        let left: Vec<LayerId> = store.layers().unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(!left.contains(&b));
        fs_err::remove_dir_all(store.snapshot_path("kept")).unwrap();
        store.gc(0).unwrap().unwrap();
        assert_eq!(store.layers().unwrap().len(), 2);
    }

    #[test]
    fn a_fix_up_goes_with_its_chain() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [(a, in_use), (b, _), (fixup, _)] = ["a", "b", "fixup"].map(|content| layer(&store, content));
        let (manifest, id) = image(&store, in_use);
        store.tag(&"web".parse().unwrap(), manifest, id, 1).unwrap();
        let chain = |layers: &[&LayerId]| {
            let mut chain = Chain::default();
            layers.iter().for_each(|layer| chain.push(layer));
            chain
        };
        assert_eq!(store.fixup(&chain(&[&a])).unwrap(), None);
        store.record_fixup(&mut chain(&[&a, &b]), &fixup).unwrap();
        let mut plain = chain(&[&a]);
        plain.needs_none();
        store.record_chain(&mut plain).unwrap();
        store.gc(0).unwrap().unwrap();
        assert_eq!(store.fixup(&chain(&[&a])).unwrap(), Some(None));
        assert_eq!(store.fixup(&chain(&[&a, &b])).unwrap(), None);
        assert_eq!(store.layers().unwrap().len(), 1);
    }
}
