//! The environment of a container: `env`, `envFrom`, what the image sets and what Kubernetes adds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::milli;

/// What is known about a pod beside its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Its address.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
    /// The node's name.
    pub node_name: String,
    /// The node's processors, in thousandths.
    pub node_cpu: u64,
    /// The node's memory, in bytes.
    pub node_memory: u64,
    /// Host and port of the API server, as pods see them.
    pub api_service: Option<(String, u16)>,
}

/// Objects that a pod refers to; missing ones are absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// ConfigMaps by name.
    pub config_maps: HashMap<String, ConfigMap>,
    /// Secrets by name.
    pub secrets: HashMap<String, Secret>,
    /// Services of the namespace.
    pub services: Vec<Service>,
    /// Bound tokens by the path they are mounted at, `VOLUME/PATH`.
    pub tokens: HashMap<String, String>,
}

/// Returns the names of the ConfigMaps and the Secrets that containers' environments need.
pub(crate) fn referenced(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let Some(spec) = &pod.spec else { return (maps, secrets) };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for from in container.env_from.iter().flatten() {
            maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
            secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
        }
        let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        for source in sources {
            maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
            secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
        }
    }
    (maps, secrets)
}

/// Returns the environment as `NAME=value`; the error says what is missing.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    image_env: &[String],
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<String>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut set = |name: String, value: String| match found.iter_mut().find(|(known, _)| *known == name) {
        Some(entry) => entry.1 = value,
        None => found.push((name, value)),
    };
    for entry in image_env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(name.to_owned(), value.to_owned());
    }
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    let mut services = service_variables(if links { &sources.services } else { &[] }, facts);
    services.iter().for_each(|(name, value)| set(name.clone(), value.clone()));
    // What `$(NAME)` may refer to: services and what was defined before.
    let mut known: HashMap<String, String> = services.drain(..).collect();
    for (name, value) in from_whole_objects(pod, container, sources)? {
        known.insert(name.clone(), value.clone());
        set(name, value);
    }
    for variable in container.env.iter().flatten() {
        let Some(value) = value_of(pod, container, variable, sources, (facts, &known))? else { continue };
        known.insert(variable.name.clone(), value.clone());
        set(variable.name.clone(), value);
    }
    Ok(found.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn from_whole_objects(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    found.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(format!(
                        "configmap \"{}\" not found in namespace {namespace}",
                        reference.name
                    ));
                }
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    found.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
                }
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(format!("secret \"{}\" not found in namespace {namespace}", reference.name));
                }
            }
        }
    }
    found.retain(|(name, _)| !name.is_empty() && !name.contains(['=', '\0']));
    Ok(found)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    sources: &Sources,
    (facts, known): (&Facts, &HashMap<String, String>),
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), |name| {
            known.get(name).cloned()
        })));
    };
    let EnvVarSource { config_map_key_ref, secret_key_ref, field_ref, resource_field_ref, .. } = from;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(reference) = config_map_key_ref {
        let map = sources.config_maps.get(&reference.name);
        let value = map.and_then(|map| map.data.as_ref()).and_then(|data| data.get(&reference.key)).cloned();
        return match (value, map, reference.optional) {
            (Some(value), ..) => Ok(Some(value)),
            (None, _, Some(true)) => Ok(None),
            (None, None, _) => Err(format!("configmap \"{}\" not found", reference.name)),
            (None, ..) => Err(format!(
                "couldn't find key {} in ConfigMap {namespace}/{}",
                reference.key, reference.name
            )),
        };
    }
    if let Some(reference) = secret_key_ref {
        let secret = sources.secrets.get(&reference.name);
        let value = secret.and_then(|secret| secret.data.as_ref()).and_then(|data| data.get(&reference.key));
        return match (value, secret, reference.optional) {
            (Some(value), ..) => Ok(Some(text(&value.0))),
            (None, _, Some(true)) => Ok(None),
            (None, None, _) => Err(format!("secret \"{}\" not found", reference.name)),
            (None, ..) => {
                Err(format!("couldn't find key {} in Secret {namespace}/{}", reference.key, reference.name))
            }
        };
    }
    if let Some(reference) = field_ref {
        return field(pod, facts, &reference.field_path).map(Some);
    }
    if let Some(reference) = resource_field_ref {
        let divisor = reference.divisor.as_ref();
        return resource_field(container, &reference.resource, divisor, facts).map(Some);
    }
    Err(format!("the source of variable {} is not available yet", variable.name))
}

