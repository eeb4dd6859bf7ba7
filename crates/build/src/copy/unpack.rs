//! ADD of a local archive: what it is, and unpacking it.

use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

use shipway_layers::{Added, Budget, decompress_unbounded, unpack_added};
use shipway_linux::Root;

use crate::Problem;

/// An input of steps that unpack archives. Its value changes with what comes of an archive, so that what older versions made of it is not
/// taken from the cache.
pub(crate) const UNPACKING: (&str, &str) = ("how archives are unpacked", "2");

/// Returns whether a file is a tar archive, compressed or not. What is none is copied by ADD as it is.
pub(crate) fn is_archive(root: &Root, path: &Path) -> Result<bool, Problem> {
    let file = root.open_file(path).map_err(Problem::io("read", path))?;
    // A file that only looks compressed is no archive.
    let Ok(stream) = decompress_unbounded(Box::new(file)) else { return Ok(false) };
    let mut header = Vec::new();
    Ok(stream.take(512).read_to_end(&mut header).is_ok() && is_tar_header(&header))
}

/// Returns whether the first 512 bytes of something are a tar archive's header, of whatever format: its sum of bytes, in which the sum
/// itself counts as spaces, is right.
pub fn is_tar_header(header: &[u8]) -> bool {
    if header.len() < 512 || header.iter().all(|byte| *byte == 0) {
        return false;
    }
    let field = &header[148..156];
    let text: String = field.iter().map(|byte| char::from(*byte)).collect();
    let Ok(wanted) = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8) else { return false };
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = field.iter().map(|byte| u32::from(*byte)).sum();
    sum - own + 8 * u32::from(b' ') == wanted
}

/// Unpacks an archive into an empty directory, and returns what is left to do where its files are laid.
///
/// Directories that the archive only implies are dated `now`, a duration since 1970.
pub(crate) fn unpack_archive(root: &Root, path: &Path, into: &Root, now: Duration) -> Result<Added, Problem> {
    let wrong = |source| Problem::Layers { action: "unpack an archive", source };
    let file = root.open_file(path).map_err(Problem::io("read", path))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let mut stream = decompress_unbounded(Box::new(file)).map_err(wrong)?;
    let added = unpack_added(into, &mut *stream, Budget::default()).map_err(wrong)?;
    let now = crate::time::parts(now);
    for path in &added.implied {
        into.set_mtime(path, now).map_err(Problem::io("date", path))?;
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_archives_are_unpacked() {
        let mut header = vec![0u8; 512];
        header[..5].copy_from_slice(b"a.txt");
        header[100..107].copy_from_slice(b"0000644");
        header[156] = b'0';
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut packed = Vec::new();
        bzip2::read::BzEncoder::new(&header[..], bzip2::Compression::fast())
            .read_to_end(&mut packed)
            .unwrap();
        let zipped = zstd::encode_all(&header[..], 1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (name, bytes, want) in [
            ("tar", header.clone(), true),
            ("zstd", zipped, true),
            ("bzip2", packed, true),
            ("looks like bzip2", b"BZh91AY".to_vec(), false),
            ("text", b"hello".to_vec(), false),
            ("looks like gzip", b"\x1f\x8bxxxxxxxx".to_vec(), false),
            ("empty", Vec::new(), false),
            ("zeros", vec![0; 1024], false),
        ] {
            fs_err::write(dir.path().join("f"), bytes).unwrap();
            assert_eq!(is_archive(&root, Path::new("f")).unwrap(), want, "case {name}");
        }
    }
}
