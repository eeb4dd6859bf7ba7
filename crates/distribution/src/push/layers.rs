//! Layers on their way to a registry: found there, mounted there, or compressed and sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use shipway_oci::{Descriptor, DiffId, Digest, Hashing, Manifest, MediaType};
use shipway_store::{Packed, StoreError};

use super::{Push, announce};
use crate::documents::Repository;
use crate::error::Cause;
use crate::gzip::{PACKER, compress};
use crate::upload::{Bytes, Upload, length};
use crate::{Event, LayerState, RegistryError};

/// So many layers at the same time.
const PARALLEL: usize = 4;

const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The layers of one image.
pub(super) struct Layers<'a> {
    deps: Push<'a>,
    repository: &'a Repository,
    scope: &'a str,
    layers: Vec<(&'a Descriptor, DiffId)>,
    /// What layers that are compressed here are called in this kind of manifest.
    gzip: &'static str,
    next: AtomicUsize,
    failed: AtomicBool,
}

/// A layer as a file.
struct Form {
    descriptor: Descriptor,
    file: File,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        deps: Push<'a>,
        repository: &'a Repository,
        scope: &'a str,
        manifest: &'a Manifest,
        diff_ids: &[DiffId],
    ) -> Result<Self, RegistryError> {
        if diff_ids.len() != manifest.layers.len() {
            let reason =
                format!("it has {} layers, and its config {}", manifest.layers.len(), diff_ids.len());
            return Err(repository.wrong("manifest here", reason));
        }
        let is_docker =
            manifest.media_type.as_ref().is_some_and(|kind| kind.as_str() == MediaType::DOCKER_MANIFEST);
        Ok(Self {
            deps,
            repository,
            scope,
            layers: manifest.layers.iter().zip(diff_ids.iter().copied()).collect(),
            gzip: if is_docker { DOCKER_GZIP } else { OCI_GZIP },
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        })
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
                        let (layer, diff_id) = self.layers[at];
                        match self.one(layer, diff_id) {
                            Ok(there) => {
                                done.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id, there);
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

    fn say(&self, diff_id: DiffId, state: LayerState<'_>) {
        self.deps.progress.event(&Event::Layer { digest: &diff_id.0, state });
    }

    fn one(&self, layer: &Descriptor, diff_id: DiffId) -> Result<Descriptor, RegistryError> {
        let known = self.known_forms(layer, diff_id)?;
        for form in &known {
            if self.is_there(form, diff_id)? {
                return Ok(form.clone());
            }
        }
        let form = self.open_form(&known, layer, diff_id)?;
        if !known.contains(&form.descriptor) && self.is_there(&form.descriptor, diff_id)? {
            return Ok(form.descriptor);
        }
        let total = form.descriptor.size;
        let upload = Upload {
            repository: self.repository,
            scope: self.scope,
            digest: form.descriptor.digest,
            size: total,
            bytes: Bytes::File(&form.file),
            sent: &|done| self.say(diff_id, LayerState::Moving { done, total }),
        };
        upload.run()?;
        self.say(diff_id, LayerState::Done);
        Ok(form.descriptor)
    }

    /// Returns the compressed forms of a layer that are known, the image's own first.
    fn known_forms(&self, layer: &Descriptor, diff_id: DiffId) -> Result<Vec<Descriptor>, RegistryError> {
        let mut forms = Vec::new();
        if !is_plain(layer) {
            forms.push(layer.clone());
        }
        for packed in self.deps.store.packed(diff_id).map_err(RegistryError::store)? {
            let kind = if packed.packer.is_empty() { packed.media_type } else { self.gzip.to_owned() };
            let form = Descriptor::new(kind, packed.digest, packed.size);
            if !forms.iter().any(|known| known.digest == form.digest) {
                forms.push(form);
            }
        }
        Ok(forms)
    }

    /// Returns whether the repository has a form of a layer, or can have it from another repository.
    fn is_there(&self, form: &Descriptor, diff_id: DiffId) -> Result<bool, RegistryError> {
        if self.repository.has_blob(&form.digest, form.size, self.scope)? {
            self.say(diff_id, LayerState::Exists);
            return Ok(true);
        }
        let prefix = format!("{}/", self.repository.registry.name());
        let holders = self.deps.store.repositories_of_blob(&form.digest).map_err(RegistryError::store)?;
        let others = holders.iter().filter_map(|holder| holder.strip_prefix(&prefix));
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

    /// Opens a form of a layer that is here, or makes one.
    fn open_form(
        &self,
        known: &[Descriptor],
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<Form, RegistryError> {
        let store = self.deps.store;
        if let Some(descriptor) = known.iter().find(|form| store.has_blob(&form.digest)) {
            let file = store.open_blob(&descriptor.digest).map_err(RegistryError::store)?;
            let size = length(&file).map_err(|error| self.io(error))?;
            if size == descriptor.size {
                return Ok(Form { descriptor: descriptor.clone(), file });
            }
        }
        let form = self.pack(layer, diff_id)?;
        let packed = Packed {
            digest: form.descriptor.digest,
            size: form.descriptor.size,
            media_type: OCI_GZIP.to_owned(),
            packer: PACKER.to_owned(),
        };
        store.record_packed(diff_id, &packed).map_err(RegistryError::store)?;
        Ok(form)
    }

    /// Compresses a layer into a file without a name.
    fn pack(&self, layer: &Descriptor, diff_id: DiffId) -> Result<Form, RegistryError> {
        let file = self.unnamed_file().map_err(|error| self.io(error))?;
        let written = file.try_clone().map_err(|error| self.io(error))?;
        let written = BufWriter::with_capacity(1 << 18, written);
        let gzip = compress(Hashing::new(written)).map_err(|error| self.io(error))?;
        let mut tar = Hashing::new(gzip);
        let store = self.deps.store;
        if is_plain(layer) && store.has_blob(&layer.digest) {
            let mut blob = store.open_blob(&layer.digest).map_err(RegistryError::store)?;
            io::copy(&mut blob, &mut tar).map_err(|error| self.io(error))?;
        } else {
            let cannot =
                |source| RegistryError::Layer { operation: "pack", digest: diff_id.0, source: Cause(source) };
            self.deps.source.export(diff_id, &mut tar).map_err(cannot)?;
        }
        let (gzip, found, _) = tar.finish();
        if DiffId(found) != diff_id {
            return Err(RegistryError::NotRepeatable { digest: diff_id.0 });
        }
        let (mut written, digest, size) = gzip.finish().map_err(|error| self.io(error))?.finish();
        written.flush().map_err(|error| self.io(error))?;
        Ok(Form { descriptor: Descriptor::new(self.gzip, digest, size), file })
    }

    fn unnamed_file(&self) -> io::Result<File> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = self.deps.store.tmp().join(format!("pack-{}-{number}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs_err::remove_file(&path)?;
        Ok(file)
    }

    fn io(&self, error: io::Error) -> RegistryError {
        RegistryError::store(StoreError::of_write(&self.deps.store.tmp(), error))
    }
}

/// Returns whether a layer is not compressed: registries get it compressed.
fn is_plain(layer: &Descriptor) -> bool {
    [MediaType::OCI_LAYER, DOCKER_TAR].contains(&layer.media_type.as_str())
}
