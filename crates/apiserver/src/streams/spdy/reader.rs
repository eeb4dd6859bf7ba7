//! Reads frames and hands them to streams.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use super::frame::{Control, FrameError, Head};
use super::headers::{Headers, Inflater};
use super::stream::{Out, Shared, Taken};
use super::{Incoming, SessionError};
use crate::streams::pipe;

/// Streams open at once.
const STREAMS: usize = 1000;
/// Data of a stream that nobody has taken out yet.
const BUFFER: usize = 256 * 1024;
/// Data frames are passed on in pieces of this size.
const PIECE: usize = 64 * 1024;

/// `RST_STREAM` status: the stream was not even looked at.
const REFUSED_STREAM: u32 = 3;
pub(super) struct Reader<R> {
    from: R,
    shared: Arc<Shared>,
    frames: mpsc::Sender<Out>,
    opened: mpsc::Sender<Incoming>,
    inflater: Inflater,
    leaving: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(
        from: R,
        shared: Arc<Shared>,
        frames: mpsc::Sender<Out>,
        opened: mpsc::Sender<Incoming>,
    ) -> Self {
        Self { from, shared, frames, opened, inflater: Inflater::new(), leaving: false }
    }

    /// Reads until the client hangs up.
    pub(super) async fn run(&mut self) -> Result<(), SessionError> {
        loop {
            let mut head = [0; 8];
            match self.from.read_exact(&mut head).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(SessionError::Io(error)),
            }
            match Head::parse(head).map_err(SessionError::Protocol)? {
                Head::Data { stream, fin, length } => self.data(stream, fin, length).await?,
                Head::Control { kind, flags, length } => {
                    let payload = self.payload(length).await?;
                    let control = Control::parse(kind, flags, payload).map_err(SessionError::Protocol)?;
                    self.control(control).await?;
                }
            }
        }
    }

    async fn payload(&mut self, length: usize) -> Result<Bytes, SessionError> {
        let mut payload = BytesMut::zeroed(length);
        self.from.read_exact(&mut payload).await.map_err(SessionError::Io)?;
        Ok(payload.freeze())
    }

    async fn data(&mut self, stream: u32, fin: bool, mut length: usize) -> Result<(), SessionError> {
        if stream > self.shared.last() {
            return Err(SessionError::Protocol(FrameError::StreamId(stream)));
        }
        let feed = self.shared.feed(stream);
        while length > 0 {
            let piece = self.payload(length.min(PIECE)).await?;
            length -= piece.len();
            match &feed {
                Some(feed) => feed.put(piece).await,
                None => self.shared.taken(piece.len()),
            }
        }
        drop(feed);
        if fin {
            self.shared.client_finished(stream);
        }
        Ok(())
    }

    async fn control(&mut self, control: Control) -> Result<(), SessionError> {
        match control {
            Control::SynStream { stream, fin, unidirectional, block } => {
                let headers = self.inflater.read(&block).map_err(SessionError::Protocol)?;
                self.open(stream, fin, unidirectional, headers).await?;
            }
            // Nothing is expected in these, but every block moves the zlib stream on.
            Control::SynReply { block, .. } => {
                drop(self.inflater.read(&block).map_err(SessionError::Protocol)?);
            }
            Control::Headers { stream, fin, block } => {
                drop(self.inflater.read(&block).map_err(SessionError::Protocol)?);
                if fin {
                    self.shared.client_finished(stream);
                }
            }
            Control::Reset { stream, status } => {
                tracing::trace!(stream, status, "the client reset a stream");
                self.shared.client_reset(stream);
            }
            Control::Settings { initial_window: Some(size) } => self.shared.initial_window(size),
            Control::WindowUpdate { stream, delta } => self.shared.window_update(stream, delta),
            // Even pings are ours, coming back.
            Control::Ping { id } if id % 2 == 1 => {
                drop(self.frames.send(Out::Control(Control::Ping { id })).await);
            }
            Control::GoAway { .. } => self.leaving = true,
            Control::Ping { .. } | Control::Settings { initial_window: None } | Control::Unknown => {}
        }
        Ok(())
    }

    async fn open(
        &mut self,
        stream: u32,
        fin: bool,
        unidirectional: bool,
        headers: Headers,
    ) -> Result<(), SessionError> {
        if stream.is_multiple_of(2) || stream <= self.shared.last() {
            return Err(SessionError::Protocol(FrameError::StreamId(stream)));
        }
        self.shared.set_last(stream);
        if self.leaving || self.shared.count() >= STREAMS {
            let refused = Control::Reset { stream, status: REFUSED_STREAM };
            drop(self.frames.send(Out::Control(refused)).await);
            return Ok(());
        }
        let (feed, inlet) = pipe::inlet(BUFFER, Some(Taken::new(stream, &self.shared)));
        let Some(outlet) = self.shared.open(stream, (!fin).then_some(feed), unidirectional) else {
            return Ok(());
        };
        let reply = Out::Reply { stream, headers: Headers::new() };
        let told = self.frames.send(reply).await;
        if told.is_ok() {
            // Nobody takes streams any more: dropping the outlet resets this one.
            drop(self.opened.send(Incoming { id: stream, headers, inlet, outlet }).await);
        }
        Ok(())
    }
}
