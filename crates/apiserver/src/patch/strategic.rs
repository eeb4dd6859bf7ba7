//! Strategic merge patch.
//!
//! Spec: sig-api-machinery strategic-merge-patch.md. Maps merge, lists are replaced unless the table of merge keys
//! says otherwise; `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are directives.

use serde_json::{Map, Value};

use crate::{Kind, Status, merge_keys};

/// Merges `patch` into `target`, the value at `path`.
pub(crate) fn merge(kind: &Kind, path: &str, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(Status::bad_request(format!("unknown $patch directive {other:?}"))),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return Ok(()) };
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        fields.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        let below = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (fields.get_mut(field), value) {
                list.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // Orders follow below; the others have been dealt with.
        } else if value.is_null() {
            fields.shift_remove(key);
        } else if let Value::Array(items) = value {
            let path = below(key);
            merge_list(kind, &path, fields.entry(key.clone()).or_insert(Value::Null), items)?;
        } else if value.is_object() {
            merge(kind, &below(key), fields.entry(key.clone()).or_insert(Value::Null), value)?;
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
    for (key, order) in patch {
        let Some(field) = key.strip_prefix("$setElementOrder/") else { continue };
        let below = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        let key = merge_keys::strategic(kind, &below).and_then(|strategy| strategy.merge_key);
        if let (Some(Value::Array(list)), Value::Array(order)) = (fields.get_mut(field), order) {
            reorder(list, order, key);
        }
    }
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let kept = patch.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
    kept.map(|(key, value)| (key.clone(), clean(value))).collect()
}

/// Returns `value` without directives and nulls, as it is stored when there is nothing to merge with.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(list) => {
            let directive =
                |item: &&Value| !item.get("$patch").is_some_and(|d| d == "delete" || d == "replace");
            Value::Array(list.iter().filter(directive).map(clean).collect())
        }
        other => other.clone(),
    }
}

fn merge_list(kind: &Kind, path: &str, target: &mut Value, patch: &[Value]) -> Result<(), Status> {
    let replaces = patch.iter().any(|item| item.get("$patch").is_some_and(|d| d == "replace"));
    let strategy = merge_keys::strategic(kind, path).filter(|strategy| strategy.merge && !replaces);
    let Some(strategy) = strategy else {
        *target = clean(&Value::Array(patch.to_vec()));
        return Ok(());
    };
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(list) = target.as_array_mut() else { return Ok(()) };
    let Some(key) = strategy.merge_key else {
        for item in patch {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        return Ok(());
    };
    for item in patch {
        let Some(id) = item.get(key) else {
            return Err(Status::bad_request(format!(
                "{path}: map does not contain declared merge key: {key}"
            )));
        };
        let found = list.iter().position(|live| live.get(key) == Some(id));
        if item.get("$patch").is_some_and(|d| d == "delete") {
            list.retain(|live| live.get(key) != Some(id));
        } else if let Some(at) = found {
            merge(kind, path, &mut list[at], item)?;
        } else {
            list.push(clean(item));
        }
    }
    Ok(())
}

/// Sorts the entries that `order` names; the others follow in their old order.
fn reorder(list: &mut [Value], order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        let id = |v: &Value| key.map_or_else(|| Some(v.clone()), |key| v.get(key).cloned());
        order.iter().position(|wanted| id(wanted) == id(item)).unwrap_or(usize::MAX)
    };
    list.sort_by_cached_key(place);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind_of;

    #[test]
    fn maps_merge_and_directives_are_obeyed() {
        let kind = kind_of("apps", "v1", "deployments").unwrap();
        for (name, old, patch, want) in [
            ("merge", json!({"a": {"x": 1}}), json!({"a": {"y": 2}}), json!({"a": {"x": 1, "y": 2}})),
            ("null deletes", json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
            (
                "replace",
                json!({"a": {"x": 1}}),
                json!({"a": {"$patch": "replace", "y": 2}}),
                json!({"a": {"y": 2}}),
            ),
            (
                "retain keys",
                json!({"s": {"type": "RollingUpdate", "rollingUpdate": {}}}),
                json!({"s": {"$retainKeys": ["type"], "type": "Recreate"}}),
                json!({"s": {"type": "Recreate"}}),
            ),
            ("unknown list", json!({"l": [1, 2]}), json!({"l": [3]}), json!({"l": [3]})),
        ] {
            let mut new = old.clone();
            merge(kind, "", &mut new, &patch).unwrap();
            assert_eq!(new, want, "case {name}");
        }
    }
}
