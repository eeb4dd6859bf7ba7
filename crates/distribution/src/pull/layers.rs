//! Layers, several at a time: one thread downloads and keeps the bytes, another one makes a tree of them, and hashes both.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use shipway_oci::{Descriptor, DiffId, Digest};
use shipway_store::{Ingest, Packed, StoreError};

use super::Pull;
use crate::aside::Aside;
use crate::blob::BlobReader;
use crate::error::Cause;
use crate::pipe::{Buffers, Piece, Pipe};
use crate::sources::Sources;
use crate::{Event, LayerState, RegistryError};

/// So many layers at the same time.
const PARALLEL: usize = 6;
/// Largest layer, compressed.
const LAYER_LIMIT: u64 = 64 << 30;

/// Media types of layers. `urls` of those that must not be distributed are never followed: the registry is asked.
const KINDS: [&str; 11] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// The layers of one image on their way.
pub(super) struct Layers<'a> {
    deps: Pull<'a>,
    sources: &'a Sources<'a>,
    /// Each blob once, base first.
    wanted: Vec<&'a (Descriptor, DiffId)>,
    next: AtomicUsize,
    /// Those that are complete, which are made lasting together.
    complete: Mutex<Vec<(Ingest, Packed, DiffId)>>,
    /// One layer failed: the others need not be finished.
    failed: AtomicBool,
    buffers: Buffers,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        deps: Pull<'a>,
        sources: &'a Sources<'a>,
        layers: &'a [(Descriptor, DiffId)],
    ) -> Result<Self, RegistryError> {
        for (layer, _) in layers {
            let kind = layer.media_type.as_str();
            if !KINDS.contains(&kind) {
                let reason = format!("it has a layer of type {kind}, which is not known here");
                return Err(sources.origin().wrong("manifest", reason));
            }
            if layer.size > LAYER_LIMIT {
                let reason = format!("it has a layer of {} bytes, more than {LAYER_LIMIT}", layer.size);
                return Err(sources.origin().wrong("manifest", reason));
            }
        }
        let mut seen = HashSet::new();
        let wanted = layers.iter().filter(|(layer, _)| seen.insert(layer.digest)).collect();
        Ok(Self {
            deps,
            sources,
            wanted,
            next: AtomicUsize::new(0),
            complete: Mutex::default(),
            failed: AtomicBool::new(false),
            buffers: Buffers::default(),
        })
    }

    /// Brings all layers here. Nothing is said of an image that is here already.
    pub(super) fn fetch(&self) -> Result<(), RegistryError> {
        let here = |(layer, diff_id): &(Descriptor, DiffId)| self.is_here(layer, *diff_id);
        if self
            .wanted
            .iter()
            .map(|layer| here(layer))
            .collect::<Result<Vec<_>, _>>()?
            .iter()
            .all(|here| *here)
        {
            return Ok(());
        }
        let digests: Vec<Digest> = self.wanted.iter().map(|(layer, _)| layer.digest).collect();
        self.deps.progress.event(&Event::Layers(&digests));
        let failure: Mutex<Option<RegistryError>> = Mutex::default();
        let (written, writes) = channel();
        thread::scope(|scope| {
            scope.spawn(move || self.deps.store.write_behind(&writes));
            for _thread in 0..PARALLEL.min(self.wanted.len()) {
                let (written, failure) = (written.clone(), &failure);
                scope.spawn(move || {
                    while let Some((layer, diff_id)) = self.take() {
                        if let Err(error) = self.sources.persist(|| self.one(layer, *diff_id, &written)) {
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            self.failed.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
            drop(written);
        });
        // Also where one has failed: the others need not come again.
        let kept = self.keep();
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(kept, Err)
    }

    /// Names the archives of the layers that are complete, and then these: a layer without its archive could not be pushed or saved.
    fn keep(&self) -> Result<(), RegistryError> {
        let store = self.deps.store;
        let complete = std::mem::take(&mut *self.complete.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut ingests, mut records) = (Vec::new(), Vec::new());
        for (ingest, packed, diff_id) in complete {
            ingests.push((ingest, packed.digest));
            records.push((packed, diff_id));
        }
        store.commit_all(ingests).map_err(RegistryError::store)?;
        let of_layers: Vec<(DiffId, &Packed)> =
            records.iter().map(|(packed, diff_id)| (*diff_id, packed)).collect();
        store.record_all_packed(&of_layers).map_err(RegistryError::store)?;
        let Some((first, _)) = records.first() else { return Ok(()) };
        let failed =
            |source| RegistryError::Layer { operation: "keep", digest: first.digest, source: Cause(source) };
        let diff_ids: Vec<DiffId> = records.iter().map(|(_, diff_id)| *diff_id).collect();
        self.deps.sink.publish(&diff_ids).map_err(failed)
    }

    fn take(&self) -> Option<&'a (Descriptor, DiffId)> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn is_here(&self, layer: &Descriptor, diff_id: DiffId) -> Result<bool, RegistryError> {
        self.deps.sink.has(diff_id).map_err(|error| cannot("look for", layer, error))
    }

    fn say(&self, layer: &Descriptor, state: LayerState<'_>) {
        self.deps.progress.event(&Event::Layer { digest: &layer.digest, state });
    }

    fn one(&self, layer: &Descriptor, diff_id: DiffId, written: &Sender<u64>) -> Result<(), RegistryError> {
        if self.is_here(layer, diff_id)? {
            self.say(layer, LayerState::Exists);
            return Ok(());
        }
        let aside = Aside::new(&self.buffers);
        let (sender, pipe) = Pipe::new(&self.buffers);
        let mut pipe = pipe.hashed_by(&aside);
        let written = written.clone();
        let (downloaded, imported) = thread::scope(|scope| {
            let download = scope.spawn(move || self.download(layer, sender, &written));
            let imported = self.deps.sink.import(&mut pipe, diff_id, Some(&aside));
            // What follows the archive is part of the blob. Of one that could not be taken in the digest says whose fault that is.
            pipe.drain();
            drop(pipe);
            let downloaded = download.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (downloaded, imported)
        });
        let downloaded = downloaded?;
        if let Some((_ingest, reader)) = &downloaded {
            reader.check(aside.finish())?;
        }
        imported.map_err(|error| cannot("take in", layer, error))?;
        let Some((ingest, _reader)) = downloaded else { return Ok(()) };
        let packed = Packed {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.as_str().to_owned(),
            packer: String::new(),
        };
        self.complete.lock().unwrap_or_else(PoisonError::into_inner).push((ingest, packed, diff_id));
        self.say(layer, LayerState::Done);
        Ok(())
    }

    /// Says of a layer that is not there where its manifest says that it is.
    fn lacking(&self, layer: &Descriptor, error: RegistryError) -> RegistryError {
        match (error, layer.urls().next()) {
            (RegistryError::NotFound { host, .. }, Some(url)) => {
                // It is shown, and nobody vouches for it.
                let url = url.chars().filter(|c| !c.is_control()).take(200).collect();
                let image = self.sources.name().to_owned();
                RegistryError::Elsewhere { host, image, digest: layer.digest, url }
            }
            (error, _) => error,
        }
    }

    /// Downloads a layer and passes it on; `None` if nobody wants it any more.
    fn download(
        &self,
        layer: &Descriptor,
        pieces: SyncSender<io::Result<Piece>>,
        written: &Sender<u64>,
    ) -> Result<Option<(Ingest, BlobReader<'a>)>, RegistryError> {
        // It is hashed where it is taken in.
        let mut ingest = self.deps.store.ingest_checked(layer.digest).map_err(RegistryError::store)?;
        let mut reader = BlobReader::unhashed(self.sources, layer);
        let mut done = 0;
        loop {
            let piece = match self.buffers.fill(&mut reader) {
                Ok(piece) => piece,
                Err(error) => {
                    // The one who reads must not take the end of the pipe for that of the archive.
                    drop(pieces.send(Err(io::ErrorKind::UnexpectedEof.into())));
                    return Err(self.lacking(layer, reader.failure(error)));
                }
            };
            let read = piece.bytes().len() as u64;
            if read == 0 {
                self.say(layer, LayerState::Arrived);
                return Ok(Some((ingest, reader)));
            }
            ingest.write_all(piece.bytes()).map_err(|error| {
                drop(pieces.send(Err(io::ErrorKind::UnexpectedEof.into())));
                RegistryError::store(StoreError::of_write(&self.deps.store.tmp(), error))
            })?;
            done += read;
            // Whoever hears it is gone only after a failure.
            written.send(read).unwrap_or_default();
            self.say(layer, LayerState::Moving { done, total: layer.size });
            if self.failed.load(Ordering::Relaxed) || pieces.send(Ok(piece)).is_err() {
                return Ok(None);
            }
        }
    }
}

fn cannot(operation: &'static str, layer: &Descriptor, error: crate::SeamError) -> RegistryError {
    RegistryError::Layer { operation, digest: layer.digest, source: Cause(error) }
}
