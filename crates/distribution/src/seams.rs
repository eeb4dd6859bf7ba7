//! What the program injects: where layers go and where they come from.

use std::fmt::Debug;
use std::io::{BufRead, Write};

use miette::Diagnostic;
use shipway_oci::{Beside, DiffId};

/// An error of what the program injected.
pub type SeamError = Box<dyn Diagnostic + Send + Sync>;

/// Takes in layers while they arrive.
///
/// Promises: `import` reads until the end of the archive, and records the layer only if its bytes, decompressed, have the diff ID.
/// It may be called from several threads.
pub trait LayerSink: Debug + Send + Sync {
    /// Returns whether a layer is here.
    fn has(&self, diff_id: DiffId) -> Result<bool, SeamError>;

    /// Takes in a layer as the registry has it, compressed or not, which may be hashed `beside` what is in it. Nobody finds it before
    /// [`LayerSink::publish`].
    fn import(
        &self,
        blob: &mut (dyn BufRead + Send),
        diff_id: DiffId,
        beside: Option<&dyn Beside>,
    ) -> Result<(), SeamError>;

    /// Lets layers that were taken in be found: their archives are here now.
    fn publish(&self, diff_ids: &[DiffId]) -> Result<(), SeamError>;

    /// Makes everything that was taken in last beyond a power cut, and refuses layers that do not fit together.
    fn finish(&self, diff_ids: &[DiffId]) -> Result<(), SeamError>;
}

/// Gives layers as archives.
pub trait LayerSource: Debug + Send + Sync {
    /// Writes the tar of a layer; what is written must have the diff ID, which the caller checks.
    fn export(&self, diff_id: DiffId, out: &mut dyn Write) -> Result<(), SeamError>;
}
