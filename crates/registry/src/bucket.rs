//! Object storage that several registries share, none of which keeps anything of its own.
//!
//! | object | what |
//! |---|---|
//! | `data/ID` | the bytes of a blob, under the id of the upload that brought them |
//! | `blobs/DIGEST` | a record: where these bytes are |
//! | `links/REPOSITORY/DIGEST` | a record: the repository has the blob |
//! | `manifests/REPOSITORY/DIGEST` | a line of JSON with what is known of a manifest, then its bytes |
//! | `tags/REPOSITORY/TAG` | a digest; nothing after it was removed on a condition |
//! | `referrers/REPOSITORY/SUBJECT/DIGEST` | that line, of a manifest that is about another one |
//! | `clock` | nothing; when it was written says what time it is |
//! | `secret` | what the tokens of these registries are signed with |
//! | `uploads/ID`, `tails/ID/N` | an upload between two requests, and its bytes that make no part yet |
//!
//! A digest is written `sha256-HEX`, a slash in a repository's name `@`.
//!
//! Nothing locks anything. What a collection may take away has a record, which it replaces by an empty one only if the record is still
//! as it was when it looked (`If-Match`); who relies on an old record renews it first. So one of both sees the other.
//! Spec: Amazon S3 API Reference, `PutObject`, conditional writes.

mod collect;
mod record;
mod tags;
mod uploads;

use std::sync::Arc;

use axum::body::Body;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use shipway_oci::Digest;
use shipway_store::HostedManifest;
use tokio::sync::Semaphore;

pub use self::collect::Collected;
pub(crate) use self::uploads::Upload;
use crate::conditions::Condition;
use crate::digest::AnyDigest;
use crate::path::Target;
use crate::refusal::Refusal;
use crate::uploads::unguessable;

/// Questions to the storage at a time, for one request.
const TOGETHER: usize = 16;
/// Uploads that hold content in memory at a time.
const SENDERS: usize = 32;

/// A bucket, or something that can do as much.
pub trait Objects: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Objects for T {}

/// Object storage that a registry keeps everything in.
#[derive(Clone, Debug)]
pub struct Bucket {
    objects: Arc<dyn Objects>,
    prefix: Path,
    /// So many may send content at a time; others wait.
    turns: Arc<Semaphore>,
}

/// Bytes of a blob.
pub(crate) struct Source {
    bucket: Bucket,
    data: Path,
}

/// What is known of a manifest.
#[derive(Serialize, Deserialize)]
struct Known {
    digest: String,
    size: u64,
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(rename = "artifactType")]
    artifact_type: String,
    annotations: String,
    blobs: Vec<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        tracing::error!(%error, "the object storage failed");
        Self::upstream("the registry's object storage failed")
    }
}

impl Bucket {
    /// Keeps everything below `prefix`, which may be empty.
    ///
    /// The storage must know `If-Match` for writes, or a collection may take away what a push relies on.
    pub fn new(objects: Arc<dyn Objects>, prefix: &str) -> Self {
        Self { objects, prefix: Path::from(prefix), turns: Arc::new(Semaphore::new(SENDERS)) }
    }

    /// Returns a secret that all who use this bucket have, and makes it if there is none yet. Fails where the storage cannot do what
    /// a registry needs of it.
    pub async fn secret(&self) -> Result<[u8; 32], Error> {
        let path = self.at(["secret"]);
        // Tags are listed, and so is what a collection looks at.
        self.objects.list(Some(&path)).try_next().await?;
        let secret = match self.read(&path).await? {
            Some(known) => known,
            None => self.make_secret(&path).await?,
        };
        self.check_conditions(&path, &secret).await?;
        secret.try_into().map_err(|_damaged| Error::NotFound {
            path: path.to_string(),
            source: "it is not 32 bytes long".into(),
        })
    }

    /// Returns what the storage's clock says, by which objects grow old: ours may be wrong by days. In seconds since the epoch.
    pub async fn time(&self) -> Result<i64, Error> {
        let path = self.at(["clock"]);
        self.objects.put(&path, PutPayload::from(unguessable())).await?;
        Ok(self.objects.head(&path).await?.last_modified.timestamp())
    }

    async fn make_secret(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let made: [u8; 32] = rand::random();
        if self.write_if(path, made.to_vec(), PutMode::Create).await?.is_some() {
            return Ok(made.to_vec());
        }
        Ok(self.read(path).await?.unwrap_or_default())
    }

    /// Fails if the storage writes over what is there though it is told not to: collections would take away what a push relies on.
    async fn check_conditions(&self, path: &Path, known: &[u8]) -> Result<(), Error> {
        let other = UpdateVersion { e_tag: Some("\"another\"".to_owned()), version: None };
        for (mode, header) in [(PutMode::Create, "If-None-Match"), (PutMode::Update(other), "If-Match")] {
            if self.write_if(path, known.to_vec(), mode).await?.is_some() {
                let source = format!("it does not heed `{header}` when something is written");
                return Err(Error::NotSupported { source: source.into() });
            }
        }
        Ok(())
    }

