//! Images and their names.

use rusqlite::{params, params_from_iter};
use shipway_oci::{
    Attested, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Reference, Statement, check_values,
    is_attestation, parse_json,
};

use crate::{Found, Store, StoreError};

/// Largest manifest or index that is read. Compat: containerd, distribution and containers/image agree on 4 MiB.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Largest config of an image. Its history has each label and variable again; for registries it is a blob, which they do not limit.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// Largest statement of an attestation. Compat: BuildKit, 40 MiB before it is wrapped.
pub const ATTESTATION_LIMIT: u64 = 48 << 20;

/// One name of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// The name, or `None` for an image that lost its last name to a newer one.
    pub name: Option<Reference>,
    /// Digest of the config.
    pub image_id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the index that the name stands for, if it is not the manifest itself: one with what is attested of the image.
    pub index: Option<Digest>,
    /// When the name was given, seconds since the epoch.
    pub named: i64,
}

/// What a removal did, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A name is gone.
    Untagged(Reference),
    /// The image is gone.
    Deleted(Digest),
}

/// Prefix of rows that stand for images without a name.
pub(crate) const UNNAMED: &str = "<none>@";

impl Store {
    /// Gives the image with `manifest` a name; an image that had it before loses it. `now` is seconds since the epoch.
    pub fn tag(
        &self,
        name: &Reference,
        manifest: Digest,
        image_id: Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        self.tag_found(name, &Found::new(image_id, manifest), now)
    }

    /// Gives an image a name as [`Store::tag`] does; the index that it was found in goes along.
    ///
    /// Compat: docker, a name that reads as an id is refused.
    pub fn tag_found(&self, name: &Reference, image: &Found, now: i64) -> Result<(), StoreError> {
        if name.reads_as_id() {
            return Err(StoreError::NameLikeId(name.familiar()));
        }
        let name = name.to_string();
        let id = image.image_id.to_string();
        self.write("name an image", |transaction| {
            let sql =
                "SELECT image_id, manifest, index_digest FROM images WHERE name = ?1 AND image_id <> ?2";
            let before: Vec<(String, String, Option<String>)> = transaction
                .prepare(sql)?
                .query_map(params![name, id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            let insert = "INSERT OR REPLACE INTO images (name, image_id, manifest, index_digest, created)
                          VALUES (?1, ?2, ?3, ?4, ?5)";
            let index = image.index.map(|digest| digest.to_string());
            transaction.execute(insert, params![name, id, image.manifest.to_string(), index, now])?;
            transaction.execute("DELETE FROM images WHERE name = ?1", [format!("{UNNAMED}{id}")])?;
            // What is in the same index is not lost with the name.
            let lost = before.into_iter().filter(|(.., old)| old.is_none() || *old != index);
            for (old_id, old_manifest, old_index) in lost {
                let others = "SELECT count(*) FROM images WHERE image_id = ?1";
                if transaction.query_row(others, [&old_id], |row| row.get::<_, i64>(0))? == 0 {
                    let name = format!("{UNNAMED}{old_id}");
                    transaction.execute(insert, params![name, old_id, old_manifest, old_index, now])?;
                }
            }
            Ok(())
        })
    }

    /// Keeps an image that was built without a name.
    pub fn keep_unnamed(&self, image: &Found, now: i64) -> Result<(), StoreError> {
        let id = image.image_id.to_string();
        let index = image.index.map(|digest| digest.to_string());
        self.write("record an image", |transaction| {
            let sql = "INSERT INTO images (name, image_id, manifest, index_digest, created)
                       SELECT ?1, ?2, ?3, ?4, ?5
                       WHERE NOT EXISTS (SELECT 1 FROM images WHERE image_id = ?2 AND name <> ?1
                                         AND (?4 IS NULL OR index_digest IS ?4))
                       ON CONFLICT (name) DO UPDATE
                       SET manifest = ?3, index_digest = ?4, created = ?5
                       WHERE manifest <> ?3 OR index_digest IS NOT ?4";
            let values = params![format!("{UNNAMED}{id}"), id, image.manifest.to_string(), index, now];
            transaction.execute(sql, values).map(drop)
        })
    }

    /// Returns every name of every image, newest first.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        self.images_where("TRUE", &[])
    }

    /// Returns the names of one image, newest first, without a look at the others.
    pub fn images_of(&self, image_id: &Digest) -> Result<Vec<ImageRecord>, StoreError> {
        self.images_where("image_id = ?1", &[&image_id.to_string()])
    }

    /// Says whether an image has lost its last name, without a look at those that have one.
    pub fn has_unnamed(&self) -> Result<bool, StoreError> {
        self.read("look for images without a name", |connection| {
            // The range is that of the prefix, so that the index is used: `A` follows `@`.
            let sql = "SELECT EXISTS (SELECT 1 FROM images WHERE name >= '<none>@' AND name < '<none>A')";
            connection.query_row(sql, [], |row| row.get(0))
        })
    }

    /// Returns the rows that `condition` is true of, newest first; its parameters are `values`.
    pub(crate) fn images_where(
        &self,
        condition: &str,
        values: &[&str],
    ) -> Result<Vec<ImageRecord>, StoreError> {
        self.read("list images", |connection| {
            let sql = format!(
                "SELECT name, image_id, manifest, created, index_digest FROM images
                 WHERE {condition} ORDER BY created DESC, name"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let texts: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
                Ok((texts, row.get(3)?, row.get::<_, Option<String>>(4)?))
            })?;
            rows.filter_map(|row| match row {
                Ok(([name, image_id, manifest], named, index)) => Some(Ok(ImageRecord {
                    name: name.parse().ok().filter(|_| !name.starts_with(UNNAMED)),
                    image_id: image_id.parse().ok()?,
                    manifest: manifest.parse().ok()?,
                    index: index.and_then(|index| index.parse().ok()),
                    named,
                })),
                Err(error) => Some(Err(error)),
            })
            .collect()
        })
    }

