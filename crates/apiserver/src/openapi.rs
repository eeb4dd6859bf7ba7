//! OpenAPI documents, and pruning by schema.

use axum::Router;
use serde_json::Value;

use crate::Kind;

/// Returns the routes under `/openapi`.
pub fn router() -> Router {
    Router::new()
}

/// Removes fields that the schema of `kind` does not have; returns their paths, such as `spec.containers[0].foo`.
pub fn prune(_kind: &Kind, _object: &mut Value) -> Vec<String> {
    Vec::new()
}
