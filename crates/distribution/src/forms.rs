//! The forms in which a layer can be sent: those that are known, or one that is compressed here.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use shipway_oci::{Descriptor, DiffId, Hashing, MediaType};
use shipway_store::{Packed, Store, StoreError};

use crate::error::Cause;
use crate::gzip::{PACKER, compress, compress_at};
use crate::upload::length;
use crate::{LayerSource, RegistryError};

const OCI_GZIP: &str = MediaType::OCI_LAYER_GZIP;
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_TAR: &str = MediaType::DOCKER_LAYER;
/// Compat: containerd and BuildKit, Docker's documents have no such type.
const DOCKER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Names how layers are compressed with zstd here; changes whenever the same layer would give other bytes.
const ZSTD_PACKER: &str = "zstd-1";
const ZSTD_LEVEL: i32 = 3;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// With gzip, which everybody reads.
    #[default]
    Gzip,
    /// With zstd.
    Zstd,
    /// Not at all.
    None,
}

/// In what form layers go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// How layers are compressed that were made here.
    pub compression: Compression,
    /// How hard is tried, from 0 to 9, with zstd to 22.
    pub level: Option<u8>,
    /// Layers that came compressed in another way are packed anew too.
    pub force: bool,
    /// Layers are called what manifests of Docker's own kind call them.
    pub is_docker: bool,
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

/// Returns the forms of a layer that are known and may go out. `layer` is one that is known, or its tar.
pub fn known_forms(
    store: &Store,
    (layer, diff_id): (&Descriptor, DiffId),
    packing: Packing,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut forms = Vec::new();
    if packing.takes(layer) {
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

/// Opens a layer in the form in which it goes out, which is made unless it is here. `layer` is a form that is known of, or its tar.
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
        match self.compression {
            Compression::Gzip if self.is_docker => DOCKER_GZIP,
            Compression::Zstd if self.is_docker => DOCKER_ZSTD,
            Compression::None if self.is_docker => DOCKER_TAR,
            Compression::Gzip => OCI_GZIP,
            Compression::Zstd => OCI_ZSTD,
            Compression::None => MediaType::OCI_LAYER,
        }
    }

    /// Returns the name of who packs so; empty for what is not compressed.
    fn packer(self) -> String {
        let name = match self.compression {
            Compression::Gzip => PACKER,
            Compression::Zstd => ZSTD_PACKER,
            Compression::None => return String::new(),
        };
        self.level.map_or_else(|| name.to_owned(), |level| format!("{name} {level}"))
    }

    /// Returns whether a layer goes as it is known.
    fn takes(self, layer: &Descriptor) -> bool {
        let compression = compression_of(layer.media_type.as_str());
        match compression {
            Some(Compression::None) => self.compression == Compression::None,
            _ => !self.force || compression == Some(self.compression),
        }
    }

    /// Returns what a known form is called where layers are packed so; `None` if it is another packing.
    fn media_type_of(self, packed: &Packed) -> Option<&str> {
        if packed.packer.is_empty() {
            // It came so, and stays so.
            let is_wanted = !self.force || compression_of(&packed.media_type) == Some(self.compression);
            return is_wanted.then(|| layer_type(&packed.media_type, self.is_docker));
        }
        (packed.packer == self.packer()).then(|| self.media_type())
    }
}

/// Returns what a layer is called in a manifest of Docker's kind or of OCI's.
pub fn layer_type(known: &str, is_docker: bool) -> &str {
    match (known, is_docker) {
        (OCI_GZIP, true) => DOCKER_GZIP,
        (OCI_ZSTD, true) => DOCKER_ZSTD,
        (MediaType::OCI_LAYER, true) => DOCKER_TAR,
        (DOCKER_GZIP, false) => OCI_GZIP,
        (DOCKER_ZSTD, false) => OCI_ZSTD,
        (DOCKER_TAR, false) => MediaType::OCI_LAYER,
        _ => known,
    }
}

