//! Reading and deleting blobs.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};

use crate::answer::{empty, set, text};
use crate::conditions;
use crate::digest::AnyDigest;
use crate::range::{self, Part};
use crate::refusal::Refusal;
use crate::server::Registry;

/// Answers with a blob, or with a part of it.
pub(crate) async fn get(
    registry: &Registry,
    name: String,
    digest: AnyDigest,
    headers: &HeaderMap,
    method: &Method,
) -> Result<Response, Refusal> {
    let content = registry.blob(name, digest.clone()).await?;
    answer(headers, method, (&digest, content.size), |first, length| content.body(registry, first, length))
}

/// Answers with the part of a blob that is wanted; `body` gives so many bytes from a place on.
pub(crate) fn answer(
    headers: &HeaderMap,
    method: &Method,
    (digest, size): (&AnyDigest, u64),
    body: impl FnOnce(u64, u64) -> Body,
) -> Result<Response, Refusal> {
    let tag = format!("\"{digest}\"");
    conditions::require(headers, &tag)?;
    if conditions::is_known(headers, &tag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set(response.headers_mut(), "etag", &tag);
        return Ok(response);
    }
    // Spec: RFC 9110, 14.2, no other method has parts. One of something else than what the client has is of no use to it.
    let range = text(headers, "range")
        .filter(|_| *method == Method::GET)
        .filter(|_| text(headers, "if-range").is_none_or(|known| known == tag));
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
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if text(headers, "if-match").is_some() {
        // What is not there is said to be so first.
        registry.blob(name.clone(), digest.clone()).await?;
        conditions::require(headers, &format!("\"{digest}\""))?;
    }
    if registry.drop_blob(name, digest).await? {
        Ok(empty(StatusCode::ACCEPTED))
    } else {
        Err(Refusal::blob_unknown())
    }
}
