//! The result: config and manifest as blobs, and names for them.

use std::collections::HashMap;

use shipway_layers::Layer;
use shipway_oci::{Descriptor, Digest, HistoryEntry, ImageConfig, Manifest, MediaType, Platform, RootFs};
use shipway_store::{Found, Store, StoreError};

use crate::plan::{PlannedStage, internal};
use crate::progress::StepInfo;
use crate::records::INLINE_CACHE;
use crate::solve::{Made, Outcome, Solver};
use crate::state::WINDOWS;
use crate::time::{now_seconds, rfc3339};
use crate::{BuildError, BuildRequest, Builder, Event};

/// What was written.
pub(crate) struct Exported {
    pub(crate) image_id: Digest,
    /// Its digest and its length.
    pub(crate) manifest: (Digest, u64),
    pub(crate) index: Option<(Digest, u64)>,
}

/// Says what the image is for. Compat: BuildKit, what was asked for, whatever FROM says.
fn mark(config: &mut ImageConfig, stage: &PlannedStage, request: &BuildRequest) {
    let wanted = request.platforms.first().unwrap_or(&stage.platform);
    let is_same = (&config.os, &config.architecture) == (&wanted.os, &wanted.architecture);
    if wanted.variant.is_some() || !is_same {
        config.variant.clone_from(&wanted.variant);
    }
    config.os.clone_from(&wanted.os);
    config.architecture.clone_from(&wanted.architecture);
    // A base image may write it in another way, such as arm64/v8.
    if let Ok(usual) = config.platform().to_string().parse::<Platform>() {
        config.variant = usual.variant;
    }
    if stage.platform.os == WINDOWS {
        // Steps know it as all others.
        config.config.working_dir = config.config.working_dir.replace('/', "\\");
    }
}

/// Writes the documents of an image and names it. All its layers have been synced.
pub(crate) fn export(
    solver: &Solver<'_>,
    stage: &PlannedStage,
    outcome: &Outcome,
    layers: &[Layer],
) -> Result<Exported, BuildError> {
    let step = StepInfo {
        inputs: stage.last_step.into_iter().collect(),
        ..internal(solver.next_id(), "exporting to image".to_owned())
    };
    let start = std::time::Instant::now();
    let progress = &*solver.builder.progress;
    progress.event(&Event::Started { step: &step });
    let fail = |action| move |source: StoreError| BuildError::Store { action, source };
    let mut config = stage.state.image.clone();
    config.config.labels.extend(solver.request.labels.iter().cloned());
    mark(&mut config, stage, solver.request);
    config.rootfs = RootFs::of_layers(layers.iter().map(|layer| layer.diff_id).collect());
    if solver.request.inline_cache {
        let records = solver.records();
        let records = records.map_err(|source| BuildError::Layers { action: "hash a layer", source })?;
        let own = outcome.made.iter().filter(|made| made.layer.is_some()).count();
        let inline = records.inline(&config.rootfs.diff_ids, layers.len().saturating_sub(own));
        config.other.insert(INLINE_CACHE.to_owned(), inline.into());
    }
    fill_history(&mut config, &outcome.made, solver.plan.epoch);
    config.created = config.history.last().and_then(|entry| entry.created.clone());

    let config_bytes = serde_json::to_vec(&config).expect("an image config is always JSON");
    let image_id = put(solver, &config_bytes, Store::put_config).map_err(fail("write the image's config"))?;
    let mut manifest = Manifest::new(
        Descriptor::new(MediaType::OCI_CONFIG, image_id, config_bytes.len() as u64),
        layers
            .iter()
            .map(|layer| Descriptor::new(MediaType::OCI_LAYER, layer.diff_id.0, layer.size))
            .collect(),
    );
    manifest.annotations.extend(solver.request.annotations_for(&solver.request.platform()));
    let manifest_bytes = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
    let manifest = put(solver, &manifest_bytes, Store::put_image_manifest)
        .map_err(fail("write the image's manifest"))?;
    progress.event(&Event::Written { image_id, manifest });
    let sbom = solver.sbom(stage, outcome, &image_id)?;
    let described = Descriptor::new(MediaType::OCI_MANIFEST, manifest, manifest_bytes.len() as u64);
    let attested = solver.attested((stage, outcome, layers), described, sbom);
    if let Some(attested) = &attested {
        solver.builder.store.put_attested(attested).map_err(fail("write what is attested of the image"))?;
    }
    let index = attested.map(|attested| attested.descriptor()).map(|index| (index.digest, index.size));
    if solver.request.stop.is_set() {
        return Err(BuildError::Cancelled);
    }
    let image = Found { index: index.map(|(digest, _)| digest), ..Found::new(image_id, manifest) };
    if solver.builder.several.is_none() {
        name(solver.builder, solver.request, &image)?;
    }
    progress.event(&Event::Done { step: &step, elapsed: start.elapsed(), key: None });
    Ok(Exported { image_id, manifest: (manifest, manifest_bytes.len() as u64), index })
}

