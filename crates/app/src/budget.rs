//! How much of the disk what nobody named may take: the build cache, cache mounts, and images that lost their names.

mod unnamed;

use std::path::{Path, PathBuf};
use std::time::Duration;

use shipway_build::Caches;
use shipway_store::{LayerId, LayerRow};

use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::{disk, units};

/// Says so many bytes, with `k`, `m`, `g` or nothing behind the number; `0` is no limit.
const VARIABLE: &str = "SHIPWAY_CACHE_BUDGET";

/// Without a word it is this part of the disk, but within these bounds, in bytes.
const PART: u64 = 10;
const LEAST: u64 = 4 << 30;
const MOST: u64 = 100 << 30;

/// Cache mounts that a build has used since stay, and images that had a name since.
const UNUSED: Duration = Duration::from_secs(2 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many seconds a step is known whose layer is not here, after it was used last.
const KEPT: i64 = 30 * 24 * 60 * 60;

/// Returns the budget in bytes; `None` where there is no limit.
fn budget(engine: &Engine) -> Result<Option<u64>, Failure> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else {
        // Where the disk does not tell its size the least is right.
        let disk = shipway_linux::total_bytes(engine.store.root()).unwrap_or_default();
        return Ok(Some((disk / PART).clamp(LEAST, MOST)));
    };
    let bytes = units::bytes(&text).ok_or_else(|| {
        Failure::new(
            format!("`{text}` in {VARIABLE} is no size"),
            "write a number of bytes, or with k, m or g behind it: 20g; 0 is no limit",
        )
    })?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

/// Forgets cache mounts, images without a name and build steps, each time those that were used longest ago, until the others keep
/// within the budget, and frees their layers unless somebody is at work. What named images need does not count, and stays.
pub(crate) fn keep(engine: &Engine) -> Result<(), Failure> {
    let Some(budget) = budget(engine)? else { return Ok(()) };
    // They take little, but no layer takes them with it.
    engine.store.cache_forget_without_layer(clock::now() - KEPT)?;
    let budget = cache_mounts(engine, budget);
    let budget = for_layers(budget, unnamed::keep(engine, budget / 2)?);
    let layers = engine.store.cached_layers()?;
    // Which of them images need is worth looking at only where all of them are too much.
    if layers.iter().map(|row| size(engine, row)).sum::<u64>() <= budget {
        return Ok(());
    }
    let surplus = surplus(engine.store.outside_images(layers)?, budget, |row| size(engine, row));
    if surplus.is_empty() {
        return Ok(());
    }
    tracing::info!(layers = surplus.len(), budget, "the build cache is over its budget");
    engine.store.cache_forget(&surplus)?;
    engine.store.gc(engine.store.steady(clock::now()))?;
    Ok(())
}

/// Removes the cache mounts that no build has used for long, those of the longest time first, while all of them take more than the
/// budget. Returns what is left of it for layers, half of it at least. Adding them up takes a while where they are large, so that is
/// done once a day.
fn cache_mounts(engine: &Engine, budget: u64) -> u64 {
    let caches = Caches::below(engine.store.root());
    let stamp = stamp(engine);
    let left = |mounts: u64| for_layers(budget, mounts);
    let age = |path: &Path| fs_err::metadata(path).and_then(|found| found.modified()).ok()?.elapsed().ok();
    if let Some(known) =
        age(&stamp).filter(|age| *age < DAY).and_then(|_young| fs_err::read_to_string(&stamp).ok())
    {
        return left(known.trim().parse().unwrap_or_default());
    }
    if let Err(error) = caches.sweep() {
        tracing::warn!(%error, "could not remove what is left of cache mounts");
    }
    let mut listed = caches.list().unwrap_or_default();
    listed.sort_by_key(|cache| cache.used);
    let mut bytes: u64 = listed.iter().map(|cache| disk::tree(&cache.directory).1).sum();
    for cache in listed.iter().filter(|cache| cache.used.elapsed().is_ok_and(|unused| unused > UNUSED)) {
        if bytes <= budget {
            break;
        }
        let size = disk::tree(&cache.directory).1;
        match caches.remove(cache) {
            Ok(true) => bytes = bytes.saturating_sub(size),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, id = cache.id, "could not remove a cache mount"),
        }
    }
    if !listed.is_empty() {
        // Without it they are added up again.
        drop(fs_err::write(&stamp, bytes.to_string()));
    }
    left(bytes)
}

/// Returns what is left of a budget for layers: mounts that are in use may be larger than all of it, and steps are worth keeping too.
fn for_layers(budget: u64, mounts: u64) -> u64 {
    budget.saturating_sub(mounts).max(budget / 2)
}

/// Where it is written how much cache mounts take.
fn stamp(engine: &Engine) -> PathBuf {
    engine.store.root().join("build/caches.summed")
}

/// Says that cache mounts were removed: they are added up again.
pub(crate) fn recount(engine: &Engine) {
    // One that was never written has nothing to say.
    drop(fs_err::remove_file(stamp(engine)));
}

/// Returns the layers that are too much, given those used longest ago first.
fn surplus(rows: Vec<LayerRow>, budget: u64, size: impl Fn(&LayerRow) -> u64) -> Vec<LayerId> {
    let mut left = budget;
    let mut is_over = false;
    let mut surplus = Vec::new();
    for row in rows.into_iter().rev() {
        match left.checked_sub(size(&row)).filter(|_| !is_over) {
            Some(rest) => left = rest,
            None => {
                is_over = true;
                surplus.push(row.id);
            }
        }
    }
    surplus
}

/// Bytes of a layer's tar; where nobody needed that yet, of its files.
pub(crate) fn size(engine: &Engine, row: &LayerRow) -> u64 {
    if row.size > 0 {
        row.size
    } else {
        disk::tree(&engine.store.root().join("layers").join(row.id.as_str())).1
    }
}

#[cfg(test)]
mod tests {
    use shipway_store::LayerNotes;

    use super::*;

    #[test]
    fn cache_mounts_take_half_of_the_budget_at_most() {
        assert_eq!([0, 30, 50, 51, 500].map(|mounts| for_layers(100, mounts)), [100, 70, 50, 50, 50]);
    }

    #[test]
    fn those_that_were_used_last_stay() {
        let row = |size| LayerRow {
            id: LayerId::unique(size),
            diff_id: None,
            size: 1,
            notes: LayerNotes::default(),
        };
        let rows: Vec<LayerRow> = [1, 2, 3].map(row).into();
        let ids: Vec<LayerId> = rows.iter().map(|row| row.id.clone()).collect();
        let over = |budget| surplus(rows.clone(), budget, |_| 10);
        assert_eq!(over(30), []);
        assert_eq!(over(29), [ids[0].clone()]);
        assert_eq!(over(0), [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    }
}
