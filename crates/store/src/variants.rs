//! Images for several platforms that one index lists: which of them are here, and taking one of them away.

use rusqlite::params;
use shipway_oci::{Descriptor, Digest, Index, is_attestation, parse_json};

use crate::images::{DOCUMENT_LIMIT, UNNAMED};
use crate::trash::remove;
use crate::{Found, ImageRecord, Store, StoreError};

/// What changes with an image that an index for several lists.
#[derive(Clone, Debug, Default)]
pub struct Renaming {
    /// Names that stood for it, and what each stands for from now on.
    pub moved: Vec<(ImageRecord, Found)>,
    /// Names that were its alone.
    pub untagged: Vec<ImageRecord>,
}

impl Store {
    /// Returns the images of an index that are here as a whole, in its order; none if it is no index.
    pub fn images_of_index(&self, index: &Digest) -> Vec<Found> {
        self.index(index).map(|index| self.whole_images(&index)).unwrap_or_default()
    }

    /// Returns whether an index lists the image of a manifest; it need not be here.
    pub fn index_lists(&self, index: &Digest, manifest: &Digest) -> bool {
        let is_it = |listed: &Descriptor| listed.digest == *manifest && !is_attestation(listed);
        self.index(index).is_some_and(|index| index.manifests.iter().any(is_it))
    }

    /// Returns an index; `None` if it is none, or not here.
    pub fn index(&self, digest: &Digest) -> Option<Index> {
        parse_json(&self.read_blob(digest, DOCUMENT_LIMIT).ok()?).ok()
    }

    /// Takes the image of a manifest away from all indexes that list it. The manifest goes at once, what nothing else needs of the rest
    /// with the next collection. Names change before that: a crash in between leaves the image where it was.
    pub fn remove_listed(&self, manifest: &Digest, renaming: &Renaming, now: i64) -> Result<(), StoreError> {
        let lock = self.try_exclusive()?.ok_or(StoreError::Busy)?;
        if self.hosted_now(now)?.contains(&manifest.hex()) {
            return Err(StoreError::Hosted(*manifest));
        }
        self.free("take an image out of its index", |transaction| {
            for (row, to) in &renaming.moved {
                let id = to.image_id.to_string();
                let name = row.name.as_ref().map_or_else(|| format!("{UNNAMED}{id}"), ToString::to_string);
                let sql =
                    "UPDATE OR REPLACE images SET name = ?1, image_id = ?2, manifest = ?3 WHERE name = ?4";
                transaction.execute(sql, params![name, id, to.manifest.to_string(), key(row)])?;
            }
            for row in &renaming.untagged {
                transaction.execute("DELETE FROM images WHERE name = ?1", [key(row)])?;
            }
            Ok(())
        })?;
        remove(&self.blob_path(manifest))?;
        drop(lock);
        Ok(())
    }
}

/// Returns the name of a row as it is in the database.
fn key(row: &ImageRecord) -> String {
    row.name.as_ref().map_or_else(|| format!("{UNNAMED}{}", row.image_id), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use shipway_oci::{ImageConfig, Manifest, Platform, Reference, RootFs};

    use super::*;

    fn image(store: &Store, architecture: &str) -> (Found, Descriptor) {
        let config = ImageConfig {
            architecture: architecture.to_owned(),
            rootfs: RootFs::of_layers(Vec::new()),
            ..ImageConfig::default()
        };
        let id = store.put_blob(&serde_json::to_vec(&config).unwrap()).unwrap();
        let manifest = Manifest::new(Descriptor::new("application/json", id, 1), Vec::new());
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest = store.put_blob(&bytes).unwrap();
        let listed = Descriptor {
            platform: Some(Platform::linux(architecture)),
            ..Descriptor::new(shipway_oci::MediaType::OCI_MANIFEST, digest, bytes.len() as u64)
        };
        (Found::new(id, digest), listed)
    }

    #[test]
    fn an_image_of_an_index_goes_and_its_names_stand_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ((one, first), (other, second)) = (image(&store, "amd64"), image(&store, "arm64"));
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [first, second]});
        let index = store.put_blob(index.to_string().as_bytes()).unwrap();
        assert_eq!(store.images_of_index(&index), [one.clone(), other.clone()]);
        assert_eq!(store.images_of_index(&one.manifest), []);
        assert!(store.index_lists(&index, &one.manifest) && !store.index_lists(&index, &index));
        let beside: Reference = format!("web@{}", one.manifest).parse().unwrap();
        store.tag_found(&"web".parse().unwrap(), &Found { index: Some(index), ..one.clone() }, 1).unwrap();
        store.tag(&beside, one.manifest, one.image_id, 1).unwrap();
        let [web, beside] = ["docker.io/library/web:latest", &beside.to_string()].map(|name| {
            let mut rows = store.images().unwrap().into_iter();
            rows.find(|row| row.name.as_ref().is_some_and(|known| known.to_string() == name)).unwrap()
        });
        let renaming = Renaming { moved: vec![(web, other.clone())], untagged: vec![beside] };

        let lease = store.lease().unwrap();
        let refused = store.remove_listed(&one.manifest, &renaming, 2);
        assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
        assert_eq!(store.resolve("web").unwrap().image_id, one.image_id, "nothing has changed");
        drop(lease);

        store.remove_listed(&one.manifest, &renaming, 2).unwrap();
        let left = store.images().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!((left[0].image_id, left[0].index), (other.image_id, Some(index)));
        store.gc(3).unwrap().unwrap();
        assert!(!store.has_blob(&one.image_id) && store.has_blob(&other.image_id) && store.has_blob(&index));
    }

    #[test]
    fn a_name_that_moves_within_its_index_leaves_no_image_without_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ((one, first), (other, second)) = (image(&store, "amd64"), image(&store, "arm64"));
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [first, second]});
        let index = store.put_blob(index.to_string().as_bytes()).unwrap();
        let name: Reference = "web".parse().unwrap();
        for (image, index, rows) in [(&one, Some(index), 1), (&other, Some(index), 1), (&one, None, 2)] {
            store.tag_found(&name, &Found { index, ..image.clone() }, 1).unwrap();
            assert_eq!(store.images().unwrap().len(), rows, "{index:?}");
        }
    }

    #[test]
    fn an_image_without_a_name_becomes_the_other_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ((one, first), (other, second)) = (image(&store, "amd64"), image(&store, "arm64"));
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [first, second]});
        let index = store.put_blob(index.to_string().as_bytes()).unwrap();
        store.keep_unnamed(&Found { index: Some(index), ..one.clone() }, 1).unwrap();
        let row = store.images().unwrap().remove(0);
        let renaming = Renaming { moved: vec![(row, other.clone())], untagged: Vec::new() };
        store.remove_listed(&one.manifest, &renaming, 2).unwrap();
        assert_eq!(store.remove_image(other.image_id).unwrap(), [crate::Removal::Deleted(other.image_id)]);
        assert_eq!(store.images().unwrap(), []);
    }
}
