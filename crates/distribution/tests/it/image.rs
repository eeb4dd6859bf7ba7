//! Images to be pulled.

use std::io::Write as _;

use serde_json::{Value, json};
use shipway_distribution::compress;
use shipway_oci::{DiffId, Digest};

use shipway_testkit::registry::TestRegistry;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image of some layers; what is in them does not matter to a registry.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) tars: Vec<Vec<u8>>,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) config: Value,
    pub(crate) manifest: Value,
}

impl Image {
    pub(crate) fn of(tars: &[&[u8]]) -> Self {
        Self::for_platform(tars, "amd64")
    }

    pub(crate) fn for_platform(tars: &[&[u8]], architecture: &str) -> Self {
        let tars: Vec<Vec<u8>> = tars.iter().map(|tar| tar.to_vec()).collect();
        let diff_ids: Vec<DiffId> = tars.iter().map(|tar| DiffId(Digest::of(tar))).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let blobs: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let mut image = Self { tars, blobs, config, manifest: Value::Null };
        image.describe();
        image
    }

    /// Makes the manifest anew.
    pub(crate) fn describe(&mut self) {
        let layers: Vec<Value> = self.blobs.iter().map(|blob| descriptor(GZIP, blob)).collect();
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &self.config_bytes()),
            "layers": layers,
        });
    }

    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        self.config.to_string().into_bytes()
    }

    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    pub(crate) fn diff_id(&self, layer: usize) -> DiffId {
        DiffId(Digest::of(&self.tars[layer]))
    }

    pub(crate) fn blob_digest(&self, layer: usize) -> Digest {
        Digest::of(&self.blobs[layer])
    }

    /// Puts the image into a registry.
    pub(crate) fn publish(&self, registry: &TestRegistry, repository: &str, tag: &str) -> Digest {
        for blob in &self.blobs {
            registry.add_blob(repository, blob);
        }
        registry.add_blob(repository, &self.config_bytes());
        registry.add_manifest(repository, tag, OCI_MANIFEST, &self.manifest_bytes()).parse().unwrap()
    }
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = compress(Vec::new()).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
