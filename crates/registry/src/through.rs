//! A cache of other registries: what is asked for is fetched once, passed on while it arrives, and kept.
//!
//! What a tag stands for is asked each time; what has a digest is not. When the other registry does not answer, what is known is served.

mod flight;
mod lists;
mod patience;

use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, Method};
use shipway_store::{HostedManifest, Store};

pub(crate) use self::flight::Flights;
pub use self::patience::Patience;
use self::patience::{Otherwise, Silences};
use crate::answer::set;
use crate::digest::{Algorithm, AnyDigest};
use crate::manifests::Said;
use crate::path::{Place, Target};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::server::Registry;
use crate::{blobs, manifests};

/// Why another registry did not give something.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It does not have it, or does not show it.
    #[error("{0}")]
    NotFound(String),
    /// It answers wrongly.
    #[error("{0}")]
    Failed(String),
    /// It does not answer.
    #[error("{0}")]
    Silent(String),
}

/// A manifest of another registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamManifest {
    /// As it was sent.
    pub bytes: Vec<u8>,
    /// What it was sent as; empty if nobody said.
    pub media_type: String,
}

/// What of another repository is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamList<'a> {
    /// Its tags.
    Tags,
    /// What is about the manifest with this digest.
    Referrers(&'a str),
}

/// A page of a list of another registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPage {
    /// As it was sent.
    pub bytes: Vec<u8>,
    /// What stands behind the `?` of the next page's address, if there is one.
    pub next: Option<String>,
}

/// Fetches from other registries. Calls block.
///
/// Promises: what is returned or written for a digest has that digest, or the call fails.
pub trait Upstream: Debug + Send + Sync {
    /// Returns the digest that a tag stands for; `None` if the registry does not say.
    fn look_up(&self, registry: &str, name: &str, tag: &str) -> Result<Option<String>, UpstreamError>;

    /// Fetches a manifest by tag or digest.
    fn manifest(
        &self,
        registry: &str,
        name: &str,
        reference: &str,
    ) -> Result<UpstreamManifest, UpstreamError>;

    /// Fetches a page of a list; `query` is what stands behind the `?` of its address.
    fn list(
        &self,
        registry: &str,
        name: &str,
        list: UpstreamList<'_>,
        query: &str,
    ) -> Result<UpstreamPage, UpstreamError>;

    /// Returns how many bytes a blob has.
    fn blob_size(&self, registry: &str, name: &str, digest: &str) -> Result<u64, UpstreamError>;

    /// Fetches a blob, given by its digest and how many bytes it has.
    fn blob(
        &self,
        registry: &str,
        name: &str,
        blob: (&str, u64),
        out: &mut dyn Write,
    ) -> Result<(), UpstreamError>;
}

/// Which registries are cached, and who fetches from them.
#[derive(Clone, Debug)]
pub struct Through {
    upstream: Arc<dyn Upstream>,
    registries: Arc<[String]>,
    patience: Patience,
    silences: Silences,
}

/// A repository of another registry, and its name here.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) registry: String,
    pub(crate) name: String,
    /// Where its content is kept.
    pub(crate) cached: String,
    patience: Patience,
    silences: Silences,
}

impl Through {
    /// Caches registries by the names that images have; the first is the one that clients mean who name none (`ns` in their
    /// questions). There must be one.
    pub fn new(upstream: Arc<dyn Upstream>, registries: Vec<String>) -> Self {
        assert!(!registries.is_empty(), "a cache of nothing");
        let (patience, silences) = (Patience::default(), Silences::default());
        Self { upstream, registries: registries.into(), patience, silences }
    }

