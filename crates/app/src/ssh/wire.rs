//! Numbers and strings as ssh writes them. Spec: RFC 4251 section 5.

/// Reads from bytes; `None` where they are too few.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// Returns the bytes of a positive number, the highest first, without zeros in front.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            return None;
        }
        Some(without_zeros(bytes))
    }
}

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// Puts things one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(super) fn number(mut self, number: usize) -> Self {
        let number = u32::try_from(number).expect("what is written is shorter than 4 GiB");
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut written = self.number(bytes.len());
        written.0.extend(bytes);
        written
    }

    /// Writes a positive number, given its bytes, the highest first.
    pub(super) fn integer(self, bytes: &[u8]) -> Self {
        let bytes = without_zeros(bytes);
        let mut padded = Vec::with_capacity(bytes.len() + 1);
        // A set highest bit would make it negative.
        padded.extend(bytes.first().filter(|first| *first & 0x80 != 0).map(|_| 0));
        padded.extend(bytes);
        self.string(padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let written =
            Writer::default().byte(7).string("text").integer(&[0, 0x80, 1]).number(5).integer(&[]).0;
        let mut reader = Reader(&written);
        assert_eq!((reader.byte(), reader.string()), (Some(7), Some(&b"text"[..])));
        assert_eq!((reader.integer(), reader.number()), (Some(&[0x80, 1][..]), Some(5)));
        assert_eq!((reader.integer(), reader.byte()), (Some(&[][..]), None));
        for (name, bytes) in [
            ("too short for a length", &[0, 0, 0][..]),
            ("too short for its length", &[0, 0, 0, 2, 1]),
            ("negative", &[0, 0, 0, 1, 0x80]),
        ] {
            assert_eq!(Reader(bytes).integer(), None, "case {name}");
        }
    }
}
