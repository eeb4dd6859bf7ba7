//! An image's document. Compat: docker 28.

use serde_json::{Value, json};
use shipway_layers::LayerStore as _;
use shipway_oci::Reference;
use shipway_store::Found;

use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

/// Returns everything about an image.
pub(super) fn document(engine: &Engine, found: &Found) -> Result<Value, Failure> {
    let config = engine.store.config(&found.image_id)?;
    let images = engine.store.images()?.into_iter().filter(|image| image.image_id == found.image_id);
    let (mut names, mut tagged) = (Vec::new(), 0);
    for image in images {
        tagged = tagged.max(image.named);
        names.extend(image.name);
    }
    let tags: Vec<String> =
        names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect();
    let mut digests: Vec<String> =
        names.iter().map(|name| format!("{}@{}", name.familiar_name(), found.manifest)).collect();
    digests.sort();
    digests.dedup();
    Ok(json!({
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
    }))
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
