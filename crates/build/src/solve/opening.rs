//! How a stage begins: FROM, and what is told before the first step that makes a layer.
//!
//! Compat: BuildKit, where a base image is `CACHED` if its files are needed and an earlier build has used it, and `DONE` if it is used for
//! the first time, or the step on it is in the cache, so that nobody looks at the image. That shows with the first step.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use shipway_oci::Digest;
use shipway_store::CachedStep;

use super::{Solver, lock};
use crate::Event;
use crate::key::KeyBuilder;
use crate::progress::{StepInfo, StepKind};
use crate::time::now_seconds;

/// The beginning of a stage.
#[derive(Debug)]
pub(super) struct Opening<'s> {
    base: &'s StepInfo,
    /// The state after it.
    key: Digest,
    is_begun: Cell<bool>,
    is_over: Cell<bool>,
    /// What begins once it is over: instructions that change the config only, and the first step that makes a layer.
    held: RefCell<Vec<StepInfo>>,
}

impl<'s> Opening<'s> {
    pub(super) fn new(base: &'s StepInfo, key: Digest) -> Self {
        Self { base, key, is_begun: Cell::default(), is_over: Cell::default(), held: RefCell::default() }
    }
}

impl Solver<'_> {
    /// Tells that FROM begins; of what is no image, that it is over too.
    pub(super) fn begin_stage(&self, opening: &Opening<'_>) {
        if opening.is_begun.replace(true) {
            return;
        }
        self.builder.progress.event(&Event::Started { step: opening.base });
        if opening.base.kind != StepKind::Base {
            self.tell_of_base(opening, false);
        }
    }

    /// Tells that a step begins on a state, now or when FROM is over.
    pub(super) fn begin_step(&self, (opening, key): (&Opening<'_>, Digest), step: &StepInfo) {
        if opening.is_over.get() {
            self.start(step, key);
        } else {
            opening.held.borrow_mut().push(step.clone());
        }
    }

    /// Tells how FROM ended, if that was not told, and what waits for it. It is needed if something is done on it.
    pub(super) fn tell_of_base(&self, opening: &Opening<'_>, is_needed: bool) {
        if opening.is_over.replace(true) {
            return;
        }
        let (step, key) = (opening.base, opening.key);
        self.builder.progress.event(&match is_needed && self.is_used(key) {
            true => Event::Cached { step, key },
            false => Event::Done { step, elapsed: Duration::ZERO, key: Some(key) },
        });
        for step in opening.held.take() {
            self.start(&step, key);
        }
    }

    fn start(&self, step: &StepInfo, key: Digest) {
        self.builder.progress.event(&Event::Started { step });
        if step.kind == StepKind::Metadata {
            let key = Some(key);
            self.builder.progress.event(&Event::Done { step, elapsed: Duration::ZERO, key });
        }
    }

    /// Returns whether an earlier build has used a base image; from now on one has.
    fn is_used(&self, base: Digest) -> bool {
        let look = || {
            let key = KeyBuilder::new("base").text("image", &base.to_string()).finish().digest;
            let texts = [String::new(), "[]".to_owned(), "{}".to_owned()];
            let [position, inputs, result] = texts;
            let found = self.builder.store.cache_get(&key).map(|rows| !rows.is_empty());
            let row = CachedStep { key, state: String::new(), position, inputs, result, layer: None };
            found.and_then(|found| match found {
                true => Ok(true),
                false => self.builder.store.cache_put(&row, now_seconds()).map(|()| false),
            })
        };
        // It is said only: a store that cannot be used is met elsewhere.
        *lock(&self.bases).entry(base).or_insert_with(|| look().unwrap_or(true))
    }
}
