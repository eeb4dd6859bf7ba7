//! `shipway system prune`: removes what nobody uses. Compat: docker's words, also those of `image prune` and its like.

mod filter;

use std::collections::{BTreeMap, HashSet};

use shipway_build::Caches;
use shipway_oci::{Digest, ImageConfig};
use shipway_runtime::Status;
use shipway_store::Removal;

use crate::budget;
use crate::claim::Claim;
use crate::cli::{PruneArgs, PruneKind};
use crate::clock;
use crate::disk::tree;
use crate::docker_config;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::in_use;
use crate::network;
use crate::sweep::sweep;
use crate::ui::Ui;
use crate::units::SECOND;
use crate::verbs::images::created;
use crate::verbs::{builder, confirm, rm};

use filter::Filters;

pub(super) fn run(engine: &Engine, args: &PruneArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let texts = filter::with_configured(&args.filter, docker_config::prune_filters()?);
    let filters = Filters::parse(&texts, clock::nanoseconds())?;
    if args.volumes && Filters::parse(&args.filter, clock::nanoseconds())?.until.is_some() {
        return Err(Failure::new(
            "the filter `until` is not for volumes",
            "leave one of `--volumes` and `--filter until=…` out",
        ));
    }
    let does = |kind| args.only.is_none_or(|only| only == kind);
    if !args.force {
        confirm::ask(&warning(args), ui)?;
    }
    sweep(engine);
    let mut bytes = 0;
    if does(PruneKind::Containers) {
        bytes += containers(engine, &filters, ui)?;
    }
    if does(PruneKind::Images) {
        images(engine, args.all, &filters, ui)?;
    }
    // Nothing in the cache has a label.
    if does(PruneKind::Cache) && !filters.has_labels() {
        bytes += match filters.until {
            Some(until) => old_cache(engine, args.all, until, ui)?,
            None => cache(engine, args.all, ui)?,
        };
    }
    match engine.store.gc(engine.store.steady(clock::now()))? {
        Some(freed) => bytes += freed.bytes,
        None => ui.note(confirm::LATER),
    }
    ui.line(format!("Total reclaimed space: {}", clock::size(bytes)));
    Ok(0)
}

/// Returns what is about to go.
fn warning(args: &PruneArgs) -> String {
    let images = if args.all { "images that no container uses" } else { "images without a name" };
    let cache = if args.all {
        "build steps, cache mounts and downloaded packages"
    } else {
        "build steps that are in no image, cache mounts"
    };
    let all = [
        (PruneKind::Containers, "containers that have stopped"),
        (PruneKind::Images, images),
        (PruneKind::Cache, cache),
    ];
    let lines: Vec<String> = all
        .iter()
        .filter(|(kind, _)| args.only.is_none_or(|only| only == *kind))
        .map(|(_, what)| format!("  - all {what}\n"))
        .collect();
    format!("WARNING! This will remove:\n{}", lines.concat())
}

/// Returns the bytes that the containers had written.
fn containers(engine: &Engine, filters: &Filters, ui: &mut Ui) -> Result<u64, Failure> {
    let (mut bytes, mut removed) = (0, Vec::new());
    for row in engine.store.containers()? {
        let state = engine.containers.get(&row.id).and_then(|container| container.state());
        // One without a state may be another state root's, or is being started.
        if !state.is_ok_and(|state| state.status == Status::Exited)
            || Claim::is_held(&engine.roots, &network::name_of(&row.id))
            || !filters.accept(i128::from(row.created) * SECOND, &labels_of(&row.document))
        {
            continue;
        }
        let written =
            row.snapshot.as_ref().map_or(0, |id| tree(&engine.store.snapshot_path(id).join("upper")).1);
        rm::remove(engine, &row.id)?;
        bytes += written;
        removed.push(row.id);
    }
    list("Deleted Containers:", &removed, ui);
    Ok(bytes)
}

