//! Small pieces that cells are made of.

use serde_json::{Map, Value, json};

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
pub(super) const UNKNOWN: &str = "<unknown>";

/// Lists in cells stop after this many.
const LIST_LIMIT: usize = 3;

/// Returns the value at a path such as `/spec/ports/0`, null when there is none. Nothing is escaped.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('/').skip(1).fold(object, |value, step| match value {
        Value::Array(list) => step.parse().ok().and_then(|at: usize| list.get(at)).unwrap_or(&Value::Null),
        other => &other[step],
    })
}

/// Returns the text at a path, empty when there is none.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// Returns the integer at a path, 0 when there is none.
pub(super) fn int(object: &Value, path: &str) -> i64 {
    at(object, path).as_i64().unwrap_or_default()
}

/// Returns the elements of the list at a path.
pub(super) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns how many entries the list or map at a path has.
pub(super) fn count(object: &Value, path: &str) -> usize {
    match at(object, path) {
        Value::Array(values) => values.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    }
}

/// Returns `value`, or `other` when it is empty.
pub(super) fn or<'a>(value: &'a str, other: &'a str) -> &'a str {
    if value.is_empty() { other } else { value }
}

/// Writes a scalar the way Go's `%v` does.
pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Writes labels as `a=b,c=d`, sorted.
pub(super) fn labels(value: &Value) -> String {
    let Some(labels) = value.as_object().filter(|labels| !labels.is_empty()) else {
        return NONE.to_owned();
    };
    sorted_pairs(labels).join(",")
}

fn sorted_pairs(labels: &Map<String, Value>) -> Vec<String> {
    let mut pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    pairs
}

/// Writes a `LabelSelector` in selector syntax.
pub(super) fn selector(value: &Value) -> String {
    if value.is_null() {
        return NONE.to_owned();
    }
    let mut terms: Vec<(String, String)> = Vec::new();
    if let Some(labels) = value["matchLabels"].as_object() {
        for (key, label) in labels {
            terms.push((key.clone(), format!("{key}={}", label.as_str().unwrap_or_default())));
        }
    }
    for expression in list(value, "/matchExpressions") {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => "<error>".to_owned(),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort();
    let terms: Vec<String> = terms.into_iter().map(|(_, term)| term).collect();
    or(&terms.join(","), NONE).to_owned()
}

/// Returns the containers' names and images, each joined by commas.
pub(super) fn containers(object: &Value, path: &str) -> [Value; 2] {
    let containers = list(object, path);
    let join = |field: &str| -> Value {
        let all: Vec<&str> = containers.iter().map(|container| text(container, field)).collect();
        json!(all.join(","))
    };
    [join("/name"), join("/image")]
}

/// Joins the first three and counts the others.
pub(super) fn first_three(all: &[String], when_empty: &str) -> String {
    let shown = all.iter().take(LIST_LIMIT).map(String::as_str).collect::<Vec<_>>().join(",");
    match all.len().checked_sub(LIST_LIMIT) {
        Some(more) if more > 0 => format!("{shown} + {more} more..."),
        _ if shown.is_empty() => when_empty.to_owned(),
        _ => shown,
    }
}

/// Whether a condition of this type has status `True`.
pub(super) fn condition_is_true(object: &Value, kind: &str) -> bool {
    list(object, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "/type") == kind && text(condition, "/status") == "True")
}

/// Shortens access modes as in `RWO,ROX`.
pub(super) fn access_modes(object: &Value, path: &str) -> String {
    let modes = list(object, path);
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .iter()
    .filter(|(mode, _)| modes.iter().any(|value| value == mode))
    .map(|(_, short)| *short)
    .collect::<Vec<_>>()
    .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_sorted_terms() {
        let value = json!({"matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [{"key": "aa", "operator": "In", "values": ["y", "x"]}, {"key": "z", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&value), "a=1,aa in (x,y),b=2,!z");
        assert_eq!(selector(&json!({})), "<none>");
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(first_three(&all, NONE), "0,1,2 + 2 more...");
        assert_eq!(first_three(&all[..3], NONE), "0,1,2");
        assert_eq!(first_three(&[], NONE), "<none>");
    }
}
