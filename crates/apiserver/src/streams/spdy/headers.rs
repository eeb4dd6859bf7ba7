//! Header blocks: name/value pairs, compressed with one zlib stream per direction for the life of the connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use super::frame::FrameError;

/// Most bytes of a block when decompressed.
const BLOCK: usize = 64 * 1024;

/// Name/value pairs; names are lower case.
pub(crate) type Headers = Vec<(String, String)>;

/// Returns the value of a header, empty if there is none.
pub(crate) fn header<'a>(headers: &'a Headers, name: &str) -> &'a str {
    headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
}

/// Decompresses the blocks that arrive.
pub(super) struct Inflater {
    zlib: Decompress,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true) }
    }

    /// Decompresses and parses the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, FrameError> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut plain = Vec::with_capacity(512);
        let mut primed = false;
        loop {
            if plain.len() == plain.capacity() {
                if plain.len() >= BLOCK {
                    return Err(FrameError::Headers);
                }
                plain.reserve(plain.len().max(512));
            }
            let (taken, given) = (self.zlib.total_in(), plain.len());
            let outcome = self.zlib.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let consumed =
                usize::try_from(self.zlib.total_in() - taken).map_err(|_big| FrameError::Headers)?;
            block = block.get(consumed..).unwrap_or_default();
            match outcome {
                Ok(Status::StreamEnd) => return Err(FrameError::Headers),
                Ok(_) => {
                    let room_left = plain.len() < plain.capacity();
                    if block.is_empty() && room_left {
                        return Ok(plain);
                    }
                    if consumed == 0 && plain.len() == given && room_left {
                        return Err(FrameError::Headers);
                    }
                }
                Err(error) if error.needs_dictionary().is_some() && !primed => {
                    self.zlib.set_dictionary(&dictionary()).map_err(|_wrong| FrameError::Headers)?;
                    primed = true;
                }
                Err(_) => return Err(FrameError::Headers),
            }
        }
    }
}

/// Compresses the blocks that leave.
pub(super) struct Deflater {
    zlib: Compress,
}

impl Deflater {
    pub(super) fn new() -> Result<Self, FrameError> {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(&dictionary()).map_err(|_wrong| FrameError::Headers)?;
        Ok(Self { zlib })
    }

    /// Writes and compresses a block.
    pub(super) fn write(&mut self, headers: &Headers) -> Result<Vec<u8>, FrameError> {
        let plain = encode(headers)?;
        let mut block = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            let before = self.zlib.total_in();
            self.zlib
                .compress_vec(rest, &mut block, FlushCompress::Sync)
                .map_err(|_error| FrameError::Headers)?;
            let taken = usize::try_from(self.zlib.total_in() - before).map_err(|_big| FrameError::Headers)?;
            rest = rest.get(taken..).unwrap_or_default();
            // A flush is complete only when it left room.
            if rest.is_empty() && block.len() < block.capacity() {
                return Ok(block);
            }
            block.reserve(block.len().max(64));
        }
    }
}

fn encode(headers: &Headers) -> Result<Vec<u8>, FrameError> {
    let length = |text: usize| u32::try_from(text).map(u32::to_be_bytes).map_err(|_big| FrameError::Headers);
    let mut plain = length(headers.len())?.to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.extend(length(text.len())?);
        plain.extend(text.as_bytes());
    }
    Ok(plain)
}

fn parse(plain: &[u8]) -> Result<Headers, FrameError> {
    let mut rest = plain;
    let number = |rest: &mut &[u8]| -> Result<usize, FrameError> {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or(FrameError::Headers)?;
        *rest = tail;
        usize::try_from(u32::from_be_bytes(*head)).map_err(|_big| FrameError::Headers)
    };
    let count = number(&mut rest)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let mut text = || -> Result<String, FrameError> {
            let length = number(&mut rest)?;
            let (text, tail) = rest.split_at_checked(length).ok_or(FrameError::Headers)?;
            rest = tail;
            String::from_utf8(text.to_vec()).map_err(|_bytes| FrameError::Headers)
        };
        let (name, value) = (text()?, text()?);
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(port: &str, id: &str) -> Headers {
        [("streamtype", "error"), ("port", port), ("requestid", id)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn blocks_share_one_zlib_stream_each_way() {
        let (mut out, mut back) = (Deflater::new().unwrap(), Inflater::new());
        let first = out.write(&port("80", "0")).unwrap();
        let second = out.write(&port("80", "1")).unwrap();
        assert!(second.len() < first.len(), "the second refers to the first");
        assert_eq!(back.read(&first).unwrap(), port("80", "0"));
        assert_eq!(back.read(&second).unwrap(), port("80", "1"));
    }

    #[test]
    fn an_empty_block_is_no_headers() {
        let block = Deflater::new().unwrap().write(&Headers::new()).unwrap();
        assert_eq!(Inflater::new().read(&block).unwrap(), Headers::new());
    }

    #[test]
    fn large_blocks_survive_and_bombs_do_not() {
        let large = vec![("x".to_owned(), "y".repeat(40_000))];
        let block = Deflater::new().unwrap().write(&large).unwrap();
        assert_eq!(Inflater::new().read(&block).unwrap(), large);
        let bomb = Deflater::new().unwrap().write(&vec![("x".to_owned(), "y".repeat(10_000_000))]).unwrap();
        assert!(bomb.len() < 64 * 1024, "it is small on the wire");
        assert!(Inflater::new().read(&bomb).is_err());
    }

    #[test]
    fn garbage_is_an_error() {
        for garbage in [&b""[..], b"x", &[0; 40], &[0xff; 400], b"\x78\xbb\xe3\xc6\xa7\xc2garbage"] {
            assert!(Inflater::new().read(garbage).is_err(), "{garbage:?}");
        }
        for plain in [&[0, 0, 0, 1][..], &[0xff; 8], &[0, 0, 0, 1, 0, 0, 0, 9, b'a']] {
            assert!(parse(plain).is_err());
        }
    }
}
