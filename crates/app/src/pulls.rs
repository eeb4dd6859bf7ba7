//! Images from registries, wired to the store, to layers and to whoever waits.

use std::collections::HashMap;
use std::error::Error as _;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use miette::Diagnostic;
use shipway_distribution::{
    Choice, CredentialStore, Event, Keyring, LayerSink, LayerSource, Progress, Pull, PullError, Pulled,
    Registries, RegistryError, SeamError, Settings, SettingsError, credentials_in,
};
use shipway_kubelet::ImagePuller;
use shipway_layers::{Layer, LayerError, LayerStore as _, Unpacked};
use shipway_oci::{Beside, DiffId, ParseReferenceError, Platform, Reference};
use shipway_registry::Archives;
use shipway_store::{Found, Store, StoreError};

use crate::bases::is_for;
use crate::cli::PullPolicy;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;
use crate::tasks;
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;

/// Why an image is not here.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum PullFailure {
    /// The registry, or what it sent.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pull(PullError),
    /// The settings of registries.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Settings(SettingsError),
    /// The settings of proxies.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Proxy(shipway_fetch::InvalidProxyError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(StoreError),
}

impl PullFailure {
    /// Returns whether another name may have been meant: there is no such image, or nobody who has it.
    fn may_be_mistyped(&self) -> bool {
        use RegistryError::{NotFound, Unauthorized, Unreachable};
        let Self::Pull(PullError { source, .. }) = self else { return false };
        matches!(source, NotFound { .. } | Unauthorized { .. } | Unreachable { .. })
    }
}

/// Returns the registries as this machine's settings and environment describe them.
pub(crate) fn registries() -> Result<Registries, PullFailure> {
    registries_with(|fetch| fetch)
}

/// Returns the same, asked in another way.
pub(crate) fn registries_with(
    change: impl FnOnce(shipway_fetch::Config) -> shipway_fetch::Config,
) -> Result<Registries, PullFailure> {
    let settings = Settings::from_environment().map_err(PullFailure::Settings)?;
    let fetch = change(tasks::fetching().map_err(PullFailure::Proxy)?);
    let credentials = CredentialStore::from_environment().with_keyring(Arc::new(Kernel));
    Ok(Registries::new(settings, credentials.with_spawn(shipway_linux::spawn_bound), fetch))
}

/// The kernel's keyring of this user.
#[derive(Debug)]
struct Kernel;

impl Keyring for Kernel {
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        shipway_linux::kept_secret(name)
    }

    fn put(&self, name: &str, secret: &[u8]) -> io::Result<()> {
        shipway_linux::keep_secret(name, secret)
    }

    fn erase(&self, name: &str) -> io::Result<bool> {
        shipway_linux::forget_secret(name)
    }
}

/// Pulls an image and gives it the name that it was pulled by.
pub(crate) fn pull(
    engine: &Engine,
    reference: &Reference,
    choice: Choice<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    pull_from(&registries()?, engine, reference, choice, progress)
}

/// Pulls an image to build on. One for another platform than this machine's has its digest for a name, and the tag stays where it is.
pub(crate) fn pull_base(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    let host = Platform::host();
    let runs_here = |pulled: &Pulled| {
        is_for(&host, &platform.os, &platform.architecture)
            && engine
                .store
                .config(&pulled.image_id)
                .is_ok_and(|config| is_for(&host, &config.os, &config.architecture))
    };
    let name = |pulled: &Pulled| match runs_here(pulled) {
        true => name_of(reference),
        false => reference.with_digest(pulled.manifest),
    };
    pull_as(&registries()?, engine, (reference, &name), Choice::Rather(platform), progress)
}

/// Compat: docker, a digest in the name wins over a tag.
fn name_of(reference: &Reference) -> Reference {
    reference.digest().map_or_else(|| reference.clone(), |digest| reference.with_digest(digest))
}

/// Pulls what is missing of an image that has its names already.
pub(crate) fn fetch(
    engine: &Engine,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    let _lease = engine.store.lease().map_err(PullFailure::Store)?;
    bring(&registries()?, engine, reference, Choice::Host, progress)
}

