//! One step: its key, the cache, and the work if it misses.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shipway_layers::{Drawing, LayerId, Pencil, Snapshot};
use shipway_linux::Root;
use shipway_oci::Digest;
use shipway_store::{CachedStep, StoreError};

use super::imports::{Stacked, StageLayer};
use super::opening::Opening;
use super::{Made, Outcome, Solver, lock};
use crate::copy::{Filling, Writer, resolve_in, resolve_owner};
use crate::key::{Input, Key, KeyBuilder, explain};
use crate::plan::{Action, PlannedStage, Step, WorkdirAction};
use crate::time::{now, now_seconds, rfc3339, rfc3339_of};
use crate::{CACHE_NOT_USED, Event, NOT_BUILT_BEFORE, Problem};

/// A step that makes a layer, and its places.
pub(super) struct Slot<'s> {
    pub(super) step: &'s Step,
    /// Among the steps of all builds of this Dockerfile.
    pub(super) position: String,
    /// In the history.
    pub(super) history_at: usize,
    /// It is done anew, whatever the cache has.
    pub(super) anew: bool,
    /// Its layer is made on nothing, and lies on whatever is there.
    pub(super) link: bool,
    turn: &'s Turn<'s>,
}

/// When a step is done.
#[derive(Debug)]
pub(super) struct Turn<'s> {
    /// Among the steps of its build.
    pub(super) position: String,
    /// How long it waited until it might work.
    pub(super) waited: &'s Cell<Duration>,
    /// What is told before it.
    pub(super) opening: &'s Opening<'s>,
}

/// What the work of a step came to.
pub(super) enum Left<'a> {
    /// Nothing was changed.
    Nothing,
    /// What was changed is in the snapshot.
    Changes,
    /// The same, in one on nothing; these directories are there only for what is in them.
    Apart(Vec<PathBuf>),
    /// One or the other, and a directory in it that is still to be filled.
    Drawn(Option<Vec<PathBuf>>, Box<Filling<'a>>),
}

/// What carrying out a step came to.
pub(super) struct Applied {
    pub(super) cached: bool,
    pub(super) layer: Option<LayerId>,
}

/// What is kept of a step beside its layer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredResult {
    pub(crate) created: String,
    /// The last of the step's keys, whichever was found.
    last: Digest,
    /// What later steps build on: it identifies the files that the step left.
    state: Digest,
}

