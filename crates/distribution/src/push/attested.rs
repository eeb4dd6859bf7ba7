//! What goes with an image: the name is that of an index, which lists it, those for other platforms, and what is attested of them.

use shipway_oci::{Attested, Descriptor};
use shipway_store::{Found, RepositoryDigest};

use super::{One, Pushed};
use crate::Event;
use crate::error::RegistryError;

impl One<'_> {
    /// Returns the index that the image is in, if all of that is here. An image goes without what is attested of it, but not without those
    /// for other platforms that its name stands for.
    pub(super) fn attested(&self, image: &Found) -> Result<Option<Attested>, RegistryError> {
        let Some(index) = image.index else { return Ok(None) };
        let store = self.place.deps.store;
        if let Some(attested) = store.attested(image) {
            return Ok(Some(attested));
        }
        if let Some(digest) = store.lacks(&index) {
            return Err(RegistryError::Incomplete { index, digest });
        }
        let note = "what its index lists is not all here: the image is pushed without it";
        self.place.deps.progress.event(&Event::Note(note));
        Ok(None)
    }

    /// Says that an image goes without those for other platforms, and so under another digest than it was pulled by. Compat: docker
    /// tells so too.
    pub(super) fn tell_of_others(&self) -> Result<(), RegistryError> {
        let known = self.place.deps.store.digests(&self.image.image_id).map_err(RegistryError::store)?;
        let pulled = |known: &&RepositoryDigest| {
            known.manifest == self.image.manifest && known.digest != known.manifest
        };
        if let Some(index) = known.iter().find(pulled) {
            let note = format!(
                "only this platform's image of the index {} is here: it is pushed alone, under a digest of its own",
                index.digest.short()
            );
            self.place.deps.progress.event(&Event::Note(&note));
        }
        Ok(())
    }

    /// Sends images that an index lists, each under its digest, then what is attested of them, then the index under the name.
    /// Returns what that is there, and the manifest that the image itself has there.
    pub(super) fn push_index(&self, index: Attested) -> Result<(Pushed, Descriptor), RegistryError> {
        let (place, store) = (&self.place, self.place.deps.store);
        let (mut moves, mut own) = (Vec::new(), None);
        for image in store.images_in(&index, self.image).map_err(RegistryError::store)? {
            let sent = self.send(&image)?;
            let kind = sent.image.media_type.as_str();
            place.put_manifest(&sent.bytes, kind, &sent.image.digest.to_string())?;
            store.put_blob(&sent.bytes).map_err(RegistryError::store)?;
            if image.manifest == self.image.manifest {
                own = Some(sent.image.clone());
            }
            moves.push((image.manifest, sent.image));
        }
        let index = index.moved(&moves);
        for (_, bytes) in &index.blobs {
            place.send_bytes(bytes)?;
        }
        for (listed, bytes) in &index.manifests {
            place.put_manifest(bytes, listed.media_type.as_str(), &listed.digest.to_string())?;
        }
        let kind = index.descriptor().media_type;
        let digest = place.put_named(&index.index, kind.as_str())?;
        store.put_attested(&index).map_err(RegistryError::store)?;
        let own =
            own.ok_or_else(|| place.repository.wrong("index here", "the image is not in it".to_owned()))?;
        let media_type = kind.as_str().to_owned();
        Ok((Pushed { digest, size: index.index.len() as u64, media_type }, own))
    }
}
