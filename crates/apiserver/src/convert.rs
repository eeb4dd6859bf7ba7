//! The one kind served under two versions: events are stored as core/v1 and shown as events.k8s.io/v1 too.

use serde_json::{Map, Value};

use crate::Kind;
use crate::storage::Stored;

/// Fields of events.k8s.io/v1 and what they are called in core/v1.
const NAMES: &[(&str, &str)] = &[
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Whether the stored form differs from the served one.
pub(crate) fn needed(kind: &Kind) -> bool {
    kind.group == "events.k8s.io"
}

/// Returns the object in the served form.
pub(crate) fn load(kind: &Kind, stored: &Stored) -> Value {
    let value = stored.value();
    if needed(kind) { served(kind, value) } else { value }
}

/// Turns the stored form into the served one.
pub(crate) fn served(kind: &Kind, value: Value) -> Value {
    if !needed(kind) {
        return value;
    }
    rename(value, "events.k8s.io/v1", |key| NAMES.iter().find(|(_, core)| *core == key).map(|(new, _)| *new))
}

/// Turns the served form into the stored one.
pub(crate) fn stored(kind: &Kind, value: Value) -> Value {
    if !needed(kind) {
        return value;
    }
    rename(value, "v1", |key| NAMES.iter().find(|(new, _)| *new == key).map(|(_, core)| *core))
}

/// Turns a field selector into the stored form's names.
pub(crate) fn field_selector(kind: &Kind, fields: &str) -> String {
    if !needed(kind) {
        return fields.to_owned();
    }
    fields.replace("regarding.", "involvedObject.").replace("reportingController", "reportingComponent")
}

fn rename(value: Value, version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(map) = value else { return value };
    let mut out = Map::new();
    for (key, value) in map {
        let key = name(&key).map_or(key, str::to_owned);
        out.insert(key, value);
    }
    out.insert("apiVersion".to_owned(), version.into());
    Value::Object(out)
}
