//! Uploads into a bucket. Whatever is known of one lies there too between two requests, so that each may reach another registry, or
//! the same one after a restart.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState as _;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::Bucket;
use crate::digest::{Algorithm, AnyDigest, AnyHasher};
use crate::refusal::Refusal;
use crate::server::Registry;
use crate::uploads::unguessable;

/// Bytes of a part. Spec: Amazon S3 User Guide, multipart upload limits: at least 5 MiB, but for the last one.
const PART: usize = 8 << 20;
/// Most parts. Spec: the same.
const PARTS: u64 = 10_000;

/// What is known of an upload between two requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    repository: String,
    /// Has begun with the first whole part.
    pub(super) multipart: Option<String>,
    parts: Vec<String>,
    received: u64,
    /// Where the bytes are that make no part yet; each request writes an object of its own.
    tail: Option<String>,
    /// The state of the hash, in base64.
    hash: String,
    /// Nobody goes on with it: it is about to be this blob, written as in paths; given up where that is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<String>,
    /// No two writes are alike, so that each is known again.
    #[serde(default)]
    nonce: String,
}

/// What becomes of an upload when its request lets go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody needs its bytes.
    Loose,
    /// A blob has come to be its bytes.
    Blob,
    /// The storage failed, and nobody knows what it has done. A collection sees.
    Unsure,
    /// Another request has it.
    Taken,
}

/// An upload that this request has to itself: what another one does meanwhile is refused when either is to rest.
pub(crate) struct Upload {
    bucket: Bucket,
    id: String,
    state: State,
    /// What the bucket has, and as which version.
    written: State,
    version: UpdateVersion,
    hasher: Sha256,
    /// Bytes that make no part yet.
    tail: Vec<u8>,
    /// One part is on its way while the next one arrives.
    sending: JoinSet<Result<PartId, Error>>,
    /// More than one request brings it.
    has_rested: bool,
    fate: Fate,
    /// Of what arrived something did not get to the storage: all of that request is to come again.
    is_torn: bool,
    now: i64,
}

impl State {
    /// Returns the same for somebody who ends it: nobody goes on with it.
    pub(super) fn ended(self) -> Self {
        Self { end: self.end.or_else(|| Some(String::new())), ..self }
    }
}

impl Bucket {
    fn upload_at(&self, id: &str) -> Path {
        self.at(["uploads", id])
    }

    pub(crate) async fn open_upload(&self, name: &str) -> Result<String, Refusal> {
        let id = unguessable();
        let (repository, hash) = (name.to_owned(), saved(&Sha256::new()));
        let state = State { repository, hash, ..State::default() };
        self.objects.put(&self.upload_at(&id), PutPayload::from(json(&state))).await?;
        Ok(id)
    }

    pub(crate) async fn find_upload(&self, name: &str, id: &str, now: i64) -> Result<Upload, Refusal> {
        let found = match self.objects.get(&self.upload_at(id)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Err(Refusal::upload_unknown()),
            Err(error) => return Err(error.into()),
        };
        let version = super::record::version(&found.meta);
        let state: State =
            serde_json::from_slice(&found.bytes().await?).map_err(|_no| Refusal::upload_unknown())?;
        let hasher = restored(&state.hash).ok_or_else(Refusal::upload_unknown)?;
        if state.repository != name || state.end.is_some() {
            return Err(Refusal::upload_unknown());
        }
        let has_rested = state.received > 0;
        let tail = match &state.tail {
            None => Vec::new(),
            Some(tail) => {
                self.read(&self.at(["tails", id, tail])).await?.ok_or_else(Refusal::upload_unknown)?
            }
        };
        Ok(Upload {
            bucket: self.clone(),
            id: id.to_owned(),
            written: state.clone(),
            state,
            version,
            hasher,
            tail,
            sending: JoinSet::new(),
            has_rested,
            fate: Fate::Loose,
            is_torn: false,
            now,
        })
    }

