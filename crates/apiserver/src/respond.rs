//! Answers: an object, a list or a table.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::call::{Call, Form};
use crate::table::{self, IncludeObject, TableOptions};

/// Returns a JSON response.
pub(crate) fn json_bytes(code: StatusCode, json: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(json.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Returns a JSON response.
pub(crate) fn json(code: StatusCode, value: &Value) -> Response {
    json_bytes(code, value.to_string())
}

/// Adds `Warning: 299` headers.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    for text in warnings {
        let quoted: String = text
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Returns the options of the query for tables.
pub(crate) fn table_options(call: &Call) -> TableOptions {
    let include = match call.query.get("includeObject") {
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    };
    TableOptions { include, no_headers: false }
}

/// Reduces an object to its metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Returns one object in the form asked for.
pub(crate) fn in_form(call: &Call, object: &Value, no_headers: bool) -> Value {
    match call.form {
        Form::Object => object.clone(),
        Form::Metadata => partial(object),
        Form::Table => {
            let options = TableOptions { no_headers, ..table_options(call) };
            let mut table = table::render(call.kind, std::slice::from_ref(object), now(), options);
            table["metadata"] = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table
        }
    }
}

/// Returns one object as a response.
pub(crate) fn object(call: &Call, code: StatusCode, object: &Value) -> Response {
    json(code, &in_form(call, object, false))
}

/// Returns the time now.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
