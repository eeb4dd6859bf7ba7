//! eStargz: layers of which single files can be fetched.
//!
//! What it decompresses to is a tar as it was, and behind its end a landmark and a table of contents: readers of archives stop before
//! those, so the files are the same. Each piece of a file's content is a gzip member of its own, and so is the table; where that
//! begins is said by the last member. The same tar gives the same bytes.
//!
//! Spec: containerd/stargz-snapshotter, docs/estargz.md. Compat: BuildKit, which leaves the tar as it is, too, but has no landmark.

mod members;
mod read;
mod scan;
mod toc;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};

use shipway_oci::{DiffId, Digest, Hashing};

use self::members::{compress, compress_each};
use self::scan::{PIECE, Scan};
use self::toc::{Toc, TocEntry};
use crate::LayerError;
use crate::tar_header::{BLOCK, Header, pad};

pub use self::read::find_stargz_toc;

/// Name of the table.
const TOC: &str = "stargz.index.json";
/// Says that no file is to be fetched before it is asked for.
const LANDMARK: &str = ".no.prefetch.landmark";
/// Says up to where files are.
const PREFETCH_LANDMARK: &str = ".prefetch.landmark";
/// What a landmark holds.
const LANDMARK_CONTENT: u8 = 0xf;

/// How hard is tried where nobody says it.
const LEVEL: u8 = 6;

/// Bytes of the last member, and of what its extra field holds.
const FOOTER: usize = 51;
const EXTRA: usize = 22;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stargz {
    /// Digest of the table.
    pub toc: Digest,
    /// Digest of what it decompresses to.
    pub diff_id: DiffId,
    /// Bytes of that.
    pub size: u64,
    /// Bytes of the tar, with which that begins.
    pub tar: u64,
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WriteStargzError {
    /// A name has a meaning of its own there, or cannot be told.
    #[error("a layer in eStargz cannot have the file `{name}`")]
    #[diagnostic(code(layers::stargz), help("give the file another name, or the output another compression"))]
    Name {
        /// The name.
        name: String,
    },
    /// The table would not fit into memory.
    #[error("a layer in eStargz has at most {most} files and pieces of {} MiB", PIECE >> 20)]
    #[diagnostic(code(layers::stargz_entries), help("give the output another compression"))]
    TooMany {
        /// How many there may be.
        most: usize,
    },
    /// The tar could not be read from the disk.
    #[error("could not read the layer")]
    #[diagnostic(code(layers::stargz_read), help("see what the kernel says of the disk: `dmesg`"))]
    Read {
        /// What the kernel said.
        source: io::Error,
    },
    /// What the tar says could not be understood.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tar(LayerError),
    /// The layer could not be written.
    #[error("could not write the layer")]
    #[diagnostic(
        code(layers::stargz_io),
        help("see whether there is room on the disk, or choose another: --root DIR")
    )]
    Io {
        /// What the kernel said.
        source: io::Error,
    },
}

/// Writes a tar in this form, compressed from 0 to 9.
pub fn write_stargz(tar: &File, level: Option<u8>, out: &mut dyn Write) -> Result<Stargz, WriteStargzError> {
    let level = u32::from(level.unwrap_or(LEVEL));
    let unwritable = |source| WriteStargzError::Io { source };
    let scan = Scan::of(tar)?;
    let length = scan.length;
    let (toc, trailer) = write_scanned(tar, scan, level, out).map_err(unwritable)?;
    let mut tar = tar;
    let unreadable = |source| WriteStargzError::Read { source };
    tar.rewind().map_err(unreadable)?;
    let mut whole = Hashing::new(tar.chain(trailer.as_slice()));
    io::copy(&mut whole, &mut io::sink()).map_err(unreadable)?;
    let (_, digest, size) = whole.finish();
    Ok(Stargz { toc, diff_id: DiffId(digest), size, tar: length })
}

/// Writes everything, and returns the digest of the table and what stands behind the tar.
fn write_scanned(
    tar: &File,
    mut scan: Scan,
    level: u32,
    out: &mut dyn Write,
) -> io::Result<(Digest, Vec<u8>)> {
    let landmark = entry_of(LANDMARK, 1)?;
    let (bounds, firsts) = parts(&scan);
    let mut offsets = Vec::with_capacity(bounds.len());
    let mut offset = 0;
    compress_each(tar, &bounds, &landmark, level, &mut |member| {
        offsets.push(offset);
        offset += member.len() as u64;
        out.write_all(member)
    })?;
    for (piece, first) in scan.pieces.iter().zip(firsts) {
        scan.entries[piece.entry].offset = Some(offsets[first]);
    }
    scan.entries.push(TocEntry::landmark(offset));
    let mut content = vec![LANDMARK_CONTENT];
    pad(&mut content, 1)?;
    let member = compress(&content, level)?;
    out.write_all(&member)?;
    let toc_offset = offset + member.len() as u64;
    let toc = Toc::bytes(&scan.entries);
    let mut archive = entry_of(TOC, toc.len() as u64)?;
    archive.extend_from_slice(&toc);
    pad(&mut archive, toc.len() as u64)?;
    archive.extend_from_slice(&[0; 2 * BLOCK]);
    out.write_all(&compress(&archive, level)?)?;
    out.write_all(&footer(toc_offset))?;
    Ok((Digest::of(&toc), [landmark, content, archive].concat()))
}

/// Returns where the parts of a tar begin and end that are compressed each for itself, and which of them each piece of a content begins.
fn parts(scan: &Scan) -> (Vec<u64>, Vec<usize>) {
    let (mut bounds, mut firsts) = (vec![0], Vec::with_capacity(scan.pieces.len()));
    let mut last = 0;
    let starts = scan.pieces.iter().map(|piece| piece.start);
    for start in starts.chain([scan.length]) {
        // What has no content may be long too, and a part is held in memory.
        while start - last > PIECE {
            last += PIECE;
            bounds.push(last);
        }
        firsts.push(bounds.len());
        bounds.push(start);
        last = start;
    }
    (bounds, firsts)
}

/// Returns the header of a file of our own.
fn entry_of(name: &str, size: u64) -> io::Result<Vec<u8>> {
    let header = Header { path: name.into(), kind: b'0', mode: 0o644, size, ..Header::default() };
    let mut bytes = Vec::new();
    header.write(&mut bytes)?;
    Ok(bytes)
}

/// Returns the last member, which is empty and says where the table begins.
fn footer(toc: u64) -> [u8; FOOTER] {
    let mut bytes = [0; FOOTER];
    // Magic, deflate, an extra field, no time, unknown system; the field is 26 bytes long and its own part of it 22.
    bytes[..16].copy_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0]);
    bytes[16..16 + EXTRA].copy_from_slice(format!("{toc:016x}STARGZ").as_bytes());
    // A last block that is stored and empty; sum and length are zero.
    bytes[38..43].copy_from_slice(&[1, 0, 0, 0xff, 0xff]);
    bytes
}

#[cfg(test)]
mod tests;
