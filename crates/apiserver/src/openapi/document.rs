//! One OpenAPI v3 document: the paths and types of a group and version.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use super::schema::{Field, Shape, Type};
use super::{TITLE, VERSION};
use crate::{KINDS, Kind};

const META: &str = "apimachinery.pkg.apis.meta.v1";
const REF: &str = "#/components/schemas/io.k8s.";

/// Returns a document's name: `api/v1`, `apis/apps/v1`.
pub(super) fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Returns the document of this name as JSON.
pub(super) fn render(name: &str) -> Option<String> {
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| path_of(kind.group, kind.version) == name).collect();
    if kinds.is_empty() {
        return None;
    }
    let mut text =
        format!(r#"{{"openapi":"3.0.0","info":{{"title":"{TITLE}","version":"{VERSION}"}},"paths":{{"#);
    let mut first = true;
    let mut entry = |text: &mut String, key: &str, value: &Value| {
        if !std::mem::replace(&mut first, false) {
            text.push(',');
        }
        text.push_str(&Value::from(key).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    };
    for kind in &kinds {
        for (path, operations) in paths(name, kind) {
            entry(&mut text, &path, &operations);
        }
    }
    text.push_str(r#"},"components":{"schemas":{"#);
    let mut first = true;
    for of in reachable(&kinds) {
        if !std::mem::replace(&mut first, false) {
            text.push(',');
        }
        text.push_str(&format!("\"io.k8s.{}\":", of.name));
        text.push_str(&type_schema(of).to_string());
    }
    text.push_str("}}}");
    Some(text)
}

/// Returns the types of the kinds, their lists, and all that these are made of.
fn reachable(kinds: &[&Kind]) -> Vec<Type> {
    let mut names = BTreeSet::new();
    let mut queue: VecDeque<Type> = VecDeque::new();
    for kind in kinds {
        queue.extend(Type::of_kind(kind.group, kind.version, kind.kind));
        queue.extend(Type::of_kind(kind.group, kind.version, &format!("{}List", kind.kind)));
        let bodies = kind.subresources.iter().filter_map(|sub| {
            let (group, version) =
                if sub.version.is_empty() { (kind.group, kind.version) } else { (sub.group, sub.version) };
            Type::of_kind(group, version, sub.kind)
        });
        queue.extend(bodies);
    }
    for name in ["DeleteOptions", "Patch", "Status", "WatchEvent"] {
        queue.extend(Type::named(&format!("{META}.{name}")));
    }
    while let Some(of) = queue.pop_front() {
        if names.insert(of.name) {
            queue.extend(of.fields().filter_map(|field| part(field.shape)));
        }
    }
    names.into_iter().filter_map(Type::named).collect()
}

fn part(shape: Shape) -> Option<Type> {
    match shape {
        Shape::Type(name) => Type::named(name),
        Shape::List(inner) | Shape::Map(inner) => part(Shape::parse(inner)),
        _ => None,
    }
}

fn type_schema(of: Type) -> Value {
    if let Some(scalar) = of.scalar() {
        return match scalar {
            "time" => json!({"type": "string", "format": "date-time"}),
            "quantity" => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            "int-or-string" => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            "object" => json!({"type": "object"}),
            _ => json!({}),
        };
    }
    let properties: Map<String, Value> =
        of.fields().map(|field| (field.name.to_owned(), field_schema(field))).collect();
    let required: Vec<&str> = of.fields().filter(Field::is_required).map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let kinds: Vec<Value> = of.kinds().filter_map(kind_reference).collect();
    if !kinds.is_empty() {
        schema["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    if of.is_atomic() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    schema
}

fn kind_reference(text: &str) -> Option<Value> {
    let [group, version, kind] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
    Some(json!({"group": group, "version": version, "kind": kind}))
}

fn shape_schema(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int => json!({"type": "integer", "format": "int32"}),
        Shape::Long => json!({"type": "integer", "format": "int64"}),
        Shape::Number => json!({"type": "number", "format": "double"}),
        Shape::Object => json!({"type": "object"}),
        Shape::Any => json!({}),
        Shape::Type(name) => json!({"allOf": [{"$ref": format!("{REF}{name}")}]}),
        Shape::List(inner) => json!({"type": "array", "items": shape_schema(Shape::parse(inner))}),
        Shape::Map(inner) => {
            json!({"type": "object", "additionalProperties": shape_schema(Shape::parse(inner))})
        }
    }
}

fn field_schema(field: Field) -> Value {
    let mut schema = shape_schema(field.shape);
    if field.defaults_to_zero() {
        schema["default"] = match field.shape {
            Shape::Text | Shape::Bytes => json!(""),
            Shape::Int | Shape::Long | Shape::Number => json!(0),
            Shape::Bool => json!(false),
            _ => json!({}),
        };
    } else if let Some(value) = field.default_json().and_then(|text| serde_json::from_str(text).ok()) {
        schema["default"] = value;
    }
    let is_list = matches!(field.shape, Shape::List(_));
    if let Some(keys) = field.list_keys() {
        schema["x-kubernetes-list-type"] = json!("map");
        schema["x-kubernetes-list-map-keys"] = json!(keys.split(',').collect::<Vec<_>>());
    } else if field.is_set() {
        schema["x-kubernetes-list-type"] = json!("set");
    } else if field.is_atomic() {
        schema[if is_list { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" }] = json!("atomic");
    }
    if let Some(strategy) = field.strategy() {
        schema["x-kubernetes-patch-strategy"] = json!(strategy);
    }
    if let Some(key) = field.merge_key() {
        schema["x-kubernetes-patch-merge-key"] = json!(key);
    }
    if let Some(choices) = field.choices() {
        let choices = json!(choices.collect::<Vec<_>>());
        match field.shape {
            Shape::List(_) => schema["items"]["enum"] = choices,
            Shape::Map(_) => schema["additionalProperties"]["enum"] = choices,
            _ => schema["enum"] = choices,
        }
    }
    schema
}

/// Returns the paths of a kind and what can be done there.
fn paths(document: &str, kind: &Kind) -> Vec<(String, Value)> {
    let base = format!("/{document}");
    let collection = if kind.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    };
    let operations = |verbs: &[(&str, &str, &str)]| -> Value {
        let mut all = Map::new();
        for (verb, method, action) in verbs {
            if kind.verbs.contains(verb) {
                all.insert((*method).to_owned(), operation(kind, method, action));
            }
        }
        Value::Object(all)
    };
    let object = [
        ("get", "get", "get"),
        ("update", "put", "put"),
        ("patch", "patch", "patch"),
        ("delete", "delete", "delete"),
    ];
    let listed = [
        ("list", "get", "list"),
        ("create", "post", "post"),
        ("deletecollection", "delete", "deletecollection"),
    ];
    let mut found = Vec::new();
    if kind.namespaced {
        found.push((format!("{base}/{}", kind.plural), operations(&listed[..1])));
    }
    found.push((format!("{collection}/{{name}}"), operations(&object)));
    if kind.has_subresource("status") {
        found.push((format!("{collection}/{{name}}/status"), operations(&object[..3])));
    }
    found.push((collection, operations(&listed)));
    found.retain(|(_, operations)| operations.as_object().is_some_and(|all| !all.is_empty()));
    found
}

fn operation(kind: &Kind, method: &str, action: &str) -> Value {
    let names: &[&str] = match action {
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation", "pretty"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"],
        "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", "pretty"],
        "list" | "deletecollection" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        _ => &["pretty"],
    };
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| {
            let of = match *name {
                "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => {
                    "boolean"
                }
                "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
                _ => "string",
            };
            json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}})
        })
        .collect();
    let name = match action {
        "list" => format!("{}List", kind.kind),
        "delete" | "deletecollection" => String::new(),
        _ => kind.kind.to_owned(),
    };
    let answer = match name.as_str() {
        "" => Type::named(&format!("{META}.Status")),
        name => Type::of_kind(kind.group, kind.version, name),
    };
    let content = answer.map_or_else(
        || json!({}),
        |of| json!({"application/json": {"schema": {"$ref": format!("{REF}{}", of.name)}}}),
    );
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    if matches!(method, "post" | "put")
        && let Some(of) = Type::of_kind(kind.group, kind.version, kind.kind)
    {
        let schema = json!({"$ref": format!("{REF}{}", of.name)});
        operation["requestBody"] = json!({"required": true, "content": {"*/*": {"schema": schema}}});
    } else if method == "patch" {
        let schema = json!({"schema": {"$ref": format!("{REF}{META}.Patch")}});
        operation["requestBody"] = json!({"required": true, "content": {
            "application/json-patch+json": schema, "application/merge-patch+json": schema,
            "application/strategic-merge-patch+json": schema, "application/apply-patch+yaml": schema}});
    }
    operation
}
