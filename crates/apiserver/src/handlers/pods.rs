//! Subresources of pods: binding, eviction, streams.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::delete::{self, Options};
use super::modify::{Recorded, modify};
use super::read;
use crate::call::Call;
use crate::object::{metadata, timestamp};
use crate::server::Api;
use crate::status::Status;
use crate::streams::{self, StreamCall};
use crate::{convert, respond};

/// Binds a pod to a node.
pub(crate) async fn bind(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let body = crate::body::parse(media, bytes)?;
    let node = body["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(Status::bad_request("target.name: Required value"));
    }
    let edit = |old: &Value| {
        let bound = old["spec"]["nodeName"].as_str().unwrap_or_default();
        if !bound.is_empty() {
            let why = format!("pod {} is already assigned to node \"{bound}\"", call.name());
            return Err(Status::conflict(call.kind, call.name(), &why));
        }
        if !old["metadata"]["deletionTimestamp"].is_null() {
            let why = format!("pod {} is being deleted, cannot be assigned to a host", call.name());
            return Err(Status::conflict(call.kind, call.name(), &why));
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = node.as_str().into();
        for (key, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
            let annotations = metadata(&mut new).entry("annotations").or_insert(json!({}));
            annotations[key] = value.clone();
        }
        set_scheduled(&mut new);
        Ok(new)
    };
    modify(api, call, &edit, Recorded::Here).await?;
    Ok(respond::json(StatusCode::CREATED, &delete::success(StatusCode::CREATED, None)))
}

fn set_scheduled(pod: &mut Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": timestamp(respond::now()),
        "observedGeneration": pod["metadata"]["generation"]});
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    if let Some(all) = pod["status"]["conditions"].as_array_mut() {
        all.retain(|c| c["type"] != "PodScheduled");
        all.push(condition);
    }
}

/// Evicts a pod: a deletion that budgets could refuse; nothing enforces budgets yet.
pub(crate) async fn evict(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let body = crate::body::parse(media, bytes)?;
    let options = serde_json::to_vec(&body["deleteOptions"]).unwrap_or_default();
    let options = if body["deleteOptions"].is_object() { options } else { Vec::new() };
    let options = Options::parse(call, &options, "application/json")?;
    let main = Call { subresource: None, ..call.clone() };
    drop(delete::delete(api, &main, &options).await?);
    Ok(respond::json(StatusCode::CREATED, &delete::success(StatusCode::CREATED, None)))
}

/// log, exec, attach, portforward.
pub(crate) async fn stream(api: &Api, call: &Call, request: Request<Body>) -> Result<Response, Status> {
    let stored = read::find(api, call)?;
    let stream = StreamCall {
        namespace: call.namespace.clone().unwrap_or_default(),
        name: call.name().to_owned(),
        pod: Arc::new(convert::load(call.kind, &stored)),
        node: Arc::clone(&api.node),
        store: api.store.clone(),
        identity: call.identity.clone(),
        stop: api.stop.clone(),
        tasks: api.tasks.clone(),
    };
    match call.subresource.as_deref() {
        Some("log") => streams::log(stream, request).await,
        Some("exec") => streams::exec(stream, request).await,
        Some("attach") => streams::attach(stream, request).await,
        Some("portforward") => streams::port_forward(stream, request),
        _ => Err(Status::no_such_path()),
    }
}