    /// Removes one name; with the last one goes the image.
    pub fn untag(&self, name: &Reference) -> Result<Vec<Removal>, StoreError> {
        let text = name.to_string();
        let left = self.free("remove a name", |transaction| {
            let sql = "DELETE FROM images WHERE name = ?1 RETURNING image_id";
            let removed: Option<String> = {
                let mut statement = transaction.prepare(sql)?;
                let mut rows = statement.query([&text])?;
                rows.next()?.map(|row| row.get(0)).transpose()?
            };
            let Some(id) = removed else { return Ok(None) };
            let sql = "SELECT count(*) FROM images WHERE image_id = ?1";
            let others: i64 = transaction.query_row(sql, [&id], |row| row.get(0))?;
            Ok(Some((id, others)))
        })?;
        let (id, others) = left.ok_or_else(|| StoreError::NoImage(name.familiar()))?;
        let mut done = vec![Removal::Untagged(name.clone())];
        if others == 0 {
            done.extend(id.parse().ok().map(Removal::Deleted));
        }
        Ok(done)
    }

    /// Removes an image with all its names.
    pub fn remove_image(&self, image_id: Digest) -> Result<Vec<Removal>, StoreError> {
        let names: Vec<String> = self.free("remove an image", |transaction| {
            let mut statement =
                transaction.prepare("DELETE FROM images WHERE image_id = ?1 RETURNING name")?;
            let rows = statement.query_map([image_id.to_string()], |row| row.get(0))?;
            rows.collect()
        })?;
        let untagged = names.iter().filter_map(|name| name.parse().ok()).map(Removal::Untagged);
        Ok(untagged.chain([Removal::Deleted(image_id)]).collect())
    }

    /// Removes an image that has no name; one that somebody has given a name meanwhile stays.
    pub fn remove_unnamed(&self, image_id: Digest) -> Result<Vec<Removal>, StoreError> {
        let removed = self.free("remove an image", |transaction| {
            let name = format!("{UNNAMED}{image_id}");
            transaction.execute("DELETE FROM images WHERE name = ?1", [name])
        })?;
        Ok(if removed == 0 { Vec::new() } else { vec![Removal::Deleted(image_id)] })
    }

    /// Returns the config of an image.
    pub fn config(&self, image_id: &Digest) -> Result<ImageConfig, StoreError> {
        self.document(image_id, "image config", CONFIG_LIMIT)
    }

