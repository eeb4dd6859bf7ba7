//! Configuration, claims, access rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::{Errors, FieldErrorKind, container, format, list, text};

/// Most bytes of a ConfigMap's or Secret's data.
const DATA: usize = 1024 * 1024;

fn data(errors: &mut Errors, object: &Value, fields: &[&str]) {
    let mut size = 0;
    for field in fields {
        for (key, value) in object[*field].as_object().into_iter().flatten() {
            if let Some(detail) = format::data_key(key) {
                errors.invalid(format!("{field}[{key}]"), key.as_str(), detail);
            }
            size += key.len() + value.as_str().map_or(0, str::len);
        }
    }
    if size > DATA * 4 / 3 {
        errors.add(FieldErrorKind::TooLong, fields[0], Value::Null, "may not be more than 1048576 bytes");
    }
}

fn frozen(errors: &mut Errors, new: &Value, old: Option<&Value>, fields: &[&str]) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return };
    for field in ["immutable"].iter().chain(fields) {
        if old[*field] != new[*field] {
            errors.forbidden(*field, "field is immutable when `immutable` is set");
        }
    }
}

pub(super) fn config_map(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    data(errors, new, &["data", "binaryData"]);
    base64(errors, new, "binaryData");
    for key in new["binaryData"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if new["data"].get(key).is_some() {
            errors.invalid(format!("data[{key}]"), key.as_str(), "duplicate of key present in binaryData");
        }
    }
    frozen(errors, new, old, &["data", "binaryData"]);
}

fn base64(errors: &mut Errors, object: &Value, field: &str) {
    for (key, value) in object[field].as_object().into_iter().flatten() {
        if value.as_str().is_some_and(|text| BASE64.decode(text).is_err()) {
            errors.invalid(format!("{field}[{key}]"), "<redacted>", "must be Base64");
        }
    }
}

pub(super) fn secret(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    data(errors, new, &["data"]);
    base64(errors, new, "data");
    let required: &[&str] = match text(new, "type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if new["data"].get(*key).is_none() {
            errors.required(format!("data[{key}]"), "");
        }
    }
    errors.immutable("type", &new["type"], old.map(|old| &old["type"]));
    frozen(errors, new, old, &["data"]);
}

pub(super) fn claim(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let spec = &new["spec"];
    if list(spec, "accessModes").is_empty() {
        errors.required("spec.accessModes", "at least 1 access mode is required");
    }
    if spec["resources"]["requests"]["storage"].is_null() {
        errors.required("spec.resources[storage]", "");
    }
    container::resources(errors, &spec["resources"], "spec.resources");
    let may_change = &["resources", "volumeName", "volumeAttributesClassName", "storageClassName"];
    if old.is_some_and(|old| !super::pod::only_changed(spec, &old["spec"], may_change)) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.forbidden("spec", detail);
    }
}

pub(super) fn role(errors: &mut Errors, new: &Value) {
    for (index, rule) in list(new, "rules").iter().enumerate() {
        let path = format!("rules[{index}]");
        if list(rule, "verbs").is_empty() {
            errors.required(format!("{path}.verbs"), "verbs must contain at least one value");
        }
        if !list(rule, "nonResourceURLs").is_empty() {
            continue;
        }
        for (field, detail) in [
            ("apiGroups", "resource rules must supply at least one api group"),
            ("resources", "resource rules must supply at least one resource"),
        ] {
            if list(rule, field).is_empty() {
                errors.required(format!("{path}.{field}"), detail);
            }
        }
    }
}

pub(super) fn binding(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    let role = &new["roleRef"];
    if !matches!(text(role, "kind"), "Role" | "ClusterRole") {
        errors.unsupported("roleRef.kind", role["kind"].clone(), "\"ClusterRole\", \"Role\"");
    }
    if text(role, "name").is_empty() {
        errors.required("roleRef.name", "");
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        errors.invalid("roleRef", role.clone(), "cannot change roleRef");
    }
    for (index, subject) in list(new, "subjects").iter().enumerate() {
        if text(subject, "name").is_empty() {
            errors.required(format!("subjects[{index}].name"), "");
        }
        if text(subject, "kind") == "ServiceAccount" && text(subject, "namespace").is_empty() {
            errors.required(format!("subjects[{index}].namespace"), "");
        }
    }
}
