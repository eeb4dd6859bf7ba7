//! What stands behind a Service, decided from its pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::owners::controller_reference;

/// Names the Service of a slice.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Names the slice's writer.
const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Most endpoints of one slice.
const SLICE_MAX: usize = 100;

/// One step towards the wanted state.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Create a slice.
    Create(Box<EndpointSlice>),
    /// Give a slice other contents.
    Patch { name: String, ports: Vec<EndpointPort>, endpoints: Vec<Endpoint> },
    /// Delete a slice.
    Delete(String),
}

/// The numbers that a Service's ports have on one group of pods: name, number, protocol, application protocol.
type Ports = Vec<(Option<String>, i32, String, Option<String>)>;

/// Returns whether we write this slice for the Service.
pub(super) fn is_ours(slice: &EndpointSlice, service: &str) -> bool {
    let label = |key: &str| slice.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    label(SERVICE_LABEL).is_some_and(|name| name == service)
        && label(MANAGER_LABEL).is_some_and(|name| name == MANAGER)
}

/// Returns the steps that make the slices say what the pods are.
pub(super) fn plan(service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let mut wanted = Vec::new();
    for (ports, pods) in grouped(service, pods) {
        let ports: Vec<EndpointPort> = ports.into_iter().map(slice_port).collect();
        let endpoints: Vec<Endpoint> = pods.iter().map(|pod| endpoint(pod, service)).collect();
        wanted.extend(endpoints.chunks(SLICE_MAX).map(|part| (ports.clone(), part.to_vec())));
    }
    if wanted.is_empty() {
        let ports =
            service_ports(service).iter().filter_map(|port| port_on(port, None)).map(slice_port).collect();
        wanted.push((ports, Vec::new()));
    }
    let mut actions = Vec::new();
    let mut free: Vec<&Arc<EndpointSlice>> = slices.iter().collect();
    for (ports, endpoints) in wanted {
        let same_ports = free.iter().position(|slice| slice.ports.as_ref() == Some(&ports));
        let found =
            same_ports.or(if free.is_empty() { None } else { Some(0) }).map(|index| free.remove(index));
        match found {
            Some(slice)
                if slice.ports.as_ref() == Some(&ports) && same(slice.endpoints.as_deref(), &endpoints) => {}
            Some(slice) => {
                let name = slice.metadata.name.clone().unwrap_or_default();
                actions.push(Action::Patch { name, ports, endpoints });
            }
            None => actions.push(Action::Create(Box::new(slice_of(service, ports, endpoints)))),
        }
    }
    actions.extend(free.iter().map(|slice| Action::Delete(slice.metadata.name.clone().unwrap_or_default())));
    actions
}

/// Returns whether two lists of endpoints mean the same.
fn same(found: Option<&[Endpoint]>, wanted: &[Endpoint]) -> bool {
    found.unwrap_or_default() == wanted
}

/// Returns the older form of the same.
pub(super) fn endpoints_of(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let mut subsets = Vec::new();
    for (ports, pods) in grouped(service, pods) {
        let address = |pod: &&Arc<Pod>| EndpointAddress {
            ip: pod_ip(pod).unwrap_or_default().to_owned(),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(reference(pod)),
            hostname: hostname(pod, service),
        };
        let alive = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let (ready, waiting): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            alive.partition(|pod| is_ready(pod) || publishes_unready(service));
        let list = |pods: Vec<&Arc<Pod>>| {
            let list: Vec<_> = pods.iter().map(address).collect();
            (!list.is_empty()).then_some(list)
        };
        if ready.is_empty() && waiting.is_empty() {
            continue;
        }
        let ports = ports.into_iter().map(|(name, port, protocol, app_protocol)| CorePort {
            name: name.filter(|name| !name.is_empty()),
            port,
            protocol: Some(protocol),
            app_protocol,
        });
        subsets.push(EndpointSubset {
            addresses: list(ready),
            not_ready_addresses: list(waiting),
            ports: Some(ports.collect()),
        });
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: service.metadata.labels.clone(),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// Groups the pods that have an address by the numbers that the Service's ports have on them.
fn grouped<'a>(service: &Service, pods: &'a [Arc<Pod>]) -> BTreeMap<Ports, Vec<&'a Arc<Pod>>> {
    let mut groups = BTreeMap::<Ports, Vec<&Arc<Pod>>>::new();
    for pod in pods.iter().filter(|pod| pod_ip(pod).is_some() && !is_over(pod)) {
        let ports = service_ports(service).iter().filter_map(|port| port_on(port, Some(pod))).collect();
        groups.entry(ports).or_default().push(pod);
    }
    groups
}

