//! What the program injects so that builds on several machines share their steps.

use std::collections::HashMap;
use std::fmt;

use shipway_layers::LayerId;
use shipway_oci::{Descriptor, DiffId};

use crate::SeamError;
use crate::records::{Records, StepRecord};

/// A cache that steps are looked for in.
///
/// Promises: `load` reads documents and never a layer; `fetch` returns a layer only if blob and diff ID are what they should be. Both
/// may be called from several threads.
pub trait CacheSource: fmt::Debug + Send + Sync {
    /// Returns where it is, for people: `registry.example/web:cache`.
    fn name(&self) -> String;

    /// Reads what it knows of steps.
    fn load(&self) -> Result<CacheContent, SeamError>;

    /// Brings a layer to the store of layers.
    fn fetch(&self, blob: &Descriptor, diff_id: DiffId) -> Result<LayerId, SeamError>;
}

/// What a cache has.
#[derive(Debug, Default)]
pub struct CacheContent {
    /// Its steps.
    pub steps: Vec<StepRecord>,
    /// Its layers, as their diff IDs are said to be.
    pub layers: HashMap<DiffId, Descriptor>,
}

/// A cache that steps are put into.
pub trait CacheTarget: fmt::Debug + Send + Sync {
    /// Returns where it is, for people.
    fn name(&self) -> String;

    /// Returns what is told while it is written: `exporting cache to registry`.
    fn title(&self) -> String;

    /// Returns of which steps it gets the layers. It gets the keys of all.
    fn mode(&self) -> CacheMode;

    /// Returns whether a build succeeds that cannot write it.
    fn ignores_errors(&self) -> bool;

    /// Writes a cache; what was there under its name goes. `say` takes lines for whoever waits, from several threads.
    fn put(&self, export: &CacheExport<'_>, say: &(dyn Fn(&str) + Sync)) -> Result<(), SeamError>;
}

/// Of which steps the layers go into a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those of the image.
    #[default]
    Min,
    /// All that the build has looked at.
    Max,
}

/// What goes into a cache.
pub struct CacheExport<'a> {
    /// Each layer once, and the form in which it is known: its tar, or the blob that another cache has.
    pub layers: Vec<(Descriptor, DiffId)>,
    pub(crate) records: &'a Records,
    pub(crate) bring: &'a (dyn Fn(DiffId) -> Result<(), SeamError> + Sync),
}

impl CacheExport<'_> {
    /// Brings a layer to the store of layers that is only in another cache yet.
    pub fn bring(&self, diff_id: DiffId) -> Result<(), SeamError> {
        (self.bring)(diff_id)
    }

    /// Returns the document that says what the layers are, now that these are `blobs`, in the order of [`CacheExport::layers`].
    pub fn document(&self, blobs: &[Descriptor]) -> Vec<u8> {
        let known = self.layers.iter().zip(blobs).map(|((_, diff_id), blob)| (*diff_id, blob.digest));
        self.records.document(&known.collect())
    }
}

impl fmt::Debug for CacheExport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheExport").field("layers", &self.layers).finish_non_exhaustive()
    }
}
