//! From an image in the store, or something else, to a registry.

mod artifact;
mod attested;
mod layers;
mod stream;

use shipway_fetch::{Method, is_loopback};
use shipway_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, MediaType, Reference};
use shipway_store::{CONFIG_LIMIT, Found, MOUNT_PROOF, Store};

use self::layers::Layers;
use crate::documents::Repository;
use crate::forms::{Packing, layer_type};
use crate::refusal::{Attempt, refusal};
use crate::registry::Ask;
use crate::upload::{Bytes, Upload};
use crate::{Event, LayerSource, LayerState, Progress, PushError, Registries, RegistryError};

pub use artifact::{Artifact, push_artifact};

/// What pushing needs.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The registries.
    pub registries: &'a Registries,
    /// Where documents and compressed layers are. The caller holds a lease of it.
    pub store: &'a Store,
    /// How it is to be done.
    pub how: Departure,
    /// Where layers come from that are not here as blobs.
    pub source: &'a dyn LayerSource,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

/// How something is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// In what form layers go out, if not as usual: compressed with gzip, or as they came.
    pub packing: Option<Packing>,
    /// Under its digest; the name need not have a tag, and none is given.
    pub by_digest: bool,
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest there.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// What kind of document it is.
    pub media_type: String,
}

/// Pushes an image under a name with a tag, in its index if all of that is here, images for other platforms too. Blobs that the registry has are not sent, nor read.
pub fn push(deps: Push<'_>, reference: &Reference, image: &Found) -> Result<Pushed, PushError> {
    let push = || Place::of(deps, reference).and_then(|place| One { place, image }.push());
    let pushed = deps.registries.telling(deps.progress, push);
    pushed.map_err(|source| PushError { reference: reference.familiar(), source })
}

/// A name in a registry that something goes to.
struct Place<'a> {
    deps: Push<'a>,
    repository: Repository,
    scope: String,
    reference: &'a Reference,
}

impl<'a> Place<'a> {
    fn of(deps: Push<'a>, reference: &'a Reference) -> Result<Self, RegistryError> {
        let registry = deps.registries.of(reference).map_err(RegistryError::Settings)?;
        let repository = Repository::new(registry, reference.repository());
        let scope = format!("repository:{}:pull,push", repository.path);
        Ok(Self { deps, repository, scope, reference })
    }

    /// Sends layers, and returns what they are there.
    fn send_layers(
        &self,
        layers: &[(Descriptor, DiffId)],
        packing: Packing,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        Layers::new(self.deps, &self.repository, &self.scope, layers, packing).send()
    }

    /// Sends a small blob unless it is there.
    fn send_bytes(&self, bytes: &[u8]) -> Result<(), RegistryError> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.repository.has_blob(&digest, size, &self.scope)? {
            return Ok(());
        }
        let upload = Upload {
            repository: &self.repository,
            scope: &self.scope,
            digest,
            size,
            bytes: Bytes::Memory(bytes),
            sent: &|_| {},
        };
        upload.run()
    }

    /// Puts a manifest or an index where the push leads to.
    fn put_named(&self, bytes: &[u8], kind: &str) -> Result<Digest, RegistryError> {
        if self.deps.how.by_digest {
            return self.put_manifest(bytes, kind, &Digest::of(bytes).to_string());
        }
        self.put_manifest(bytes, kind, self.reference.tag().unwrap_or("latest"))
    }

    /// Puts a manifest under its digest, with a proof that what it names can be taken from the store; `false` if the registry wants
    /// more than that.
    fn offer_manifest(&self, sent: &Sent) -> Result<bool, RegistryError> {
        let Repository { registry, path, .. } = &self.repository;
        let digest = sent.image.digest;
        let (store, host) = (self.deps.store, registry.host());
        let proof = store.mount_proof(&host, path, &digest);
        let url = registry.url(&format!("{path}/manifests/{digest}"));
        let ask = Ask::new(Method::Put, &url, &self.scope)
            .header("content-type", sent.image.media_type.as_str())
            .header(MOUNT_PROOF, proof.map_err(RegistryError::store)?);
        let response = registry.ask(&ask, &sent.bytes)?;
        // A registry that takes any manifest has not got its layers.
        let answer = store.mount_answer(&host, path, &digest).map_err(RegistryError::store)?;
        let is_the_store = response.header(MOUNT_PROOF).is_some_and(|said| said == answer);
        Ok(is_the_store && matches!(response.status(), 200..=202))
    }

    /// Puts a manifest or an index under a tag, or under its digest.
    fn put_manifest(&self, bytes: &[u8], kind: &str, tag: &str) -> Result<Digest, RegistryError> {
        let registry = &self.repository.registry;
        let url = registry.url(&format!("{}/manifests/{tag}", self.repository.path));
        let ask = Ask::new(Method::Put, &url, &self.scope).header("content-type", kind);
        let response = registry.ask(&ask, bytes)?;
        let digest = Digest::of(bytes);
        if !matches!(response.status(), 200..=202) {
            let what = self.reference.familiar();
            return Err(refusal(registry, Attempt { operation: "name", what: &what }, response));
        }
        let said = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        match said.filter(|said| *said != digest) {
            None => Ok(digest),
            Some(said) => {
                Err(self.repository.wrong("manifest", format!("it keeps it as {said}, not as {digest}")))
            }
        }
    }
}

/// One push of an image.
struct One<'a> {
    place: Place<'a>,
    image: &'a Found,
}

/// An image as it is there.
struct Sent {
    image: Descriptor,
    bytes: Vec<u8>,
}

