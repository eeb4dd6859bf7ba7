//! Caches of build steps that machines share: in registries, in directories, in images.
//!
//! A cache is a manifest, or an index, whose layers are those of the steps, and a config that says under which keys they are
//! found. Format: that of BuildKit's caches, so that what copies those copies these; see `docs/adr/0014-cache-exports.md`.

mod documents;
mod local;
mod registry;
mod stargz;

use std::fmt;
use std::sync::Arc;

use shipway_build::{CacheExport, CacheMode, CacheSource, CacheTarget, SeamError};
use shipway_distribution::{Event, LayerSource, LayerState, Packing, Progress};
use shipway_oci::DiffId;

use crate::pulls::Trees;
use crate::stargz::StargzWish;

pub(crate) use documents::Form;
pub(crate) use local::{LocalSource, LocalTarget, Which};
pub(crate) use registry::{RegistrySource, RegistryTarget};

/// The caches of one build.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepCaches {
    pub(crate) sources: Vec<Arc<dyn CacheSource>>,
    pub(crate) targets: Vec<Arc<dyn CacheTarget>>,
}

/// How a cache is written, wherever it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) mode: CacheMode,
    pub(crate) form: Form,
    pub(crate) packing: Packing,
    /// Layers are in eStargz; others are packed as that says.
    pub(crate) stargz: Option<StargzWish>,
    pub(crate) ignore_error: bool,
    /// What the directory has of former exports is removed.
    pub(crate) reset: bool,
}

/// Why a cache cannot be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(code(build::cache), help("{hint}"))]
struct CacheError {
    message: String,
    hint: String,
}

impl CacheError {
    fn seam(message: impl fmt::Display, hint: impl fmt::Display) -> SeamError {
        SeamError::new(Self { message: message.to_string(), hint: hint.to_string() })
    }
}

/// Layers on their way into a cache: those that are here, and those that come from another one just for that.
#[derive(Debug)]
struct Outgoing<'a> {
    trees: &'a Trees,
    export: &'a CacheExport<'a>,
}

impl LayerSource for Outgoing<'_> {
    fn export(
        &self,
        diff_id: DiffId,
        out: &mut dyn std::io::Write,
    ) -> Result<(), shipway_distribution::SeamError> {
        let brought = self.export.bring(diff_id);
        brought.map_err(|error| -> shipway_distribution::SeamError { Box::new(error) })?;
        self.trees.export(diff_id, out)
    }
}

/// Tells of layers in BuildKit's words.
struct Said<'a>(&'a (dyn Fn(&str) + Sync));

impl fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}

impl Progress for Said<'_> {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Layer { digest, state: LayerState::Done } => {
                (self.0)(&format!("writing layer {digest} done"));
            }
            Event::Layer { digest, state: LayerState::Exists | LayerState::Mounted { .. } } => {
                (self.0)(&format!("writing layer {digest}: it is there"));
            }
            Event::Note(note) => (self.0)(note),
            _ => {}
        }
    }
}
