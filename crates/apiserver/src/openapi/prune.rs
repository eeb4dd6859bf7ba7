//! Walks objects along their schema: removes what it does not have, and finds values of the wrong sort.

use serde_json::Value;

use super::schema::{Shape, Type};
use crate::table::age::parse_time;
use crate::{Kind, quantity};

/// Removes fields that the schema of `kind` does not have, and nulls, and writes quantities in their canonical form;
/// returns the paths of the unknown fields, such as `spec.containers[0].foo`.
pub(crate) fn prune(kind: &Kind, object: &mut Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(root) = Type::of_kind(kind.group, kind.version, kind.kind) {
        prune_type(root, object, &mut String::new(), &mut found);
    }
    found
}

fn prune_type(of: Type, value: &mut Value, path: &mut String, found: &mut Vec<String>) {
    match of.scalar() {
        Some("quantity") => return write_quantity(value),
        Some(_) => return,
        None => {}
    }
    let Some(map) = value.as_object_mut() else { return };
    map.retain(|name, value| {
        let length = push(path, name);
        let known = of.field(name);
        match known {
            Some(field) if !value.is_null() => prune_shape(field.shape, value, path, found),
            Some(_) => {}
            None => found.push(path.clone()),
        }
        path.truncate(length);
        // A null of a known field is a field that is not there.
        known.is_some() && !value.is_null()
    });
}

/// Clients decode quantities from strings only, and compare them as such.
fn write_quantity(value: &mut Value) {
    let canonical = match value {
        Value::String(text) => quantity::canonical(text).filter(|canonical| canonical != text),
        Value::Number(number) => quantity::canonical(&number.to_string()),
        _ => None,
    };
    if let Some(canonical) = canonical {
        *value = canonical.into();
    }
}

