//! Label and field selectors.

use serde_json::Value;

use crate::Kind;
use crate::storage::Stored;

/// One condition on labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

/// Which objects of a list or watch are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

/// A selector that does not parse, or names a field that cannot be selected by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseSelectorError {
    /// The text is not a selector.
    #[error("unable to parse requirement: `{text}`")]
    Malformed {
        /// The part that does not parse.
        text: String,
    },
    /// The kind cannot be selected by this field.
    #[error("field label not supported: {field}")]
    Field {
        /// The field.
        field: String,
    },
}

impl Selector {
    /// Parses the `labelSelector` and `fieldSelector` of a query.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, ParseSelectorError> {
        let mut selector = Self::default();
        for part in split_labels(labels) {
            selector.labels.push(parse_requirement(part.trim())?);
        }
        for part in fields.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let malformed = || ParseSelectorError::Malformed { text: part.to_owned() };
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else {
                let (field, value) = part.split_once('=').ok_or_else(malformed)?;
                (field, true, value.strip_prefix('=').unwrap_or(value))
            };
            if !fields_of(kind).iter().any(|(name, _)| *name == field) {
                return Err(ParseSelectorError::Field { field: field.to_owned() });
            }
            selector.fields.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(selector)
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `object` matches.
    pub(crate) fn matches(&self, object: &Stored) -> bool {
        let label = |key: &str| object.labels.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v);
        self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Requirement::NotIn(key, values) => !label(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
        }) && self.fields.iter().all(|(field, equal, want)| {
            let found = object.fields.iter().find(|(name, _)| name == field).map_or("", |(_, v)| &**v);
            (found == want) == *equal
        })
    }
}

/// Splits at commas outside parentheses.
fn split_labels(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, ParseSelectorError> {
    let malformed = || ParseSelectorError::Malformed { text: part.to_owned() };
    let key = |text: &str| {
        let text = text.trim();
        let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        good.then(|| text.to_owned()).ok_or_else(malformed)
    };
    if let Some((head, rest)) = part.split_once('(') {
        let list = rest.trim_end().strip_suffix(')').ok_or_else(malformed)?;
        let values = list.split(',').map(|v| v.trim().to_owned()).collect();
        let (name, operator) = head.trim().split_once(char::is_whitespace).ok_or_else(malformed)?;
        return match operator.trim() {
            "in" => Ok(Requirement::In(key(name)?, values)),
            "notin" => Ok(Requirement::NotIn(key(name)?, values)),
            _ => Err(malformed()),
        };
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Ok(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(name) => Ok(Requirement::Missing(key(name)?)),
        None => Ok(Requirement::Exists(key(part)?)),
    }
}

/// The selectable fields of a kind: label and JSON pointer.
fn fields_of(kind: &Kind) -> &'static [(&'static str, &'static str)] {
    match kind.kind {
        "Pod" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("spec.schedulerName", "/spec/schedulerName"),
            ("spec.serviceAccountName", "/spec/serviceAccountName"),
            ("spec.hostNetwork", "/spec/hostNetwork"),
            ("status.phase", "/status/phase"),
            ("status.podIP", "/status/podIP"),
            ("status.nominatedNodeName", "/status/nominatedNodeName"),
        ],
        "Event" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("involvedObject.kind", "/involvedObject/kind"),
            ("involvedObject.namespace", "/involvedObject/namespace"),
            ("involvedObject.name", "/involvedObject/name"),
            ("involvedObject.uid", "/involvedObject/uid"),
            ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
            ("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
            ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
            ("reason", "/reason"),
            ("reportingComponent", "/reportingComponent"),
            ("source", "/source/component"),
            ("type", "/type"),
        ],
        "Namespace" => &[
            ("metadata.name", "/metadata/name"),
            ("name", "/metadata/name"),
            ("status.phase", "/status/phase"),
        ],
        "Node" => &[("metadata.name", "/metadata/name"), ("spec.unschedulable", "/spec/unschedulable")],
        "Secret" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("type", "/type"),
        ],
        "Service" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("spec.clusterIP", "/spec/clusterIP"),
            ("spec.type", "/spec/type"),
        ],
        "ReplicaSet" | "ReplicationController" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("status.replicas", "/status/replicas"),
        ],
        "Job" => &[
            ("metadata.name", "/metadata/name"),
            ("metadata.namespace", "/metadata/namespace"),
            ("status.successful", "/status/succeeded"),
        ],
        _ => &[("metadata.name", "/metadata/name"), ("metadata.namespace", "/metadata/namespace")],
    }
}

/// Returns the values of the fields that `kind` can be selected by.
pub(crate) fn selectable_fields(kind: &Kind, object: &Value) -> Box<[(&'static str, Box<str>)]> {
    let text = |pointer: &str, field: &str| match object.pointer(pointer) {
        Some(Value::String(s)) => s.as_str().into(),
        Some(Value::Bool(b)) => b.to_string().into(),
        Some(Value::Number(n)) => n.to_string().into(),
        _ if matches!(field, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        _ if matches!(field, "status.replicas" | "status.successful") => "0".into(),
        _ => "".into(),
    };
    fields_of(kind).iter().map(|(name, pointer)| (*name, text(pointer, name))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind_of;

    fn stored(object: &Value) -> Stored {
        let kind = kind_of("", "v1", "pods").unwrap();
        Stored {
            key: "default/a".into(),
            revision: 1,
            json: bytes::Bytes::new(),
            labels: object["metadata"]["labels"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().unwrap().into()))
                .collect(),
            fields: selectable_fields(kind, object),
        }
    }

    #[test]
    fn selectors_match_as_upstream_does() {
        let kind = kind_of("", "v1", "pods").unwrap();
        let pod = stored(&json!({
            "metadata": {"name": "a", "namespace": "default", "labels": {"app": "web", "tier": "front"}},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}));
        for (labels, fields, want) in [
            ("", "", true),
            ("app=web", "", true),
            ("app==web,tier!=back", "", true),
            ("app in (api, web),tier", "", true),
            ("app notin (web)", "", false),
            ("nothing notin (web)", "", true),
            ("!app", "", false),
            ("!nothing", "", true),
            ("", "spec.nodeName=n1,status.phase!=Failed", true),
            ("", "metadata.name=b", false),
            ("", "spec.nodeName=", false),
        ] {
            let selector = Selector::parse(kind, labels, fields).unwrap();
            assert_eq!(selector.matches(&pod), want, "case {labels:?} {fields:?}");
        }
        assert!(Selector::parse(kind, "a=b c in", "").is_err() || Selector::parse(kind, "a b", "").is_err());
        assert!(Selector::parse(kind, "", "spec.foo=1").is_err());
    }
}