impl Solver<'_> {
    pub(super) fn layer_step<'s>(
        &self,
        stage: &PlannedStage,
        step: &'s Step,
        turn: &'s Turn<'s>,
        outcome: &mut Outcome,
    ) -> Result<Applied, Problem> {
        let position = format!("{}/{}", self.position(), turn.position);
        let anew = self.request.no_cache
            || self.request.no_cache_stages.iter().any(|name| name.eq_ignore_ascii_case(&stage.name));
        let link = matches!(&step.action, Action::Copy(copy, _) if copy.link);
        let slot = |at: &usize| Slot { step, position: position.clone(), history_at: *at, anew, link, turn };
        match &step.action {
            Action::Metadata => Ok(Applied { cached: true, layer: None }),
            Action::Run(run, at) => self.run_step(&slot(at), run, outcome),
            Action::Copy(copy, at) => self.copy_step(&slot(at), copy, outcome),
            Action::Workdir(workdir, at) => {
                if workdir.path == "/" {
                    return Ok(Applied { cached: true, layer: None });
                }
                let key = self
                    .key("workdir", outcome)
                    .text("instruction", &format!("WORKDIR {}", workdir.path))
                    .text("user", &workdir.user)
                    .finish();
                self.cached_or(&slot(at), &[key], outcome, |snapshot| self.workdir(workdir, snapshot))
            }
        }
    }

    /// Starts the key of a step on top of what is there.
    pub(super) fn key(&self, kind: &str, parent: &Outcome) -> KeyBuilder {
        let mut key = KeyBuilder::new(kind);
        key.text("parent", &parent.key.to_string());
        self.with_epoch(key)
    }

    /// Starts the key of a step that does not look at what is there.
    pub(super) fn key_apart(&self, kind: &str) -> KeyBuilder {
        self.with_epoch(KeyBuilder::new(kind))
    }

    fn with_epoch(&self, mut key: KeyBuilder) -> KeyBuilder {
        if let Some(epoch) = self.plan.epoch {
            key.text("SOURCE_DATE_EPOCH", &epoch.to_string());
        }
        key
    }

    /// Names this Dockerfile in this context, so that its steps explain each other's misses.
    fn position(&self) -> String {
        // As `.` the context of another project would look the same.
        let whole =
            |path: &std::path::Path| std::path::absolute(path).unwrap_or_else(|_unnamed| path.to_owned());
        let (context, dockerfile) = (whole(&self.request.context), whole(&self.request.dockerfile));
        let text = format!("{}\n{}", context.display(), dockerfile.display());
        shipway_oci::Digest::of(text.as_bytes()).short()
    }

    /// Takes a step from the cache under one of its keys, or does it.
    pub(super) fn cached_or<'a>(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        outcome: &mut Outcome,
        work: impl FnOnce(&Snapshot) -> Result<Left<'a>, Problem>,
    ) -> Result<Applied, Problem> {
        let last = keys.last().expect("a step has a key");
        if let Some(applied) = self.look_up(slot, keys, outcome)? {
            return Ok(applied);
        }
        // A linked layer is made on nothing.
        let below = match slot.link {
            true => Vec::new(),
            false => self.layers_of(&slot.step.info, &outcome.layers)?,
        };
        self.tell_of_base(slot.turn.opening, true);
        self.explain(slot, last)?;
        let asked = Instant::now();
        let _permit = self.permits.take();
        slot.turn.waited.set(slot.turn.waited.get() + asked.elapsed());
        if self.stop.is_set() {
            return Err(Problem::Cancelled);
        }
        let layers = &self.builder.layers;
        let mut snapshot = layers
            .prepare(&below)
            .map_err(|source| Problem::Layers { action: "prepare a place for the step's changes", source })?;
        let left = work(&snapshot)?;
        if self.stop.is_set() {
            return Err(Problem::Cancelled);
        }
        snapshot.latest_mtime = self.plan.epoch;
        let layer = match left {
            Left::Nothing => None,
            Left::Changes => Some(layers.commit(snapshot)),
            Left::Apart(implied) => Some(layers.commit_apart(snapshot, implied)),
            Left::Drawn(implied, filling) => {
                let draw = |pencil: &mut Pencil<'_>| filling.draw(pencil);
                let earlier = self.earlier_layer(slot)?;
                let drawing = Drawing { top: &filling.top, draw: &draw, earlier: earlier.as_ref() };
                let layer = layers.commit_drawn(snapshot, implied, drawing);
                match filling.problem() {
                    Some(problem) => return Err(problem),
                    None => Some(layer),
                }
            }
        };
        let layer = layer
            .transpose()
            .map_err(|source| Problem::Layers { action: "keep a step's changes", source })?;
        let created = match self.plan.epoch {
            Some(epoch) => rfc3339(epoch, 0),
            None => rfc3339_of(now()),
        };
        let state = self.state_of(last, layer.as_ref())?;
        let result = StoredResult { created, last: last.digest, state };
        self.remember(slot, keys, &result, layer.as_ref())?;
        advance(outcome, slot, keys, result, layer.clone().map(StageLayer::Here));
        Ok(Applied { cached: false, layer })
    }

    /// Returns what identifies the files that a step has left: it was done under this key, and made this layer. A step that is done once
    /// more may leave others, and what was made on the former does not fit on them. Where times do not count, equal bytes are equal files.
    fn state_of(&self, key: &Key, layer: Option<&LayerId>) -> Result<Digest, Problem> {
        let Some(layer) = layer else { return Ok(key.digest) };
        let made = match self.plan.epoch {
            None => layer.to_string(),
            Some(_) => self
                .hashed(layer)
                .map_err(|source| Problem::Layers { action: "hash a step's changes", source })?
                .diff_id
                .to_string(),
        };
        let mut state = KeyBuilder::new("made");
        state.text("key", &key.digest.to_string()).text("layer", &made);
        Ok(state.finish().digest)
    }

    /// Looks for a step under its keys; a later one also becomes known under those before it.
    pub(super) fn look_up(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        outcome: &mut Outcome,
    ) -> Result<Option<Applied>, Problem> {
        if slot.anew {
            return Ok(None);
        }
        let fail = |source| Problem::Store { action: "look into the build cache", source };
        for (index, key) in keys.iter().enumerate() {
            let Some(row) = self.builder.store.cache_get(&key.digest).map_err(fail)? else { continue };
            let Ok(result) = serde_json::from_str::<StoredResult>(&row.result) else { continue };
            if let Some(layer) = &row.layer {
                if self.builder.store.layer(layer).map_err(fail)?.is_none() {
                    continue;
                }
                lock(&self.rows).entry(layer.clone()).or_default().push(row.clone());
            }
            lock(&self.used).push(key.digest);
            if index > 0 {
                self.remember(slot, &keys[..index], &result, row.layer.as_ref())?;
            }
            advance(outcome, slot, keys, result, row.layer.clone().map(StageLayer::Here));
            return Ok(Some(Applied { cached: true, layer: row.layer }));
        }
        self.look_elsewhere(slot, keys, outcome)
    }

    /// Looks for a step in the caches of other machines. Its layer stays there for now.
    fn look_elsewhere(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        outcome: &mut Outcome,
    ) -> Result<Option<Applied>, Problem> {
        let fail = |source| Problem::Store { action: "record a step", source };
        let found = keys.iter().enumerate().find_map(|(index, key)| {
            let step = self.imports.find(&key.digest)?;
            Some((index, step))
        });
        let Some((index, step)) = found else { return Ok(None) };
        let result = StoredResult { created: step.created.clone(), last: step.last, state: step.state };
        let layer = match step.diff_id {
            None => None,
            Some(diff_id) => match self.builder.store.layer_of(diff_id).map_err(fail)? {
                Some(row) => Some(StageLayer::Here(row.id)),
                None => Some(StageLayer::Distant(self.imports.layer(diff_id))),
            },
        };
        let known = &keys[..=index];
        match &layer {
            None => self.remember(slot, known, &result, None)?,
            Some(StageLayer::Here(layer)) => self.remember(slot, known, &result, Some(layer))?,
            Some(StageLayer::Distant(layer)) => {
                self.await_layer(layer, &rows(slot, known, &result, None)).map_err(fail)?;
            }
        }
        advance(outcome, slot, keys, result, layer);
        Ok(Some(Applied { cached: true, layer: None }))
    }

    /// Returns the layer that the step made when it was done last.
    fn earlier_layer(&self, slot: &Slot<'_>) -> Result<Option<LayerId>, Problem> {
        if slot.anew {
            return Ok(None);
        }
        let found = self.builder.store.cache_last_layer(&slot.position);
        found.map_err(|source| Problem::Store { action: "look into the build cache", source })
    }

    fn explain(&self, slot: &Slot<'_>, key: &Key) -> Result<(), Problem> {
        let fail = |source| Problem::Store { action: "look into the build cache", source };
        let why = if slot.anew {
            Some(CACHE_NOT_USED.to_owned())
        } else {
            let last = self.builder.store.cache_last_inputs(&slot.position).map_err(fail)?;
            let last = last.and_then(|text| serde_json::from_str::<Vec<Input>>(&text).ok());
            last.and_then(|last| explain(&last, &key.inputs))
        };
        let why = why.as_deref().unwrap_or(NOT_BUILT_BEFORE);
        self.builder.progress.event(&Event::Missed { step: &slot.step.info, why });
        Ok(())
    }

    fn remember(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        result: &StoredResult,
        layer: Option<&LayerId>,
    ) -> Result<(), Problem> {
        for row in rows(slot, keys, result, layer) {
            self.put(&row).map_err(|source| Problem::Store { action: "record a step", source })?;
            lock(&self.used).push(row.key);
            if let Some(layer) = layer {
                lock(&self.rows).entry(layer.clone()).or_default().push(row);
            }
        }
        Ok(())
    }

    pub(super) fn put(&self, row: &CachedStep) -> Result<(), StoreError> {
        self.builder.store.cache_put(row, now_seconds())
    }

    /// Makes the working directory if it is missing; it belongs to the user that was set before.
    fn workdir(&self, workdir: &WorkdirAction, snapshot: &Snapshot) -> Result<Left<'static>, Problem> {
        let root = mount(snapshot)?;
        let path = std::path::Path::new(&workdir.path);
        let resolved = resolve_in(&root, path).map_err(Problem::io("find", path))?;
        if root
            .metadata(&resolved)
            .map_err(Problem::io("find", path))?
            .is_some_and(|found| found.is_directory())
        {
            return Ok(Left::Nothing);
        }
        let owner = match workdir.user.as_str() {
            "" => None,
            user => Some(resolve_owner(&root, user)?),
        };
        Writer::new(&root, owner, None, &self.stop).ensure_directory(path)?;
        Ok(Left::Changes)
    }
}

