//! Looking for damage, and taking what is damaged out of use.
//!
//! Bytes are compared with their digests, records with what they name. Whether a layer's tree is what its archive says is for the
//! `layers` crate to tell.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use shipway_linux::Root;
use shipway_oci::{Digest, Hashing};

use crate::trash::remove;
use crate::{LayerId, Store, StoreError, is_of_the_moment};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub subject: Subject,
    /// What is wrong with it, as the rest of a sentence.
    pub reason: String,
}

/// What may be damaged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The database.
    Tables,
    /// A blob: a document, or a compressed layer.
    Blob(Digest),
    /// The tree of a layer.
    Layer(LayerId),
    /// An image that people or pods run.
    Image(Digest),
    /// A manifest that our own registry serves.
    Hosted {
        /// Its repository.
        repository: String,
        /// The digest that it was pushed under.
        digest: String,
    },
    /// A container.
    Container(String),
}

impl Subject {
    /// Returns what kind of thing it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tables => "database",
            Self::Blob(_) => "blob",
            Self::Layer(_) => "layer",
            Self::Image(_) => "image",
            Self::Hosted { .. } => "manifest",
            Self::Container(_) => "container",
        }
    }
}

/// Its name among its kind.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables => f.write_str("store.db"),
            Self::Blob(digest) | Self::Image(digest) => digest.fmt(f),
            Self::Layer(id) => id.fmt(f),
            Self::Hosted { repository, digest } => write!(f, "{repository}@{digest}"),
            Self::Container(id) => f.write_str(id.get(..12).unwrap_or(id)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.subject.kind(), self.subject, self.reason)
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Fault", 3)?;
        fields.serialize_field("Kind", self.subject.kind())?;
        fields.serialize_field("Name", &self.subject.to_string())?;
        fields.serialize_field("Reason", &self.reason)?;
        fields.end()
    }
}

