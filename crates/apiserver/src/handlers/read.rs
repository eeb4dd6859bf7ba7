//! get and list: from memory.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::{Call, Form};
use crate::convert;
use crate::respond;
use crate::selector::Selector;
use crate::server::Api;
use crate::status::Status;
use crate::storage::Stored;
use crate::table;

/// Returns one object.
pub(crate) fn get(api: &Api, call: &Call) -> Result<Response, Status> {
    let stored = find(api, call)?;
    if call.form == Form::Object && !convert::needed(call.kind) {
        return Ok(respond::json_bytes(StatusCode::OK, stored.json.clone()));
    }
    Ok(respond::object(call, StatusCode::OK, &convert::load(call.kind, &stored)))
}

/// Returns the object that the path names.
pub(crate) fn find(api: &Api, call: &Call) -> Result<Arc<Stored>, Status> {
    let name = call.name();
    api.store.get(call.kind, &call.key(name)).ok_or_else(|| Status::not_found(call.kind, name))
}

/// Returns the prefix of the keys that the path covers.
pub(crate) fn prefix(call: &Call) -> String {
    call.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default()
}

/// Returns the selector of the query.
pub(crate) fn selector(call: &Call) -> Result<Selector, Status> {
    let mut fields = call.query.get("fieldSelector").to_owned();
    if let Some(name) = &call.name {
        if !fields.is_empty() {
            fields.push(',');
        }
        fields.push_str("metadata.name=");
        fields.push_str(name);
    }
    let fields = convert::field_selector(call.kind, &fields);
    Selector::parse(call.kind, call.query.get("labelSelector"), &fields)
        .map_err(|error| Status::bad_request(error.to_string()))
}

/// A page of a list.
struct Page {
    revision: u64,
    objects: Vec<Arc<Stored>>,
    next: Option<String>,
    remaining: usize,
}

fn page(api: &Api, call: &Call) -> Result<Page, Status> {
    let selector = selector(call)?;
    let limit: usize = call.query.get("limit").parse().unwrap_or(0);
    let token = call.query.get("continue");
    let malformed = || Status::bad_request("continue key is not valid");
    let (started, after) = if token.is_empty() {
        (None, None)
    } else {
        let text = BASE64.decode(token).ok().and_then(|b| String::from_utf8(b).ok()).ok_or_else(malformed)?;
        let (revision, key) = text.split_once(' ').ok_or_else(malformed)?;
        if !key.starts_with(&prefix(call)) {
            return Err(malformed());
        }
        (Some(revision.parse::<u64>().map_err(|_bad| malformed())?), Some(key.to_owned()))
    };
    let (revision, mut objects) = api.store.list(call.kind, &prefix(call), after.as_deref());
    // Later pages carry the first page's revision: a watch from there sees what happened in between.
    let revision = started.unwrap_or(revision);
    if !selector.is_empty() {
        objects.retain(|object| selector.matches(object));
    }
    let mut remaining = 0;
    let mut next = None;
    if limit > 0 && objects.len() > limit {
        remaining = objects.len() - limit;
        objects.truncate(limit);
        next = objects.last().map(|last| BASE64.encode(format!("{revision} {}", last.key)));
    }
    Ok(Page { revision, objects, next, remaining })
}

/// Returns a list.
pub(crate) fn list(api: &Api, call: &Call) -> Result<Response, Status> {
    let page = page(api, call)?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(next) = page.next {
        metadata["continue"] = next.into();
        let selecting =
            !call.query.get("labelSelector").is_empty() || !call.query.get("fieldSelector").is_empty();
        if !selecting {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    }
    if call.form == Form::Object && !convert::needed(call.kind) {
        let head = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            call.kind.kind,
            call.kind.api_version()
        );
        let size = page.objects.iter().map(|o| o.json.len() + 1).sum::<usize>() + head.len() + 2;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(head.as_bytes());
        for (at, object) in page.objects.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&object.json);
        }
        out.extend_from_slice(b"]}");
        return Ok(respond::json_bytes(StatusCode::OK, out));
    }
    let objects: Vec<Value> = page.objects.iter().map(|stored| convert::load(call.kind, stored)).collect();
    let mut answer = match call.form {
        Form::Table => table::render(call.kind, &objects, respond::now(), respond::table_options(call)),
        Form::Metadata => {
            let items: Vec<Value> = objects.iter().map(respond::partial).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
        }
        Form::Object => {
            let kind = format!("{}List", call.kind.kind);
            json!({"kind": kind, "apiVersion": call.kind.api_version(), "metadata": {}, "items": objects})
        }
    };
    answer["metadata"] = metadata;
    Ok(respond::json(StatusCode::OK, &answer))
}
