//! The TLS listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::pki::{self, NAMES, PkiError};
use crate::server::ApiServer;
use crate::{Identity, Status};

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections served at once.
const CONNECTIONS: usize = 2000;

/// Why the server does not listen.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ListenError {
    /// The address is taken, or may not be used.
    #[error("could not listen on {address}")]
    #[diagnostic(code(apiserver::listen))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The keys are no good.
    #[error("could not set up TLS")]
    #[diagnostic(code(apiserver::listen::tls))]
    Tls {
        /// Why.
        #[source]
        #[diagnostic_source]
        source: PkiError,
    },
}

/// A client's certificate named this identity.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) Option<Identity>);

impl ApiServer {
    /// Binds 127.0.0.1: the configured port, the one of last time, or a free one, which is remembered.
    pub async fn listen(&self) -> Result<TcpListener, ListenError> {
        let remembered = self.config.dir.join("port");
        let last =
            fs_err::read_to_string(&remembered).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let port = if self.config.port == 0 { last } else { self.config.port };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = match TcpListener::bind(address).await {
            Err(error) if self.config.port == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
            }
            other => other,
        }
        .map_err(|source| ListenError::Bind { address, source })?;
        if let Ok(bound) = listener.local_addr()
            && let Err(error) = pki::write_private(&remembered, bound.port().to_string().as_bytes())
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the port is not remembered");
        }
        Ok(listener)
    }

    /// Serves TLS on `listener` until `stop`; then ends watches and open connections.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), ListenError> {
        let config = self.pki.server_config().map_err(|source| ListenError::Tls { source })?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let limit = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&limit).try_acquire_owned() else { continue };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = server.serve_one(stream, acceptor) => {}
                }
                drop(permit);
            });
        }
        self.api.stop.cancel();
        Ok(())
    }

    async fn serve_one(self, stream: TcpStream, acceptor: TlsAcceptor) {
        drop(stream.set_nodelay(true));
        let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a TLS handshake failed");
                return;
            }
            Err(_elapsed) => return,
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer(certificate.and_then(|certificate| self.pki.identity_of(certificate)));
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let (server, peer) = (self.clone(), peer.clone());
            async move { Ok::<_, std::convert::Infallible>(server.answer(request.map(Body::new), peer).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().max_concurrent_streams(250);
        if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
            tracing::debug!(error = &*error as &dyn std::error::Error, "a connection ended with an error");
        }
    }

    async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response {
        // Loopback is not a boundary: a page in a browser can reach it by rebinding a name.
        if request.headers().contains_key(header::ORIGIN) {
            let text = "requests of web pages are refused";
            return Status::new(StatusCode::FORBIDDEN, "Forbidden", text).into_response();
        }
        if !self.is_own_host(&request) {
            let text = "the Host header names another server";
            return Status::new(StatusCode::MISDIRECTED_REQUEST, "BadRequest", text).into_response();
        }
        request.extensions_mut().insert(peer);
        self.router().oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    fn is_own_host(&self, request: &Request<Body>) -> bool {
        let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        let Some(host) = request.uri().authority().map(http::uri::Authority::as_str).or(header) else {
            return false;
        };
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        let host = authority.host().trim_matches(['[', ']']);
        if NAMES.contains(&host) {
            return true;
        }
        host.parse::<IpAddr>().is_ok_and(|address| {
            address.is_loopback()
                || address == IpAddr::V4(self.config.service_address())
                || self.config.addresses.contains(&address)
        })
    }
}