    fn at<const N: usize>(&self, parts: [&str; N]) -> Path {
        parts.into_iter().fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Returns an object; `None` if there is none.
    async fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        match self.objects.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object that may be gone already.
    async fn clear(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }

    pub(crate) async fn blob(
        &self,
        name: &str,
        digest: &AnyDigest,
        now: i64,
    ) -> Result<(Source, u64), Refusal> {
        let blob = self.rely_on(name, digest, now).await?.ok_or_else(Refusal::blob_unknown)?;
        if !self.is_whole(&blob).await? {
            tracing::error!(%digest, data = blob.data, "the bytes of a blob are missing; a push of it mends that");
            return Err(Refusal::blob_unknown());
        }
        Ok((Source { bucket: self.clone(), data: self.at(["data", &blob.data]) }, blob.size))
    }

    pub(crate) async fn drop_blob(&self, name: &str, digest: &AnyDigest) -> Result<bool, Refusal> {
        if !self.has_link(name, digest).await? {
            return Ok(false);
        }
        self.clear(&self.at(["links", &folded(name), &part_of(digest)])).await?;
        Ok(true)
    }

    pub(crate) async fn mount(
        &self,
        name: &str,
        from: Option<&str>,
        digest: &AnyDigest,
        now: i64,
    ) -> Result<bool, Refusal> {
        let had = match from {
            Some(from) => self.has_link(from, digest).await?,
            None => true,
        };
        if !had || self.renew_blob(digest, now).await?.is_none() {
            return Ok(false);
        }
        self.put_link(name, digest).await?;
        Ok(true)
    }

    pub(crate) async fn manifest(
        &self,
        name: &str,
        reference: &Target,
    ) -> Result<(HostedManifest, Vec<u8>), Refusal> {
        let unknown = || Refusal::manifest_unknown(&reference.to_string());
        let part = match reference {
            Target::Digest(digest) => part_of(digest),
            Target::Tag(tag) => self.tag(name, tag).await?.ok_or_else(unknown)?.replace(':', "-"),
        };
        let found = self.read(&self.at(["manifests", &folded(name), &part])).await?.ok_or_else(unknown)?;
        split(found).ok_or_else(unknown)
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        (manifest, bytes): (&HostedManifest, &[u8]),
        tags: &[String],
        ((reference, condition), now): (&(Target, Condition), i64),
    ) -> Result<(), Refusal> {
        self.check(name, (reference, condition)).await?;
        futures::stream::iter(manifest.blobs.clone())
            .map(|blob| async move {
                let digest = blob.parse().map_err(|_no| Refusal::manifest_blob_unknown(&blob))?;
                let found = self.rely_on(name, &digest, now).await?;
                found.map(drop).ok_or_else(|| Refusal::manifest_blob_unknown(&blob))
            })
            .buffer_unordered(TOGETHER)
            .try_collect::<()>()
            .await?;
        let (folded, part) = (folded(name), manifest.digest.replace(':', "-"));
        let line = line_of(manifest);
        let whole = [line.as_bytes(), b"\n", bytes].concat();
        self.objects.put(&self.at(["manifests", &folded, &part]), PutPayload::from(whole)).await?;
        if let Some(subject) = &manifest.subject {
            let path = self.at(["referrers", &folded, &subject.replace(':', "-"), &part]);
            self.objects.put(&path, PutPayload::from(line)).await?;
        }
        // A condition for a digest holds for that, and not for tags that it gets besides.
        let of_tags = match reference {
            Target::Tag(_) => condition.clone(),
            Target::Digest(_) => Condition::default(),
        };
        for tag in tags {
            self.put_tag(name, (tag, &manifest.digest), &of_tags).await?;
        }
        Ok(())
    }

    pub(crate) async fn drop_manifest(
        &self,
        name: &str,
        reference: &Target,
        condition: &Condition,
    ) -> Result<bool, Refusal> {
        let folded = folded(name);
        let digest = match reference {
            Target::Tag(tag) => return self.drop_tag(name, tag, condition).await,
            Target::Digest(digest) => digest,
        };
        let Some(found) = self.read(&self.at(["manifests", &folded, &part_of(digest)])).await? else {
            return Ok(false);
        };
        condition.check(Some(digest.as_str()))?;
        futures::stream::iter(self.listed(&["tags", &folded]).await?)
            .map(|tag| async move {
                match self.read(&tag).await? {
                    Some(text) if text == digest.as_str().as_bytes() => self.clear(&tag).await,
                    _ => Ok(()),
                }
            })
            .buffer_unordered(TOGETHER)
            .try_collect::<()>()
            .await?;
        let subject = split(found).and_then(|(manifest, _)| manifest.subject);
        if let Some(subject) = subject {
            let path = self.at(["referrers", &folded, &subject.replace(':', "-"), &part_of(digest)]);
            self.clear(&path).await?;
        }
        self.clear(&self.at(["manifests", &folded, &part_of(digest)])).await?;
        Ok(true)
    }

    pub(crate) async fn tags(
        &self,
        name: &str,
        last: &str,
        limit: usize,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let name = folded(name);
        if self.objects.list(Some(&self.at(["manifests", &name]))).try_next().await?.is_none() {
            return Ok(None);
        }
        let prefix = self.at(["tags", &name]);
        let found = match last {
            "" => self.objects.list(Some(&prefix)),
            last => self.objects.list_with_offset(Some(&prefix), &prefix.clone().join(last)),
        };
        let tags: Vec<String> = found
            .try_filter(|found| std::future::ready(found.size > 0))
            .map_ok(|found| found.location.filename().unwrap_or_default().to_owned())
            .try_filter(|tag| std::future::ready(tag.as_str() > last))
            .take(limit)
            .try_collect()
            .await?;
        Ok(Some(tags))
    }

    pub(crate) async fn repositories(&self, last: &str, limit: usize) -> Result<Vec<String>, Refusal> {
        let found = self.objects.list_with_delimiter(Some(&self.at(["manifests"]))).await?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| path.filename()).map(unfolded).collect();
        names.retain(|name| name.as_str() > last);
        names.sort();
        names.truncate(limit);
        Ok(names)
    }

