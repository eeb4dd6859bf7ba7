//! Whole archives: to the last byte, with the digest of all of them.

use std::collections::HashSet;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use shipway_linux::Root;
use shipway_oci::{Beside, DiffId, Hashing, HashingBeside};
use shipway_store::LayerNotes;

use crate::refusal::Refusal;
use crate::unpack::{BUFFER, Disk, Unpacked, Unpacker, Whiteouts};
use crate::{Budget, LayerError, serialise};

/// Returns the digest and the length of the canonical tar of a layer's tree.
pub(crate) fn measure(tree: &Path, notes: &LayerNotes) -> Result<(DiffId, u64), LayerError> {
    let mut hashing = Hashing::new(io::sink());
    write(tree, notes, &mut hashing)?;
    let (_, digest, length) = hashing.finish();
    Ok((DiffId(digest), length))
}

/// Writes the canonical tar of a layer's tree.
pub(crate) fn write(tree: &Path, notes: &LayerNotes, out: &mut dyn Write) -> Result<(), LayerError> {
    let root = Root::open_layer(tree).map_err(LayerError::io("open", tree))?;
    let mut buffered = io::BufWriter::with_capacity(1 << 18, out);
    let implied: HashSet<&Path> = notes.implied.iter().map(|path| path.0.as_path()).collect();
    let written = serialise::serialise_as(&root, &implied, None, &mut buffered);
    written.map_err(LayerError::io("read", tree))?;
    buffered.flush().map_err(LayerError::io("write the archive of", tree))
}

/// Unpacks an archive to its last byte, whose diff ID must be `wanted` if given; returns what was noted, the diff ID, and how many
/// bytes it has.
pub(crate) fn unpack_whole(
    tree: &Path,
    tar: &mut dyn Read,
    wanted: Option<DiffId>,
    beside: Option<&dyn Beside>,
) -> Result<(Unpacked, DiffId, u64), LayerError> {
    let root = Root::open(tree).map_err(LayerError::io("open", tree))?;
    let mut archive = BufReader::with_capacity(BUFFER, HashingBeside::new(tar, beside));
    let unpacked =
        Unpacker::new(&mut Disk::new(&root), Budget::default(), Whiteouts::Apply).run(&mut archive)?;
    drain(&mut archive, unpacked.budget.bytes)?;
    let (found, size) = archive.into_inner().finish();
    Ok((unpacked, expect(wanted, DiffId(found))?, size))
}

/// Returns the diff ID that was found if it is the one that was wanted, if any was.
pub(crate) fn expect(wanted: Option<DiffId>, found: DiffId) -> Result<DiffId, LayerError> {
    match wanted.filter(|wanted| *wanted != found) {
        Some(wanted) => Err(LayerError::Mismatch { wanted, found }),
        None => Ok(found),
    }
}

/// Reads what follows the end of an archive: the digest is over that, too.
pub(crate) fn drain(archive: &mut dyn Read, limit: u64) -> Result<(), LayerError> {
    let mut rest = archive.take(limit.saturating_add(1));
    let read = io::copy(&mut rest, &mut io::sink());
    let end = "behind its last entry";
    if read.map_err(|source| Refusal::Input(source).at(end))? > limit {
        return Err(Refusal::Reason("too many bytes").at(end));
    }
    Ok(())
}