fn service_ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// Returns what a Service's port is on a pod; `None` if the pod has no port of that name.
fn port_on(port: &ServicePort, pod: Option<&Pod>) -> Option<(Option<String>, i32, String, Option<String>)> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod?.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let wanted = |found: &&k8s_openapi::api::core::v1::ContainerPort| {
                found.name.as_ref() == Some(name) && found.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            ports.find(wanted)?.container_port
        }
    };
    let name = Some(port.name.clone().unwrap_or_default());
    Some((name, number, protocol, port.app_protocol.clone()))
}

fn slice_port(
    (name, port, protocol, app_protocol): (Option<String>, i32, String, Option<String>),
) -> EndpointPort {
    EndpointPort { name, port: Some(port), protocol: Some(protocol), app_protocol }
}

fn pod_ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|address| !address.is_empty())
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    (spec.subdomain.is_some() && spec.subdomain == service.metadata.name).then(|| spec.hostname.clone())?
}

fn endpoint(pod: &Pod, service: &Service) -> Endpoint {
    let ending = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    Endpoint {
        addresses: pod_ip(pod).map(ToOwned::to_owned).into_iter().collect(),
        conditions: Some(EndpointConditions {
            ready: Some((serving && !ending) || publishes_unready(service)),
            serving: Some(serving),
            terminating: Some(ending),
        }),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(reference(pod)),
        hostname: hostname(pod, service),
        ..Endpoint::default()
    }
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn slice_of(service: &Service, ports: Vec<EndpointPort>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.to_owned(), name.clone());
    labels.insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports),
        endpoints: Some(endpoints),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn service(target: Value) -> Service {
        from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": target, "protocol": "TCP"}]},
        }))
        .unwrap()
    }

    fn pod(name: &str, address: Option<&str>, ready: bool, port: i32) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
        });
        Arc::new(from_value(pod).unwrap())
    }

    fn created(actions: Vec<Action>) -> Vec<EndpointSlice> {
        let slice = |action| match action {
            Action::Create(slice) => *slice,
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(slice).collect()
    }

    #[test]
    fn pods_with_an_address_stand_behind_their_service() {
        let pods = [
            pod("a", Some("10.0.0.1"), true, 5000),
            pod("b", Some("10.0.0.2"), false, 5000),
            pod("c", None, false, 5000),
        ];
        let slices = created(plan(&service(json!("http")), &pods, &[]));
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(5000));
        let ready: Vec<_> =
            slices[0].endpoints.iter().flatten().map(|e| e.conditions.as_ref().unwrap().ready).collect();
        assert_eq!(ready, [Some(true), Some(false)]);
        let subsets = endpoints_of(&service(json!("http")), &pods).subsets.unwrap();
        assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
        assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
    }

    #[test]
    fn a_named_port_may_differ_between_pods() {
        let pods = [pod("a", Some("10.0.0.1"), true, 1), pod("b", Some("10.0.0.2"), true, 2)];
        assert_eq!(created(plan(&service(json!("http")), &pods, &[])).len(), 2);
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let pods = [pod("a", Some("10.0.0.1"), true, 1)];
        for pods in [&pods[..], &[]] {
            let slices: Vec<_> =
                created(plan(&service(json!(1)), pods, &[])).into_iter().map(Arc::new).collect();
            assert_eq!(plan(&service(json!(1)), pods, &slices), []);
        }
    }

    #[test]
    fn slices_that_are_too_many_go() {
        let mut slices = created(plan(&service(json!("http")), &[pod("a", Some("10.0.0.1"), true, 1)], &[]));
        slices[0].metadata.name = Some("web-1".to_owned());
        let mut other = slices[0].clone();
        other.metadata.name = Some("web-2".to_owned());
        let slices = [Arc::new(slices.remove(0)), Arc::new(other)];
        let pods = [pod("a", Some("10.0.0.1"), true, 1)];
        assert_eq!(plan(&service(json!("http")), &pods, &slices), [Action::Delete("web-2".to_owned())]);
    }
}
