//! Layers of other tools' making: unpacked, and kept as archives too, because their bytes cannot be made again.

use std::io::{self, BufReader, Read, Write};

use shipway_distribution::{GzipWriter, compress};
use shipway_layers::{Layer, LayerStore as _, decompress_ahead};
use shipway_oci::{Descriptor, DiffId, MediaType};
use shipway_store::{Ingest, Packed, StoreError};

use crate::engine::Engine;
use crate::failure::Failure;

const GZIP: &str = MediaType::OCI_LAYER_GZIP;
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// How much of an archive is read at a time.
pub(super) const BUFFER: usize = 1 << 16;

/// Takes a layer in, compressed or not, whose diff ID must be `wanted` if given. What no
/// registry takes, uncompressed or as xz and bzip2 compress, is kept compressed with gzip.
pub(crate) fn take_in(
    engine: &Engine,
    archive: &mut (dyn Read + Send),
    wanted: Option<DiffId>,
) -> Result<(Layer, Descriptor), Failure> {
    let mut start = Vec::new();
    archive.take(4).read_to_end(&mut start).map_err(|error| uncopied(engine, error))?;
    let kind = match start.as_slice() {
        [0x1f, 0x8b, ..] => Some(GZIP),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(ZSTD),
        _ => None,
    };
    let mut whole = io::Cursor::new(start).chain(archive);
    let blob = engine.store.ingest()?;
    let unwritten = |error: io::Error| Failure::from(StoreError::of_write(&engine.store.tmp(), error));
    let (layer, blob) = match kind {
        Some(_) => {
            let mut tee = Tee { inner: &mut whole, out: blob };
            let mut buffered = BufReader::with_capacity(BUFFER, &mut tee);
            let taken =
                decompress_ahead(&mut buffered, |plain| engine.layers.import_unseen(plain, wanted, None));
            let layer = taken.flatten()?;
            io::copy(&mut tee, &mut io::sink()).map_err(|error| uncopied(engine, error))?;
            (layer, tee.out)
        }
        None => {
            let out: GzipWriter<Ingest> = compress(blob).map_err(unwritten)?;
            let taken = decompress_ahead(&mut BufReader::with_capacity(BUFFER, whole), |plain| {
                let mut tee = Tee { inner: plain, out };
                engine.layers.import_unseen(&mut tee, wanted, None).map(|layer| (layer, tee.out))
            });
            let (layer, out) = taken.flatten()?;
            (layer, out.finish().map_err(unwritten)?)
        }
    };
    let kind = kind.unwrap_or(GZIP);
    let size = blob.written();
    let digest = blob.commit(None)?;
    let packed = Packed { digest, size, media_type: kind.to_owned(), packer: String::new() };
    engine.store.record_packed(layer.diff_id, &packed)?;
    let layer = Layer { id: engine.layers.publish(&[&layer])?.remove(0), ..layer };
    Ok((layer, Descriptor::new(kind, digest, size)))
}

/// Whether the kernel says that a disk is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Says why something of an archive did not get into the store: nothing that is read has a full disk.
pub(super) fn uncopied(engine: &Engine, error: io::Error) -> Failure {
    if is_full(&error) {
        return StoreError::of_write(&engine.store.tmp(), error).into();
    }
    Failure::new(
        format!("could not read the archive: {error}"),
        "see that it is whole, and get it again if it is not",
    )
}

/// Writes down what is read.
struct Tee<'a, R: ?Sized, W> {
    inner: &'a mut R,
    out: W,
}

impl<R: Read + ?Sized, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.out.write_all(&buffer[..read])?;
        Ok(read)
    }
}
