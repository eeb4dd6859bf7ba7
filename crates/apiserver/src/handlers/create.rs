//! create.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use crate::call::Call;
use crate::object::{self, meta, metadata};
use crate::server::Api;
use crate::status::Status;
use crate::storage::StorageError;
use crate::{admission, convert, defaults, fields, respond, validate};

/// Creates an object.
pub(crate) async fn create(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let body = crate::body::parse(media, bytes)?;
    let mut warnings = Vec::new();
    let body = fields::check(call, bytes, body, &mut warnings)?;
    let created = store_new(api, call, body, &mut warnings, |_object| {}).await?;
    let mut response = respond::object(call, StatusCode::CREATED, &created);
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Completes, admits, checks and stores a new object; returns it in the served form.
pub(crate) async fn store_new(
    api: &Api,
    call: &Call,
    body: Value,
    warnings: &mut Vec<String>,
    finish: impl FnOnce(&mut Value),
) -> Result<Value, Status> {
    let kind = call.kind;
    let mut object = prepare(call, body)?;
    check_type(call, &object)?;
    admission::create(api, call, &mut object)?;
    defaults::apply(kind, &mut object);
    let name = meta(&object, "name").to_owned();
    object::check_name(kind, &name)?;
    let errors = validate::check(kind, &object, None);
    if !errors.is_empty() {
        return Err(Status::invalid(kind, &name, &errors));
    }
    if !kind.acted_on || is_load_balancer(&object) {
        warnings.push(nothing_acts(call, &object));
    }
    finish(&mut object);
    if call.dry_run()? {
        if api.store.get(kind, &call.key(&name)).is_some() {
            return Err(Status::already_exists(kind, &name));
        }
        return Ok(object);
    }
    let stored = api.store.create(kind, call.key(&name), convert::stored(kind, object)).await;
    match stored {
        Ok(stored) => Ok(convert::load(kind, &stored)),
        Err(StorageError::Exists { .. }) => Err(Status::already_exists(kind, &name)),
        Err(error) => Err(failed(&error)),
    }
}

/// 500 for a store that does not work.
pub(crate) fn failed(error: &StorageError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "the store refused a request");
    Status::internal(format!("Internal error occurred: {error}"))
}

/// 400 unless the body says it is what the path says.
pub(crate) fn check_type(call: &Call, object: &Value) -> Result<(), Status> {
    let (kind, version) = (call.kind.kind, call.kind.api_version());
    let said = object["kind"].as_str().unwrap_or_default();
    if !said.is_empty() && said != kind {
        return Err(Status::bad_request(format!(
            "{said} in version {version:?} cannot be handled as a {kind}"
        )));
    }
    let said = object["apiVersion"].as_str().unwrap_or_default();
    if !said.is_empty() && said != version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({said}) does not match the expected API version ({version})"
        )));
    }
    Ok(())
}

fn prepare(call: &Call, mut object: Value) -> Result<Value, Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the body must be an object"));
    }
    check_type(call, &object)?;
    let kind = call.kind;
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    if kind.has_subresource("status")
        && let Some(map) = object.as_object_mut()
    {
        map.shift_remove("status");
    }
    let meta_map = metadata(&mut object);
    if meta_map.get("resourceVersion").and_then(Value::as_str).is_some_and(|v| !v.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "managedFields",
    ] {
        meta_map.shift_remove(field);
    }
    match (&call.namespace, meta_map.get("namespace").and_then(Value::as_str)) {
        (Some(namespace), Some(said)) if !said.is_empty() && said != namespace => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        (Some(namespace), _) => drop(meta_map.insert("namespace".to_owned(), namespace.as_str().into())),
        (None, _) if kind.namespaced => {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        (None, _) => drop(meta_map.shift_remove("namespace")),
    }
    let named = meta_map.get("name").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
    if !named && let Some(base) = meta_map.get("generateName").and_then(Value::as_str).map(str::to_owned) {
        let cut: String = base.chars().take(58).collect();
        meta_map.insert("name".to_owned(), format!("{cut}{}", object::random_suffix(5)).into());
    } else if !named {
        let error = validate::FieldError {
            field: "metadata.name".to_owned(),
            kind: validate::FieldErrorKind::Required,
            value: Value::Null,
            detail: "name or generateName is required".to_owned(),
        };
        return Err(Status::invalid(kind, "", &[error]));
    }
    meta_map.insert("uid".to_owned(), object::new_uid().into());
    meta_map.insert("creationTimestamp".to_owned(), object::timestamp(respond::now()).into());
    if object::has_generation(kind) {
        meta_map.insert("generation".to_owned(), 1.into());
    }
    Ok(object)
}

fn is_load_balancer(object: &Value) -> bool {
    object["kind"] == "Service" && object["spec"]["type"] == "LoadBalancer"
}

fn nothing_acts(call: &Call, object: &Value) -> String {
    let name = meta(object, "name");
    if is_load_balancer(object) {
        return format!("this cluster has no load balancers: service {name:?} gets no external address");
    }
    format!("{} {name:?} is stored, but nothing in this cluster acts on it yet", call.kind.plural)
}
