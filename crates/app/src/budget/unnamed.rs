//! Images that lost their names to newer ones.

use std::collections::HashSet;

use shipway_oci::DiffId;
use shipway_store::ImageRecord;

use super::UNUSED;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::in_use;

/// Removes those that lost their names longest ago while what is only theirs takes more than `budget` bytes; one that a container or
/// a pod uses, or that lost its name lately, stays. Returns the bytes of those that stay.
pub(super) fn keep(engine: &Engine, budget: u64) -> Result<u64, Failure> {
    if !engine.store.has_unnamed()? {
        return Ok(0);
    }
    let images = engine.store.images()?;
    let used = in_use::images(engine)?;
    let stays = |image: &ImageRecord| image.name.is_some() || used.contains(&image.image_id);
    // A layer counts for the newest image that has it, and for none where one that stays does.
    let (stay, unnamed): (Vec<ImageRecord>, Vec<ImageRecord>) = images.into_iter().partition(stays);
    let mut counted: HashSet<DiffId> = HashSet::new();
    for image in &stay {
        counted.extend(diff_ids(engine, image));
    }
    let old = clock::now().saturating_sub(i64::try_from(UNUSED.as_secs()).unwrap_or(i64::MAX));
    let mut bytes = 0;
    for image in unnamed {
        let mut own = 0;
        for diff_id in diff_ids(engine, &image) {
            if counted.insert(diff_id) {
                own += engine.store.layer_of(diff_id)?.map_or(0, |row| row.size);
            }
        }
        if image.named < old && bytes + own > budget {
            tracing::info!(id = %image.image_id, own, "images without a name are over their budget");
            engine.store.remove_unnamed(image.image_id)?;
        } else {
            bytes += own;
        }
    }
    Ok(bytes)
}

/// One whose config cannot be read has none that could be counted; `fsck` tells of it.
fn diff_ids(engine: &Engine, image: &ImageRecord) -> HashSet<DiffId> {
    engine.store.layers_of_image(image).unwrap_or_default()
}
