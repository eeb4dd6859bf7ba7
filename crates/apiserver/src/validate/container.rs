//! Containers: names, images, ports, variables, mounts, resources, probes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Errors, format, list, text};
use crate::quantity;

/// Checks one container of a pod with these volumes.
pub(super) fn check(errors: &mut Errors, container: &Value, path: &str, volumes: &BTreeSet<&str>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.required(format!("{path}.image"), "");
    } else if image.trim() != image {
        errors.invalid(format!("{path}.image"), image, "must not have leading or trailing whitespace");
    }
    ports(errors, container, path);
    variables(errors, container, path);
    mounts(errors, container, path, volumes);
    resources(errors, &container["resources"], &format!("{path}.resources"));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            self::probe(errors, &container[probe], &format!("{path}.{probe}"), probe);
        }
    }
    let security = &container["securityContext"];
    if security["privileged"] == true && security["allowPrivilegeEscalation"] == false {
        errors.invalid(
            format!("{path}.securityContext"),
            security.clone(),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
}

fn ports(errors: &mut Errors, container: &Value, path: &str) {
    let mut names = BTreeSet::new();
    for (index, port) in list(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = text(port, "name");
        if !name.is_empty() {
            errors.port(format!("{path}.name"), &port["name"]);
            if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
        }
        if port["containerPort"].as_i64().unwrap_or_default() == 0 {
            errors.required(format!("{path}.containerPort"), "");
        } else {
            errors.port(format!("{path}.containerPort"), &port["containerPort"]);
        }
        if port["hostPort"].as_i64().unwrap_or_default() != 0 {
            errors.port(format!("{path}.hostPort"), &port["hostPort"]);
        }
    }
}

fn variables(errors: &mut Errors, container: &Value, path: &str) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = text(variable, "name");
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if let Some(detail) = format::variable_name(name) {
            errors.invalid(format!("{path}.name"), name, detail);
        }
        let Some(source) = variable["valueFrom"].as_object() else { continue };
        let path = format!("{path}.valueFrom");
        match source.values().filter(|value| !value.is_null()).count() {
            1 => {}
            0 => errors.invalid(
                &path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ),
            _ => errors.invalid(&path, "", "may not have more than one field specified at a time"),
        }
        if !text(variable, "value").is_empty() {
            errors.invalid(&path, "", "may not be specified when `value` is not empty");
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if source.get(reference).is_some_and(|reference| text(reference, "key").is_empty()) {
                errors.required(format!("{path}.{reference}.key"), "");
            }
        }
    }
}

fn mounts(errors: &mut Errors, container: &Value, path: &str, volumes: &BTreeSet<&str>) {
    let mut seen = BTreeSet::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, at) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            errors.not_found(format!("{path}.name"), name);
        }
        if at.is_empty() {
            errors.required(format!("{path}.mountPath"), "");
        } else if !seen.insert(at) {
            errors.invalid(format!("{path}.mountPath"), at, "must be unique");
        }
        let below = text(mount, "subPath");
        if below.starts_with('/') {
            errors.invalid(format!("{path}.subPath"), below, "must be a relative path");
        } else if below.split('/').any(|part| part == "..") {
            errors.invalid(format!("{path}.subPath"), below, "must not contain '..'");
        }
    }
}

pub(super) fn resources(errors: &mut Errors, resources: &Value, path: &str) {
    const FORM: &str = "quantities must match the regular expression \
        '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let mut amounts = |side: &str, name: &str| -> Option<i128> {
        let value = &resources[side][name];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let field = format!("{path}.{side}[{name}]");
        match quantity::parse(&text) {
            Some(amount) if amount < 0 => {
                errors.invalid(field, text, "must be greater than or equal to 0");
                None
            }
            Some(amount) => Some(amount),
            None => {
                errors.invalid(field, text, FORM);
                None
            }
        }
    };
    let names = |side: &str| -> Vec<String> {
        resources[side].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    let limits: Vec<(String, Option<i128>)> =
        names("limits").into_iter().map(|name| (name.clone(), amounts("limits", &name))).collect();
    let requests: Vec<(String, Option<i128>)> =
        names("requests").into_iter().map(|name| (name.clone(), amounts("requests", &name))).collect();
    for (name, request) in requests {
        let limit = limits.iter().find(|(limited, _)| *limited == name).and_then(|(_, limit)| *limit);
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            let limit = &resources["limits"][&name];
            let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            errors.invalid(
                format!("{path}.requests"),
                resources["requests"][&name].clone(),
                &format!("must be less than or equal to {name} limit of {limit}"),
            );
        }
    }
}

fn probe(errors: &mut Errors, probe: &Value, path: &str, kind: &str) {
    let handlers: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .filter(|handler| probe[*handler].is_object())
        .collect();
    match handlers.as_slice() {
        [] => errors.required(path, "must specify a handler type"),
        [_] => {}
        [_, more @ ..] => {
            for handler in more {
                errors.forbidden(format!("{path}.{handler}"), "may not specify more than 1 handler type");
            }
        }
    }
    for handler in ["httpGet", "tcpSocket", "grpc"] {
        if probe[handler].is_object() {
            if probe[handler]["port"].is_null() {
                errors.required(format!("{path}.{handler}.port"), "");
            } else {
                errors.port(format!("{path}.{handler}.port"), &probe[handler]["port"]);
            }
        }
    }
    if probe["exec"].is_object() && list(&probe["exec"], "command").is_empty() {
        errors.required(format!("{path}.exec.command"), "");
    }
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.not_negative(format!("{path}.{field}"), &probe[field]);
    }
    if kind != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count > 1) {
        errors.invalid(format!("{path}.successThreshold"), probe["successThreshold"].clone(), "must be 1");
    }
}
