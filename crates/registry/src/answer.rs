//! Answers and their headers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};

/// Returns an answer with a document.
pub(crate) fn document(kind: &str, text: String) -> Response {
    let length = text.len();
    let mut response = Response::new(Body::from(text));
    set(response.headers_mut(), "content-type", kind);
    set(response.headers_mut(), "content-length", &length.to_string());
    response
}

/// Returns an answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header; one whose value cannot be sent is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns a header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
