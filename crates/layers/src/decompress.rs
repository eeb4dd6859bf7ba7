//! Archives as people have them: plain, or compressed with gzip or zstd, told apart by how they begin.
//!
//! A few bytes can be made to stand for very many. So what comes out may be only so many times what went in.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use crate::LayerError;

/// What comes out may be so many times what went in, beyond so many bytes that any archive may have.
const RATIO: u64 = 200;
const SLACK: u64 = 256 << 20;

/// Largest window of zstd, as its power of two: 128 MiB of memory. Compat: zstd refuses larger ones unless told otherwise.
const WINDOW: u32 = 27;

/// What more than the ratio is refused with.
#[derive(Debug, thiserror::Error)]
#[error("it holds more than {RATIO} times its own size; if that is as it should be, decompress it first")]
struct Bomb;

/// Returns what is in an archive that may be compressed.
pub fn decompress<'a>(mut input: Box<dyn Read + 'a>) -> Result<Box<dyn Read + 'a>, LayerError> {
    let mut start = Vec::new();
    let read = input.by_ref().take(6).read_to_end(&mut start);
    read.map_err(|source| LayerError::Input { place: "its beginning".to_owned(), source })?;
    let kind = match start.as_slice() {
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(LayerError::Compression { program: "xz" }),
        [b'B', b'Z', b'h', ..] => return Err(LayerError::Compression { program: "bzip2" }),
        [0x04, 0x22, 0x4d, 0x18, ..] => return Err(LayerError::Compression { program: "lz4" }),
        _ => Kind::Plain,
    };
    let whole = io::Cursor::new(start).chain(input);
    let taken = Rc::new(Cell::new(0));
    let counted = Counted { inner: whole, count: Rc::clone(&taken) };
    let inner: Box<dyn Read + 'a> = match kind {
        Kind::Plain => return Ok(Box::new(counted.inner)),
        Kind::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, counted)))
        }
        Kind::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(counted).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW)?;
                Ok(decoder)
            });
            let fail = |source| LayerError::Input { place: "its beginning".to_owned(), source };
            Box::new(decoder.map_err(fail)?)
        }
    };
    Ok(Box::new(Limited { inner, taken, given: 0 }))
}

enum Kind {
    Plain,
    Gzip,
    Zstd,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

/// Fails where much more comes out than went in.
struct Limited<'a> {
    inner: Box<dyn Read + 'a>,
    taken: Rc<Cell<u64>>,
    given: u64,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.given += length as u64;
        if self.given > SLACK.saturating_add(self.taken.get().saturating_mul(RATIO)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Bomb));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(Box::new(bytes)).unwrap().read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn the_beginning_says_how_it_is_compressed() {
        let text = b"some text, and some text".repeat(100);
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        let cases = [
            ("plain", text.clone(), text.clone()),
            ("short", b"ab".to_vec(), b"ab".to_vec()),
            ("empty", Vec::new(), Vec::new()),
            ("gzip", gzip(&text), text.clone()),
            ("gzip in two parts", [gzip(&text), gzip(b"more")].concat(), [text.as_slice(), b"more"].concat()),
            ("zstd", zstd.clone(), text.clone()),
            ("zstd in two parts", [zstd.clone(), zstd.clone()].concat(), text.repeat(2)),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(read(&bytes).unwrap(), want, "case {name}");
        }
        for (program, bytes) in
            [("xz", &b"\xfd7zXZ\0rest"[..]), ("bzip2", b"BZh9rest"), ("lz4", b"\x04\x22\x4d\x18r")]
        {
            let refused = decompress(Box::new(bytes)).err().unwrap();
            assert!(matches!(refused, LayerError::Compression { program: found } if found == program));
        }
        assert!(read(&gzip(&text)[..40]).is_err(), "cut");
        assert!(read(&zstd[..zstd.len() - 3]).is_err(), "cut");
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        // 1 GiB of zeros in 100 KiB (zstd) and 1 MiB (gzip): twice as much as may come out of either.
        let zeros = || io::repeat(0).take(1 << 30);
        let zstd = zstd::encode_all(zeros(), 1).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::copy(&mut zeros(), &mut encoder).unwrap();
        for (name, bytes) in [("zstd", zstd), ("gzip", encoder.finish().unwrap())] {
            let mut reader = decompress(Box::new(bytes.as_slice())).unwrap();
            let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains("200 times"), "case {name}: {error}");
        }
        // A window of a gibibyte is announced in the header: magic, no size, window of 2^30.
        let mut wide = decompress(Box::new(&b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"[..])).unwrap();
        assert!(wide.read(&mut [0; 10]).is_err());
    }
}
