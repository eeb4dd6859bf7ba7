//! What is attested of an image, where its index is for nothing else.

use std::io::Read as _;

use shipway_oci::{Attested, Descriptor, Digest, Index, is_attestation, is_only_of};
use shipway_store::ATTESTATION_LIMIT;

use super::One;
use crate::blob::BlobReader;
use crate::documents::{Content, Document, Wanted};
use crate::{Event, RegistryError};

/// So many documents may be attested of an image, and so many bytes of them.
const DOCUMENTS: usize = 64;
const TOTAL: u64 = 4 * ATTESTATION_LIMIT;

impl One<'_> {
    /// Brings what an index lists beside the image, and returns the digest of an index that is whole. An image runs without it, so
    /// what cannot be had is only told.
    ///
    /// An index of other platforms stays incomplete anyway, and registries count what is asked of them: nothing is asked for then.
    pub(super) fn attestations(&self, index: Document, image: &Digest) -> Option<Digest> {
        match &index.content {
            Content::Index(listed) if is_only_of(listed, image) || self.has_all(listed, image) => {}
            _ => return None,
        }
        let mut failure = None;
        let mut budget = (DOCUMENTS, TOTAL);
        let digest = index.digest;
        let attested = Attested::read(
            index.bytes,
            |_is_here| true,
            |wanted| {
                let known = self.deps.store.read_blob(&wanted.digest, ATTESTATION_LIMIT).ok();
                known.or_else(|| {
                    let fetched =
                        self.spend(&mut budget, wanted).and_then(|()| self.fetch_attestation(wanted));
                    fetched.inspect_err(|error| failure = Some(error.with_cause())).ok()
                })
            },
        );
        let kept = attested.and_then(|attested| {
            let kept = self.deps.store.put_attested(&attested).map_err(RegistryError::store);
            kept.inspect_err(|error| failure = Some(error.with_cause())).ok()
        });
        if let Some(why) = failure {
            let note = format!("what is attested of the image is left out: {why}");
            self.deps.progress.event(&Event::Note(&note));
        }
        kept.map(|_same| digest)
    }

    /// Returns whether the other images of an index are here already: then it stays whole.
    fn has_all(&self, index: &Index, image: &Digest) -> bool {
        let is_here = |listed: &Descriptor| {
            is_attestation(listed)
                || listed.digest == *image
                || self.deps.store.whole_image(&listed.digest).is_some()
        };
        index.manifests.iter().all(is_here)
    }

    fn spend(&self, budget: &mut (usize, u64), wanted: &Descriptor) -> Result<(), RegistryError> {
        let left = (budget.0.checked_sub(1), budget.1.checked_sub(wanted.size));
        match left {
            (Some(documents), Some(bytes)) if wanted.size <= ATTESTATION_LIMIT => {
                *budget = (documents, bytes);
                Ok(())
            }
            _ => {
                let reason = format!("more than {DOCUMENTS} documents or {TOTAL} bytes are attested");
                Err(self.sources.origin().wrong("index", reason))
            }
        }
    }

    fn fetch_attestation(&self, wanted: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if wanted.media_type.is_manifest() {
            return Ok(self.sources.fetch_document(Wanted::Described(wanted))?.bytes);
        }
        self.sources.persist(|| {
            let mut reader = BlobReader::new(&self.sources, wanted);
            let mut bytes = Vec::new();
            let read = reader.read_to_end(&mut bytes);
            read.map(|_length| bytes).map_err(|error| reader.failure(error))
        })
    }
}
