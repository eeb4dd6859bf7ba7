//! Layers that are here as files, sent as the archives that they came from or are to be.

use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use shipway_oci::DiffId;
use tokio::sync::mpsc::{self, Sender};

/// Bytes that are sent at a time, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// Makes archives of layers.
///
/// Promises: what is written has the diff ID, or the call fails; it may be called from several threads.
pub trait Archives: Debug + Send + Sync {
    /// Writes the tar of a layer.
    fn write(&self, diff_id: DiffId, out: &mut dyn Write) -> io::Result<()>;
}

/// Returns a body of so many bytes of an archive from a place on.
pub(crate) fn body(archives: Arc<dyn Archives>, diff_id: DiffId, first: u64, length: u64) -> Body {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    // Ends when it has written all that is wanted, or nobody reads any more.
    tokio::task::spawn_blocking(move || {
        let mut part =
            Part { sender, skip: first, left: length, piece: Vec::with_capacity(PIECE), is_unread: false };
        let written = archives.write(diff_id, &mut part).and_then(|()| part.send());
        match written {
            Err(error) if part.left > 0 && !part.is_unread => {
                tracing::error!(%diff_id, %error, "a layer cannot be sent");
                drop(part.sender.blocking_send(Err(error)));
            }
            _ => {}
        }
    });
    Body::from_stream(futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// The wanted part of what is written.
struct Part {
    sender: Sender<io::Result<Bytes>>,
    /// So much of what comes is not wanted.
    skip: u64,
    /// So much is wanted then.
    left: u64,
    piece: Vec<u8>,
    /// Nobody reads any more.
    is_unread: bool,
}

impl Part {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_gone| {
            self.is_unread = true;
            io::ErrorKind::BrokenPipe.into()
        })
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        let wanted = &bytes[skipped..];
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE - self.piece.len());
        let taken = &wanted[..wanted.len().min(room)];
        self.piece.extend_from_slice(taken);
        self.left -= taken.len() as u64;
        if self.piece.len() == PIECE || self.left == 0 {
            self.send()?;
        }
        if self.left == 0 && skipped + taken.len() < bytes.len() {
            // Nothing more is wanted: the rest need not be made.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(skipped + taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
