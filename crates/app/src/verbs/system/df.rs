//! `shipway system df`: what takes space. Compat: docker's table, and rows for what docker does not count or have.

mod holdings;
mod verbose;

use std::path::Path;

use serde_json::{Value, json};
use shipway_build::Caches;
use shipway_runtime::Status;

use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::ui::Ui;
use holdings::Holdings;

const COLUMNS: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADS: &[(&str, &str)] = &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Size", "SIZE")];

/// What takes space, and how much of it `shipway system prune -a` would free.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    total: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

pub(super) fn run(
    engine: &Engine,
    format: Option<&str>,
    is_verbose: bool,
    ui: &mut Ui,
) -> Result<u8, Failure> {
    if is_verbose {
        return verbose::run(engine, format, ui);
    }
    let listing = Listing::new(format, None, COLUMNS, HEADS)?;
    let holdings = Holdings::find(engine)?;
    let mut containers = containers(engine)?;
    containers.bytes += holdings.of_containers;
    let rows = [
        ("Images", holdings.images),
        ("Containers", containers),
        ("Local Volumes", Share::default()),
        ("Build Cache", holdings.cache),
        ("Cache Mounts", cache_mounts(engine)),
        ("Downloads", directory(&engine.roots.downloads())),
        ("Logs", logs(engine)?),
        ("Registry", holdings.registry),
        ("Leftovers", holdings.leftovers),
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
