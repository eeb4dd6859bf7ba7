//! Pods and the pods that templates describe.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Errors, container, format, list, metadata, text};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Checks a pod.
pub(super) fn check(errors: &mut Errors, new: &Value, old: Option<&Value>) {
    spec(errors, &new["spec"], "spec", &[]);
    if let Some(old) = old {
        update(errors, &new["spec"], &old["spec"]);
    }
}

/// Checks a template; `restart` lists the restart policies that its owner can work with.
pub(super) fn template(errors: &mut Errors, template: &Value, path: &str, restart: &[&str]) {
    template_with_claims(errors, template, path, restart, &[]);
}

/// Checks a template whose pods get a volume for each of these claims.
pub(super) fn template_with_claims(
    errors: &mut Errors,
    template: &Value,
    path: &str,
    restart: &[&str],
    claims: &[Value],
) {
    metadata::check(errors, template, &format!("{path}.metadata"));
    let policy = text(&template["spec"], "restartPolicy");
    if !restart.contains(&policy) && matches!(policy, "Always" | "OnFailure" | "Never") {
        let allowed: Vec<String> = restart.iter().map(|policy| format!("\"{policy}\"")).collect();
        errors.unsupported(format!("{path}.spec.restartPolicy"), policy, &allowed.join(", "));
    }
    spec(errors, &template["spec"], &format!("{path}.spec"), claims);
}

fn spec(errors: &mut Errors, spec: &Value, path: &str, claims: &[Value]) {
    let mut volumes = volumes(errors, spec, path);
    volumes.extend(claims.iter().map(|claim| text(&claim["metadata"], "name")));
    if list(spec, "containers").is_empty() {
        errors.required(format!("{path}.containers"), "");
    }
    let mut names = BTreeSet::new();
    let on_host_network = spec["hostNetwork"] == true;
    for kind in LISTS {
        for (index, one) in list(spec, kind).iter().enumerate() {
            let path = format!("{path}.{kind}[{index}]");
            let name = text(one, "name");
            if name.is_empty() {
                errors.required(format!("{path}.name"), "");
            } else if let Some(detail) = format::dns_label(name) {
                errors.invalid(format!("{path}.name"), name, detail);
            } else if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
            container::check(errors, one, &path, &volumes);
            for (index, port) in list(one, "ports").iter().enumerate() {
                let host = &port["hostPort"];
                if on_host_network && host.as_i64().unwrap_or_default() != 0 && *host != port["containerPort"]
                {
                    errors.invalid(
                        format!("{path}.ports[{index}].hostPort"),
                        host.clone(),
                        "must match `containerPort` when `hostNetwork` is true",
                    );
                }
            }
        }
    }
    errors.not_negative(
        format!("{path}.terminationGracePeriodSeconds"),
        &spec["terminationGracePeriodSeconds"],
    );
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.invalid(format!("{path}.activeDeadlineSeconds"), deadline.clone(), detail);
    }
    for (field, form) in [
        ("hostname", format::dns_label as fn(&str) -> Option<&'static str>),
        ("subdomain", format::dns_label),
        ("nodeName", format::dns_subdomain),
        ("serviceAccountName", format::dns_subdomain),
    ] {
        let value = text(spec, field);
        if let Some(detail) = (!value.is_empty()).then(|| form(value)).flatten() {
            errors.invalid(format!("{path}.{field}"), value, detail);
        }
    }
    metadata::labels(errors, &spec["nodeSelector"], &format!("{path}.nodeSelector"));
    tolerations(errors, spec, path);
}

fn tolerations(errors: &mut Errors, spec: &Value, path: &str) {
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = format!("{path}.tolerations[{index}]");
        let key = text(toleration, "key");
        if key.is_empty() && text(toleration, "operator") != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(format!("{path}.operator"), toleration["operator"].clone(), detail);
        } else if let Some(detail) = (!key.is_empty()).then(|| format::qualified_name(key)).flatten() {
            errors.invalid(format!("{path}.key"), key, detail);
        }
        if text(toleration, "operator") == "Exists" && !text(toleration, "value").is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.invalid(format!("{path}.operator"), toleration["operator"].clone(), detail);
        }
    }
}

fn volumes<'a>(errors: &mut Errors, spec: &'a Value, path: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = text(volume, "name");
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if let Some(detail) = format::dns_label(name) {
            errors.invalid(format!("{path}.name"), name, detail);
        } else if !names.insert(name) {
            errors.duplicate(format!("{path}.name"), name);
        }
        let sources = volume.as_object().into_iter().flatten();
        let sources: Vec<&String> = sources
            .filter(|(field, value)| *field != "name" && !value.is_null())
            .map(|(field, _)| field)
            .collect();
        for more in sources.iter().skip(1) {
            errors.forbidden(format!("{path}.{more}"), "may not specify more than 1 volume type");
        }
        for (source, field) in [
            ("hostPath", "path"),
            ("secret", "secretName"),
            ("configMap", "name"),
            ("persistentVolumeClaim", "claimName"),
        ] {
            if volume[source].is_object() && text(&volume[source], field).is_empty() {
                errors.required(format!("{path}.{source}.{field}"), "");
            }
        }
        if sources.iter().any(|source| *source == "gitRepo") {
            errors.forbidden(format!("{path}.gitRepo"), "this volume type is not supported any more");
        }
    }
    names
}

/// Little of a pod may change.
fn update(errors: &mut Errors, new: &Value, old: &Value) {
    let mut allowed = new.clone();
    for kind in ["initContainers", "containers"] {
        let after = allowed.get_mut(kind).and_then(Value::as_array_mut);
        let (Some(after), Some(before)) = (after, old[kind].as_array()) else { continue };
        if after.len() != before.len() {
            return errors.forbidden("spec", "pod updates may not add or remove containers");
        }
        for (after, before) in after.iter_mut().zip(before) {
            // The size may change while the pod runs.
            for field in ["image", "resources"] {
                restore(after, before, field);
            }
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "ephemeralContainers"] {
        restore(&mut allowed, old, field);
    }
    // A binding sets it, once.
    if text(old, "nodeName").is_empty() {
        restore(&mut allowed, old, "nodeName");
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        restore(&mut allowed, old, "terminationGracePeriodSeconds");
    }
    let kept = list(old, "tolerations").iter().all(|before| {
        list(new, "tolerations").iter().any(|after| {
            let mut same = after.clone();
            same["tolerationSeconds"] = before["tolerationSeconds"].clone();
            let mut before = before.clone();
            before["tolerationSeconds"] = same["tolerationSeconds"].clone();
            same == before
        })
    });
    if !kept {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        return errors.forbidden("spec.tolerations", detail);
    }
    restore(&mut allowed, old, "tolerations");
    if allowed != *old {
        errors.forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously \
             negative)",
        );
    }
}

/// Gives a field the value it had.
fn restore(new: &mut Value, old: &Value, field: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.shift_remove(field);
        }
    }
}

/// Whether only the fields named have changed.
pub(super) fn only_changed(new: &Value, old: &Value, fields: &[&str]) -> bool {
    let mut same = if new.is_object() { new.clone() } else { json!({}) };
    for field in fields {
        restore(&mut same, old, field);
    }
    same == *old
}
