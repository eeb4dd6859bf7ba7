//! What is no image, but layers and a document about them.

use shipway_oci::{Descriptor, DiffId, Reference};

use super::{Place, Push, Pushed};
use crate::forms::Packing;
use crate::{PushError, RegistryError};

/// The documents of something that is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What is said of the layers; a blob.
    pub config: Vec<u8>,
    /// Lists the layers and the config.
    pub manifest: Vec<u8>,
    /// Media type of that.
    pub media_type: String,
}

/// Pushes layers, and the documents that `describe` makes when it is known what the layers are there, in their order. A layer comes as
/// a form that is known of it, or its tar, which is sent as `packing` says; each of them once.
pub fn push_artifact(
    deps: Push<'_>,
    reference: &Reference,
    layers: &[(Descriptor, DiffId)],
    packing: Packing,
    describe: &dyn Fn(&[Descriptor]) -> Artifact,
) -> Result<Pushed, PushError> {
    let push = || -> Result<Pushed, RegistryError> {
        let place = Place::of(deps, reference)?;
        let artifact = describe(&place.send_layers(layers, packing)?);
        place.send_bytes(&artifact.config)?;
        let digest = place.put_named(&artifact.manifest, &artifact.media_type)?;
        Ok(Pushed { digest, size: artifact.manifest.len() as u64, media_type: artifact.media_type })
    };
    push().map_err(|source| PushError { reference: reference.familiar(), source })
}
