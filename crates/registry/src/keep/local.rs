//! What is kept in a store. These wait for the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use axum::body::Body;
use bytes::Bytes;
use shipway_oci::DiffId;
use shipway_store::{HostedManifest, Store, read_cached_at};
use tokio::task::spawn_blocking;

use crate::conditions::Condition;
use crate::digest::AnyDigest;
use crate::path::Target;
use crate::refusal::Refusal;

/// Read at a time: not so much that memory is got from the kernel for each piece.
const PIECE: u64 = 64 << 10;

/// Where the bytes of a blob are.
pub(super) enum Source {
    File(File),
    /// In the files of a layer.
    Layer(DiffId),
}

pub(super) fn blob(
    store: &Store,
    name: &str,
    wanted: &AnyDigest,
    now: i64,
) -> Result<(Source, u64), Refusal> {
    let blob = store.rely_on_hosted_blob(name, wanted.as_str(), now)?.ok_or_else(Refusal::blob_unknown)?;
    if let (false, Some(layer)) = (store.has_blob(&blob), store.layer_of(DiffId(blob))?) {
        return Ok((Source::Layer(DiffId(blob)), layer.size));
    }
    let file = store.open_blob(&blob)?;
    let size = file.metadata().map_err(|error| Refusal::internal(&error))?.len();
    Ok((Source::File(file), size))
}

pub(super) fn mount(
    store: &Store,
    name: &str,
    from: Option<&str>,
    digest: &AnyDigest,
    now: i64,
) -> Result<bool, Refusal> {
    let _lease = store.lease()?;
    let found = match from {
        Some(from) => store.hosted_blob(from, digest.as_str())?,
        None => store.hosted_anywhere(digest.as_str())?,
    };
    let Some(blob) = found else { return Ok(false) };
    if !store.holds(&blob)? {
        return Ok(false);
    }
    store.host_blob(name, digest.as_str(), blob, now)?;
    Ok(true)
}

pub(super) fn manifest(
    store: &Store,
    name: &str,
    reference: &Target,
    limit: u64,
) -> Result<(HostedManifest, Vec<u8>), Refusal> {
    let digest = match reference {
        Target::Digest(digest) => Some(digest.to_string()),
        Target::Tag(tag) => store.hosted_tag(name, tag)?,
    };
    let found = digest.map(|digest| store.hosted_manifest(name, &digest)).transpose()?.flatten();
    let manifest = found.ok_or_else(|| Refusal::manifest_unknown(&reference.to_string()))?;
    let bytes = store.read_blob(&manifest.blob, limit)?;
    Ok((manifest, bytes))
}

pub(super) fn put_manifest(
    store: &Store,
    name: &str,
    (manifest, bytes): (HostedManifest, &[u8]),
    tags: &[String],
    (reference, condition): &(Target, Condition),
) -> Result<(), Refusal> {
    let _lease = store.lease()?;
    for blob in &manifest.blobs {
        let held = store.hosted_blob(name, blob)?.map(|held| store.holds(&held)).transpose()?;
        if held != Some(true) {
            return Err(Refusal::manifest_blob_unknown(blob));
        }
    }
    let manifest = HostedManifest { blob: store.put_blob(bytes)?, ..manifest };
    store.host_manifest_if(name, &manifest, tags, (&reference.to_string(), |there| condition.check(there)))?
}

pub(super) fn drop_manifest(
    store: &Store,
    name: &str,
    reference: &Target,
    condition: &Condition,
) -> Result<bool, Refusal> {
    match reference {
        Target::Tag(tag) => store.drop_hosted_tag_if(name, tag, |there| condition.check(Some(there)))?,
        // A digest stands for one thing for ever.
        Target::Digest(digest) => {
            if store.hosted_manifest(name, digest.as_str())?.is_some() {
                condition.check(Some(digest.as_str()))?;
            }
            Ok(store.drop_hosted_manifest(name, digest.as_str())?)
        }
    }
}

/// Returns a body of so many bytes of a file from a place on.
pub(super) fn stream(file: File, first: u64, length: u64) -> Body {
    let pieces = futures::stream::try_unfold((file, first, length), |(file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let (file, bytes) = read(file, at, left).await?;
        let count = bytes.len() as u64;
        // The client sees that the body is too short.
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Some((bytes, (file, at + count, left - count))))
    });
    Body::from_stream(pieces)
}

/// Reads the next bytes of a file: at once where they are in memory, by a thread that may wait where the disk has them.
async fn read(file: File, at: u64, left: u64) -> io::Result<(File, Bytes)> {
    let mut buffer = vec![0; usize::try_from(left.min(PIECE)).unwrap_or(usize::MAX)];
    if let Some(read) = read_cached_at(&file, &mut buffer, at)? {
        buffer.truncate(read);
        return Ok((file, buffer.into()));
    }
    let waiting = spawn_blocking(move || {
        let read = file.read_at(&mut buffer, at)?;
        buffer.truncate(read);
        Ok((file, buffer.into()))
    });
    waiting.await.map_err(io::Error::other)?
}
