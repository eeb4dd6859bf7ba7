//! One name of an image, as it is listed.

use serde_json::{Value, json};
use shipway_oci::{Digest, ImageConfig, Reference};
use shipway_store::{ImageRecord, StoreError};

use crate::clock;
use crate::engine::Engine;
use crate::units::SECOND;

/// Returns when an image was made, in nanoseconds since the epoch; where it does not say that, when it got its name.
pub(in crate::verbs) fn created(config: &ImageConfig, named: i64) -> i128 {
    let said = config.created.as_deref().and_then(clock::parse_exact);
    said.unwrap_or(i128::from(named) * SECOND)
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) image: ImageRecord,
    pub(super) config: ImageConfig,
    /// Nanoseconds since the epoch.
    pub(super) created: i128,
    size: u64,
    /// What the repository of the name calls it.
    digests: Vec<Digest>,
    /// That were made of it and are there.
    containers: usize,
}

impl Row {
    pub(super) fn find(engine: &Engine, image: ImageRecord, containers: usize) -> Result<Self, StoreError> {
        let config = engine.store.config(&image.image_id)?;
        let created = created(&config, image.named);
        let known = engine.store.digests(&image.image_id)?.into_iter();
        let repository = image.name.as_ref().map(Reference::name);
        let digests = known
            .filter(|known| Some(&known.repository) == repository.as_ref())
            .map(|known| known.digest)
            .collect();
        let size = engine.store.image_size(&image.image_id)?;
        Ok(Self { created, size, image, config, digests, containers })
    }

    /// Returns its fields, for each digest if they are wanted.
    pub(super) fn values(&self, whole: bool, with_digests: bool) -> Vec<Value> {
        if !with_digests || self.digests.is_empty() {
            return vec![self.value(whole, None)];
        }
        self.digests.iter().map(|digest| self.value(whole, Some(digest))).collect()
    }

    /// Compat: docker 28.
    fn value(&self, whole: bool, digest: Option<&Digest>) -> Value {
        let id = self.image.image_id;
        let created = i64::try_from(self.created.div_euclid(SECOND)).unwrap_or_default();
        let name = self.image.name.as_ref();
        json!({
            "Containers": self.containers.to_string(),
            "CreatedAt": clock::moment(created),
            "CreatedSince": clock::since(created),
            "Digest": digest.map_or_else(|| "<none>".to_owned(), Digest::to_string),
            "ID": if whole { id.to_string() } else { id.short() },
            "Repository": name.map_or_else(|| "<none>".to_owned(), Reference::familiar_name),
            "SharedSize": "N/A",
            "Size": clock::size(self.size),
            "Tag": name.and_then(Reference::tag).unwrap_or("<none>"),
            "UniqueSize": "N/A",
            "VirtualSize": clock::precise_size(self.size),
        })
    }
}
