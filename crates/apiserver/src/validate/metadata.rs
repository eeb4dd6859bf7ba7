//! Labels, annotations, selectors.

use serde_json::{Map, Value};

use super::{Errors, FieldErrorKind, format, list, text};

/// Most bytes of all annotations together.
const ANNOTATIONS: usize = 256 * 1024;

/// Checks labels and annotations of an object or a template; its name is checked elsewhere.
pub(super) fn check(errors: &mut Errors, holder: &Value, path: &str) {
    let metadata = &holder["metadata"];
    labels(errors, &metadata["labels"], &format!("{path}.labels"));
    let Some(annotations) = metadata["annotations"].as_object() else { return };
    let field = format!("{path}.annotations");
    for key in annotations.keys() {
        if let Some(detail) = format::qualified_name(&key.to_ascii_lowercase()) {
            errors.invalid(&field, key.as_str(), detail);
        }
    }
    let size: usize =
        annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS {
        errors.add(FieldErrorKind::TooLong, field, Value::Null, "may not be more than 262144 bytes");
    }
}

/// Checks a map of labels.
pub(super) fn labels(errors: &mut Errors, labels: &Value, path: &str) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(detail) = format::qualified_name(key) {
            errors.invalid(path, key.as_str(), detail);
        }
        if let Some(detail) = value.as_str().and_then(format::label_value) {
            errors.invalid(path, value.clone(), detail);
        }
    }
}

/// Checks a label selector.
pub(super) fn selector(errors: &mut Errors, selector: &Value, path: &str) {
    labels(errors, &selector["matchLabels"], &format!("{path}.matchLabels"));
    for (index, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = list(expression, "values");
        match text(expression, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(
                    format!("{path}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(
                format!("{path}.operator"),
                expression["operator"].clone(),
                "not a valid selector operator",
            ),
        }
        if let Some(detail) = format::qualified_name(text(expression, "key")) {
            errors.invalid(format!("{path}.key"), expression["key"].clone(), detail);
        }
    }
}

/// Whether a label selector says nothing.
pub(super) fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(Map::is_empty)
        && list(selector, "matchExpressions").is_empty()
}

/// Whether labels match a label selector.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    equal
        && list(selector, "matchExpressions").iter().all(|expression| {
            let found = labels.get(text(expression, "key"));
            let listed = found.is_some_and(|value| list(expression, "values").contains(value));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
