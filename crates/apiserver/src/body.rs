//! Request bodies: bounded; JSON, YAML or protobuf.

use axum::body::Body;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::Status;
use crate::protobuf::{self, DecodeError};

/// Longest body accepted.
pub(crate) const BODY_MAX: usize = 3 * 1024 * 1024;

/// Reads a body.
pub(crate) async fn read(body: Body) -> Result<Vec<u8>, Status> {
    let collected = Limited::new(body, BODY_MAX).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let text = format!("limit is {BODY_MAX}");
            Status::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
        } else {
            Status::bad_request("the request body could not be read")
        }
    })?;
    Ok(collected.to_bytes().to_vec())
}

/// Returns the media type without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Parses an object; JSON unless the media type says YAML.
pub(crate) fn parse(media: &str, bytes: &[u8]) -> Result<Value, Status> {
    match media {
        ""
        | "application/json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => serde_json::from_slice(bytes)
            .map_err(|error| Status::bad_request(format!("the body is not valid JSON: {error}"))),
        "application/yaml" | "application/apply-patch+yaml" => parse_yaml(bytes),
        "application/vnd.kubernetes.protobuf" => protobuf::decode(bytes).map_err(|error| match error {
            DecodeError::Malformed => Status::bad_request(error.to_string()),
            DecodeError::Unknown => {
                Status::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", error.to_string())
            }
        }),
        other => Err(Status::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml (got {other})"
            ),
        )),
    }
}

fn parse_yaml(bytes: &[u8]) -> Result<Value, Status> {
    // Most clients send JSON under this media type: it is YAML too.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Status::bad_request(format!("the body is not UTF-8: {error}")))?;
    serde_saphyr::from_str(text)
        .map_err(|error| Status::bad_request(format!("the body is not valid YAML: {error}")))
}
