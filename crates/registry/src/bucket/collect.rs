//! Taking away what nothing needs, while everybody goes on.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{Error, ObjectMeta, ObjectStore as _};

use super::record::{Blob, GRACE, age, version};
use super::uploads::State;
use super::{Bucket, TOGETHER, split};

/// What a collection took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Uploads that nobody ended.
    pub uploads: usize,
}

impl Bucket {
    /// Takes away blobs that no manifest has named for a day, and uploads that have rested for as long. `now` is seconds since the
    /// epoch. Several may do this at a time, and pushes need not stop.
    pub async fn collect(&self, now: i64) -> Result<Collected, Error> {
        let uploads = self.end_old_uploads(now).await?;
        Ok(Collected { uploads, ..self.collect_blobs(now).await? })
    }

    /// Takes away blobs that no manifest has named for a day.
    pub async fn collect_blobs(&self, now: i64) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        // Before the links: a blob that gets its first one meanwhile has been renewed.
        let blobs = self.all("blobs").await?;
        let mut linked = HashSet::new();
        for (repository, links) in self.by_repository("links").await? {
            let old = |link: &ObjectMeta| link.size > 0 && age(link, now) > GRACE;
            let named = if links.iter().any(old) { self.named(&repository).await? } else { HashSet::new() };
            for link in links.iter().filter(|link| link.size > 0) {
                let Some(digest) = link.location.filename() else { continue };
                let is_unused = old(link) && !named.contains(digest);
                if !is_unused || !self.replace(&link.location, Vec::new(), version(link)).await? {
                    linked.insert(digest.to_owned());
                }
            }
        }
        for record in blobs.iter().filter(|record| record.size > 0 && age(record, now) > GRACE) {
            let is_linked = record.location.filename().is_some_and(|digest| linked.contains(digest));
            let Some(blob) = self.read_blob(record).await?.filter(|_| !is_linked) else { continue };
            if self.replace(&record.location, Vec::new(), version(record)).await? {
                self.clear(&self.at(["data", &blob.data])).await?;
                collected.blobs += 1;
                collected.bytes += blob.size;
            }
        }
        Ok(collected)
    }

    async fn read_blob(&self, record: &ObjectMeta) -> Result<Option<Blob>, Error> {
        let bytes = self.read(&record.location).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn all(&self, kind: &str) -> Result<Vec<ObjectMeta>, Error> {
        self.objects.list(Some(&self.at([kind]))).try_collect().await
    }

    async fn by_repository(&self, kind: &str) -> Result<HashMap<String, Vec<ObjectMeta>>, Error> {
        let mut found: HashMap<String, Vec<ObjectMeta>> = HashMap::new();
        for object in self.all(kind).await? {
            let repository = object.location.parts().rev().nth(1);
            if let Some(repository) = repository {
                found.entry(repository.as_ref().to_owned()).or_default().push(object);
            }
        }
        Ok(found)
    }

    /// Returns the digests of the blobs that the manifests of a repository name, as they are written in paths.
    async fn named(&self, repository: &str) -> Result<HashSet<String>, Error> {
        let paths = self.listed(&["manifests", repository]).await?;
        let mut named = HashSet::new();
        let mut manifests = futures::stream::iter(paths)
            .map(|path| async move { self.read(&path).await })
            .buffer_unordered(TOGETHER);
        while let Some(object) = manifests.next().await {
            let manifest = object?.and_then(split);
            named.extend(
                manifest.into_iter().flat_map(|(known, _)| known.blobs).map(|blob| blob.replace(':', "-")),
            );
        }
        Ok(named)
    }

    async fn end_old_uploads(&self, now: i64) -> Result<usize, Error> {
        let mut uploads = self.all("uploads").await?;
        uploads.retain(|upload| age(upload, now) > GRACE);
        if uploads.is_empty() {
            return Ok(0);
        }
        // One that was cut off between its last two steps is a blob.
        let mut kept = HashSet::new();
        for record in self.all("blobs").await?.iter().filter(|record| record.size > 0) {
            kept.extend(self.read_blob(record).await?.map(|blob| blob.data));
        }
        let mut ended = 0;
        for upload in &uploads {
            let Some(id) = upload.location.filename() else { continue };
            let state = self.read(&upload.location).await?;
            // Somebody may go on with it after all.
            if !self.replace(&upload.location, Vec::new(), version(upload)).await? {
                continue;
            }
            ended += 1;
            let state: Option<State> = state.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let multipart = state.and_then(|state| state.multipart);
            self.end_upload(id, multipart.as_deref(), (kept.contains(id), true)).await?;
        }
        Ok(ended)
    }
}