    /// Returns a manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        self.document(digest, "image manifest", DOCUMENT_LIMIT)
    }

    /// Stores the config of an image, unless it is larger than what is read again.
    pub fn put_config(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        const HINT: &str = "give it fewer or shorter labels and variables, which its history has again, or have a base image with less of them";
        // Of many short values it may have less.
        let limit = if check_values(bytes).is_ok() { CONFIG_LIMIT } else { DOCUMENT_LIMIT };
        check(bytes, limit, ("the image's config", HINT))?;
        self.put_blob(bytes)
    }

    /// Stores a manifest, unless it is larger than what is read again.
    pub fn put_image_manifest(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        check(bytes, DOCUMENT_LIMIT, ("the image's manifest", "give it fewer or shorter annotations"))?;
        self.put_blob(bytes)
    }

    /// Returns the index that an image was found in with everything that it lists: the image, those for other platforms, what is attested.
    /// `None` if there is none, or not all of it is here.
    pub fn attested(&self, image: &Found) -> Option<Attested> {
        let index = self.read_blob(&image.index?, DOCUMENT_LIMIT).ok()?;
        let has = |manifest: &Digest| *manifest == image.manifest || self.whole_image(manifest).is_some();
        let read = |listed: &Descriptor| self.read_blob(&listed.digest, ATTESTATION_LIMIT).ok();
        Attested::read(index, has, read).filter(|attested| attested.lists(&image.manifest))
    }

    /// Returns the image of a manifest if its config and all its layers are here, as files or as the manifest names them.
    pub fn whole_image(&self, manifest: &Digest) -> Option<Found> {
        let listed = self.manifest(manifest).ok()?;
        let image_id = listed.config.digest;
        let config = self.config(&image_id).ok()?;
        let diff_ids = config.rootfs.diff_ids;
        let has = |(layer, diff_id): (&Descriptor, &DiffId)| {
            self.has_blob(&layer.digest) || self.layer_of(*diff_id).is_ok_and(|row| row.is_some())
        };
        let is_whole = listed.layers.len() == diff_ids.len() && listed.layers.iter().zip(&diff_ids).all(has);
        is_whole.then(|| Found::new(image_id, *manifest))
    }

    /// Returns an image that an index for several lists and that is not here as a whole; `None` if there is none, or the index lists one only.
    pub fn lacks(&self, index: &Digest) -> Option<Digest> {
        let bytes = self.read_blob(index, DOCUMENT_LIMIT).ok()?;
        let index: Index = parse_json(&bytes).ok()?;
        let images = || index.manifests.iter().filter(|listed| !is_attestation(listed));
        let is_gone = |listed: &&Descriptor| self.whole_image(&listed.digest).is_none();
        images().find(is_gone).filter(|_| images().count() > 1).map(|listed| listed.digest)
    }

    /// Returns the images that an index of `image` lists, all of which are here.
    pub fn images_in(&self, index: &Attested, image: &Found) -> Result<Vec<Found>, StoreError> {
        let find = |listed: Descriptor| {
            if listed.digest == image.manifest {
                return Ok(Found::new(image.image_id, image.manifest));
            }
            self.whole_image(&listed.digest).ok_or(StoreError::NoBlob(listed.digest))
        };
        index.images().into_iter().map(find).collect()
    }

    /// Stores the documents of an index, the images' own not among them, and returns the digest of the index. Nothing is stored of what
    /// [`Self::attested`] would not read.
    pub fn put_attested(&self, attested: &Attested) -> Result<Digest, StoreError> {
        fits(attested)?;
        let mut last = attested.descriptor().digest;
        for bytes in attested.documents() {
            last = self.put_blob(bytes)?;
        }
        Ok(last)
    }

    fn document<T: serde::de::DeserializeOwned>(
        &self,
        digest: &Digest,
        what: &'static str,
        limit: u64,
    ) -> Result<T, StoreError> {
        let bytes = self.read_blob(digest, limit)?;
        let read = check_values(&bytes).and_then(|()| serde_json::from_slice(&bytes));
        read.map_err(|source| StoreError::Document { digest: *digest, what, source })
    }
}

/// Refuses what is too large to be read again.
pub(crate) fn fits(attested: &Attested) -> Result<(), StoreError> {
    for (descriptor, bytes) in attested.blobs.iter().chain(&attested.manifests) {
        let named = match shipway_oci::predicate_type(descriptor) {
            Some(Statement::SPDX) => ("the list of packages", "build without it: --sbom=false"),
            Some(_) => ("the provenance", "build with less of it: --provenance=mode=min"),
            None => ("a manifest of attestations", "build without them: --sbom=false --provenance=false"),
        };
        check(bytes, ATTESTATION_LIMIT, named)?;
    }
    check(&attested.index, DOCUMENT_LIMIT, ("the index", "annotate it less: --annotation index:NAME=VALUE"))
}

fn check(bytes: &[u8], limit: u64, (what, hint): (&'static str, &'static str)) -> Result<(), StoreError> {
    let size = bytes.len() as u64;
    if size > limit { Err(StoreError::Oversized { what, size, limit, hint }) } else { Ok(()) }
}
