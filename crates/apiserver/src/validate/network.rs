//! Services, endpoints, ingresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, format, list, metadata, text};

pub(super) fn service(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let spec = &new["spec"];
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    if list(spec, "ports").is_empty() && kind != "ExternalName" && !headless {
        errors.required("spec.ports", "");
    }
    if kind == "ExternalName" {
        let name = text(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.required("spec.externalName", "");
        } else if let Some(detail) = format::dns_subdomain(name) {
            errors.invalid("spec.externalName", name, detail);
        }
    }
    service_ports(errors, spec, kind);
    metadata::labels(errors, &spec["selector"], "spec.selector");
    for (index, address) in list(spec, "externalIPs").iter().enumerate() {
        special_address(errors, &format!("spec.externalIPs[{index}]"), address);
    }
    if let Some(old) = old.map(|old| &old["spec"])
        && kind != "ExternalName"
        && text(old, "type") != "ExternalName"
        && !text(old, "clusterIP").is_empty()
        && old["clusterIP"] != spec["clusterIP"]
    {
        errors.invalid("spec.clusterIPs[0]", spec["clusterIPs"].clone(), "may not change once set");
    }
}

fn service_ports(errors: &mut Errors, spec: &Value, kind: &str) {
    let ports = list(spec, "ports");
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.required(format!("{path}.name"), "");
        } else if !name.is_empty() {
            if let Some(detail) = format::dns_label(name) {
                errors.invalid(format!("{path}.name"), name, detail);
            } else if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
        }
        let number = port["port"].as_i64().unwrap_or_default();
        if (1..=65_535).contains(&number) {
            if !numbers.insert((text(port, "protocol"), number)) {
                errors.duplicate(&path, port.clone());
            }
        } else {
            errors.invalid(format!("{path}.port"), number, "must be between 1 and 65535, inclusive");
        }
        errors.port(format!("{path}.targetPort"), &port["targetPort"]);
        let node = port["nodePort"].as_i64().unwrap_or_default();
        if node != 0 && kind == "ClusterIP" {
            errors.forbidden(format!("{path}.nodePort"), "may not be used when `type` is 'ClusterIP'");
        } else if node != 0 && !(30_000..=32_767).contains(&node) {
            let detail = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            errors.invalid(format!("{path}.nodePort"), node, detail);
        }
    }
}

/// Addresses that lead back into a machine or its cloud are nobody's endpoint.
fn special_address(errors: &mut Errors, path: &str, value: &Value) {
    let text = value.as_str().unwrap_or_default();
    let Ok(address) = text.parse::<IpAddr>() else {
        return errors.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    };
    let address = address.to_canonical();
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_multicast() && v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => {
            // What NAT64 maps is as special as what it is mapped from.
            if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                let inner = std::net::Ipv4Addr::new(a, b, c, d).to_string();
                return special_address(errors, path, &Value::from(inner));
            }
            (v6.is_unicast_link_local(), v6.segments()[0] == 0xff02)
        }
    };
    let detail = if address.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if address.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if link_local_multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return;
    };
    errors.invalid(path, text, detail);
}

pub(super) fn endpoints(errors: &mut Errors, new: &Value) {
    for (index, subset) in list(new, "subsets").iter().enumerate() {
        let path = format!("subsets[{index}]");
        for kind in ["addresses", "notReadyAddresses"] {
            for (index, address) in list(subset, kind).iter().enumerate() {
                special_address(errors, &format!("{path}.{kind}[{index}].ip"), &address["ip"]);
            }
        }
        let ports = list(subset, "ports");
        for (index, port) in ports.iter().enumerate() {
            if ports.len() > 1 && text(port, "name").is_empty() {
                errors.required(format!("{path}.ports[{index}].name"), "");
            }
            errors.port(format!("{path}.ports[{index}].port"), &port["port"]);
        }
    }
}

pub(super) fn endpoint_slice(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let kind = text(new, "addressType");
    if kind.is_empty() {
        errors.required("addressType", "");
    }
    errors.immutable("addressType", &new["addressType"], old.map(|old| &old["addressType"]));
    for (index, endpoint) in list(new, "endpoints").iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        let addresses = list(endpoint, "addresses");
        if addresses.is_empty() {
            errors.required(&path, "must contain at least 1 address");
        }
        for (index, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match kind {
                "IPv4" | "IPv6" => special_address(errors, &path, address),
                _ => {
                    if let Some(detail) = address.as_str().and_then(format::dns_subdomain) {
                        errors.invalid(path, address.clone(), detail);
                    }
                }
            }
        }
    }
}

pub(super) fn ingress(errors: &mut Errors, new: &Value) {
    let spec = &new["spec"];
    if list(spec, "rules").is_empty() && !spec["defaultBackend"].is_object() {
        errors.invalid("spec", spec.clone(), "either `defaultBackend` or `rules` must be specified");
    }
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        let host = text(rule, "host");
        if host.parse::<IpAddr>().is_ok() {
            errors.invalid(format!("{path}.host"), host, "must be a DNS name, not an IP address");
        } else if let Some(detail) =
            (!host.is_empty()).then(|| format::dns_subdomain(host.trim_start_matches("*."))).flatten()
        {
            errors.invalid(format!("{path}.host"), host, detail);
        }
        for (index, rule) in list(&rule["http"], "paths").iter().enumerate() {
            let path = format!("{path}.http.paths[{index}]");
            let (kind, at) = (text(rule, "pathType"), text(rule, "path"));
            if kind.is_empty() {
                errors.required(format!("{path}.pathType"), "pathType must be specified");
            } else if matches!(kind, "Exact" | "Prefix") && !at.starts_with('/') {
                errors.invalid(format!("{path}.path"), at, "must be an absolute path");
            }
        }
    }
}