impl One<'_> {
    fn push(&self) -> Result<Pushed, RegistryError> {
        let store = self.place.deps.store;
        let (pushed, there) = match self.attested(self.image)? {
            Some(index) => self.push_index(index)?,
            None => {
                self.tell_of_others()?;
                let sent = self.send(self.image)?;
                let kind = sent.image.media_type.as_str();
                let digest = self.place.put_named(&sent.bytes, kind)?;
                store.put_blob(&sent.bytes).map_err(RegistryError::store)?;
                let media_type = kind.to_owned();
                (Pushed { digest, size: sent.image.size, media_type }, sent.image)
            }
        };
        store
            .record_digest(&self.place.reference.name(), pushed.digest, self.image.image_id, there.digest)
            .map_err(RegistryError::store)?;
        Ok(pushed)
    }

    /// Sends what a manifest names, and returns the manifest as it has to be there.
    fn send(&self, image: &Found) -> Result<Sent, RegistryError> {
        let store = self.place.deps.store;
        let manifest = store.manifest(&image.manifest).map_err(RegistryError::store)?;
        let config = store.config(&image.image_id).map_err(RegistryError::store)?;
        if let Some(given) = self.give(image, &manifest, &config)? {
            return Ok(given);
        }
        let there = self.send_layers(&manifest, &config.rootfs.diff_ids)?;
        self.place.send_bytes(&self.read(&image.image_id)?)?;
        self.with_layers(image, &manifest, there)
    }

    fn read(&self, document: &Digest) -> Result<Vec<u8>, RegistryError> {
        let read = self.place.deps.store.read_blob(document, CONFIG_LIMIT);
        read.map_err(RegistryError::store)
    }

    /// Returns the image as it is where its layers have these forms.
    fn with_layers(
        &self,
        image: &Found,
        manifest: &Manifest,
        there: Vec<Descriptor>,
    ) -> Result<Sent, RegistryError> {
        let bytes = if there == manifest.layers {
            self.read(&image.manifest)?
        } else {
            let changed = Manifest { layers: there, ..manifest.clone() };
            serde_json::to_vec(&changed).expect("a manifest is always JSON")
        };
        let kind = manifest.media_type.as_ref().map_or(MediaType::OCI_MANIFEST, MediaType::as_str);
        Ok(Sent { image: Descriptor::new(kind, Digest::of(&bytes), bytes.len() as u64), bytes })
    }

    fn send_layers(
        &self,
        manifest: &Manifest,
        diff_ids: &[DiffId],
    ) -> Result<Vec<Descriptor>, RegistryError> {
        if diff_ids.len() != manifest.layers.len() {
            let reason =
                format!("it has {} layers, and its config {}", manifest.layers.len(), diff_ids.len());
            return Err(self.place.repository.wrong("manifest here", reason));
        }
        let is_docker = is_docker(manifest);
        let layers: Vec<_> = manifest.layers.iter().cloned().zip(diff_ids.iter().copied()).collect();
        let packing = self.place.deps.how.packing.unwrap_or_default();
        self.place.send_layers(&layers, Packing { is_docker, ..packing })
    }

    /// Has a registry on this machine take everything from the store, if it is the one that we use too: only the manifest is sent.
    /// Returns the image as it is there if it has.
    fn give(
        &self,
        image: &Found,
        manifest: &Manifest,
        config: &ImageConfig,
    ) -> Result<Option<Sent>, RegistryError> {
        let registry = &self.place.repository.registry;
        if self.place.deps.how.packing.is_some() || !is_loopback(registry.inner.host.endpoint.host()) {
            return Ok(None);
        }
        let base = registry.url("");
        let response = registry.ask(&Ask::new(Method::Head, &base, &self.place.scope), &[])?;
        if !response.header("server").is_some_and(|server| server.starts_with("shipway/")) {
            return Ok(None);
        }
        let mut there = Vec::new();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            there.push(self.repeatable(layer, *diff_id, is_docker(manifest))?);
        }
        let given = self.with_layers(image, manifest, there)?;
        if !self.place.offer_manifest(&given)? {
            return Ok(None);
        }
        let diff_ids: Vec<Digest> = config.rootfs.diff_ids.iter().map(|diff_id| diff_id.0).collect();
        announce(self.place.deps.progress, &diff_ids);
        for digest in &diff_ids {
            self.place.deps.progress.event(&Event::Layer { digest, state: LayerState::Exists });
        }
        Ok(Some(given))
    }

    /// Returns a form of a layer whose bytes can be had: of a layer that came from elsewhere only the archive that it came as has them.
    fn repeatable(
        &self,
        layer: &Descriptor,
        diff_id: DiffId,
        is_docker: bool,
    ) -> Result<Descriptor, RegistryError> {
        let store = self.place.deps.store;
        if store.has_blob(&layer.digest) {
            return Ok(layer.clone());
        }
        let known = store.packed(diff_id).map_err(RegistryError::store)?;
        let foreign = known.iter().find(|form| form.packer.is_empty() && store.has_blob(&form.digest));
        let Some(form) = foreign else { return Ok(layer.clone()) };
        let kind = layer_type(&form.media_type, is_docker);
        Ok(Descriptor::new(kind, form.digest, form.size))
    }
}

/// Returns whether a manifest is of Docker's own kind.
fn is_docker(manifest: &Manifest) -> bool {
    manifest.media_type.as_ref().is_some_and(|kind| kind.as_str() == MediaType::DOCKER_MANIFEST)
}

/// Says that a push begins: the layers by their diff IDs.
fn announce(progress: &dyn Progress, diff_ids: &[Digest]) {
    progress.event(&Event::Found);
    progress.event(&Event::Layers(diff_ids));
}
