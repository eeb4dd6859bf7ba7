//! The kinds that own pods.

use serde_json::{Map, Value, json};

use super::pod::template_in;
use super::{each, existing, set, set_text, spec, structure};

/// Old revisions kept for a roll-back.
const HISTORY: u32 = 10;

pub(super) fn deployment(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(HISTORY));
    set(spec, "progressDeadlineSeconds", json!(600));
    if let Some(strategy) = structure(spec, "strategy") {
        set_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = structure(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", json!("25%"));
            set(rolling, "maxSurge", json!("25%"));
        }
    }
    template_in(spec);
}

pub(super) fn replica_set(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "replicas", json!(1));
    template_in(spec);
}

pub(super) fn replication_controller(object: &mut Value) {
    let labels =
        object.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object()).cloned();
    if let Some(labels) = labels {
        if let Some(spec) = spec(object) {
            set(spec, "selector", labels.clone());
        }
        if let Some(metadata) = object.as_object_mut().and_then(|object| structure(object, "metadata")) {
            set(metadata, "labels", labels);
        }
    }
    replica_set(object);
}

pub(super) fn stateful_set(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(HISTORY));
    set(spec, "serviceName", json!(""));
    set_text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = structure(spec, "updateStrategy") {
        set_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = structure(strategy, "rollingUpdate")
        {
            set(rolling, "partition", json!(0));
        }
    }
    if let Some(policy) = structure(spec, "persistentVolumeClaimRetentionPolicy") {
        set_text(policy, "whenDeleted", "Retain");
        set_text(policy, "whenScaled", "Retain");
    }
    for claim in each(spec, "volumeClaimTemplates") {
        set_text(claim, "apiVersion", "v1");
        set_text(claim, "kind", "PersistentVolumeClaim");
        if let Some(spec) = structure(claim, "spec") {
            set_text(spec, "volumeMode", "Filesystem");
        }
        if let Some(status) = structure(claim, "status") {
            set_text(status, "phase", "Pending");
        }
    }
    template_in(spec);
}

pub(super) fn daemon_set(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "revisionHistoryLimit", json!(HISTORY));
    if let Some(strategy) = structure(spec, "updateStrategy") {
        set_text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = structure(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", json!(1));
            set(rolling, "maxSurge", json!(0));
        }
    }
    template_in(spec);
}

pub(super) fn job(object: &mut Value) {
    own_selector(object);
    let Some(spec) = spec(object) else { return };
    let given =
        |spec: &Map<String, Value>, field: &str| spec.get(field).is_some_and(|value| !value.is_null());
    if !given(spec, "completions") && !given(spec, "parallelism") {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(if given(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 }));
    set_text(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    let policy = if given(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_text(spec, "podReplacementPolicy", policy);
    template_in(spec);
}

/// Jobs select their pods by their own uid unless they say how.
fn own_selector(job: &mut Value) {
    const PREFIX: &str = "batch.kubernetes.io/";
    let uid = job["metadata"]["uid"].clone();
    let name = job["metadata"]["name"].clone();
    if !uid.is_string() || job["spec"]["manualSelector"] == true || job["spec"]["selector"].is_object() {
        return;
    }
    let Some(spec) = spec(job) else { return };
    let mut selector = Map::new();
    selector.insert(format!("{PREFIX}controller-uid"), uid.clone());
    spec.insert("selector".to_owned(), json!({"matchLabels": selector}));
    let metadata = structure(spec, "template").and_then(|template| structure(template, "metadata"));
    let Some(labels) = metadata.and_then(|metadata| structure(metadata, "labels")) else { return };
    for (label, value) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.insert(label.to_owned(), value.clone());
        labels.insert(format!("{PREFIX}{label}"), value.clone());
    }
}

pub(super) fn cron_job(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set_text(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(job) = structure(spec, "jobTemplate").and_then(|template| structure(template, "spec")) {
        template_in(job);
    }
}

pub(super) fn autoscaler(object: &mut Value) {
    let is_v1 = object["apiVersion"] == "autoscaling/v1";
    let Some(spec) = spec(object) else { return };
    set(spec, "minReplicas", json!(1));
    if is_v1 {
        return;
    }
    let metric = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 80}}});
    set(spec, "metrics", json!([metric]));
    if let Some(behavior) = existing(spec, "behavior") {
        let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        for (direction, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", down, None)] {
            let Some(rules) = structure(behavior, direction) else { continue };
            set_text(rules, "selectPolicy", "Max");
            set(rules, "policies", policies);
            if let Some(window) = window {
                set(rules, "stabilizationWindowSeconds", json!(window));
            }
        }
    }
}
