//! Blobs on their way from another registry: each is fetched once, and everybody who wants it reads along.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use shipway_oci::Digest;
use shipway_store::{Ingest, Lease, Store};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Remote;
use crate::digest::AnyDigest;
use crate::refusal::Refusal;
use crate::server::Registry;

/// Read from the disk at a time.
const PIECE: u64 = 256 << 10;

/// All of them, by repository and digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    flying: Arc<Mutex<HashMap<(String, String), Flight>>>,
}

/// One blob on its way. Clones follow the same.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    file: Arc<File>,
    size: u64,
    stage: watch::Receiver<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// So many bytes are there.
    Arrived(u64),
    /// All of it is there, and is what its digest says.
    Kept,
    Failed,
}

/// Where it is written.
struct Arrival {
    ingest: Ingest,
    stage: watch::Sender<Stage>,
}

impl Write for Arrival {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.ingest.write(bytes)?;
        self.stage.send_replace(Stage::Arrived(self.ingest.written()));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ingest.flush()
    }
}

impl Flights {
    /// Joins the flight of a blob, or begins it.
    pub(crate) async fn follow(
        &self,
        registry: &Registry,
        remote: &Remote,
        digest: &AnyDigest,
        size: u64,
    ) -> Result<Flight, Refusal> {
        let key = (remote.cached.clone(), digest.to_string());
        if let Some(flight) = self.lock().get(&key) {
            return Ok(flight.clone());
        }
        let digest: Digest =
            digest.as_str().parse().map_err(|_no| Refusal::digest_invalid("only sha256 is passed on"))?;
        let (ingest, file, lease) = registry
            .block(|store| {
                let (lease, ingest) = (store.lease()?, store.ingest()?);
                let file = ingest.reader()?;
                Ok((ingest, file, lease))
            })
            .await?;
        let (sender, stage) = watch::channel(Stage::Arrived(0));
        let flight = Flight { file: Arc::new(file), size, stage };
        {
            let mut flying = self.lock();
            if let Some(other) = flying.get(&key) {
                return Ok(other.clone());
            }
            flying.insert(key.clone(), flight.clone());
        }
        let (flights, remote) = (self.clone(), remote.clone());
        let (store, now) = (registry.store()?.clone(), registry.now());
        let arrival = Arrival { ingest, stage: sender };
        // A thread of its own, which nobody waits for when the program ends.
        let fly = move || {
            let stage = arrival.stage.clone();
            let flown = fly(&store, &remote, (digest, size), arrival, (now, lease));
            flights.lock().remove(&key);
            stage.send_replace(if flown { Stage::Kept } else { Stage::Failed });
        };
        let spawned = std::thread::Builder::new().name("fetch".to_owned()).spawn(fly);
        spawned.map(|_thread| flight).map_err(|error| Refusal::internal(&error))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Flight>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches a blob and keeps it; says whether that succeeded.
fn fly(
    store: &Store,
    remote: &Remote,
    (digest, size): (Digest, u64),
    mut arrival: Arrival,
    (now, _lease): (i64, Lease),
) -> bool {
    let Remote { upstream, registry, name, cached, .. } = remote;
    let text = digest.to_string();
    let fetched = if store.has_blob(&digest) {
        // Another repository, or an image here, has the same bytes.
        store.open_blob(&digest).map_err(|error| error.to_string()).and_then(|mut blob| {
            io::copy(&mut blob, &mut arrival).map(drop).map_err(|error| error.to_string())
        })
    } else {
        upstream.blob(registry, name, (&text, size), &mut arrival).map_err(|error| error.to_string())
    };
    let kept = fetched.and_then(|()| {
        let kept = arrival.ingest.commit(Some(digest));
        kept.and_then(|blob| store.host_blob(cached, &text, blob, now)).map_err(|error| error.to_string())
    });
    if let Err(reason) = &kept {
        tracing::warn!(registry, name, %digest, reason, "a blob could not be fetched");
    }
    kept.is_ok()
}

impl Flight {
    /// Returns a body of so many bytes from a place on, which has them as soon as they are here. The last ones come only when all is
    /// known to be right.
    pub(crate) fn body(self, first: u64, length: u64) -> Body {
        let pieces =
            futures::stream::try_unfold((self, first, length), |(mut flight, at, left)| async move {
                if left == 0 {
                    return Ok(None);
                }
                let there = flight.wait(at).await?;
                let count = left.min(PIECE).min(there - at);
                let (file, length) = (Arc::clone(&flight.file), usize::try_from(count).unwrap_or(usize::MAX));
                let read = move || {
                    let mut bytes = vec![0; length];
                    file.read_exact_at(&mut bytes, at).map(|()| Bytes::from(bytes))
                };
                let bytes = spawn_blocking(read).await.map_err(io::Error::other)??;
                Ok::<_, io::Error>(Some((bytes, (flight, at + count, left - count))))
            });
        Body::from_stream(pieces)
    }

    /// Waits until something is there beyond a place, and returns how much may be read.
    async fn wait(&mut self, at: u64) -> io::Result<u64> {
        let size = self.size;
        let is_enough = |stage: &Stage| match *stage {
            Stage::Arrived(there) => there > at && there < size,
            Stage::Kept | Stage::Failed => true,
        };
        let stage = *self.stage.wait_for(is_enough).await.map_err(io::Error::other)?;
        match stage {
            Stage::Arrived(there) => Ok(there),
            Stage::Kept => Ok(size),
            Stage::Failed => Err(io::Error::other("the other registry did not give all of it")),
        }
    }
}
