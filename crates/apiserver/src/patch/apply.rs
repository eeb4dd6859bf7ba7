//! Server-side apply: merge what a manager wants, remove what it no longer wants, refuse what others own.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::managed::{self, below, difference, entry_id, set_of};
use crate::call::Call;
use crate::merge_keys::{self, Topology};
use crate::{Kind, Status};

/// Applies `applied` to `live` as `manager`; `managedFields` of `live` are brought up to date.
pub(crate) fn apply(
    call: &Call,
    live: &mut Value,
    applied: &Value,
    manager: &str,
    force: bool,
) -> Result<(), Status> {
    let kind = call.kind;
    if call.query.get("fieldManager").is_empty() {
        return Err(Status::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    if !managed::entries(applied).is_empty() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let sub = call.subresource.as_deref();
    let set = managed::scope(set_of(kind, "", applied), sub);
    let mut entries = managed::entries(live);
    let mut conflicts = Vec::new();
    for entry in &mut entries {
        if managed::is_of(entry, manager, "Apply", sub) {
            continue;
        }
        let mut found = Map::new();
        let mut paths = Vec::new();
        let walk = Walk { kind, theirs: &entry["fieldsV1"], ours: &set };
        walk.conflicts("", "", Some(live), Some(applied), (&mut found, &mut paths));
        if paths.is_empty() {
            continue;
        }
        if force {
            entry["fieldsV1"] = difference(&entry["fieldsV1"], &Value::Object(found));
        } else {
            let who = manager_text(entry);
            conflicts.extend(paths.into_iter().map(|path| (who.clone(), path)));
        }
    }
    if !conflicts.is_empty() {
        return Err(refused(&conflicts));
    }
    merge(kind, "", live, applied);
    let at = entries.iter().position(|entry| managed::is_of(entry, manager, "Apply", sub));
    if let Some(at) = at {
        let mut gone = difference(&entries[at]["fieldsV1"], &set);
        for (other, entry) in entries.iter().enumerate() {
            if other != at {
                gone = difference(&gone, &entry["fieldsV1"]);
            }
        }
        remove(kind, "", live, &gone);
        if entries[at]["fieldsV1"] != set {
            entries[at] = managed::entry(kind, manager, "Apply", sub, set);
        }
    } else {
        entries.push(managed::entry(kind, manager, "Apply", sub, set));
    }
    managed::set_entries(live, entries);
    Ok(())
}

/// Returns how a manager is called in a message.
fn manager_text(entry: &Value) -> String {
    let manager = entry["manager"].as_str().unwrap_or_default();
    let version = entry["apiVersion"].as_str().unwrap_or_default();
    let sub =
        entry["subresource"].as_str().map(|sub| format!(" with subresource {sub:?}")).unwrap_or_default();
    let operation = if entry["operation"] == "Update" { format!(" using {version}") } else { String::new() };
    format!("\"{manager}\"{sub}{operation}")
}

fn refused(conflicts: &[(String, String)]) -> Status {
    let list = if let [(who, path)] = conflicts {
        format!("1 conflict: conflict with {who}: {path}")
    } else {
        let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (who, path) in conflicts {
            by_manager.entry(who).or_default().push(path);
        }
        let lines = by_manager.into_iter().map(|(who, mut paths)| {
            paths.sort_unstable();
            format!("conflicts with {who}:\n- {}", paths.join("\n- "))
        });
        format!("{} conflicts: {}", conflicts.len(), lines.collect::<Vec<_>>().join("\n"))
    };
    let mut status = Status::new(StatusCode::CONFLICT, "Conflict", format!("Apply failed with {list}"));
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(who, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {who}"), "field": path})
        })
        .collect();
    status.details = Some(json!({"causes": causes}));
    status
}

/// Two sets walked together.
struct Walk<'a> {
    kind: &'a Kind,
    theirs: &'a Value,
    ours: &'a Value,
}

