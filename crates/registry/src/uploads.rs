//! Content on its way: in one piece, or in pieces one after the other. Spec: distribution-spec, Pushing blobs.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use shipway_oci::Digest;
use shipway_store::{Ingest, Lease, MOUNT_PROOF, Store, StoreError};
use tokio::sync::{Mutex as Turn, mpsc};
use tokio::task::spawn_blocking;

use crate::answer::{empty, set, text};
use crate::digest::{Algorithm, AnyDigest, AnyHasher};
use crate::guard::{Action, Caller, Wish};
use crate::path;
use crate::query::Query;
use crate::range;
use crate::refusal::Refusal;
use crate::server::Registry;

/// Pieces of a body that may wait for the disk.
const WAITING: usize = 8;
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

#[derive(Debug)]
struct Session {
    /// `None` once it is committed, or its disk was full.
    ingest: Option<Ingest>,
    received: u64,
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

    /// Finds an upload of a repository.
    fn find(&self, name: &str, id: &str) -> Result<Arc<Turn<Session>>, Refusal> {
        let mut sessions = self.lock();
        let slot = sessions.get_mut(id).filter(|slot| slot.repository == name);
        let slot = slot.ok_or_else(Refusal::upload_unknown)?;
        slot.touched = Instant::now();
        Ok(Arc::clone(&slot.session))
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }
}

/// Returns an id that nobody can guess.
fn unguessable() -> String {
    // Each state has keys of its own from the system's random numbers.
    let number = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", number(), number())
}

