//! `metav1.Status`: the only error body the server sends.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::Kind;
use crate::validate::FieldError;

/// An error as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP code.
    pub code: StatusCode,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// What happened.
    pub message: String,
    /// `details`, when there are any.
    pub details: Option<Value>,
}

impl Status {
    /// Returns a status without details.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 403 for a reason of admission or authorization.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let what =
            if name.is_empty() { kind.qualified() } else { format!("{} \"{name}\"", kind.qualified()) };
        let mut status = Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{what} is forbidden: {why}"));
        status.details = Some(details(kind, name));
        status
    }

    /// 404 for an object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let mut status = Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("{} \"{name}\" not found", kind.qualified()),
        );
        status.details = Some(details(kind, name));
        status
    }

    /// 404 for a path nobody serves.
    pub fn no_such_path() -> Self {
        let mut status =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        status.details = Some(json!({}));
        status
    }

    /// 409 because the object exists.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let mut status = Self::new(
            StatusCode::CONFLICT,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", kind.qualified()),
        );
        status.details = Some(details(kind, name));
        status
    }

    /// 409 because the object is not what the caller thinks it is.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let mut status = Self::new(
            StatusCode::CONFLICT,
            "Conflict",
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified()),
        );
        status.details = Some(details(kind, name));
        status
    }

    /// 422 with one cause per field.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
        let mut details =
            json!({"name": name, "group": kind.group, "kind": kind.kind, "causes": causes(errors)});
        if kind.group.is_empty() {
            details.as_object_mut().map(|map| map.remove("group"));
        }
        Self::unprocessable(&format!("{}{group} \"{name}\"", kind.kind), errors, details)
    }

    /// 422 for a request that leads to no object.
    pub(crate) fn invalid_request(errors: &[FieldError]) -> Self {
        Self::unprocessable(" \"\"", errors, json!({"causes": causes(errors)}))
    }

    fn unprocessable(what: &str, errors: &[FieldError], details: Value) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{what} is invalid: {list}");
        let mut status = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        status.details = Some(details);
        status
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut status = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(json!({}));
        status
    }

    /// 410: the version asked for is not in the history any more.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 500; the cause goes to the log, not to the client.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 501 for what this server does not do.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    /// Returns the JSON form.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code.as_u16(),
        });
        if self.details.is_none() {
            value.as_object_mut().map(|map| map.shift_remove("details"));
        }
        value
    }
}

fn causes(errors: &[FieldError]) -> Vec<Value> {
    let cause = |e: &FieldError| json!({"reason": e.kind.reason(), "message": e.body(), "field": e.field});
    errors.iter().map(cause).collect()
}

fn details(kind: &Kind, name: &str) -> Value {
    let mut map = serde_json::Map::new();
    if !name.is_empty() {
        map.insert("name".to_owned(), name.into());
    }
    if !kind.group.is_empty() {
        map.insert("group".to_owned(), kind.group.into());
    }
    map.insert("kind".to_owned(), kind.plural.into());
    Value::Object(map)
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = (self.code, self.to_value().to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
