//! Media types of documents and layers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type as written in a descriptor or a `Content-Type` header.
///
/// Unknown ones are kept as they are: Spec: image-spec manifest.md, "implementations MUST NOT error on
/// encountering an unknown value".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

impl MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// `application/vnd.oci.image.layer.v1.tar`
    pub const OCI_LAYER: &'static str = "application/vnd.oci.image.layer.v1.tar";
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    pub const OCI_LAYER_GZIP: &'static str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// `application/vnd.docker.distribution.manifest.v2+json`
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    pub const DOCKER_INDEX: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";

    /// `application/vnd.docker.container.image.v1+json`
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// `application/vnd.docker.image.rootfs.diff.tar`
    pub const DOCKER_LAYER: &'static str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Wraps a media type.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this names a manifest of one image.
    pub fn is_manifest(&self) -> bool {
        [Self::OCI_MANIFEST, Self::DOCKER_MANIFEST].contains(&self.as_str())
    }

    /// Returns whether this names a layer that is not compressed.
    pub fn is_plain_layer(&self) -> bool {
        [Self::OCI_LAYER, Self::DOCKER_LAYER].contains(&self.as_str())
    }

    /// Returns whether this names an index of manifests.
    pub fn is_index(&self) -> bool {
        [Self::OCI_INDEX, Self::DOCKER_INDEX].contains(&self.as_str())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        assert!(MediaType::new(MediaType::DOCKER_MANIFEST).is_manifest());
        assert!(MediaType::new(MediaType::OCI_INDEX).is_index());
        assert!(MediaType::new(MediaType::DOCKER_LAYER).is_plain_layer());
        assert!(!MediaType::new(MediaType::OCI_LAYER_GZIP).is_plain_layer());
        assert!(!MediaType::new("application/x-new").is_manifest());
    }
}