/// Brings an image here; the caller holds a lease until it has a name.
fn bring(
    registries: &Registries,
    engine: &Engine,
    reference: &Reference,
    choice: Choice<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    let sink = Trees::of(engine);
    let deps = Pull { registries, store: &engine.store, sink: &sink, progress };
    shipway_distribution::pull(deps, reference, choice).map_err(PullFailure::Pull)
}

fn pull_from(
    registries: &Registries,
    engine: &Engine,
    reference: &Reference,
    choice: Choice<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    if reference.reads_as_id() {
        return Err(PullFailure::Store(StoreError::NameLikeId(reference.familiar())));
    }
    let name = name_of(reference);
    pull_as(registries, engine, (reference, &|_| name.clone()), choice, progress)
}

/// Pulls an image and gives it the name that `name` says.
fn pull_as(
    registries: &Registries,
    engine: &Engine,
    (reference, name): (&Reference, &dyn Fn(&Pulled) -> Reference),
    choice: Choice<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, PullFailure> {
    // What arrives must not be collected before it has a name.
    let _lease = engine.store.lease().map_err(PullFailure::Store)?;
    let pulled = bring(registries, engine, reference, choice, progress)?;
    let named = engine.store.tag_found(&name(&pulled), &found(&pulled, None), clock::now());
    named.map_err(PullFailure::Store)?;
    Ok(pulled)
}

/// Finds the image that somebody named, and pulls it where `policy` says so. Compat: docker's words.
pub(crate) fn find(engine: &Engine, name: &str, policy: PullPolicy, ui: &mut Ui) -> Result<Found, Failure> {
    if policy != PullPolicy::Always {
        match engine.store.resolve(name) {
            Err(StoreError::NoImage(_)) if policy == PullPolicy::Missing && !is_id(name) => {}
            other => return Ok(other?),
        }
    }
    let reference: Reference = name.parse()?;
    if policy == PullPolicy::Missing {
        ui.note(format!("Unable to find image '{}' locally", reference.familiar()));
    }
    let progress = Transfers::on_stderr(Direction::Pull, Some(heading(&reference)));
    let pulled = pull(engine, &reference, Choice::Host, &progress).map_err(|failure| {
        let near = failure.may_be_mistyped().then(|| local_names::near(engine, name)).flatten();
        let failure = Failure::from(failure);
        match (near, failure.hint().map(str::to_owned)) {
            (Some(near), Some(hint)) => failure.with_hint(format!("{near} {hint}")),
            (Some(near), None) => failure.with_hint(near),
            (None, _) => failure,
        }
    })?;
    ui.note(format!("Digest: {}", pulled.digest));
    ui.note(format!("Status: Downloaded newer image for {}", reference.familiar()));
    Ok(found(&pulled, Some(reference)))
}

/// Returns whether an image of this machine is meant, and none of a registry.
fn is_id(name: &str) -> bool {
    name.parse().is_ok_and(|reference: Reference| reference.reads_as_id())
}

fn found(pulled: &Pulled, name: Option<Reference>) -> Found {
    Found { name, index: pulled.index, ..Found::new(pulled.image_id, pulled.manifest) }
}

/// `v1: Pulling from library/x`
pub(crate) fn heading(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(_), _) => format!("{reference}: Pulling from {}", reference.repository()),
        (None, tag) => format!("{}: Pulling from {}", tag.unwrap_or("latest"), reference.repository()),
    }
}

/// Pulls images for the cluster's pods.
#[derive(Debug)]
pub(crate) struct PodImages(pub(crate) Engine);

impl ImagePuller for PodImages {
    fn pull(&self, name: &str, secrets: &[Vec<u8>]) -> Result<(), String> {
        let reference: Reference = name.parse().map_err(|error: ParseReferenceError| error.to_string())?;
        let pulled = registries().and_then(|registries| {
            let known = secrets.iter().find_map(|secret| credentials_in(secret, reference.registry()));
            if let Some(credentials) = known {
                registries.know(reference.registry(), credentials).map_err(PullFailure::Settings)?;
            }
            pull_from(&registries, &self.0, &reference, Choice::Host, &Silent)
        });
        pulled.map(drop).map_err(|failure| {
            let mut text = failure.to_string();
            let mut cause = failure.source();
            while let Some(found) = cause {
                text = format!("{text}: {found}");
                cause = found.source();
            }
            text
        })
    }
}

