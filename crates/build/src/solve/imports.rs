//! Steps that were done elsewhere: found by their keys, their layers fetched when somebody needs the files.
//!
//! A layer that cannot be had is forgotten with its steps, and the build begins again without them; what was done meanwhile
//! is in the cache.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shipway_layers::LayerId;
use shipway_oci::{Descriptor, DiffId, Digest};
use shipway_store::{CachedStep, StoreError};

use super::{Solver, lock};
use crate::error::with_causes;
use crate::plan::internal;
use crate::progress::StepInfo;
use crate::records::StepRecord;
use crate::{Builder, CacheSource, Event, Problem};

/// So many layers come at the same time.
const PARALLEL: usize = 4;

/// A layer of a stage.
#[derive(Clone, Debug)]
pub(crate) enum StageLayer {
    Here(LayerId),
    /// It is in a cache elsewhere.
    Distant(Arc<DistantLayer>),
}

/// A layer of a stage, on those before it.
#[derive(Clone, Debug)]
pub(crate) struct Stacked {
    pub(crate) layer: StageLayer,
    /// It was made without knowing those.
    pub(crate) linked: bool,
}

/// A layer of a step that was done elsewhere.
#[derive(Debug)]
pub(crate) struct DistantLayer {
    pub(crate) diff_id: DiffId,
    /// Caches that have it, by their number, and as what; there are steps whose layer no cache has.
    pub(crate) places: Vec<(usize, Descriptor)>,
    state: Mutex<Arrival>,
}

#[derive(Debug, Default)]
struct Arrival {
    here: Option<LayerId>,
    /// Steps that are known here as soon as their layer is.
    rows: Vec<CachedStep>,
}

/// What the caches of a build have.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    caches: Vec<Loaded>,
    layers: Mutex<HashMap<DiffId, Arc<DistantLayer>>>,
    lost: Mutex<HashSet<DiffId>>,
    /// Number of the last step that is shown, also where a build begins again.
    last_id: AtomicUsize,
}

#[derive(Debug)]
struct Loaded {
    source: Arc<dyn CacheSource>,
    steps: HashMap<Digest, StepRecord>,
    layers: HashMap<DiffId, Descriptor>,
}

