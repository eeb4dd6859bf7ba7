//! Carrying a plan out: each stage in its thread, each step from the cache or anew.
//!
//! A step that is in the cache touches no layer, only the database. What was made is put into the cache as soon as its
//! layer is complete, so a build that fails later, or is killed, keeps it; the store refuses layers that were never
//! synced and did not survive the machine's end.

mod binds;
mod copies;
mod debug;
mod exports;
mod fetches;
mod imports;
mod leaks;
mod opening;
mod permits;
mod runs;
mod sent;
mod steps;
mod stubs;
mod ways;

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use shipway_layers::{Layer, LayerError, LayerId};
use shipway_oci::Digest;
use shipway_store::CachedStep;

use crate::attest::Materials;
use crate::context::Context;
use crate::export::{Exported, export};
use crate::key::KeyBuilder;
use crate::plan::{Action, Origin, Plan, PlannedStage};
use crate::progress::{StepInfo, StepKind};
use crate::request::Stop;
use crate::time::{now, now_seconds};
use crate::{BuildError, BuildRequest, Builder, Built, Event, Problem};
use opening::Opening;
use permits::Permits;
use steps::Turn;
use ways::{Read, Ways};

pub(crate) use imports::{Imports, Stacked, StageLayer};
pub(crate) use leaks::{check_text, star, tell};
pub(crate) use runs::{agent_id, secret_id};
pub(crate) use steps::StoredResult;

/// Takes the lock, also after a thread that held it has panicked: the panic is raised again when the threads join.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has become of a stage's files.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Identifies them.
    pub(crate) key: Digest,
    /// Base first.
    pub(crate) layers: Vec<Stacked>,
    /// For each history entry that a step made: its place, when, and whether there is a layer.
    pub(crate) made: Vec<Made>,
    /// The other stages that it was made of.
    pub(crate) read: Read,
}

/// What a step left.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) history_at: usize,
    pub(crate) created: String,
    pub(crate) layer: Option<StageLayer>,
    /// What it was done on.
    pub(crate) parent: Digest,
    /// Under what it is found.
    pub(crate) keys: Vec<Digest>,
    /// The last of its keys, which knows all that it read.
    pub(crate) last: Digest,
    /// Identifies the files after it.
    pub(crate) state: Digest,
}

