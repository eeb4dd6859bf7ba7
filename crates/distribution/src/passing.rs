//! Content on its way to somebody else: for a cache that serves another registry's repositories.
//!
//! Nothing is kept here, and manifests are not read: they may be of kinds that are no images. Mirrors are asked as for a pull.

use std::io::{self, Write};

use shipway_oci::{Descriptor, Digest, Reference};

use crate::blob::BlobReader;
use crate::documents::Wanted;
use crate::sources::Sources;
use crate::{Event, Progress, Registries, RegistryError};

/// A manifest as it was sent. Its digest is that of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it was sent as; empty if nobody said.
    pub media_type: String,
}

/// Says nothing: whoever waits is elsewhere.
#[derive(Debug)]
struct Silent;

impl Progress for Silent {
    fn event(&self, event: &Event<'_>) {
        if let Event::Note(note) = event {
            tracing::info!(note, "while passing content on");
        }
    }
}

fn sources(registries: &Registries, reference: &Reference) -> Result<Sources<'static>, RegistryError> {
    Sources::new(registries, reference, &Silent)
}

/// Returns what the tag of a name stands for now; `None` if the registry does not say.
pub fn look_up(registries: &Registries, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
    let tag = reference.tag().unwrap_or("latest");
    sources(registries, reference)?.ask_for_tag(|repository| repository.fetch_digest(tag))
}

/// Fetches the manifest that a name stands for.
pub fn fetch_manifest(registries: &Registries, reference: &Reference) -> Result<RawManifest, RegistryError> {
    let sources = sources(registries, reference)?;
    let sent = match reference.digest() {
        Some(digest) => sources.ask_any(|repository| repository.fetch_bytes(Wanted::Digest(digest)))?,
        None => {
            let tag = reference.tag().unwrap_or("latest");
            sources.ask_for_tag(|repository| repository.fetch_bytes(Wanted::Tag(tag)))?
        }
    };
    Ok(RawManifest { bytes: sent.bytes, media_type: sent.media_type })
}

/// Returns how many bytes a blob of a repository has.
pub fn blob_size(
    registries: &Registries,
    repository: &Reference,
    digest: &Digest,
) -> Result<u64, RegistryError> {
    sources(registries, repository)?.ask_any(|repository| repository.fetch_size(digest))
}

/// Fetches a blob of a repository, of `size` bytes, taken up again where it breaks off. What was written is to be believed only if
/// this succeeds.
pub fn fetch_blob(
    registries: &Registries,
    repository: &Reference,
    (digest, size): (Digest, u64),
    out: &mut dyn Write,
) -> Result<(), RegistryError> {
    let sources = sources(registries, repository)?;
    let mut reader = BlobReader::new(&sources, &Descriptor::new("application/octet-stream", digest, size));
    io::copy(&mut reader, out).map(drop).map_err(|error| reader.failure(error))
}
