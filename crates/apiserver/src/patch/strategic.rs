//! Strategic merge patch.
//!
//! Spec: sig-api-machinery strategic-merge-patch.md. Maps merge, lists are replaced unless the table of merge keys
//! says otherwise; `$patch`, `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are directives.

use std::collections::BTreeMap;

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
    let originals = originals(fields, patch);
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
    for (field, before) in &originals {
        let below = if path.is_empty() { (*field).to_owned() } else { format!("{path}.{field}") };
        let Some(strategy) = merge_keys::strategic(kind, &below).filter(|strategy| strategy.merge) else {
            continue;
        };
        let order = patch.get(&format!("$setElementOrder/{field}")).or_else(|| patch.get(*field));
        if let (Some(Value::Array(list)), Some(Value::Array(order))) = (fields.get_mut(*field), order) {
            arrange(list, order, before, strategy.merge_key);
        }
    }
    Ok(())
}

/// Returns the lists that the patch changes or sorts, as they are.
fn originals<'a>(
    fields: &Map<String, Value>,
    patch: &'a Map<String, Value>,
) -> BTreeMap<&'a str, Vec<Value>> {
    let changed = patch.iter().filter_map(|(key, value)| match key.strip_prefix("$setElementOrder/") {
        Some(field) => Some(field),
        None => (value.is_array() && !key.starts_with('$')).then_some(key.as_str()),
    });
    changed.filter_map(|field| Some((field, fields.get(field)?.as_array()?.clone()))).collect()
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

/// Sorts the entries that `order` names. The others keep the order of `before`, and stay in front of a named one where
/// they were in front of it; where nothing says so, they come last.
fn arrange(list: &mut Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) {
    let id = |value: &Value| key.map_or_else(|| Some(value.clone()), |key| value.get(key).cloned());
    let place = |among: &[Value], item: &Value| among.iter().position(|one| id(one) == id(item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_cached_key(|item| place(order, item));
    others.sort_by_cached_key(|item| place(before, item));
    let mut others = others.into_iter().peekable();
    for item in named {
        let at = place(before, &item);
        while let Some(other) = others.next_if(|other| at.is_some_and(|at| place(before, other) < Some(at))) {
            list.push(other);
        }
        list.push(item);
    }
    list.extend(others);
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

    #[test]
    fn entries_of_the_patch_come_first_unless_an_order_is_given() {
        let kind = kind_of("", "v1", "pods").unwrap();
        let names = |names: &str| -> Value {
            let list: Vec<Value> = names.split(' ').map(|name| json!({"name": name})).collect();
            json!(list)
        };
        for (old, patch, order, want) in [
            ("a", "b", None, "b a"),
            ("a b c", "c", None, "a b c"),
            ("a b c", "c a", None, "b c a"),
            ("a b", "c b", None, "c a b"),
            ("a b injected", "b", Some("b a"), "b a injected"),
            ("injected a b", "c", Some("a c b"), "injected a c b"),
        ] {
            let mut new = json!({"spec": {"containers": names(old)}});
            let mut spec = json!({"containers": names(patch)});
            if let Some(order) = order {
                spec["$setElementOrder/containers"] = names(order);
            }
            merge(kind, "", &mut new, &json!({"spec": spec})).unwrap();
            assert_eq!(new["spec"]["containers"], names(want), "{old} + {patch}");
        }
    }
}
