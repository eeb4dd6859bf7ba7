//! What a cache consists of, wherever it is kept.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use shipway_build::{CACHE_CONFIG, CacheContent, CacheExport, INLINE_CACHE, SeamError, StepRecord};
use shipway_distribution::{Artifact, Content, Document, select};
use shipway_oci::{
    Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, Platform, parse_json,
};

use super::{CacheError, stargz};

/// Largest document of a cache. BuildKit reads configs of 1 MiB, which is some three thousand steps.
pub(super) const DOCUMENT_LIMIT: u64 = 4 << 20;
/// What a layer's diff ID is. Compat: containerd, BuildKit.
pub(super) const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// The document that lists layers and config. Compat: BuildKit, `image-manifest` and `oci-mediatypes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// An image manifest, which every registry takes.
    #[default]
    Manifest,
    /// An index whose entries are layers and the config.
    Index,
    /// The same in Docker's words.
    DockerIndex,
}

/// Where the documents of a cache, or of an image with one in it, are read from.
pub(super) trait Documents {
    /// Reads the document that was named.
    fn named(&self) -> Result<Document, SeamError>;

    /// Reads a manifest that an index lists.
    fn listed(&self, descriptor: &Descriptor) -> Result<Document, SeamError>;

    /// Reads a blob of at most [`DOCUMENT_LIMIT`] bytes.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SeamError>;
}

/// Reads what a cache has, or what an image says of its own layers.
pub(super) fn load(documents: &dyn Documents) -> Result<CacheContent, SeamError> {
    let document = documents.named()?;
    let Content::Index(index) = &document.content else { return of_manifest(documents, document) };
    if let Some(config) = index.manifests.iter().find(|entry| is_config(entry)) {
        let layers = index.manifests.iter().filter(|entry| !is_config(entry));
        return Ok(CacheContent { steps: steps(documents, config)?, layers: said(layers) });
    }
    of_images(documents, index)
}

/// So many images of an index are looked at.
const IMAGES: usize = 16;

/// Reads what the images for several platforms say, this machine's first: each has the steps of its own platform.
fn of_images(documents: &dyn Documents, index: &Index) -> Result<CacheContent, SeamError> {
    let host = Platform::host();
    let own = select(index, &host);
    // What is attested of an image is for no platform.
    let is_image = |entry: &&Descriptor| {
        entry.media_type.is_manifest()
            && entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    };
    let others = index.manifests.iter().filter(is_image).filter(|entry| Some(*entry) != own);
    let (mut content, mut failure) = (None, None);
    for image in own.into_iter().chain(others).take(IMAGES) {
        match documents.listed(image).and_then(|document| of_manifest(documents, document)) {
            Ok(found) => {
                let CacheContent { steps, layers } = content.get_or_insert_default();
                steps.extend(found.steps);
                layers.extend(found.layers);
            }
            // Without it all of this machine's steps would be done anew, and nobody knew why.
            Err(error) if Some(image) == own => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let nothing = || CacheError::seam(format!("it is an index without an image for {host}"), INLINE_HINT);
    content.ok_or_else(|| failure.unwrap_or_else(nothing))
}

fn of_manifest(documents: &dyn Documents, document: Document) -> Result<CacheContent, SeamError> {
    let Content::Manifest(manifest) = document.content else {
        return Err(CacheError::seam("its index lists another index", INLINE_HINT));
    };
    if is_config(&manifest.config) {
        let layers = said(manifest.layers.iter());
        return Ok(CacheContent { steps: steps(documents, &manifest.config)?, layers });
    }
    inline(documents, &manifest)
}

const INLINE_HINT: &str =
    "name what --cache-to has written, or an image that was built with --cache-to type=inline and pushed";

fn is_config(descriptor: &Descriptor) -> bool {
    descriptor.media_type.as_str() == CACHE_CONFIG
}

fn steps(documents: &dyn Documents, config: &Descriptor) -> Result<Vec<StepRecord>, SeamError> {
    let bytes = documents.blob(config)?;
    let steps = StepRecord::parse(&bytes)
        .map_err(|error| CacheError::seam(format!("its list of steps is not valid: {error}"), INLINE_HINT))?;
    if steps.is_empty() {
        let message = "it has no steps of shipway's";
        return Err(CacheError::seam(message, "fill it: --cache-to with the same place"));
    }
    Ok(steps)
}

/// Returns layers by what they are said to be.
fn said<'a>(layers: impl Iterator<Item = &'a Descriptor>) -> HashMap<DiffId, Descriptor> {
    let known = |layer: &Descriptor| {
        if let Some((diff_id, _)) = stargz::tar_of(layer) {
            return Some((diff_id, layer.clone()));
        }
        let digest: Digest = layer.annotations.get(UNCOMPRESSED)?.parse().ok()?;
        Some((DiffId(digest), plain(layer)))
    };
    layers.filter_map(known).collect()
}

/// Returns what a blob is, without what was said of it elsewhere.
fn plain(layer: &Descriptor) -> Descriptor {
    Descriptor::new(layer.media_type.as_str(), layer.digest, layer.size)
}

fn inline(documents: &dyn Documents, manifest: &Manifest) -> Result<CacheContent, SeamError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CacheError::seam(format!("the image's config is not valid: {error}"), INLINE_HINT)
    };
    let config: ImageConfig =
        parse_json(&documents.blob(&manifest.config)?).map_err(|error| wrong(&error))?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(wrong(&"it has another number of layers than the manifest"));
    }
    let text = config.other.get(INLINE_CACHE).and_then(serde_json::Value::as_str);
    let text = text.ok_or_else(|| CacheError::seam("it is an image without a cache in it", INLINE_HINT))?;
    let steps = StepRecord::parse_inline(text).map_err(|error| wrong(&error))?;
    let layers = diff_ids.iter().copied().zip(manifest.layers.iter().map(plain)).collect();
    Ok(CacheContent { steps, layers })
}

/// Returns the documents of a cache whose layers are `blobs` where it is kept.
pub(super) fn artifact(form: Form, export: &CacheExport<'_>, blobs: &[Descriptor]) -> Artifact {
    let config = export.document(blobs);
    let described = Descriptor::new(CACHE_CONFIG, Digest::of(&config), config.len() as u64);
    let annotated = |(blob, (_, diff_id)): (&Descriptor, &(Descriptor, DiffId))| {
        if stargz::tar_of(blob).is_some() {
            return blob.clone();
        }
        let annotations = BTreeMap::from([(UNCOMPRESSED.to_owned(), diff_id.to_string())]);
        Descriptor { annotations, ..blob.clone() }
    };
    let layers: Vec<Descriptor> = blobs.iter().zip(&export.layers).map(annotated).collect();
    let media_type = match form {
        Form::Manifest => MediaType::OCI_MANIFEST,
        Form::Index => MediaType::OCI_INDEX,
        Form::DockerIndex => MediaType::DOCKER_INDEX,
    };
    let manifest = if form == Form::Manifest {
        serde_json::to_vec(&Manifest::new(described, layers))
    } else {
        let entries: Vec<Descriptor> = layers.into_iter().chain([described]).collect();
        serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries }))
    };
    let manifest = manifest.expect("descriptors are always JSON");
    Artifact { config, manifest, media_type: media_type.to_owned() }
}
