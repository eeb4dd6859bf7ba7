//! Defaults per kind.

use serde_json::Value;

use crate::Kind;

/// Fills in the defaults of `kind`.
pub fn apply(_kind: &Kind, _object: &mut Value) {}
