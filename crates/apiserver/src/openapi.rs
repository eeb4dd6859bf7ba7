//! OpenAPI v3 documents, made from the compact schema, and what else follows from it: pruning and sorts of values.
//!
//! The documents carry types, formats, defaults, kinds and how lists merge; they have no descriptions. They are made
//! when asked for; only their hashes are kept.
//!
//! Version 2 is there for one client: kubectl reads it before it sends a `List`, to check what the server would not.
//! This server checks every field itself, so that document has no types, and kubectl checks nothing.

mod document;
mod prune;
pub(crate) mod schema;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest;
use serde_json::{Map, Value, json};

pub(crate) use prune::{Misfit, misfits, prune};

use crate::{KINDS, Status};

const TITLE: &str = "Kubernetes";
/// Version of the API.
const VERSION: &str = "1.36";

/// Returns the routes under `/openapi`.
pub fn router() -> Router {
    Router::new()
        .route("/openapi/v2", get(version_2))
        .route("/openapi/v3", get(index))
        .route("/openapi/v3/{*group}", get(group))
}

/// Returns the documents' names: `api/v1`, `apis/apps/v1`.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        KINDS.iter().map(|kind| document::path_of(kind.group, kind.version)).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the hash of each document.
fn hashes() -> &'static BTreeMap<String, String> {
    static HASHES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    HASHES.get_or_init(|| {
        let hash = |name: &str| {
            let text = document::render(name).unwrap_or_default();
            let sum = digest::digest(&digest::SHA512, text.as_bytes());
            sum.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        names().into_iter().map(|name| (name.clone(), hash(&name))).collect()
    })
}

/// Makes documents off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_panic| Status::internal("the document could not be made"))
}

/// The form of version 2 that kubectl asks for.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// What that form is called in an answer: an `@` in a media type is more than clients can read.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

async fn version_2(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if !accept.contains(PROTOBUF) && !accept.contains(PROTOBUF_ANSWER) {
        let info = json!({"title": TITLE, "version": VERSION});
        return crate::respond::json(StatusCode::OK, &json!({"swagger": "2.0", "info": info, "paths": {}}));
    }
    let mut response = Response::new(Body::from(version_2_protobuf()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF_ANSWER));
    response
}

/// Returns the document as a message: its version, its title, no paths.
fn version_2_protobuf() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap_or_default()];
        out.extend_from_slice(content);
        out
    };
    let info = [field(1, TITLE.as_bytes()), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, b"")].concat()
}

async fn index() -> Result<Response, Status> {
    let hashes = blocking(hashes).await?;
    let paths: Map<String, Value> = hashes
        .iter()
        .map(|(name, hash)| {
            let url = format!("/openapi/v3/{name}?hash={hash}");
            (name.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    Ok(crate::respond::json(StatusCode::OK, &json!({"paths": paths})))
}

async fn group(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Status> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if !accept.contains("json") && !accept.contains('*') {
        let text = "only the following media types are accepted: application/json";
        return Err(Status::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", text));
    }
    let hash = blocking(hashes).await?.get(&name).ok_or_else(Status::no_such_path)?;
    let tag = format!("\"{hash}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let text = blocking(move || document::render(&name)).await?.ok_or_else(Status::no_such_path)?;
        let mut response = Response::new(Body::from(text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    let headers = response.headers_mut();
    // The address names the contents: they never change under it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
