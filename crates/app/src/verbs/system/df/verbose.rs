//! `shipway system df --verbose`: which images, containers and build steps take it. Compat: docker's sections.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use shipway_oci::{DiffId, Digest, Reference};
use shipway_store::{ImageRecord, StoreError};

use crate::budget;
use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::in_use;
use crate::listing::Listing;
use crate::ui::Ui;
use crate::units::SECOND;
use crate::verbs::builder;
use crate::verbs::images::created;

const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const IMAGE_HEADS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Size}}\t{{.RunningFor}}\t{{.Names}}";
const CONTAINER_HEADS: &[(&str, &str)] = &[("ID", "CONTAINER ID"), ("RunningFor", "CREATED")];

pub(super) fn run(engine: &Engine, format: Option<&str>, ui: &mut Ui) -> Result<u8, Failure> {
    let (images, containers) = (images(engine)?, containers(engine)?);
    let steps = builder::values(engine)?;
    match format {
        None | Some("table") => {}
        Some("json") => {
            let document =
                json!({ "Images": images, "Containers": containers, "Volumes": [], "BuildCache": steps });
            ui.line(document);
            return Ok(0);
        }
        Some(_) => {
            return Err(Failure::new(
                "`--verbose` takes no template",
                "write `--format json`, or leave `--verbose` out",
            ));
        }
    }
    let mut section = |head: &str, columns: &str, heads: &[(&str, &str)], values: &[Value]| {
        ui.line(head);
        ui.line("");
        let lines = Listing::new(None, None, columns, heads)?.lines(values)?;
        lines.into_iter().for_each(|line| ui.line(line));
        ui.line("");
        Ok::<(), Failure>(())
    };
    section("Images space usage:", IMAGES, IMAGE_HEADS, &images)?;
    section("Containers space usage:", CONTAINERS, CONTAINER_HEADS, &containers)?;
    ui.line("Build cache usage:");
    ui.line("");
    builder::show_all(engine, ui)?;
    Ok(0)
}

/// Of an image with a damaged document nothing is counted; `fsck` tells of it.
fn diff_ids_of(engine: &Engine, image: &ImageRecord) -> Result<HashSet<DiffId>, StoreError> {
    let found = engine.store.layers_of_image(image);
    found.or_else(|error| if error.is_of_document() { Ok(HashSet::new()) } else { Err(error) })
}

/// Every image with the bytes of its layers, and how many of them no other image has.
fn images(engine: &Engine) -> Result<Vec<Value>, Failure> {
    let records = engine.store.images()?;
    let mut sizes: HashMap<Digest, HashMap<DiffId, u64>> = HashMap::new();
    let mut users: HashMap<DiffId, usize> = HashMap::new();
    for image in &records {
        if sizes.contains_key(&image.image_id) {
            continue;
        }
        let mut own = HashMap::new();
        for diff_id in diff_ids_of(engine, image)? {
            let row = engine.store.layer_of(diff_id)?;
            own.insert(diff_id, row.map_or(0, |row| budget::size(engine, &row)));
            *users.entry(diff_id).or_default() += 1;
        }
        sizes.insert(image.image_id, own);
    }
    let used = in_use::images(engine)?;
    let mut containers: HashMap<Digest, usize> = HashMap::new();
    for row in engine.store.containers()? {
        *containers.entry(row.image_id).or_default() += 1;
    }
    let value = |image: &ImageRecord| {
        let own = &sizes[&image.image_id];
        let size: u64 = own.values().sum();
        let unique: u64 = own.iter().filter(|(id, _)| users[id] == 1).map(|(_, size)| size).sum();
        let count = containers.get(&image.image_id).copied().unwrap_or_default();
        // A pod counts as one container, whatever it has.
        let count = count.max(usize::from(used.contains(&image.image_id)));
        let name = image.name.as_ref();
        json!({
            "Repository": name.map_or_else(|| "<none>".to_owned(), Reference::familiar_name),
            "Tag": name.and_then(Reference::tag).unwrap_or("<none>"),
            "ID": image.image_id.short(),
            "CreatedSince": age(engine, image),
            "Size": clock::precise_size(size),
            "SharedSize": clock::precise_size(size - unique),
            "UniqueSize": clock::precise_size(unique),
            "Containers": count.to_string(),
        })
    };
    Ok(records.iter().map(value).collect())
}

fn age(engine: &Engine, image: &ImageRecord) -> String {
    // One whose config is lost is as old as its name; `fsck` tells of it.
    let config = engine.store.config(&image.image_id).unwrap_or_default();
    let seconds = i64::try_from(created(&config, image.named) / SECOND).unwrap_or(0);
    clock::since(seconds)
}

fn containers(engine: &Engine) -> Result<Vec<Value>, Failure> {
    let value = |row: shipway_store::ContainerRow| {
        let written = row.snapshot.map_or(0, |id| tree(&engine.store.snapshot_path(&id).join("upper")).1);
        json!({
            "ID": row.id.chars().take(12).collect::<String>(),
            "Image": row.image,
            "Size": clock::precise_size(written),
            "RunningFor": format!("{} ago", clock::ago(clock::now() - row.created)),
            "Names": row.name,
        })
    };
    Ok(engine.store.containers()?.into_iter().map(value).collect())
}
