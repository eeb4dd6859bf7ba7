//! update and patch: read, edit, check, compare-and-swap; again if somebody was faster.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::create::{check_type, failed, store_new};
use crate::call::Call;
use crate::object::{self, count_generation, finalizers, meta, prepare_update};
use crate::patch::{Patch, managed};
use crate::server::Api;
use crate::status::Status;
use crate::storage::StorageError;
use crate::{admission, convert, defaults, fields, respond, validate};

/// Attempts before a writer without a version is told about the contention.
const ATTEMPTS: usize = 50;

/// Makes a new object of the stored one.
pub(crate) type Edit<'a> = dyn Fn(&Value) -> Result<Value, Status> + Send + Sync + 'a;

/// Replaces an object.
pub(crate) async fn update(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let body = crate::body::parse(media, bytes)?;
    if !body.is_object() {
        return Err(Status::bad_request("the body must be an object"));
    }
    check_type(call, &body)?;
    let name = meta(&body, "name");
    if name != call.name() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name()
        )));
    }
    let mut warnings = Vec::new();
    let body = fields::check(call, bytes, body, &mut warnings)?;
    let new = modify(api, call, &|_old| Ok(body.clone()), Recorded::Here).await?;
    let mut response = respond::object(call, StatusCode::OK, &new);
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Patches an object; an apply creates it if it is missing.
pub(crate) async fn patch(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let patch = Patch::parse(media, bytes)?;
    let mut warnings = Vec::new();
    let (mut patch, recorded) = match patch {
        Patch::Apply(body) => {
            check_type(call, &body)?;
            for field in ["apiVersion", "kind"] {
                if body[field].as_str().is_none_or(str::is_empty) {
                    return Err(Status::bad_request(format!("{field} must be set in an apply patch")));
                }
            }
            (Patch::Apply(fields::check(call, b"", body, &mut warnings)?), Recorded::ByEdit)
        }
        other => (other, Recorded::Here),
    };
    if let Patch::Apply(body) = &mut patch
        && !meta(body, "name").is_empty()
        && meta(body, "name") != call.name()
    {
        return Err(Status::bad_request(format!(
            "metadata.name ({}) does not match the name on the URL ({})",
            meta(body, "name"),
            call.name()
        )));
    }
    if let Patch::Apply(body) = &patch
        && call.subresource.is_none()
        && api.store.get(call.kind, &call.key(call.name())).is_none()
    {
        let made = apply_new(api, call, &patch, body, &mut warnings).await;
        match made {
            Err(status) if status.reason == "AlreadyExists" => {}
            other => {
                let mut response = respond::object(call, StatusCode::CREATED, &other?);
                respond::warn(&mut response, &warnings);
                return Ok(response);
            }
        }
    }
    let pruned = std::sync::Mutex::new(Vec::new());
    let edit = |old: &Value| {
        let new = patch.apply(call, old)?;
        let mut found = Vec::new();
        let new = match &patch {
            Patch::Apply(_) => fields::check(call, b"", new, &mut found)?,
            _ => fields::check_patched(call, bytes, new, &mut found)?,
        };
        *pruned.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = found;
        Ok(new)
    };
    let new = modify(api, call, &edit, recorded).await?;
    warnings.extend(pruned.into_inner().unwrap_or_default());
    let mut response = respond::object(call, StatusCode::OK, &new);
    respond::warn(&mut response, &warnings);
    Ok(response)
}

async fn apply_new(
    api: &Api,
    call: &Call,
    patch: &Patch,
    body: &Value,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let mut object = patch.apply(call, &json!({}))?;
    if meta(body, "name").is_empty() {
        object["metadata"]["name"] = call.name().into();
    }
    let entries = managed::entries(&object);
    store_new(api, call, object, warnings, |object| managed::set_entries(object, entries)).await
}

/// Who keeps `managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// [`modify`], as an update of the caller's manager.
    Here,
    /// The edit has done it.
    ByEdit,
}

/// Edits an object and returns it in the served form.
pub(crate) async fn modify(
    api: &Api,
    call: &Call,
    edit: &Edit<'_>,
    recorded: Recorded,
) -> Result<Value, Status> {
    let (kind, name) = (call.kind, call.name());
    let sub = call.subresource.as_deref();
    for _ in 0..ATTEMPTS {
        let stored = api.store.get(kind, &call.key(name)).ok_or_else(|| Status::not_found(kind, name))?;
        let old = convert::load(kind, &stored);
        let mut new = edit(&old)?;
        check_type(call, &new)?;
        prepare_update(kind, sub, &old, &mut new)?;
        admission::update(call, &old, &mut new)?;
        defaults::apply(kind, &mut new);
        count_generation(kind, &old, &mut new);
        if recorded == Recorded::Here {
            managed::record(kind, &old, &mut new, &call.manager(), sub.filter(|s| *s == "status"));
        }
        if new == old {
            return Ok(old);
        }
        let errors = match sub {
            Some("status") => validate::check_status(&new),
            _ => validate::check(kind, &new, Some(&old)),
        };
        if !errors.is_empty() {
            return Err(Status::invalid(kind, name, &errors));
        }
        if call.dry_run()? {
            return Ok(new);
        }
        let key = call.key(name);
        let done = is_finished(&new);
        let body = convert::stored(kind, new);
        let written = if done {
            api.store.remove(kind, key, body, stored.revision).await
        } else {
            api.store.replace(kind, key, body, stored.revision).await
        };
        match written {
            Ok(stored) => return Ok(convert::load(kind, &stored)),
            Err(StorageError::Conflict { .. }) => {}
            Err(StorageError::Missing { .. }) => return Err(Status::not_found(kind, name)),
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(object::stale(kind, name))
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &Value) -> bool {
    if meta(object, "deletionTimestamp").is_empty() || !finalizers(object).is_empty() {
        return false;
    }
    match object["kind"].as_str() {
        Some("Pod") => object["metadata"]["deletionGracePeriodSeconds"] == 0,
        Some("Namespace") => object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty),
        _ => true,
    }
}
