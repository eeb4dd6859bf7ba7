//! Archives as people have them: plain, or compressed with gzip, zstd, xz or bzip2, told apart by how they begin.
//!
//! A few bytes can be made to stand for very many. So what comes out may be only so many times what went in.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::LayerError;

/// What comes out may be so many times what went in, beyond so many bytes that any archive may have.
const RATIO: u64 = 200;
const SLACK: u64 = 256 << 20;

/// Largest window of zstd, as its power of two: 128 MiB of memory. Compat: zstd refuses larger ones unless told otherwise.
const WINDOW: u32 = 27;

/// Largest memory of xz in KiB: a dictionary of as much, and what is beside it. The largest of its levels has 64 MiB.
const XZ_MEMORY: u32 = (1 << (WINDOW - 10)) + 1024;

/// How much is read at a time.
const BUFFER: usize = 1 << 16;

/// What more than the ratio is refused with.
#[derive(Debug, thiserror::Error)]
#[error("it holds more than {RATIO} times its own size; if that is as it should be, decompress it first")]
struct Bomb;

/// Returns what is in an archive that may be compressed.
pub fn decompress<'a>(input: Box<dyn Read + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
    open(buffered(input), LIMITS).map(|plain| plain.reader)
}

/// Like [`decompress`], and says whether it is compressed.
pub(crate) fn open_bounded<'a>(input: Box<dyn BufRead + Send + 'a>) -> Result<Plain<'a>, LayerError> {
    open(input, LIMITS)
}

/// What is in an archive.
pub(crate) struct Plain<'a> {
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    pub(crate) is_compressed: bool,
}

/// Returns what is in an archive that may be compressed, however much that is. It is for archives that somebody builds with himself.
pub fn decompress_unbounded<'a>(
    input: Box<dyn Read + Send + 'a>,
) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
    open(buffered(input), Bounds { ratio: u64::MAX, xz_memory: u32::MAX }).map(|plain| plain.reader)
}

fn buffered<'a>(input: Box<dyn Read + Send + 'a>) -> Box<dyn BufRead + Send + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, input))
}

/// What decompressing may take.
struct Bounds {
    ratio: u64,
    xz_memory: u32,
}

const LIMITS: Bounds = Bounds { ratio: RATIO, xz_memory: XZ_MEMORY };

fn open<'a>(mut input: Box<dyn BufRead + Send + 'a>, bounds: Bounds) -> Result<Plain<'a>, LayerError> {
    let unread = |source| LayerError::Input { place: "at its beginning".to_owned(), source };
    let mut start = Vec::new();
    input.by_ref().take(6).read_to_end(&mut start).map_err(unread)?;
    let kind = match start.as_slice() {
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Kind::Xz,
        [b'B', b'Z', b'h', ..] => Kind::Bzip2,
        [0x04, 0x22, 0x4d, 0x18, ..] => return Err(LayerError::Compression { program: "lz4" }),
        _ => Kind::Plain,
    };
    let whole = io::Cursor::new(start).chain(input);
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: whole, count: Arc::clone(&taken) };
    let inner: Box<dyn Read + Send + 'a> = match kind {
        Kind::Plain => return Ok(Plain { reader: Box::new(counted.inner), is_compressed: false }),
        Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Kind::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(counted).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(unread)?)
        }
        Kind::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(counted, true, bounds.xz_memory)),
        Kind::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(counted)),
    };
    let reader = Box::new(Limited { inner, ratio: bounds.ratio, taken, given: 0 });
    Ok(Plain { reader, is_compressed: true })
}

enum Kind {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.count.fetch_add(amount as u64, Ordering::Relaxed);
        self.inner.consume(amount);
    }
}

/// Fails where much more comes out than went in.
struct Limited<'a> {
    inner: Box<dyn Read + Send + 'a>,
    ratio: u64,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.given += length as u64;
        if self.given > SLACK.saturating_add(self.taken.load(Ordering::Relaxed).saturating_mul(self.ratio)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Bomb));
        }
        Ok(length)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: impl Read) -> Vec<u8> {
        let mut encoder = bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast());
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).unwrap();
        out
    }

    /// `some text, and some text` a hundred times, as xz 5.4 writes it.
    const XZ: &[u8] = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\x09_\0%]\09\x9b\xc9\xf2\xe7\
        P\xb8\xc5\xe2\x5c\xc2\xe0\x16\xf8\xf1\x8e\xdfQ\xe8\x9d\xe2\x0d\x88\x9e\x9d\x9f\x0b\x93s\xaaT\xefJ\xa4\x1f\x0e\0\0\0\0\
        \0\x93\x01\xfa\x0bu7}\x84\0\x01A\xe0\x12\0\0\0\xdfU\x95\xd5\xb1\xc4g\xfb\x02\0\0\0\0\x04YZ";

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
            ("xz", XZ.to_vec(), text.clone()),
            ("xz in two parts", XZ.repeat(2), text.repeat(2)),
            ("bzip2", bzip2(&*text), text.clone()),
            ("bzip2 in two parts", bzip2(&*text).repeat(2), text.repeat(2)),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(read(&bytes).unwrap(), want, "case {name}");
        }
        let refused = decompress(Box::new(&b"\x04\x22\x4d\x18r"[..])).err().unwrap();
        assert!(matches!(refused, LayerError::Compression { program: "lz4" }));
        for (name, bytes) in [
            ("gzip", &gzip(&text)[..40]),
            ("zstd", &zstd[..zstd.len() - 3]),
            ("xz", &XZ[..80]),
            ("bzip2", &bzip2(&*text)[..40]),
        ] {
            assert!(read(bytes).is_err(), "case {name}, cut");
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        // 1 GiB of zeros in 100 KiB (zstd) and 1 MiB (gzip), 300 MiB in a few bytes (bzip2): more than may come out of any.
        let zeros = || io::repeat(0).take(1 << 30);
        let zstd = zstd::encode_all(zeros(), 1).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::copy(&mut zeros(), &mut encoder).unwrap();
        for (name, bytes) in [
            ("zstd", &zstd),
            ("gzip", &encoder.finish().unwrap()),
            ("bzip2", &bzip2(io::repeat(0).take(300 << 20))),
        ] {
            let mut reader = decompress(Box::new(bytes.as_slice())).unwrap();
            let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains("200 times"), "case {name}: {error}");
        }
        let mut whole = decompress_unbounded(Box::new(zstd.as_slice())).unwrap();
        assert_eq!(io::copy(&mut whole, &mut io::sink()).unwrap(), 1 << 30, "somebody wants it");
        // A window of a gibibyte is announced in the header: magic, no size, window of 2^30.
        let mut wide = decompress(Box::new(&b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"[..])).unwrap();
        assert!(wide.read(&mut [0; 10]).is_err());
        // So is such a dictionary.
        let xz = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01$\0\0\0^\x1f\xc7\xf9\x01\0\x03wide\0~\xf7\x0e\x82\x9e\x16\
            9\x98\0\x01\x1c\x04o,\x9c\xc1\x1f\xb6\xf3}\x01\0\0\0\0\x04YZ";
        let error = read(xz).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
        let mut whole = decompress_unbounded(Box::new(&xz[..])).unwrap();
        assert_eq!(io::read_to_string(&mut whole).unwrap(), "wide");
    }
}
