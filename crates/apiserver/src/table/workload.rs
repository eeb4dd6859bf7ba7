//! Rows of the kinds that own pods.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::{human_duration, parse_time, since};
use super::cell::{NONE, at, condition_is_true, containers, count, int, labels, or, selector, text};

const CONTAINERS: &str = "/spec/template/spec/containers";

fn head(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: OffsetDateTime) -> Value {
    json!(since(at(object, "/metadata/creationTimestamp"), now))
}

fn ready_of_desired(object: &Value) -> Value {
    json!(format!("{}/{}", int(object, "/status/readyReplicas"), int(object, "/spec/replicas")))
}

pub(super) const DEPLOYMENT: &str = "Name:name|Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector";

pub(super) fn deployment(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, CONTAINERS);
    vec![
        head(object),
        ready_of_desired(object),
        json!(int(object, "/status/updatedReplicas")),
        json!(int(object, "/status/availableReplicas")),
        age(object, now),
        names,
        images,
        json!(selector(at(object, "/spec/selector"))),
    ]
}

pub(super) const REPLICA_SET: &str =
    "Name:name|Desired:integer|Current:integer|Ready:integer|Age|+Containers|+Images|+Selector";

pub(super) fn replica_set(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    replicas(object, now, selector(at(object, "/spec/selector")))
}

pub(super) fn replication_controller(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    replicas(object, now, labels(at(object, "/spec/selector")))
}

fn replicas(object: &Value, now: OffsetDateTime, selector: String) -> Vec<Value> {
    let [names, images] = containers(object, CONTAINERS);
    vec![
        head(object),
        json!(int(object, "/spec/replicas")),
        json!(int(object, "/status/replicas")),
        json!(int(object, "/status/readyReplicas")),
        age(object, now),
        names,
        images,
        json!(selector),
    ]
}

pub(super) const STATEFUL_SET: &str = "Name:name|Ready|Age|+Containers|+Images";

pub(super) fn stateful_set(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, CONTAINERS);
    vec![head(object), ready_of_desired(object), age(object, now), names, images]
}

pub(super) const DAEMON_SET: &str = "Name:name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|+Containers|+Images|+Selector";

pub(super) fn daemon_set(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, CONTAINERS);
    vec![
        head(object),
        json!(int(object, "/status/desiredNumberScheduled")),
        json!(int(object, "/status/currentNumberScheduled")),
        json!(int(object, "/status/numberReady")),
        json!(int(object, "/status/updatedNumberScheduled")),
        json!(int(object, "/status/numberAvailable")),
        json!(labels(at(object, "/spec/template/spec/nodeSelector"))),
        age(object, now),
        names,
        images,
        json!(selector(at(object, "/spec/selector"))),
    ]
}

pub(super) const JOB: &str = "Name:name|Status|Completions|Duration|Age|+Containers|+Images|+Selector";

pub(super) fn job(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, CONTAINERS);
    vec![
        head(object),
        json!(job_status(object)),
        json!(job_completions(object)),
        json!(job_duration(object, now)),
        age(object, now),
        names,
        images,
        json!(selector(at(object, "/spec/selector"))),
    ]
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind| condition_is_true(job, kind);
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !at(job, "/metadata/deletionTimestamp").is_null() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_completions(job: &Value) -> String {
    let succeeded = int(job, "/status/succeeded");
    if let Some(wanted) = at(job, "/spec/completions").as_i64() {
        return format!("{succeeded}/{wanted}");
    }
    match int(job, "/spec/parallelism") {
        parallel @ 2.. => format!("{succeeded}/1 of {parallel}"),
        _ => format!("{succeeded}/1"),
    }
}

fn job_duration(job: &Value, now: OffsetDateTime) -> String {
    let Some(start) = parse_time(at(job, "/status/startTime")) else { return String::new() };
    let end = parse_time(at(job, "/status/completionTime")).unwrap_or(now);
    human_duration((end - start).whole_seconds())
}

pub(super) const CRON_JOB: &str = "Name:name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|+Containers|+Images|+Selector";

