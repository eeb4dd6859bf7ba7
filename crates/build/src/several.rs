//! One image for several platforms: it is built for each, one after another, and an index lists what was made.

mod told;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shipway_oci::{Attested, Descriptor, DiffId, MediaType, Platform};
use shipway_store::{Found, StoreError};

use self::told::Told;
use crate::export::name;
use crate::plan::internal;
use crate::records::Records;
use crate::solve::lock;
use crate::{BuildError, BuildRequest, Builder, Built, Event};

/// What the builds for several platforms have in common.
#[derive(Debug, Default)]
pub(crate) struct Several {
    records: Mutex<Records>,
    /// What the caches have by now, by their names.
    layers: Mutex<HashMap<String, Vec<(Descriptor, DiffId)>>>,
    /// Why the first cache could not be written that could not.
    failure: Mutex<Option<BuildError>>,
}

impl Several {
    /// Adds the steps of one build, and returns those of all so far.
    pub(crate) fn with_records(&self, own: Records) -> Records {
        let mut records = lock(&self.records);
        records.merge(own);
        records.clone()
    }

    /// Returns the layers that a cache has by earlier builds.
    pub(crate) fn layers(&self, cache: &str) -> Vec<(Descriptor, DiffId)> {
        lock(&self.layers).get(cache).cloned().unwrap_or_default()
    }

    /// Keeps why a cache could not be written until the image has its name.
    pub(crate) fn fail_later(&self, error: BuildError) {
        lock(&self.failure).get_or_insert(error);
    }

    /// Notes what a cache has now.
    pub(crate) fn note_layers(&self, cache: String, layers: Vec<(Descriptor, DiffId)>) {
        lock(&self.layers).insert(cache, layers);
    }
}

impl Builder {
    /// Builds for each platform that the request names, and names an index of the results when all are there. What is told and returned of
    /// an image is that for this machine's platform, or for the first one.
    pub(crate) fn build_several(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        let store = &self.store;
        let fail = |action| move |source: StoreError| BuildError::Store { action, source };
        // The parts have no names, so nothing else keeps them.
        let _lease = store.lease().map_err(fail("reserve the store's content"))?;
        let several = Arc::new(Several::default());
        let told = Arc::new(Told::new(self.progress.clone()));
        let mut parts = Vec::new();
        for platform in &request.platforms {
            let builder = Self {
                several: Some(several.clone()),
                progress: Arc::new(told.part(platform)),
                ..self.clone()
            };
            let request = BuildRequest { platforms: vec![platform.clone()], ..request.clone() };
            parts.push((platform, builder.build_one(&request)?));
        }
        let step = internal(told.next_id(), "exporting the index of all platforms".to_owned());
        let start = Instant::now();
        self.progress.event(&Event::Started { step: &step });
        let indexes = parts.iter().map(|(platform, built)| self.index_of(request, platform, built));
        let indexes = indexes.collect::<Result<Vec<_>, _>>().map_err(fail("read what was built"))?;
        let annotations = request.index_annotations.iter().cloned().collect();
        let index = Attested::join(indexes, annotations);
        let digest = store.put_attested(&index).map_err(fail("write the index of the images"))?;
        let host = Platform::host();
        let own = parts.iter().find(|(platform, _)| **platform == host).or(parts.first());
        let (_, own) = own.expect("a request for several platforms names some");
        let found = Found { index: Some(digest), ..Found::new(own.image_id, own.manifest) };
        self.progress.event(&Event::Listed { index: digest });
        name(self, request, &found)?;
        self.progress.event(&Event::Done { step: &step, elapsed: start.elapsed(), key: None });
        if let Some(error) = lock(&several.failure).take() {
            return Err(error);
        }
        Ok(Built {
            index: Some((digest, index.index.len() as u64)),
            tags: request.tags.clone(),
            steps: parts.iter().map(|(_, built)| built.steps).sum(),
            cached_steps: parts.iter().map(|(_, built)| built.cached_steps).sum(),
            parts: parts.iter().map(|(platform, built)| ((*platform).clone(), built.clone())).collect(),
            ..own.clone()
        })
    }

    /// Returns the index that a part has by what is attested of it, or one of the image alone.
    fn index_of(
        &self,
        request: &BuildRequest,
        platform: &Platform,
        built: &Built,
    ) -> Result<Attested, StoreError> {
        if let Some((digest, _)) = built.index {
            let found = Found { index: Some(digest), ..Found::new(built.image_id, built.manifest) };
            return self.store.attested(&found).ok_or(StoreError::NoBlob(digest));
        }
        let mut image = Descriptor::new(MediaType::OCI_MANIFEST, built.manifest, built.manifest_size);
        image.platform = Some(platform.clone());
        image.annotations.extend(request.descriptor_annotations_for(platform));
        Ok(Attested::new(image, &[], std::iter::empty().collect()))
    }
}
