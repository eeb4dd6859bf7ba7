//! From connections to requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connection;
use crate::patience::Patience;
use crate::server::Registry;

/// Longest wait for the head of a request, and for the beginning of an encrypted connection.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const HEAD_BYTES: usize = 64 << 10;
/// Connections that are busy when the server ends get so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time until a connection is accepted again after the kernel has refused one.
const PAUSE: Duration = Duration::from_millis(100);

/// The server could not go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("could not listen on {address}")]
    #[diagnostic(
        code(registry::listen),
        help("stop what listens there, or choose another: `shipway registry serve --listen 127.0.0.1:PORT`")
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Whom a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Registry {
    /// Listens on an address.
    pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
    }

    /// Waits until there have been connections, and then for some time none, or until there have been some for so long.
    pub async fn quiet(&self, time: Duration, at_most: Duration) {
        self.inner.connections.quiet(time, at_most).await;
    }

    /// Serves connections until `stop`; those that are busy then may finish what they do, for some seconds.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let connections = &self.inner.connections;
        loop {
            let accept = async {
                let accepted = listener.accept().await;
                connections.place().await;
                accepted
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = Arc::new(connections.open());
                    let one = One { registry: self.clone(), peer, place, requests: tasks.clone() };
                    tasks.spawn(one.serve(stream, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tasks.close();
        // What is left then is dropped with the runtime; an upload that was cut off has left nothing.
        drop(timeout(FAREWELL, tasks.wait()).await);
    }
}

/// One connection.
struct One {
    registry: Registry,
    peer: SocketAddr,
    place: Arc<Connection>,
    requests: TaskTracker,
}

impl One {
    async fn serve(self, stream: TcpStream, stop: CancellationToken) {
        drop(stream.set_nodelay(true));
        let config = &self.registry.inner.config;
        let patient = |stream| Patience::new(stream, config.idle);
        let Some(tls) = &config.tls else {
            let stream = patient(stream);
            return self.talk(stream, stop).await;
        };
        let accept = timeout(HEAD, async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            // Spec: RFC 8446, 5.1, each handshake begins so.
            if first != [22] {
                return explain(stream).await;
            }
            // What is encrypted and taken by nobody counts, not what waits to be encrypted.
            tls.acceptor().accept(patient(stream)).await.map(Some)
        });
        let accepted = tokio::select! {
            accepted = accept => accepted,
            () = self.place.ended() => return,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok(Ok(Some(stream))) => self.talk(stream, stop).await,
            Ok(Ok(None)) => tracing::debug!(peer = %self.peer, "no encrypted connection: it sent plain HTTP"),
            Ok(Err(error)) => tracing::debug!(%error, peer = %self.peer, "no encrypted connection"),
            Err(_elapsed) => tracing::debug!(peer = %self.peer, "no encrypted connection in time"),
        }
    }

    async fn talk(self, stream: impl AsyncRead + AsyncWrite + Unpin, stop: CancellationToken) {
        let service = hyper::service::service_fn(|mut request: Request<hyper::body::Incoming>| {
            let registry = self.registry.clone();
            request.extensions_mut().insert(Peer(self.peer));
            let busy = self.place.busy();
            // A task of its own: when the connection breaks, what has arrived of an upload is still put where it belongs.
            let answer = self.requests.spawn(async move { registry.answer(request.map(Body::new)).await });
            async move {
                let answer = answer.await.map_err(io::Error::other);
                answer.map(|answer| answer.map(|body| Body::new(Counted { body, _busy: busy })))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.place.ended() => return,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }
}

/// Says to whoever sends plain HTTP what is missing. Compat: Go's server, whose clients know such an answer.
async fn explain<T>(mut stream: TcpStream) -> io::Result<Option<T>> {
    let text = "the client sent an HTTP request to an HTTPS server\n";
    let head = "HTTP/1.0 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What it still sends must be read, or the kernel takes the answer back.
    let mut rest = stream.take(HEAD_BYTES as u64);
    timeout(PAUSE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await??;
    Ok(None)
}

/// The body of an answer: until it is sent its connection is busy.
#[derive(Debug)]
struct Counted {
    body: Body,
    _busy: crate::connections::Busy,
}

impl http_body::Body for Counted {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
