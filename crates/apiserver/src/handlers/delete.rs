//! delete and deletecollection.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use super::create::failed;
use super::{modify, read};
use crate::call::Call;
use crate::object::{finalizers, meta, metadata, timestamp};
use crate::server::Api;
use crate::status::Status;
use crate::storage::{StorageError, Stored};
use crate::{Kind, convert, respond};

/// `DeleteOptions`, from body and query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    grace: Option<i64>,
    policy: Option<String>,
    uid: Option<String>,
    version: Option<String>,
    dry_run: bool,
}

impl Options {
    /// Parses body and query; the body wins.
    pub(crate) fn parse(call: &Call, bytes: &[u8], media: &str) -> Result<Self, Status> {
        let body = if bytes.is_empty() { json!({}) } else { crate::body::parse(media, bytes)? };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let query = |key: &str| Some(call.query.get(key)).filter(|v| !v.is_empty()).map(str::to_owned);
        let orphan = match (body["orphanDependents"].as_bool(), call.query.get("orphanDependents")) {
            (Some(true), _) | (None, "true") => Some("Orphan".to_owned()),
            (Some(false), _) | (None, "false") => Some("Background".to_owned()),
            _ => None,
        };
        let policy = text(&body["propagationPolicy"]).or_else(|| query("propagationPolicy")).or(orphan);
        if let Some(policy) = &policy
            && !matches!(policy.as_str(), "Orphan" | "Background" | "Foreground")
        {
            return Err(Status::bad_request(format!(
                "propagationPolicy: Invalid value: \"{policy}\": must be one of Foreground, Background, Orphan"
            )));
        }
        let grace = body["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| query("gracePeriodSeconds").and_then(|v| v.parse().ok()));
        let dry_run = body["dryRun"].as_array().is_some_and(|all| all.iter().any(|v| v == "All"));
        Ok(Self {
            grace,
            policy,
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            dry_run: dry_run || call.dry_run()?,
        })
    }
}

/// What became of an object.
enum Outcome {
    /// It is gone.
    Removed(Value),
    /// It waits for a grace period or for finalizers.
    Waiting(Value),
}

/// Deletes one object.
pub(crate) async fn delete(api: &Api, call: &Call, options: &Options) -> Result<Response, Status> {
    let kind = call.kind;
    match delete_one(api, kind, &call.key(call.name()), call.name(), options).await? {
        Outcome::Waiting(object) => Ok(respond::object(call, StatusCode::OK, &object)),
        Outcome::Removed(object)
            if matches!(kind.kind, "Pod" | "Service" | "ServiceAccount" | "PersistentVolumeClaim") =>
        {
            Ok(respond::object(call, StatusCode::OK, &object))
        }
        Outcome::Removed(object) => {
            let mut details = json!({"name": call.name()});
            if !kind.group.is_empty() {
                details["group"] = kind.group.into();
            }
            details["kind"] = kind.plural.into();
            details["uid"] = meta(&object, "uid").into();
            Ok(respond::json(StatusCode::OK, &success(StatusCode::OK, Some(details))))
        }
    }
}

/// Returns a `Status` of success; 200 carries no code upstream.
pub(crate) fn success(code: StatusCode, details: Option<Value>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        status["details"] = details;
    }
    if code != StatusCode::OK {
        status["code"] = code.as_u16().into();
    }
    status
}