impl Walk<'_> {
    /// Collects leaves that both own and where the applied value differs from the live one.
    #[expect(clippy::too_many_arguments, reason = "one call site; they are the state of the walk")]
    fn conflicts(
        &self,
        path: &str,
        shown: &str,
        live: Option<&Value>,
        applied: Option<&Value>,
        out: (&mut Map<String, Value>, &mut Vec<String>),
    ) {
        let (found, paths) = out;
        let (Some(theirs), Some(ours)) = (self.theirs.as_object(), self.ours.as_object()) else { return };
        for (key, theirs) in theirs {
            let Some(ours) = ours.get(key) else { continue };
            if key == "." || key.starts_with("v:") {
                continue;
            }
            let (path, shown, live, applied) = if let Some(field) = key.strip_prefix("f:") {
                let at = |value: Option<&Value>| value.and_then(|v| v.get(field)).cloned();
                (below(path, field), format!("{shown}.{field}"), at(live), at(applied))
            } else {
                let at = |value: Option<&Value>| value.and_then(|v| find(self.kind, path, v, key)).cloned();
                (path.to_owned(), format!("{shown}{}", position(key)), at(live), at(applied))
            };
            let leaf = |set: &Value| set.as_object().is_none_or(Map::is_empty);
            if leaf(theirs) || leaf(ours) {
                if live != applied {
                    found.insert(key.clone(), json!({}));
                    paths.push(shown);
                }
                continue;
            }
            let mut inner = Map::new();
            let walk = Walk { kind: self.kind, theirs, ours };
            walk.conflicts(&path, &shown, live.as_ref(), applied.as_ref(), (&mut inner, &mut *paths));
            if !inner.is_empty() {
                found.insert(key.clone(), Value::Object(inner));
            }
        }
    }
}

/// Returns how the entry of a list is called in a message: `[name="c"]`.
fn position(id: &str) -> String {
    let keys: Map<String, Value> =
        id.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok()).unwrap_or_default();
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]", keys.join(","))
}

fn find<'a>(kind: &Kind, path: &str, list: &'a Value, id: &str) -> Option<&'a Value> {
    let Some(Topology::MapList(keys)) = merge_keys::apply(kind, path) else { return None };
    list.as_array()?.iter().find(|item| entry_id(kind, path, keys, item) == id)
}

/// Merges what is applied into what is there.
fn merge(kind: &Kind, path: &str, live: &mut Value, applied: &Value) {
    match (live, applied, merge_keys::apply(kind, path)) {
        (live, _, Some(Topology::Atomic)) => *live = applied.clone(),
        (Value::Object(live), Value::Object(applied), _) => {
            for (key, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
                let slot = live.entry(key.clone()).or_insert(Value::Null);
                merge(kind, &below(path, key), slot, value);
            }
        }
        (Value::Array(live), Value::Array(applied), Some(Topology::MapList(keys))) => {
            for item in applied {
                let id = entry_id(kind, path, keys, item);
                match live.iter().position(|have| entry_id(kind, path, keys, have) == id) {
                    Some(at) => merge_entry(kind, path, &mut live[at], item),
                    None => live.push(item.clone()),
                }
            }
        }
        (Value::Array(live), Value::Array(applied), Some(Topology::Set)) => {
            for item in applied {
                if !live.contains(item) {
                    live.push(item.clone());
                }
            }
        }
        (live, applied, _) => *live = applied.clone(),
    }
}

/// Merges an entry of a list: the path of the entry is the path of its list.
fn merge_entry(kind: &Kind, path: &str, live: &mut Value, applied: &Value) {
    let (Some(live), Some(applied)) = (live.as_object_mut(), applied.as_object()) else { return };
    for (key, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
        let slot = live.entry(key.clone()).or_insert(Value::Null);
        merge(kind, &below(path, key), slot, value);
    }
}

/// Removes the paths of `set`.
fn remove(kind: &Kind, path: &str, value: &mut Value, set: &Value) {
    let Some(set) = set.as_object() else { return };
    for (key, inner) in set {
        let leaf = inner.as_object().is_none_or(Map::is_empty);
        if let (Some(field), Some(map)) = (key.strip_prefix("f:"), value.as_object_mut()) {
            let Some(slot) = map.get_mut(field) else { continue };
            if !leaf {
                remove(kind, &below(path, field), slot, inner);
            }
            let emptied =
                slot.as_object().is_some_and(Map::is_empty) || slot.as_array().is_some_and(Vec::is_empty);
            if leaf || emptied {
                map.shift_remove(field);
            }
        } else if let (true, Some(list)) = (key.starts_with("k:"), value.as_array_mut()) {
            let Some(Topology::MapList(keys)) = merge_keys::apply(kind, path) else { continue };
            let Some(at) = list.iter().position(|item| entry_id(kind, path, keys, item) == *key) else {
                continue;
            };
            if inner.get(".").is_some() {
                list.remove(at);
            } else {
                let mut inner = inner.clone();
                if let Some(map) = inner.as_object_mut() {
                    keys.iter().for_each(|key| drop(map.shift_remove(&format!("f:{key}"))));
                }
                remove(kind, path, &mut list[at], &inner);
            }
        } else if let (Some(text), Some(list)) = (key.strip_prefix("v:"), value.as_array_mut()) {
            list.retain(|item| {
                let as_json = item.to_string();
                as_json != text
            });
        }
    }
}
