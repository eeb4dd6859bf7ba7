//! Reading and deleting blobs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use shipway_oci::DiffId;
use tokio::task::spawn_blocking;

use crate::answer::{empty, set, text};
use crate::archive;
use crate::digest::AnyDigest;
use crate::range::{self, Part};
use crate::refusal::Refusal;
use crate::server::Registry;

/// Read from the disk at a time.
const PIECE: u64 = 256 * 1024;

/// Answers with a blob, or with a part of it.
pub(crate) async fn get(
    registry: &Registry,
    name: String,
    digest: AnyDigest,
    headers: &HeaderMap,
    method: &Method,
) -> Result<Response, Refusal> {
    let wanted = digest.clone();
    let (content, size) = registry
        .block(move |store| {
            let blob = store.hosted_blob(&name, wanted.as_str())?.ok_or_else(Refusal::blob_unknown)?;
            if let (false, Some(layer)) = (store.has_blob(&blob), store.layer_of(DiffId(blob))?) {
                return Ok((Content::Layer(DiffId(blob)), layer.size));
            }
            let file = store.open_blob(&blob)?;
            let size = file.metadata().map_err(|error| Refusal::internal(&error))?.len();
            Ok((Content::File(file), size))
        })
        .await?;
    let archives = registry.inner.config.archives.clone();
    answer(headers, method, (&digest, size), |first, length| match (content, archives) {
        (Content::File(file), _) => stream(file, first, length),
        (Content::Layer(diff_id), Some(archives)) => archive::body(archives, diff_id, first, length),
        // The client sees that the body is too short.
        (Content::Layer(_), None) => Body::empty(),
    })
}

/// Where the bytes of a blob are.
enum Content {
    File(File),
    /// In the files of a layer.
    Layer(DiffId),
}

/// Answers with the part of a blob that is wanted; `body` gives so many bytes from a place on.
pub(crate) fn answer(
    headers: &HeaderMap,
    method: &Method,
    (digest, size): (&AnyDigest, u64),
    body: impl FnOnce(u64, u64) -> Body,
) -> Result<Response, Refusal> {
    let tag = format!("\"{digest}\"");
    if is_known(headers, &tag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set(response.headers_mut(), "etag", &tag);
        return Ok(response);
    }
    // A part of something else than what the client has is of no use to it.
    let range = text(headers, "range").filter(|_| text(headers, "if-range").is_none_or(|known| known == tag));
    let (status, first, length) = match range::parse(range, size) {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Bytes(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Part::None => {
            let refusal = Refusal::range(format!("the blob has {size} bytes"));
            return Err(refusal.with("content-range", format!("bytes */{size}")));
        }
    };
    let body = if *method == Method::HEAD { Body::empty() } else { body(first, length) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let told = response.headers_mut();
    set(told, "content-type", "application/octet-stream");
    set(told, "content-length", &length.to_string());
    set(told, "accept-ranges", "bytes");
    set(told, "docker-content-digest", digest.as_str());
    set(told, "etag", &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(told, "content-range", &format!("bytes {first}-{}/{size}", first + length - 1));
    }
    Ok(response)
}

/// Takes a blob from a repository; its bytes go when nothing needs them any more.
pub(crate) async fn delete(
    registry: &Registry,
    name: String,
    digest: AnyDigest,
) -> Result<Response, Refusal> {
    let had = registry.block(move |store| Ok(store.drop_hosted_blob(&name, digest.as_str())?)).await?;
    if had { Ok(empty(StatusCode::ACCEPTED)) } else { Err(Refusal::blob_unknown()) }
}

/// Returns whether the client has what it asks for already. Spec: RFC 9110, 13.1.2.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    text(headers, "if-none-match").is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

fn stream(file: File, first: u64, length: u64) -> Body {
    let read = move |mut file: File, at: u64, left: u64| {
        let length = usize::try_from(left.min(PIECE)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length];
        if at == first {
            file.seek(io::SeekFrom::Start(first))?;
        }
        let read = file.read(&mut buffer)?;
        buffer.truncate(read);
        Ok::<_, io::Error>((file, Bytes::from(buffer)))
    };
    let pieces = futures::stream::try_unfold((file, first, length), move |(file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let (file, bytes) =
            spawn_blocking(move || read(file, at, left)).await.map_err(io::Error::other)??;
        let count = bytes.len() as u64;
        // The client sees that the body is too short.
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Some((bytes, (file, at + count, left - count))))
    });
    Body::from_stream(pieces)
}
