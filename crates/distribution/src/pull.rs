//! From a name to an image in the store.

mod attestations;
mod choice;
mod layers;

use shipway_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, MediaType, Platform, Reference};
use shipway_store::{CONFIG_LIMIT, Store};

use self::layers::Layers;
use crate::documents::{Wanted, fetch_config};
use crate::sources::Sources;
use crate::{Event, LayerSink, Progress, PullError, Registries, RegistryError};

/// What pulling needs.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// The registries.
    pub registries: &'a Registries,
    /// Where documents and compressed layers go. The caller holds a lease of it.
    pub store: &'a Store,
    /// Where trees go.
    pub sink: &'a dyn LayerSink,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

/// An image that is here now. It has no name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of its config.
    pub image_id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// What the name stands for in the registry: the manifest, or the index that lists it.
    pub digest: Digest,
    /// That index, if it lists only this image and what is attested of it, and all of that is here.
    pub index: Option<Digest>,
}

/// Which image of a name is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub enum Choice<'a> {
    /// The one for this machine; one without an index is taken as it is.
    #[default]
    Host,
    /// The one for a platform, and no other.
    Only(&'a Platform),
    /// The one for a platform; one without an index is taken as it is. Compat: BuildKit, of base images.
    Rather(&'a Platform),
}

impl<'a> Choice<'a> {
    fn platform(self) -> Option<&'a Platform> {
        match self {
            Self::Host => None,
            Self::Only(platform) | Self::Rather(platform) => Some(platform),
        }
    }
}

/// Pulls an image for a platform, or for this machine's.
///
/// Everything is on the disk when it returns. A pull that fails leaves no image; layers that were complete are kept.
pub fn pull(deps: Pull<'_>, reference: &Reference, choice: Choice<'_>) -> Result<Pulled, PullError> {
    let pulled = deps.registries.telling(deps.progress, || {
        let sources = Sources::new(deps.registries, reference, deps.progress);
        sources.and_then(|sources| One { deps, sources, reference, choice }.pull())
    });
    pulled.map_err(|source| PullError { reference: reference.familiar(), source })
}

/// Brings some layers of a repository here that belong to no image; they are on the disk only after [`LayerSink::finish`].
pub fn pull_layers(
    deps: Pull<'_>,
    repository: &Reference,
    layers: &[(Descriptor, DiffId)],
) -> Result<(), PullError> {
    let fetch = |sources: Sources<'_>| Layers::new(deps, &sources, layers)?.fetch();
    let sources = || Sources::new(deps.registries, repository, deps.progress);
    let fetched = deps.registries.telling(deps.progress, || sources().and_then(fetch));
    fetched.map_err(|source| PullError { reference: repository.familiar(), source })
}

/// One pull.
struct One<'a> {
    deps: Pull<'a>,
    sources: Sources<'a>,
    reference: &'a Reference,
    choice: Choice<'a>,
}

impl One<'_> {
    fn pull(&self) -> Result<Pulled, RegistryError> {
        let wanted = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => Wanted::Digest(digest),
            (None, tag) => Wanted::Tag(tag.unwrap_or("latest")),
        };
        let named = self.sources.fetch_document(wanted)?;
        let digest = named.digest;
        self.deps.progress.event(&Event::Found);
        if let Some(quota) = named.quota {
            let registry = self.reference.registry();
            self.deps.progress.event(&Event::Note(&format!("{registry}: {quota}")));
        }
        let (document, manifest, index) = self.choose(named)?;
        let config = self.config(&manifest)?;
        self.check_platform(&config)?;
        self.layers(&manifest, &config)?;
        self.put(&document.bytes)?;
        let index = index.and_then(|index| self.attestations(index, &document.digest));
        let image_id = manifest.config.digest;
        let repository = self.reference.name();
        self.deps
            .store
            .record_digest(&repository, digest, image_id, document.digest)
            .map_err(RegistryError::store)?;
        Ok(Pulled { image_id, manifest: document.digest, digest, index })
    }

    fn config(&self, manifest: &Manifest) -> Result<ImageConfig, RegistryError> {
        let kind = manifest.config.media_type.as_str();
        if ![MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(&kind) {
            let what = self.reference.familiar();
            return Err(RegistryError::NoImage { what, kind: kind.to_owned() });
        }
        let store = self.deps.store;
        if store.has_blob(&manifest.config.digest)
            && manifest.config.size <= CONFIG_LIMIT
            && let Ok(config) = store.config(&manifest.config.digest)
        {
            return Ok(config);
        }
        let (bytes, config) = fetch_config(&self.sources, &manifest.config)?;
        self.put(&bytes)?;
        Ok(config)
    }

    /// An image without an index is taken as it is, unless somebody asked for a platform.
    fn check_platform(&self, config: &ImageConfig) -> Result<(), RegistryError> {
        let host = Platform::host();
        let wanted = self.choice.platform().unwrap_or(&host);
        let is = (config.os.as_str(), config.architecture.as_str());
        if is == (wanted.os.as_str(), wanted.architecture.as_str()) {
            return Ok(());
        }
        let found = format!("{}/{}", config.os, config.architecture);
        if matches!(self.choice, Choice::Only(_)) {
            return Err(RegistryError::Platform {
                what: self.reference.familiar(),
                wanted: wanted.clone(),
                available: vec![found],
            });
        }
        let wish = match self.choice.platform() {
            None => format!("this machine is {host}"),
            Some(wanted) => format!("{wanted} is wanted"),
        };
        self.deps.progress.event(&Event::Note(&format!("the image is for {found}, and {wish}")));
        Ok(())
    }

    fn layers(&self, manifest: &Manifest, config: &ImageConfig) -> Result<(), RegistryError> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let reason =
                format!("it lists {} layers, and the config {}", manifest.layers.len(), diff_ids.len());
            return Err(self.sources.origin().wrong("manifest", reason));
        }
        let layers: Vec<(Descriptor, DiffId)> =
            manifest.layers.iter().cloned().zip(diff_ids.iter().copied()).collect();
        Layers::new(self.deps, &self.sources, &layers)?.fetch()?;
        let failed = |source| RegistryError::Layer {
            operation: "keep",
            digest: manifest.layers.last().map_or(manifest.config.digest, |layer| layer.digest),
            source: crate::error::Cause(source),
        };
        self.deps.sink.finish(diff_ids).map_err(failed)
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, RegistryError> {
        self.deps.store.put_blob(bytes).map_err(RegistryError::store)
    }
}
