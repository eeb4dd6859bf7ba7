//! Layers of caches in eStargz. A step made the tar with which such a layer begins: that is what its diff ID is of, here and on every
//! other machine.

use std::io::Read;

use shipway_build::SeamError;
use shipway_oci::{Descriptor, DiffId};
use shipway_store::Store;

use super::Outgoing;
use super::documents::UNCOMPRESSED;
use crate::stargz::{StargzWish, pack_stargz};

/// Annotations of such a layer: the diff ID of the tar, and its length.
const TAR: &str = "dev.shipway.cache.diff-id";
const LENGTH: &str = "dev.shipway.cache.tar-size";

/// Returns a layer in this form if that is wanted, and the diff ID of the blob.
pub(super) fn outgoing(
    store: &Store,
    layers: &Outgoing<'_>,
    (layer, diff_id): (&Descriptor, DiffId),
    wish: Option<StargzWish>,
) -> Result<(Descriptor, DiffId), SeamError> {
    let Some(wish) = wish else { return Ok((layer.clone(), diff_id)) };
    let mut packed = pack_stargz(store, layers, (layer, diff_id), wish).map_err(SeamError::new)?;
    if let Some(length) = packed.tar {
        let told = [
            (UNCOMPRESSED, packed.diff_id.to_string()),
            (TAR, diff_id.to_string()),
            (LENGTH, length.to_string()),
        ];
        packed.layer.annotations.extend(told.map(|(name, value)| (name.to_owned(), value)));
    }
    Ok((packed.layer, packed.diff_id))
}

/// Returns the diff ID of the tar that a layer of a cache begins with, and the length of that.
pub(super) fn tar_of(layer: &Descriptor) -> Option<(DiffId, u64)> {
    let diff_id = layer.annotations.get(TAR)?.parse().ok()?;
    Some((DiffId(diff_id), layer.annotations.get(LENGTH)?.parse().ok()?))
}

/// Returns what a step made, of what a layer decompresses to.
pub(super) fn made<'a>(layer: &Descriptor, plain: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
    match tar_of(layer) {
        Some((_, length)) => Box::new(plain.take(length)),
        None => plain,
    }
}