/// One build on its way.
pub(crate) struct Solver<'a> {
    pub(crate) builder: &'a Builder,
    pub(crate) request: &'a BuildRequest,
    pub(crate) plan: &'a Plan,
    pub(crate) imports: &'a Imports,
    /// Since the epoch.
    pub(crate) started: Duration,
    /// What was fetched.
    pub(crate) materials: Materials,
    /// Set by the request, or by the first stage that fails.
    pub(crate) stop: Stop,
    /// The build context, then those that are named.
    contexts: Vec<OnceLock<Result<Context, String>>>,
    context_error: Mutex<Option<BuildError>>,
    outcomes: Mutex<Vec<Option<Ways>>>,
    changed: Condvar,
    permits: Permits,
    first_error: Mutex<Option<BuildError>>,
    counts: Mutex<Counts>,
    /// Somebody looks, or has looked, at a step that failed.
    is_debugged: AtomicBool,
    /// Cache rows of this build by their layer: an equal layer may replace one.
    rows: Mutex<HashMap<LayerId, Vec<CachedStep>>>,
    /// Steps that were done or found in stages that failed, by key and state.
    used: Mutex<Vec<(Digest, String)>>,
    /// Whether an earlier build has used a base image, by the state after it.
    bases: Mutex<HashMap<Digest, bool>>,
    /// A layer that a cache should have cannot be had.
    lacks_layer: AtomicBool,
    /// Layers whose diff IDs are known.
    hashed: Mutex<HashMap<LayerId, Layer>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    steps: usize,
    cached: usize,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        builder: &'a Builder,
        request: &'a BuildRequest,
        plan: &'a Plan,
        imports: &'a Imports,
    ) -> Self {
        Self {
            builder,
            request,
            plan,
            imports,
            started: now(),
            materials: Materials::default(),
            stop: request.stop.child(),
            contexts: (0..=plan.contexts.len()).map(|_| OnceLock::new()).collect(),
            context_error: Mutex::default(),
            outcomes: Mutex::new(vec![None; plan.stages.len()]),
            changed: Condvar::new(),
            permits: Permits::of_cores(),
            first_error: Mutex::default(),
            counts: Mutex::default(),
            is_debugged: AtomicBool::new(false),
            rows: Mutex::default(),
            used: Mutex::default(),
            bases: Mutex::default(),
            lacks_layer: AtomicBool::new(false),
            hashed: Mutex::default(),
        }
    }

    /// Returns whether the build ended because of a layer that a cache does not give. It will not be looked for again.
    pub(crate) fn lacks_layer(&self) -> bool {
        self.lacks_layer.load(Ordering::Acquire) && !self.request.stop.is_set()
    }

    /// Returns a number for a step that is in no plan.
    pub(crate) fn next_id(&self) -> usize {
        self.imports.next_id()
    }

    /// Returns a layer with its diff ID. One that is equal to another has none recorded, and is hashed once here.
    fn hashed(&self, id: &LayerId) -> Result<Layer, LayerError> {
        if let Some(known) = lock(&self.hashed).get(id) {
            return Ok(known.clone());
        }
        let layer = self.builder.layers.diff_id(id)?;
        lock(&self.hashed).insert(id.clone(), layer.clone());
        Ok(layer)
    }

    /// Does everything and names the image.
    pub(crate) fn run(&self) -> Result<Built, BuildError> {
        let built = self.do_stages();
        // All at one time: of those that were used last together, what was made last goes first.
        let mut used = std::mem::take(&mut *lock(&self.used));
        used.extend(self.chosen().iter().flat_map(|outcome| outcome.steps()));
        if let Err(error) = self.builder.store.cache_used(&used, now_seconds()) {
            tracing::debug!(%error, "could not record which steps were used");
        }
        built
    }

    fn do_stages(&self) -> Result<Built, BuildError> {
        let (to_hash, hashing) = channel::<(LayerId, StepInfo)>();
        let (written, writes) = channel::<u64>();
        std::thread::scope(|scope| {
            scope.spawn(move || self.builder.store.write_behind(&writes));
            scope.spawn(move || self.hash_layers(hashing, &written));
            if self.plan.stages.len() == 1 {
                self.stage_thread(0, &to_hash);
            } else {
                let threads: Vec<_> = (0..self.plan.stages.len())
                    .map(|stage| {
                        let to_hash = to_hash.clone();
                        scope.spawn(move || self.stage_thread(stage, &to_hash))
                    })
                    .collect();
                for thread in threads {
                    if let Err(panic) = thread.join() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
            drop(to_hash);
        });
        for context in self.contexts.iter().filter_map(|context| context.get()?.as_ref().ok()) {
            context.stats.save();
        }
        if let Some(error) = lock(&self.first_error).take() {
            return Err(error);
        }
        if self.stop.is_set() {
            return Err(BuildError::Cancelled);
        }
        let ways = lock(&self.outcomes).last().cloned().flatten().ok_or(BuildError::Cancelled)?;
        self.finish(ways.first())
    }

    /// Hashes layers while further steps run. An error is met again, and reported, when the image needs the layer.
    fn hash_layers(&self, hashing: Receiver<(LayerId, StepInfo)>, written: &Sender<u64>) {
        for (layer, step) in hashing {
            if self.stop.is_set() {
                continue;
            }
            self.builder.progress.event(&Event::Hashing { step: &step });
            match self.hashed(&layer) {
                // The receiver is gone only where the disk failed.
                Ok(layer) => drop(written.send(layer.size)),
                Err(error) => tracing::debug!(%error, %layer, "could not hash a layer in the background"),
            }
        }
    }

    fn stage_thread(&self, stage: usize, to_hash: &Sender<(LayerId, StepInfo)>) {
        let planned = &self.plan.stages[stage];
        let result = self.begin(planned.base).and_then(|mut ways| {
            let done = self.stage(planned, to_hash, &mut ways);
            if done.is_err() {
                lock(&self.used).extend(ways.first().steps());
            }
            done.map(|()| ways)
        });
        match result {
            Ok(ways) => lock(&self.outcomes)[stage] = Some(ways),
            Err(error) => {
                let mut first = lock(&self.first_error);
                // Others end because this one failed; the reason is the first that is none of that.
                if first.is_none() || matches!(*first, Some(BuildError::Cancelled)) {
                    *first = Some(error);
                }
                self.stop.set();
            }
        }
        self.changed.notify_all();
    }

    /// Waits for another stage.
    fn wait_for(&self, stage: usize) -> Result<Ways, BuildError> {
        // The request's flag can be set without a word to us.
        const LOOK: Duration = Duration::from_millis(100);
        let mut outcomes = lock(&self.outcomes);
        loop {
            if let Some(outcome) = &outcomes[stage] {
                return Ok(outcome.clone());
            }
            if self.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            outcomes = self.changed.wait_timeout(outcomes, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the ways on which a stage begins.
    fn begin(&self, base: Origin) -> Result<Ways, BuildError> {
        let Origin::Stage(stage) = base else { return Ok(Ways::one(self.files_of_no_stage(base))) };
        Ok(Ways::on(stage, &self.wait_for(stage)?))
    }

    /// Returns the files of a stage or image as a way has read them.
    pub(crate) fn files_of(&self, origin: Origin, way: &Outcome) -> Result<Arc<Outcome>, BuildError> {
        match origin {
            Origin::Stage(stage) => match way.read.get(&stage) {
                Some(read) => Ok(Arc::clone(read)),
                None => self.wait_for(stage).map(|ways| Arc::clone(ways.first())),
            },
            origin => Ok(Arc::new(self.files_of_no_stage(origin))),
        }
    }

    fn files_of_no_stage(&self, origin: Origin) -> Outcome {
        let (key, layers) = match origin {
            Origin::Image(image) => {
                let image = &self.plan.images[image];
                let here = |id: &LayerId| Stacked { layer: StageLayer::Here(id.clone()), linked: false };
                (image.key, image.image.layers.iter().map(here).collect())
            }
            // It has no layers; whoever reads it opens it.
            Origin::Scratch | Origin::Context(_) | Origin::Stage(_) => {
                (KeyBuilder::new("scratch").finish().digest, Vec::new())
            }
        };
        Outcome { key, layers, made: Vec::new(), read: Read::new() }
    }

    fn stage(
        &self,
        stage: &PlannedStage,
        to_hash: &Sender<(LayerId, StepInfo)>,
        ways: &mut Ways,
    ) -> Result<(), BuildError> {
        let base = &stage.base_step;
        if base.kind == StepKind::Base {
            let mut counts = lock(&self.counts);
            counts.steps += 1;
            counts.cached += 1;
        }
        let opening = Opening::new(base, ways.first().key);
        if base.kind != StepKind::Base {
            self.begin_stage(&opening);
        }
        for (index, step) in stage.steps.iter().enumerate() {
            if self.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            // What a step takes is its own work, and not that of the stages that it reads.
            for stage in step.action.stages() {
                ways.read(stage, &self.wait_for(stage)?);
            }
            let (start, waited) = (Instant::now(), Cell::default());
            let elapsed = || start.elapsed().saturating_sub(waited.get());
            if matches!(step.action, Action::Metadata) {
                self.begin_step((&opening, ways.first().key), &step.info);
                continue;
            }
            self.begin_stage(&opening);
            self.begin_step((&opening, ways.first().key), &step.info);
            let position = format!("{}/{index}", stage.name);
            let turn = Turn { position, waited: &waited, opening: &opening };
            let applied = self.layer_step(stage, step, &turn, ways);
            self.tell_of_base(&opening, false);
            match applied {
                Ok(applied) => {
                    let mut counts = lock(&self.counts);
                    counts.steps += 1;
                    counts.cached += usize::from(applied.cached);
                    drop(counts);
                    let key = ways.first().key;
                    if applied.cached {
                        self.builder.progress.event(&Event::Cached { step: &step.info, key });
                    } else {
                        self.builder.progress.event(&Event::Done {
                            step: &step.info,
                            elapsed: elapsed(),
                            key: Some(key),
                        });
                        // The receiver lives as long as the stages do.
                        if let Some(layer) = applied.layer {
                            to_hash
                                .send((layer, step.info.clone()))
                                .expect("the hashing thread outlives the stages");
                        }
                    }
                }
                Err(Problem::Told(error)) => return Err(*error),
                Err(problem) => {
                    let place = (&self.plan.source, step.span);
                    let error = tell(problem, place, &self.request.secrets, &step.info.name);
                    let text = error.to_string();
                    let cancelled = matches!(error, BuildError::Cancelled);
                    self.builder.progress.event(&Event::Failed {
                        step: &step.info,
                        elapsed: elapsed(),
                        error: &text,
                        cancelled,
                    });
                    return Err(error);
                }
            }
        }
        self.begin_stage(&opening);
        self.tell_of_base(&opening, true);
        Ok(())
    }

    /// Returns the context, opened when the first step needs it.
    pub(crate) fn context(&self) -> Result<&Context, BuildError> {
        // What is in no file has no ignore file beside it.
        let dockerfile = self.request.dockerfile_text.is_none().then_some(self.request.dockerfile.as_path());
        self.open_context(0, &self.request.context, dockerfile)
    }

    /// Returns a named context, opened when the first step needs it.
    pub(crate) fn named_context(&self, number: usize) -> Result<&Context, BuildError> {
        self.open_context(number + 1, &self.plan.contexts[number].directory, None)
    }

    fn open_context(
        &self,
        place: usize,
        directory: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<&Context, BuildError> {
        let opened = self.contexts[place].get_or_init(|| {
            let cache = self.builder.directory("contexts");
            Context::open(directory, dockerfile, &cache).map_err(|error| {
                let text = error.to_string();
                *lock(&self.context_error) = Some(error);
                text
            })
        });
        match opened {
            Ok(context) => Ok(context),
            // The first who asks gets the error itself; the build ends with it.
            Err(_) => Err(lock(&self.context_error).take().unwrap_or(BuildError::Cancelled)),
        }
    }

    fn finish(&self, outcome: &Outcome) -> Result<Built, BuildError> {
        let fail = |action| move |source| BuildError::Layers { action, source };
        let mut layers: Vec<Layer> = Vec::new();
        let here = self.bring(&outcome.layers);
        let here = here.map_err(|source| BuildError::Store { action: "record a step", source })?;
        let here = here.ok_or(BuildError::Cancelled)?;
        // Layers that only mend the chain of a base image are not the image's.
        let own = self.builder.layers.own(&here).map_err(fail("look at the layers"))?;
        for id in &own {
            if self.stop.is_set() {
                return Err(BuildError::Cancelled);
            }
            let layer = self.hashed(id).map_err(fail("hash a layer"))?;
            // An equal layer was there before: let the cache lead to it, or this one is hashed at every build.
            if layer.id != *id {
                for row in lock(&self.rows).remove(id).unwrap_or_default() {
                    let row = CachedStep { layer: Some(layer.id.clone()), ..row };
                    self.put(&row).map_err(|source| BuildError::Store { action: "record a step", source })?;
                }
            }
            layers.push(layer);
        }
        self.builder.layers.sync().map_err(fail("write the layers to disk"))?;
        let counts = *lock(&self.counts);
        let stage = self.plan.stages.last().expect("a plan has its target");
        let Exported { image_id, manifest: (manifest, manifest_size), index } =
            export(self, stage, outcome, &layers)?;
        self.export_caches(outcome)?;
        Ok(Built {
            image_id,
            manifest,
            manifest_size,
            index,
            tags: self.request.tags.clone(),
            steps: counts.steps,
            cached_steps: counts.cached,
            parts: Vec::new(),
        })
    }
}
