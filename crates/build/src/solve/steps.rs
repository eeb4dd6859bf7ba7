//! One step: its key, the cache, and the work if it misses.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shipway_layers::{Drawing, LayerId, Pencil, Snapshot};
use shipway_linux::Root;
use shipway_oci::{DiffId, Digest};
use shipway_store::{CachedStep, StoreError};

use super::imports::{Stacked, StageLayer};
use super::opening::Opening;
use super::ways::Ways;
use super::{Made, Outcome, Solver, lock};
use crate::copy::{Filling, Writer, resolve_in, resolve_owner};
use crate::key::{Input, Key, KeyBuilder, explain};
use crate::plan::{Action, PlannedStage, Step, WorkdirAction};
use crate::records::StepRecord;
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
    /// The layer that it made, where that is not here.
    #[serde(default, rename = "diffID", skip_serializing_if = "Option::is_none")]
    diff_id: Option<DiffId>,
}

/// A result of a step that may be gone on with.
struct Found {
    result: StoredResult,
    layer: Option<StageLayer>,
    /// Place of the key that it was found under.
    at: usize,
    /// It is in the cache here as it is.
    row: Option<CachedStep>,
}

impl Solver<'_> {
    pub(super) fn layer_step<'s>(
        &self,
        stage: &PlannedStage,
        step: &'s Step,
        turn: &'s Turn<'s>,
        ways: &mut Ways,
    ) -> Result<Applied, Problem> {
        let position = format!("{}/{}", self.position(), turn.position);
        let anew = self.request.no_cache
            || self.request.no_cache_stages.iter().any(|name| name.eq_ignore_ascii_case(&stage.name));
        let link = matches!(&step.action, Action::Copy(copy, _) if copy.link);
        let slot = |at: &usize| Slot { step, position: position.clone(), history_at: *at, anew, link, turn };
        match &step.action {
            Action::Metadata => Ok(Applied { cached: true, layer: None }),
            Action::Run(run, at) => self.run_step(&slot(at), run, ways),
            Action::Copy(copy, at) => self.copy_step(&slot(at), copy, ways),
            Action::Workdir(workdir, at) => {
                if workdir.path == "/" {
                    return Ok(Applied { cached: true, layer: None });
                }
                let key = |way: &Arc<Outcome>| {
                    let mut key = self.key("workdir", way);
                    key.text("instruction", &format!("WORKDIR {}", workdir.path)).text("user", &workdir.user);
                    vec![key.finish()]
                };
                let keys: Vec<_> = ways.iter().map(key).collect();
                if let Some(applied) = self.look_up(&slot(at), &keys, ways)? {
                    return Ok(applied);
                }
                self.do_step(&slot(at), &keys[0], ways, |snapshot| self.workdir(workdir, snapshot))
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

    /// Takes a step from the cache under one of its keys on the first way, or does it.
    pub(super) fn cached_or<'a>(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        ways: &mut Ways,
        work: impl FnOnce(&Snapshot) -> Result<Left<'a>, Problem>,
    ) -> Result<Applied, Problem> {
        ways.choose();
        if let Some(applied) = self.look_up(slot, &[keys.to_vec()], ways)? {
            return Ok(applied);
        }
        self.do_step(slot, keys, ways, work)
    }

    /// Does a step on the first way; all others are given up.
    pub(super) fn do_step<'a>(
        &self,
        slot: &Slot<'_>,
        keys: &[Key],
        ways: &mut Ways,
        work: impl FnOnce(&Snapshot) -> Result<Left<'a>, Problem>,
    ) -> Result<Applied, Problem> {
        let last = keys.last().expect("a step has a key");
        let outcome = ways.choose();
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
        let result = StoredResult { created, last: last.digest, state, diff_id: None };
        self.remember(slot, rows(slot, keys, &result, layer.as_ref()))?;
        drop(outcome);
        let made = layer.clone().map(StageLayer::Here);
        ways.go_on(vec![(0, (result, made))], |way, _, (result, made)| {
            advance(way, slot, keys, result, made)
        });
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

    /// Looks for a step under its keys on each way, and goes on with those on which it is found; under a later key it also becomes known
    /// under those before.
    pub(super) fn look_up(
        &self,
        slot: &Slot<'_>,
        keys: &[Vec<Key>],
        ways: &mut Ways,
    ) -> Result<Option<Applied>, Problem> {
        if slot.anew {
            return Ok(None);
        }
        let fail = |source| Problem::Store { action: "look into the build cache", source };
        let mut found = Vec::new();
        for (at, keys) in keys.iter().enumerate() {
            for step in self.results(keys).map_err(fail)? {
                self.take(slot, keys, &step)?;
                found.push((at, step));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        ways.go_on(found, |way, at, step| advance(way, slot, &keys[at], step.result, step.layer));
        Ok(Some(Applied { cached: true, layer: None }))
    }

    /// Returns the results of a step, those in the cache here before those that caches of other machines have.
    fn results(&self, keys: &[Key]) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            for row in self.builder.store.cache_get(&key.digest)? {
                found.extend(self.result_here(row, at)?);
            }
            if !found.is_empty() {
                break;
            }
        }
        let at = keys.iter().position(|key| self.imports.find(&key.digest).next().is_some());
        for step in at.into_iter().flat_map(|at| self.imports.find(&keys[at].digest)) {
            if found.iter().all(|found| found.result.state != step.state) {
                let StepRecord { last, state, diff_id, created, .. } = step.clone();
                let layer = diff_id.map(|diff_id| self.layer_with(diff_id)).transpose()?;
                let result = StoredResult { created, last, state, diff_id };
                found.push(Found { result, layer, at: at.unwrap_or_default(), row: None });
            }
        }
        Ok(found)
    }

    /// Returns a result that the cache here has, unless its files were looked for in vain. Without its layer it still leads to the steps
    /// after it.
    fn result_here(&self, row: CachedStep, at: usize) -> Result<Option<Found>, StoreError> {
        let Ok(result) = serde_json::from_str::<StoredResult>(&row.result) else { return Ok(None) };
        let layer = match (&row.layer, result.diff_id) {
            (Some(layer), _) => Some(StageLayer::Here(layer.clone())),
            (None, Some(diff_id)) => match self.layer_with(diff_id)? {
                StageLayer::Distant(_) if self.imports.is_lost(diff_id) => return Ok(None),
                layer => Some(layer),
            },
            (None, None) => None,
        };
        // A layer that has come since is to be recorded with it.
        let is_known = row.layer.is_some() || !matches!(layer, Some(StageLayer::Here(_)));
        Ok(Some(Found { result, layer, at, row: is_known.then_some(row) }))
    }

    fn layer_with(&self, diff_id: DiffId) -> Result<StageLayer, StoreError> {
        Ok(match self.builder.store.layer_of(diff_id)? {
            Some(row) => StageLayer::Here(row.id),
            None => StageLayer::Distant(self.imports.layer(diff_id)),
        })
    }

    /// Records what the cache here does not know yet of a result.
    fn take(&self, slot: &Slot<'_>, keys: &[Key], found: &Found) -> Result<(), Problem> {
        let here = match &found.layer {
            Some(StageLayer::Here(layer)) => Some(layer),
            _ => None,
        };
        if let (Some(row), Some(layer)) = (&found.row, here) {
            lock(&self.rows).entry(layer.clone()).or_default().push(row.clone());
        }
        let (at, result) = (found.at, &found.result);
        let mut new = match found.row {
            Some(_) => rows(slot, &keys[..at], result, here),
            // The last of its keys says what it read, whichever it was found under.
            None if keys.iter().any(|key| key.digest == result.last) => {
                rows(slot, &keys[..=at], result, here)
            }
            None => {
                let mut new = rows(slot, &keys[..=at], result, here);
                let last = row(slot, (&result.last, &keys[at].inputs), result, here);
                new.push(CachedStep { position: format!("{}#", slot.position), ..last });
                new
            }
        };
        if let Some(StageLayer::Distant(layer)) = &found.layer {
            let put = new.iter().try_for_each(|row| self.put(row));
            new.extend(found.row.clone());
            let awaited = put.and_then(|()| self.await_layer(layer, &new));
            return awaited.map_err(|source| Problem::Store { action: "record a step", source });
        }
        self.remember(slot, new)
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

    fn remember(&self, slot: &Slot<'_>, rows: Vec<CachedStep>) -> Result<(), Problem> {
        for row in rows {
            let put = match slot.anew {
                // Nobody is to go on from what was there before.
                true => self.builder.store.cache_replace(&row, now_seconds()),
                false => self.put(&row),
            };
            put.map_err(|source| Problem::Store { action: "record a step", source })?;
            if let Some(layer) = row.layer.clone() {
                lock(&self.rows).entry(layer).or_default().push(row);
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
    let row = |key: &Key| row(slot, (&key.digest, &key.inputs), result, layer);
    keys.iter().map(row).collect()
}

fn row(
    slot: &Slot<'_>,
    (key, inputs): (&Digest, &[Input]),
    result: &StoredResult,
    layer: Option<&LayerId>,
) -> CachedStep {
    // Only the last key's inputs explain a miss; those before it are shortcuts.
    let shortcut = if *key == result.last { "" } else { "#" };
    CachedStep {
        key: *key,
        state: result.state.to_string(),
        position: format!("{}{shortcut}", slot.position),
        inputs: serde_json::to_string(inputs).expect("texts are always JSON"),
        result: serde_json::to_string(result).expect("texts are always JSON"),
        layer: layer.cloned(),
    }
}

/// Returns a way with what a step left on it.
fn advance(
    way: Outcome,
    slot: &Slot<'_>,
    keys: &[Key],
    result: StoredResult,
    layer: Option<StageLayer>,
) -> Outcome {
    let (parent, mut next) = (way.key, way);
    next.key = match slot.link {
        // Its own key does not know what it lies on; what comes after it must.
        true => {
            let mut key = KeyBuilder::new("linked");
            key.text("parent", &parent.to_string()).text("layer", &result.state.to_string());
            key.finish().digest
        }
        false => result.state,
    };
    next.layers.extend(layer.clone().map(|layer| Stacked { layer, linked: slot.link }));
    next.made.push(Made {
        history_at: slot.history_at,
        created: result.created,
        layer,
        parent,
        keys: keys.iter().map(|key| key.digest).collect(),
        last: result.last,
        state: result.state,
    });
    next
}

/// Mounts a snapshot where nobody else sees it.
pub(super) fn mount(snapshot: &Snapshot) -> Result<Root, Problem> {
    let mounted = snapshot.overlay().mount_detached().map_err(Problem::io("mount", "the image's layers"))?;
    Ok(Root::from_fd(mounted))
}