/// Returns a field of a pod, as `fieldRef` names it.
pub(crate) fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let entry = |map: Option<&BTreeMap<String, String>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let lines = |map: Option<&BTreeMap<String, String>>| {
        let lines: Vec<_> =
            map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
        lines.join("\n")
    };
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(lines(meta.labels.as_ref())),
        "metadata.annotations" => Some(lines(meta.annotations.as_ref())),
        "spec.nodeName" => Some(facts.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(facts.pod_ip.clone()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host_ip.clone()),
        _ => {
            let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']").map(ToOwned::to_owned);
            if let Some(key) = key("metadata.labels['") {
                Some(entry(meta.labels.as_ref(), &key).unwrap_or_default())
            } else if let Some(key) = key("metadata.annotations['") {
                Some(entry(meta.annotations.as_ref(), &key).unwrap_or_default())
            } else {
                return Err(format!("unsupported fieldPath: {path}"));
            }
        }
    };
    Ok(value.unwrap_or_default())
}

/// Returns a limit or request of a container in units of `divisor`; the node's own where there is no limit.
pub(crate) fn resource_field(
    container: &Container,
    resource: &str,
    divisor: Option<&Quantity>,
    facts: &Facts,
) -> Result<String, String> {
    let resources = container.resources.clone().unwrap_or_default();
    let (list, name) = match resource.split_once('.') {
        Some(("limits", name)) => (resources.limits, name),
        Some(("requests", name)) => (resources.requests, name),
        _ => return Err(format!("unsupported container resource: {resource}")),
    };
    let found = list.as_ref().and_then(|list| list.get(name)).and_then(milli);
    let is_limit = resource.starts_with("limits.");
    let amount = match (found, name) {
        (Some(found), _) => found,
        (None, "cpu") if is_limit => facts.node_cpu,
        (None, "memory") if is_limit => facts.node_memory.saturating_mul(1000),
        (None, "cpu" | "memory" | "ephemeral-storage") => 0,
        _ => return Err(format!("unsupported container resource: {resource}")),
    };
    let divisor = divisor.and_then(milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok(amount.div_ceil(divisor).to_string())
}

/// Replaces `$(NAME)`; `$$` is a dollar sign and what nobody knows stays as it is.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => result.push_str(&value),
                None => result.push_str(&rest[at..at + 3 + name.len()]),
            }
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

