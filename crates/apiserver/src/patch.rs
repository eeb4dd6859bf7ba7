//! The four forms of PATCH.

pub(crate) mod apply;
pub(crate) mod managed;
pub(crate) mod strategic;

use http::StatusCode;
use serde_json::Value;

use crate::call::Call;
use crate::{Status, body};

/// Operations a JSON patch may have.
const OPERATIONS_MAX: usize = 10_000;

/// A parsed patch.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    /// Parses a body by its media type.
    pub(crate) fn parse(media: &str, bytes: &[u8]) -> Result<Self, Status> {
        match media {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(bytes)
                    .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
                if patch.0.len() > OPERATIONS_MAX {
                    return Err(Status::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "RequestEntityTooLarge",
                        format!(
                            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                            patch.0.len()
                        ),
                    ));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => Ok(Self::Merge(body::parse(media, bytes)?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(body::parse(media, bytes)?)),
            "application/apply-patch+yaml" => Ok(Self::Apply(body::parse(media, bytes)?)),
            other => Err(Status::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml (got {other:?})"
                ),
            )),
        }
    }

    /// Returns the patched object.
    pub(crate) fn apply(&self, call: &Call, old: &Value) -> Result<Value, Status> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => json_patch::patch(&mut new, patch).map_err(|error| {
                let text = format!("the server rejected our request due to an error in our request: {error}");
                Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text)
            })?,
            Self::Merge(patch) => json_patch::merge(&mut new, patch),
            Self::Strategic(patch) => strategic::merge(call.kind, "", &mut new, patch)?,
            Self::Apply(applied) => {
                apply::apply(call, &mut new, applied, &call.manager(), call.query.is_true("force"))?;
            }
        }
        Ok(new)
    }
}
