//! What a cache fetches from: registries as this machine's settings and environment describe them.

use std::io::Write;

use shipway_distribution::{Registries, RegistryError, blob_size, fetch_blob, fetch_manifest, look_up};
use shipway_oci::{Digest, Reference};
use shipway_registry::{Upstream, UpstreamError, UpstreamManifest};

/// The registries that a cache is of.
#[derive(Debug)]
pub(super) struct Remotes(pub(super) Registries);

fn failed(error: RegistryError) -> UpstreamError {
    let text = error.with_cause();
    match error {
        RegistryError::NotFound { .. } | RegistryError::Unauthorized { .. } => UpstreamError::NotFound(text),
        _ => UpstreamError::Failed(text),
    }
}

/// Reads a name that came in a question.
fn name(registry: &str, name: &str, rest: &str) -> Result<Reference, UpstreamError> {
    // Compat: what a mirror is asked for is complete: docker.io has no names without `library/`.
    let text = format!("{registry}/{name}{rest}");
    text.parse().map_err(|_no| UpstreamError::NotFound(format!("`{text}` is no name of an image")))
}

fn digest(text: &str) -> Result<Digest, UpstreamError> {
    text.parse().map_err(|_no| UpstreamError::NotFound(format!("`{text}` is no digest that is passed on")))
}

impl Upstream for Remotes {
    fn look_up(&self, registry: &str, repository: &str, tag: &str) -> Result<Option<String>, UpstreamError> {
        let reference = name(registry, repository, &format!(":{tag}"))?;
        let found = look_up(&self.0, &reference).map_err(failed)?;
        Ok(found.map(|digest| digest.to_string()))
    }

    fn manifest(
        &self,
        registry: &str,
        repository: &str,
        reference: &str,
    ) -> Result<UpstreamManifest, UpstreamError> {
        let mark = if reference.contains(':') { '@' } else { ':' };
        let reference = name(registry, repository, &format!("{mark}{reference}"))?;
        let found = fetch_manifest(&self.0, &reference).map_err(failed)?;
        Ok(UpstreamManifest { bytes: found.bytes, media_type: found.media_type })
    }

    fn blob_size(&self, registry: &str, repository: &str, of: &str) -> Result<u64, UpstreamError> {
        blob_size(&self.0, &name(registry, repository, "")?, &digest(of)?).map_err(failed)
    }

    fn blob(
        &self,
        registry: &str,
        repository: &str,
        (of, size): (&str, u64),
        out: &mut dyn Write,
    ) -> Result<(), UpstreamError> {
        fetch_blob(&self.0, &name(registry, repository, "")?, (digest(of)?, size), out).map_err(failed)
    }
}
