//! Layers in eStargz, for outputs and caches. Compat: BuildKit, `compression=estargz`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use shipway_distribution::{Compression, LayerSource, Packing, RegistryError, pack_layer};
use shipway_layers::{LayerError, Stargz, WriteStargzError, find_stargz_toc, write_stargz};
use shipway_oci::{Descriptor, DiffId, Digest, Hashing, MediaType};
use shipway_store::{Store, StoreError};

/// Annotations of a layer. Spec: containerd/stargz-snapshotter, docs/estargz.md; containers/storage wants the second.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
const SIZE: &str = "io.containers.estargz.uncompressed-size";

/// How layers get into this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StargzWish {
    /// How hard is tried, from 0 to 9.
    pub(crate) level: Option<u8>,
    /// Layers that came compressed in another way are packed anew too.
    pub(crate) force: bool,
}

/// Why a layer did not get into this form.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum PackStargzError {
    /// The store could not be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The tar of the layer cannot be had.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tar(#[from] RegistryError),
    /// The layer that came cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Came(#[from] LayerError),
    /// It cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteStargzError),
}

/// A layer in this form, or as it was.
#[derive(Clone, Debug)]
pub(crate) struct PackedStargz {
    /// A blob of the store, with the annotations that it has to have.
    pub(crate) layer: Descriptor,
    /// Its diff ID, which is another one than before.
    pub(crate) diff_id: DiffId,
    /// With how many bytes of what it decompresses to it was made.
    pub(crate) tar: Option<u64>,
}

/// Brings a layer into this form. One that came compressed stays as it is unless it is forced, and one that came in this form anyway.
/// The caller holds a lease.
pub(crate) fn pack_stargz(
    store: &Store,
    source: &dyn LayerSource,
    (layer, diff_id): (&Descriptor, DiffId),
    wish: StargzWish,
) -> Result<PackedStargz, PackStargzError> {
    let as_it_is = |layer: Descriptor| PackedStargz { layer, diff_id, tar: None };
    let packed = store.packed(diff_id)?;
    let mut came = packed.iter().filter(|form| form.packer.is_empty());
    if let Some(form) = came.clone().find(|form| store.has_blob(&form.digest)) {
        let blob = store.open_blob(&form.digest)?;
        let unread = |error| StoreError::of_write(&store.blob_path(&form.digest), error);
        if let Some(toc) = find_stargz_toc(&blob).map_err(unread)? {
            let size = length_of(store, form.digest)?;
            return Ok(as_it_is(described((toc, size), form.digest, form.size)));
        }
    }
    if !wish.force && (came.next().is_some() || !layer.media_type.is_plain_layer()) {
        return Ok(as_it_is(layer.clone()));
    }
    let tar = tar_of(store, source, (layer, diff_id))?;
    let mut ingest = store.ingest()?;
    let Stargz { toc, diff_id, size, tar } = write_stargz(&tar, wish.level, &mut ingest)?;
    let written = ingest.written();
    let layer = described((toc, size), ingest.commit(None)?, written);
    Ok(PackedStargz { layer, diff_id, tar: Some(tar) })
}

fn described((toc, plain): (Digest, u64), digest: Digest, size: u64) -> Descriptor {
    let annotations = [(TOC_DIGEST, toc.to_string()), (SIZE, plain.to_string())];
    let annotations: BTreeMap<String, String> =
        annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Descriptor { annotations, ..Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, size) }
}

/// Returns how many bytes a blob decompresses to.
fn length_of(store: &Store, blob: Digest) -> Result<u64, PackStargzError> {
    let blob = store.open_blob(&blob)?;
    let mut plain = Hashing::new(shipway_layers::decompress(Box::new(blob))?);
    io::copy(&mut plain, &mut io::sink())
        .map_err(|source| LayerError::Input { place: "at its end".to_owned(), source })?;
    Ok(plain.length())
}

/// Returns the tar of a layer as a file.
fn tar_of(
    store: &Store,
    source: &dyn LayerSource,
    (layer, diff_id): (&Descriptor, DiffId),
) -> Result<File, PackStargzError> {
    // As a layer that nobody has compressed yet.
    let plain = match layer.media_type.is_plain_layer() {
        true => layer.clone(),
        false => Descriptor::new(MediaType::OCI_LAYER, diff_id.0, 0),
    };
    let packing = Packing { compression: Compression::None, force: true, ..Packing::default() };
    Ok(pack_layer(store, source, (&plain, diff_id), packing)?.file)
}
