//! Frames on the wire.
// Spec: SPDY protocol draft 3.1, section 2.2

use bytes::{BufMut as _, Bytes, BytesMut};

/// Longest control frame.
pub(super) const CONTROL: usize = 64 * 1024;
/// Longest payload of a data frame: the field has 24 bits.
const DATA: usize = (1 << 24) - 1;

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

const FIN: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;
/// A setting's id for the window that new streams start with.
const INITIAL_WINDOW: u32 = 7;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Another version of the protocol.
    #[error("a frame of SPDY version {0}")]
    Version(u16),
    /// A control frame that is too long.
    #[error("a control frame of {0} bytes")]
    TooLong(usize),
    /// A control frame that is too short, or has impossible contents.
    #[error("a malformed control frame of type {0}")]
    Malformed(u16),
    /// A header block that does not decompress or parse.
    #[error("a malformed header block")]
    Headers,
    /// A stream id that the peer may not use.
    #[error("an impossible stream id {0}")]
    StreamId(u32),
}

/// The first eight bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A control frame.
    Control { kind: u16, flags: u8, length: usize },
    /// Data of a stream.
    Data { stream: u32, fin: bool, length: usize },
}

impl Head {
    pub(super) fn parse(bytes: [u8; 8]) -> Result<Self, FrameError> {
        let [a, b, c, d, flags, e, f, g] = bytes;
        let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
        if a & 0x80 == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(Self::Data { stream, fin: flags & FIN != 0, length });
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > CONTROL {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self::Control { kind: u16::from_be_bytes([c, d]), flags, length })
    }
}

