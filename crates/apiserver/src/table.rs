//! Server-side printing: objects as rows of a `metav1.Table`, the way `kubectl get` shows them.
//!
//! A kind has a line of column names and a function that makes the cells; kinds without an entry show their name and
//! creation time. Columns and their order are what upstream's clients and scripts expect.
// Compat: kubernetes pkg/printers/internalversion

pub(crate) mod age;
mod cell;
mod core;
mod network;
mod pod;
mod policy;
mod storage;
mod workload;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::Kind;

/// What the rows of a table carry besides cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// How a table is rendered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// What the rows carry.
    pub include: IncludeObject,
    /// Leave out the column definitions (second and later events of a watch).
    pub no_headers: bool,
}

/// Renders `objects` as a `metav1.Table`. The caller sets `metadata`.
pub fn render(kind: &Kind, objects: &[Value], now: OffsetDateTime, options: TableOptions) -> Value {
    let (columns, cells) = printer(kind.group, kind.kind);
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = Map::new();
            row.insert("cells".to_owned(), Value::Array(cells(object, now)));
            if let Some(conditions) = (kind.kind == "Pod").then(|| pod::conditions(object)).flatten() {
                row.insert("conditions".to_owned(), conditions);
            }
            match options.include {
                IncludeObject::None => {}
                IncludeObject::Metadata => {
                    row.insert("object".to_owned(), partial(object));
                }
                IncludeObject::Object => {
                    row.insert("object".to_owned(), object.clone());
                }
            }
            Value::Object(row)
        })
        .collect();
    let columns = if options.no_headers { Vec::new() } else { definitions(columns) };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Reads a line of columns: names separated by `|`, `+` before one that only wide output shows, `:type` after one
/// that is no string.
fn definitions(columns: &str) -> Vec<Value> {
    columns
        .split('|')
        .map(|column| {
            let (column, priority) = column.strip_prefix('+').map_or((column, 0), |rest| (rest, 1));
            let (name, kind) = column.split_once(':').unwrap_or((column, "string"));
            let (kind, format) = if kind == "name" { ("string", "name") } else { (kind, "") };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
        })
        .collect()
}

type Cells = fn(&Value, OffsetDateTime) -> Vec<Value>;

fn printer(group: &str, kind: &str) -> (&'static str, Cells) {
    match (group, kind) {
        ("", "Pod") => (pod::COLUMNS, pod::row),
        ("apps", "Deployment") => (workload::DEPLOYMENT, workload::deployment),
        ("apps", "ReplicaSet") => (workload::REPLICA_SET, workload::replica_set),
        ("apps", "StatefulSet") => (workload::STATEFUL_SET, workload::stateful_set),
        ("apps", "DaemonSet") => (workload::DAEMON_SET, workload::daemon_set),
        ("apps", "ControllerRevision") => (workload::CONTROLLER_REVISION, workload::controller_revision),
        ("batch", "Job") => (workload::JOB, workload::job),
        ("batch", "CronJob") => (workload::CRON_JOB, workload::cron_job),
        ("", "ReplicationController") => (workload::REPLICA_SET, workload::replication_controller),
        ("", "PodTemplate") => (workload::POD_TEMPLATE, workload::pod_template),
        ("autoscaling", _) => (workload::AUTOSCALER, workload::autoscaler),
        ("policy", "PodDisruptionBudget") => (workload::DISRUPTION_BUDGET, workload::disruption_budget),
        ("", "Service") => (network::SERVICE, network::service),
        ("", "Endpoints") => (network::ENDPOINTS, network::endpoints),
        ("discovery.k8s.io", "EndpointSlice") => (network::ENDPOINT_SLICE, network::endpoint_slice),
        ("networking.k8s.io", "Ingress") => (network::INGRESS, network::ingress),
        ("networking.k8s.io", "IngressClass") => (network::INGRESS_CLASS, network::ingress_class),
        ("networking.k8s.io", "NetworkPolicy") => (network::NETWORK_POLICY, network::network_policy),
        ("networking.k8s.io", "IPAddress") => (network::IP_ADDRESS, network::ip_address),
        ("networking.k8s.io", "ServiceCIDR") => (network::SERVICE_CIDR, network::service_cidr),
        ("", "Node") => (core::NODE, core::node),
        ("", "Namespace") => (core::NAMESPACE, core::namespace),
        ("" | "events.k8s.io", "Event") => (core::EVENT, core::event),
        ("", "ConfigMap") => (core::CONFIG_MAP, core::config_map),
        ("", "Secret") => (core::SECRET, core::secret),
        ("", "ServiceAccount") | ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => {
            (core::NAME_AND_AGE, core::name_and_age)
        }
        ("", "ResourceQuota") => (core::RESOURCE_QUOTA, core::resource_quota),
        ("", "ComponentStatus") => (core::COMPONENT_STATUS, core::component_status),
        ("coordination.k8s.io", "Lease") => (core::LEASE, core::lease),
        ("", "PersistentVolume") => (storage::VOLUME, storage::volume),
        ("", "PersistentVolumeClaim") => (storage::CLAIM, storage::claim),
        ("storage.k8s.io", "StorageClass") => (storage::CLASS, storage::class),
        ("storage.k8s.io", "VolumeAttachment") => (storage::ATTACHMENT, storage::attachment),
        ("storage.k8s.io", "CSIDriver") => (storage::DRIVER, storage::driver),
        ("storage.k8s.io", "CSINode") => (storage::STORAGE_NODE, storage::storage_node),
        ("storage.k8s.io", "VolumeAttributesClass") => (storage::ATTRIBUTES_CLASS, storage::attributes_class),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            (policy::BINDING, policy::binding)
        }
        ("scheduling.k8s.io", "PriorityClass") => (policy::PRIORITY_CLASS, policy::priority_class),
        ("node.k8s.io", "RuntimeClass") => (policy::RUNTIME_CLASS, policy::runtime_class),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            (policy::SIGNING_REQUEST, policy::signing_request)
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            (policy::WEBHOOKS, policy::webhooks)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            (policy::VALIDATING_POLICY, policy::validating_policy)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            (policy::MUTATING_POLICY, policy::mutating_policy)
        }
        ("admissionregistration.k8s.io", _) => (policy::POLICY_BINDING, policy::policy_binding),
        ("apiregistration.k8s.io", "APIService") => (policy::API_SERVICE, policy::api_service),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => (policy::FLOW_SCHEMA, policy::flow_schema),
        ("flowcontrol.apiserver.k8s.io", _) => (policy::PRIORITY_LEVEL, policy::priority_level),
        ("resource.k8s.io", "ResourceClaim") => (policy::RESOURCE_CLAIM, policy::resource_claim),
        ("resource.k8s.io", "ResourceSlice") => (policy::RESOURCE_SLICE, policy::resource_slice),
        _ => (policy::CREATED_AT, policy::created_at),
    }
}

#[cfg(test)]
mod tests;
