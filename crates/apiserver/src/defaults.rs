//! Defaults per kind: what a client left out and readers may rely on.
//!
//! An own table, tested against objects as an upstream server stores them. Applying defaults twice changes nothing,
//! and a field that is set (even to an empty text) stays, except where upstream treats empty as not set.
// Compat: kubernetes pkg/apis/*/v1/defaults.go

mod other;
mod pod;
mod workload;

use serde_json::{Map, Value, json};

use crate::Kind;

/// Fills in the defaults of `kind`.
pub fn apply(kind: &Kind, object: &mut Value) {
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(object),
        ("", "PodTemplate") => pod::template(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => workload::autoscaler(object),
        ("", "Service") => other::service(object),
        ("", "Endpoints") => other::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => other::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => other::network_policy(object),
        ("", "Secret") => other::secret(object),
        ("", "Node") => other::node(object),
        ("", "Namespace") => other::namespace(object),
        ("", "PersistentVolume") => other::volume(object),
        ("", "PersistentVolumeClaim") => other::claim(object),
        ("storage.k8s.io", "StorageClass") => other::storage_class(object),
        ("storage.k8s.io", "CSIDriver") => other::driver(object),
        ("scheduling.k8s.io", "PriorityClass") => other::priority_class(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => other::binding(object),
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            other::webhooks(object);
        }
        _ => {}
    }
}

/// Sets a field that is missing or null.
fn set(map: &mut Map<String, Value>, field: &str, value: Value) {
    match map.get_mut(field) {
        Some(Value::Null) | None => {
            map.insert(field.to_owned(), value);
        }
        Some(_) => {}
    }
}

/// Sets a field that is missing, null or an empty text.
fn set_text(map: &mut Map<String, Value>, field: &str, value: &str) {
    let empty = map.get(field).is_none_or(|found| found.is_null() || found == "");
    if empty {
        map.insert(field.to_owned(), json!(value));
    }
}

/// Returns the structure in `field`, made empty when missing; `None` if there is something else.
fn structure<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    set(map, field, json!({}));
    map.get_mut(field)?.as_object_mut()
}

/// Returns the structure in `field` if there is one.
fn existing<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field)?.as_object_mut()
}

/// Returns the structures listed in `field`.
fn each<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Returns the object's spec, made empty when missing.
fn spec(object: &mut Value) -> Option<&mut Map<String, Value>> {
    structure(object.as_object_mut()?, "spec")
}

#[cfg(test)]
mod tests;
