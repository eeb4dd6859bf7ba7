//! From a request to its handler: who asks, may they, what do they want.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request, StatusCode, header};

use crate::authz::{self, Action};
use crate::call::{Call, Query, Target};
use crate::handlers::{create, delete, modify, pods, read, reviews, scale, watch};
use crate::listen::Peer;
use crate::server::Api;
use crate::{Identity, KINDS, Status, admission, body, discovery, openapi, token};

/// Returns the routes.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let guard = axum::middleware::from_fn_with_state(Arc::clone(&api), known_only);
    let documents = openapi::router().layer(guard);
    Router::new().fallback(answer).with_state(api).merge(documents)
}

async fn known_only(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
    next: axum::middleware::Next,
) -> Response {
    match identify(&api, &request) {
        Ok(who) if !who.is_anonymous() => next.run(request).await,
        Ok(who) => forbidden_path(&who, request.method(), request.uri().path()).into_response(),
        Err(status) => status.into_response(),
    }
}

/// Returns who asks, or whom an administrator asks for (`kubectl --as`).
fn identify(api: &Api, request: &Request<Body>) -> Result<Identity, Status> {
    let who = authenticate(api, request)?;
    let headers = request.headers();
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(who);
    }
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let user = headers.get("impersonate-user").and_then(text).unwrap_or_default();
    if user.is_empty() || !who.is_in("system:masters") {
        let message = format!("User \"{}\" cannot impersonate \"{user}\"", who.user);
        return Err(Status::new(StatusCode::FORBIDDEN, "Forbidden", message));
    }
    if let Some((namespace, name)) =
        user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
    {
        return Ok(Identity::service_account(namespace, name));
    }
    let groups = headers.get_all("impersonate-group").iter().filter_map(text).collect();
    Ok(Identity { user, groups })
}

/// Returns who asks: the in-process identity, a bearer token, a certificate, or nobody.
fn authenticate(api: &Api, request: &Request<Body>) -> Result<Identity, Status> {
    if let Some(identity) = request.extensions().get::<Identity>() {
        return Ok(identity.clone());
    }
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        return token
            .and_then(|token| token::verify(api, token.trim()))
            .ok_or_else(|| Status::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"));
    }
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0.clone());
    Ok(peer.unwrap_or_else(Identity::anonymous))
}

async fn answer(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    let head = request.method() == Method::HEAD;
    match route(&api, request).await {
        Ok(response) | Err(response) if head => {
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, Body::empty())
        }
        Ok(response) | Err(response) => response,
    }
}

async fn route(api: &Api, request: Request<Body>) -> Result<Response, Response> {
    let who = identify(api, &request).map_err(|status| status.into_response())?;
    let path = request.uri().path().to_owned();
    match Target::parse(&path) {
        Some(target) => resource(api, request, target, who).await.map_err(|status| status.into_response()),
        None => other(api, &request, &path, &who).map_err(|status| status.into_response()),
    }
}

fn forbidden_path(who: &Identity, method: &Method, path: &str) -> Status {
    let verb = method.as_str().to_lowercase();
    let text = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", who.user);
    Status::new(StatusCode::FORBIDDEN, "Forbidden", text)
}

fn other(api: &Api, request: &Request<Body>, path: &str, who: &Identity) -> Result<Response, Status> {
    if !authz::path_allowed(who, path) {
        return Err(forbidden_path(who, request.method(), path));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    match path {
        "/healthz" | "/livez" | "/readyz" => {
            let query = request.uri().query().unwrap_or_default();
            return Ok(health(path, Query::parse(query).has("verbose")).into_response());
        }
        "/metrics" => return Ok(metrics(api).into_response()),
        _ => {}
    }
    discovery::answer(path, request.headers()).unwrap_or_else(|| Err(Status::no_such_path()))
}

/// What answers is alive, and ready.
fn health(path: &str, verbose: bool) -> String {
    let name = path.trim_start_matches('/');
    if verbose { format!("[+]ping ok\n{name} check passed\n") } else { "ok".to_owned() }
}

fn metrics(api: &Api) -> String {
    let mut text = String::from("# TYPE apiserver_storage_objects gauge\n");
    for kind in KINDS.iter().filter(|kind| kind.group != "events.k8s.io") {
        let count = api.store.list(kind, "", None).1.len();
        text.push_str(&format!("apiserver_storage_objects{{resource=\"{}\"}} {count}\n", kind.qualified()));
    }
    text.push_str(&format!("# TYPE shipway_revision counter\nshipway_revision {}\n", api.store.revision()));
    text
}

/// 403 with upstream's wording.
fn refuse(who: &Identity, action: &Action<'_>) -> Status {
    let place = if action.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", action.namespace)
    };
    let (plural, group) = (action.resource.split('/').next().unwrap_or_default(), action.group);
    let what = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    let name = if action.name.is_empty() { String::new() } else { format!(" \"{}\"", action.name) };
    let text = format!(
        "{what}{name} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{group}\" {place}",
        who.user, action.verb, action.resource
    );
    Status::new(StatusCode::FORBIDDEN, "Forbidden", text)
}