/// Deletes all objects that the query selects.
pub(crate) async fn delete_collection(api: &Api, call: &Call, options: &Options) -> Result<Response, Status> {
    let selector = read::selector(call)?;
    let (revision, objects) = api.store.list(call.kind, &read::prefix(call), None);
    let mut items = Vec::new();
    for object in objects.iter().filter(|object| selector.matches(object)) {
        let name = object.key.rsplit('/').next().unwrap_or_default();
        match delete_one(api, call.kind, &object.key, name, options).await {
            Ok(Outcome::Removed(object) | Outcome::Waiting(object)) => items.push(object),
            Err(status) if status.code == StatusCode::NOT_FOUND => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({"kind": format!("{}List", call.kind.kind), "apiVersion": call.kind.api_version(),
        "metadata": {"resourceVersion": revision.to_string()}, "items": items});
    Ok(respond::json(StatusCode::OK, &list))
}

async fn delete_one(
    api: &Api,
    kind: &'static Kind,
    key: &str,
    name: &str,
    options: &Options,
) -> Result<Outcome, Status> {
    loop {
        let stored = api.store.get(kind, key).ok_or_else(|| Status::not_found(kind, name))?;
        let old = convert::load(kind, &stored);
        check_preconditions(kind, name, &old, options)?;
        let new = plan(kind, &old, options);
        let done = modify::is_finished(&new);
        if options.dry_run {
            return Ok(if done { Outcome::Removed(new) } else { Outcome::Waiting(new) });
        }
        if !done && new == old {
            return Ok(Outcome::Waiting(old));
        }
        match write(api, kind, &stored, new, done).await {
            Ok(stored) if done => return Ok(Outcome::Removed(convert::load(kind, &stored))),
            Ok(stored) => return Ok(Outcome::Waiting(convert::load(kind, &stored))),
            Err(StorageError::Conflict { .. }) => {}
            Err(StorageError::Missing { .. }) => return Err(Status::not_found(kind, name)),
            Err(error) => return Err(failed(&error)),
        }
    }
}

async fn write(
    api: &Api,
    kind: &Kind,
    stored: &Stored,
    new: Value,
    done: bool,
) -> Result<std::sync::Arc<Stored>, StorageError> {
    let body = convert::stored(kind, new);
    if done {
        api.store.remove(kind, stored.key.clone(), body, stored.revision).await
    } else {
        api.store.replace(kind, stored.key.clone(), body, stored.revision).await
    }
}

fn check_preconditions(kind: &Kind, name: &str, old: &Value, options: &Options) -> Result<(), Status> {
    for (field, shown, want) in
        [("uid", "UID", &options.uid), ("resourceVersion", "ResourceVersion", &options.version)]
    {
        if let Some(want) = want
            && want != meta(old, field)
        {
            let why = format!(
                "the {shown} in the precondition ({want}) does not match the {shown} in record ({}). The object might have been deleted and then recreated",
                meta(old, field)
            );
            return Err(Status::conflict(kind, name, &why));
        }
    }
    Ok(())
}

/// Returns the object as the deletion leaves it; [`modify::is_finished`] says whether it goes at once.
fn plan(kind: &Kind, old: &Value, options: &Options) -> Value {
    let mut new = old.clone();
    let mut waits = finalizers(old);
    let wanted = match options.policy.as_deref() {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    };
    if options.policy.is_some() {
        waits.retain(|f| f != "foregroundDeletion" && f != "orphan");
        waits.extend(wanted.map(str::to_owned));
    }
    if waits != finalizers(old) {
        metadata(&mut new).insert("finalizers".to_owned(), json!(waits));
    }
    let grace = grace(kind, old, options);
    let before = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let first = meta(old, "deletionTimestamp").is_empty();
    if first || before.is_some_and(|before| grace < before) {
        let at = respond::now() + Duration::seconds(grace);
        let meta_map = metadata(&mut new);
        meta_map.insert("deletionTimestamp".to_owned(), timestamp(at).into());
        meta_map.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        if first && let Some(generation) = meta_map.get("generation").and_then(Value::as_i64) {
            meta_map.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    if kind.kind == "Namespace" {
        new["status"]["phase"] = "Terminating".into();
    }
    new
}

/// Seconds until the object goes: only pods that run somewhere get any.
fn grace(kind: &Kind, old: &Value, options: &Options) -> i64 {
    if kind.kind != "Pod" {
        return 0;
    }
    let idle = old["spec"]["nodeName"].as_str().is_none_or(str::is_empty)
        || matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if idle {
        return 0;
    }
    options.grace.or_else(|| old["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30).max(0)
}