fn here(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// Returns where an upload stands, as a header says it.
fn until(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn standing(status: StatusCode, name: &str, id: &str, received: u64) -> Response {
    let mut response = empty(status);
    let headers = response.headers_mut();
    set(headers, "location", &here(name, id));
    set(headers, "range", &until(received));
    set(headers, "docker-upload-uuid", id);
    response
}

fn created(name: &str, digest: &AnyDigest) -> Response {
    let mut response = empty(StatusCode::CREATED);
    set(response.headers_mut(), "location", &format!("/v2/{name}/blobs/{digest}"));
    set(response.headers_mut(), "docker-content-digest", digest.as_str());
    response
}

fn digest_of(text: &str) -> Result<AnyDigest, Refusal> {
    text.parse().map_err(|_no| Refusal::digest_invalid("this is no sha256 or sha512 digest"))
}

/// Begins an upload; or mounts a blob that another repository has; or takes the whole content at once.
pub(crate) async fn begin(
    registry: &Registry,
    name: String,
    (headers, query): (&HeaderMap, &Query),
    caller: &Caller,
    body: Body,
) -> Result<Response, Refusal> {
    if let Some(wanted) = query.get("mount") {
        let digest = digest_of(wanted)?;
        if let Some(proof) = text(headers, MOUNT_PROOF)
            && take(registry, &name, text(headers, "host").unwrap_or_default(), &digest, proof).await?
        {
            return Ok(created(&name, &digest));
        }
        let from = query.get("from").filter(|from| !from.is_empty()).map(path::name).transpose()?;
        // What somebody may not read is not there to mount.
        let guard = &registry.inner.config.guard;
        let may_read = match &from {
            Some(from) => guard.may(caller, Wish::Use(from, Action::Pull)),
            None => caller.reads_everything(guard),
        };
        if may_read && mount(registry, name.clone(), from, digest.clone()).await? {
            return Ok(created(&name, &digest));
        }
    }
    // Spec: it may be told before the content comes.
    let whole = query.get("digest").map(digest_of).transpose()?;
    let id = open(registry, &name).await?;
    let Some(digest) = whole else {
        return Ok(standing(StatusCode::ACCEPTED, &name, &id, 0));
    };
    let done = finish(registry, &name, &id, &digest, body).await;
    registry.inner.uploads.forget(&id);
    done
}

/// Gives a repository what is in the store, if whoever asks can read that anyway. Nothing is sent then.
async fn take(
    registry: &Registry,
    name: &str,
    host: &str,
    digest: &AnyDigest,
    proof: &str,
) -> Result<bool, Refusal> {
    let (Ok(blob), now, has_archives) =
        (digest.as_str().parse::<Digest>(), registry.now(), registry.inner.config.archives.is_some())
    else {
        return Ok(false);
    };
    let [name, host, proof] = [name, host, proof].map(str::to_owned);
    registry
        .block(move |store| {
            let _lease = store.lease()?;
            let is_here = store.has_blob(&blob) || (has_archives && store.holds(&blob)?);
            // Digests are compared: how long that takes tells nothing of the proof itself.
            let right = store.mount_proof(&host, &name, &blob)?;
            if !is_here || Digest::of(right.as_bytes()) != Digest::of(proof.as_bytes()) {
                return Ok(false);
            }
            store.lend_blob(&name, &blob.to_string(), blob, now)?;
            Ok(true)
        })
        .await
}

async fn mount(
    registry: &Registry,
    name: String,
    from: Option<String>,
    digest: AnyDigest,
) -> Result<bool, Refusal> {
    let now = registry.now();
    registry
        .block(move |store| {
            let _lease = store.lease()?;
            let found = match from {
                Some(from) => store.hosted_blob(&from, digest.as_str())?,
                None => store.hosted_anywhere(digest.as_str())?,
            };
            let Some(blob) = found else { return Ok(false) };
            if !store.holds(&blob)? {
                return Ok(false);
            }
            store.host_blob(&name, digest.as_str(), blob, now)?;
            Ok(true)
        })
        .await
}

/// Opens an upload and returns its id. Those that nobody has sent anything to for long make place.
async fn open(registry: &Registry, name: &str) -> Result<String, Refusal> {
    let config = &registry.inner.config;
    {
        let mut sessions = registry.inner.uploads.lock();
        sessions.retain(|_, slot| {
            slot.touched.elapsed() < config.idle * PATIENCE || slot.session.try_lock().is_err()
        });
        if sessions.len() >= config.uploads {
            return Err(Refusal::busy("too many uploads at a time"));
        }
    }
    let (lease, ingest) = registry.block(|store| Ok((store.lease()?, store.ingest()?))).await?;
    let session = Session { ingest: Some(ingest), received: 0, _lease: lease };
    let slot =
        Slot { repository: name.to_owned(), session: Arc::new(Turn::new(session)), touched: Instant::now() };
    let id = unguessable();
    registry.inner.uploads.lock().insert(id.clone(), slot);
    Ok(id)
}

/// Says where an upload stands.
pub(crate) async fn stand(registry: &Registry, name: &str, id: &str) -> Result<Response, Refusal> {
    let session = registry.inner.uploads.find(name, id)?;
    let received = session.lock().await.received;
    Ok(standing(StatusCode::NO_CONTENT, name, id, received))
}

/// Takes a piece.
pub(crate) async fn add(
    registry: &Registry,
    name: &str,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let session = registry.inner.uploads.find(name, id)?;
    let mut session = session.lock().await;
    check_order(name, id, headers, session.received)?;
    receive(registry, id, &mut session, body).await?;
    Ok(standing(StatusCode::ACCEPTED, name, id, session.received))
}

/// Takes the last piece, if there is one, and ends an upload.
pub(crate) async fn end(
    registry: &Registry,
    name: &str,
    id: &str,
    (headers, query): (&HeaderMap, &Query),
    body: Body,
) -> Result<Response, Refusal> {
    let digest = query.get("digest").ok_or_else(|| Refusal::digest_invalid("`digest` is missing"))?;
    let digest = digest_of(digest)?;
    {
        let session = registry.inner.uploads.find(name, id)?;
        let received = session.lock().await.received;
        check_order(name, id, headers, received)?;
    }
    let done = finish(registry, name, id, &digest, body).await;
    if !matches!(&done, Err(refusal) if refusal.code == "BLOB_UPLOAD_INVALID") {
        registry.inner.uploads.forget(id);
    }
    done
}

/// Gives an upload up.
pub(crate) async fn give_up(registry: &Registry, name: &str, id: &str) -> Result<Response, Refusal> {
    let session = registry.inner.uploads.find(name, id)?;
    registry.inner.uploads.forget(id);
    // Whoever still sends to it ends first.
    drop(session.lock().await.ingest.take());
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A piece that says where it belongs must belong at the end of what is there.
fn check_order(name: &str, id: &str, headers: &HeaderMap, received: u64) -> Result<(), Refusal> {
    let Some(header) = text(headers, "content-range") else { return Ok(()) };
    let refuse = |message: &str| {
        let refusal = Refusal::range(message);
        refusal.with("location", here(name, id)).with("range", until(received))
    };
    let Some((first, last)) = range::of_piece(header) else {
        return Err(refuse("the Content-Range is no range"));
    };
    let length: Option<u64> = text(headers, "content-length").and_then(|length| length.parse().ok());
    if first != received || length.is_some_and(|length| (last - first).checked_add(1) != Some(length)) {
        return Err(refuse("pieces must come in order, each as long as it says"));
    }
    Ok(())
}

/// Takes the rest of the content and gives it to the repository.
async fn finish(
    registry: &Registry,
    name: &str,
    id: &str,
    digest: &AnyDigest,
    body: Body,
) -> Result<Response, Refusal> {
    let session = registry.inner.uploads.find(name, id)?;
    let mut session = session.lock().await;
    receive(registry, id, &mut session, body).await?;
    let ingest = session.ingest.take().ok_or_else(Refusal::upload_unknown)?;
    let (now, repository, wanted) = (registry.now(), name.to_owned(), digest.clone());
    registry
        .block(move |store| {
            let blob = commit(store, ingest, &wanted)?;
            Ok(store.host_blob(&repository, wanted.as_str(), blob, now)?)
        })
        .await?;
    Ok(created(name, digest))
}

fn commit(store: &Store, ingest: Ingest, wanted: &AnyDigest) -> Result<Digest, Refusal> {
    let expected: Option<Digest> = wanted.as_str().parse().ok();
    let blob = ingest.commit(expected).map_err(|error| match error {
        StoreError::Mismatch { found, .. } => {
            Refusal::digest_invalid(format!("the content has the digest {found}"))
        }
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
            return Err(Refusal::digest_invalid(format!("the content has the digest {found}")));
        }
    }
    Ok(blob)
}

/// Writes what comes. A body that breaks off leaves what has arrived, to go on from.
async fn receive(
    registry: &Registry,
    id: &str,
    session: &mut Session,
    mut body: Body,
) -> Result<(), Refusal> {
    let mut ingest = session.ingest.take().ok_or_else(Refusal::upload_unknown)?;
    let (sender, mut pieces) = mpsc::channel::<Bytes>(WAITING);
    let writing = spawn_blocking(move || {
        let mut written = 0;
        while let Some(piece) = pieces.blocking_recv() {
            ingest.write_all(&piece)?;
            written += piece.len() as u64;
        }
        Ok::<_, std::io::Error>((ingest, written))
    });
    let mut left = registry.inner.config.blob.saturating_sub(session.received);
    let fed = loop {
        match registry.next(&mut body).await {
            Ok(None) => break Ok(()),
            Err(refusal) => break Err(refusal),
            Ok(Some(piece)) => match left.checked_sub(piece.len() as u64) {
                None => break Err(Refusal::size("the blob is longer than this registry takes")),
                Some(rest) => {
                    left = rest;
                    // It has ended early; why is said below.
                    if sender.send(piece).await.is_err() {
                        break Ok(());
                    }
                }
            },
        }
    };
    drop(sender);
    let written = writing.await.map_err(|panic| Refusal::internal(&panic))?;
    let (ingest, written) = written.map_err(|error| {
        registry.inner.uploads.forget(id);
        Refusal::internal(&error)
    })?;
    session.ingest = Some(ingest);
    session.received += written;
    if matches!(&fed, Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE) {
        registry.inner.uploads.forget(id);
    }
    fed
}