    /// Waits for other registries so long instead.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Answers what is asked about a repository.
    pub(crate) async fn answer(
        &self,
        registry: &Registry,
        (name, place): (&str, &Place),
        (method, headers): (&Method, &HeaderMap),
        query: &Query,
    ) -> Result<Response, Refusal> {
        if !matches!(*method, Method::GET | Method::HEAD) || matches!(place, Place::Upload { .. }) {
            return Err(Refusal::unsupported("this registry caches others and takes nothing itself"));
        }
        let remote = self.remote(name, query)?;
        match place {
            Place::Blob { digest, .. } => remote.blob(registry, digest, (method, headers)).await,
            Place::Manifest { reference, .. } => remote.manifest(registry, reference, headers).await,
            Place::Tags { .. } => remote.tags(registry, query).await,
            Place::Referrers { digest, .. } => remote.referrers(registry, digest, query).await,
            _ => Err(Refusal::unsupported(format!("{method} means nothing here"))),
        }
    }

    fn remote(&self, name: &str, query: &Query) -> Result<Remote, Refusal> {
        let registry = query.get("ns").filter(|registry| !registry.is_empty());
        let registry = registry.unwrap_or(&self.registries[0]).to_owned();
        if !self.registries.contains(&registry) {
            return Err(Refusal::denied("this cache is for other registries"));
        }
        let cached = Store::cached_repository(&registry, name);
        let (upstream, silences) = (Arc::clone(&self.upstream), self.silences.clone());
        Ok(Remote { upstream, registry, name: name.to_owned(), cached, patience: self.patience, silences })
    }
}

fn refusal(error: UpstreamError) -> Refusal {
    match error {
        UpstreamError::NotFound(reason) => {
            tracing::debug!(reason, "the other registry does not have it");
            Refusal::manifest_unknown("of the other registry")
        }
        UpstreamError::Failed(reason) => Refusal::upstream(reason),
        UpstreamError::Silent(reason) => Refusal::silent(reason),
    }
}

/// Marks an answer as what is remembered. Spec: RFC 9111, 5.5.
fn set_stale(response: &mut Response) {
    set(response.headers_mut(), "warning", "110 - \"Response is Stale\"");
}

impl Remote {
    async fn manifest(
        &self,
        registry: &Registry,
        reference: &Target,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let (digest, is_stale) = match reference {
            Target::Digest(digest) => (self.of_digest(registry, digest).await?, false),
            Target::Tag(tag) => self.of_tag(registry, tag).await?,
        };
        let (cached, known, now) = (self.cached.clone(), digest.to_string(), registry.now());
        registry.block(move |store| Ok(store.use_hosted_manifest(&cached, &known, now)?)).await?;
        let target = Target::Digest(digest);
        let mut response = manifests::get(registry, self.cached.clone(), target, headers).await?;
        if is_stale {
            set_stale(&mut response);
        }
        Ok(response)
    }

    /// Sees that the manifest of a digest is here.
    async fn of_digest(&self, registry: &Registry, digest: &AnyDigest) -> Result<AnyDigest, Refusal> {
        let (cached, wanted) = (self.cached.clone(), digest.to_string());
        let known = registry.block(move |store| Ok(store.hosted_manifest(&cached, &wanted)?)).await?;
        if known.is_none() {
            let wanted = digest.to_string();
            let found = self.ask_for_manifest(wanted, Otherwise::Nothing).await?.map_err(refusal)?;
            self.keep(registry, digest.algorithm, found, Vec::new()).await?;
        }
        Ok(digest.clone())
    }

    /// Finds out what a tag stands for, and sees that it is here; says whether that is only what is remembered.
    async fn of_tag(&self, registry: &Registry, tag: &str) -> Result<(AnyDigest, bool), Refusal> {
        let (cached, wanted) = (self.cached.clone(), tag.to_owned());
        let known = registry.block(move |store| Ok(store.hosted_tag(&cached, &wanted)?)).await?;
        let known = known.and_then(|digest| digest.parse::<AnyDigest>().ok());
        let error = match self.ask_for_tag(registry, tag, known.as_ref()).await? {
            Ok(digest) => return Ok((digest, false)),
            Err(error) => error,
        };
        match (known, error) {
            (_, error @ UpstreamError::NotFound(_)) => {
                let (cached, wanted) = (self.cached.clone(), tag.to_owned());
                registry.block(move |store| Ok(store.drop_hosted_tag(&cached, &wanted)?)).await?;
                Err(refusal(error))
            }
            (None, error) => Err(refusal(error)),
            (Some(known), error) => {
                tracing::debug!(%error, tag, "what is known is served");
                Ok((known, true))
            }
        }
    }

