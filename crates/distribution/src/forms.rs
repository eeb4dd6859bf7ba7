//! The forms in which a layer can be sent: those that are known, or one that is compressed here.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use shipway_oci::{Descriptor, DiffId, Hashing, MediaType};
use shipway_store::{Packed, Store, StoreError};

use crate::error::Cause;
use crate::gzip::{PACKER, compress};
use crate::upload::length;
use crate::{LayerSource, RegistryError};

/// Media type of a layer that is compressed here, in an OCI manifest.
pub(crate) const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The same in one of Docker's.
pub(crate) const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Finds and makes them.
#[derive(Debug)]
pub(crate) struct Forms<'a> {
    pub(crate) store: &'a Store,
    pub(crate) source: &'a dyn LayerSource,
    /// What layers that are compressed here are called.
    pub(crate) gzip: &'static str,
}

/// A layer as a file.
#[derive(Debug)]
pub struct PackedLayer {
    /// What the file is.
    pub descriptor: Descriptor,
    /// Its bytes; where it is read from, and whether it has a name, is not said.
    pub file: File,
}

/// Returns the compressed forms of a layer that are known. `layer` is one of them, or its tar.
pub fn known_forms(
    store: &Store,
    layer: &Descriptor,
    diff_id: DiffId,
) -> Result<Vec<Descriptor>, RegistryError> {
    known(store, layer, diff_id, OCI_GZIP)
}

fn known(
    store: &Store,
    layer: &Descriptor,
    diff_id: DiffId,
    gzip: &str,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut forms = Vec::new();
    if !is_plain(layer) {
        forms.push(layer.clone());
    }
    for packed in store.packed(diff_id).map_err(RegistryError::store)? {
        let kind = if packed.packer.is_empty() { packed.media_type } else { gzip.to_owned() };
        let form = Descriptor::new(kind, packed.digest, packed.size);
        if !forms.iter().any(|known| known.digest == form.digest) {
            forms.push(form);
        }
    }
    Ok(forms)
}

/// Opens a compressed form of a layer, which is made unless it is here. `layer` is a form that is known of, or its tar.
pub fn pack_layer(
    store: &Store,
    source: &dyn LayerSource,
    (layer, diff_id): (&Descriptor, DiffId),
) -> Result<PackedLayer, RegistryError> {
    let forms = Forms { store, source, gzip: OCI_GZIP };
    let known = forms.known(layer, diff_id)?;
    forms.open(&known, layer, diff_id)
}

impl Forms<'_> {
    /// Returns the compressed forms of a layer that are known, the one that is named first.
    pub(crate) fn known(
        &self,
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        known(self.store, layer, diff_id, self.gzip)
    }

    /// Opens a form of a layer that is here, or makes one.
    pub(crate) fn open(
        &self,
        known: &[Descriptor],
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<PackedLayer, RegistryError> {
        let store = self.store;
        if let Some(descriptor) = known.iter().find(|form| store.has_blob(&form.digest)) {
            let file = store.open_blob(&descriptor.digest).map_err(RegistryError::store)?;
            let size = length(&file).map_err(|error| self.io(error))?;
            if size == descriptor.size {
                return Ok(PackedLayer { descriptor: descriptor.clone(), file });
            }
        }
        let form = self.pack(layer, diff_id)?;
        let packed = Packed {
            digest: form.descriptor.digest,
            size: form.descriptor.size,
            media_type: OCI_GZIP.to_owned(),
            packer: PACKER.to_owned(),
        };
        store.record_packed(diff_id, &packed).map_err(RegistryError::store)?;
        Ok(form)
    }

    /// Compresses a layer into a file without a name.
    fn pack(&self, layer: &Descriptor, diff_id: DiffId) -> Result<PackedLayer, RegistryError> {
        let file = self.unnamed_file().map_err(|error| self.io(error))?;
        let written = file.try_clone().map_err(|error| self.io(error))?;
        let written = BufWriter::with_capacity(1 << 18, written);
        let gzip = compress(Hashing::new(written)).map_err(|error| self.io(error))?;
        let mut tar = Hashing::new(gzip);
        let store = self.store;
        if is_plain(layer) && store.has_blob(&layer.digest) {
            let mut blob = store.open_blob(&layer.digest).map_err(RegistryError::store)?;
            io::copy(&mut blob, &mut tar).map_err(|error| self.io(error))?;
        } else {
            let cannot =
                |source| RegistryError::Layer { operation: "pack", digest: diff_id.0, source: Cause(source) };
            self.source.export(diff_id, &mut tar).map_err(cannot)?;
        }
        let (gzip, found, _) = tar.finish();
        if DiffId(found) != diff_id {
            return Err(RegistryError::NotRepeatable { digest: diff_id.0 });
        }
        let (mut written, digest, size) = gzip.finish().map_err(|error| self.io(error))?.finish();
        written.flush().map_err(|error| self.io(error))?;
        Ok(PackedLayer { descriptor: Descriptor::new(self.gzip, digest, size), file })
    }

    fn unnamed_file(&self) -> io::Result<File> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = self.store.tmp().join(format!("pack-{}-{number}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs_err::remove_file(&path)?;
        Ok(file)
    }

    fn io(&self, error: io::Error) -> RegistryError {
        RegistryError::store(StoreError::of_write(&self.store.tmp(), error))
    }
}

/// Returns whether a layer is not compressed: registries get it compressed.
fn is_plain(layer: &Descriptor) -> bool {
    [MediaType::OCI_LAYER, DOCKER_TAR].contains(&layer.media_type.as_str())
}
