//! An image's document. Compat: docker 28.

use serde_json::{Value, json};
use shipway_layers::LayerStore as _;
use shipway_oci::{Descriptor, Digest, Index, MediaType, Reference, Statement, is_attestation, parse_json};
use shipway_store::{Found, RepositoryDigest};

use crate::archive::DOCUMENT_LIMIT;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

/// Returns everything about an image.
pub(super) fn document(engine: &Engine, found: &Found) -> Result<Value, Failure> {
    let config = engine.store.config(&found.image_id)?;
    let (mut names, mut tagged) = (Vec::new(), 0);
    for image in engine.store.images_of(&found.image_id)? {
        tagged = tagged.max(image.named);
        names.extend(image.name);
    }
    let tags: Vec<String> =
        names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect();
    let known = engine.store.digests(&found.image_id)?;
    // Only those that a registry has said: an image that was never pulled or pushed has none.
    let mut digests = Vec::new();
    for name in &names {
        let of_name = known.iter().filter(|known| known.repository == name.name());
        digests.extend(of_name.map(|known| format!("{}@{}", name.familiar_name(), known.digest)));
    }
    digests.sort();
    digests.dedup();
    let index = index_of(engine, found, &known);
    let mut document = json!({
        "Id": found.image_id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": config.history.last().and_then(|entry| entry.comment.clone()).unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config.config,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": engine.store.image_size(&found.image_id)?,
        "GraphDriver": { "Name": "overlay2", "Data": directories(engine, &config.rootfs.diff_ids)? },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": clock::date(i128::from(tagged) * 1_000_000_000) },
    });
    let Some((descriptor, index)) = index else {
        document["Descriptor"] = json!(manifest(engine, found)?);
        return Ok(document);
    };
    document["Descriptor"] = json!(descriptor);
    document["Manifests"] = index.manifests.iter().map(|listed| summary(engine, listed)).collect();
    Ok(document)
}

/// Returns what is attested of an image. Compat: the fields of `docker buildx imagetools inspect`.
pub(super) fn attested(engine: &Engine, found: &Found) -> (Value, Value) {
    let (mut sbom, mut provenance) = (json!({}), json!({}));
    for said in engine.store.attested(found).iter().flat_map(|index| index.statements(&found.manifest)) {
        match said.predicate_type.as_str() {
            Statement::SPDX => sbom["SPDX"] = said.predicate,
            Statement::PROVENANCE_V02 | Statement::PROVENANCE_V1 => provenance["SLSA"] = said.predicate,
            _ => {}
        }
    }
    (sbom, provenance)
}

/// Returns what stands for the image in a registry.
fn manifest(engine: &Engine, found: &Found) -> Result<Descriptor, Failure> {
    let bytes = engine.store.read_blob(&found.manifest, DOCUMENT_LIMIT)?;
    let kind = engine.store.manifest(&found.manifest)?.media_type;
    let kind = kind.as_ref().map_or(MediaType::OCI_MANIFEST, MediaType::as_str);
    Ok(Descriptor::new(kind, found.manifest, bytes.len() as u64))
}

/// Returns the index that a name, or a registry, has an image in, if it is here; `known` are the digests that registries have for it.
pub(in crate::verbs) fn index_of(
    engine: &Engine,
    found: &Found,
    known: &[RepositoryDigest],
) -> Option<(Descriptor, Index)> {
    let indexes = known.iter().map(|known| known.digest).filter(|digest| *digest != found.manifest);
    found.index.into_iter().chain(indexes).find_map(|digest| index(engine, &digest))
}

fn index(engine: &Engine, digest: &Digest) -> Option<(Descriptor, Index)> {
    let bytes = engine.store.read_blob(digest, DOCUMENT_LIMIT).ok()?;
    let index: Index = parse_json(&bytes).ok()?;
    let kind = index.media_type.clone().unwrap_or_else(|| MediaType::new(MediaType::OCI_INDEX));
    Some((Descriptor::new(kind.as_str(), *digest, bytes.len() as u64), index))
}

/// Returns what is said of an image of an index, and whether it is here. Compat: docker's `Manifests`.
fn summary(engine: &Engine, listed: &Descriptor) -> Value {
    let kind = match (is_attestation(listed), listed.media_type.is_manifest()) {
        (true, _) => "attestation",
        (false, true) => "image",
        (false, false) => "unknown",
    };
    let is_here = engine.store.has_blob(&listed.digest);
    json!({ "ID": listed.digest, "Descriptor": listed, "Available": is_here, "Kind": kind })
}

/// The directories that an overlay of the image is made of; it is mounted for containers only, each on its own.
fn directories(engine: &Engine, diff_ids: &[shipway_oci::DiffId]) -> Result<Value, Failure> {
    let layers = engine.layers.resolve(diff_ids)?;
    let paths: Vec<String> =
        engine.layers.view(&layers).iter().map(|path| path.display().to_string()).collect();
    let (top, below) = paths.split_first().map_or((None, &[][..]), |(top, below)| (Some(top), below));
    let mut data = serde_json::Map::new();
    if !below.is_empty() {
        data.insert("LowerDir".to_owned(), below.join(":").into());
    }
    // Compat: docker names these for every image; nothing is at the last two until a container is made.
    data.insert("MergedDir".to_owned(), "".into());
    data.insert("UpperDir".to_owned(), top.cloned().unwrap_or_default().into());
    data.insert("WorkDir".to_owned(), "".into());
    Ok(Value::Object(data))
}