/// Gives an image the names that were asked for.
pub(crate) fn name(builder: &Builder, request: &BuildRequest, image: &Found) -> Result<(), BuildError> {
    let fail = |action| move |source: StoreError| BuildError::Store { action, source };
    let store = &builder.store;
    for name in &request.tags {
        // A name that is right already is not written again: that would wait for the disk.
        let known = store.resolve(&name.to_string());
        if !known.is_ok_and(|found| found.name.is_some() && Found { name: None, ..found } == *image) {
            store.tag_found(name, image, now_seconds()).map_err(fail("name the image"))?;
        }
        builder.progress.event(&Event::Named { name });
    }
    if request.tags.is_empty() {
        store.keep_unnamed(image, now_seconds()).map_err(fail("record the image"))?;
    }
    Ok(())
}

/// Stores a document unless it is there.
fn put(
    solver: &Solver<'_>,
    bytes: &[u8],
    write: impl Fn(&Store, &[u8]) -> Result<Digest, StoreError>,
) -> Result<Digest, StoreError> {
    let (digest, store) = (Digest::of(bytes), &solver.builder.store);
    if store.has_blob(&digest) { Ok(digest) } else { write(store, bytes) }
}

/// Fills in when steps were made.
///
/// Compat: BuildKit gives an entry without a layer the time of the next new layer, or of the last one.
fn fill_history(config: &mut ImageConfig, made: &[Made], epoch: Option<i64>) {
    let by_place: HashMap<usize, &Made> = made.iter().map(|made| (made.history_at, made)).collect();
    for (place, entry) in config.history.iter_mut().enumerate() {
        if let Some(made) = by_place.get(&place) {
            entry.empty_layer = made.layer.is_none();
            entry.created = made.layer.as_ref().map(|_| made.created.clone()).or(entry.created.take());
        }
    }
    let mut created: Option<String> = None;
    let mut open = false;
    for entry in &config.history {
        if entry.created.is_some() {
            created.clone_from(&entry.created);
            if open {
                break;
            }
        } else {
            open = true;
        }
    }
    open = false;
    for entry in &mut config.history {
        if entry.created.is_some() {
            if open {
                created.clone_from(&entry.created);
            }
        } else {
            open = true;
            entry.created.clone_from(&created);
        }
    }
    if let Some(epoch) = epoch {
        let limit = rfc3339(epoch, 0);
        for entry in &mut config.history {
            clamp(entry, &limit);
        }
    }
}

fn clamp(entry: &mut HistoryEntry, limit: &str) {
    // Texts of the same form and zone compare as the times do, up to the second.
    let later = entry.created.as_deref().is_none_or(|created| created.get(..19) > limit.get(..19));
    if later {
        entry.created = Some(limit.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_without_a_layer_get_the_time_of_the_next_one() {
        let entry =
            |created: Option<&str>| HistoryEntry { created: created.map(str::to_owned), ..<_>::default() };
        let times = |config: &ImageConfig| {
            config.history.iter().map(|entry| entry.created.clone().unwrap_or_default()).collect::<Vec<_>>()
        };
        for (name, before, want) in [
            ("base, metadata, layer", vec![Some("1"), None, Some("3"), None], vec!["1", "3", "3", "3"]),
            ("only metadata on a base", vec![Some("1"), None], vec!["1", "1"]),
            ("nothing known", vec![None, None], vec!["", ""]),
            ("two layers", vec![None, Some("2"), None, Some("4"), None], vec!["2", "2", "2", "4", "4"]),
        ] {
            let mut config =
                ImageConfig { history: before.into_iter().map(entry).collect(), ..<_>::default() };
            fill_history(&mut config, &[], None);
            assert_eq!(times(&config), want, "case {name}");
        }
    }
}
