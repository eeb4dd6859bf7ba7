//! What registries call images, and how layers are compressed there.

use std::collections::{HashMap, HashSet};

use rusqlite::{Row, params};
use shipway_oci::{DiffId, Digest, Reference};

use crate::{Found, Store, StoreError};

/// What a repository of a registry calls an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryDigest {
    /// Registry and repository, such as `docker.io/library/alpine`.
    pub repository: String,
    /// Digest of the manifest or index that the name stands for there.
    pub digest: Digest,
    /// Digest of the image's own manifest.
    pub manifest: Digest,
}

/// A compressed form of a layer; it need not be here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// What they are.
    pub media_type: String,
    /// What made them of the layer's tar, so that it can make them again; empty for those that came from elsewhere.
    pub packer: String,
}

impl Store {
    /// Records what a repository calls an image. It outlives names and goes with the image.
    pub fn record_digest(
        &self,
        repository: &str,
        digest: Digest,
        image_id: Digest,
        manifest: Digest,
    ) -> Result<(), StoreError> {
        self.write("record a registry's digest", |transaction| {
            let sql = "INSERT OR REPLACE INTO digests (repository, digest, image_id, manifest) VALUES (?1, ?2, ?3, ?4)";
            let values = params![repository, digest.to_string(), image_id.to_string(), manifest.to_string()];
            transaction.execute(sql, values).map(drop)
        })
    }

