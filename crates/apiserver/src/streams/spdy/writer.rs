//! Writes frames: the ones in line, and small ones that pass them.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::SessionError;
use super::frame::{Control, encode_data};
use super::headers::Deflater;
use super::stream::Out;

/// A connection that says nothing for so long is asked whether it is still there: a dead one fails then.
const PING: Duration = Duration::from_secs(30);
/// Frames are gathered up to this size.
const BATCH: usize = 64 * 1024;

pub(super) struct Writer<W> {
    to: W,
    queue: mpsc::Receiver<Out>,
    notices: mpsc::UnboundedReceiver<Out>,
    deflater: Deflater,
    /// Server pings are even.
    ping: u32,
    ended: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(
        to: W,
        queue: mpsc::Receiver<Out>,
        notices: mpsc::UnboundedReceiver<Out>,
    ) -> Result<Self, SessionError> {
        let deflater = Deflater::new().map_err(SessionError::Protocol)?;
        Ok(Self { to, queue, notices, deflater, ping: 0, ended: false })
    }

    /// Writes until the end is queued or nobody can send any more.
    pub(super) async fn run(mut self) -> Result<(), SessionError> {
        let mut buffer = BytesMut::with_capacity(BATCH);
        while !self.ended {
            let next = tokio::select! {
                biased;
                Some(notice) = self.notices.recv() => notice,
                frame = self.queue.recv() => match frame {
                    Some(frame) => frame,
                    None => break,
                },
                () = tokio::time::sleep(PING) => {
                    self.ping = self.ping.wrapping_add(2);
                    Out::Control(Control::Ping { id: self.ping })
                }
            };
            self.encode(&mut buffer, next)?;
            while buffer.len() < BATCH && !self.ended {
                let Ok(next) = self.notices.try_recv().or_else(|_none| self.queue.try_recv()) else { break };
                self.encode(&mut buffer, next)?;
            }
            self.to.write_all(&buffer).await.map_err(SessionError::Io)?;
            self.to.flush().await.map_err(SessionError::Io)?;
            buffer.clear();
        }
        self.to.shutdown().await.map_err(SessionError::Io)
    }

    fn encode(&mut self, buffer: &mut BytesMut, frame: Out) -> Result<(), SessionError> {
        match frame {
            Out::Control(control) => control.encode(buffer),
            Out::Data { stream, fin, data } => encode_data(buffer, stream, fin, &data),
            Out::End => self.ended = true,
            Out::Reply { stream, headers } => {
                let block = self.deflater.write(&headers).map_err(SessionError::Protocol)?.into();
                Control::SynReply { stream, fin: false, block }.encode(buffer);
            }
        }
        Ok(())
    }
}
