//! Images and their names.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use shipway_oci::{DiffId, Digest, ImageConfig, Manifest, Reference};

use crate::database::Durable;
use crate::error::database_error;
use crate::{LayerId, Store, StoreError, owner};

/// Manifests and configs are not larger; other tools agree on it.
const DOCUMENT_MAX: u64 = 4 << 20;

/// A name of an image, or an image without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// The name; `None` for an image that lost its last one to a newer image.
    pub name: Option<Reference>,
    /// Digest of its config.
    pub image_id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// When it came into this store: seconds since 1970.
    pub created_at: i64,
    /// Bytes of its layers' tars.
    pub size: u64,
}

/// What the removal of an image did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The name is gone.
    Untagged(Reference),
    /// The image is gone; its data go with the next [`Store::gc`].
    Deleted(Digest),
}

impl Store {
    /// Gives an image a name; another image that had it loses it. The manifest, the config and all layers are in the
    /// store, and the layers are on the disk when the name appears.
    pub fn tag(&self, name: &Reference, manifest: &Digest, image_id: &Digest) -> Result<(), StoreError> {
        self.add_image(Some(name), manifest, image_id)
    }

    /// Records an image, with or without a name.
    pub fn add_image(
        &self,
        name: Option<&Reference>,
        manifest: &Digest,
        image_id: &Digest,
    ) -> Result<(), StoreError> {
        let lease = self.lease()?;
        let document = self.manifest(manifest)?;
        if document.config.digest != *image_id {
            return Err(StoreError::Digest { want: *image_id, got: document.config.digest });
        }
        let config = self.config(image_id)?;
        for diff_id in &config.rootfs.diff_ids {
            if self.layer_of(diff_id)?.is_none() {
                return Err(StoreError::NotFound { kind: "layer", name: diff_id.to_string() });
            }
        }
        self.sync_layers()?;
        let id = image_id.to_string();
        let blobs: Vec<String> = [*manifest, *image_id]
            .into_iter()
            .chain(document.layers.iter().map(|layer| layer.digest))
            .map(|digest| digest.to_string())
            .collect();
        self.write("record an image", Durable::Yes, |transaction| {
            transaction.execute(
                "INSERT INTO images VALUES (?1, ?2, 0, unixepoch())
                 ON CONFLICT (id) DO UPDATE SET manifest = ?2",
                (&id, manifest.to_string()),
            )?;
            for (position, diff_id) in (0_i64..).zip(&config.rootfs.diff_ids) {
                transaction.execute(
                    "INSERT OR REPLACE INTO image_layers VALUES (?1, ?2, ?3)",
                    (&id, position, diff_id.to_string()),
                )?;
            }
            for digest in &blobs {
                transaction.execute("INSERT OR IGNORE INTO image_blobs VALUES (?1, ?2)", (&id, digest))?;
            }
            transaction.execute(
                "UPDATE images SET size = (SELECT coalesce(sum(tar), 0) FROM (SELECT max(l.size) AS tar
                 FROM image_layers i JOIN layers l USING (diff_id) WHERE i.image = ?1 GROUP BY i.position))
                 WHERE id = ?1",
                [&id],
            )?;
            if let Some(name) = name {
                transaction.execute(
                    "INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3)",
                    (String::from(name.clone()), &id, manifest.to_string()),
                )?;
            }
            Ok(())
        })?;
        drop(lease);
        Ok(())
    }

    /// Takes a name away; returns whether it was there. The image stays.
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        let changed = self.write("remove a name", Durable::Yes, |transaction| {
            transaction.execute("DELETE FROM names WHERE name = ?1", [String::from(name.clone())])
        })?;
        Ok(changed > 0)
    }

    /// Returns all images, one record for each name, the newest first.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let rows = self.read("list the images", |connection| {
            connection
                .prepare_cached(
                    "SELECT n.name, i.id, coalesce(n.manifest, i.manifest), i.created, i.size
                     FROM images i LEFT JOIN names n ON n.image = i.id ORDER BY i.created DESC, n.name",
                )?
                .query_map([], |row| {
                    Ok((
                        row.get::<_, Option<String>>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, String>(2)?,
                        row.get::<_, i64>(3)?,
                        row.get::<_, i64>(4)?.cast_unsigned(),
                    ))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(name, id, manifest, created_at, size)| {
                let damaged =
                    |reason: String| StoreError::Damaged { what: format!("the record of {id}"), reason };
                Ok(ImageRecord {
                    name: name
                        .map(|name| name.parse())
                        .transpose()
                        .map_err(|error: shipway_oci::ParseReferenceError| damaged(error.to_string()))?,
                    image_id: id.parse().map_err(|_| damaged("no digest".to_owned()))?,
                    manifest: manifest.parse().map_err(|_| damaged("no manifest digest".to_owned()))?,
                    created_at,
                    size,
                })
            })
            .collect()
    }

    /// Finds an image by name, by ID or the start of one, or by `name@digest`.
    ///
    /// Compat: docker; a name wins over an ID with the same text.
    pub fn resolve(&self, text: &str) -> Result<ImageRecord, StoreError> {
        let images = self.images()?;
        if let Ok(name) = text.parse::<Reference>() {
            let by_name = |image: &&ImageRecord| match (&image.name, name.digest()) {
                (Some(own), Some(digest)) => {
                    own.name() == name.name() && (image.manifest == digest || image.image_id == digest)
                }
                (Some(own), None) => *own == name,
                (None, _) => false,
            };
            if let Some(image) = images.iter().find(by_name) {
                return Ok(image.clone());
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let mut fitting: Vec<&ImageRecord> = Vec::new();
        if !hex.is_empty() && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            for image in &images {
                let fits = image.image_id.hex().starts_with(hex)
                    || (text.len() > hex.len() && image.manifest.hex() == hex);
                if fits && !fitting.iter().any(|other| other.image_id == image.image_id) {
                    fitting.push(image);
                }
            }
        }
        match fitting.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(StoreError::NotFound { kind: "image", name: text.to_owned() }),
            several => Err(StoreError::Ambiguous {
                text: text.to_owned(),
                candidates: several.iter().map(|image| image.image_id.short()).collect(),
            }),
        }
    }

    /// Returns the config of an image.
    pub fn config(&self, image_id: &Digest) -> Result<ImageConfig, StoreError> {
        let bytes = self.read_blob(image_id, DOCUMENT_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
            what: format!("config {image_id}"),
            reason: error.to_string(),
        })
    }

    /// Returns an image's manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        let bytes = self.read_blob(digest, DOCUMENT_MAX)?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
            what: format!("manifest {digest}"),
            reason: error.to_string(),
        })
    }

    /// Returns the layers of an image, base first.
    pub fn image_layers(&self, image_id: &Digest) -> Result<Vec<LayerId>, StoreError> {
        let diff_ids = self.config(image_id)?.rootfs.diff_ids;
        diff_ids
            .iter()
            .map(|diff_id: &DiffId| {
                self.layer_of(diff_id)?
                    .ok_or_else(|| StoreError::NotFound { kind: "layer", name: diff_id.to_string() })
            })
            .collect()
    }

    /// Removes a name, and with its last name the image; or, given an ID, all names and the image.
    ///
    /// Compat: `docker rmi`. An image that a container uses, or whose ID stands for several repositories, goes only with `force`.
    pub fn remove_image(&self, text: &str, force: bool) -> Result<Vec<Removed>, StoreError> {
        let image = self.resolve(text)?;
        let named = text.parse::<Reference>().ok();
        let by_name = image.name.clone().filter(|name| {
            named.is_some_and(|given| {
                *name == given || (given.digest().is_some() && given.name() == name.name())
            })
        });
        let action = "remove an image";
        self.try_write(action, Durable::Yes, |transaction| {
            remove_in(transaction, &image, by_name.as_ref(), force, text)
        })
    }

    /// Removes all images without a name that no container uses.
    pub fn remove_unnamed_images(&self) -> Result<Vec<Removed>, StoreError> {
        let action = "remove images without a name";
        let ids: Vec<String> = self.write(action, Durable::Yes, |transaction| {
            transaction
                .prepare(
                    "DELETE FROM images WHERE id NOT IN (SELECT image FROM names)
                     AND id NOT IN (SELECT image FROM containers) RETURNING id",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).map(Removed::Deleted).collect())
    }

    /// Returns whether all layers of the image are there and safe from a power cut.
    pub fn is_complete(&self, image_id: &Digest) -> Result<bool, StoreError> {
        self.read("examine an image", |connection: &Connection| {
            connection.query_row(
                "SELECT count(*) = 0 FROM image_layers i WHERE image = ?1 AND NOT EXISTS
                 (SELECT 1 FROM layers l WHERE l.diff_id = i.diff_id AND (l.synced = 1 OR l.boot = ?2))",
                (image_id.to_string(), owner::boot()),
                |row| row.get(0),
            )
        })
    }
}

fn remove_in(
    transaction: &Transaction<'_>,
    image: &ImageRecord,
    by_name: Option<&Reference>,
    force: bool,
    text: &str,
) -> Result<Vec<Removed>, StoreError> {
    let action = "remove an image";
    let id = image.image_id.to_string();
    let names: Vec<Reference> = names_of(transaction, &id).map_err(database_error(action))?;
    let doomed: Vec<Reference> = match by_name {
        Some(name) => vec![name.clone()],
        None => names.clone(),
    };
    let last = doomed.len() >= names.len();
    let mut repositories: Vec<String> = names.iter().map(Reference::name).collect();
    repositories.dedup();
    if by_name.is_none() && repositories.len() > 1 && !force {
        return Err(StoreError::Conflict {
            reason: format!("image {} is named in several repositories", image.image_id.short()),
            hint: format!("remove the names one by one, or all of them with `shipway rmi -f {text}`"),
        });
    }
    if last && !force {
        let user: Option<String> = transaction
            .query_row("SELECT id FROM containers WHERE image = ?1", [&id], |row| row.get(0))
            .optional()
            .map_err(database_error(action))?;
        if let Some(user) = user {
            let user: String = user.chars().take(12).collect();
            return Err(StoreError::Conflict {
                reason: format!("image {} is used by container {user}", image.image_id.short()),
                hint: format!("remove the container first (`shipway rm {user}`), or use --force"),
            });
        }
    }
    let mut removed = Vec::new();
    for name in doomed {
        transaction
            .execute("DELETE FROM names WHERE name = ?1", [String::from(name.clone())])
            .map_err(database_error(action))?;
        removed.push(Removed::Untagged(name));
    }
    if last {
        transaction.execute("DELETE FROM images WHERE id = ?1", [&id]).map_err(database_error(action))?;
        removed.push(Removed::Deleted(image.image_id));
    }
    Ok(removed)
}

fn names_of(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<Vec<Reference>> {
    let names: Vec<String> = transaction
        .prepare_cached("SELECT name FROM names WHERE image = ?1 ORDER BY name")?
        .query_map([id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
