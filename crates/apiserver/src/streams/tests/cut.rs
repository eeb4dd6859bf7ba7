//! A connection whose reads and writes are cut into pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Cut<C> {
    pub(super) inner: C,
    /// Longest piece.
    pub(super) size: usize,
}

impl<C: AsyncRead + Unpin> AsyncRead for Cut<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.size;
        let mut piece = buffer.take(size);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut piece))?;
        let bytes = piece.filled().to_vec();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Cut<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = &data[..data.len().min(self.size)];
        Pin::new(&mut self.inner).poll_write(context, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
