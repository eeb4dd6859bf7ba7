//! Who owns which field: sets of paths in the form of `fieldsV1`, and the entries of `managedFields`.
//!
//! A set is a JSON tree: `f:NAME` a field, `k:{…}` a list entry by its keys, `v:…` a plain list entry, `.` the node
//! itself; an empty tree is a leaf that owns everything below.

use serde_json::{Map, Value, json};

use crate::merge_keys::{self, Topology};
use crate::object::{metadata, timestamp};
use crate::{Kind, respond};

/// Metadata that nobody owns.
const UNOWNED: &[&str] = &[
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
    "f:deletionTimestamp",
    "f:deletionGracePeriodSeconds",
];

/// Returns the path of `field` below `path`.
pub(crate) fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Returns the name of a list entry in a set.
pub(crate) fn entry_id(kind: &Kind, path: &str, keys: &[&str], item: &Value) -> String {
    let mut id = Map::new();
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    for key in sorted {
        let value = item.get(key).cloned().filter(|v| !v.is_null());
        let value = value.or_else(|| merge_keys::key_default(kind, path, key).map(Value::from));
        if let Some(value) = value {
            id.insert(key.to_owned(), value);
        }
    }
    format!("k:{}", Value::Object(id))
}

/// Returns the paths that `value` sets.
pub(crate) fn set_of(kind: &Kind, path: &str, value: &Value) -> Value {
    let topology = merge_keys::apply(kind, path);
    let mut set = Map::new();
    match (value, topology) {
        (_, Some(Topology::Atomic)) => {}
        (Value::Object(map), _) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                set.insert(format!("f:{key}"), set_of(kind, &below(path, key), value));
            }
        }
        (Value::Array(list), Some(Topology::MapList(keys))) => {
            for item in list {
                let mut inner = json!({".": {}});
                if let (Some(all), Value::Object(map)) = (inner.as_object_mut(), item) {
                    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                        all.insert(format!("f:{key}"), set_of(kind, &below(path, key), value));
                    }
                }
                set.insert(entry_id(kind, path, keys, item), inner);
            }
        }
        (Value::Array(list), Some(Topology::Set)) => {
            for item in list {
                set.insert(format!("v:{item}"), json!({}));
            }
        }
        _ => {}
    }
    Value::Object(set)
}

/// Returns what differs between two versions: changed or new paths, and paths that are gone.
pub(crate) fn changes(kind: &Kind, path: &str, old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let mut set = Map::new();
    match (old, new, merge_keys::apply(kind, path)) {
        (_, _, Some(Topology::Atomic)) => {}
        (Value::Object(old), Value::Object(new), _) => {
            let keys = new.keys().chain(old.keys().filter(|key| !new.contains_key(*key)));
            for key in keys {
                let (was, is) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
                if let Some(change) = changes(kind, &below(path, key), was, is) {
                    set.insert(format!("f:{key}"), change);
                }
            }
        }
        (Value::Null, is @ (Value::Object(_) | Value::Array(_)), _) => return Some(set_of(kind, path, is)),
        (was @ (Value::Object(_) | Value::Array(_)), Value::Null, _) => return Some(set_of(kind, path, was)),
        (Value::Array(old), Value::Array(new), Some(Topology::MapList(keys))) => {
            let id = |item: &Value| entry_id(kind, path, keys, item);
            for item in new.iter().chain(old.iter().filter(|o| !new.iter().any(|n| id(n) == id(o)))) {
                let find = |list: &[Value]| list.iter().find(|other| id(other) == id(item)).cloned();
                let change = match (find(old), find(new)) {
                    (Some(was), Some(is)) => changes(kind, path, &was, &is),
                    _ => {
                        let mut one = set_of(kind, path, &Value::Array(vec![item.clone()]));
                        one.as_object_mut().and_then(|map| map.values_mut().next().map(Value::take))
                    }
                };
                if let Some(change) = change {
                    set.insert(id(item), change);
                }
            }
        }
        (Value::Array(old), Value::Array(new), Some(Topology::Set)) => {
            let only =
                |a: &[Value], b: &[Value]| a.iter().filter(|i| !b.contains(i)).cloned().collect::<Vec<_>>();
            for item in only(new, old).into_iter().chain(only(old, new)) {
                set.insert(format!("v:{item}"), json!({}));
            }
        }
        _ => {}
    }
    Some(Value::Object(set))
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_none_or(Map::is_empty)
}

