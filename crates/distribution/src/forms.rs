//! The forms in which a layer can be sent: those that are known, or one that is compressed here.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use shipway_oci::{Descriptor, DiffId, Hashing, MediaType};
use shipway_store::{Packed, Store, StoreError};

use crate::error::Cause;
use crate::gzip::{PACKER, compress};
use crate::upload::length;
use crate::{LayerSource, RegistryError};

const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Names how layers are compressed with zstd here; changes whenever the same layer would give other bytes.
const ZSTD_PACKER: &str = "zstd-1";
const ZSTD_LEVEL: i32 = 3;

/// How layers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// With gzip, which everybody reads.
    #[default]
    Gzip,
    /// The same, as manifests of Docker's own kind call it.
    DockerGzip,
    /// With zstd.
    Zstd,
}

/// Finds and makes them.
#[derive(Debug)]
pub(crate) struct Forms<'a> {
    pub(crate) store: &'a Store,
    pub(crate) source: &'a dyn LayerSource,
    pub(crate) packing: Packing,
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
    (layer, diff_id): (&Descriptor, DiffId),
    packing: Packing,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut forms = Vec::new();
    if !is_plain(layer) {
        forms.push(layer.clone());
    }
    for packed in store.packed(diff_id).map_err(RegistryError::store)? {
        let Some(kind) = packing.media_type_of(&packed) else { continue };
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
    packing: Packing,
) -> Result<PackedLayer, RegistryError> {
    let forms = Forms { store, source, packing };
    let known = forms.known(layer, diff_id)?;
    forms.open(&known, layer, diff_id)
}

impl Packing {
    fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => OCI_GZIP,
            Self::DockerGzip => DOCKER_GZIP,
            Self::Zstd => OCI_ZSTD,
        }
    }

    fn packer(self) -> &'static str {
        if self == Self::Zstd { ZSTD_PACKER } else { PACKER }
    }

    /// Returns what a known form is called where layers are packed so; `None` if it is another packing.
    fn media_type_of(self, packed: &Packed) -> Option<&str> {
        let is_zstd = packed.media_type == OCI_ZSTD;
        match (packed.packer.is_empty(), self) {
            // It came so, and stays so, unless zstd is asked for.
            (true, Self::Zstd) if !is_zstd => None,
            (true, _) => Some(&packed.media_type),
            (false, _) => (is_zstd == (self == Self::Zstd)).then(|| self.media_type()),
        }
    }
}

impl Forms<'_> {
    /// Returns the compressed forms of a layer that are known, the one that is named first.
    pub(crate) fn known(
        &self,
        layer: &Descriptor,
        diff_id: DiffId,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        known_forms(self.store, (layer, diff_id), self.packing)
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
            media_type: if self.packing == Packing::Zstd { OCI_ZSTD } else { OCI_GZIP }.to_owned(),
            packer: self.packing.packer().to_owned(),
        };
        store.record_packed(diff_id, &packed).map_err(RegistryError::store)?;
        Ok(form)
    }

    /// Compresses a layer into a file without a name.
    fn pack(&self, layer: &Descriptor, diff_id: DiffId) -> Result<PackedLayer, RegistryError> {
        let file = self.unnamed_file().map_err(|error| self.io(error))?;
        let written = file.try_clone().map_err(|error| self.io(error))?;
        let written = BufWriter::with_capacity(1 << 18, written);
        let hashing = Hashing::new(written);
        let failed = |error| self.io(error);
        let hashing = if self.packing == Packing::Zstd {
            let zstd = zstd::Encoder::new(hashing, ZSTD_LEVEL).map_err(failed)?;
            self.pour(layer, diff_id, zstd)?.finish().map_err(failed)?
        } else {
            let gzip = compress(hashing).map_err(failed)?;
            self.pour(layer, diff_id, gzip)?.finish().map_err(failed)?
        };
        let (mut written, digest, size) = hashing.finish();
        written.flush().map_err(failed)?;
        Ok(PackedLayer { descriptor: Descriptor::new(self.packing.media_type(), digest, size), file })
    }

    /// Writes the tar of a layer, which must have its diff ID.
    fn pour<W: Write>(&self, layer: &Descriptor, diff_id: DiffId, out: W) -> Result<W, RegistryError> {
        let mut tar = Hashing::new(out);
        let store = self.store;
        if is_plain(layer) && store.has_blob(&layer.digest) {
            let mut blob = store.open_blob(&layer.digest).map_err(RegistryError::store)?;
            io::copy(&mut blob, &mut tar).map_err(|error| self.io(error))?;
        } else {
            let cannot =
                |source| RegistryError::Layer { operation: "pack", digest: diff_id.0, source: Cause(source) };
            self.source.export(diff_id, &mut tar).map_err(cannot)?;
        }
        let (out, found, _) = tar.finish();
        if DiffId(found) != diff_id {
            return Err(RegistryError::NotRepeatable { digest: diff_id.0 });
        }
        Ok(out)
    }

    fn unnamed_file(&self) -> io::Result<File> {
        let path = self.store.tmp().join(format!("pack-{}", shipway_store::unique_name()));
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

#[cfg(test)]
mod tests {
    use shipway_oci::Digest;

    use super::*;

    #[test]
    fn a_form_is_offered_where_it_is_what_is_wanted() {
        for (name, packing, media_type, packer, want) in [
            ("ours", Packing::Gzip, OCI_GZIP, PACKER, Some(OCI_GZIP)),
            ("ours in docker's words", Packing::DockerGzip, OCI_GZIP, PACKER, Some(DOCKER_GZIP)),
            ("as it came", Packing::Gzip, DOCKER_GZIP, "", Some(DOCKER_GZIP)),
            ("zstd as it came", Packing::Gzip, OCI_ZSTD, "", Some(OCI_ZSTD)),
            ("our zstd, not asked for", Packing::Gzip, OCI_ZSTD, ZSTD_PACKER, None),
            ("our zstd", Packing::Zstd, OCI_ZSTD, ZSTD_PACKER, Some(OCI_ZSTD)),
            ("gzip where zstd is wanted", Packing::Zstd, OCI_GZIP, PACKER, None),
            ("gzip as it came", Packing::Zstd, OCI_GZIP, "", None),
        ] {
            let (media_type, packer) = (media_type.to_owned(), packer.to_owned());
            let packed = Packed { digest: Digest::of(b""), size: 0, media_type, packer };
            assert_eq!(packing.media_type_of(&packed), want, "case {name}");
        }
    }
}
