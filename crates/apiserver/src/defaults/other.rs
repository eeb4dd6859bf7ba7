//! Services, storage, access and admission.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{each, existing, set, set_text, spec, structure};

pub(super) fn service(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set_text(spec, "type", "ClusterIP");
    set_text(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "ClientIP"
        && let Some(client) =
            structure(spec, "sessionAffinityConfig").and_then(|config| structure(config, "clientIP"))
    {
        set(client, "timeoutSeconds", json!(10_800));
    }
    for port in each(spec, "ports") {
        set_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        let unset = port.get("targetPort").is_none_or(|to| to.is_null() || to == "" || to == 0);
        if unset && !number.is_null() {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let of_type = spec["type"].as_str().unwrap_or_default().to_owned();
    if matches!(of_type.as_str(), "NodePort" | "LoadBalancer") {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if of_type != "ExternalName" {
        set_text(spec, "internalTrafficPolicy", "Cluster");
        set_text(spec, "ipFamilyPolicy", "SingleStack");
        set(spec, "ipFamilies", json!(["IPv4"]));
    }
    if of_type == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

pub(super) fn endpoints(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for subset in each(object, "subsets") {
        for port in each(subset, "ports") {
            set_text(port, "protocol", "TCP");
        }
    }
}

pub(super) fn endpoint_slice(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for port in each(object, "ports") {
        set(port, "name", json!(""));
        set_text(port, "protocol", "TCP");
    }
}

pub(super) fn network_policy(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            for port in each(rule, "ports") {
                set_text(port, "protocol", "TCP");
            }
        }
    }
    let has_egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    set(spec, "policyTypes", if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
}

pub(super) fn secret(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    set_text(object, "type", "Opaque");
    // Plain text is for writers only: it is kept encoded.
    let Some(Value::Object(plain)) = object.shift_remove("stringData") else { return };
    let Some(data) = structure(object, "data") else { return };
    for (key, value) in plain {
        data.insert(key, json!(STANDARD.encode(value.as_str().unwrap_or_default())));
    }
}

pub(super) fn namespace(object: &mut Value) {
    if let Some(status) = object.as_object_mut().and_then(|object| structure(object, "status")) {
        set_text(status, "phase", "Active");
    }
}

pub(super) fn node(object: &mut Value) {
    let Some(status) = object.as_object_mut().and_then(|object| existing(object, "status")) else { return };
    if let Some(capacity) = status.get("capacity").cloned() {
        set(status, "allocatable", capacity);
    }
}

pub(super) fn volume(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    set_text(spec, "volumeMode", "Filesystem");
    if let Some(path) = existing(spec, "hostPath") {
        set(path, "type", json!(""));
    }
    pending(object);
}

pub(super) fn claim(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set_text(spec, "volumeMode", "Filesystem");
    pending(object);
}

fn pending(object: &mut Value) {
    if let Some(status) = object.as_object_mut().and_then(|object| structure(object, "status")) {
        set_text(status, "phase", "Pending");
    }
}

pub(super) fn storage_class(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    set_text(object, "reclaimPolicy", "Delete");
    set_text(object, "volumeBindingMode", "Immediate");
}

pub(super) fn driver(object: &mut Value) {
    let Some(spec) = spec(object) else { return };
    set(spec, "attachRequired", json!(true));
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set(spec, field, json!(false));
    }
    set_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    set(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

pub(super) fn priority_class(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        set_text(object, "preemptionPolicy", "PreemptLowerPriority");
    }
}

pub(super) fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let Some(object) = object.as_object_mut() else { return };
    if let Some(role) = existing(object, "roleRef") {
        set_text(role, "apiGroup", GROUP);
    }
    for subject in each(object, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            set_text(subject, "apiGroup", GROUP);
        }
    }
}

pub(super) fn webhooks(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    let Some(object) = object.as_object_mut() else { return };
    for hook in each(object, "webhooks") {
        set_text(hook, "failurePolicy", "Fail");
        set_text(hook, "matchPolicy", "Equivalent");
        set(hook, "namespaceSelector", json!({}));
        set(hook, "objectSelector", json!({}));
        set(hook, "timeoutSeconds", json!(10));
        if mutating {
            set_text(hook, "reinvocationPolicy", "Never");
        }
        for rule in each(hook, "rules") {
            set_text(rule, "scope", "*");
        }
        if let Some(service) = existing(hook, "clientConfig").and_then(|client| existing(client, "service")) {
            set(service, "port", json!(443));
        }
    }
}