/// A control frame; header blocks are still compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    SynStream {
        stream: u32,
        fin: bool,
        unidirectional: bool,
        block: Bytes,
    },
    SynReply {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    /// Only the one setting that matters here.
    Settings {
        initial_window: Option<u32>,
    },
    Ping {
        id: u32,
    },
    GoAway {
        last: u32,
        status: u32,
    },
    Headers {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    WindowUpdate {
        stream: u32,
        delta: u32,
    },
    /// To be ignored.
    Unknown,
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..at + 4)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

impl Control {
    pub(super) fn parse(kind: u16, flags: u8, payload: Bytes) -> Result<Self, FrameError> {
        let fin = flags & FIN != 0;
        let field = |at| number(&payload, at).ok_or(FrameError::Malformed(kind));
        let stream = |at| match field(at)? & 0x7fff_ffff {
            0 => Err(FrameError::StreamId(0)),
            id => Ok(id),
        };
        let block = |at: usize| {
            if payload.len() < at { Err(FrameError::Malformed(kind)) } else { Ok(payload.slice(at..)) }
        };
        Ok(match kind {
            SYN_STREAM => {
                let unidirectional = flags & UNIDIRECTIONAL != 0;
                Self::SynStream { stream: stream(0)?, fin, unidirectional, block: block(10)? }
            }
            SYN_REPLY => Self::SynReply { stream: stream(0)?, fin, block: block(4)? },
            RST_STREAM => Self::Reset { stream: stream(0)?, status: field(4)? },
            SETTINGS => Self::Settings { initial_window: initial_window(&payload)? },
            PING => Self::Ping { id: field(0)? },
            GOAWAY => Self::GoAway { last: field(0)? & 0x7fff_ffff, status: field(4)? },
            HEADERS => Self::Headers { stream: stream(0)?, fin, block: block(4)? },
            WINDOW_UPDATE => {
                Self::WindowUpdate { stream: field(0)? & 0x7fff_ffff, delta: field(4)? & 0x7fff_ffff }
            }
            _ => Self::Unknown,
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let flags = |fin: bool| if fin { FIN } else { 0 };
        match self {
            Self::SynStream { stream, fin, unidirectional, block } => {
                let flags = flags(*fin) | if *unidirectional { UNIDIRECTIONAL } else { 0 };
                head(out, SYN_STREAM, flags, 10 + block.len());
                out.put_u32(*stream);
                // No associated stream; highest priority; no credential slot.
                out.put_slice(&[0; 6]);
                out.put_slice(block);
            }
            Self::SynReply { stream, fin, block } => {
                head(out, SYN_REPLY, flags(*fin), 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(block);
            }
            Self::Headers { stream, fin, block } => {
                head(out, HEADERS, flags(*fin), 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(block);
            }
            Self::Reset { stream, status } => pair(out, RST_STREAM, *stream, *status),
            Self::GoAway { last, status } => pair(out, GOAWAY, *last, *status),
            Self::WindowUpdate { stream, delta } => pair(out, WINDOW_UPDATE, *stream, *delta),
            Self::Ping { id } => {
                head(out, PING, 0, 4);
                out.put_u32(*id);
            }
            Self::Settings { initial_window } => {
                head(out, SETTINGS, 0, 4 + 8 * usize::from(initial_window.is_some()));
                out.put_u32(u32::from(initial_window.is_some()));
                if let Some(size) = initial_window {
                    out.put_u32(INITIAL_WINDOW);
                    out.put_u32(*size);
                }
            }
            Self::Unknown => {}
        }
    }
}

fn head(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(out, flags, length);
}

fn put_length(out: &mut BytesMut, flags: u8, length: usize) {
    let length = u32::try_from(length.min(DATA)).unwrap_or_default();
    out.put_u32(u32::from(flags) << 24 | length);
}

fn pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    head(out, kind, 0, 8);
    out.put_u32(first);
    out.put_u32(second);
}

/// Writes a data frame.
pub(super) fn encode_data(out: &mut BytesMut, stream: u32, fin: bool, data: &[u8]) {
    out.put_u32(stream & 0x7fff_ffff);
    put_length(out, if fin { FIN } else { 0 }, data.len());
    out.put_slice(data);
}

fn initial_window(payload: &[u8]) -> Result<Option<u32>, FrameError> {
    let malformed = FrameError::Malformed(SETTINGS);
    let count = number(payload, 0).ok_or(malformed)?;
    let mut found = None;
    for index in 0..usize::try_from(count).map_err(|_big| malformed)? {
        let at = index.checked_mul(8).and_then(|at| at.checked_add(4)).ok_or(malformed)?;
        let id = number(payload, at).ok_or(malformed)? & 0x00ff_ffff;
        let value = number(payload, at + 4).ok_or(malformed)?;
        if id == INITIAL_WINDOW {
            found = Some(value & 0x7fff_ffff);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(control: &Control) -> Control {
        let mut out = BytesMut::new();
        control.encode(&mut out);
        let head = Head::parse(*out.first_chunk::<8>().unwrap()).unwrap();
        let Head::Control { kind, flags, length } = head else { panic!("{head:?}") };
        assert_eq!(out.len(), 8 + length);
        Control::parse(kind, flags, out.freeze().slice(8..)).unwrap()
    }

    #[test]
    fn control_frames_survive_the_wire() {
        let block = Bytes::from_static(b"block");
        for control in [
            Control::SynStream { stream: 1, fin: true, unidirectional: false, block: block.clone() },
            Control::SynReply { stream: 3, fin: false, block: block.clone() },
            Control::Headers { stream: 5, fin: true, block },
            Control::Reset { stream: 7, status: 5 },
            Control::Settings { initial_window: Some(1 << 20) },
            Control::Settings { initial_window: None },
            Control::Ping { id: 9 },
            Control::GoAway { last: 11, status: 1 },
            Control::WindowUpdate { stream: 0, delta: 4096 },
        ] {
            assert_eq!(there_and_back(&control), control);
        }
    }

    #[test]
    fn known_bytes_mean_known_frames() {
        let reset = [0x80, 3, 0, 3, 0, 0, 0, 8];
        assert_eq!(Head::parse(reset), Ok(Head::Control { kind: 3, flags: 0, length: 8 }));
        let data = [0, 0, 0, 1, 1, 0, 0, 0];
        assert_eq!(Head::parse(data), Ok(Head::Data { stream: 1, fin: true, length: 0 }));
        let mut out = BytesMut::new();
        encode_data(&mut out, 5, false, b"ab");
        assert_eq!(&out[..], [0, 0, 0, 5, 0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn malformed_frames_are_errors() {
        assert_eq!(Head::parse([0x80, 2, 0, 1, 0, 0, 0, 0]), Err(FrameError::Version(2)));
        assert_eq!(Head::parse([0x80, 3, 0, 1, 0, 2, 0, 0]), Err(FrameError::TooLong(0x20000)));
        for kind in 1..=9 {
            for length in 0..12 {
                // Whatever it says: no panic, and too little is an error where fields are missing.
                let outcome = Control::parse(kind, 0xff, Bytes::from(vec![0; length]));
                assert!(length >= 4 || kind == 5 || outcome.is_err(), "type {kind}, {length} bytes");
            }
        }
        let many = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7]);
        assert!(Control::parse(SETTINGS, 0, many).is_err());
    }
}