fn prune_shape(shape: Shape, value: &mut Value, path: &mut String, found: &mut Vec<String>) {
    match (shape, value) {
        (Shape::Type(name), value) => {
            if let Some(of) = Type::named(name) {
                prune_type(of, value, path, found);
            }
        }
        (Shape::List(inner), Value::Array(list)) if is_deep(inner) => {
            let inner = Shape::parse(inner);
            for (index, value) in list.iter_mut().enumerate() {
                let length = push_index(path, index);
                prune_shape(inner, value, path, found);
                path.truncate(length);
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            let inner = Shape::parse(inner);
            for (name, value) in map.iter_mut() {
                if inner == Shape::Text && value.is_null() {
                    *value = "".into();
                    continue;
                }
                let length = push(path, name);
                prune_shape(inner, value, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Whether there can be fields below.
fn is_deep(shape: &str) -> bool {
    shape.starts_with(['@', '[', '{'])
}

/// Adds a name; returns the length to go back to.
fn push(path: &mut String, name: &str) -> usize {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(name);
    length
}

fn push_index(path: &mut String, index: usize) -> usize {
    let length = path.len();
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
    length
}

/// Something wrong with a value, found by the schema alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Misfit {
    /// It is of the wrong sort; the text says what it must be.
    Sort {
        /// Where.
        path: String,
        /// What is there.
        value: Value,
        /// `must be …`.
        must: &'static str,
        /// How a decoder in Go would say it, which clients know.
        decoding: String,
    },
    /// It is not among the allowed values.
    Choice {
        /// Where.
        path: String,
        /// What is there.
        value: Value,
        /// What may be there, as a message lists it.
        allowed: String,
    },
}

/// Returns the values of `object` that do not fit the schema of `kind`; allowed values are checked outside of the
/// status only.
pub(crate) fn misfits(kind: &Kind, object: &Value) -> Vec<Misfit> {
    let mut walk =
        Walk { path: String::new(), plain: String::new(), owner: "", found: Vec::new(), choices: true };
    if let Some(root) = Type::of_kind(kind.group, kind.version, kind.kind) {
        walk.of_type(root, object);
    }
    walk.found
}

struct Walk {
    path: String,
    /// The path without positions and keys.
    plain: String,
    /// Type of the field that the walk is in.
    owner: &'static str,
    found: Vec<Misfit>,
    choices: bool,
}

impl Walk {
    fn wrong(&mut self, value: &Value, must: &'static str, wanted: Shape) {
        let found = match value {
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Number(number) if number.is_f64() || matches!(wanted, Shape::Int | Shape::Long) => {
                &format!("number {number}")
            }
            Value::Number(_) | Value::Null => "number",
        };
        let decoding = format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {}",
            short(self.owner),
            self.plain,
            in_go(wanted)
        );
        self.found.push(Misfit::Sort { path: self.path.clone(), value: value.clone(), must, decoding });
    }

    fn of_type(&mut self, of: Type, value: &Value) {
        if let Some(scalar) = of.scalar() {
            let (fits, must) = match scalar {
                "time" => (parse_time(value).is_some(), "must be a time in RFC 3339 form"),
                "quantity" => (value.is_string() || value.is_number(), "must be a quantity"),
                "int-or-string" => (value.is_i64() || value.is_string(), "must be an integer or a string"),
                "object" => (value.is_object(), "must be an object"),
                _ => (true, ""),
            };
            if !fits {
                self.wrong(value, must, Shape::Type(of.name));
            }
            return;
        }
        let Some(map) = value.as_object() else {
            return self.wrong(value, "must be an object", Shape::Type(of.name));
        };
        let owner = std::mem::replace(&mut self.owner, of.name);
        for (name, value) in map {
            let Some(field) = of.field(name) else { continue };
            // Null is not there.
            if value.is_null() {
                continue;
            }
            let is_status = self.path.is_empty() && name == "status";
            self.choices &= !is_status;
            let (length, plain) = (push(&mut self.path, name), push(&mut self.plain, name));
            let before = self.found.len();
            self.of_shape(field.shape, value);
            if self.choices && self.found.len() == before {
                self.of_choices(field, value);
            }
            self.path.truncate(length);
            self.plain.truncate(plain);
            self.choices |= is_status;
        }
        self.owner = owner;
    }

    fn of_choices(&mut self, field: super::schema::Field, value: &Value) {
        let Some(choices) = field.choices() else { return };
        let allowed = || choices.clone().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", ");
        let mut one = |path: String, value: &Value| {
            // Empty is not set.
            let fits =
                value.as_str().is_none_or(|text| text.is_empty() || choices.clone().any(|one| one == text));
            if !fits {
                self.found.push(Misfit::Choice { path, value: value.clone(), allowed: allowed() });
            }
        };
        match value {
            Value::Array(list) => {
                let path = self.path.clone();
                list.iter().enumerate().for_each(|(at, value)| one(format!("{path}[{at}]"), value));
            }
            Value::String(_) => one(self.path.clone(), value),
            _ => {}
        }
    }

    fn of_shape(&mut self, shape: Shape, value: &Value) {
        let (fits, must) = match shape {
            Shape::Text | Shape::Bytes => (value.is_string(), "must be a string"),
            Shape::Bool => (value.is_boolean(), "must be a boolean"),
            Shape::Int => (is_int(value), "must be an integer of 32 bits"),
            Shape::Long => (value.is_i64(), "must be an integer"),
            Shape::Number => (value.is_number(), "must be a number"),
            Shape::Object => (value.is_object(), "must be an object"),
            Shape::Any => return,
            Shape::Type(name) => {
                if let Some(of) = Type::named(name) {
                    self.of_type(of, value);
                }
                return;
            }
            Shape::List(inner) => {
                let Some(list) = value.as_array() else {
                    return self.wrong(value, "must be a list", shape);
                };
                for (index, value) in list.iter().enumerate() {
                    let length = push_index(&mut self.path, index);
                    self.of_shape(Shape::parse(inner), value);
                    self.path.truncate(length);
                }
                return;
            }
            Shape::Map(inner) => {
                let Some(map) = value.as_object() else {
                    return self.wrong(value, "must be an object", shape);
                };
                for (name, value) in map {
                    let length = push(&mut self.path, name);
                    self.of_shape(Shape::parse(inner), value);
                    self.path.truncate(length);
                }
                return;
            }
        };
        if !fits {
            self.wrong(value, must, shape);
        }
    }
}

/// Returns the last part of a type's name.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Returns the name that the shape has in Go.
fn in_go(shape: Shape) -> String {
    match shape {
        Shape::Text => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int => "int32".to_owned(),
        Shape::Long => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Object | Shape::Any => "map[string]interface {}".to_owned(),
        Shape::Type(name) => {
            let version = name.rsplit('.').nth(1).unwrap_or_default();
            format!("{version}.{}", short(name))
        }
        Shape::List(inner) => format!("[]{}", in_go(Shape::parse(inner))),
        Shape::Map(inner) => format!("map[string]{}", in_go(Shape::parse(inner))),
    }
}

fn is_int(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::KINDS;

    fn kind(name: &str) -> &'static Kind {
        KINDS.iter().find(|kind| kind.kind == name).unwrap()
    }

    #[test]
    fn unknown_fields_go_and_are_named_by_path() {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": null}},
            "spec": {"foo": 1, "nodeName": null, "containers": [{"name": "c"}, {"name": "d", "imagepull": "x",
                "env": [{"name": "A", "vlaue": "1"}]}]}});
        let found = prune(kind("Pod"), &mut pod);
        assert_eq!(found, ["spec.foo", "spec.containers[1].imagepull", "spec.containers[1].env[0].vlaue"]);
        let left = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": ""}},
            "spec": {"containers": [{"name": "c"}, {"name": "d", "env": [{"name": "A"}]}]}});
        assert_eq!(pod, left);
    }

    #[test]
    fn free_maps_and_raw_objects_stay_as_they_are() {
        let object = json!({"metadata": {"annotations": {"any/thing": "x"},
            "managedFields": [{"fieldsV1": {"f:spec": {"f:x": {}}}}]}, "data": {"k": "v"}});
        let mut map = object.clone();
        assert!(prune(kind("ConfigMap"), &mut map).is_empty());
        assert_eq!(map, object);
    }

    #[test]
    fn quantities_become_canonical_wherever_they_are() {
        let mut pod = json!({"spec": {"containers": [{"resources": {
            "limits": {"cpu": 1, "memory": 1_500_000_000, "x/y": 0.5}, "requests": {"cpu": "1000m", "memory": "abc"}}}],
            "volumes": [{"emptyDir": {"sizeLimit": "1024Mi"}}]}});
        assert_eq!(prune(kind("Pod"), &mut pod), [""; 0]);
        let want = json!({"spec": {"containers": [{"resources": {
            "limits": {"cpu": "1", "memory": "1500M", "x/y": "500m"}, "requests": {"cpu": "1", "memory": "abc"}}}],
            "volumes": [{"emptyDir": {"sizeLimit": "1Gi"}}]}});
        assert_eq!(pod, want);
    }

    #[test]
    fn recorded_objects_fit() {
        for (name, text) in [
            ("Pod", include_str!("../../tests/data/pod.yaml")),
            ("Node", include_str!("../../tests/data/node.yaml")),
        ] {
            let mut object: Value = serde_saphyr::from_str(text).unwrap();
            assert_eq!(misfits(kind(name), &object), [], "{name}");
            assert_eq!(prune(kind(name), &mut object), [""; 0], "{name}");
        }
    }

    #[test]
    fn values_of_the_wrong_sort_are_found() {
        let deployment = json!({"spec": {"replicas": "three", "paused": 1, "selector": [], "template": {"spec": {
            "containers": {"name": "c"}, "terminationGracePeriodSeconds": 1.5, "restartPolicy": "Sometimes"}}}});
        let found: Vec<String> = misfits(kind("Deployment"), &deployment)
            .into_iter()
            .map(|misfit| match misfit {
                Misfit::Sort { path, must, .. } => format!("{path} {must}"),
                Misfit::Choice { path, allowed, .. } => format!("{path} one of {allowed}"),
            })
            .collect();
        assert_eq!(
            found,
            [
                "spec.replicas must be an integer of 32 bits",
                "spec.paused must be a boolean",
                "spec.selector must be an object",
                "spec.template.spec.containers must be a list",
                "spec.template.spec.terminationGracePeriodSeconds must be an integer",
                "spec.template.spec.restartPolicy one of \"Always\", \"Never\", \"OnFailure\"",
            ]
        );
    }

    #[test]
    fn decoders_in_go_would_say_it_so() {
        let pod = json!({"metadata": {"labels": {"a": 1}}, "spec": {"hostNetwork": "yes", "containers": [
            {"args": [true], "ports": [{"containerPort": "80"}, {"containerPort": 1.5}], "securityContext": []}],
            "nodeSelector": 7}});
        let found: Vec<String> = misfits(kind("Pod"), &pod)
            .into_iter()
            .filter_map(|misfit| match misfit {
                Misfit::Sort { decoding, .. } => Some(decoding),
                Misfit::Choice { .. } => None,
            })
            .collect();
        let field =
            |text: &str| format!("json: cannot unmarshal {}", text.replace('>', "into Go struct field"));
        assert_eq!(
            found,
            [
                field("number > ObjectMeta.metadata.labels of type string"),
                field("string > PodSpec.spec.hostNetwork of type bool"),
                field("bool > Container.spec.containers.args of type string"),
                field("string > ContainerPort.spec.containers.ports.containerPort of type int32"),
                field("number 1.5 > ContainerPort.spec.containers.ports.containerPort of type int32"),
                field("array > Container.spec.containers.securityContext of type v1.SecurityContext"),
                field("number > PodSpec.spec.nodeSelector of type map[string]string"),
            ]
        );
    }
}
