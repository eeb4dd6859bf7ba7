//! Content descriptors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::{Digest, MediaType, Platform};

/// What and how large a piece of content is. Spec: image-spec descriptor.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: MediaType,
    /// Digest of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Which platform the content is for; set in an index only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free text, `org.opencontainers.image.*` and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// Describes content of `size` bytes.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: MediaType::new(media_type),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }

    /// Returns where else the content is said to be. Spec: image-spec descriptor.md, `urls`.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.other.get("urls").and_then(serde_json::Value::as_array);
        urls.into_iter().flatten().filter_map(serde_json::Value::as_str)
    }
}