/// Returns what is in `a` and not in `b`.
pub(crate) fn difference(a: &Value, b: &Value) -> Value {
    let (Some(left), Some(right)) = (a.as_object(), b.as_object()) else { return json!({}) };
    let mut out = Map::new();
    for (key, inner) in left {
        match right.get(key) {
            None => drop(out.insert(key.clone(), inner.clone())),
            Some(other) if is_leaf(inner) || is_leaf(other) => {}
            Some(other) => {
                let rest = difference(inner, other);
                if !is_leaf(&rest) {
                    out.insert(key.clone(), rest);
                }
            }
        }
    }
    Value::Object(out)
}

/// Returns what is in `a` or in `b`.
pub(crate) fn union(a: &Value, b: &Value) -> Value {
    let (Some(left), Some(right)) = (a.as_object(), b.as_object()) else { return a.clone() };
    let mut out = left.clone();
    for (key, inner) in right {
        let merged = out.get(key).map_or_else(|| inner.clone(), |have| union(have, inner));
        out.insert(key.clone(), merged);
    }
    Value::Object(out)
}

/// Leaves only what a call on `subresource` can own.
pub(crate) fn scope(mut set: Value, subresource: Option<&str>) -> Value {
    if let Some(map) = set.as_object_mut() {
        map.shift_remove("f:apiVersion");
        map.shift_remove("f:kind");
        match subresource {
            Some("status") => map.retain(|key, _| key == "f:status"),
            _ => drop(map.shift_remove("f:status")),
        }
        if let Some(Value::Object(meta)) = map.get_mut("f:metadata") {
            meta.retain(|key, _| !UNOWNED.contains(&key.as_str()));
            if meta.is_empty() {
                map.shift_remove("f:metadata");
            }
        }
    }
    set
}

/// Returns the entries of `managedFields`.
pub(crate) fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

/// Stores the entries that own something.
pub(crate) fn set_entries(object: &mut Value, mut entries: Vec<Value>) {
    entries.retain(|entry| !is_leaf(&entry["fieldsV1"]));
    if entries.is_empty() {
        metadata(object).shift_remove("managedFields");
    } else {
        metadata(object).insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// Returns a new entry.
pub(crate) fn entry(kind: &Kind, manager: &str, operation: &str, sub: Option<&str>, set: Value) -> Value {
    let mut entry = json!({
        "manager": manager, "operation": operation, "apiVersion": kind.api_version(),
        "time": timestamp(respond::now()), "fieldsType": "FieldsV1", "fieldsV1": set,
    });
    if let Some(sub) = sub {
        entry["subresource"] = sub.into();
    }
    entry
}

/// Whether `entry` belongs to this manager, operation and subresource.
pub(crate) fn is_of(entry: &Value, manager: &str, operation: &str, sub: Option<&str>) -> bool {
    entry["manager"] == manager && entry["operation"] == operation && entry["subresource"].as_str() == sub
}

/// Records an update: what it changed belongs to `manager` now.
///
/// Objects that nobody has applied carry no entries: there is nobody to have a conflict with.
pub(crate) fn record(kind: &Kind, old: &Value, new: &mut Value, manager: &str, sub: Option<&str>) {
    let mut entries = entries(old);
    if entries.is_empty() {
        metadata(new).shift_remove("managedFields");
        return;
    }
    if let Some(changed) = changes(kind, "", old, new).map(|set| scope(set, sub)).filter(|set| !is_leaf(set))
    {
        let mut found = false;
        for entry in &mut entries {
            if is_of(entry, manager, "Update", sub) {
                found = true;
                entry["fieldsV1"] = union(&entry["fieldsV1"], &changed);
                entry["time"] = timestamp(respond::now()).into();
            } else {
                entry["fieldsV1"] = difference(&entry["fieldsV1"], &changed);
            }
        }
        if !found {
            entries.push(entry(kind, manager, "Update", sub, changed));
        }
    }
    set_entries(new, entries);
}