    /// Takes away what is left of an upload, and of its bytes too unless a blob has come to be them.
    pub(super) async fn end_upload(
        &self,
        id: &str,
        multipart: Option<&str>,
        (is_kept, has_tails): (bool, bool),
    ) -> Result<(), Error> {
        let data = self.at(["data", id]);
        if !is_kept {
            if let Some(multipart) = multipart {
                self.abort(&data, multipart).await?;
            }
            self.clear(&data).await?;
        }
        if has_tails {
            for tail in self.listed(&["tails", id]).await? {
                self.clear(&tail).await?;
            }
        }
        self.clear(&self.upload_at(id)).await
    }

    async fn abort(&self, data: &Path, multipart: &str) -> Result<(), Error> {
        match self.objects.abort_multipart(data, &multipart.to_owned()).await {
            // It may be complete already.
            Err(Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }
}

impl Upload {
    pub(crate) fn received(&self) -> u64 {
        self.state.received
    }

    /// Takes what comes. A body that breaks off leaves what has arrived, to go on from.
    pub(crate) async fn receive(&mut self, registry: &Registry, mut body: Body) -> Result<(), Refusal> {
        // Each holds two parts at most.
        let turns = Arc::clone(&self.bucket.turns);
        let _turn = turns.acquire().await.map_err(|closed| Refusal::internal(&closed))?;
        let most = registry.inner.config.blob.min(PART as u64 * PARTS);
        let mut left = most.saturating_sub(self.state.received);
        while let Some(piece) = registry.next_within(&mut body, &mut left).await? {
            self.hasher.update(&piece);
            self.state.received += piece.len() as u64;
            self.tail.extend_from_slice(&piece);
            while self.tail.len() >= PART {
                let rest = self.tail.split_off(PART);
                let part = std::mem::replace(&mut self.tail, rest);
                if let Err(refusal) = self.send(part).await {
                    self.is_torn = true;
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<(), Refusal> {
        self.sent().await?;
        let (bucket, data) = (self.bucket.clone(), self.bucket.at(["data", &self.id]));
        let multipart = match &self.state.multipart {
            Some(known) => known.clone(),
            None => self.begin_parts(&data).await?,
        };
        let index = self.state.parts.len();
        self.sending.spawn(async move {
            bucket.objects.put_part(&data, &multipart, index, PutPayload::from(part)).await
        });
        Ok(())
    }

    /// Parts that nobody knows of would stay for ever, so the bucket knows of them before the first one comes.
    async fn begin_parts(&mut self, data: &Path) -> Result<String, Refusal> {
        let begun = self.bucket.objects.create_multipart(data).await?;
        let known = State { multipart: Some(begun.clone()), ..self.written.clone() };
        if let Err(refusal) = self.write(known).await {
            if let Err(error) = self.bucket.abort(data, &begun).await {
                tracing::warn!(%error, "parts of an upload may stay in the bucket");
            }
            return Err(refusal);
        }
        self.state.multipart = Some(begun.clone());
        Ok(begun)
    }

    /// Waits for the part that is on its way.
    async fn sent(&mut self) -> Result<(), Refusal> {
        let Some(sent) = self.sending.join_next().await else { return Ok(()) };
        let part = sent.map_err(|panic| Refusal::internal(&panic))??;
        self.state.parts.push(part.content_id);
        Ok(())
    }

    /// Keeps what has arrived for the next request; where some of it was lost, what had arrived before.
    pub(crate) async fn rest(mut self) -> Result<(), Refusal> {
        self.sent().await?;
        if self.is_torn {
            return Ok(());
        }
        self.state.hash = saved(&self.hasher);
        let tails = self.bucket.at(["tails", &self.id]);
        let before = self.state.tail.take();
        if !self.tail.is_empty() {
            let (tail, place) = (std::mem::take(&mut self.tail), unguessable());
            self.bucket.objects.put(&tails.clone().join(place.as_str()), PutPayload::from(tail)).await?;
            self.state.tail = Some(place);
        }
        let claimed = self.write(self.state.clone()).await;
        let useless = match self.fate {
            Fate::Taken => self.state.tail,
            Fate::Unsure => None,
            Fate::Loose | Fate::Blob => before,
        };
        if let Some(tail) = useless {
            self.bucket.clear(&tails.join(tail)).await?;
        }
        claimed
    }

    /// Writes what is known of it, unless somebody else has meanwhile.
    async fn write(&mut self, state: State) -> Result<(), Refusal> {
        let state = State { nonce: unguessable(), ..state };
        let place = self.bucket.upload_at(&self.id);
        match self.bucket.rewrite(&place, json(&state), self.version.clone()).await {
            Ok(Some(version)) => {
                (self.version, self.written) = (version, state);
                Ok(())
            }
            Ok(None) => {
                self.fate = Fate::Taken;
                Err(Refusal::busy("another request sends to the same upload"))
            }
            Err(error) => {
                self.fate = Fate::Unsure;
                Err(error.into())
            }
        }
    }

    /// Gives the repository what has arrived.
    pub(crate) async fn commit(&mut self, name: &str, digest: &AnyDigest) -> Result<(), Refusal> {
        let data = self.bucket.at(["data", &self.id]);
        if let (Algorithm::Sha256, found) = (digest.algorithm, self.hasher.clone()) {
            let found = AnyHasher::Sha256(found).finish();
            if found != *digest {
                return Err(Refusal::wrong_digest(found));
            }
        }
        // From here on nobody else goes on with it, and a collection knows which blob may be these bytes.
        self.write(State { end: Some(super::part_of(digest)), ..self.state.clone() }).await?;
        let tail = std::mem::take(&mut self.tail);
        if self.state.multipart.is_none() {
            self.bucket.objects.put(&data, PutPayload::from(tail)).await?;
        } else if !tail.is_empty() {
            self.send(tail).await?;
        }
        self.sent().await?;
        if let Some(multipart) = &self.state.multipart {
            let parts = self.state.parts.drain(..).map(|content_id| PartId { content_id }).collect();
            let done = self.bucket.objects.complete_multipart(&data, multipart, parts).await;
            // Where only the answer was lost, asking again finds no parts any more, but what they have become.
            if let Err(error) = done
                && self.bucket.length(&data).await? != Some(self.state.received)
            {
                return Err(error.into());
            }
            self.state.multipart = None;
        }
        if digest.algorithm == Algorithm::Sha512 {
            self.bucket.check_sha512(&data, digest).await?;
        }
        self.fate = Fate::Unsure;
        let is_new = self.bucket.put_blob(digest, (&self.id, self.state.received), self.now).await?;
        self.fate = if is_new { Fate::Blob } else { Fate::Loose };
        self.bucket.put_link(name, digest).await?;
        Ok(())
    }

    /// Lets go of it, and of what has arrived if it was not committed.
    pub(crate) async fn forget(mut self) -> Result<(), Refusal> {
        drop(self.sent().await);
        if self.written.end.is_none() && self.fate == Fate::Loose {
            self.write(self.written.clone().ended()).await?;
        }
        let kept = match self.fate {
            Fate::Unsure | Fate::Taken => return Ok(()),
            fate => fate == Fate::Blob,
        };
        let multipart = self.state.multipart.as_deref();
        Ok(self.bucket.end_upload(&self.id, multipart, (kept, self.has_rested)).await?)
    }
}

impl Bucket {
    /// The running hash is of the other algorithm.
    async fn check_sha512(&self, data: &Path, wanted: &AnyDigest) -> Result<(), Refusal> {
        let mut hasher = AnyHasher::new(Algorithm::Sha512);
        let mut pieces = self.objects.get(data).await?.into_stream();
        while let Some(piece) = pieces.next().await {
            hasher.update(&piece?);
        }
        let found = hasher.finish();
        if found == *wanted { Ok(()) } else { Err(Refusal::wrong_digest(found)) }
    }
}

pub(super) fn json(state: &State) -> Vec<u8> {
    serde_json::to_vec(state).unwrap_or_default()
}

fn saved(hasher: &Sha256) -> String {
    STANDARD.encode(hasher.serialize())
}

fn restored(text: &str) -> Option<Sha256> {
    Sha256::deserialize(&STANDARD.decode(text).ok()?.as_slice().try_into().ok()?).ok()
}
