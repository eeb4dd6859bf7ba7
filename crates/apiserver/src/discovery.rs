//! Discovery documents, made of the table of kinds.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::status::Status;
use crate::{KINDS, KUBERNETES_VERSION, Kind, respond};

/// Groups in the order clients should prefer them.
const GROUPS: &[&str] = &[
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

/// Resources that are answered and not stored: group, plural, kind, namespaced.
pub(crate) const REVIEWS: &[(&str, &str, &str, bool)] = &[
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", false),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", false),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", false),
];

/// Answers a discovery path; `None` if it is not one.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Option<Result<Response, Status>> {
    let path = path.trim_end_matches('/');
    let aggregated = wants_aggregated(headers);
    let value = match path {
        "" => json!({"paths": paths()}),
        "/version" => version(),
        "/api" | "/apis" if aggregated => return Some(Ok(aggregate(path == "/api"))),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "/apis" => {
            let groups: Vec<Value> = GROUPS.iter().map(|name| group(name)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        "/api/v1" => resources("", "v1")?,
        other => {
            let rest = other.strip_prefix("/apis/")?;
            match rest.split_once('/') {
                None if GROUPS.contains(&rest) => {
                    let mut group = group(rest);
                    group["kind"] = "APIGroup".into();
                    group["apiVersion"] = "v1".into();
                    group
                }
                Some((name, version)) if !version.contains('/') => resources(name, version)?,
                _ => return None,
            }
        }
    };
    Some(Ok(respond::json(StatusCode::OK, &value)))
}

/// Returns the paths that `/` lists.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> =
        ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"]
            .map(str::to_owned)
            .to_vec();
    for group in GROUPS {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{}", version_of(group)));
    }
    paths.sort();
    paths
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| {
        let has = |part: &str| range.split(';').any(|p| p.trim() == part);
        has("application/json")
            && has("g=apidiscovery.k8s.io")
            && has("v=v2")
            && has("as=APIGroupDiscoveryList")
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": KUBERNETES_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
    })
}

fn version_of(group: &str) -> &'static str {
    KINDS.iter().find(|kind| kind.group == group).map_or("v1", |kind| kind.version)
}

fn group(name: &str) -> Value {
    let version =
        json!({"groupVersion": format!("{name}/{}", version_of(name)), "version": version_of(name)});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

/// Sets `field` unless the list is empty.
fn set_list(value: &mut Value, field: &str, list: &[&str]) {
    if !list.is_empty() {
        value[field] = json!(list);
    }
}

fn set_text(value: &mut Value, field: &str, text: &str) {
    if !text.is_empty() {
        value[field] = text.into();
    }
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds = kinds_of(group, version);
    let mut list = Vec::new();
    for kind in &kinds {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular,
            "namespaced": kind.namespaced, "kind": kind.kind, "verbs": kind.verbs});
        set_list(&mut resource, "shortNames", kind.short_names);
        set_list(&mut resource, "categories", kind.categories);
        set_text(&mut resource, "storageVersionHash", kind.storage_version_hash);
        list.push(resource);
        for sub in kind.subresources {
            let mut resource = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.namespaced});
            set_text(&mut resource, "group", sub.group);
            set_text(&mut resource, "version", sub.version);
            resource["kind"] = sub.kind.into();
            resource["verbs"] = json!(sub.verbs);
            list.push(resource);
        }
    }
    for (_, plural, kind, namespaced) in REVIEWS.iter().filter(|r| r.0 == group && version == "v1") {
        list.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "kind": kind, "verbs": ["create"]}));
    }
    if list.is_empty() {
        return None;
    }
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let of = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut document = json!({"kind": "APIResourceList"});
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    document["groupVersion"] = of.into();
    document["resources"] = Value::Array(list);
    Some(document)
}

fn kinds_of(group: &str, version: &str) -> Vec<&'static Kind> {
    let mut kinds: Vec<_> = KINDS.iter().filter(|k| k.group == group && k.version == version).collect();
    kinds.sort_by_key(|kind| kind.plural);
    kinds
}

fn aggregate(core: bool) -> Response {
    let groups: Vec<&str> = if core { vec![""] } else { GROUPS.to_vec() };
    let items: Vec<Value> = groups.into_iter().map(aggregated_group).collect();
    let document = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items});
    let mut response = respond::json(StatusCode::OK, &document);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn aggregated_group(group: &str) -> Value {
    let version = version_of(group);
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut resources = Vec::new();
    for kind in kinds_of(group, version) {
        let mut resource = json!({"resource": kind.plural,
            "responseKind": {"group": "", "version": "", "kind": kind.kind},
            "scope": scope(kind.namespaced), "singularResource": kind.singular, "verbs": kind.verbs});
        set_list(&mut resource, "shortNames", kind.short_names);
        set_list(&mut resource, "categories", kind.categories);
        let subs: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                json!({"subresource": sub.name,
                    "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind}, "verbs": sub.verbs})
            })
            .collect();
        if !subs.is_empty() {
            resource["subresources"] = Value::Array(subs);
        }
        resources.push(resource);
    }
    for (_, plural, kind, namespaced) in REVIEWS.iter().filter(|review| review.0 == group) {
        resources
            .push(json!({"resource": plural, "responseKind": {"group": "", "version": "", "kind": kind},
            "scope": scope(*namespaced), "singularResource": kind.to_lowercase(), "verbs": ["create"]}));
    }
    let mut metadata = json!({});
    set_text(&mut metadata, "name", group);
    json!({"metadata": metadata, "versions": [
        {"version": version, "resources": resources, "freshness": "Current"}]})
}

#[cfg(test)]
mod tests;
