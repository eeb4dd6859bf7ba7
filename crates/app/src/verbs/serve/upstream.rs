//! What a cache fetches from: registries as this machine's settings and environment describe them.

use std::io::Write;

use shipway_distribution::{
    Listed, Registries, RegistryError, blob_size, fetch_blob, fetch_manifest, list_page, look_up,
};
use shipway_fetch::{Config, Retry};
use shipway_oci::{Digest, Reference};
use shipway_registry::{Upstream, UpstreamError, UpstreamList, UpstreamManifest, UpstreamPage};

use crate::pulls::{PullFailure, registries, registries_with};

/// The registries that a cache is of.
#[derive(Debug)]
pub(super) struct Remotes {
    /// What is asked while somebody waits for the answer.
    brisk: Registries,
    /// What takes long: blobs.
    patient: Registries,
}

impl Remotes {
    pub(super) fn new() -> Result<Self, PullFailure> {
        let second = std::time::Duration::from_secs;
        let brisk = registries_with(|fetch| Config {
            connect_timeout: second(5),
            read_timeout: second(15),
            retry: Retry { attempts: 2, longest_pause: second(1), ..fetch.retry },
            ..fetch
        })?;
        Ok(Self { brisk, patient: registries()? })
    }
}

fn failed(error: RegistryError) -> UpstreamError {
    let text = error.with_cause();
    match error {
        RegistryError::NotFound { .. } | RegistryError::Unauthorized { .. } => UpstreamError::NotFound(text),
        RegistryError::Unreachable { .. } => UpstreamError::Silent(text),
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
        let found = look_up(&self.brisk, &reference).map_err(failed)?;
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
        let found = fetch_manifest(&self.brisk, &reference).map_err(failed)?;
        Ok(UpstreamManifest { bytes: found.bytes, media_type: found.media_type })
    }

    fn list(
        &self,
        registry: &str,
        repository: &str,
        list: UpstreamList<'_>,
        query: &str,
    ) -> Result<UpstreamPage, UpstreamError> {
        let listed = match list {
            UpstreamList::Tags => Listed::Tags,
            UpstreamList::Referrers(digest) => Listed::Referrers(digest),
        };
        let page = list_page(&self.brisk, &name(registry, repository, "")?, listed, query).map_err(failed)?;
        Ok(UpstreamPage { bytes: page.bytes, next: page.next })
    }

    fn blob_size(&self, registry: &str, repository: &str, of: &str) -> Result<u64, UpstreamError> {
        blob_size(&self.brisk, &name(registry, repository, "")?, &digest(of)?).map_err(failed)
    }

    fn blob(
        &self,
        registry: &str,
        repository: &str,
        (of, size): (&str, u64),
        out: &mut dyn Write,
    ) -> Result<(), UpstreamError> {
        fetch_blob(&self.patient, &name(registry, repository, "")?, (digest(of)?, size), out).map_err(failed)
    }
}
