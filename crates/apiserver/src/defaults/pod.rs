//! Pods and pod templates.

use serde_json::{Map, Value, json};

use super::{each, existing, set, set_text, spec, structure};

/// Mode of files in volumes, 0644.
const FILE_MODE: u32 = 0o644;

pub(super) fn pod(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "enableServiceLinks", json!(true));
    let on_host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
            if on_host_network {
                for port in each(container, "ports") {
                    let number = port.get("containerPort").cloned().unwrap_or_default();
                    set(port, "hostPort", number);
                }
            }
        }
    }
    pod_spec(spec);
}

/// The `template` field of an object's spec, or of a `PodTemplate` itself.
pub(super) fn template(holder: &mut Value) {
    if let Some(map) = holder.as_object_mut() {
        template_in(map);
    }
}

pub(super) fn template_in(holder: &mut Map<String, Value>) {
    if let Some(spec) = structure(holder, "template").and_then(|template| structure(template, "spec")) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "restartPolicy", "Always");
    set_text(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    set_text(container, "imagePullPolicy", policy);
    set(container, "resources", json!({}));
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
    for port in each(container, "ports") {
        set_text(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        if let Some(source) = existing(variable, "valueFrom") {
            field_source(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) = existing(lifecycle, name).and_then(|hook| existing(hook, "httpGet")) {
                http_get(get);
            }
        }
    }
}

/// Whether an image's tag is `latest`, said or not.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = existing(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let Some(requests) = structure(resources, "requests") else { return };
    for (name, amount) in limits {
        set(requests, &name, amount);
    }
}

fn probe(probe: &mut Map<String, Value>) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        let unset = probe.get(field).is_none_or(|found| found.is_null() || found == 0);
        if unset {
            probe.insert(field.to_owned(), json!(value));
        }
    }
    if let Some(get) = existing(probe, "httpGet") {
        http_get(get);
    }
    if let Some(call) = existing(probe, "grpc") {
        set(call, "service", json!(""));
    }
}

fn http_get(get: &mut Map<String, Value>) {
    set_text(get, "path", "/");
    set_text(get, "scheme", "HTTP");
}

/// `fieldRef` and `resourceFieldRef` of variables and of downward files.
fn field_source(source: &mut Map<String, Value>) {
    if let Some(field) = existing(source, "fieldRef") {
        set_text(field, "apiVersion", "v1");
    }
    if let Some(resource) = existing(source, "resourceFieldRef") {
        set(resource, "divisor", json!("0"));
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.iter().all(|(field, value)| field == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, source) {
            set(source, "defaultMode", json!(FILE_MODE));
        }
    }
    if let Some(source) = existing(volume, "downwardAPI") {
        each(source, "items").for_each(field_source);
    }
    if let Some(projected) = existing(volume, "projected") {
        for source in each(projected, "sources") {
            if let Some(token) = existing(source, "serviceAccountToken") {
                set(token, "expirationSeconds", json!(3600));
            }
            if let Some(files) = existing(source, "downwardAPI") {
                each(files, "items").for_each(field_source);
            }
        }
    }
    if let Some(path) = existing(volume, "hostPath") {
        set(path, "type", json!(""));
    }
    if let Some(target) = existing(volume, "iscsi") {
        set_text(target, "iscsiInterface", "default");
    }
    let claim = existing(volume, "ephemeral").and_then(|source| existing(source, "volumeClaimTemplate"));
    if let Some(spec) = claim.and_then(|claim| existing(claim, "spec")) {
        set_text(spec, "volumeMode", "Filesystem");
    }
}
