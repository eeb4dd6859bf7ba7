//! Records that a collection may empty: which blobs there are, and which repository has them.

use object_store::path::Path;
use object_store::{
    Error, GetOptions, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use serde::{Deserialize, Serialize};

use super::{Bucket, folded, part_of};
use crate::digest::AnyDigest;
use crate::refusal::Refusal;
use crate::uploads::unguessable;

/// What nothing names stays so long, in seconds: a push may be on its way.
pub(super) const GRACE: i64 = 24 * 60 * 60;
/// Tries to change a record that others change too.
pub(super) const TRIES: usize = 16;

pub(super) const CROWD: &str = "too many change the same blob at a time";

/// A blob that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// The last part of the object with its bytes.
    pub(super) data: String,
    /// Bytes.
    pub(super) size: u64,
    /// No two writes of a record are alike, so that each has a version of its own.
    pub(super) nonce: String,
    /// A collection is about to remove the bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_gone: bool,
}

/// An object with the version that was read.
pub(super) struct Versioned {
    pub(super) bytes: Vec<u8>,
    age: i64,
    pub(super) version: UpdateVersion,
}

/// Returns how long ago an object was written, in seconds.
pub(super) fn age(object: &ObjectMeta, now: i64) -> i64 {
    now.saturating_sub(object.last_modified.timestamp())
}

/// Returns whether a collection takes nothing of such an age away for a while. Where our clock and the storage's differ by much it may be
/// of any age.
fn is_young(age: i64) -> bool {
    (-GRACE / 24..=GRACE / 2).contains(&age)
}

/// Returns the version of an object.
pub(super) fn version(object: &ObjectMeta) -> UpdateVersion {
    UpdateVersion { e_tag: object.e_tag.clone(), version: object.version.clone() }
}

impl Bucket {
    /// Returns a record with its version; `None` if there is none, or it was emptied.
    async fn record(&self, path: &Path, now: i64) -> Result<Option<Versioned>, Error> {
        Ok(self.slot(path, now).await?.filter(|record| !record.bytes.is_empty()))
    }

