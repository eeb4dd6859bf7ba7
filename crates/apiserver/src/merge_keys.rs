//! How lists and maps merge, per kind and path: by the schema's own facts.
//!
//! A path is the field names from the root joined by dots, without list positions or map keys:
//! `spec.template.spec.containers.ports`. Below a map with free keys nothing is looked up.
//! Strategic merge patches and server-side apply have different facts for some fields, and are kept apart.

use crate::Kind;
use crate::openapi::schema::{Field, Shape, Type, element, field_at};

/// How a list merges in a strategic merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// Entries with the same value here are the same entry; `None` is a list of plain values.
    pub merge_key: Option<&'static str>,
    /// Whether the list merges at all (`patchStrategy: merge`).
    pub merge: bool,
    /// Whether fields missing in the patch go away (`patchStrategy: retainKeys`).
    pub retain_keys: bool,
}

/// How a field merges in a server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// A list whose entries are identified by these fields.
    MapList(&'static [&'static str]),
    /// A list of plain values without an order.
    Set,
    /// A list, map or structure that is one value.
    Atomic,
}

/// Keys of lists in the schema.
const KEYS: &[(&str, &[&str])] = &[
    ("name", &["name"]),
    ("type", &["type"]),
    ("ip", &["ip"]),
    ("uid", &["uid"]),
    ("rule", &["rule"]),
    ("mountPath", &["mountPath"]),
    ("devicePath", &["devicePath"]),
    ("resourceID", &["resourceID"]),
    ("port,protocol", &["port", "protocol"]),
    ("containerPort,protocol", &["containerPort", "protocol"]),
    ("topologyKey,whenUnsatisfiable", &["topologyKey", "whenUnsatisfiable"]),
    ("driver,device,pool,shareID", &["driver", "device", "pool", "shareID"]),
];

fn field(kind: &Kind, path: &str) -> Option<Field> {
    field_at(Type::of_kind(kind.group, kind.version, kind.kind)?, path)
}

/// Returns how `path` merges in a strategic merge patch; `None` replaces lists and merges maps.
pub fn strategic(kind: &Kind, path: &str) -> Option<Strategy> {
    let field = field(kind, path)?;
    let strategies = field.strategy()?;
    let has = |name| strategies.split(',').any(|strategy| strategy == name);
    let merge_key = field.merge_key();
    Some(Strategy { merge_key, merge: has("merge"), retain_keys: has("retainKeys") })
}

/// Returns how `path` merges in a server-side apply; `None` is atomic for lists and granular for maps.
pub fn apply(kind: &Kind, path: &str) -> Option<Topology> {
    let field = field(kind, path)?;
    if let Some(keys) = field.list_keys() {
        return KEYS.iter().find(|(joined, _)| *joined == keys).map(|(_, keys)| Topology::MapList(keys));
    }
    if field.is_set() {
        return Some(Topology::Set);
    }
    let atomic_type = match field.shape {
        Shape::Type(name) => Type::named(name).is_some_and(|of| of.is_atomic()),
        _ => false,
    };
    (field.is_atomic() || atomic_type).then_some(Topology::Atomic)
}

/// Returns the default of a list-map key that an entry leaves out, such as `protocol: TCP` of ports.
pub fn key_default(kind: &Kind, path: &str, key: &str) -> Option<&'static str> {
    let entry = element(field(kind, path)?.shape)?.field(key)?;
    let text = entry.default_json()?;
    text.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind_of;

    fn deployment() -> &'static Kind {
        kind_of("apps", "v1", "deployments").unwrap()
    }

    fn service() -> &'static Kind {
        kind_of("", "v1", "services").unwrap()
    }

    #[test]
    fn every_list_key_of_the_schema_is_in_the_table() {
        for line in include_str!("openapi/schema.txt").lines() {
            if let Some(keys) = line.split('\t').find_map(|fact| fact.strip_prefix("L=")) {
                let found = KEYS.iter().find(|(joined, _)| *joined == keys);
                assert_eq!(found.map(|(_, keys)| keys.join(",")), Some(keys.to_owned()), "{line}");
            }
        }
    }

    #[test]
    fn patches_and_applies_differ_where_upstream_differs() {
        let ports = strategic(service(), "spec.ports").unwrap();
        assert_eq!(ports, Strategy { merge_key: Some("port"), merge: true, retain_keys: false });
        assert_eq!(apply(service(), "spec.ports"), Some(Topology::MapList(&["port", "protocol"])));
        assert_eq!(key_default(service(), "spec.ports", "protocol"), Some("TCP"));
        assert_eq!(key_default(service(), "spec.ports", "port"), None);
    }

    #[test]
    fn lists_maps_and_structures_have_their_ways() {
        let template = "spec.template.spec";
        let at = |path: &str| apply(deployment(), &format!("{template}.{path}"));
        assert_eq!(at("containers"), Some(Topology::MapList(&["name"])));
        assert_eq!(at("containers.args"), Some(Topology::Atomic));
        assert_eq!(at("containers.ports"), Some(Topology::MapList(&["containerPort", "protocol"])));
        assert_eq!(at("nodeSelector"), Some(Topology::Atomic));
        assert_eq!(at("volumes.nothing"), None);
        assert_eq!(apply(deployment(), "spec.selector"), Some(Topology::Atomic));
        assert_eq!(apply(deployment(), "metadata.finalizers"), Some(Topology::Set));
        assert_eq!(apply(deployment(), "metadata.labels"), None);
        let volumes = strategic(deployment(), &format!("{template}.volumes")).unwrap();
        assert_eq!(volumes, Strategy { merge_key: Some("name"), merge: true, retain_keys: true });
        assert_eq!(strategic(deployment(), &format!("{template}.containers.args")), None);
        let finalizers = strategic(deployment(), "metadata.finalizers").unwrap();
        assert_eq!((finalizers.merge, finalizers.merge_key), (true, None));
        assert!(strategic(deployment(), "spec.strategy").unwrap().retain_keys);
    }
}