async fn resource(
    api: &Api,
    request: Request<Body>,
    target: Target,
    who: Identity,
) -> Result<Response, Status> {
    if target.name.is_none() && request.method() == Method::POST && target.group.starts_with("auth") {
        let (parts, body) = request.into_parts();
        authorize_review(api, &target, &who)?;
        let bytes = body::read(body).await?;
        let media = body::media_type(&parts.headers);
        return reviews::answer(api, &target, &who, &bytes, media)
            .unwrap_or_else(|| Err(Status::no_such_path()));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let call = Call::new(target, &query, request.headers(), who)?;
    let resource = match &call.subresource {
        Some(sub) => format!("{}/{sub}", call.kind.plural),
        None => call.kind.plural.to_owned(),
    };
    let action = Action {
        verb: call.verb(request.method()),
        group: call.kind.group,
        resource: &resource,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name: call.name(),
    };
    if !authz::allowed(&api.store, &call.identity, &action) {
        return Err(refuse(&call.identity, &action));
    }
    if call.subresource.is_some() { sub(api, call, request).await } else { main(api, call, request).await }
}

fn authorize_review(api: &Api, target: &Target, who: &Identity) -> Result<(), Status> {
    let action = Action {
        verb: "create",
        group: &target.group,
        resource: &target.plural,
        namespace: target.namespace.as_deref().unwrap_or_default(),
        name: "",
    };
    if authz::allowed(&api.store, who, &action) { Ok(()) } else { Err(refuse(who, &action)) }
}

async fn main(api: &Api, call: Call, request: Request<Body>) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    if matches!(parts.method, Method::GET | Method::HEAD) {
        if call.query.is_true("watch") {
            return watch::watch(api, &call);
        }
        return if call.name.is_some() { read::get(api, &call) } else { read::list(api, &call) };
    }
    let media = body::media_type(&parts.headers);
    let bytes = body::read(body).await?;
    match (&parts.method, call.name.is_some()) {
        (&Method::POST, false) => create::create(api, &call, &bytes, media).await,
        (&Method::PUT, true) => modify::update(api, &call, &bytes, media).await,
        (&Method::PATCH, true) => modify::patch(api, &call, &bytes, media).await,
        (&Method::DELETE, true) => {
            admission::delete(&call)?;
            delete::delete(api, &call, &delete::Options::parse(&call, &bytes, media)?).await
        }
        (&Method::DELETE, false) if call.kind.verbs.contains(&"deletecollection") => {
            delete::delete_collection(api, &call, &delete::Options::parse(&call, &bytes, media)?).await
        }
        _ => Err(Status::method_not_allowed()),
    }
}

async fn sub(api: &Api, call: Call, request: Request<Body>) -> Result<Response, Status> {
    let name = call.subresource.clone().unwrap_or_default();
    if matches!(name.as_str(), "log" | "exec" | "attach" | "portforward") {
        let fits = match name.as_str() {
            "log" => request.method() == Method::GET,
            _ => matches!(*request.method(), Method::GET | Method::POST),
        };
        return if fits {
            pods::stream(api, &call, request).await
        } else {
            Err(Status::method_not_allowed())
        };
    }
    let (parts, body) = request.into_parts();
    let media = body::media_type(&parts.headers);
    let bytes = body::read(body).await?;
    match (&parts.method, name.as_str()) {
        (&Method::GET | &Method::HEAD, "status") => read::get(api, &call),
        (&Method::PUT, "status" | "finalize") => modify::update(api, &call, &bytes, media).await,
        (&Method::PATCH, "status") => modify::patch(api, &call, &bytes, media).await,
        (&Method::GET | &Method::HEAD, "scale") => scale::get(api, &call),
        (&Method::PUT, "scale") => scale::write(api, &call, &bytes, media, false).await,
        (&Method::PATCH, "scale") => scale::write(api, &call, &bytes, media, true).await,
        (&Method::POST, "binding") => pods::bind(api, &call, &bytes, media).await,
        (&Method::POST, "eviction") => pods::evict(api, &call, &bytes, media).await,
        (&Method::POST, "token") => reviews::issue_token(api, &call, &bytes, media),
        _ => Err(Status::method_not_allowed()),
    }
}
