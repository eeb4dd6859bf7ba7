//! Layers on their way to a registry: found there, mounted there, or compressed and sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use shipway_oci::{Descriptor, DiffId, Digest};

use super::{Push, announce};
use crate::documents::Repository;
use crate::forms::{Forms, Packing};
use crate::pipe::Buffers;
use crate::upload::{Bytes, Upload};
use crate::{Event, LayerState, RegistryError};

/// So many layers at the same time.
const PARALLEL: usize = 4;

/// The layers of one image, or of something else.
pub(super) struct Layers<'a> {
    deps: Push<'a>,
    pub(super) repository: &'a Repository,
    pub(super) scope: &'a str,
    layers: &'a [(Descriptor, DiffId)],
    pub(super) forms: Forms<'a>,
    pub(super) buffers: Buffers,
    holders: OnceLock<HashMap<Digest, Vec<String>>>,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        deps: Push<'a>,
        repository: &'a Repository,
        scope: &'a str,
        layers: &'a [(Descriptor, DiffId)],
        packing: Packing,
    ) -> Self {
        Self {
            deps,
            repository,
            scope,
            layers,
            forms: Forms { store: deps.store, source: deps.source, packing },
            buffers: Buffers::default(),
            holders: OnceLock::new(),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Sends what is missing, and returns what the layers are there.
    pub(super) fn send(&self) -> Result<Vec<Descriptor>, RegistryError> {
        let mut first: HashMap<DiffId, usize> = HashMap::new();
        for (at, (_, diff_id)) in self.layers.iter().enumerate() {
            first.entry(*diff_id).or_insert(at);
        }
        // Each layer once, in the order of the image.
        let mut once: Vec<usize> = first.values().copied().collect();
        once.sort_unstable();
        let diff_ids: Vec<Digest> = once.iter().map(|at| self.layers[*at].1.0).collect();
        announce(self.deps.progress, &diff_ids);
        let done: Mutex<HashMap<DiffId, Descriptor>> = Mutex::default();
        let failure: Mutex<Option<RegistryError>> = Mutex::default();
        thread::scope(|scope| {
            for _thread in 0..PARALLEL.min(once.len()) {
                scope.spawn(|| {
                    while let Some(at) = self.take(&once) {
                        let (layer, diff_id) = &self.layers[at];
                        match self.one(layer, *diff_id) {
                            Ok(there) => {
                                done.lock().unwrap_or_else(PoisonError::into_inner).insert(*diff_id, there);
                            }
                            Err(error) => {
                                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                                self.failed.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(self.layers.iter().filter_map(|(_, diff_id)| done.get(diff_id).cloned()).collect())
    }

    fn take(&self, once: &[usize]) -> Option<usize> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        once.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    pub(super) fn say(&self, diff_id: DiffId, state: LayerState<'_>) {
        self.deps.progress.event(&Event::Layer { digest: &diff_id.0, state });
    }

    fn one(&self, layer: &Descriptor, diff_id: DiffId) -> Result<Descriptor, RegistryError> {
        let known = self.forms.known(layer, diff_id)?;
        for form in &known {
            if self.is_there(form, diff_id)? {
                return Ok(form.clone());
            }
        }
        let Some(form) = self.forms.here(&known)? else {
            return self.pack_and_send(&known, layer, diff_id);
        };
        self.upload(diff_id, &form.descriptor, Bytes::File(&form.file), None)?;
        Ok(form.descriptor)
    }

    /// Sends a form of a layer, or what is missing of it where an upload has begun.
    pub(super) fn upload(
        &self,
        diff_id: DiffId,
        form: &Descriptor,
        bytes: Bytes<'_>,
        begun: Option<String>,
    ) -> Result<(), RegistryError> {
        let total = form.size;
        let sent = |done| self.say(diff_id, LayerState::Moving { done, total });
        self.sending(form, bytes, &sent).go_on(begun)?;
        self.say(diff_id, LayerState::Done);
        Ok(())
    }

    /// Closes an upload that has all bytes of a form.
    pub(super) fn close(&self, form: &Descriptor, location: &str) -> Result<(), RegistryError> {
        self.sending(form, Bytes::Memory(&[]), &|_| {}).close(location)
    }

    fn sending<'b>(
        &'b self,
        form: &Descriptor,
        bytes: Bytes<'b>,
        sent: &'b (dyn Fn(u64) + Sync),
    ) -> Upload<'b> {
        let Self { repository, scope, .. } = *self;
        Upload { repository, scope, digest: form.digest, size: form.size, bytes, sent }
    }

    /// Returns which repositories of the registry have which layers; they are looked for once.
    fn holders(&self) -> Result<&HashMap<Digest, Vec<String>>, RegistryError> {
        if let Some(known) = self.holders.get() {
            return Ok(known);
        }
        let found = self.deps.store.repositories_by_layer(self.repository.registry.name());
        let found = found.map_err(RegistryError::store)?;
        Ok(self.holders.get_or_init(|| found))
    }

    /// Returns whether the repository has a form of a layer, or can have it from another repository.
    pub(super) fn is_there(&self, form: &Descriptor, diff_id: DiffId) -> Result<bool, RegistryError> {
        if self.repository.has_blob(&form.digest, form.size, self.scope)? {
            self.say(diff_id, LayerState::Exists);
            return Ok(true);
        }
        let prefix = format!("{}/", self.repository.registry.name());
        let holders = self.holders()?.get(&form.digest);
        let others = holders.into_iter().flatten().filter_map(|holder| holder.strip_prefix(&prefix));
        for from in others.filter(|from| *from != self.repository.path) {
            let scope = format!("{} repository:{from}:pull", self.scope);
            // A registry that does not let us read the other one may still take the blob itself.
            if matches!(self.repository.mount(&form.digest, from, &scope), Ok(true)) {
                self.say(diff_id, LayerState::Mounted { from });
                return Ok(true);
            }
        }
        Ok(false)
    }
}
