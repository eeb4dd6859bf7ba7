//! Image manifests and indexes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::{Descriptor, MediaType};

/// The manifest of one image. Spec: image-spec manifest.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The image config.
    pub config: Descriptor,
    /// Layers, base first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Free text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version does not know (`subject`, `artifactType`, …).
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Manifest {
    /// Makes an OCI manifest of a config and its layers, base first.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(MediaType::OCI_MANIFEST)),
            config,
            layers,
            annotations: BTreeMap::new(),
            other: serde_json::Map::new(),
        }
    }
}

/// An index: the same image for several platforms. Spec: image-spec image-index.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What the index lists.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Free text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_what_go_reads_it_as() {
        let zero = format!("sha256:{}", "0".repeat(64));
        let config =
            format!(r#"{{"mediaType":"x","digest":"{zero}","size":2,"platform":null,"annotations":null}}"#);
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null,"annotations":null}}"#);
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        assert!(manifest.layers.is_empty() && manifest.config.annotations.is_empty());
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{config}],"annotations":null}}"#);
        assert_eq!(serde_json::from_str::<Index>(&text).unwrap().manifests, [manifest.config]);
        // What is left out altogether is no image.
        assert!(serde_json::from_str::<Index>(r#"{"schemaVersion":2}"#).is_err());
    }
}
