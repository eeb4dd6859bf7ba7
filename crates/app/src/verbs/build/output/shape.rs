//! The form in which an image goes somewhere, where it is not the one in which it was built.

use shipway_build::{BuildRequest, Built};
use shipway_distribution::{Packing, layer_type};
use shipway_oci::{Descriptor, Index, Manifest, MediaType, Platform, parse_json};
use shipway_store::{Store, StoreError};

use super::{Output, found};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::Trees;
use crate::stargz::{StargzWish, pack_stargz};

/// In what form an image goes somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) struct Form {
    /// How its layers are packed, if not as they are kept.
    pub(in crate::verbs::build) packing: Option<Packing>,
    /// Its layers are in eStargz; others are packed as that says.
    pub(in crate::verbs::build) stargz: Option<StargzWish>,
    /// Whether its documents have Docker's media types, not OCI's.
    pub(in crate::verbs::build) docker_types: bool,
}

/// Refuses what an image in the form of an output cannot say. Compat: BuildKit, which takes annotations of manifests.
pub(in crate::verbs::build) fn fit(outputs: &[Output], request: &BuildRequest) -> Result<(), Failure> {
    if request.inline_cache && outputs.iter().any(|output| output.form().stargz.is_some()) {
        return Err(Failure::new(
            "an image with its cache in it cannot have layers in eStargz: they are not those that the steps made",
            "choose another compression, or put the cache elsewhere: --cache-to type=registry,ref=IMAGE",
        ));
    }
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
pub(in crate::verbs::build) fn shape(engine: &Engine, built: &Built, form: Form) -> Result<Built, Failure> {
    let store = &engine.store;
    let built = match form.stargz {
        Some(wish) => convert(store, built, false, &|image| with_stargz(engine, image, wish))?,
        None => built.clone(),
    };
    if form.docker_types {
        return convert(store, &built, true, &|image| Ok(in_docker_types(store, image)?));
    }
    Ok(built)
}

/// Returns an image, or those for several platforms, with documents that are made of the old ones. What is attested of an image is of
/// the new one then.
fn convert(
    store: &Store,
    built: &Built,
    docker_types: bool,
    each: &dyn Fn(&Built) -> Result<Built, Failure>,
) -> Result<Built, Failure> {
    let gone = || StoreError::NoBlob(built.manifest);
    let attested = built.index.map(|_| store.attested(&found(built)).ok_or_else(gone)).transpose()?;
    let mut images = built.parts.clone();
    if images.is_empty() {
        images.push((Platform::host(), built.clone()));
    }
    let (mut moves, mut own) = (Vec::new(), None);
    for (_, image) in &mut images {
        let before = std::mem::replace(image, each(image)?);
        moves.push((before.manifest, Descriptor::new("", image.manifest, image.manifest_size)));
        if before.manifest == built.manifest {
            own = Some(image.clone());
        }
    }
    let mut index = attested.map(|attested| attested.moved(&moves));
    if let Some(index) = index.as_mut().filter(|_| docker_types) {
        index.index = in_docker_index(&index.index);
    }
    let index =
        index.map(|index| Ok::<_, StoreError>((store.put_attested(&index)?, index.index.len() as u64)));
    let Built { image_id, manifest, manifest_size, .. } = own.ok_or_else(gone)?;
    let parts = if built.parts.is_empty() { Vec::new() } else { images };
    Ok(Built { image_id, manifest, manifest_size, index: index.transpose()?, parts, ..built.clone() })
}

/// Returns an index in Docker's media types.
fn in_docker_index(bytes: &[u8]) -> Vec<u8> {
    let mut index: Index = parse_json(bytes).expect("what was read as an index is one");
    index.media_type = Some(MediaType::new(MediaType::DOCKER_INDEX));
    for listed in &mut index.manifests {
        listed.media_type = MediaType::new(MediaType::DOCKER_MANIFEST);
    }
    serde_json::to_vec(&index).expect("an index is always JSON")
}

/// Returns one image with a manifest in Docker's media types.
fn in_docker_types(store: &Store, image: &Built) -> Result<Built, StoreError> {
    let mut manifest = store.manifest(&image.manifest)?;
    manifest.media_type = Some(MediaType::new(MediaType::DOCKER_MANIFEST));
    manifest.config.media_type = MediaType::new(MediaType::DOCKER_CONFIG);
    for layer in &mut manifest.layers {
        layer.media_type = MediaType::new(layer_type(layer.media_type.as_str(), true));
    }
    with_manifest(store, image, &manifest)
}

/// Returns one image whose layers are in eStargz. They have other diff IDs, and so the image has another config.
fn with_stargz(engine: &Engine, image: &Built, wish: StargzWish) -> Result<Built, Failure> {
    let (store, source) = (&engine.store, Trees::of(engine));
    let mut manifest = store.manifest(&image.manifest)?;
    let mut config = store.config(&image.image_id)?;
    for (layer, diff_id) in manifest.layers.iter_mut().zip(&mut config.rootfs.diff_ids) {
        let packed = pack_stargz(store, &source, (layer, *diff_id), wish)?;
        (*layer, *diff_id) = (packed.layer, packed.diff_id);
    }
    let bytes = serde_json::to_vec(&config).expect("an image config is always JSON");
    let image_id = store.put_config(&bytes)?;
    (manifest.config.digest, manifest.config.size) = (image_id, bytes.len() as u64);
    Ok(Built { image_id, ..with_manifest(store, image, &manifest)? })
}

fn with_manifest(store: &Store, image: &Built, manifest: &Manifest) -> Result<Built, StoreError> {
    let bytes = serde_json::to_vec(manifest).expect("a manifest is always JSON");
    Ok(Built { manifest: store.put_blob(&bytes)?, manifest_size: bytes.len() as u64, ..image.clone() })
}
