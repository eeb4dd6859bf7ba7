//! Neither end of a process makes the other's data pile up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::SinkExt as _;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::ExecSession;
use crate::streams::process::over_websocket;
use crate::streams::websocket::{self, Coding};

/// A program's streams: output without end, input that nobody reads.
#[derive(Debug, Clone, Default)]
struct Endless(Arc<AtomicUsize>);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        buffer.initialize_unfilled();
        buffer.advance(room);
        self.0.fetch_add(room, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Runs an endless program for a client; returns what `act` does, and whether the program's ends were dropped.
async fn with_program<T>(
    program: &Endless,
    streams: (bool, bool, bool, bool),
    act: impl AsyncFnOnce(WebSocketStream<DuplexStream>) -> T,
) -> (T, bool) {
    let (near, far) = tokio::io::duplex(4096);
    let (mut running, exit) = oneshot::channel();
    let session = ExecSession {
        stdin: Some(Box::new(program.clone())),
        stdout: Some(Box::new(program.clone())),
        stderr: None,
        resize: None,
        exit,
    };
    let serve = async {
        let socket = websocket::accept(far).await;
        // How a connection ends that the client drops is no matter here.
        drop(over_websocket(socket, Coding::Binary, session, streams).await);
    };
    let client = async { act(WebSocketStream::from_raw_socket(near, Role::Client, None).await).await };
    let (done, ()) = tokio::join!(client, serve);
    let dropped = tokio::time::timeout(Duration::ZERO, running.closed()).await.is_ok();
    (done, dropped)
}

/// Lets everything else run until it can do no more: only then does a paused clock move.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_the_program() {
    let program = Endless::default();
    let (produced, dropped) = with_program(&program, (false, true, false, false), async |socket| {
        settle().await;
        let produced = program.0.load(Ordering::Relaxed);
        drop(socket);
        produced
    })
    .await;
    assert!((64 * 1024..1024 * 1024).contains(&produced), "{produced} bytes were read");
    assert!(dropped, "a client that is gone ends the program, however full the queue is");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_read_stops_its_client() {
    let program = Endless::default();
    let (sent, dropped) = with_program(&program, (true, false, false, false), async |mut socket| {
        let mut sent = 0;
        let flood = async {
            let message = Message::binary(vec![0; 8193]);
            while socket.send(message.clone()).await.is_ok() {
                sent += 8192;
            }
        };
        tokio::select! {
            () = flood => {}
            () = settle() => {}
        }
        sent
    })
    .await;
    assert!((256 * 1024..512 * 1024).contains(&sent), "{sent} bytes were taken");
    assert!(dropped);
}