    pub(crate) async fn referrers(
        &self,
        name: &str,
        subject: &AnyDigest,
    ) -> Result<Vec<HostedManifest>, Refusal> {
        let paths = self.listed(&["referrers", &folded(name), &part_of(subject)]).await?;
        let found: Vec<Option<Vec<u8>>> = futures::stream::iter(paths)
            .map(|path| async move { self.read(&path).await })
            .buffered(TOGETHER)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().filter_map(|line| known(&line)).collect())
    }

    async fn listed(&self, parts: &[&str]) -> Result<Vec<Path>, Error> {
        let prefix = parts.iter().fold(self.prefix.clone(), |path, part| path.join(*part));
        let mut paths: Vec<Path> =
            self.objects.list(Some(&prefix)).map_ok(|found| found.location).try_collect().await?;
        paths.sort();
        Ok(paths)
    }
}

impl Source {
    /// Returns a body of so many bytes from a place on.
    pub(crate) fn body(self, first: u64, length: u64) -> Body {
        if length == 0 {
            return Body::empty();
        }
        let options =
            GetOptions { range: Some(GetRange::Bounded(first..first + length)), ..GetOptions::default() };
        let pieces = async move {
            let found = self.bucket.objects.get_opts(&self.data, options).await?;
            Ok::<_, Error>(found.into_stream())
        };
        Body::from_stream(futures::stream::once(pieces).try_flatten())
    }
}

/// Returns a repository's name as one part of a path.
fn folded(name: &str) -> String {
    name.replace('/', "@")
}

fn unfolded(part: &str) -> String {
    part.replace('@', "/")
}

/// Returns a digest as one part of a path.
fn part_of(digest: &AnyDigest) -> String {
    digest.as_str().replace(':', "-")
}

fn line_of(manifest: &HostedManifest) -> String {
    let manifest = manifest.clone();
    let known = Known {
        digest: manifest.digest,
        size: manifest.size,
        media_type: manifest.media_type,
        subject: manifest.subject,
        artifact_type: manifest.artifact_type,
        annotations: manifest.annotations,
        blobs: manifest.blobs,
    };
    serde_json::to_string(&known).unwrap_or_default()
}

/// Reads what is known of a manifest; `None` if that is damaged.
fn known(line: &[u8]) -> Option<HostedManifest> {
    let known: Known = serde_json::from_slice(line).ok()?;
    Some(HostedManifest {
        digest: known.digest,
        // Its bytes are not in a store.
        blob: Digest::of(&[]),
        size: known.size,
        media_type: known.media_type,
        subject: known.subject,
        artifact_type: known.artifact_type,
        annotations: known.annotations,
        blobs: known.blobs,
    })
}

/// Splits the object of a manifest into what is known and its bytes.
fn split(mut object: Vec<u8>) -> Option<(HostedManifest, Vec<u8>)> {
    let end = object.iter().position(|byte| *byte == b'\n')?;
    let bytes = object.split_off(end + 1);
    Some((known(&object[..end])?, bytes))
}