/// Returns how layers of a media type are compressed, where that is known.
fn compression_of(media_type: &str) -> Option<Compression> {
    match media_type {
        OCI_GZIP | DOCKER_GZIP => Some(Compression::Gzip),
        OCI_ZSTD | DOCKER_ZSTD => Some(Compression::Zstd),
        MediaType::OCI_LAYER | DOCKER_TAR => Some(Compression::None),
        _ => None,
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
        if let Some(form) = self.here(known)? {
            return Ok(form);
        }
        let file = self.unnamed_file().map_err(|error| self.io(error))?;
        let written = file.try_clone().map_err(|error| self.io(error))?;
        let written = BufWriter::with_capacity(1 << 18, written);
        let descriptor = self.pack(layer, diff_id, written, &|_| {})?;
        Ok(PackedLayer { descriptor, file })
    }

    /// Opens one of the known forms that is here whole.
    pub(crate) fn here(&self, known: &[Descriptor]) -> Result<Option<PackedLayer>, RegistryError> {
        let Some(descriptor) = known.iter().find(|form| self.store.has_blob(&form.digest)) else {
            return Ok(None);
        };
        let file = self.store.open_blob(&descriptor.digest).map_err(RegistryError::store)?;
        let size = length(&file).map_err(|error| self.io(error))?;
        Ok((size == descriptor.size).then(|| PackedLayer { descriptor: descriptor.clone(), file }))
    }

    /// Writes a layer in the form in which it goes out, and returns what that is, which is known from then on. `taken` hears how many
    /// bytes of the layer's tar were read.
    pub(crate) fn pack<W: Write>(
        &self,
        layer: &Descriptor,
        diff_id: DiffId,
        out: W,
        taken: &dyn Fn(u64),
    ) -> Result<Descriptor, RegistryError> {
        let hashing = Hashing::new(out);
        let failed = |error| self.io(error);
        let level = self.packing.level;
        let from = Tar { layer, diff_id, taken };
        let hashing = match self.packing.compression {
            Compression::Zstd => {
                let level = level.map_or(ZSTD_LEVEL, i32::from);
                let zstd = zstd::Encoder::new(hashing, level).map_err(failed)?;
                self.pour(&from, zstd)?.finish().map_err(failed)?
            }
            Compression::Gzip => {
                let gzip = match level {
                    Some(level) => compress_at(level.into(), hashing),
                    None => compress(hashing),
                };
                self.pour(&from, gzip.map_err(failed)?)?.finish().map_err(failed)?
            }
            Compression::None => self.pour(&from, hashing)?,
        };
        let (mut written, digest, size) = hashing.finish();
        written.flush().map_err(failed)?;
        let descriptor = Descriptor::new(self.packing.media_type(), digest, size);
        self.record(diff_id, &descriptor)?;
        Ok(descriptor)
    }

    /// Remembers what a layer is when it is packed so.
    fn record(&self, diff_id: DiffId, form: &Descriptor) -> Result<(), RegistryError> {
        if self.packing.compression == Compression::None {
            return Ok(());
        }
        let packed = Packed {
            digest: form.digest,
            size: form.size,
            media_type: Packing { is_docker: false, ..self.packing }.media_type().to_owned(),
            packer: self.packing.packer(),
        };
        self.store.record_packed(diff_id, &packed).map_err(RegistryError::store)
    }

    /// Writes the tar of a layer, which must have its diff ID.
    fn pour<W: Write>(&self, from: &Tar<'_>, out: W) -> Result<W, RegistryError> {
        let Tar { layer, diff_id, .. } = *from;
        let mut tar = Counted { inner: Hashing::new(out), taken: from.taken };
        let store = self.store;
        if layer.media_type.is_plain_layer() && store.has_blob(&layer.digest) {
            let mut blob = store.open_blob(&layer.digest).map_err(RegistryError::store)?;
            io::copy(&mut blob, &mut tar).map_err(|error| self.io(error))?;
        } else {
            let cannot =
                |source| RegistryError::Layer { operation: "pack", digest: diff_id.0, source: Cause(source) };
            self.source.export(diff_id, &mut tar).map_err(cannot)?;
        }
        let (out, found, _) = tar.inner.finish();
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

/// The tar of a layer, to be packed.
struct Tar<'a> {
    layer: &'a Descriptor,
    diff_id: DiffId,
    taken: &'a dyn Fn(u64),
}

/// So many bytes are told of at once: a tar of small files comes in very small parts.
const TOLD: u64 = 128 << 10;

/// Says how many bytes have come.
struct Counted<'a, W> {
    inner: Hashing<W>,
    taken: &'a dyn Fn(u64),
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.inner.length();
        let written = self.inner.write(bytes)?;
        let now = self.inner.length();
        if before / TOLD != now / TOLD {
            (self.taken)(now);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use shipway_oci::Digest;

    use super::*;

    #[test]
    fn a_form_is_offered_where_it_is_what_is_wanted() {
        let gzip = Packing::default();
        let docker = Packing { is_docker: true, ..gzip };
        let zstd = Packing { compression: Compression::Zstd, ..gzip };
        let plain = Packing { compression: Compression::None, ..gzip };
        let hard = Packing { level: Some(9), ..gzip };
        let forced = |packing| Packing { force: true, ..packing };
        for (name, packing, media_type, packer, want) in [
            ("ours", gzip, OCI_GZIP, PACKER, Some(OCI_GZIP)),
            ("ours in docker's words", docker, OCI_GZIP, PACKER, Some(DOCKER_GZIP)),
            ("of another level", hard, OCI_GZIP, PACKER, None),
            ("of that level", hard, OCI_GZIP, "gzip-2 9", Some(OCI_GZIP)),
            ("as it came", gzip, DOCKER_GZIP, "", Some(OCI_GZIP)),
            ("as it came, in docker's words", docker, OCI_GZIP, "", Some(DOCKER_GZIP)),
            ("zstd as it came, in docker's words", docker, OCI_ZSTD, "", Some(DOCKER_ZSTD)),
            ("zstd as it came in docker's words", gzip, DOCKER_ZSTD, "", Some(OCI_ZSTD)),
            ("of a kind that nobody knows", docker, "application/x", "", Some("application/x")),
            ("zstd as it came", gzip, OCI_ZSTD, "", Some(OCI_ZSTD)),
            ("zstd as it came, gzip forced", forced(gzip), OCI_ZSTD, "", None),
            ("gzip as it came, gzip forced", forced(hard), DOCKER_GZIP, "", Some(OCI_GZIP)),
            ("our zstd, not asked for", gzip, OCI_ZSTD, ZSTD_PACKER, None),
            ("our zstd", zstd, OCI_ZSTD, ZSTD_PACKER, Some(OCI_ZSTD)),
            (
                "our zstd in docker's words",
                Packing { is_docker: true, ..zstd },
                OCI_ZSTD,
                ZSTD_PACKER,
                Some(DOCKER_ZSTD),
            ),
            ("our gzip where zstd is wanted", zstd, OCI_GZIP, PACKER, None),
            ("gzip as it came, zstd wanted", zstd, OCI_GZIP, "", Some(OCI_GZIP)),
            ("gzip as it came, zstd forced", forced(zstd), OCI_GZIP, "", None),
            ("our gzip where nothing is compressed", plain, OCI_GZIP, PACKER, None),
            ("gzip as it came, nothing compressed", forced(plain), OCI_GZIP, "", None),
        ] {
            let (media_type, packer) = (media_type.to_owned(), packer.to_owned());
            let packed = Packed { digest: Digest::of(b""), size: 0, media_type, packer };
            assert_eq!(packing.media_type_of(&packed), want, "case {name}");
        }
        let layer = |kind: &str| Descriptor::new(kind, Digest::of(b""), 0);
        for (name, packing, kind, want) in [
            ("a tar to be compressed", gzip, MediaType::OCI_LAYER, false),
            ("a tar as it is", plain, DOCKER_TAR, true),
            ("gzip as it came", zstd, DOCKER_GZIP, true),
            ("gzip, zstd forced", forced(zstd), DOCKER_GZIP, false),
            ("of a kind that nobody knows", gzip, "application/x", true),
            ("of that kind, forced", forced(gzip), "application/x", false),
        ] {
            assert_eq!(packing.takes(&layer(kind)), want, "case {name}");
        }
    }
}
