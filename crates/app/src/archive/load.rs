//! From an archive to images: an OCI layout, or Docker's `manifest.json` with layers beside it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use shipway_layers::LayerStore as _;
use shipway_oci::{Descriptor, DiffId, Digest, Manifest, MediaType, Platform, Reference};
use shipway_store::{CONFIG_LIMIT, Found, Packed};

use super::files::Files;
use super::{CONTAINERD_NAME, REF_NAME, take_in};
use crate::bases::is_for;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It has a name.
    Named(Reference),
    /// It has none.
    Unnamed(Digest),
}

/// One image of `manifest.json`. Compat: docker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads all images of an archive, compressed or not, or those for a platform. Nothing gets a name before everything is here.
pub(crate) fn load(
    engine: &Engine,
    archive: &mut (dyn Read + Send),
    only: Option<&Platform>,
) -> Result<Vec<Loaded>, Failure> {
    // What is unpacked must not be collected before it is taken in, nor that before it has a name.
    let _lease = engine.store.lease()?;
    let files = Files::unpack(engine, archive, only.cloned().unwrap_or_else(Platform::host))?;
    take(&files, only)
}

/// Reads all images of a directory that has what an archive would have.
pub(crate) fn load_directory(
    engine: &Engine,
    dir: &Path,
    only: Option<&Platform>,
) -> Result<Vec<Loaded>, Failure> {
    let _lease = engine.store.lease()?;
    let files = Files::open_directory(engine, dir, only.cloned().unwrap_or_else(Platform::host))?;
    take(&files, only)
}

fn take(files: &Files<'_>, only: Option<&Platform>) -> Result<Vec<Loaded>, Failure> {
    let engine = files.engine;
    let docker: Option<Vec<Saved>> = files
        .document("manifest.json")?
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose()
        .map_err(|error| files.wrong(format!("its manifest.json is not valid: {error}")))?;
    let mut images = Vec::new();
    match (files.document(super::INDEX)?, &docker) {
        (Some(index), _) => {
            let index = files.index(&index)?;
            for entry in &index.manifests {
                let image = match only {
                    Some(_) => files.image_alone(entry)?,
                    None => files.image(entry)?,
                };
                let names = names_of(entry, image.image_id, docker.as_deref().unwrap_or_default());
                images.push((image, names));
            }
        }
        (None, Some(entries)) => {
            for entry in entries {
                images.push(of_docker(files, entry)?);
            }
        }
        (None, None) => return Err(files.wrong("it has neither index.json nor manifest.json".to_owned())),
    }
    if let Some(platform) = only {
        for (image, _) in &images {
            refuse_other(files, image, platform)?;
        }
    }
    engine.layers.sync()?;
    let now = clock::now();
    let mut loaded = Vec::new();
    for (image, names) in images {
        for name in &names {
            engine.store.tag_found(name, &image, now)?;
        }
        if names.is_empty() {
            engine.store.keep_unnamed(&image, now)?;
            loaded.push(Loaded::Unnamed(image.image_id));
        }
        loaded.extend(names.into_iter().map(Loaded::Named));
    }
    Ok(loaded)
}

/// Refuses an image that is not for the platform that was asked for.
fn refuse_other(files: &Files<'_>, image: &Found, platform: &Platform) -> Result<(), Failure> {
    let config = files.engine.store.config(&image.image_id)?;
    if is_for(platform, &config.os, &config.architecture) {
        return Ok(());
    }
    Err(files.wrong(format!("its image is for {}/{}, not for {platform}", config.os, config.architecture)))
}

/// An image and its names.
type Image = (Found, Vec<Reference>);

fn of_docker(files: &Files<'_>, entry: &Saved) -> Result<Image, Failure> {
    let missing = |path: &str| files.wrong(format!("`{path}` is missing"));
    let config = files.document_within(&entry.config, CONFIG_LIMIT)?.ok_or_else(|| missing(&entry.config))?;
    let parsed = files.config(&config)?;
    let layers = entry.layers.clone().unwrap_or_default();
    if parsed.rootfs.diff_ids.len() != layers.len() {
        return Err(files.wrong("manifest.json and the config differ in their layers".to_owned()));
    }
    let mut described: Vec<Descriptor> = Vec::new();
    let mut taken: HashMap<(&String, DiffId), Descriptor> = HashMap::new();
    for (path, diff_id) in layers.iter().zip(&parsed.rootfs.diff_ids) {
        let layer = match taken.entry((path, *diff_id)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let mut file = files.open(path)?.ok_or_else(|| missing(path))?;
                let layer = match known(files.engine, *diff_id)? {
                    Some(known) => known,
                    None => take_in(files.engine, &mut file, Some(*diff_id))?.1,
                };
                place.insert(layer).clone()
            }
        };
        described.push(layer);
    }
    files.engine.layers.resolve(&parsed.rootfs.diff_ids)?;
    let image_id = files.engine.store.put_config(&config)?;
    let config = Descriptor::new(MediaType::OCI_CONFIG, image_id, config.len() as u64);
    let manifest = serde_json::to_vec(&Manifest::new(config, described))
        .map_err(|error| files.wrong(error.to_string()))?;
    let manifest = files.engine.store.put_blob(&manifest)?;
    Ok((Found::new(image_id, manifest), tags_of(entry)))
}

/// Returns a layer that is here already, with the archive that it came in.
fn known(engine: &Engine, diff_id: DiffId) -> Result<Option<Descriptor>, Failure> {
    if engine.store.layer_of(diff_id)?.is_none() {
        return Ok(None);
    }
    let as_it_came = engine.store.packed(diff_id)?.into_iter().find(|packed| packed.packer.is_empty());
    let is_here = |packed: &Packed| {
        fs_err::metadata(engine.store.blob_path(&packed.digest)).is_ok_and(|found| found.len() == packed.size)
    };
    let described = |packed: Packed| Descriptor::new(packed.media_type, packed.digest, packed.size);
    Ok(as_it_came.filter(is_here).map(described))
}

fn tags_of(entry: &Saved) -> Vec<Reference> {
    entry.repo_tags.iter().flatten().filter_map(|name| name.parse().ok()).collect()
}

/// Returns what an image of a layout is called: as containerd says, as Docker says, or as a name that is whole.
fn names_of(entry: &Descriptor, image_id: Digest, docker: &[Saved]) -> Vec<Reference> {
    if let Some(name) = entry.annotations.get(CONTAINERD_NAME).and_then(|name| name.parse().ok()) {
        return vec![name];
    }
    let same = docker.iter().find(|known| known.config.contains(&image_id.hex()));
    let names = same.map(tags_of).unwrap_or_default();
    let whole = entry.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    match whole.and_then(|name| name.parse().ok()).filter(|_| names.is_empty()) {
        Some(name) => vec![name],
        None => names,
    }
}