pub(super) fn cron_job(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, "/spec/jobTemplate/spec/template/spec/containers");
    let last = at(object, "/status/lastScheduleTime");
    let suspended = at(object, "/spec/suspend").as_bool();
    vec![
        head(object),
        json!(text(object, "/spec/schedule")),
        json!(or(text(object, "/spec/timeZone"), NONE)),
        json!(suspended.map_or(super::cell::UNSET, |yes| if yes { "True" } else { "False" })),
        json!(count(object, "/status/active")),
        json!(if last.is_null() { NONE.to_owned() } else { since(last, now) }),
        age(object, now),
        names,
        images,
        json!(selector(at(object, "/spec/jobTemplate/spec/selector"))),
    ]
}

pub(super) const POD_TEMPLATE: &str = "Name:name|Containers|Images|Pod Labels";

pub(super) fn pod_template(object: &Value, _now: OffsetDateTime) -> Vec<Value> {
    let [names, images] = containers(object, "/template/spec/containers");
    vec![head(object), names, images, json!(labels(at(object, "/template/metadata/labels")))]
}

pub(super) const CONTROLLER_REVISION: &str = "Name:name|Controller|Revision|Age";

pub(super) fn controller_revision(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let owner = super::cell::list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
        .map_or_else(|| NONE.to_owned(), owner_name);
    vec![head(object), json!(owner), json!(int(object, "/revision")), age(object, now)]
}

fn owner_name(owner: &Value) -> String {
    let kind = text(owner, "/kind").to_ascii_lowercase();
    let name = text(owner, "/name");
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

pub(super) const AUTOSCALER: &str = "Name:name|Reference|Targets|MinPods|MaxPods|Replicas|Age";

pub(super) fn autoscaler(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let target = at(object, "/spec/scaleTargetRef");
    let minimum = at(object, "/spec/minReplicas").as_i64();
    vec![
        head(object),
        json!(format!("{}/{}", text(target, "/kind"), text(target, "/name"))),
        json!(autoscaler_targets(object)),
        json!(minimum.map_or_else(|| super::cell::UNSET.to_owned(), |replicas| replicas.to_string())),
        json!(int(object, "/spec/maxReplicas")),
        json!(int(object, "/status/currentReplicas")),
        age(object, now),
    ]
}

fn autoscaler_targets(object: &Value) -> String {
    let metrics = super::cell::list(object, "/spec/metrics");
    if metrics.is_empty() {
        let Some(target) = at(object, "/spec/targetCPUUtilizationPercentage").as_i64() else {
            return NONE.to_owned();
        };
        let current = at(object, "/status/currentCPUUtilizationPercentage").as_i64();
        return format!("cpu: {}/{target}%", percent(current));
    }
    let current = super::cell::list(object, "/status/currentMetrics");
    let mut all = Vec::new();
    for (index, metric) in metrics.iter().enumerate().take(2) {
        let source = match text(metric, "/type") {
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            "Pods" => "pods",
            "Object" => "object",
            "External" => "external",
            _ => continue,
        };
        let wanted = &metric[source];
        let now = current.get(index).map_or(&Value::Null, |metric| &metric[source]["current"]);
        let text = match at(wanted, "/target/averageUtilization").as_i64() {
            Some(target) => format!("{}/{target}%", percent(now["averageUtilization"].as_i64())),
            None => quantity_target(wanted, now),
        };
        let name = self::text(wanted, "/name");
        all.push(if name.is_empty() { text } else { format!("{name}: {text}") });
    }
    match metrics.len().checked_sub(2) {
        Some(more) if more > 0 => format!("{} + {more} more...", all.join(", ")),
        _ => all.join(", "),
    }
}

fn percent(value: Option<i64>) -> String {
    value.map_or_else(|| super::cell::UNKNOWN.to_owned(), |value| format!("{value}%"))
}

fn quantity_target(wanted: &Value, current: &Value) -> String {
    let (field, suffix) =
        if at(wanted, "/target/averageValue").is_null() { ("value", "") } else { ("averageValue", " (avg)") };
    let now = or(current[field].as_str().unwrap_or_default(), super::cell::UNKNOWN).to_owned();
    format!("{now}/{}{suffix}", wanted["target"][field].as_str().unwrap_or_default())
}

pub(super) const DISRUPTION_BUDGET: &str =
    "Name:name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age";

pub(super) fn disruption_budget(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let bound = |pointer| match at(object, pointer) {
        Value::Null => "N/A".to_owned(),
        value => super::cell::scalar(value),
    };
    vec![
        head(object),
        json!(bound("/spec/minAvailable")),
        json!(bound("/spec/maxUnavailable")),
        json!(int(object, "/status/disruptionsAllowed")),
        age(object, now),
    ]
}
