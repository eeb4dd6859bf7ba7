//! What the server adds or refuses on its own: namespaces, service accounts, priorities, service addresses.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::{Value, json};

use crate::call::Call;
use crate::object::{meta, random_suffix};
use crate::server::Api;
use crate::status::Status;
use crate::{Kind, kind_of};

/// Namespaces that cannot be deleted.
pub(crate) const PERMANENT: &[&str] = &["default", "kube-system", "kube-public"];

/// Admits a new object.
pub(crate) fn create(api: &Api, call: &Call, object: &mut Value) -> Result<(), Status> {
    if let Some(namespace) = &call.namespace {
        check_namespace(api, call.kind, meta(object, "name"), namespace)?;
    }
    match call.kind.kind {
        "Pod" => pod(api, call, object),
        "Service" => service(api, call.kind, object),
        "Namespace" => {
            let name = meta(object, "name").to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Admits a change.
pub(crate) fn update(call: &Call, old: &Value, new: &mut Value) -> Result<(), Status> {
    if call.kind.kind == "Service" && call.subresource.is_none() {
        // Allocated addresses stay when a client sends the object without them.
        for field in ["clusterIP", "clusterIPs"] {
            let kept = !old["spec"][field].is_null() && new["spec"]["type"] != "ExternalName";
            if kept && new["spec"][field].is_null() {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
        keep_node_ports(old, new);
    }
    if call.kind.kind == "Namespace" && call.subresource.is_none() {
        let name = meta(new, "name").to_owned();
        new["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
    }
    // What a node reports about addresses is dialled by the server: only the node itself may say it.
    if call.subresource.as_deref() == Some("status") && call.kind.kind == "Pod" {
        let changed = old["status"]["podIP"] != new["status"]["podIP"]
            || old["status"]["podIPs"] != new["status"]["podIPs"];
        if changed && !call.identity.is_in("system:nodes") && !call.identity.is_in("system:masters") {
            return Err(Status::forbidden(call.kind, call.name(), "only the node may set the pod's address"));
        }
    }
    Ok(())
}

/// Refuses a deletion.
pub(crate) fn delete(call: &Call) -> Result<(), Status> {
    if call.kind.kind == "Namespace" && PERMANENT.contains(&call.name()) {
        return Err(Status::forbidden(call.kind, call.name(), "this namespace may not be deleted"));
    }
    Ok(())
}

fn check_namespace(api: &Api, kind: &Kind, name: &str, namespace: &str) -> Result<(), Status> {
    let Some(namespaces) = kind_of("", "v1", "namespaces") else { return Ok(()) };
    let Some(stored) = api.store.get(namespaces, namespace) else {
        return Err(Status::not_found(namespaces, namespace));
    };
    // Events about the end of things are still wanted.
    if kind.kind == "Event" {
        return Ok(());
    }
    if meta(&stored.value(), "deletionTimestamp").is_empty() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(kind, name, &why);
    if let Some(details) = status.details.as_mut() {
        details["causes"] = json!([{"reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
    }
    Err(status)
}

fn pod(api: &Api, call: &Call, object: &mut Value) -> Result<(), Status> {
    object["status"] = json!({"phase": "Pending", "qosClass": qos_class(&object["spec"])});
    if !object["spec"].is_object() {
        // Validation names what is missing.
        return Ok(());
    }
    let namespace = call.namespace.as_deref().unwrap_or_default();
    let spec = &mut object["spec"];
    let account = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|field| spec[*field].as_str().filter(|name| !name.is_empty()))
        .unwrap_or("default")
        .to_owned();
    spec["serviceAccountName"] = account.as_str().into();
    spec["serviceAccount"] = account.as_str().into();
    let kind = kind_of("", "v1", "serviceaccounts").ok_or_else(Status::no_such_path)?;
    let found = api.store.get(kind, &format!("{namespace}/{account}")).map(|stored| stored.value());
    if found.is_none() && account != "default" {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
        );
        return Err(Status::forbidden(call.kind, meta(object, "name"), &why));
    }
    let found = found.unwrap_or_default();
    let mount = spec["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| found["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if mount {
        mount_token(spec);
    }
    if spec["imagePullSecrets"].is_null() && found["imagePullSecrets"].is_array() {
        spec["imagePullSecrets"] = found["imagePullSecrets"].clone();
    }
    priority(api, call, object)?;
    tolerations(&mut object["spec"]);
    Ok(())
}

fn mount_token(spec: &mut Value) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{}", random_suffix(5));
    let mut used = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let taken =
                container["volumeMounts"].as_array().into_iter().flatten().any(|m| m["mountPath"] == PATH);
            if !container.is_object() || taken {
                continue;
            }
            used = true;
            let mount = json!({"mountPath": PATH, "name": name, "readOnly": true});
            match container["volumeMounts"].as_array_mut() {
                Some(mounts) => mounts.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
        }
    }
    if !used {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [
            {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}}]}});
    match spec["volumes"].as_array_mut() {
        Some(volumes) => volumes.push(volume),
        None => spec["volumes"] = json!([volume]),
    }
}

fn priority(api: &Api, call: &Call, object: &mut Value) -> Result<(), Status> {
    let name = object["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let (value, policy) = match name.as_str() {
        "" => (0, None),
        "system-node-critical" => (2_000_001_000, None),
        "system-cluster-critical" => (2_000_000_000, None),
        other => {
            let class = kind_of("scheduling.k8s.io", "v1", "priorityclasses")
                .and_then(|kind| api.store.get(kind, other))
                .map(|stored| stored.value());
            let Some(class) = class else {
                let why = format!("no PriorityClass with name {other} was found");
                return Err(Status::forbidden(call.kind, meta(object, "name"), &why));
            };
            (class["value"].as_i64().unwrap_or(0), class["preemptionPolicy"].as_str().map(str::to_owned))
        }
    };
    object["spec"]["priority"] = value.into();
    object["spec"]["preemptionPolicy"] = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned()).into();
    Ok(())
}

fn tolerations(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    let Some(list) = spec["tolerations"].as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list.iter().any(|t| {
            let effect = t["effect"].as_str().unwrap_or_default();
            let of = t["key"].as_str().unwrap_or_default();
            (effect.is_empty() || effect == "NoExecute")
                && (of == key || (of.is_empty() && t["operator"] == "Exists"))
        });
        if !tolerated {
            list.push(
                json!({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}),
            );
        }
    }
}

/// Returns the quality-of-service class of a pod.
fn qos_class(spec: &Value) -> &'static str {
    let containers = spec["containers"].as_array().into_iter().flatten();
    let containers: Vec<&Value> =
        containers.chain(spec["initContainers"].as_array().into_iter().flatten()).collect();
    let amount =
        |c: &Value, what: &str, of: &str| c["resources"][what].get(of).cloned().filter(|v| !v.is_null());
    let any = containers.iter().any(|c| {
        ["requests", "limits"]
            .iter()
            .any(|what| ["cpu", "memory"].iter().any(|of| amount(c, what, of).is_some()))
    });
    let all = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|of| {
            let limit = amount(c, "limits", of);
            let request = amount(c, "requests", of);
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn service(api: &Api, kind: &Kind, object: &mut Value) -> Result<(), Status> {
    object["status"] = json!({"loadBalancer": {}});
    let spec = &mut object["spec"];
    let of_type = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if of_type == "ExternalName" || !spec.is_object() {
        return Ok(());
    }
    let taken: Vec<Value> = api.store.list(kind, "", None).1.iter().map(|stored| stored.value()).collect();
    let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    if asked.is_empty() {
        let address = free_address(api, &taken)
            .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?;
        spec["clusterIP"] = address.to_string().into();
    } else if asked != "None" && taken.iter().any(|s| s["spec"]["clusterIP"] == asked.as_str()) {
        let text = "spec.clusterIPs: Invalid value: failed to allocate IP: provided IP is already allocated";
        return Err(Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{text} ({asked})")));
    }
    spec["clusterIPs"] = json!([spec["clusterIP"]]);
    if matches!(of_type.as_str(), "NodePort" | "LoadBalancer") {
        let mut used: Vec<i64> = node_ports(&taken);
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if port["nodePort"].as_i64().unwrap_or(0) == 0 {
                let start = i64::from(api.next_address.fetch_add(1, Ordering::Relaxed) % 2768);
                let free = (0..2768).map(|n| 30_000 + (start + n) % 2768).find(|n| !used.contains(n));
                let free =
                    free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
                used.push(free);
                port["nodePort"] = free.into();
            }
        }
    }
    Ok(())
}

fn node_ports(services: &[Value]) -> Vec<i64> {
    let ports = services.iter().flat_map(|s| s["spec"]["ports"].as_array().into_iter().flatten());
    ports.filter_map(|port| port["nodePort"].as_i64()).collect()
}

fn keep_node_ports(old: &Value, new: &mut Value) {
    if !matches!(new["spec"]["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        return;
    }
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in new["spec"].get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if port["nodePort"].as_i64().unwrap_or(0) == 0
            && let Some(same) = before.iter().find(|b| b["port"] == port["port"] && b["nodePort"].is_i64())
        {
            port["nodePort"] = same["nodePort"].clone();
        }
    }
}

/// Returns an address of the service network that no service has. Two calls at once get different ones.
fn free_address(api: &Api, services: &[Value]) -> Option<Ipv4Addr> {
    let (network, prefix) = api.service_network;
    let size = 1_u32.checked_shl(32 - u32::from(prefix)).unwrap_or(u32::MAX);
    let base = network.to_bits();
    // The first addresses are for `kubernetes` and DNS.
    let span = size.saturating_sub(16 + 1).max(1);
    (0..span).find_map(|_| {
        let next = api.next_address.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::from_bits(base + 16 + next % span);
        let text = address.to_string();
        (!services.iter().any(|s| s["spec"]["clusterIP"] == text.as_str())).then_some(address)
    })
}