/// Of a container that cannot be read nothing is known.
fn labels_of(document: &str) -> BTreeMap<String, String> {
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let labels = document["Labels"].as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    labels.map(|(key, value)| (key.clone(), text(value))).collect()
}

fn images(engine: &Engine, all: bool, filters: &Filters, ui: &mut Ui) -> Result<(), Failure> {
    let images = engine.store.images()?;
    let used = in_use::images(engine)?;
    let named: HashSet<Digest> =
        images.iter().filter(|image| image.name.is_some()).map(|image| image.image_id).collect();
    let mut seen = HashSet::new();
    let mut removed = Vec::new();
    for image in images.iter().filter(|image| seen.insert(image.image_id)) {
        let id = image.image_id;
        let is_kept = !all && named.contains(&id);
        if is_kept || used.contains(&id) {
            continue;
        }
        // Of one with a damaged document nothing is known.
        let config = match engine.store.config(&id) {
            Err(error) if error.is_of_document() => ImageConfig::default(),
            found => found?,
        };
        let made = created(&config, image.named);
        if !filters.accept(made, &config.config.labels) {
            continue;
        }
        let gone = match all {
            true => engine.store.remove_image(id)?,
            false => engine.store.remove_unnamed(id)?,
        };
        removed.extend(gone.iter().map(|removal| match removal {
            Removal::Untagged(name) => format!("untagged: {}", name.familiar()),
            Removal::Deleted(id) => format!("deleted: {id}"),
        }));
    }
    list("Deleted Images:", &removed, ui);
    Ok(())
}

/// Returns the bytes of the packages; those of layers are the collection's to tell.
fn cache(engine: &Engine, all: bool, ui: &mut Ui) -> Result<u64, Failure> {
    let steps = if all { engine.store.cache_prune(i64::MAX)? } else { engine.store.cache_prune_unused()? };
    if steps > 0 {
        list("Deleted build cache objects:", &[format!("{steps} steps")], ui);
    }
    let mounts = cache_mounts(engine, ui)?;
    if !all {
        return Ok(mounts);
    }
    let downloads = engine.roots.downloads();
    let bytes = tree(&downloads).1;
    match fs_err::remove_dir_all(&downloads) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::new(
            format!("could not remove the downloaded packages: {error}"),
            "wait until nothing is bootstrapped, then run it again",
        )),
        _ => Ok(mounts + bytes),
    }
}

/// Removes what no build has used since a time, in nanoseconds since the epoch. Returns its bytes, but not those of layers, which are the
/// collection's to tell.
fn old_cache(engine: &Engine, all: bool, until: i128, ui: &mut Ui) -> Result<u64, Failure> {
    let until = i64::try_from(until / SECOND).unwrap_or(i64::MAX);
    let gone = builder::remove_older(engine, all, until)?;
    let lines: Vec<String> = gone.iter().map(|(id, _)| id.clone()).collect();
    list("Deleted build cache objects:", &lines, ui);
    Ok(gone.iter().map(|(_, bytes)| bytes).sum())
}

/// Removes the caches of `RUN --mount=type=cache` that no command uses; returns their bytes.
fn cache_mounts(engine: &Engine, ui: &mut Ui) -> Result<u64, Failure> {
    let caches = Caches::below(engine.store.root());
    let failed = |error: std::io::Error| {
        Failure::new(
            format!("could not remove a cache mount: {error}"),
            "see `shipway system df`, then try again",
        )
    };
    let (mut bytes, mut removed) = (0, Vec::new());
    caches.sweep().map_err(failed)?;
    for cache in caches.list().map_err(failed)? {
        let size = tree(&cache.directory).1;
        if caches.remove(&cache).map_err(failed)? {
            bytes += size;
            removed.push(cache.id);
        }
    }
    budget::recount(engine);
    list("Deleted cache mounts:", &removed, ui);
    Ok(bytes)
}

fn list(heading: &str, removed: &[String], ui: &mut Ui) {
    if removed.is_empty() {
        return;
    }
    ui.line(heading);
    removed.iter().for_each(|line| ui.line(line));
    ui.line("");
}
