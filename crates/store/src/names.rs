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
        let is_id = text.parse::<Digest>().is_ok();
        match text.parse().ok().filter(|_| !is_id) {
            Some(reference) => match self.resolve_name(&reference)? {
                Some(found) => Ok(found),
                None => self.resolve_id(text),
            },
            None => self.resolve_id(text),
        }
    }

    fn resolve_name(&self, reference: &Reference) -> Result<Option<Found>, StoreError> {
        let Some(digest) = reference.digest() else {
            let named = self.images_where("name = ?1", &[&reference.to_string()])?;
            return Ok(named.first().map(|image| Found { name: image.name.clone(), ..found(image) }));
        };
        // The digest says which image; its names may have moved on.
        if let Some(image) = self.images_of_digest(&digest.to_string())?.first() {
            return Ok(Some(Found { name: image.name.clone(), ..found(image) }));
        }
        self.by_registry_digest(&reference.name(), &digest)
    }

    fn resolve_id(&self, text: &str) -> Result<Found, StoreError> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let hexadecimal =
            !prefix.is_empty() && prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hexadecimal {
            return Err(StoreError::NoImage(text.to_owned()));
        }
        let mut fitting = if prefix.len() == 64 {
            self.images_of_digest(&format!("sha256:{prefix}"))?
        } else {
            // A range, so that the index is used: `g` follows all digits.
            let (from, to) = (format!("sha256:{prefix}"), format!("sha256:{prefix}g"));
            self.images_where("image_id >= ?1 AND image_id < ?2", &[&from, &to])?
        };
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

    /// Returns the rows that a whole digest stands for: that of an image's config, manifest or index.
    fn images_of_digest(&self, digest: &str) -> Result<Vec<ImageRecord>, StoreError> {
        self.images_where("image_id = ?1 OR manifest = ?1 OR index_digest = ?1", &[digest])
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
        // Its digest begins with the digit that b's begins with.
        store.tag(&name("cache"), Digest::of(b"me"), Digest::of(b"e"), 4).unwrap();
        let Err(StoreError::Ambiguous { candidates, .. }) = store.resolve("3") else {
            panic!("not ambiguous")
        };
        assert_eq!(candidates, [b.short(), Digest::of(b"e").short()]);
    }

    #[test]
    fn one_image_is_found_without_a_look_at_all() {
        let (_dir, store, [a, b]) = store();
        for condition in ["name = ?1", "image_id = ?1", "image_id >= ?1 AND image_id < ?1"] {
            let sql = format!("EXPLAIN QUERY PLAN SELECT manifest FROM images WHERE {condition}");
            let plan: String = store
                .read("explain", |connection| connection.query_row(&sql, ["x"], |row| row.get("detail")))
                .unwrap();
            assert!(plan.starts_with("SEARCH images USING"), "{condition}: {plan}");
        }
        assert_eq!(store.images_of(&a).unwrap().len(), 2);
        assert!(!store.has_unnamed().unwrap());
        store.tag(&name("db"), Digest::of(b"ma"), a, 4).unwrap();
        assert!(store.has_unnamed().unwrap());
        assert_eq!(store.remove_unnamed(b).unwrap(), [Removal::Deleted(b)]);
        assert!(!store.has_unnamed().unwrap());
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
