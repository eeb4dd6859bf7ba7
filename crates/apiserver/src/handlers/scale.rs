//! The `scale` subresource.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::modify::{Recorded, modify};
use super::read;
use crate::call::Call;
use crate::object::{meta, stale};
use crate::patch::Patch;
use crate::server::Api;
use crate::status::Status;
use crate::{convert, respond};

/// Returns the scale of an object.
pub(crate) fn get(api: &Api, call: &Call) -> Result<Response, Status> {
    let stored = read::find(api, call)?;
    Ok(respond::json(StatusCode::OK, &scale_of(&convert::load(call.kind, &stored))))
}

/// Replaces or patches the scale of an object.
pub(crate) async fn write(
    api: &Api,
    call: &Call,
    bytes: &[u8],
    media: &str,
    patching: bool,
) -> Result<Response, Status> {
    let patch = if patching { Some(Patch::parse(media, bytes)?) } else { None };
    let body = if patching { Value::Null } else { crate::body::parse(media, bytes)? };
    let edit = |old: &Value| {
        let scale = scale_of(old);
        let wanted = match &patch {
            // A scale has no lists: the three other forms are a merge of what was sent.
            Some(Patch::Strategic(part) | Patch::Apply(part)) => {
                Patch::Merge(part.clone()).apply(call, &scale)?
            }
            Some(patch) => patch.apply(call, &scale)?,
            None => body.clone(),
        };
        let version = meta(&wanted, "resourceVersion");
        if !version.is_empty() && version != meta(old, "resourceVersion") {
            return Err(stale(call.kind, call.name()));
        }
        let replicas = match &wanted["spec"]["replicas"] {
            Value::Null => 0,
            other => other.as_i64().unwrap_or(-1),
        };
        if i32::try_from(replicas).is_err() || replicas < 0 {
            return Err(Status::bad_request(
                "spec.replicas: Invalid value: must be greater than or equal to 0",
            ));
        }
        let mut new = old.clone();
        new["spec"]["replicas"] = replicas.into();
        Ok(new)
    };
    // The object itself changes: what holds for its spec holds here.
    let call_main = Call { subresource: None, ..call.clone() };
    let new = modify(api, &call_main, &edit, Recorded::Here).await?;
    Ok(respond::json(StatusCode::OK, &scale_of(&new)))
}

fn scale_of(object: &Value) -> Value {
    let from = &object["metadata"];
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = from[field].clone();
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    let mut spec = json!({});
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|n| *n != 0) {
        spec["replicas"] = replicas.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// Returns a label selector in its text form.
fn selector_text(selector: &Value) -> String {
    let labels = selector.get("matchLabels").unwrap_or(selector);
    let mut parts: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| value.as_str().map(|value| format!("{key}={value}")))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    parts.join(",")
}