    /// Returns what repositories call an image.
    pub fn digests(&self, image_id: &Digest) -> Result<Vec<RepositoryDigest>, StoreError> {
        self.read("list the digests of an image", |connection| {
            let sql =
                "SELECT repository, digest, manifest FROM digests WHERE image_id = ?1 ORDER BY repository, digest";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([image_id.to_string()], |row| {
                Ok((row.get::<_, String>(0)?, digest_in(row, 1)?, digest_in(row, 2)?))
            })?;
            rows.filter_map(|row| match row {
                Ok((repository, Some(digest), Some(manifest))) => {
                    Some(Ok(RepositoryDigest { repository, digest, manifest }))
                }
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect()
        })
    }

    /// Returns whether the image of a name came from that name's repository, or was sent to it.
    pub fn is_known_to_registry(&self, name: &Reference, image_id: &Digest) -> Result<bool, StoreError> {
        let digests = self.digests(image_id)?;
        Ok(digests.iter().any(|known| known.repository == name.name()))
    }

    /// Returns which repositories of a registry have which layers, as manifests that came from there or went there say: what a push may
    /// mount instead of sending it.
    pub fn repositories_by_layer(&self, registry: &str) -> Result<HashMap<Digest, Vec<String>>, StoreError> {
        let prefix = format!("{registry}/");
        let known: Vec<(String, Option<Digest>)> = self.read("list digests", |connection| {
            let sql = "SELECT DISTINCT repository, manifest FROM digests
                       WHERE substr(repository, 1, length(?1)) = ?1 ORDER BY repository";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([&prefix], |row| Ok((row.get(0)?, digest_in(row, 1)?)))?.collect()
        })?;
        let mut found: HashMap<Digest, Vec<String>> = HashMap::new();
        for (repository, manifest) in known {
            let Some(manifest) = manifest.and_then(|digest| self.manifest(&digest).ok()) else { continue };
            for layer in manifest.layers {
                let holders = found.entry(layer.digest).or_default();
                if holders.last() != Some(&repository) {
                    holders.push(repository.clone());
                }
            }
        }
        Ok(found)
    }

    /// Records a compressed form of a layer. The next name that an image gets makes it lasting.
    pub fn record_packed(&self, diff_id: DiffId, packed: &Packed) -> Result<(), StoreError> {
        self.record_all_packed(&[(diff_id, packed)])
    }

    /// Like [`Store::record_packed`], for several layers.
    pub fn record_all_packed(&self, all: &[(DiffId, &Packed)]) -> Result<(), StoreError> {
        self.write_lazily("record a compressed layer", |transaction| {
            let sql =
                "INSERT INTO packed (diff_id, digest, size, media_type, packer) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            let mut statement = transaction.prepare_cached(sql)?;
            for (diff_id, Packed { digest, size, media_type, packer }) in all {
                let size = i64::try_from(*size).unwrap_or(i64::MAX);
                statement.execute(params![
                    diff_id.to_string(),
                    digest.to_string(),
                    size,
                    media_type,
                    packer
                ])?;
            }
            Ok(())
        })
    }

    /// Returns the known compressed forms of a layer, the newest first.
    pub fn packed(&self, diff_id: DiffId) -> Result<Vec<Packed>, StoreError> {
        self.read("list compressed layers", |connection| {
            let sql =
                "SELECT digest, size, media_type, packer FROM packed WHERE diff_id = ?1 ORDER BY rowid DESC";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([diff_id.to_string()], |row| {
                let digest = digest_in(row, 0)?;
                Ok(digest.map(|digest| Packed {
                    digest,
                    size: row.get::<_, i64>(1).unwrap_or_default().unsigned_abs(),
                    media_type: row.get(2).unwrap_or_default(),
                    packer: row.get(3).unwrap_or_default(),
                }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Returns the hex digits of all known compressed layers.
    pub(crate) fn packed_blobs(&self) -> Result<HashSet<String>, StoreError> {
        self.read("list compressed layers", |connection| {
            let mut statement = connection.prepare_cached("SELECT digest FROM packed")?;
            let rows = statement.query_map([], |row| digest_in(row, 0))?;
            rows.filter_map(Result::transpose).map(|digest| digest.map(|digest| digest.hex())).collect()
        })
    }

    /// Returns the ID, the registry's digest and the manifest of every image that is here.
    pub(crate) fn digests_of_images(&self) -> Result<Vec<(Digest, Digest, Digest)>, StoreError> {
        self.read("list digests", |connection| {
            let sql = "SELECT image_id, digest, manifest FROM digests
                       WHERE image_id IN (SELECT image_id FROM images)";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map([], |row| Ok((digest_in(row, 0)?, digest_in(row, 1)?, digest_in(row, 2)?)))?;
            rows.filter_map(|row| match row {
                Ok((Some(id), Some(digest), Some(manifest))) => Some(Ok((id, digest, manifest))),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect()
        })
    }

    /// Finds the image that a repository calls by a digest.
    pub(crate) fn by_registry_digest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Found>, StoreError> {
        let known: Vec<(Option<Digest>, Option<Digest>)> = self.read("find a digest", |connection| {
            let sql = "SELECT image_id, manifest FROM digests WHERE repository = ?1 AND digest = ?2
                       AND image_id IN (SELECT image_id FROM images) ORDER BY rowid DESC";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![repository, digest.to_string()], |row| {
                Ok((digest_in(row, 0)?, digest_in(row, 1)?))
            })?;
            rows.collect()
        })?;
        let read = known.into_iter().find_map(|(image_id, manifest)| Some((image_id?, manifest?)));
        Ok(read.map(|(image_id, manifest)| Found {
            image_id,
            manifest,
            index: Some(*digest).filter(|digest| *digest != manifest),
            name: None,
        }))
    }
}

fn digest_in(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(row.get::<_, String>(column)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_calls_an_image_goes_with_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let image_id = store.put_blob(config.as_bytes()).unwrap();
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{image_id}","size":{}}},"layers":[]}}"#,
            config.len()
        );
        let manifest = store.put_blob(manifest.as_bytes()).unwrap();
        let index = store.put_blob(b"{}").unwrap();
        let name: Reference = "registry.test/web:1".parse().unwrap();
        store.tag(&name, manifest, image_id, 1).unwrap();
        store.record_digest(&name.name(), index, image_id, manifest).unwrap();

        assert!(store.is_known_to_registry(&name, &image_id).unwrap());
        assert!(!store.is_known_to_registry(&"other.test/web:1".parse().unwrap(), &image_id).unwrap());
        store.gc(0).unwrap().unwrap();
        assert!(store.has_blob(&index), "the index stays with the image");
        let pinned = format!("registry.test/web@{index}");
        assert_eq!(store.resolve(&pinned).unwrap().image_id, image_id);

        store.untag(&name).unwrap();
        store.gc(0).unwrap().unwrap();
        assert!(!store.has_blob(&index));
        assert_eq!(store.digests(&image_id).unwrap(), []);
        assert!(matches!(store.resolve(&pinned), Err(StoreError::NoImage(_))));
    }

    #[test]
    fn an_archive_that_cannot_be_made_again_stays_as_long_as_its_layer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff_id = DiffId(Digest::of(b"tar"));
        let blob = store.put_blob(b"compressed").unwrap();
        let packed = Packed { digest: blob, size: 10, media_type: String::new(), packer: String::new() };
        store.record_packed(diff_id, &packed).unwrap();
        let layer = crate::LayerRow {
            id: crate::LayerId::unique(1),
            diff_id: Some(diff_id),
            size: 3,
            notes: crate::LayerNotes::default(),
        };
        store.record_layer(&layer).unwrap();
        let key = crate::CachedStep {
            key: Digest::of(b"step"),
            state: String::new(),
            position: String::new(),
            inputs: String::new(),
            result: String::new(),
            layer: Some(layer.id),
        };
        store.cache_put(&key, 1).unwrap();
        store.gc(0).unwrap().unwrap();
        assert!(store.has_blob(&blob), "a cached step needs the layer, and a push of it the archive");
    }

    #[test]
    fn the_newest_compressed_form_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let diff_id = DiffId(Digest::of(b"tar"));
        let form = |text: &str| Packed {
            digest: Digest::of(text.as_bytes()),
            size: 3,
            media_type: text.to_owned(),
            packer: String::new(),
        };
        for text in ["old", "new", "old"] {
            store.record_packed(diff_id, &form(text)).unwrap();
        }
        assert_eq!(store.packed(diff_id).unwrap(), [form("new"), form("old")]);
    }
}
