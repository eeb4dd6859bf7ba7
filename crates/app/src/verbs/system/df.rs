//! `shipway system df`: what takes space. Compat: docker's table, and rows for what docker does not count or have.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use shipway_build::Caches;
use shipway_oci::{DiffId, Digest};
use shipway_runtime::Status;

use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::ui::Ui;

const COLUMNS: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADS: &[(&str, &str)] = &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Size", "SIZE")];

/// What takes space, and how much of it is used by something that runs or stands on it.
#[derive(Debug, Default, PartialEq)]
struct Share {
    total: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

pub(super) fn run(engine: &Engine, format: Option<&str>, ui: &mut Ui) -> Result<u8, Failure> {
    let listing = Listing::new(format, None, COLUMNS, HEADS)?;
    let (images, image_layers) = images(engine)?;
    let cache = cache(engine, image_layers)?;
    let rows = [
        ("Images", images),
        ("Containers", containers(engine)?),
        ("Local Volumes", Share::default()),
        ("Build Cache", cache),
        ("Cache Mounts", cache_mounts(engine)),
        ("Downloads", directory(&engine.roots.downloads())),
        ("Logs", logs(engine)?),
        ("Registry", registry(engine)?),
    ];
    let values: Vec<Value> = rows.iter().map(|(kind, share)| share.value(kind)).collect();
    for line in listing.lines(&values)? {
        ui.line(line);
    }
    Ok(0)
}

impl Share {
    fn value(&self, kind: &str) -> Value {
        let percent = (self.reclaimable * 100).checked_div(self.bytes);
        let reclaimable = clock::precise_size(self.reclaimable);
        json!({
            "Type": kind,
            "TotalCount": self.total.to_string(),
            "Active": self.active.to_string(),
            "Size": clock::precise_size(self.bytes),
            "Reclaimable": match percent {
                Some(percent) => format!("{reclaimable} ({percent}%)"),
                None => reclaimable,
            },
        })
    }
}

/// Returns the images' share, and the bytes of all layers that are in one.
fn images(engine: &Engine) -> Result<(Share, u64), Failure> {
    let used: HashSet<Digest> = engine.store.containers()?.into_iter().map(|row| row.image_id).collect();
    let images = engine.store.images()?;
    let ids: HashSet<Digest> = images.iter().map(|image| image.image_id).collect();
    let mut sizes: HashMap<DiffId, u64> = HashMap::new();
    let mut kept: HashSet<DiffId> = HashSet::new();
    for image in &images {
        for diff_id in engine.store.layers_of_image(image)? {
            let row = engine.store.layer_of(diff_id)?;
            sizes.insert(diff_id, row.map_or(0, |row| row.size));
            if used.contains(&image.image_id) {
                kept.insert(diff_id);
            }
        }
    }
    let bytes: u64 = sizes.values().sum();
    let kept: u64 = kept.iter().filter_map(|diff_id| sizes.get(diff_id)).sum();
    let active = ids.intersection(&used).count();
    Ok((Share { total: ids.len(), active, bytes, reclaimable: bytes - kept }, bytes))
}

/// Layers of steps that are in no image.
fn cache(engine: &Engine, in_images: u64) -> Result<Share, Failure> {
    let usage = engine.store.usage()?;
    let bytes = usage.layer_bytes.saturating_sub(in_images);
    let total = usize::try_from(usage.cached_steps).unwrap_or(usize::MAX);
    Ok(Share { total, active: 0, bytes, reclaimable: bytes })
}

fn containers(engine: &Engine) -> Result<Share, Failure> {
    let mut share = Share::default();
    for row in engine.store.containers()? {
        let state = engine.containers.get(&row.id).and_then(|container| container.state());
        let runs = state.is_ok_and(|state| state.status == Status::Running);
        let written = row.snapshot.map_or(0, |id| tree(&engine.store.snapshot_path(&id).join("upper")).1);
        share.total += 1;
        share.active += usize::from(runs);
        share.bytes += written;
        share.reclaimable += if runs { 0 } else { written };
    }
    Ok(share)
}

fn cache_mounts(engine: &Engine) -> Share {
    // A listing that fails is of no directory.
    let caches = Caches::below(engine.store.root()).list().unwrap_or_default();
    let bytes = caches.iter().map(|cache| tree(&cache.directory).1).sum();
    Share { total: caches.len(), active: 0, bytes, reclaimable: bytes }
}

fn directory(dir: &Path) -> Share {
    let (total, bytes) = tree(dir);
    Share { total, active: 0, bytes, reclaimable: bytes }
}

/// What containers have written to their logs; it goes with them.
fn logs(engine: &Engine) -> Result<Share, Failure> {
    let mut share = Share::default();
    for container in engine.containers.list()? {
        let runs = container.state().is_ok_and(|state| state.status == Status::Running);
        let bytes = fs_err::metadata(container.log_path()).map_or(0, |found| found.len());
        share.total += 1;
        share.active += usize::from(runs);
        share.bytes += bytes;
        share.reclaimable += if runs { 0 } else { bytes };
    }
    Ok(share)
}

/// What our own registry serves, also of other registries. Only whoever uses it can tell what of it is not needed.
fn registry(engine: &Engine) -> Result<Share, Failure> {
    let (repositories, bytes) = engine.store.hosted_usage()?;
    Ok(Share { total: repositories, active: repositories, bytes, reclaimable: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shown_as_docker_does() {
        let share = Share { total: 3, active: 1, bytes: 52_428_800, reclaimable: 26_214_400 };
        let value = share.value("Images");
        assert_eq!(value["Size"], "52.43MB");
        assert_eq!(value["Reclaimable"], "26.21MB (50%)");
        assert_eq!(Share::default().value("Local Volumes")["Reclaimable"], "0B");
    }
}
