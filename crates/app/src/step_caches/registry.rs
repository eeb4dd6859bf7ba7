//! Caches in registries, and images there that have one in them.

use std::fmt;

use shipway_build::{CacheContent, CacheExport, CacheMode, CacheSource, CacheTarget, SeamError};
use shipway_distribution::{
    Departure, Document, LayerSink as _, Pull, Push, Registries, fetch_blob, fetch_manifest, pull_layers,
    push_artifact, read_document,
};
use shipway_layers::LayerId;
use shipway_oci::{Descriptor, DiffId, Reference};
use shipway_store::Store;

use super::documents::{DOCUMENT_LIMIT, Documents, artifact, load};
use super::{CacheError, Outgoing, Said, Style, stargz};
use crate::engine::Engine;
use crate::pulls::{Silent, Trees};

const CONTENT_HINT: &str = "fill it anew: --cache-to with the same name";

/// A cache to look into.
#[derive(Debug)]
pub(crate) struct RegistrySource {
    reference: Reference,
    registries: Registries,
    store: Store,
    trees: Trees,
}

impl RegistrySource {
    pub(crate) fn new(engine: &Engine, registries: &Registries, reference: Reference) -> Self {
        let (registries, store) = (registries.clone(), engine.store.clone());
        Self { reference, registries, store, trees: Trees::of(engine) }
    }

    fn fetch_document(&self, reference: &Reference) -> Result<Document, SeamError> {
        let sent = fetch_manifest(&self.registries, reference).map_err(SeamError::new)?;
        read_document(sent.bytes, &sent.media_type)
            .map_err(|why| CacheError::seam(format!("its manifest is wrong: {why}"), CONTENT_HINT))
    }
}

impl RegistrySource {
    /// Brings the tar that a layer in eStargz begins with.
    fn fetch_stargz(&self, blob: &Descriptor, diff_id: DiffId) -> Result<(), SeamError> {
        let mut ingest = self.store.ingest().map_err(SeamError::new)?;
        let wanted = (blob.digest, blob.size);
        fetch_blob(&self.registries, &self.reference, wanted, &mut ingest).map_err(SeamError::new)?;
        ingest.commit(Some(blob.digest)).map_err(SeamError::new)?;
        let file = self.store.open_blob(&blob.digest).map_err(SeamError::new)?;
        let plain = shipway_layers::decompress(Box::new(file)).map_err(SeamError::new)?;
        self.trees.take(&mut *stargz::made(blob, plain), diff_id, None).map_err(SeamError::new)?;
        // Its bytes can be made again of its tree.
        self.trees.publish(&[diff_id]).map_err(|error| CacheError::seam(error.to_string(), "build again"))
    }
}

impl Documents for RegistrySource {
    fn named(&self) -> Result<Document, SeamError> {
        self.fetch_document(&self.reference)
    }

    fn listed(&self, descriptor: &Descriptor) -> Result<Document, SeamError> {
        self.fetch_document(&self.reference.with_digest(descriptor.digest))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SeamError> {
        if descriptor.size > DOCUMENT_LIMIT {
            return Err(CacheError::seam(format!("its config has {} bytes", descriptor.size), CONTENT_HINT));
        }
        let mut bytes = Vec::new();
        let blob = (descriptor.digest, descriptor.size);
        fetch_blob(&self.registries, &self.reference, blob, &mut bytes).map_err(SeamError::new)?;
        Ok(bytes)
    }
}

impl CacheSource for RegistrySource {
    fn name(&self) -> String {
        self.reference.familiar()
    }

    fn load(&self) -> Result<CacheContent, SeamError> {
        load(self)
    }

    fn fetch(&self, blob: &Descriptor, diff_id: DiffId) -> Result<LayerId, SeamError> {
        let (registries, store) = (&self.registries, &self.store);
        if stargz::tar_of(blob).is_some() {
            self.fetch_stargz(blob, diff_id)?;
        } else {
            let pull = Pull { registries, store, sink: &self.trees, progress: &Silent };
            pull_layers(pull, &self.reference, &[(blob.clone(), diff_id)]).map_err(SeamError::new)?;
        }
        let row = self.store.layer_of(diff_id).map_err(SeamError::new)?;
        let row = row.ok_or_else(|| CacheError::seam("the layer has gone again", "build again"))?;
        Ok(row.id)
    }
}

/// A cache to fill.
pub(crate) struct RegistryTarget {
    source: RegistrySource,
    style: Style,
}

impl fmt::Debug for RegistryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegistryTarget").field(&self.source.reference).finish()
    }
}

impl RegistryTarget {
    pub(crate) fn new(place: RegistrySource, style: Style) -> Self {
        Self { source: place, style }
    }
}

impl CacheTarget for RegistryTarget {
    fn name(&self) -> String {
        self.source.name()
    }

    fn title(&self) -> String {
        "exporting cache to registry".to_owned()
    }

    fn mode(&self) -> CacheMode {
        self.style.mode
    }

    fn ignores_errors(&self) -> bool {
        self.style.ignore_error
    }

    fn put(&self, export: &CacheExport<'_>, say: &(dyn Fn(&str) + Sync)) -> Result<(), SeamError> {
        let RegistrySource { reference, registries, store, trees } = &self.source;
        let layers = Outgoing { trees, export };
        let push =
            Push { registries, store, how: Departure::default(), source: &layers, progress: &Said(say) };
        let describe = |blobs: &[Descriptor]| artifact(self.style.form, export, blobs);
        let wish = self.style.stargz;
        let layer = |(layer, diff_id): &(Descriptor, DiffId)| {
            stargz::outgoing(store, &layers, (layer, *diff_id), wish)
        };
        let sent = export.layers.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
        let pushed =
            push_artifact(push, reference, &sent, self.style.packing, &describe).map_err(SeamError::new)?;
        say(&format!("writing cache manifest {} done", pushed.digest));
        Ok(())
    }
}
