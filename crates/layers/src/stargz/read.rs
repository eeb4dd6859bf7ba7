//! Recognising layers in this form.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use flate2::bufread::GzDecoder;
use shipway_oci::{Digest, Hasher};

use super::{EXTRA, FOOTER, TOC};
use crate::tar_reader::TarReader;

/// Largest table that is looked at, with what is around it.
const LIMIT: u64 = 1 << 30;

/// Returns the digest of the table of contents of a layer in eStargz; `None` for any other file.
pub fn find_stargz_toc(mut layer: &File) -> io::Result<Option<Digest>> {
    let length = layer.metadata()?.len();
    let Some(end) = length.checked_sub(FOOTER as u64) else { return Ok(None) };
    let mut footer = [0; FOOTER];
    layer.read_exact_at(&mut footer, end)?;
    let Some(start) = offset_in(&footer).filter(|start| *start < end) else { return Ok(None) };
    layer.seek(SeekFrom::Start(start))?;
    let member = BufReader::new(layer.take(end - start));
    let mut archive = BufReader::new(GzDecoder::new(member).take(LIMIT));
    let mut archive = TarReader::new(&mut archive);
    // What is no archive is no table.
    let Ok(Some(entry)) = archive.next() else { return Ok(None) };
    let mut toc = Hasher::default();
    let is_toc = entry.path == TOC.as_bytes() && archive.copy_content(&mut toc).is_ok();
    Ok(is_toc.then(|| toc.finish()))
}

/// Returns where the table begins, as a last member says.
fn offset_in(footer: &[u8; FOOTER]) -> Option<u64> {
    let is_one = footer.starts_with(&[0x1f, 0x8b, 8, 4]) && footer[10..16] == [26, 0, b'S', b'G', 22, 0];
    let text = std::str::from_utf8(&footer[16..16 + EXTRA]).ok().filter(|_| is_one)?;
    u64::from_str_radix(text.strip_suffix("STARGZ")?, 16).ok()
}
