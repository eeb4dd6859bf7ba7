//! One name of an image, as it is listed.

use serde_json::{Value, json};
use shipway_oci::{ImageConfig, Reference};
use shipway_store::ImageRecord;

use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) image: ImageRecord,
    pub(super) config: ImageConfig,
    /// Seconds since the epoch.
    pub(super) created: i64,
    size: u64,
}

impl Row {
    pub(super) fn find(engine: &Engine, image: ImageRecord) -> Result<Self, Failure> {
        let config = engine.store.config(&image.image_id)?;
        let created = config.created.as_deref().and_then(clock::parse).unwrap_or(image.named);
        Ok(Self { created, size: engine.store.image_size(&image.image_id)?, image, config })
    }

    /// Returns its fields. Compat: docker 28.
    pub(super) fn value(&self, whole: bool) -> Value {
        let id = self.image.image_id;
        let name = self.image.name.as_ref();
        json!({
            "Containers": "N/A",
            "CreatedAt": clock::moment(self.created),
            "CreatedSince": format!("{} ago", clock::ago(clock::now() - self.created)),
            "Digest": name.map_or_else(|| "<none>".to_owned(), |_| self.image.index.unwrap_or(self.image.manifest).to_string()),
            "ID": if whole { id.to_string() } else { id.short() },
            "Repository": name.map_or_else(|| "<none>".to_owned(), Reference::familiar_name),
            "SharedSize": "N/A",
            "Size": clock::size(self.size),
            "Tag": name.and_then(Reference::tag).unwrap_or("<none>"),
            "UniqueSize": "N/A",
        })
    }
}