/// Does something with each of many things on all cores; the order of the results means nothing.
pub fn on_all_cores<T: Sync, U: Send>(things: &[T], work: impl Fn(&T) -> Option<U> + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(things.len());
    std::thread::scope(|scope| {
        for _core in 0..cores {
            scope.spawn(|| {
                while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(result) = work(thing) {
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Looks at everything that is recorded and at every byte of every blob, and returns what is wrong, in the order of its names.
    /// `heard` is told of each blob when it has been read, in bytes, from several threads. The caller holds a lease. It fails where it
    /// could not look, lest that passes for damage.
    pub fn fsck(&self, heard: &(dyn Fn(u64) + Sync)) -> Result<Vec<Fault>, StoreError> {
        let mut faults = self.check_tables()?;
        let blobs = self.blobs()?;
        let checked = on_all_cores(&blobs, |(digest, size)| {
            let fault = self.check_blob(digest);
            heard(*size);
            fault.transpose()
        });
        for fault in checked {
            faults.push(fault?);
        }
        let mut known: HashMap<Digest, bool> = blobs.iter().map(|(digest, _)| (*digest, true)).collect();
        for fault in &faults {
            if let Subject::Blob(digest) = fault.subject {
                known.insert(digest, false);
            }
        }
        faults.extend(self.check_layers()?);
        faults.extend(self.check_images(&known)?);
        faults.extend(self.check_hosted(&known)?);
        faults.extend(self.check_containers()?);
        faults.sort_by(|one, other| one.subject.cmp(&other.subject));
        Ok(faults)
    }

    /// Returns all blobs with their sizes in bytes.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut blobs = Vec::new();
        for path in self.strangers("blobs/sha256", |_| false)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Ok(digest) = format!("sha256:{name}").parse() else { continue };
            blobs.push((digest, fs_err::metadata(&path).map_or(0, |found| found.len())));
        }
        Ok(blobs)
    }

    /// Takes a damaged blob out of use; repositories of our own registry lose it, and the manifests that cannot be without it.
    /// Returns those manifests.
    pub fn drop_blob(&self, digest: &Digest) -> Result<Vec<Subject>, StoreError> {
        let lost = self.free("forget a damaged blob", |transaction| {
            let text = digest.to_string();
            let names: Vec<(String, String)> = transaction
                .prepare("DELETE FROM hosted_blobs WHERE blob = ?1 RETURNING repository, digest")?
                .query_map([&text], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let names: HashSet<(String, String)> = names.into_iter().collect();
            let manifests: Vec<(String, String, String, String)> = transaction
                .prepare("SELECT repository, digest, blob, blobs FROM hosted_manifests")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<Result<_, _>>()?;
            let mut lost = Vec::new();
            for (repository, manifest, blob, blobs) in manifests {
                let needs = |name: &str| names.contains(&(repository.clone(), name.to_owned()));
                if blob == text || blobs.split(' ').any(needs) {
                    let sql = "DELETE FROM hosted_tags WHERE repository = ?1 AND digest = ?2";
                    transaction.execute(sql, [&repository, &manifest])?;
                    let sql = "DELETE FROM hosted_manifests WHERE repository = ?1 AND digest = ?2";
                    transaction.execute(sql, [&repository, &manifest])?;
                    lost.push(Subject::Hosted { repository, digest: manifest });
                }
            }
            Ok(lost)
        })?;
        let path = self.blob_path(digest);
        // There may be anything by now.
        if fs_err::symlink_metadata(&path).is_ok() {
            remove(&path)?;
        }
        Ok(lost)
    }

    /// Makes nothing new stand on a layer: it is no longer what its diff ID or a cached step leads to. What stands on it already
    /// keeps it.
    pub fn retire_layer(&self, id: &LayerId) -> Result<(), StoreError> {
        self.free("forget a damaged layer", |transaction| {
            transaction.execute("UPDATE layers SET diff_id = NULL WHERE id = ?1", [id.as_str()])?;
            transaction.execute("DELETE FROM steps WHERE layer = ?1", [id.as_str()])?;
            Self::forget_fixup(transaction, id)
        })
    }

    fn check_tables(&self) -> Result<Vec<Fault>, StoreError> {
        let said: Vec<String> = self.read("check the tables", |connection| {
            connection.prepare("PRAGMA integrity_check")?.query_map([], |row| row.get(0))?.collect()
        })?;
        let faults = said.into_iter().filter(|line| line != "ok");
        Ok(faults
            .map(|line| Fault { subject: Subject::Tables, reason: format!("is damaged: {line}") })
            .collect())
    }

    fn check_blob(&self, digest: &Digest) -> Result<Option<Fault>, StoreError> {
        let path = self.blob_path(digest);
        let read = || -> io::Result<Digest> {
            // It may be a pipe by now, that nobody writes to.
            let file = Root::open(&self.root().join("blobs/sha256"))?.open_regular(digest.hex())?;
            let mut content = Hashing::new(file.ok_or_else(|| io::Error::other("it is no file"))?);
            io::copy(&mut content, &mut io::sink())?;
            Ok(content.digest())
        };
        let reason = match read() {
            Ok(found) if found == *digest => return Ok(None),
            // Collected meanwhile, or never needed: what needs it will say so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_of_the_moment(&error) => return Err(StoreError::io("read", &path)(error)),
            Ok(found) => format!("has other bytes: their digest is {found}"),
            Err(error) => format!("cannot be read: {error}"),
        };
        Ok(Some(Fault { subject: Subject::Blob(*digest), reason }))
    }

    /// Returns whether a blob is what its digest says. `known` tells it of those that were looked at; others have come since.
    fn is_sound(&self, digest: &Digest, known: &HashMap<Digest, bool>) -> Result<bool, StoreError> {
        match known.get(digest) {
            Some(is_sound) => Ok(*is_sound),
            None => Ok(self.has_blob(digest) && self.check_blob(digest)?.is_none()),
        }
    }

    fn check_layers(&self) -> Result<Vec<Fault>, StoreError> {
        let dir = self.root().join("layers");
        let mut faults = Vec::new();
        for row in self.layers()? {
            let path = dir.join(row.id.as_str());
            match fs_err::metadata(&path) {
                Ok(found) if found.is_dir() => continue,
                Err(error) if is_of_the_moment(&error) => {
                    return Err(StoreError::io("examine", &path)(error));
                }
                _ => {}
            }
            faults
                .push(Fault { subject: Subject::Layer(row.id), reason: "has no files any more".to_owned() });
        }
        Ok(faults)
    }

    fn check_images(&self, known: &HashMap<Digest, bool>) -> Result<Vec<Fault>, StoreError> {
        let mut faults = Vec::new();
        let mut seen = HashSet::new();
        for image in self.images()? {
            if !seen.insert((image.image_id, image.manifest)) {
                continue;
            }
            if let Some(reason) = self.lack_of(&image.image_id, &image.manifest, known)? {
                faults.push(Fault { subject: Subject::Image(image.image_id), reason });
            }
        }
        Ok(faults)
    }

    /// Returns what an image lacks.
    fn lack_of(
        &self,
        image_id: &Digest,
        manifest: &Digest,
        known: &HashMap<Digest, bool>,
    ) -> Result<Option<String>, StoreError> {
        for (what, digest) in [("manifest", manifest), ("config", image_id)] {
            if !self.is_sound(digest, known)? {
                return Ok(Some(format!("has lost its {what} {digest}")));
            }
        }
        let (manifest, config) = match (self.manifest(manifest), self.config(image_id)) {
            (Ok(manifest), Ok(config)) => (manifest, config),
            (Err(error), _) | (_, Err(error)) if is_of_the_moment(&error) => return Err(error),
            (Err(error), _) | (_, Err(error)) => {
                return Ok(Some(format!("has an unreadable document: {error}")));
            }
        };
        for (place, diff_id) in config.rootfs.diff_ids.iter().enumerate() {
            let Some(layer) = self.layer_of(*diff_id)? else {
                return Ok(Some(format!("has lost its layer {diff_id}")));
            };
            // Archives of others' making cannot be made again of the tree.
            let foreign = self.packed(*diff_id)?.into_iter().find(|packed| packed.packer.is_empty());
            let named = manifest.layers.get(place).map(|layer| layer.digest);
            if let Some(packed) = foreign.filter(|packed| Some(packed.digest) == named)
                && !self.is_sound(&packed.digest, known)?
            {
                let reason = format!("has lost the archive {} of its layer {}", packed.digest, layer.id);
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// A blob that somebody deleted is no damage: its repository knows nothing of it any more.
    fn check_hosted(&self, known: &HashMap<Digest, bool>) -> Result<Vec<Fault>, StoreError> {
        type Blobs = HashMap<(String, String), String>;
        type Manifests = Vec<(String, String, String, String)>;
        let (blobs, manifests): (Blobs, Manifests) =
            self.read("list what repositories have", |connection| {
                let blobs = connection
                    .prepare("SELECT repository, digest, blob FROM hosted_blobs")?
                    .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
                    .collect::<Result<_, _>>()?;
                let manifests = connection
                    .prepare("SELECT repository, digest, blob, blobs FROM hosted_manifests")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                    .collect::<Result<_, _>>()?;
                Ok((blobs, manifests))
            })?;
        let layers: HashSet<Digest> =
            self.layers()?.into_iter().filter_map(|row| row.diff_id).map(|diff_id| diff_id.0).collect();
        let is_sound = |blob: &str| match blob.parse() {
            Ok(blob) => Ok(layers.contains(&blob) || self.is_sound(&blob, known)?),
            Err(_no_digest) => Ok(false),
        };
        let lost = |repository: &str, names: &str| -> Result<Option<String>, StoreError> {
            for name in names.split(' ') {
                let blob = blobs.get(&(repository.to_owned(), name.to_owned()));
                if let Some(blob) = blob
                    && !is_sound(blob)?
                {
                    return Ok(Some(format!("has lost its blob {name}")));
                }
            }
            Ok(None)
        };
        let mut faults = Vec::new();
        for (repository, digest, blob, names) in manifests {
            let reason = if is_sound(&blob)? {
                lost(&repository, &names)?
            } else {
                Some("has lost its own bytes".to_owned())
            };
            let subject = Subject::Hosted { repository, digest };
            faults.extend(reason.map(|reason| Fault { subject, reason }));
        }
        Ok(faults)
    }

    fn check_containers(&self) -> Result<Vec<Fault>, StoreError> {
        let known: HashSet<LayerId> = self.layers()?.into_iter().map(|row| row.id).collect();
        let mut faults = Vec::new();
        for row in self.containers()? {
            let Some(snapshot) = &row.snapshot else { continue };
            let reason = match self.snapshot_parents(snapshot)? {
                None => Some("has lost its files".to_owned()),
                Some(parents) => parents
                    .iter()
                    .find(|parent| !known.contains(parent))
                    .map(|parent| format!("stands on the layer {parent}, which is gone")),
            };
            let subject = Subject::Container(row.id);
            faults.extend(reason.map(|reason| Fault { subject, reason }));
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use shipway_oci::{DiffId, Reference};

    use super::*;
    use crate::{HostedManifest, LayerNotes, LayerRow, Packed};

    const CLOCK: i64 = 7;

    /// A store with one image of one layer, which came from elsewhere as the archive `packed`.
    fn world() -> (tempfile::TempDir, Store, [Digest; 3]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff_id = DiffId(Digest::of(b"tar"));
        let row = LayerRow {
            id: LayerId::unique(1),
            diff_id: Some(diff_id),
            size: 3,
            notes: LayerNotes::default(),
        };
        fs_err::create_dir(dir.path().join("layers").join(row.id.as_str())).unwrap();
        store.record_layer(&row).unwrap();
        let archive = store.put_blob(b"packed").unwrap();
        let packed = Packed { digest: archive, size: 6, media_type: "x".to_owned(), packer: String::new() };
        store.record_packed(diff_id, &packed).unwrap();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let config = store.put_blob(config.as_bytes()).unwrap();
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{config}","size":1}},
                "layers":[{{"mediaType":"x","digest":"{archive}","size":6}}]}}"#
        );
        let manifest = store.put_blob(manifest.as_bytes()).unwrap();
        let name: Reference = "web".parse().unwrap();
        store.tag(&name, manifest, config, CLOCK).unwrap();
        (dir, store, [archive, config, manifest])
    }

    fn said(store: &Store) -> Vec<String> {
        store.fsck(&|_| {}).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_store_has_no_faults_and_every_byte_was_read() {
        let (_dir, store, _) = world();
        let read = std::sync::atomic::AtomicU64::new(0);
        let faults = store
            .fsck(&|bytes| {
                read.fetch_add(bytes, Ordering::Relaxed);
            })
            .unwrap();
        assert_eq!(faults, []);
        let want: u64 = store.blobs().unwrap().iter().map(|(_, size)| size).sum();
        assert_eq!(read.into_inner(), want);
    }

    #[test]
    fn what_comes_while_it_is_looked_at_is_no_damage() {
        let (_dir, store, [archive, config, _]) = world();
        let come = std::sync::Once::new();
        let faults = store.fsck(&|_| {
            come.call_once(|| {
                let mut manifest = store.manifest(&store.images().unwrap()[0].manifest).unwrap();
                manifest.annotations.insert("new".to_owned(), "yes".to_owned());
                let manifest = store.put_blob(&serde_json::to_vec(&manifest).unwrap()).unwrap();
                store.tag(&"new".parse().unwrap(), manifest, config, CLOCK).unwrap();
            });
        });
        assert_eq!(faults.unwrap(), []);
        // And what has come is looked at.
        let spoilt = std::sync::Once::new();
        let faults = store.fsck(&|_| {
            spoilt.call_once(|| {
                let manifest = store.put_blob(b"document").unwrap();
                fs_err::write(store.blob_path(&manifest), "d").unwrap();
                store.tag(&"spoilt".parse().unwrap(), manifest, config, CLOCK).unwrap();
            });
        });
        let want = format!("image {config} has lost its manifest {}", Digest::of(b"document"));
        assert_eq!(faults.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
        assert!(store.has_blob(&archive));
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let (_dir, store, [archive, config, manifest]) = world();
        fs_err::write(store.blob_path(&archive), "pack!d").unwrap();
        let want = format!("has other bytes: their digest is {}", Digest::of(b"pack!d"));
        assert!(said(&store)[0].contains(&want), "{:?}", said(&store));
        assert!(said(&store)[1].contains(&format!("image {config} has lost the archive {archive}")));
        assert_eq!(store.drop_blob(&archive).unwrap(), []);
        assert_eq!(said(&store).len(), 1, "{:?}", said(&store));
        store.put_blob(b"packed").unwrap();

        let layer = store.layers().unwrap().remove(0);
        fs_err::remove_dir(store.root().join("layers").join(layer.id.as_str())).unwrap();
        assert_eq!(said(&store), [format!("layer {} has no files any more", layer.id)]);
        store.retire_layer(&layer.id).unwrap();
        assert!(said(&store).contains(&format!("image {config} has lost its layer {}", Digest::of(b"tar"))));

        store.drop_blob(&manifest).unwrap();
        assert!(said(&store).contains(&format!("image {config} has lost its manifest {manifest}")));
    }

    #[test]
    fn a_repository_loses_what_cannot_be_served_and_nothing_else() {
        let (_dir, store, [archive, ..]) = world();
        let hosted = |digest: &str, blob: Digest, blobs: &[String]| HostedManifest {
            digest: digest.to_owned(),
            blob,
            size: 1,
            media_type: "m".to_owned(),
            subject: None,
            artifact_type: String::new(),
            annotations: "{}".to_owned(),
            blobs: blobs.to_vec(),
        };
        let document = store.put_blob(b"document").unwrap();
        let deleted = Digest::of(b"deleted").to_string();
        store.host_blob("web", &archive.to_string(), archive, CLOCK).unwrap();
        let lost = hosted("sha256:lost", document, &[archive.to_string()]);
        store.host_manifest("web", &lost, &["1".to_owned()]).unwrap();
        let kept = hosted("sha256:kept", document, &[deleted]);
        store.host_manifest("web", &kept, &["2".to_owned()]).unwrap();
        assert_eq!(said(&store), [""; 0]);

        fs_err::write(store.blob_path(&archive), "").unwrap();
        let want = format!("manifest web@sha256:lost has lost its blob {archive}");
        assert!(said(&store).contains(&want), "{:?}", said(&store));
        let gone = store.drop_blob(&archive).unwrap();
        assert_eq!(
            gone,
            [Subject::Hosted { repository: "web".to_owned(), digest: "sha256:lost".to_owned() }]
        );
        assert_eq!(store.hosted_tag("web", "1").unwrap(), None);
        assert_eq!(store.hosted_tag("web", "2").unwrap().as_deref(), Some("sha256:kept"));
    }

    #[test]
    fn a_container_without_its_files_is_named() {
        let (_dir, store, [_, config, _]) = world();
        let row = crate::ContainerRow {
            id: "ab".repeat(32),
            name: "one".to_owned(),
            image_id: config,
            image: "web".to_owned(),
            created: CLOCK,
            snapshot: Some("gone".to_owned()),
            document: "{}".to_owned(),
        };
        store.add_container(&row, crate::Durability::Synced).unwrap();
        assert_eq!(said(&store), ["container abababababab has lost its files"]);
        fs_err::create_dir(store.snapshot_path("gone")).unwrap();
        store.note_parents("gone", &[LayerId::unique(9)]).unwrap();
        assert!(said(&store)[0].contains("stands on the layer 9-"), "{:?}", said(&store));
    }
}