impl Imports {
    /// Reads the documents of all caches; the last of the plan's steps, from `first` on, are how that is shown. One that cannot be read
    /// is left out.
    pub(crate) fn load(builder: &Builder, steps: &[StepInfo], first: usize) -> Self {
        let load = |(source, step): (&Arc<dyn CacheSource>, &StepInfo)| {
            let start = Instant::now();
            builder.progress.event(&Event::Started { step });
            let elapsed = || start.elapsed();
            match source.load() {
                Ok(content) => {
                    builder.progress.event(&Event::Done { step, elapsed: elapsed(), key: None });
                    let steps = content.steps.into_iter().map(|step| (step.key, step)).collect();
                    Some(Loaded { source: Arc::clone(source), steps, layers: content.layers })
                }
                Err(error) => {
                    let error = with_causes(&error);
                    let failed = Event::Failed { step, elapsed: elapsed(), error: &error, cancelled: false };
                    builder.progress.event(&failed);
                    let message = format!("the cache `{}` is not used: {error}", source.name());
                    builder.progress.event(&Event::Warning { message: &message, span: None, rule: None });
                    None
                }
            }
        };
        let sources = builder.cache_sources.iter().zip(&steps[first..]);
        let caches = std::thread::scope(|scope| {
            let threads: Vec<_> = sources.map(|one| scope.spawn(move || load(one))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined
                .filter_map(|loaded| loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        Self { caches, last_id: AtomicUsize::new(steps.len()), ..Self::default() }
    }

    /// Returns a number for a step that is in no plan.
    pub(super) fn next_id(&self) -> usize {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the results of a step whose layers may still be had.
    pub(super) fn find(&self, key: &Digest) -> impl Iterator<Item = &StepRecord> {
        let found = self.caches.iter().filter_map(|cache| cache.steps.get(key));
        found.filter(|step| step.diff_id.is_none_or(|diff_id| !self.is_lost(diff_id)))
    }

    /// Returns whether it turned out that a layer cannot be had.
    pub(super) fn is_lost(&self, diff_id: DiffId) -> bool {
        lock(&self.lost).contains(&diff_id)
    }

    /// Returns a layer; the same one for the same diff ID always.
    pub(super) fn layer(&self, diff_id: DiffId) -> Arc<DistantLayer> {
        let make = || {
            let has = |(at, cache): (usize, &Loaded)| Some((at, cache.layers.get(&diff_id)?.clone()));
            let places = self.caches.iter().enumerate().filter_map(has).collect();
            Arc::new(DistantLayer { diff_id, places, state: Mutex::default() })
        };
        Arc::clone(lock(&self.layers).entry(diff_id).or_insert_with(make))
    }
}

impl DistantLayer {
    /// Returns its name if it has come.
    pub(super) fn here(&self) -> Option<LayerId> {
        lock(&self.state).here.clone()
    }
}

impl Solver<'_> {
    /// Records steps whose layer is elsewhere as soon as it has come.
    pub(super) fn await_layer(&self, layer: &DistantLayer, rows: &[CachedStep]) -> Result<(), StoreError> {
        let mut state = lock(&layer.state);
        match &state.here {
            Some(here) => rows.iter().try_for_each(|row| self.put_with(row, here)),
            None => {
                state.rows.extend_from_slice(rows);
                Ok(())
            }
        }
    }

    fn put_with(&self, row: &CachedStep, layer: &LayerId) -> Result<(), StoreError> {
        self.put(&CachedStep { layer: Some(layer.clone()), ..row.clone() })
    }

    /// Returns the layers of a stage after bringing here what is elsewhere; `None` if one cannot be had, and the build has to begin
    /// again.
    pub(crate) fn bring(&self, layers: &[Stacked]) -> Result<Option<Vec<LayerId>>, StoreError> {
        let distant = |stacked: &Stacked| match &stacked.layer {
            StageLayer::Distant(layer) if layer.here().is_none() => Some(Arc::clone(layer)),
            _ => None,
        };
        let wanted: Vec<_> = layers.iter().filter_map(distant).collect();
        let next = AtomicUsize::new(0);
        let take = || wanted.get(next.fetch_add(1, Ordering::Relaxed));
        let failure: Mutex<Option<StoreError>> = Mutex::default();
        std::thread::scope(|scope| {
            for _thread in 0..PARALLEL.min(wanted.len()) {
                scope.spawn(|| {
                    while let Some(layer) = take() {
                        if let Err(error) = self.bring_one(layer) {
                            lock(&failure).get_or_insert(error);
                        }
                    }
                });
            }
        });
        if let Some(error) = lock(&failure).take() {
            return Err(error);
        }
        let here = |stacked: &Stacked| match &stacked.layer {
            StageLayer::Here(id) => Some(id.clone()),
            StageLayer::Distant(layer) => layer.here(),
        };
        let here: Option<Vec<LayerId>> = layers.iter().map(here).collect();
        if here.is_none() {
            self.lacks_layer.store(true, Ordering::Release);
        }
        Ok(here)
    }

    /// Like [`Self::bring`], within a step, with what mends the chain where a layer did not know those below it.
    pub(crate) fn layers_of(&self, step: &StepInfo, layers: &[Stacked]) -> Result<Vec<LayerId>, Problem> {
        let brought = self.bring(layers);
        let brought = brought.map_err(|source| Problem::Store { action: "record a step", source })?;
        let Some(brought) = brought else {
            let bytes = b"no cache has the files of steps before: they are done again\n";
            self.builder.progress.event(&Event::Output { step, bytes });
            return Err(Problem::Cancelled);
        };
        let mut chain = Vec::new();
        for (id, stacked) in brought.into_iter().zip(layers) {
            if stacked.linked {
                let action = "put a linked layer on those below it";
                let mended = self.builder.layers.stack(&chain, &id);
                chain = mended.map_err(|source| Problem::Layers { action, source })?;
            } else {
                chain.push(id);
            }
        }
        Ok(chain)
    }

    /// Brings one layer here; `None` if it cannot be had, and is forgotten.
    pub(super) fn bring_one(&self, layer: &DistantLayer) -> Result<Option<LayerId>, StoreError> {
        let mut state = lock(&layer.state);
        if let Some(here) = &state.here {
            return Ok(Some(here.clone()));
        }
        let known = self.builder.store.layer_of(layer.diff_id)?.map(|row| row.id);
        let Some(id) = known.or_else(|| self.fetch(layer)) else {
            // Not looking for it any more says nothing of it.
            if !self.stop.is_set() {
                lock(&self.imports.lost).insert(layer.diff_id);
            }
            return Ok(None);
        };
        for row in std::mem::take(&mut state.rows) {
            self.put_with(&row, &id)?;
        }
        state.here = Some(id.clone());
        Ok(Some(id))
    }

    /// Fetches a layer from the first cache that gives it.
    fn fetch(&self, layer: &DistantLayer) -> Option<LayerId> {
        let progress = &*self.builder.progress;
        for (at, blob) in &layer.places {
            if self.stop.is_set() {
                return None;
            }
            let source = &self.imports.caches[*at].source;
            let name = format!("[internal] fetch layer {} from {}", blob.digest.short(), source.name());
            let step = internal(self.next_id(), name);
            let start = Instant::now();
            progress.event(&Event::Started { step: &step });
            match source.fetch(blob, layer.diff_id) {
                Ok(id) => {
                    progress.event(&Event::Done { step: &step, elapsed: start.elapsed(), key: None });
                    return Some(id);
                }
                Err(error) => {
                    let (error, elapsed) = (with_causes(&error), start.elapsed());
                    progress.event(&Event::Failed { step: &step, elapsed, error: &error, cancelled: false });
                    let message = format!("a layer of the cache `{}` is not used: {error}", source.name());
                    progress.event(&Event::Warning { message: &message, span: None, rule: None });
                }
            }
        }
        None
    }
}
