//! What is attested of an image goes with it: the name is that of an index, which lists both.

use shipway_oci::{Attested, Descriptor};

use super::{One, Pushed};
use crate::Event;
use crate::error::RegistryError;

impl One<'_> {
    /// Returns what is attested of the image, said of the manifest that it has there.
    pub(super) fn attested(&self, there: &Descriptor) -> Option<Attested> {
        self.image.index?;
        let attested = self.place.deps.store.attested(self.image);
        if attested.is_none() {
            let note = "what its index lists is not all here: the image is pushed without it";
            self.place.deps.progress.event(&Event::Note(note));
        }
        attested.map(|attested| attested.moved(&self.image.manifest, there))
    }

    /// Names an index, after everything that it lists.
    pub(super) fn put_index(
        &self,
        attested: &Attested,
        (image, bytes): (&Descriptor, &[u8]),
    ) -> Result<Pushed, RegistryError> {
        let place = &self.place;
        place.put_manifest(bytes, image.media_type.as_str(), &image.digest.to_string())?;
        for (_, bytes) in &attested.blobs {
            place.send_bytes(bytes)?;
        }
        for (listed, bytes) in &attested.manifests {
            place.put_manifest(bytes, listed.media_type.as_str(), &listed.digest.to_string())?;
        }
        let kind = attested.descriptor().media_type;
        let digest = place.put_manifest(&attested.index, kind.as_str(), place.tag())?;
        place.deps.store.put_attested(attested).map_err(RegistryError::store)?;
        Ok(Pushed { digest, size: attested.index.len() as u64 })
    }
}
