//! The client's side of SPDY, as small as tests need it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

pub(crate) use super::frame::Control;
use super::frame::{Head, encode_data};
use super::headers::{Deflater, Headers, Inflater};

/// Writes frames.
pub(crate) struct Speaker<C> {
    to: WriteHalf<C>,
    deflater: Deflater,
    next: u32,
}

/// Reads frames.
pub(crate) struct Listener<C> {
    from: ReadHalf<C>,
    inflater: Inflater,
}

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Reply { stream: u32, headers: Headers },
    Data { stream: u32, fin: bool, data: Bytes },
    Control(Control),
}

/// What a stream brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) data: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) reset: bool,
}

/// Makes both halves of a client.
pub(crate) fn client<C: AsyncRead + AsyncWrite>(connection: C) -> (Speaker<C>, Listener<C>) {
    let (from, to) = tokio::io::split(connection);
    let speaker = Speaker { to, deflater: Deflater::new().unwrap(), next: 1 };
    (speaker, Listener { from, inflater: Inflater::new() })
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl<C: AsyncRead + AsyncWrite> Speaker<C> {
    pub(crate) async fn control(&mut self, control: Control) {
        let mut out = BytesMut::new();
        control.encode(&mut out);
        self.raw(&out).await;
    }

    /// Writes bytes; that the server has hung up is no error here.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        drop(self.to.write_all(bytes).await);
        drop(self.to.flush().await);
    }

    pub(crate) fn block(&mut self, pairs: &[(&str, &str)]) -> Bytes {
        self.deflater.write(&headers(pairs)).unwrap().into()
    }

    /// Opens a stream and returns its id.
    pub(crate) async fn open(&mut self, pairs: &[(&str, &str)]) -> u32 {
        let (stream, block) = (self.next, self.block(pairs));
        self.next += 2;
        self.control(Control::SynStream { stream, fin: false, unidirectional: false, block }).await;
        stream
    }

    pub(crate) async fn data(&mut self, stream: u32, fin: bool, data: &[u8]) {
        let mut out = BytesMut::new();
        encode_data(&mut out, stream, fin, data);
        self.raw(&out).await;
    }
}

impl<C: AsyncRead + AsyncWrite> Listener<C> {
    /// Returns the next frame; `None` when the server has hung up.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        let mut head = [0; 8];
        self.from.read_exact(&mut head).await.ok()?;
        match Head::parse(head).unwrap() {
            Head::Data { stream, fin, length } => {
                Some(Heard::Data { stream, fin, data: self.payload(length).await? })
            }
            Head::Control { kind, flags, length } => {
                let payload = self.payload(length).await?;
                Some(match Control::parse(kind, flags, payload).unwrap() {
                    Control::SynReply { stream, block, .. } => {
                        Heard::Reply { stream, headers: self.inflater.read(&block).unwrap() }
                    }
                    other => Heard::Control(other),
                })
            }
        }
    }

    async fn payload(&mut self, length: usize) -> Option<Bytes> {
        let mut payload = vec![0; length];
        self.from.read_exact(&mut payload).await.ok()?;
        Some(payload.into())
    }

    /// Returns the next frame that is no window update.
    pub(crate) async fn heard(&mut self) -> Option<Heard> {
        loop {
            match self.next().await? {
                Heard::Control(Control::WindowUpdate { .. }) => {}
                other => return Some(other),
            }
        }
    }

    /// Listens until these streams have ended.
    pub(crate) async fn collect(&mut self, streams: &[u32]) -> BTreeMap<u32, Got> {
        let mut all: BTreeMap<u32, Got> = BTreeMap::new();
        while streams.iter().any(|id| all.get(id).is_none_or(|got| !got.ended)) {
            match self.next().await.expect("the server hung up early") {
                Heard::Data { stream, fin, data } => {
                    let got = all.entry(stream).or_default();
                    got.data.extend(data);
                    got.ended |= fin;
                }
                Heard::Control(Control::Reset { stream, .. }) => {
                    let got = all.entry(stream).or_default();
                    (got.ended, got.reset) = (true, true);
                }
                Heard::Reply { .. } | Heard::Control(_) => {}
            }
        }
        all
    }
}
