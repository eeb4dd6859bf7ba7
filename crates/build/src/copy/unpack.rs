//! ADD of a local archive: what it is, and unpacking it.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use shipway_layers::{Budget, unpack};
use shipway_linux::Root;

use crate::Problem;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archive {
    Plain,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

/// Returns what kind of tar archive a file is; `None` if it is none, which ADD copies as it is.
pub(crate) fn archive_of(root: &Root, path: &Path) -> Result<Option<Archive>, Problem> {
    let read = || Problem::io("read", path);
    let mut start = Vec::new();
    root.open_file(path).map_err(read())?.take(512).read_to_end(&mut start).map_err(read())?;
    let kind = match start.as_slice() {
        [0x1f, 0x8b, ..] => Archive::Gzip,
        [b'B', b'Z', b'h', ..] => Archive::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Archive::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Archive::Zstd,
        _ => Archive::Plain,
    };
    let mut header = Vec::new();
    let file = root.open_file(path).map_err(read())?;
    // A file that only looks compressed is no archive.
    let Ok(stream) = decompress(kind, file) else { return Ok(None) };
    if stream.take(512).read_to_end(&mut header).is_err() {
        return Ok(None);
    }
    Ok(is_tar_header(&header).then_some(kind))
}

fn decompress(kind: Archive, file: std::fs::File) -> io::Result<Box<dyn Read>> {
    Ok(match kind {
        Archive::Plain => Box::new(io::BufReader::new(file)),
        Archive::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Archive::Xz => Box::new(lzma_rust2::XzReader::new(io::BufReader::new(file), true)),
        Archive::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
        Archive::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
    })
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

/// Unpacks an archive into an empty directory.
///
/// Directories that the archive only implies are dated `now`, a duration since 1970.
pub(crate) fn unpack_archive(
    root: &Root,
    path: &Path,
    kind: Archive,
    (into, now): (&Root, Duration),
) -> Result<(), Problem> {
    let file = root.open_file(path).map_err(Problem::io("read", path))?;
    let mut stream = decompress(kind, file).map_err(Problem::io("decompress", path))?;
    let implied = unpack(into, &mut *stream, Budget::default())
        .map_err(|source| Problem::Layers { action: "unpack an archive", source })?;
    let now = crate::time::parts(now);
    implied.iter().try_for_each(|path| into.set_mtime(path, now).map_err(Problem::io("date", path)))
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
            ("tar", header.clone(), Some(Archive::Plain)),
            ("zstd", zipped, Some(Archive::Zstd)),
            ("bzip2", packed, Some(Archive::Bzip2)),
            ("looks like bzip2", b"BZh91AY".to_vec(), None),
            ("text", b"hello".to_vec(), None),
            ("looks like gzip", b"\x1f\x8bxxxxxxxx".to_vec(), None),
            ("empty", Vec::new(), None),
            ("zeros", vec![0; 1024], None),
        ] {
            fs_err::write(dir.path().join("f"), bytes).unwrap();
            assert_eq!(archive_of(&root, Path::new("f")).unwrap(), want, "case {name}");
        }
    }
}