/// Returns what the cache here is to know of a step.
fn rows(slot: &Slot<'_>, keys: &[Key], result: &StoredResult, layer: Option<&LayerId>) -> Vec<CachedStep> {
    let row = |key: &Key| {
        // Only the last key's inputs explain a miss; those before it are shortcuts.
        let shortcut = if key.digest == result.last { "" } else { "#" };
        CachedStep {
            key: key.digest,
            position: format!("{}{shortcut}", slot.position),
            inputs: serde_json::to_string(&key.inputs).expect("texts are always JSON"),
            result: serde_json::to_string(result).expect("texts are always JSON"),
            layer: layer.cloned(),
        }
    };
    keys.iter().map(row).collect()
}

/// Adds what a step left.
fn advance(
    outcome: &mut Outcome,
    slot: &Slot<'_>,
    keys: &[Key],
    result: StoredResult,
    layer: Option<StageLayer>,
) {
    let parent = outcome.key;
    outcome.key = match slot.link {
        // Its own key does not know what it lies on; what comes after it must.
        true => {
            let mut key = KeyBuilder::new("linked");
            key.text("parent", &parent.to_string()).text("layer", &result.state.to_string());
            key.finish().digest
        }
        false => result.state,
    };
    outcome.layers.extend(layer.clone().map(|layer| Stacked { layer, linked: slot.link }));
    outcome.made.push(Made {
        history_at: slot.history_at,
        created: result.created,
        layer,
        parent,
        keys: keys.iter().map(|key| key.digest).collect(),
        last: result.last,
        state: result.state,
    });
}

/// Mounts a snapshot where nobody else sees it.
pub(super) fn mount(snapshot: &Snapshot) -> Result<Root, Problem> {
    let mounted = snapshot.overlay().mount_detached().map_err(Problem::io("mount", "the image's layers"))?;
    Ok(Root::from_fd(mounted))
}
