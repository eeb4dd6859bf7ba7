//! What a build has done, for caches elsewhere.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shipway_layers::LayerError;
use shipway_oci::{Descriptor, DiffId, MediaType};

use super::imports::StageLayer;
use super::ways::Ways;
use super::{Outcome, Solver, lock};
use crate::error::with_causes;
use crate::plan::internal;
use crate::records::{Records, StepRecord};
use crate::{BuildError, CacheExport, CacheMode, CacheTarget, Event, SeamError};

/// A layer that was in a cache when the build began is not there any more.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("layer {} cannot be had any more", .0.0.short())]
#[diagnostic(code(build::lost_layer), help("build again"))]
struct LostLayer(DiffId);

impl Solver<'_> {
    /// Returns the steps of all stages.
    pub(crate) fn records(&self) -> Result<Records, LayerError> {
        let mut records = Records::default();
        // Two stages may do the same twice: what the image has of it counts.
        for outcome in self.chosen().iter().rev() {
            let mut chain = Vec::new();
            for made in &outcome.made {
                let diff_id = made.layer.as_ref().map(|layer| self.diff_id_of(layer)).transpose()?;
                chain.extend(diff_id);
                let (last, state, created) = (made.last, made.state, made.created.clone());
                let step = StepRecord { key: last, last, state, created, diff_id };
                records.add(made.parent, &made.keys, &step, &chain);
            }
        }
        Ok(records)
    }

    /// Returns what has become of the stages that are done, as the last one has read them.
    pub(super) fn chosen(&self) -> Vec<Arc<Outcome>> {
        let outcomes = lock(&self.outcomes);
        let last = outcomes.last().and_then(Option::as_ref).map(Ways::first);
        let chosen = |(stage, ways): (usize, &Option<Ways>)| {
            let read = last.and_then(|last| last.read.get(&stage));
            read.or_else(|| ways.as_ref().map(Ways::first)).map(Arc::clone)
        };
        outcomes.iter().enumerate().filter_map(chosen).collect()
    }

    fn diff_id_of(&self, layer: &StageLayer) -> Result<DiffId, LayerError> {
        match layer {
            StageLayer::Here(id) => self.hashed(id).map(|layer| layer.diff_id),
            StageLayer::Distant(layer) => Ok(layer.diff_id),
        }
    }

    /// Puts the steps into the caches that the build is to fill.
    pub(super) fn export_caches(&self, image: &Outcome) -> Result<(), BuildError> {
        if self.builder.cache_targets.is_empty() {
            return Ok(());
        }
        let fail = |source| BuildError::Layers { action: "hash a layer", source };
        let mut records = self.records().map_err(fail)?;
        if let Some(several) = &self.builder.several {
            records = several.with_records(records);
        }
        let all = self.chosen();
        for target in &self.builder.cache_targets {
            let outcomes: Vec<&Outcome> = match target.mode() {
                CacheMode::Min => vec![image],
                CacheMode::Max => all.iter().map(|outcome| &**outcome).collect(),
            };
            let layers = outcomes.into_iter().flat_map(|outcome| &outcome.made);
            let layers: Vec<&StageLayer> = layers.filter_map(|made| made.layer.as_ref()).collect();
            self.export_cache(&**target, &records, &layers)?;
        }
        Ok(())
    }

    fn export_cache(
        &self,
        target: &dyn CacheTarget,
        records: &Records,
        layers: &[&StageLayer],
    ) -> Result<(), BuildError> {
        let step = internal(self.next_id(), target.title());
        let start = Instant::now();
        let progress = &*self.builder.progress;
        progress.event(&Event::Started { step: &step });
        let say = |line: &str| {
            progress.event(&Event::Output { step: &step, bytes: format!("{line}\n").as_bytes() });
        };
        let Err(error) = self.put_cache(target, records, layers, &say) else {
            progress.event(&Event::Done { step: &step, elapsed: start.elapsed(), key: None });
            return Ok(());
        };
        let (text, elapsed) = (with_causes(&error), start.elapsed());
        let cancelled = matches!(error, BuildError::Cancelled);
        progress.event(&Event::Failed { step: &step, elapsed, error: &text, cancelled });
        if cancelled {
            return Err(error);
        }
        if !target.ignores_errors() {
            return match &self.builder.several {
                Some(several) => {
                    several.fail_later(error);
                    Ok(())
                }
                None => Err(error),
            };
        }
        progress.event(&Event::Warning { message: &text, span: None, rule: None });
        Ok(())
    }

    /// Writes a cache, and again without layers that turn out to be gone from where they were.
    fn put_cache(
        &self,
        target: &dyn CacheTarget,
        records: &Records,
        layers: &[&StageLayer],
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), BuildError> {
        let lost: Mutex<HashSet<DiffId>> = Mutex::default();
        let bring = |diff_id: DiffId| match self.bring_one(&self.imports.layer(diff_id)) {
            Ok(Some(_here)) => Ok(()),
            Ok(None) => {
                lock(&lost).insert(diff_id);
                Err(SeamError::new(LostLayer(diff_id)))
            }
            Err(error) => Err(SeamError::new(error)),
        };
        loop {
            if self.request.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            let before = lock(&lost).clone();
            let mut layers = self.layers_to_export(layers, &before)?;
            if let Some(several) = &self.builder.several {
                let earlier = several.layers(&target.name()).into_iter();
                let mut seen: HashSet<DiffId> = layers.iter().map(|(_, diff_id)| *diff_id).collect();
                layers.extend(earlier.filter(|(_, id)| !before.contains(id) && seen.insert(*id)));
            }
            let export = CacheExport { layers, records, bring: &bring };
            let Err(source) = target.put(&export, say) else {
                if let Some(several) = &self.builder.several {
                    several.note_layers(target.name(), export.layers);
                }
                return Ok(());
            };
            if self.request.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            if lock(&lost).len() == before.len() {
                return Err(BuildError::ExportCache { name: target.name(), source });
            }
        }
    }

    /// Returns each layer once, in the form in which it is known.
    fn layers_to_export(
        &self,
        layers: &[&StageLayer],
        lost: &HashSet<DiffId>,
    ) -> Result<Vec<(Descriptor, DiffId)>, BuildError> {
        let mut seen = HashSet::new();
        let mut known = Vec::new();
        for layer in layers {
            let here = match layer {
                StageLayer::Here(id) => Some(id.clone()),
                StageLayer::Distant(layer) => layer.here(),
            };
            let form = match (here, layer) {
                (Some(id), _) => {
                    let layer = self.hashed(&id);
                    let layer =
                        layer.map_err(|source| BuildError::Layers { action: "hash a layer", source })?;
                    Some((Descriptor::new(MediaType::OCI_LAYER, layer.diff_id.0, layer.size), layer.diff_id))
                }
                (None, StageLayer::Distant(layer)) if !lost.contains(&layer.diff_id) => {
                    layer.places.first().map(|(_, blob)| (blob.clone(), layer.diff_id))
                }
                (None, _) => None,
            };
            known.extend(form.filter(|(_, diff_id)| seen.insert(*diff_id)));
        }
        Ok(known)
    }
}
