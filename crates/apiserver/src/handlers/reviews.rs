//! Questions that are answered at once and never stored: tokens and access.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::read;
use crate::authz::{self, Action};
use crate::call::{Call, Target};
use crate::discovery::REVIEWS;
use crate::object::{meta, timestamp};
use crate::server::Api;
use crate::status::Status;
use crate::{Identity, convert, respond, token};

/// Answers a review; `None` if the path is not one.
pub(crate) fn answer(
    api: &Api,
    target: &Target,
    who: &Identity,
    bytes: &[u8],
    media: &str,
) -> Option<Result<Response, Status>> {
    let known = target.version == "v1"
        && REVIEWS.iter().any(|review| review.0 == target.group && review.1 == target.plural);
    if !known || target.name.is_some() {
        return None;
    }
    let body = match crate::body::parse(media, bytes) {
        Ok(body) => body,
        Err(status) => return Some(Err(status)),
    };
    Some(review(api, target, who, body).map(|value| respond::json(StatusCode::CREATED, &value)))
}

fn review(api: &Api, target: &Target, who: &Identity, mut body: Value) -> Result<Value, Status> {
    let spec = body["spec"].clone();
    body["status"] = match target.plural.as_str() {
        "tokenreviews" => match token::verify(api, spec["token"].as_str().unwrap_or_default()) {
            Some(user) => json!({"authenticated": true, "user": user_info(&user)}),
            None => json!({"authenticated": false, "error": "invalid bearer token"}),
        },
        "selfsubjectreviews" => json!({"userInfo": user_info(who)}),
        "selfsubjectaccessreviews" => access(api, who, &spec),
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let groups = spec["groups"].as_array().into_iter().flatten();
            let user = Identity {
                user: spec["user"].as_str().unwrap_or_default().to_owned(),
                groups: groups.filter_map(|g| g.as_str().map(str::to_owned)).collect(),
            };
            access(api, &user, &spec)
        }
        "selfsubjectrulesreviews" => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            authz::rules(&api.store, who, namespace)
        }
        _ => return Err(Status::no_such_path()),
    };
    Ok(body)
}

fn user_info(user: &Identity) -> Value {
    let mut groups = user.groups.clone();
    if !user.is_anonymous() {
        groups.push("system:authenticated".to_owned());
    }
    json!({"username": user.user, "groups": groups})
}

fn access(api: &Api, user: &Identity, spec: &Value) -> Value {
    let what = &spec["resourceAttributes"];
    let text = |field: &str| what[field].as_str().unwrap_or_default();
    let allowed = if what.is_object() {
        let mut resource = text("resource").to_owned();
        if !text("subresource").is_empty() {
            resource = format!("{resource}/{}", text("subresource"));
        }
        let action = Action {
            verb: text("verb"),
            group: text("group"),
            resource: &resource,
            namespace: text("namespace"),
            name: text("name"),
        };
        authz::allowed(&api.store, user, &action)
    } else {
        authz::path_allowed(user, spec["nonResourceAttributes"]["path"].as_str().unwrap_or_default())
    };
    json!({"allowed": allowed})
}

/// Issues a token for a service account (`serviceaccounts/token`).
pub(crate) fn issue_token(api: &Api, call: &Call, bytes: &[u8], media: &str) -> Result<Response, Status> {
    let mut body = if bytes.is_empty() { json!({}) } else { crate::body::parse(media, bytes)? };
    let stored = read::find(api, call)?;
    let account = convert::load(call.kind, &stored);
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or(3600).clamp(600, 86_400);
    let expires = respond::now() + time::Duration::seconds(seconds);
    let bound = &body["spec"]["boundObjectRef"];
    let pod = (bound["kind"] == "Pod").then(|| {
        let text = |field: &str| bound[field].as_str().unwrap_or_default().to_owned();
        (text("name"), text("uid"))
    });
    let claims = token::Claims {
        namespace: call.namespace.clone().unwrap_or_default(),
        account: call.name().to_owned(),
        uid: meta(&account, "uid").to_owned(),
        expires: expires.unix_timestamp(),
        pod,
    };
    let signed = token::sign(&api.token_key, &claims);
    body["kind"] = "TokenRequest".into();
    body["apiVersion"] = "authentication.k8s.io/v1".into();
    body["metadata"] = json!({"name": call.name(), "namespace": call.namespace, "creationTimestamp": timestamp(respond::now())});
    body["spec"]["expirationSeconds"] = seconds.into();
    body["status"] = json!({"token": signed, "expirationTimestamp": timestamp(expires)});
    Ok(respond::json(StatusCode::CREATED, &body))
}
