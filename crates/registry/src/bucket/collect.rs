//! Taking away what nothing needs, while everybody goes on.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore as _};

use super::record::{self, Blob, GRACE, age, version};
use super::uploads::{State, json};
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
    /// Takes away blobs that no manifest has named for a day, and uploads that have rested for as long. `now` is what
    /// [`Bucket::time`] says. Several may do this at a time, and pushes need not stop.
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
            if record.location.filename().is_some_and(|digest| linked.contains(digest)) {
                continue;
            }
            if let Some(bytes) = self.take_away(record).await? {
                collected.blobs += 1;
                collected.bytes += bytes;
            }
        }
        Ok(collected)
    }

    /// Takes a blob away unless somebody relies on it meanwhile; returns its bytes if it is gone. Where the storage fails, or we end, in
    /// the middle, the record still says where these are.
    async fn take_away(&self, record: &ObjectMeta) -> Result<Option<u64>, Error> {
        let Some(blob) = self.read_blob(&record.location).await? else { return Ok(None) };
        let blob = Blob { is_gone: true, ..blob };
        let gone = self.rewrite(&record.location, record::json(&blob), version(record)).await?;
        let Some(version) = gone else { return Ok(None) };
        self.clear(&self.at(["data", &blob.data])).await?;
        self.replace(&record.location, Vec::new(), version).await?;
        Ok(Some(blob.size))
    }

    async fn read_blob(&self, place: &Path) -> Result<Option<Blob>, Error> {
        let bytes = self.read(place).await?;
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
        let mut ended = 0;
        for upload in &uploads {
            let Some(id) = upload.location.filename() else { continue };
            let bytes = self.read(&upload.location).await?.unwrap_or_default();
            let state = serde_json::from_slice(&bytes).ok().map(State::ended);
            // Somebody may go on with it after all.
            let over = state.as_ref().map(json).unwrap_or_default();
            if !self.replace(&upload.location, over, version(upload)).await? {
                continue;
            }
            ended += 1;
            let State { multipart, end, .. } = state.unwrap_or_default();
            // One that was cut off between its last two steps is a blob.
            let blob = match end.as_deref().unwrap_or_default() {
                "" => None,
                digest => self.read_blob(&self.at(["blobs", digest])).await?,
            };
            let is_kept = blob.is_some_and(|blob| blob.data == id && !blob.is_gone);
            self.end_upload(id, multipart.as_deref(), (is_kept, true)).await?;
        }
        Ok(ended)
    }
}
