//! Uploads into a store: their bytes lie in a file without a name, and what is known of them in this process.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use shipway_oci::Digest;
use shipway_store::{Ingest, Lease, Store, StoreError};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, mpsc};
use tokio::task::spawn_blocking;

use super::unguessable;
use crate::digest::{Algorithm, AnyDigest, AnyHasher};
use crate::refusal::Refusal;
use crate::server::Registry;

/// How much is written at a time: what comes is in smaller parts, which end within pages, and each of them would wake who writes.
const BATCH: usize = 128 << 10;
/// One is filled while another is written.
const BATCHES: usize = 2;
/// Pauses between bytes that a pause between requests may be long.
const PATIENCE: u32 = 10;
/// Read from the disk at a time.
const PIECE: usize = 1 << 20;

/// Uploads that have begun.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    sessions: Mutex<HashMap<String, Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    repository: String,
    /// One request at a time.
    session: Arc<Turn<Session>>,
    touched: Instant,
}

/// What has arrived of an upload.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` once it is committed, or its disk was full.
    ingest: Option<Ingest>,
    pub(super) received: u64,
    /// Nothing is collected while somebody sends.
    _lease: Lease,
}

impl Uploads {
    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds an upload of a repository, and waits for its turn.
    pub(super) async fn find(&self, name: &str, id: &str) -> Result<OwnedMutexGuard<Session>, Refusal> {
        let session = {
            let mut sessions = self.lock();
            let slot = sessions.get_mut(id).filter(|slot| slot.repository == name);
            let slot = slot.ok_or_else(Refusal::upload_unknown)?;
            slot.touched = Instant::now();
            Arc::clone(&slot.session)
        };
        Ok(session.lock_owned().await)
    }

    /// Forgets an upload: nobody finds it any more.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Opens an upload and returns its id. Those that nobody has sent anything to for long make place.
    pub(super) async fn open(&self, registry: &Registry, name: &str) -> Result<String, Refusal> {
        let config = &registry.inner.config;
        {
            let mut sessions = self.lock();
            sessions.retain(|_, slot| {
                slot.touched.elapsed() < config.idle * PATIENCE || slot.session.try_lock().is_err()
            });
            if sessions.len() >= config.uploads {
                return Err(Refusal::busy("too many uploads at a time"));
            }
        }
        let (lease, ingest) = registry.block(|store| Ok((store.lease()?, store.ingest()?))).await?;
        let session = Session { ingest: Some(ingest), received: 0, _lease: lease };
        let (repository, touched) = (name.to_owned(), Instant::now());
        let slot = Slot { repository, session: Arc::new(Turn::new(session)), touched };
        let id = unguessable();
        self.lock().insert(id.clone(), slot);
        Ok(id)
    }
}

impl Session {
    /// Lets what has arrived go.
    pub(super) fn drop_content(&mut self) {
        drop(self.ingest.take());
    }

    /// Writes what comes. A body that breaks off leaves what has arrived, to go on from.
    pub(super) async fn receive(
        &mut self,
        registry: &Registry,
        id: &str,
        mut body: Body,
    ) -> Result<(), Refusal> {
        let mut ingest = self.ingest.take().ok_or_else(Refusal::upload_unknown)?;
        let (sender, mut full) = mpsc::channel::<Vec<u8>>(BATCHES);
        let (give_back, mut empty) = mpsc::channel::<Vec<u8>>(BATCHES);
        for _batch in 0..BATCHES {
            drop(give_back.try_send(Vec::new()));
        }
        let writing = spawn_blocking(move || {
            let mut written = 0;
            while let Some(mut batch) = full.blocking_recv() {
                ingest.write_all(&batch)?;
                written += batch.len() as u64;
                batch.clear();
                // Nobody wants it when all has come.
                drop(give_back.try_send(batch));
            }
            Ok::<_, std::io::Error>((ingest, written))
        });
        let mut left = registry.inner.config.blob.saturating_sub(self.received);
        let mut batch = Vec::new();
        let fed = loop {
            match registry.next_within(&mut body, &mut left).await {
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(refusal),
                Ok(Some(mut piece)) => {
                    // Where writing has ended early, why is said below.
                    if !fill(&mut batch, &mut piece, &sender, &mut empty).await {
                        break Ok(());
                    }
                }
            }
        };
        if !batch.is_empty() {
            drop(sender.send(batch).await);
        }
        drop(sender);
        let written = writing.await.map_err(|panic| Refusal::internal(&panic))?;
        let uploads = &registry.inner.uploads;
        let (ingest, written) = written.map_err(|error| {
            uploads.forget(id);
            Refusal::internal(&error)
        })?;
        self.ingest = Some(ingest);
        self.received += written;
        if matches!(&fed, Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE) {
            uploads.forget(id);
        }
        fed
    }

    /// Gives the repository what has arrived.
    pub(super) async fn commit(
        &mut self,
        registry: &Registry,
        name: &str,
        digest: &AnyDigest,
    ) -> Result<(), Refusal> {
        let ingest = self.ingest.take().ok_or_else(Refusal::upload_unknown)?;
        let (now, repository, wanted) = (registry.now(), name.to_owned(), digest.clone());
        registry
            .block(move |store| {
                let blob = commit(store, ingest, &wanted)?;
                Ok(store.host_blob(&repository, wanted.as_str(), blob, now)?)
            })
            .await
    }
}

/// Puts a piece into a batch, and sends each that is full; `false` if nobody writes any more.
async fn fill(
    batch: &mut Vec<u8>,
    piece: &mut Bytes,
    sender: &mpsc::Sender<Vec<u8>>,
    empty: &mut mpsc::Receiver<Vec<u8>>,
) -> bool {
    while !piece.is_empty() {
        if batch.capacity() == 0 {
            let Some(next) = empty.recv().await else { return false };
            *batch = next;
            batch.reserve_exact(BATCH);
        }
        let taken = piece.split_to(piece.len().min(BATCH - batch.len()));
        batch.extend_from_slice(&taken);
        if batch.len() == BATCH && sender.send(std::mem::take(batch)).await.is_err() {
            return false;
        }
    }
    true
}

fn commit(store: &Store, ingest: Ingest, wanted: &AnyDigest) -> Result<Digest, Refusal> {
    let expected: Option<Digest> = wanted.as_str().parse().ok();
    let blob = ingest.commit(expected).map_err(|error| match error {
        StoreError::Mismatch { found, .. } => Refusal::wrong_digest(found),
        other => other.into(),
    })?;
    if wanted.algorithm == Algorithm::Sha512 {
        // The store's own names are of the other algorithm. What is wrong has no name, and the next collection removes it.
        let mut file = store.open_blob(&blob)?;
        let mut hasher = AnyHasher::new(Algorithm::Sha512);
        let mut buffer = vec![0; PIECE];
        loop {
            let read = file.read(&mut buffer).map_err(|error| Refusal::internal(&error))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let found = hasher.finish();
        if found != *wanted {
            return Err(Refusal::wrong_digest(found));
        }
    }
    Ok(blob)
}
