//! A machine that pulls and pushes: a store, and layers that are only remembered.

use std::collections::HashMap;
use std::io::{BufRead, Read as _, Write};
use std::sync::Mutex;
use std::time::Duration;

use shipway_distribution::{
    Choice, CredentialStore, Credentials, Departure, Event, LayerSink, LayerSource, Progress, Pull,
    PullError, Pulled, Push, PushError, Pushed, Registries, RegistryError, SeamError, Secret, Settings,
};
use shipway_fetch::{Config, Retry};
use shipway_oci::{Beside, DiffId, Digest, Platform};
use shipway_store::{Found, Store};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{0}")]
struct Refused(String);

pub(crate) struct Machine {
    dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) trees: Trees,
    pub(crate) settings: Settings,
    pub(crate) notes: Notes,
    /// The longest pause before something is asked again.
    pub(crate) patience: Duration,
    /// How long the other side may be silent.
    pub(crate) silence: Duration,
}

/// Layers by their diff IDs.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<HashMap<DiffId, Vec<u8>>>);

/// Remembers what a person would be told.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn event(&self, event: &Event<'_>) {
        if let Event::Note(note) = event {
            self.0.lock().unwrap().push((*note).to_owned());
        }
    }
}

impl Notes {
    /// Returns what was told since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Trees {
    pub(crate) fn has_layer(&self, diff_id: DiffId) -> bool {
        self.0.lock().unwrap().contains_key(&diff_id)
    }

    /// Makes the files of a layer others than those that were taken in.
    pub(crate) fn corrupt(&self, tar: &[u8], other: &[u8]) {
        self.0.lock().unwrap().insert(DiffId(Digest::of(tar)), other.to_vec());
    }

    pub(crate) fn add(&self, tar: &[u8]) -> DiffId {
        let diff_id = DiffId(Digest::of(tar));
        self.0.lock().unwrap().insert(diff_id, tar.to_vec());
        diff_id
    }
}

impl LayerSink for Trees {
    fn has(&self, diff_id: DiffId) -> Result<bool, SeamError> {
        Ok(self.has_layer(diff_id))
    }

    fn import(
        &self,
        blob: &mut (dyn BufRead + Send),
        diff_id: DiffId,
        _beside: Option<&dyn Beside>,
    ) -> Result<(), SeamError> {
        let mut tar = Vec::new();
        let is_gzip = blob.fill_buf().is_ok_and(|start| start.starts_with(&[0x1f, 0x8b]));
        let read = match is_gzip {
            true => flate2::read::GzDecoder::new(blob).read_to_end(&mut tar),
            false => zstd::Decoder::new(blob).and_then(|mut plain| plain.read_to_end(&mut tar)),
        };
        read.map_err(|error| Box::new(Refused(error.to_string())) as SeamError)?;
        if DiffId(Digest::of(&tar)) != diff_id {
            return Err(Box::new(Refused("another diff ID".to_owned())));
        }
        self.add(&tar);
        Ok(())
    }

    fn publish(&self, _diff_ids: &[DiffId]) -> Result<(), SeamError> {
        Ok(())
    }

    fn finish(&self, _diff_ids: &[DiffId]) -> Result<(), SeamError> {
        Ok(())
    }
}

impl LayerSource for Trees {
    fn export(&self, diff_id: DiffId, out: &mut dyn Write) -> Result<(), SeamError> {
        let trees = self.0.lock().unwrap();
        let tar =
            trees.get(&diff_id).ok_or_else(|| Box::new(Refused("no such layer".to_owned())) as SeamError)?;
        out.write_all(tar).map_err(|error| Box::new(Refused(error.to_string())) as SeamError)
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        Self {
            dir,
            store,
            trees: Trees::default(),
            settings: Settings::default(),
            notes: Notes::default(),
            patience: Duration::from_millis(5),
            silence: Duration::from_secs(5),
        }
    }

    pub(crate) fn credentials(&self) -> CredentialStore {
        CredentialStore::at(self.dir.path().join("config.json"))
    }

    pub(crate) fn log_in(&self, registry: &str, user: &str, password: &str) {
        let credentials = Credentials::Password { user: user.to_owned(), password: Secret::new(password) };
        self.credentials().put(registry, &credentials).unwrap();
    }

    pub(crate) fn registries(&self) -> Registries {
        let retry =
            Retry { attempts: 3, first_pause: Duration::from_millis(1), longest_pause: self.patience };
        let fetch = Config { retry, read_timeout: self.silence, ..Config::default() };
        Registries::new(self.settings.clone(), self.credentials(), fetch)
    }

    pub(crate) fn pull(&self, name: &str) -> Result<Pulled, PullError> {
        self.pull_for(name, Some("linux/amd64"))
    }

    pub(crate) fn pull_for(&self, name: &str, platform: Option<&str>) -> Result<Pulled, PullError> {
        let platform: Option<Platform> = platform.map(|text| text.parse().unwrap());
        self.pull_choice(name, platform.as_ref().map_or(Choice::Host, Choice::Only))
    }

    pub(crate) fn pull_choice(&self, name: &str, choice: Choice<'_>) -> Result<Pulled, PullError> {
        let registries = self.registries();
        let deps =
            Pull { registries: &registries, store: &self.store, sink: &self.trees, progress: &self.notes };
        let pulled = shipway_distribution::pull(deps, &name.parse().unwrap(), choice)?;
        self.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 1).unwrap();
        Ok(pulled)
    }

    /// Pulls what cannot be pulled, and returns why.
    pub(crate) fn refused(&self, name: &str) -> RegistryError {
        self.pull(name).unwrap_err().source
    }

    pub(crate) fn push(&self, name: &str) -> Result<Pushed, PushError> {
        self.push_as(name, Departure::default())
    }

    pub(crate) fn push_as(&self, name: &str, how: Departure) -> Result<Pushed, PushError> {
        let registries = self.registries();
        let found: Found = self.store.resolve(name).unwrap();
        let deps = Push {
            registries: &registries,
            store: &self.store,
            how,
            source: &self.trees,
            progress: &self.notes,
        };
        shipway_distribution::push(deps, &name.parse().unwrap(), &found)
    }
}
