//! Netlink messages as bytes.

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

/// A message to send: header, a fixed part, attributes.
#[derive(Debug)]
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

/// What the header of a message says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
}

impl Message {
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self { kind, flags, body: Vec::with_capacity(128) };
        message.raw(fixed);
        message
    }

    pub(super) fn flags(&self) -> u16 {
        self.flags
    }

    pub(crate) fn add_flags(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Adds bytes that are no attribute.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend_from_slice(bytes);
        pad(&mut self.body);
        self
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.begin(kind, value.len());
        self.raw(value)
    }

    /// Adds a text with the zero at its end that the kernel wants.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.begin(kind, value.len() + 1);
        self.body.extend_from_slice(value.as_bytes());
        self.body.push(0);
        pad(&mut self.body);
        self
    }

    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network order, as all of nftables has it.
    pub(crate) fn number_be(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.body.len();
        self.begin(kind | NESTED, 0);
        fill(self);
        let length = short(self.body.len() - start);
        self.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    fn begin(&mut self, kind: u16, length: usize) {
        self.body.extend_from_slice(&short(length + 4).to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
    }

    pub(super) fn write(&self, sequence: u32, into: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.body.len()).expect("messages are small");
        into.extend_from_slice(&length.to_ne_bytes());
        into.extend_from_slice(&self.kind.to_ne_bytes());
        into.extend_from_slice(&self.flags.to_ne_bytes());
        into.extend_from_slice(&sequence.to_ne_bytes());
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(&self.body);
    }
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("attributes are small")
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Takes a datagram apart; what is cut short ends it.
pub(super) fn split(mut bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let kind = u16::from_ne_bytes(*rest.first_chunk()?);
        let flags = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((Header { kind, flags, sequence }, payload))
    })
}

/// Takes attributes apart; what is cut short ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & KIND_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = Message::new(16, 5, &[1, 2, 3, 4]);
        message.text(3, "eth0").nested(18, |inner| {
            inner.number(1, 7).attribute(2, &[9]);
        });
        let mut bytes = Vec::new();
        message.write(42, &mut bytes);
        message.write(43, &mut bytes);
        let read: Vec<_> = split(&bytes).collect();
        assert_eq!(read.iter().map(|(header, _)| header.sequence).collect::<Vec<_>>(), [42, 43]);
        let (header, payload) = read[0];
        assert_eq!((header.kind, header.flags), (16, 5));
        let found: Vec<_> = attributes(&payload[4..]).collect();
        assert_eq!(found[0], (3, &b"eth0\0"[..]));
        let inner: Vec<_> = attributes(found[1].1).collect();
        assert_eq!(inner, [(1, &7_u32.to_ne_bytes()[..]), (2, &[9][..])]);
    }

    #[test]
    fn cut_or_lying_bytes_end_the_list() {
        for (name, bytes) in [
            ("empty", vec![]),
            ("header only in part", vec![20, 0, 0]),
            ("shorter than its header", vec![2, 0, 1, 0, 0, 0, 0, 0]),
            ("longer than what is there", vec![200, 0, 1, 0, 1, 2, 3, 4]),
        ] {
            assert_eq!(attributes(&bytes).count(), 0, "case {name}");
            assert_eq!(split(&bytes).count(), 0, "case {name}");
        }
    }
}