/// Says nothing.
#[derive(Debug)]
pub(crate) struct Silent;

impl Progress for Silent {
    fn event(&self, _event: &Event<'_>) {}
}

/// Layers become trees while they arrive, and archives of trees when they leave.
#[derive(Debug)]
pub(crate) struct Trees {
    store: Store,
    layers: Unpacked,
    /// Those that were taken in, and are to be found only when their archives are.
    unseen: Mutex<HashMap<DiffId, Layer>>,
}

impl Trees {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { store: engine.store.clone(), layers: engine.layers.clone(), unseen: Mutex::default() }
    }
}

impl Trees {
    /// Takes the tar of a layer, which nobody finds before it is published.
    pub(crate) fn take(
        &self,
        tar: &mut dyn Read,
        diff_id: DiffId,
        beside: Option<&dyn Beside>,
    ) -> Result<(), LayerError> {
        let layer = self.layers.import_unseen(tar, Some(diff_id), beside)?;
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id, layer);
        Ok(())
    }
}

impl LayerSink for Trees {
    fn has(&self, diff_id: DiffId) -> Result<bool, SeamError> {
        Ok(self.store.layer_of(diff_id).map_err(seam)?.is_some())
    }

    fn import(
        &self,
        blob: &mut (dyn BufRead + Send),
        diff_id: DiffId,
        beside: Option<&dyn Beside>,
    ) -> Result<(), SeamError> {
        let taken = shipway_layers::decompress_ahead(blob, |tar| self.take(tar, diff_id, beside));
        taken.flatten().map_err(seam)
    }

    fn publish(&self, diff_ids: &[DiffId]) -> Result<(), SeamError> {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        let layers: Vec<Layer> = diff_ids.iter().filter_map(|diff_id| unseen.remove(diff_id)).collect();
        self.layers.publish(&layers.iter().collect::<Vec<_>>()).map(drop).map_err(seam)
    }

    fn finish(&self, diff_ids: &[DiffId]) -> Result<(), SeamError> {
        // What only a chain shows to be wrong is refused before the image has a name.
        self.layers.resolve(diff_ids).map_err(seam)?;
        self.layers.sync().map_err(seam)
    }
}

impl Trees {
    /// Opens the archive that a layer of another tool's making came as: its files would give another one.
    fn archive(&self, diff_id: DiffId) -> Result<Option<(PathBuf, File)>, StoreError> {
        let packed = self.store.packed(diff_id)?;
        Ok(packed.iter().filter(|form| form.packer.is_empty()).find_map(|form| {
            let archive = self.store.open_blob(&form.digest).ok()?;
            // One that was cut off is none.
            let is_whole = archive.metadata().is_ok_and(|found| found.len() == form.size);
            is_whole.then(|| (self.store.blob_path(&form.digest), archive))
        }))
    }
}

impl LayerSource for Trees {
    fn export(&self, diff_id: DiffId, out: &mut dyn Write) -> Result<(), SeamError> {
        if let Some((path, archive)) = self.archive(diff_id).map_err(seam)? {
            let mut plain = shipway_layers::decompress(Box::new(archive)).map_err(seam)?;
            let copied = io::copy(&mut plain, out);
            return copied
                .map(drop)
                .map_err(|source| seam(LayerError::Io { operation: "copy", path, source }));
        }
        let row = self.store.layer_of(diff_id).map_err(seam)?;
        let row = row.ok_or_else(|| seam(LayerError::NoLayer(diff_id.to_string())))?;
        self.layers.export(&row.id, out).map_err(seam)
    }
}

impl Archives for Trees {
    fn write(&self, diff_id: DiffId, out: &mut dyn Write) -> std::io::Result<()> {
        self.export(diff_id, out).map_err(|error| std::io::Error::other(error.to_string()))
    }
}

fn seam(error: impl Diagnostic + Send + Sync + 'static) -> SeamError {
    Box::new(error)
}
