//! Requests to answers, connections to requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use shipway_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::path::Place;
use crate::refusal::Refusal;
use crate::uploads::Uploads;
use crate::{blobs, listings, manifests, uploads};

/// Longest wait for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Connections that are busy when the server ends get so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time until a connection is accepted again after the kernel has refused one.
const PAUSE: Duration = Duration::from_millis(100);
/// Compat: distribution.
const VERSION: (&str, &str) = ("docker-distribution-api-version", "registry/2.0");

/// What a registry allows.
#[derive(Clone, Debug)]
pub struct Config {
    /// Returns the seconds since the epoch.
    pub clock: fn() -> i64,
    /// Hears of every request that was answered.
    pub log: Option<AccessLog>,
    /// Longest blob, in bytes.
    pub blob: u64,
    /// Longest manifest, in bytes. Spec: distribution-spec, at least 4 MiB.
    pub manifest: u64,
    /// Uploads at a time.
    pub uploads: usize,
    /// Longest pause between bytes, and between the pieces of an upload ten times that.
    pub idle: Duration,
    /// Connections at a time; others wait in the kernel's queue.
    pub connections: usize,
}

impl Config {
    /// Returns the usual limits.
    pub fn new(clock: fn() -> i64) -> Self {
        Self {
            clock,
            log: None,
            blob: 256 << 30,
            manifest: 4 << 20,
            uploads: 256,
            idle: Duration::from_secs(60),
            connections: 512,
        }
    }
}

/// Somebody who is told of requests.
#[derive(Clone)]
pub struct AccessLog(Arc<dyn Fn(&Access<'_>) + Send + Sync>);

impl AccessLog {
    /// Wraps a function.
    pub fn new(hear: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessLog(…)")
    }
}

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer, where that is known before they are sent.
    pub length: Option<u64>,
}

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

/// A registry. Clones serve the same store and know of the same uploads.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) uploads: Uploads,
}

impl Registry {
    /// Makes a registry of what repositories have in `store`.
    pub fn new(store: Store, config: Config) -> Self {
        Self { inner: Arc::new(Inner { store, config, uploads: Uploads::default() }) }
    }

    /// Listens on an address.
    pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
    }

    /// Serves connections until `stop`; those that are busy then may finish what they do, for some seconds.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let limit = Arc::new(Semaphore::new(self.inner.config.connections));
        loop {
            let accept = async {
                let permit = Arc::clone(&limit).acquire_owned().await.expect("nobody closes it");
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    let (registry, stop, requests) = (self.clone(), stop.clone(), tasks.clone());
                    tasks.spawn(async move {
                        registry.serve_one(stream, stop, requests).await;
                        drop(permit);
                    });
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

    async fn serve_one(&self, stream: TcpStream, stop: CancellationToken, requests: TaskTracker) {
        drop(stream.set_nodelay(true));
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
            let registry = self.clone();
            // A task of its own: when the connection breaks, what has arrived of an upload is still put where it belongs.
            let answer = requests.spawn(async move { registry.answer(request.map(Body::new)).await });
            async move { answer.await.map_err(io::Error::other) }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut response = self.route(request).await.unwrap_or_else(Refusal::into_response);
        response.headers_mut().insert(VERSION.0, HeaderValue::from_static(VERSION.1));
        if let Some(AccessLog(hear)) = &self.inner.config.log {
            let length = response.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
            let length = length.or_else(|| response.body().size_hint().exact());
            hear(&Access {
                method: method.as_str(),
                path: &path,
                status: response.status().as_u16(),
                length,
            });
        }
        response
    }

    async fn route(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        // Loopback is no boundary for the pages that a browser shows.
        if parts.headers.contains_key(header::ORIGIN) {
            return Err(Refusal::denied("requests of web pages are refused"));
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let (method, headers) = (&parts.method, &parts.headers);
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match Place::parse(parts.uri.path())? {
            Place::Base if reads => Ok(document("application/json", "{}".to_owned())),
            Place::Catalog if reads => listings::repositories(self, &query).await,
            Place::Tags { name } if reads => listings::tags(self, name, &query).await,
            Place::Referrers { name, digest } if reads => {
                listings::referrers(self, name, &digest, &query).await
            }
            Place::Blob { name, digest } if reads => blobs::get(self, name, digest, headers, method).await,
            Place::Blob { name, digest } if *method == Method::DELETE => {
                blobs::delete(self, name, digest).await
            }
            Place::Manifest { name, reference } if reads => {
                manifests::get(self, name, reference, headers).await
            }
            Place::Manifest { name, reference } if *method == Method::PUT => {
                manifests::put(self, name, reference, (headers, &query), body).await
            }
            Place::Manifest { name, reference } if *method == Method::DELETE => {
                manifests::delete(self, name, reference).await
            }
            Place::Uploads { name } if *method == Method::POST => {
                uploads::begin(self, name, &query, body).await
            }
            Place::Upload { name, id } if *method == Method::GET => uploads::stand(self, &name, &id).await,
            Place::Upload { name, id } if *method == Method::PATCH => {
                uploads::add(self, &name, &id, headers, body).await
            }
            Place::Upload { name, id } if *method == Method::PUT => {
                uploads::end(self, &name, &id, (headers, &query), body).await
            }
            Place::Upload { name, id } if *method == Method::DELETE => {
                uploads::give_up(self, &name, &id).await
            }
            _ => Err(Refusal::unsupported(format!("{method} means nothing here"))),
        }
    }

    /// Does something that waits for the disk.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.inner.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|panic| Err(Refusal::internal(&panic)))
    }

    pub(crate) fn now(&self) -> i64 {
        (self.inner.config.clock)()
    }

    /// Waits for the next bytes of a body; `None` at its end.
    pub(crate) async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame =
                timeout(self.inner.config.idle, body.frame()).await.map_err(|_elapsed| Refusal::slow())?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    return Err(Refusal::upload_invalid("the body broke off"));
                }
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

/// What stands after the `?`.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Undoes percent encoding; what is none stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Returns an answer with a document.
pub(crate) fn document(kind: &str, text: String) -> Response {
    let length = text.len();
    let mut response = Response::new(Body::from(text));
    set(response.headers_mut(), "content-type", kind);
    set(response.headers_mut(), "content-length", &length.to_string());
    response
}

/// Returns an answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header; one whose value cannot be sent is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns a header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("digest=sha256%3Aab&tag=a&tag=b%2&n=&flag&x=%ff%zz+");
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b%2"]);
        assert_eq!((query.get("n"), query.get("flag"), query.get("none")), (Some(""), Some(""), None));
        assert_eq!(query.get("x"), Some("\u{fffd}%zz "));
    }
}
