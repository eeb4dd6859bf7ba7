//! Requests to answers, connections to requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use shipway_store::Store;
use tokio::time::timeout;

use crate::answer::{document, text};
use crate::archive::Archives;
use crate::connections::Connections;
use crate::guard::{Action, Caller, Guard, Wish};
use crate::keep::Keep;
use crate::listen::Peer;
use crate::metrics::{Answer, Gauges, Metrics};
use crate::path::Place;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::through::{Flights, Through};
use crate::tls::Tls;
use crate::uploads::Uploads;
use crate::{blobs, listings, manifests, names, uploads};

/// Compat: distribution.
const VERSION: (&str, &str) = ("docker-distribution-api-version", "registry/2.0");
/// Our own clients know us by it.
const SERVER: &str = concat!("shipway/", env!("CARGO_PKG_VERSION"));
/// Spec: Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    /// Longest pause between bytes that come or are taken, and between the pieces of an upload ten times that.
    pub idle: Duration,
    /// Connections at a time. One more ends the one that has been idle for longest; where all are busy it waits.
    pub connections: usize,
    /// Who may do what.
    pub guard: Guard,
    /// Connections are encrypted with this.
    pub tls: Option<Tls>,
    /// Layers that are in the store as files are sent with this.
    pub archives: Option<Arc<dyn Archives>>,
    /// It is a cache of other registries, and takes no pushes.
    pub through: Option<Through>,
    /// It is asked by addresses and as localhost only, and by these names; by any if `None`.
    pub names: Option<Vec<String>>,
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
            connections: 2048,
            guard: Guard::default(),
            tls: None,
            archives: None,
            through: None,
            names: None,
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
    /// Where it came from, if it came over a connection.
    pub peer: Option<SocketAddr>,
    /// Who asked; `-` for nobody in particular.
    pub user: &'a str,
    /// What the client calls itself; `-` if it says nothing.
    pub agent: &'a str,
    /// Time until the head of the answer.
    pub took: Duration,
}

/// A registry. Clones serve the same store and know of the same uploads.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) keep: Keep,
    pub(crate) config: Config,
    pub(crate) uploads: Uploads,
    pub(crate) connections: Connections,
    pub(crate) metrics: Metrics,
    pub(crate) flights: Flights,
}

/// What is learnt of a request while it is answered.
#[derive(Debug)]
struct Seen {
    caller: Caller,
    place: &'static str,
}

