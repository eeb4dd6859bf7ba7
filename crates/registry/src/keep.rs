//! Where a registry keeps what it serves: in a store of this machine, or in a bucket that several registries share.

mod local;

use axum::body::Body;
use shipway_store::{HostedManifest, Store};

use crate::bucket::Bucket;
use crate::conditions::Condition;
use crate::digest::AnyDigest;
use crate::path::Target;
use crate::refusal::Refusal;
use crate::server::Registry;
use crate::{archive, bucket};

/// Where a registry keeps what it serves.
#[derive(Clone, Debug)]
pub enum Keep {
    /// With the images of this machine.
    Store(Store),
    /// In object storage.
    Bucket(Bucket),
}

impl From<Store> for Keep {
    fn from(store: Store) -> Self {
        Self::Store(store)
    }
}

impl From<Bucket> for Keep {
    fn from(bucket: Bucket) -> Self {
        Self::Bucket(bucket)
    }
}

/// A blob that is there.
pub(crate) struct Content {
    /// Bytes.
    pub(crate) size: u64,
    source: Source,
}

enum Source {
    Local(local::Source),
    Object(bucket::Source),
}

impl Content {
    /// Returns a body of so many bytes from a place on.
    pub(crate) fn body(self, registry: &Registry, first: u64, length: u64) -> Body {
        match self.source {
            Source::Local(local::Source::File(file)) => local::stream(file, first, length),
            Source::Local(local::Source::Layer(diff_id)) => match registry.inner.config.archives.clone() {
                Some(archives) => archive::body(archives, diff_id, first, length),
                // The client sees that the body is too short.
                None => Body::empty(),
            },
            Source::Object(object) => object.body(first, length),
        }
    }
}

impl Registry {
    /// Finds a blob of a repository. Who asks may rely on it: it is there for a while, also if nothing names it.
    pub(crate) async fn blob(&self, name: String, wanted: AnyDigest) -> Result<Content, Refusal> {
        let now = self.now();
        let (source, size) = match &self.inner.keep {
            Keep::Store(_) => {
                let (source, size) = self.block(move |store| local::blob(store, &name, &wanted, now)).await?;
                (Source::Local(source), size)
            }
            Keep::Bucket(bucket) => {
                let (source, size) = bucket.blob(&name, &wanted, now).await?;
                (Source::Object(source), size)
            }
        };
        Ok(Content { size, source })
    }

    /// Takes a blob from a repository; returns whether it had it.
    pub(crate) async fn drop_blob(&self, name: String, digest: AnyDigest) -> Result<bool, Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => {
                self.block(move |store| Ok(store.drop_hosted_blob(&name, digest.as_str())?)).await
            }
            Keep::Bucket(bucket) => bucket.drop_blob(&name, &digest).await,
        }
    }

    /// Gives a repository a blob that another one has, or that any one has; returns whether there was one.
    pub(crate) async fn mount(
        &self,
        name: String,
        from: Option<String>,
        digest: AnyDigest,
    ) -> Result<bool, Refusal> {
        let now = self.now();
        match &self.inner.keep {
            Keep::Store(_) => {
                self.block(move |store| local::mount(store, &name, from.as_deref(), &digest, now)).await
            }
            Keep::Bucket(bucket) => bucket.mount(&name, from.as_deref(), &digest, now).await,
        }
    }

    /// Finds a manifest with its bytes.
    pub(crate) async fn manifest(
        &self,
        name: String,
        reference: Target,
    ) -> Result<(HostedManifest, Vec<u8>), Refusal> {
        let limit = self.inner.config.manifest;
        match &self.inner.keep {
            Keep::Store(_) => self.block(move |store| local::manifest(store, &name, &reference, limit)).await,
            Keep::Bucket(bucket) => bucket.manifest(&name, &reference).await,
        }
    }

    /// Gives a repository a manifest, all of whose blobs it must have, and the manifest some tags, if that is there under its name which
    /// the request is for.
    pub(crate) async fn put_manifest(
        &self,
        name: String,
        (manifest, bytes): (HostedManifest, Vec<u8>),
        tags: Vec<String>,
        only: (Target, Condition),
    ) -> Result<(), Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => {
                self.block(move |store| local::put_manifest(store, &name, (manifest, &bytes), &tags, &only))
                    .await
            }
            Keep::Bucket(bucket) => {
                bucket.put_manifest(&name, (&manifest, &bytes), &tags, (&only, self.now())).await
            }
        }
    }

    /// Removes a tag, or a manifest with all its tags, if that is there which the request is for; returns whether there was one.
    pub(crate) async fn drop_manifest(
        &self,
        name: String,
        reference: Target,
        condition: Condition,
    ) -> Result<bool, Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => {
                self.block(move |store| local::drop_manifest(store, &name, &reference, &condition)).await
            }
            Keep::Bucket(bucket) => bucket.drop_manifest(&name, &reference, &condition).await,
        }
    }

    /// Returns at most `limit` tags that come after `last`, in order; `None` if there is no such repository.
    pub(crate) async fn tags_after(
        &self,
        name: String,
        last: String,
        limit: usize,
    ) -> Result<Option<Vec<String>>, Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => self.block(move |store| Ok(store.hosted_tags(&name, &last, limit)?)).await,
            Keep::Bucket(bucket) => bucket.tags(&name, &last, limit).await,
        }
    }

    /// Returns at most `limit` repositories that come after `last`, in order.
    pub(crate) async fn repositories_after(
        &self,
        last: String,
        limit: usize,
    ) -> Result<Vec<String>, Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => self.block(move |store| Ok(store.hosted_repositories(&last, limit)?)).await,
            Keep::Bucket(bucket) => bucket.repositories(&last, limit).await,
        }
    }

    /// Returns the manifests of a repository that are about another one, in the order of their digests.
    pub(crate) async fn referrers_of(
        &self,
        name: String,
        subject: &AnyDigest,
    ) -> Result<Vec<HostedManifest>, Refusal> {
        match &self.inner.keep {
            Keep::Store(_) => {
                let subject = subject.to_string();
                self.block(move |store| Ok(store.hosted_referrers(&name, &subject)?)).await
            }
            Keep::Bucket(bucket) => bucket.referrers(&name, subject).await,
        }
    }
}
