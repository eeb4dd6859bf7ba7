//! Rows of the core group's small kinds: nodes, namespaces, events, configuration.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::since;
use super::cell::{NONE, UNKNOWN, at, count, int, list, or, scalar, text};

fn head(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: OffsetDateTime) -> Value {
    json!(since(at(object, "/metadata/creationTimestamp"), now))
}

pub(super) const NAME_AND_AGE: &str = "Name:name|Age";

pub(super) fn name_and_age(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), age(object, now)]
}

pub(super) const NAMESPACE: &str = "Name:name|Status|Age";

pub(super) fn namespace(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(text(object, "/status/phase")), age(object, now)]
}

pub(super) const NODE: &str = "Name:name|Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime";

pub(super) fn node(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let info = |field: &str| or(text(object, &format!("/status/nodeInfo/{field}")), UNKNOWN).to_owned();
    let architecture = text(object, "/status/nodeInfo/architecture");
    let mut kernel = info("kernelVersion");
    if kernel != UNKNOWN && !architecture.is_empty() {
        kernel = format!("{kernel} ({architecture})");
    }
    vec![
        head(object),
        json!(node_status(object)),
        json!(node_roles(object)),
        age(object, now),
        json!(text(object, "/status/nodeInfo/kubeletVersion")),
        json!(node_address(object, "InternalIP")),
        json!(node_address(object, "ExternalIP")),
        json!(info("osImage")),
        json!(kernel),
        json!(info("containerRuntimeVersion")),
    ]
}

fn node_status(node: &Value) -> String {
    let ready =
        list(node, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready").map_or(
            "Unknown",
            |condition| {
                if text(condition, "/status") == "True" { "Ready" } else { "NotReady" }
            },
        );
    let cordoned = if at(node, "/spec/unschedulable") == true { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn node_roles(node: &Value) -> String {
    let Some(labels) = at(node, "/metadata/labels").as_object() else { return NONE.to_owned() };
    let roles: BTreeSet<&str> = labels
        .iter()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or(&roles.into_iter().collect::<Vec<_>>().join(","), NONE).to_owned()
}

fn node_address<'a>(node: &'a Value, kind: &str) -> &'a str {
    list(node, "/status/addresses")
        .iter()
        .find(|address| text(address, "/type") == kind)
        .map_or(NONE, |address| text(address, "/address"))
}

pub(super) const EVENT: &str =
    "Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name:name";

pub(super) fn event(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    // `events.k8s.io/v1` has other names for the same fields.
    let either = |core: &str, events: &str| match at(object, core) {
        Value::Null => at(object, events).clone(),
        value => value.clone(),
    };
    let stamp = |value: &Value, other: &Value| {
        if value.is_null() { since(other, now) } else { since(value, now) }
    };
    let first = stamp(&either("/firstTimestamp", "/deprecatedFirstTimestamp"), at(object, "/eventTime"));
    let last = either("/lastTimestamp", "/deprecatedLastTimestamp");
    let series = at(object, "/series");
    let (last, count) = if series.is_null() {
        let seen = either("/count", "/deprecatedCount").as_i64().unwrap_or_default();
        (if last.is_null() { first.clone() } else { since(&last, now) }, seen.max(1))
    } else {
        (since(at(series, "/lastObservedTime"), now), int(series, "/count"))
    };
    let about = either("/involvedObject", "/regarding");
    let kind = text(&about, "/kind").to_ascii_lowercase();
    let name = text(&about, "/name");
    vec![
        json!(last),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(if name.is_empty() { kind } else { format!("{kind}/{name}") }),
        json!(text(&about, "/fieldPath")),
        json!(event_source(object, &either("/source", "/deprecatedSource"))),
        json!(scalar(&either("/message", "/note")).trim()),
        json!(first),
        json!(count),
        head(object),
    ]
}

fn event_source(event: &Value, source: &Value) -> String {
    let reporter = or(text(event, "/reportingComponent"), text(event, "/reportingController"));
    let component = or(text(source, "/component"), reporter);
    let host = or(text(source, "/host"), text(event, "/reportingInstance"));
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

pub(super) const CONFIG_MAP: &str = "Name:name|Data|Age";

pub(super) fn config_map(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(count(object, "/data") + count(object, "/binaryData")), age(object, now)]
}

pub(super) const SECRET: &str = "Name:name|Type|Data|Age";

pub(super) fn secret(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(text(object, "/type")), json!(count(object, "/data")), age(object, now)]
}

pub(super) const RESOURCE_QUOTA: &str = "Name:name|Request|Limit|Age";

pub(super) fn resource_quota(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let mut names: Vec<&String> =
        at(object, "/status/hard").as_object().map(|hard| hard.keys().collect()).unwrap_or_default();
    names.sort_unstable();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for name in names {
        let of = |side: &str| scalar(&object["status"][side][name.as_str()]).replace("null", "0");
        let cell = format!("{name}: {}/{}", of("used"), of("hard"));
        if name.starts_with("limits.") { limits.push(cell) } else { requests.push(cell) }
    }
    vec![head(object), json!(requests.join(", ")), json!(limits.join(", ")), age(object, now)]
}

pub(super) const COMPONENT_STATUS: &str = "Name:name|Status|Message|Error";

pub(super) fn component_status(object: &Value, _now: OffsetDateTime) -> Vec<Value> {
    let healthy = list(object, "/conditions").iter().find(|condition| text(condition, "/type") == "Healthy");
    let status = match healthy.map(|condition| text(condition, "/status")) {
        Some("True") => "Healthy",
        Some("False") => "Unhealthy",
        _ => "Unknown",
    };
    let of = |field| healthy.map_or("", |condition| text(condition, field));
    vec![head(object), json!(status), json!(of("/message")), json!(of("/error"))]
}

pub(super) const LEASE: &str = "Name:name|Holder|Age";

pub(super) fn lease(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(text(object, "/spec/holderIdentity")), age(object, now)]
}
