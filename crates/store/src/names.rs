//! From what a person typed to an image.

use shipway_oci::{Digest, Reference};

use crate::{ImageRecord, Store, StoreError};

/// An image, and the name that it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Digest of the config.
    pub image_id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the index that it was found in, if it was in one with what is attested of it.
    pub index: Option<Digest>,
    /// The name, if it was found by one.
    pub name: Option<Reference>,
}

impl Found {
    /// An image that is in no index and has no name.
    pub fn new(image_id: Digest, manifest: Digest) -> Self {
        Self { image_id, manifest, index: None, name: None }
    }
}

impl Store {
    /// Finds an image by name, `name@digest`, digest or the beginning of its id.
    ///
    /// Compat: docker, a name wins over the beginning of an id, and a whole id over a name.
    pub fn resolve(&self, text: &str) -> Result<Found, StoreError> {
        let images = self.images()?;
        let is_id = text.parse::<Digest>().is_ok();
        let reference: Option<Reference> = text.parse().ok().filter(|_| !is_id);
        if let Some(reference) = &reference {
            let by_name = |image: &&ImageRecord| match (&image.name, reference.digest()) {
                (Some(name), None) => name == reference,
                // The digest says which image; its names may have moved on.
                (_, Some(digest)) => {
                    image.manifest == digest || image.image_id == digest || image.index == Some(digest)
                }
                (None, None) => false,
            };
            if let Some(image) = images.iter().find(by_name) {
                return Ok(Found { name: image.name.clone(), ..found(image) });
            }
            if let Some(known) = reference
                .digest()
                .and_then(|digest| self.by_registry_digest(&reference.name(), &digest, &images).transpose())
            {
                return known;
            }
        }
        self.resolve_id(text, &images)
    }

    fn resolve_id(&self, text: &str, images: &[ImageRecord]) -> Result<Found, StoreError> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let hexadecimal =
            !prefix.is_empty() && prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hexadecimal {
            return Err(StoreError::NoImage(text.to_owned()));
        }
        let fits = |image: &&ImageRecord| {
            let whole = |digest: Digest| prefix.len() == 64 && digest.hex() == prefix;
            image.image_id.hex().starts_with(prefix)
                || whole(image.manifest)
                || image.index.is_some_and(whole)
        };
        let mut fitting: Vec<&ImageRecord> = images.iter().filter(fits).collect();
        fitting.sort_by_key(|image| image.image_id);
        fitting.dedup_by_key(|image| image.image_id);
        match fitting.as_slice() {
            [] => Err(StoreError::NoImage(text.to_owned())),
            [image] => Ok(found(image)),
            several => Err(StoreError::Ambiguous {
                prefix: text.to_owned(),
                candidates: several.iter().map(|image| image.image_id.short()).collect(),
            }),
        }
    }
}

fn found(image: &ImageRecord) -> Found {
    Found { image_id: image.image_id, manifest: image.manifest, index: image.index, name: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Removal;

    fn name(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn store() -> (tempfile::TempDir, Store, [Digest; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        store.tag(&name("web:1"), Digest::of(b"ma"), a, 1).unwrap();
        store.tag(&name("web"), Digest::of(b"ma"), a, 2).unwrap();
        store.tag(&name("db"), Digest::of(b"mb"), b, 3).unwrap();
        (dir, store, [a, b])
    }

    #[test]
    fn no_name_hides_an_id() {
        let (_dir, store, [a, b]) = store();
        for text in [a.to_string(), a.hex(), a.to_string()[..12].to_owned()] {
            let refused = store.tag(&name(&text), Digest::of(b"mb"), b, 5);
            assert!(matches!(refused, Err(StoreError::NameLikeId(_))), "{text}");
        }
        // One from before that was refused.
        store.tag(&name("old"), Digest::of(b"mb"), b, 5).unwrap();
        let sql = "UPDATE images SET name = ?1 WHERE name LIKE '%/old:latest'";
        let old = name(&a.to_string()).to_string();
        store.write("rename", |transaction| transaction.execute(sql, [&old])).unwrap();
        assert_eq!(store.resolve(&a.to_string()).unwrap().image_id, a);
        assert_eq!(store.resolve(&old).unwrap().image_id, b);
    }

    #[test]
    fn images_are_found_by_everything_that_people_type() {
        let (_dir, store, [a, b]) = store();
        let pinned = format!("other@{}", Digest::of(b"ma"));
        for (text, want) in [
            ("web", a),
            ("docker.io/library/web:1", a),
            ("db:latest", b),
            (&a.short(), a),
            (&a.to_string(), a),
            (&pinned, a),
        ] {
            assert_eq!(store.resolve(text).unwrap().image_id, want, "{text}");
        }
        for text in ["web:2", "nothing", "", "sha256:"] {
            assert!(matches!(store.resolve(text), Err(StoreError::NoImage(_))), "{text}");
        }
    }

    #[test]
    fn the_last_name_takes_the_image_along() {
        let (_dir, store, [a, _]) = store();
        assert_eq!(store.untag(&name("web")).unwrap(), [Removal::Untagged(name("web"))]);
        assert_eq!(
            store.untag(&name("web:1")).unwrap(),
            [Removal::Untagged(name("web:1")), Removal::Deleted(a)]
        );
        assert!(matches!(store.untag(&name("web:1")), Err(StoreError::NoImage(_))));
    }

    #[test]
    fn a_name_that_moves_leaves_an_image_without_name() {
        let (_dir, store, [a, b]) = store();
        store.tag(&name("db"), Digest::of(b"ma"), a, 4).unwrap();
        let unnamed: Vec<Digest> = store
            .images()
            .unwrap()
            .into_iter()
            .filter(|image| image.name.is_none())
            .map(|image| image.image_id)
            .collect();
        assert_eq!(unnamed, [b]);
        // Somebody names it before it is removed, and it stays.
        store.tag(&name("back"), Digest::of(b"mb"), b, 5).unwrap();
        assert_eq!(store.remove_unnamed(b).unwrap(), []);
        assert_eq!(store.resolve("back").unwrap().image_id, b);
        store.tag(&name("back"), Digest::of(b"ma"), a, 6).unwrap();
        assert_eq!(store.remove_unnamed(b).unwrap(), [Removal::Deleted(b)]);
        assert_eq!(store.untag(&name("back")).unwrap(), [Removal::Untagged(name("back"))]);
        store.tag(&name("back"), Digest::of(b"mb"), b, 5).unwrap();
        assert_eq!(store.remove_image(b).unwrap(), [Removal::Untagged(name("back")), Removal::Deleted(b)]);
        assert_eq!(store.remove_image(a).unwrap().len(), 4);
        assert_eq!(store.images().unwrap(), []);
    }
}