    /// Asks what a tag stands for, and for that if it is something else than what is known.
    async fn ask_for_tag(
        &self,
        registry: &Registry,
        tag: &str,
        known: Option<&AnyDigest>,
    ) -> Result<Result<AnyDigest, UpstreamError>, Refusal> {
        let otherwise = if known.is_some() { Otherwise::Known } else { Otherwise::Nothing };
        let wanted = tag.to_owned();
        let look_up = move |remote: &Self| remote.upstream.look_up(&remote.registry, &remote.name, &wanted);
        match (self.ask(otherwise, look_up).await?, known) {
            (Ok(Some(now)), Some(known)) if known.as_str() == now => return Ok(Ok(known.clone())),
            (Ok(_), _) => {}
            (Err(error), _) => return Ok(Err(error)),
        }
        let found = match self.ask_for_manifest(tag.to_owned(), otherwise).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        self.keep(registry, Algorithm::Sha256, found, vec![tag.to_owned()]).await.map(Ok)
    }

    async fn ask_for_manifest(
        &self,
        wanted: String,
        otherwise: Otherwise,
    ) -> Result<Result<UpstreamManifest, UpstreamError>, Refusal> {
        self.ask(otherwise, move |remote| remote.upstream.manifest(&remote.registry, &remote.name, &wanted))
            .await
    }

    async fn keep(
        &self,
        registry: &Registry,
        algorithm: Algorithm,
        found: UpstreamManifest,
        tags: Vec<String>,
    ) -> Result<AnyDigest, Refusal> {
        let digest = AnyDigest::of(algorithm, &found.bytes);
        let kind = Some(found.media_type.as_str()).filter(|kind| !kind.is_empty());
        // One of a kind that is not known here is passed on all the same.
        let said = Said::read(&found.bytes, kind).unwrap_or_else(|refusal| {
            tracing::debug!(reason = refusal.message, "a manifest is passed on unread");
            Said::unread(found.media_type.clone())
        });
        let (cached, manifest, now) =
            (self.cached.clone(), said.of(digest.to_string(), &found.bytes), registry.now());
        registry
            .block(move |store| {
                let _lease = store.lease()?;
                let manifest = HostedManifest { blob: store.put_blob(&found.bytes)?, ..manifest };
                Ok(store.cache_manifest(&cached, &manifest, &tags, now)?)
            })
            .await?;
        Ok(digest)
    }

    async fn blob(
        &self,
        registry: &Registry,
        digest: &AnyDigest,
        (method, headers): (&Method, &HeaderMap),
    ) -> Result<Response, Refusal> {
        let (cached, wanted) = (self.cached.clone(), digest.to_string());
        let is_here = registry.block(move |store| {
            let blob = store.hosted_blob(&cached, &wanted)?;
            Ok(blob.is_some_and(|blob| store.has_blob(&blob)))
        });
        if is_here.await? {
            return blobs::get(registry, self.cached.clone(), digest.clone(), headers, method).await;
        }
        if digest.algorithm != Algorithm::Sha256 {
            return Err(Refusal::blob_unknown());
        }
        let wanted = digest.to_string();
        let ask = move |remote: &Self| remote.upstream.blob_size(&remote.registry, &remote.name, &wanted);
        let size = self.ask(Otherwise::Nothing, ask).await?.map_err(|error| match error {
            UpstreamError::NotFound(_) => Refusal::blob_unknown(),
            other => refusal(other),
        })?;
        if size > registry.inner.config.blob {
            return Err(Refusal::size("the blob is longer than this registry takes"));
        }
        if *method == Method::HEAD {
            return blobs::answer(headers, method, (digest, size), |_, _| axum::body::Body::empty());
        }
        let flight = registry.inner.flights.follow(registry, self, digest, size).await?;
        blobs::answer(headers, method, (digest, size), |first, length| flight.body(first, length))
    }
}