    /// Returns a record with its version, also one that was emptied.
    pub(super) async fn slot(&self, path: &Path, now: i64) -> Result<Option<Versioned>, Error> {
        let found = match self.objects.get_opts(path, GetOptions::default()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (age, version) = (age(&found.meta, now), version(&found.meta));
        let bytes = found.bytes().await?.to_vec();
        Ok(Some(Versioned { bytes, age, version }))
    }

    /// Writes a record if it is still as it was; returns whether it was.
    pub(super) async fn replace(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        version: UpdateVersion,
    ) -> Result<bool, Error> {
        Ok(self.rewrite(path, bytes, version).await?.is_some())
    }

    /// Writes a record if it is still as it was, and returns its new version; `None` if it was not.
    pub(super) async fn rewrite(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        version: UpdateVersion,
    ) -> Result<Option<UpdateVersion>, Error> {
        let written = self.write_if(path, bytes.clone(), PutMode::Update(version)).await?;
        if written.is_some() {
            return Ok(written);
        }
        // Where the answer was lost the write is repeated, and finds what it has done itself.
        let now = self.slot(path, 0).await?.filter(|record| record.bytes == bytes);
        Ok(now.map(|record| record.version))
    }

    pub(super) async fn write_if(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        mode: PutMode,
    ) -> Result<Option<UpdateVersion>, Error> {
        match self.objects.put_opts(path, PutPayload::from(bytes), PutOptions::from(mode)).await {
            Ok(written) => Ok(Some(written.into())),
            Err(Error::Precondition { .. } | Error::NotFound { .. } | Error::AlreadyExists { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Finds a blob and makes sure that no collection takes it away for a while.
    pub(super) async fn renew_blob(&self, digest: &AnyDigest, now: i64) -> Result<Option<Blob>, Refusal> {
        let path = self.at(["blobs", &part_of(digest)]);
        for _ in 0..TRIES {
            let Some(record) = self.record(&path, now).await? else { return Ok(None) };
            let Some(blob) = read(&record.bytes) else { return Ok(None) };
            if self.renew(&path, &blob, record).await? {
                return Ok(Some(blob));
            }
        }
        Err(Refusal::busy(CROWD))
    }

    /// Makes a record young; returns whether it is, and as it was.
    async fn renew(&self, path: &Path, blob: &Blob, record: Versioned) -> Result<bool, Error> {
        let next = Blob { nonce: unguessable(), ..blob.clone() };
        Ok(is_young(record.age) || self.replace(path, json(&next), record.version).await?)
    }

    /// Makes the bytes of an upload a blob, unless there is one already; returns whether it is the upload's.
    pub(super) async fn put_blob(
        &self,
        digest: &AnyDigest,
        (data, size): (&str, u64),
        now: i64,
    ) -> Result<bool, Refusal> {
        let path = self.at(["blobs", &part_of(digest)]);
        for _ in 0..TRIES {
            let mode = match self.slot(&path, now).await? {
                None => PutMode::Create,
                Some(record) => match read(&record.bytes) {
                    // It is ours already where a write was repeated that had gone well.
                    Some(blob) if blob.data == data || self.is_whole(&blob).await? => {
                        if self.renew(&path, &blob, record).await? {
                            return Ok(blob.data == data);
                        }
                        continue;
                    }
                    // Emptied, or damaged and of no use to anybody.
                    _ => PutMode::Update(record.version),
                },
            };
            let blob = Blob { data: data.to_owned(), size, nonce: unguessable(), is_gone: false };
            if self.write_if(&path, json(&blob), mode).await?.is_some() {
                return Ok(true);
            }
        }
        Err(Refusal::busy(CROWD))
    }

    /// Returns whether the bytes of a blob are where its record says.
    pub(super) async fn is_whole(&self, blob: &Blob) -> Result<bool, Error> {
        Ok(self.length(&self.at(["data", &blob.data])).await? == Some(blob.size))
    }

    /// Returns how many bytes an object has; `None` if there is none.
    pub(super) async fn length(&self, path: &Path) -> Result<Option<u64>, Error> {
        match self.objects.head(path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a repository has a blob.
    pub(super) async fn has_link(&self, name: &str, digest: &AnyDigest) -> Result<bool, Error> {
        let path = self.at(["links", &folded(name), &part_of(digest)]);
        Ok(self.record(&path, 0).await?.is_some())
    }

    /// Gives a repository a blob.
    pub(super) async fn put_link(&self, name: &str, digest: &AnyDigest) -> Result<(), Error> {
        let path = self.at(["links", &folded(name), &part_of(digest)]);
        self.objects.put(&path, PutPayload::from(unguessable())).await.map(drop)
    }

    /// Finds a blob that a repository has, and makes sure that it stays for a while.
    pub(super) async fn rely_on(
        &self,
        name: &str,
        digest: &AnyDigest,
        now: i64,
    ) -> Result<Option<Blob>, Refusal> {
        let path = self.at(["links", &folded(name), &part_of(digest)]);
        for _ in 0..TRIES {
            let (link, blob) =
                futures::future::join(self.record(&path, now), self.renew_blob(digest, now)).await;
            let (Some(link), Some(blob)) = (link?, blob?) else { return Ok(None) };
            if is_young(link.age) || self.replace(&path, unguessable().into_bytes(), link.version).await? {
                return Ok(Some(blob));
            }
        }
        Err(Refusal::busy(CROWD))
    }
}

/// Reads the record of a blob that is there; `None` also if it is damaged.
fn read(bytes: &[u8]) -> Option<Blob> {
    serde_json::from_slice(bytes).ok().filter(|blob: &Blob| !blob.is_gone)
}

pub(super) fn json(blob: &Blob) -> Vec<u8> {
    serde_json::to_vec(blob).unwrap_or_default()
}