/// Returns the variables that tell where services are.
fn service_variables(services: &[Service], facts: &Facts) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |name: &str, address: &str, ports: &[(Option<String>, i32, String)]| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        let Some((_, first, _)) = ports.first() else { return };
        found.push((format!("{name}_SERVICE_HOST"), address.to_owned()));
        found.push((format!("{name}_SERVICE_PORT"), first.to_string()));
        for (port_name, port, _) in ports {
            if let Some(port_name) = port_name {
                let port_name = port_name.to_ascii_uppercase().replace('-', "_");
                found.push((format!("{name}_SERVICE_PORT_{port_name}"), port.to_string()));
            }
        }
        for (index, (_, port, protocol)) in ports.iter().enumerate() {
            let scheme = protocol.to_ascii_lowercase();
            let url = format!("{scheme}://{address}:{port}");
            if index == 0 {
                found.push((format!("{name}_PORT"), url.clone()));
            }
            let prefix = format!("{name}_PORT_{port}_{protocol}");
            found.push((prefix.clone(), url));
            found.push((format!("{prefix}_PROTO"), scheme));
            found.push((format!("{prefix}_PORT"), port.to_string()));
            found.push((format!("{prefix}_ADDR"), address.to_owned()));
        }
    };
    if let Some((host, port)) = &facts.api_service {
        add("kubernetes", host, &[(Some("https".to_owned()), i32::from(*port), "TCP".to_owned())]);
    }
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let address = spec.cluster_ip.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let is_api = name == "kubernetes" && service.metadata.namespace.as_deref() == Some("default");
        if address.is_empty() || address == "None" || is_api {
            continue;
        }
        let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let ports = spec.ports.iter().flatten();
        let ports: Vec<_> =
            ports.map(|port| (port.name.clone(), port.port, protocol(&port.protocol))).collect();
        add(name, address, &ports);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod() -> Pod {
        from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}}, "spec": {"containers": []}}))
            .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            pod_ip: "10.0.0.2".to_owned(),
            host_ip: "10.0.0.1".to_owned(),
            node_name: "n".to_owned(),
            node_cpu: 2000,
            node_memory: 1 << 30,
            api_service: None,
        }
    }

    fn sources() -> Sources {
        let map = json!({"metadata": {"name": "m"}, "data": {"K": "V"}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"P": "cHc="}});
        Sources {
            config_maps: HashMap::from([("m".to_owned(), from_value(map).unwrap())]),
            secrets: HashMap::from([("s".to_owned(), from_value(secret).unwrap())]),
            ..Sources::default()
        }
    }

    fn of(container: Value, image: &[&str]) -> Result<Vec<String>, String> {
        let container: Container = from_value(container).unwrap();
        let image: Vec<String> = image.iter().map(ToString::to_string).collect();
        environment(&pod(), &container, &image, &sources(), &facts())
    }

    #[test]
    fn variables_come_from_everywhere() {
        let reference = |value: Value| json!({"name": "c", "env": [{"name": "X", "valueFrom": value}]});
        let cases = [
            ("plain", json!({"name": "c", "env": [{"name": "X", "value": "1"}]}), Ok("X=1")),
            ("field", reference(json!({"fieldRef": {"fieldPath": "metadata.namespace"}})), Ok("X=ns")),
            ("label", reference(json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}})), Ok("X=web")),
            ("address", reference(json!({"fieldRef": {"fieldPath": "status.podIP"}})), Ok("X=10.0.0.2")),
            ("config map", reference(json!({"configMapKeyRef": {"name": "m", "key": "K"}})), Ok("X=V")),
            ("secret", reference(json!({"secretKeyRef": {"name": "s", "key": "P"}})), Ok("X=pw")),
            (
                "the node's memory",
                reference(json!({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}})),
                Ok("X=1024"),
            ),
            (
                "whole config map",
                json!({"name": "c", "envFrom": [{"prefix": "A_", "configMapRef": {"name": "m"}}]}),
                Ok("A_K=V"),
            ),
            (
                "no such config map",
                reference(json!({"configMapKeyRef": {"name": "x", "key": "K"}})),
                Err("configmap \"x\" not found"),
            ),
            (
                "no such key",
                reference(json!({"secretKeyRef": {"name": "s", "key": "Q"}})),
                Err("couldn't find key Q in Secret ns/s"),
            ),
            (
                "no such field",
                reference(json!({"fieldRef": {"fieldPath": "spec.x"}})),
                Err("unsupported fieldPath: spec.x"),
            ),
        ];
        for (name, container, want) in cases {
            let want = want.map(|want| vec![want.to_owned()]).map_err(ToOwned::to_owned);
            assert_eq!(of(container, &[]), want, "case {name}");
        }
        let optional = json!({"name": "c", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "K", "optional": true}}}]});
        assert_eq!(of(optional, &[]), Ok(vec![]));
    }

    #[test]
    fn the_pod_wins_over_the_image_and_refers_to_what_came_before() {
        let container = json!({"name": "c", "env": [
            {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}, {"name": "PATH", "value": "/x"},
        ]});
        let got = of(container, &["PATH=/bin", "HOME=/"]).unwrap();
        assert_eq!(got, ["PATH=/x", "HOME=/", "A=1", "B=1-$(C)-$(A)"]);
    }

    #[test]
    fn expansion_is_upstreams() {
        let cases = [
            ("$(A)", "1"),
            ("x$(A)y", "x1y"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)", "$(B)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
        ];
        for (text, want) in cases {
            assert_eq!(expand(text, |name| (name == "A").then(|| "1".to_owned())), want, "case {text}");
        }
    }

    #[test]
    fn services_are_found_by_variables() {
        let service: Service = from_value(json!({"metadata": {"name": "my-db", "namespace": "ns"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}]}}))
        .unwrap();
        let facts = Facts { api_service: Some(("10.96.0.1".to_owned(), 443)), ..facts() };
        let found = service_variables(&[service], &facts);
        let get = |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(get("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
        assert_eq!(get("KUBERNETES_SERVICE_PORT_HTTPS"), Some("443"));
        assert_eq!(get("KUBERNETES_PORT_443_TCP"), Some("tcp://10.96.0.1:443"));
        assert_eq!(get("MY_DB_SERVICE_PORT"), Some("5432"));
        assert_eq!(get("MY_DB_PORT_5432_TCP_ADDR"), Some("10.96.0.9"));
    }
}
