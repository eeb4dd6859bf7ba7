//! SPDY/3.1, the server's side: what port-forwards (also inside WebSockets) and older exec clients speak.
//!
//! Flow control: what we take out of a stream's buffer is announced, so a client that keeps to its window never has to
//! wait for another stream. Clients that ignore windows (kubectl does) make the whole connection wait when one
//! stream's buffer is full. Windows that limit us are kept once the client has shown that it knows of them.
//! No buffer grows without bound, and dropping the connection's future ends everything on it.
// Spec: SPDY protocol draft 3.1
// Compat: kubectl announces no windows, and drops `WINDOW_UPDATE` without a word

#[cfg(test)]
pub(crate) mod client;
mod dictionary;
mod frame;
mod headers;
mod reader;
mod stream;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::mpsc;

use super::pipe::Inlet;
use frame::{Control, FrameError};
use reader::Reader;
use stream::{Out, Shared};
use writer::Writer;

pub(crate) use headers::{Headers, header};
pub(crate) use stream::{StreamOut, Taken};

/// Frames on their way to the client.
const QUEUE: usize = 32;
/// `GOAWAY` statuses.
const GOAWAY_OK: u32 = 0;
const GOAWAY_PROTOCOL_ERROR: u32 = 1;
/// How long the last frames may take to leave.
const DRAIN: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The client sent something that is not SPDY.
    #[error("the client broke the protocol")]
    Protocol(#[source] FrameError),
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// A stream that the client opened.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its id.
    pub(crate) id: u32,
    /// What it is for.
    pub(crate) headers: Headers,
    /// What the client sends.
    pub(crate) inlet: Inlet,
    /// What the client gets.
    pub(crate) outlet: StreamOut,
}

/// Serves a connection until the client hangs up or `handle`, which gets the streams, is done.
pub(crate) async fn serve<C, H>(
    connection: C,
    handle: impl FnOnce(mpsc::Receiver<Incoming>) -> H,
) -> Result<(), SessionError>
where
    C: AsyncRead + AsyncWrite,
    H: Future<Output = ()>,
{
    let (from, to) = tokio::io::split(connection);
    let (frames, queue) = mpsc::channel(QUEUE);
    let (urgent, notices) = mpsc::unbounded_channel();
    let (opened, incoming) = mpsc::channel(QUEUE);
    let shared = Shared::new(frames.downgrade(), urgent);
    let buffered = BufReader::with_capacity(32 * 1024, from);
    let mut reader = Reader::new(buffered, Arc::clone(&shared), frames.clone(), opened);
    let mut read = std::pin::pin!(reader.run());
    let mut write = std::pin::pin!(Writer::new(to, queue, notices)?.run());
    let (outcome, hung_up) = tokio::select! {
        outcome = &mut read => (outcome, true),
        written = &mut write => return written,
        () = handle(incoming) => (Ok(()), false),
    };
    // What is queued still leaves, then a good-bye. A client that still sends would be answered by a reset of the TCP
    // connection, which can destroy what it has not read yet: so it is listened to until it has hung up, too.
    let leave = async {
        let status = if outcome.is_ok() { GOAWAY_OK } else { GOAWAY_PROTOCOL_ERROR };
        let bye = Control::GoAway { last: shared.last(), status };
        if frames.send(Out::Control(bye)).await.is_ok() {
            drop(frames.send(Out::End).await);
        }
    };
    let linger = async {
        if !hung_up {
            drop(read.await);
        }
    };
    let left = tokio::time::timeout(DRAIN, async { tokio::join!(leave, write, linger).1 }).await;
    outcome.and(left.unwrap_or(Ok(())))
}

#[cfg(test)]
mod tests;
