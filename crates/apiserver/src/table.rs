//! Server-side printing.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::Kind;

/// What the rows of a table carry besides cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// How a table is rendered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// What the rows carry.
    pub include: IncludeObject,
    /// Leave out the column definitions (second and later events of a watch).
    pub no_headers: bool,
}

/// Renders `objects` as a `metav1.Table`. The caller sets `metadata`.
pub fn render(_kind: &Kind, objects: &[Value], _now: OffsetDateTime, _options: TableOptions) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|o| {
            json!({"cells": [o["metadata"]["name"], o["metadata"]["creationTimestamp"]],
                "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": o["metadata"]}})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0}],
        "rows": rows,
    })
}