impl Registry {
    /// Makes a registry of what repositories have in a store or a bucket.
    pub fn new(keep: impl Into<Keep>, config: Config) -> Self {
        let (connections, metrics) = (Connections::new(config.connections), Metrics::default());
        let (uploads, flights) = (Uploads::default(), Flights::default());
        Self { inner: Arc::new(Inner { keep: keep.into(), config, uploads, connections, metrics, flights }) }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response {
        let begun = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let peer = request.extensions().get().map(|Peer(peer)| *peer);
        let agent = text(request.headers(), "user-agent").unwrap_or("-").to_owned();
        let mut seen = Seen { caller: Caller::Anonymous, place: "nothing" };
        let mut response = self.route(request, &mut seen).await.unwrap_or_else(Refusal::into_response);
        response.headers_mut().insert(VERSION.0, HeaderValue::from_static(VERSION.1));
        response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
        let length = text(response.headers(), "content-length").and_then(|length| length.parse().ok());
        let length = length.or_else(|| response.body().size_hint().exact());
        let (status, took) = (response.status().as_u16(), begun.elapsed());
        let bytes = length.filter(|_| method != Method::HEAD).unwrap_or_default();
        self.inner.metrics.answered(Answer { method: &method, place: seen.place, status, took, bytes });
        if let Some(AccessLog(hear)) = &self.inner.config.log {
            hear(&Access {
                method: method.as_str(),
                path: &path,
                status,
                length,
                peer,
                user: seen.caller.name(),
                agent: &agent,
                took,
            });
        }
        response
    }

    async fn route(&self, request: Request<Body>, seen: &mut Seen) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        // Loopback is no boundary for the pages that a browser shows.
        if parts.headers.contains_key(header::ORIGIN) {
            return Err(Refusal::denied("requests of web pages are refused"));
        }
        let (method, headers, config) = (&parts.method, &parts.headers, &self.inner.config);
        if let Some(own) = &config.names {
            names::check(own, &parts.uri, headers)?;
        }
        let gate = config.guard.gate(headers, (config.clock)(), config.tls.is_some());
        let place = Place::parse(parts.uri.path());
        let wish = place.as_ref().ok().and_then(|place| wish_of(place, method));
        seen.caller = gate.who(wish.unwrap_or(Wish::Login)).await?;
        let place = place?;
        seen.place = place.kind();
        if let Some(wish) = wish_of(&place, method) {
            gate.check(&seen.caller, wish)?;
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if let Some(through) = &config.through
            && let Some(asked) = place.of_repository()
        {
            return through.answer(self, asked, (method, headers), &query).await;
        }
        match place {
            Place::Base if reads => Ok(document("application/json", "{}".to_owned())),
            Place::Token if reads => Ok(document("application/json", gate.token(&seen.caller)?)),
            Place::Metrics if reads => Ok(document(METRICS_TYPE, self.metrics())),
            Place::Catalog if reads => listings::repositories(self, &query).await,
            Place::Tags { name } if reads => listings::tags(self, (&name, name.clone()), &query).await,
            Place::Referrers { name, digest } if reads => {
                listings::referrers(self, name, &digest, &query).await
            }
            Place::Blob { name, digest } if reads => blobs::get(self, name, digest, headers, method).await,
            Place::Blob { name, digest } if *method == Method::DELETE => {
                blobs::delete(self, name, digest, headers).await
            }
            Place::Manifest { name, reference } if reads => {
                manifests::get(self, name, reference, headers).await
            }
            Place::Manifest { name, reference } if *method == Method::PUT => {
                manifests::put(self, name, reference, (headers, &query), body).await
            }
            Place::Manifest { name, reference } if *method == Method::DELETE => {
                manifests::delete(self, name, reference, headers).await
            }
            Place::Uploads { name } if *method == Method::POST => {
                uploads::begin(self, name, &query, &seen.caller, body).await
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

    fn metrics(&self) -> String {
        let inner = &self.inner;
        let gauges = Gauges { connections: inner.connections.count(), uploads: inner.uploads.count() };
        inner.metrics.text(gauges)
    }

    /// Returns the store that it keeps what it serves in.
    pub(crate) fn store(&self) -> Result<&Store, Refusal> {
        match &self.inner.keep {
            Keep::Store(store) => Ok(store),
            Keep::Bucket(_) => Err(Refusal::unsupported("this registry keeps nothing on a disk")),
        }
    }

    /// Does something with the store, which waits for the disk.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store()?.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|panic| Err(Refusal::internal(&panic)))
    }

    /// Returns the time by which what is kept grows old.
    pub(crate) fn now(&self) -> i64 {
        let clock = (self.inner.config.clock)();
        match &self.inner.keep {
            Keep::Store(store) => store.steady(clock),
            Keep::Bucket(_) => clock,
        }
    }

    /// Waits for the next bytes of a blob that may have `left` more bytes; `None` at its end.
    pub(crate) async fn next_within(
        &self,
        body: &mut Body,
        left: &mut u64,
    ) -> Result<Option<Bytes>, Refusal> {
        let Some(piece) = self.next(body).await? else { return Ok(None) };
        let rest = left.checked_sub(piece.len() as u64);
        *left = rest.ok_or_else(|| Refusal::size("the blob is longer than this registry takes"))?;
        Ok(Some(piece))
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
                        self.inner.metrics.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

/// Returns what a request wants of the guard, if it is anything.
fn wish_of<'a>(place: &'a Place, method: &Method) -> Option<Wish<'a>> {
    let action = match *method {
        Method::GET | Method::HEAD => Action::Pull,
        Method::DELETE => Action::Delete,
        _ => Action::Push,
    };
    Some(match place {
        Place::Token => return None,
        Place::Base => Wish::Login,
        Place::Catalog | Place::Metrics => Wish::Overview,
        // An upload is its sender's to look after and to give up.
        Place::Uploads { name } | Place::Upload { name, .. } => Wish::Use(name, Action::Push),
        Place::Blob { name, .. }
        | Place::Manifest { name, .. }
        | Place::Tags { name }
        | Place::Referrers { name, .. } => Wish::Use(name, action),
    })
}
