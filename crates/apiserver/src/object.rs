//! Metadata of objects: names, uids, times, what an update may change.

use base64::Engine as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::validate::{FieldError, FieldErrorKind};
use crate::{Kind, Status};

/// Returns the time as clients expect it: whole seconds, UTC.
pub(crate) fn timestamp(now: OffsetDateTime) -> String {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).expect("a UTC time of our era has an RFC 3339 form")
}

/// Fills `bytes` with random ones.
pub(crate) fn random(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the kernel has random bytes");
}

/// Returns a random (version 4) UUID.
pub(crate) fn new_uid() -> String {
    let mut b = [0_u8; 16];
    random(&mut b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Returns `count` random characters that spell no words.
pub(crate) fn random_suffix(count: usize) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = vec![0_u8; count];
    random(&mut bytes);
    bytes.iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect()
}

/// Returns a random URL-safe token.
pub(crate) fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    random(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the metadata, creating it if it is missing.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("it was made an object just now")
}

/// Returns a string of the metadata; empty if it is missing.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether the kind counts changes of its spec.
pub(crate) fn has_generation(kind: &Kind) -> bool {
    matches!(
        kind.kind,
        "Pod"
            | "Deployment"
            | "ReplicaSet"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicationController"
            | "Job"
            | "CronJob"
            | "Ingress"
            | "IngressClass"
            | "NetworkPolicy"
            | "PodDisruptionBudget"
    )
}

/// Whether a name fits: RBAC names are path segments, others DNS subdomains; services and namespaces are labels.
pub(crate) fn check_name(kind: &Kind, name: &str) -> Result<(), Status> {
    let label = |s: &str| {
        let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(s.bytes().next())
            && edge(s.bytes().last())
            && s.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    let detail = if kind.group == "rbac.authorization.k8s.io" {
        (name.is_empty() || name.contains(['/', '%']) || matches!(name, "." | ".."))
            .then_some("may not contain '/' or '%', or be '.' or '..'")
    } else if matches!(kind.kind, "Namespace" | "Service") {
        (name.len() > 63 || !label(name)).then_some(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
             and end with an alphanumeric character",
        )
    } else {
        (name.len() > 253 || !name.split('.').all(label)).then_some(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
             must start and end with an alphanumeric character",
        )
    };
    let Some(detail) = detail else { return Ok(()) };
    let error = FieldError {
        field: "metadata.name".to_owned(),
        kind: FieldErrorKind::Invalid,
        value: name.into(),
        detail: detail.to_owned(),
    };
    Err(Status::invalid(kind, name, &[error]))
}

/// Whether anything but metadata and status differs.
fn spec_differs(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old != new };
    let counts = |key: &String| !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind");
    old.iter().any(|(k, v)| counts(k) && new.get(k) != Some(v))
        || new.keys().any(|k| counts(k) && !old.contains_key(k))
}

/// Makes `new` an acceptable successor of `old`: what clients may not change stays as it is.
pub(crate) fn prepare_update(
    kind: &Kind,
    subresource: Option<&str>,
    old: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    let name = meta(old, "name");
    let uid = meta(new, "uid");
    if !uid.is_empty() && uid != meta(old, "uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta(old, "uid")
        );
        return Err(Status::conflict(kind, name, &why));
    }
    let version = meta(new, "resourceVersion");
    if !version.is_empty() && version != meta(old, "resourceVersion") {
        return Err(stale(kind, name));
    }
    for field in ["name", "namespace"] {
        if !meta(new, field).is_empty() && meta(new, field) != meta(old, field) {
            return Err(Status::bad_request(format!(
                "the {field} of the object ({}) does not match the {field} on the URL ({})",
                meta(new, field),
                meta(old, field)
            )));
        }
    }
    if subresource == Some("status") {
        let mut kept = old.clone();
        match new.get_mut("status").map(Value::take) {
            Some(Value::Null) | None => kept.as_object_mut().and_then(|map| map.shift_remove("status")),
            Some(status) => kept.as_object_mut().and_then(|map| map.insert("status".to_owned(), status)),
        };
        if matches!(kind.kind, "Pod" | "Node" | "Namespace" | "Service") {
            for field in ["annotations", "labels"] {
                copy_field(metadata(new), field, metadata(&mut kept));
            }
        }
        copy_field(metadata(new), "managedFields", metadata(&mut kept));
        *new = kept;
    } else if kind.has_subresource("status") && subresource != Some("binding") {
        match (old.get("status"), new.as_object_mut()) {
            (Some(status), Some(map)) => drop(map.insert("status".to_owned(), status.clone())),
            (None, Some(map)) => drop(map.shift_remove("status")),
            (_, None) => {}
        }
    }
    if kind.kind == "Namespace" && subresource != Some("finalize") {
        new["spec"] = old["spec"].clone();
    }
    let mut before = old.clone();
    let before = metadata(&mut before);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        copy_field(before, field, metadata(new));
    }
    metadata(new).remove("selfLink");
    new["apiVersion"] = kind.api_version().into();
    new["kind"] = kind.kind.into();
    Ok(())
}

/// Counts a change of what is wanted; `new` is complete already, so a default that was left out is no change.
pub(crate) fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    if has_generation(kind) && spec_differs(old, new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata(new).insert("generation".to_owned(), generation.into());
    }
}

/// 409 because the version in the body is not the stored one.
pub(crate) fn stale(kind: &Kind, name: &str) -> Status {
    Status::conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

fn copy_field(from: &Map<String, Value>, field: &str, to: &mut Map<String, Value>) {
    match from.get(field) {
        Some(value) => drop(to.insert(field.to_owned(), value.clone())),
        None => drop(to.shift_remove(field)),
    }
}

/// Returns the finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = object["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|f| f.as_str().map(str::to_owned)).collect()
}
