//! Rows of services and what stands behind them.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age::since;
use super::cell::{NONE, UNSET, at, count, first_three, int, labels, list, or, scalar, selector, text};

fn head(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn age(object: &Value, now: OffsetDateTime) -> Value {
    json!(since(at(object, "/metadata/creationTimestamp"), now))
}

fn joined(object: &Value, pointer: &str) -> String {
    list(object, pointer).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

pub(super) const SERVICE: &str = "Name:name|Type|Cluster-IP|External-IP|Port(s)|Age|+Selector";

pub(super) fn service(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let ports: Vec<String> = list(object, "/spec/ports").iter().map(service_port).collect();
    let address = or(text(object, "/spec/clusterIPs/0"), text(object, "/spec/clusterIP"));
    vec![
        head(object),
        json!(text(object, "/spec/type")),
        json!(or(address, NONE)),
        json!(external_address(object)),
        json!(or(&ports.join(","), NONE)),
        age(object, now),
        json!(labels(at(object, "/spec/selector"))),
    ]
}

fn service_port(port: &Value) -> String {
    let (number, node, protocol) = (int(port, "/port"), int(port, "/nodePort"), text(port, "/protocol"));
    if node > 0 { format!("{number}:{node}/{protocol}") } else { format!("{number}/{protocol}") }
}

fn external_address(service: &Value) -> String {
    let external = joined(service, "/spec/externalIPs");
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let balancer = load_balancer(service);
            match (balancer.is_empty(), external.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (false, false) => format!("{balancer},{external}"),
                _ => balancer + &external,
            }
        }
        _ => or(&external, NONE).to_owned(),
    }
}

fn load_balancer(object: &Value) -> String {
    let mut all: Vec<&str> = list(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|one| or(text(one, "/ip"), text(one, "/hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

pub(super) const ENDPOINTS: &str = "Name:name|Endpoints|Age";

pub(super) fn endpoints(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let addresses = list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for port in ports {
            let number = int(port, "/port");
            all.extend(addresses.clone().map(|address| with_port(address, number)));
        }
    }
    vec![head(object), json!(first_three(&all, NONE)), age(object, now)]
}

fn with_port(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) const ENDPOINT_SLICE: &str = "Name:name|AddressType|Ports|Endpoints|Age";

pub(super) fn endpoint_slice(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let ports: Vec<String> = list(object, "/ports")
        .iter()
        .map(|port| match at(port, "/port").as_i64() {
            Some(number) => number.to_string(),
            None => or(text(port, "/name"), "*").to_owned(),
        })
        .collect();
    let addresses: Vec<String> = list(object, "/endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "/addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    vec![
        head(object),
        json!(text(object, "/addressType")),
        json!(first_three(&ports, UNSET)),
        json!(first_three(&addresses, UNSET)),
        age(object, now),
    ]
}

pub(super) const INGRESS: &str = "Name:name|Class|Hosts|Address|Ports|Age";

pub(super) fn ingress(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let hosts: Vec<String> = list(object, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    vec![
        head(object),
        json!(or(text(object, "/spec/ingressClassName"), NONE)),
        json!(first_three(&hosts, "*")),
        json!(load_balancer(object)),
        json!(if count(object, "/spec/tls") > 0 { "80, 443" } else { "80" }),
        age(object, now),
    ]
}

pub(super) const INGRESS_CLASS: &str = "Name:name|Controller|Parameters|Age";

pub(super) fn ingress_class(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let parameters = at(object, "/spec/parameters");
    let parameters = if parameters.is_null() {
        NONE.to_owned()
    } else {
        let kind = text(parameters, "/kind");
        let group = text(parameters, "/apiGroup");
        let name = text(parameters, "/name");
        if group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{group}/{name}") }
    };
    vec![head(object), json!(text(object, "/spec/controller")), json!(parameters), age(object, now)]
}

pub(super) const NETWORK_POLICY: &str = "Name:name|Pod-Selector|Age";

pub(super) fn network_policy(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    vec![head(object), json!(selector(at(object, "/spec/podSelector"))), age(object, now)]
}

pub(super) const IP_ADDRESS: &str = "Name:name|ParentRef";

pub(super) fn ip_address(object: &Value, _now: OffsetDateTime) -> Vec<Value> {
    let parent = at(object, "/spec/parentRef");
    let parts: Vec<&str> = ["/group", "/resource", "/namespace", "/name"]
        .iter()
        .map(|field| text(parent, field))
        .filter(|part| !part.is_empty())
        .collect();
    vec![head(object), json!(or(&parts.join("/"), NONE))]
}

pub(super) const SERVICE_CIDR: &str = "Name:name|CIDRs|Age";

pub(super) fn service_cidr(object: &Value, now: OffsetDateTime) -> Vec<Value> {
    let ranges: Vec<String> = list(object, "/spec/cidrs").iter().map(scalar).collect();
    vec![head(object), json!(ranges.join(",")), age(object, now)]
}
