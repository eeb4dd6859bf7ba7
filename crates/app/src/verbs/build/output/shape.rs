//! The form in which an image goes somewhere, where it is not the one in which it was built.

use std::collections::HashMap;

use shipway_build::{BuildRequest, Built};
use shipway_distribution::{Packing, layer_type};
use shipway_oci::{Attested, Digest, Index, MediaType, parse_json};
use shipway_store::{Store, StoreError};

use super::{Output, found};
use crate::failure::Failure;

/// In what form an image goes somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) struct Form {
    /// How its layers are packed, if not as they are kept.
    pub(in crate::verbs::build) packing: Option<Packing>,
    /// Whether its documents have Docker's media types, not OCI's.
    pub(in crate::verbs::build) docker_types: bool,
}

/// Refuses what documents in Docker's media types cannot say. Compat: BuildKit, which takes annotations of manifests.
pub(in crate::verbs::build) fn fit(outputs: &[Output], request: &BuildRequest) -> Result<(), Failure> {
    if !outputs.iter().any(|output| output.form().docker_types) {
        return Ok(());
    }
    if request.attest.provenance.is_some() || request.attest.sbom {
        return Err(Failure::new(
            "with `oci-mediatypes=false` nothing can be attested of an image",
            "leave that out of the output, or build without --provenance, --sbom and --attest",
        ));
    }
    if !(request.index_annotations.is_empty() && request.descriptor_annotations.is_empty()) {
        return Err(Failure::new(
            "with `oci-mediatypes=false` only manifests can be annotated",
            "leave that out of the output, or write the annotation as --annotation NAME=VALUE",
        ));
    }
    Ok(())
}

/// Returns an image in the form in which it goes somewhere; its documents are in the store. The caller holds a lease.
pub(in crate::verbs::build) fn shape(store: &Store, built: &Built, form: Form) -> Result<Built, StoreError> {
    if form.docker_types { in_docker_types(store, built) } else { Ok(built.clone()) }
}

/// Returns an image, or those for several platforms, with documents in Docker's media types.
fn in_docker_types(store: &Store, built: &Built) -> Result<Built, StoreError> {
    let (Some((index, _)), false) = (built.index, built.parts.is_empty()) else {
        let (manifest, manifest_size) = docker_manifest(store, built.manifest)?;
        return Ok(Built { manifest, manifest_size, ..built.clone() });
    };
    let mut moved: HashMap<Digest, (Digest, u64)> = HashMap::new();
    let mut parts = built.parts.clone();
    for (_, part) in &mut parts {
        let there = docker_manifest(store, part.manifest)?;
        moved.insert(part.manifest, there);
        (part.manifest, part.manifest_size) = there;
    }
    let Attested { index: bytes, .. } = store.attested(&found(built)).ok_or(StoreError::NoBlob(index))?;
    let mut index: Index = parse_json(&bytes).expect("what was read as an index is one");
    index.media_type = Some(MediaType::new(MediaType::DOCKER_INDEX));
    for listed in &mut index.manifests {
        listed.media_type = MediaType::new(MediaType::DOCKER_MANIFEST);
        (listed.digest, listed.size) =
            moved.get(&listed.digest).copied().ok_or(StoreError::NoBlob(listed.digest))?;
    }
    let bytes = serde_json::to_vec(&index).expect("an index is always JSON");
    let index = Some((store.put_blob(&bytes)?, bytes.len() as u64));
    let (manifest, manifest_size) =
        moved.get(&built.manifest).copied().ok_or(StoreError::NoBlob(built.manifest))?;
    Ok(Built { manifest, manifest_size, index, parts, ..built.clone() })
}

/// Stores a manifest in Docker's media types, and returns its digest and its length.
fn docker_manifest(store: &Store, manifest: Digest) -> Result<(Digest, u64), StoreError> {
    let mut manifest = store.manifest(&manifest)?;
    manifest.media_type = Some(MediaType::new(MediaType::DOCKER_MANIFEST));
    manifest.config.media_type = MediaType::new(MediaType::DOCKER_CONFIG);
    for layer in &mut manifest.layers {
        if let Some(kind) = layer_type(layer.media_type.as_str(), true) {
            layer.media_type = MediaType::new(kind);
        }
    }
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
    Ok((store.put_blob(&bytes)?, bytes.len() as u64))
}
