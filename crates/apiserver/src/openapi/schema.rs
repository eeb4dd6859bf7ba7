//! The compact schema of all built-in types, read in place.
//!
//! `schema.txt` is made by `examples/schema.rs` from the OpenAPI documents of a Kubernetes 1.36 server. A type begins
//! with `=NAME` (`io.k8s.` left out); a line per field follows: name, shape, facts, separated by tabs.
//!
//! Shapes: `s` string, `y` Base64 string, `b` boolean, `i` and `l` integers of 32 and 64 bits, `d` number, `o` object,
//! `?` anything, `@TYPE`, `[` list of, `{` map from strings to. Facts: `!` required, `z` the default is the zero
//! value, `d=` another default, `L=` keys of a list that is a map, `U` a set, `A` atomic, `S=` patch strategy, `K=`
//! merge key, `e=` allowed values. Facts of types: `k=` group/version/kind, `A` atomic, `t=` no fields but a scalar.

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("schema.txt");

struct Index {
    /// Facts and fields by name of the type.
    types: HashMap<&'static str, Type>,
    /// Names of types by `group/version/kind`.
    kinds: HashMap<&'static str, &'static str>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { types: HashMap::new(), kinds: HashMap::new() };
    for block in TEXT.strip_prefix('=').unwrap_or(TEXT).split("\n=") {
        let (head, fields) = block.split_once('\n').unwrap_or((block, ""));
        let (name, facts) = head.split_once('\t').unwrap_or((head, ""));
        for fact in facts.split('\t') {
            if let Some(kind) = fact.strip_prefix("k=") {
                index.kinds.insert(kind, name);
            }
        }
        index.types.insert(name, Type { name, facts, fields });
    }
    index
});

/// A type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    /// Its name without `io.k8s.`.
    pub(crate) name: &'static str,
    facts: &'static str,
    fields: &'static str,
}

/// A field of a type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    facts: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string.
    Text,
    /// Base64.
    Bytes,
    /// A boolean.
    Bool,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// A number.
    Number,
    /// An object with unknown fields.
    Object,
    /// Anything.
    Any,
    /// Another type.
    Type(&'static str),
    /// A list; the text is the shape of the elements.
    List(&'static str),
    /// A map from strings; the text is the shape of the values.
    Map(&'static str),
}

impl Shape {
    /// Reads a shape.
    pub(crate) fn parse(text: &'static str) -> Self {
        if let Some(name) = text.strip_prefix('@') {
            return Self::Type(name);
        }
        if let Some(inner) = text.strip_prefix('[') {
            return Self::List(inner);
        }
        if let Some(inner) = text.strip_prefix('{') {
            return Self::Map(inner);
        }
        match text {
            "s" => Self::Text,
            "y" => Self::Bytes,
            "b" => Self::Bool,
            "i" => Self::Int,
            "l" => Self::Long,
            "d" => Self::Number,
            "o" => Self::Object,
            _ => Self::Any,
        }
    }
}

fn fact(facts: &'static str, prefix: &str) -> Option<&'static str> {
    facts.split('\t').find_map(|fact| fact.strip_prefix(prefix))
}

fn flag(facts: &'static str, name: &str) -> bool {
    facts.split('\t').any(|fact| fact == name)
}

impl Type {
    /// Returns the type of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        INDEX.types.get(name).copied()
    }

    /// Returns the type of a kind.
    pub(crate) fn of_kind(group: &str, version: &str, kind: &str) -> Option<Self> {
        Self::named(INDEX.kinds.get(format!("{group}/{version}/{kind}").as_str())?)
    }

    /// Returns what it is when it has no fields: `time`, `quantity`, `int-or-string`, `object`, `any`.
    pub(crate) fn scalar(&self) -> Option<&'static str> {
        fact(self.facts, "t=")
    }

    /// Whether a value is replaced as a whole.
    pub(crate) fn is_atomic(&self) -> bool {
        flag(self.facts, "A")
    }

    /// Returns the kinds of objects of this type, as `group/version/kind`.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.facts.split('\t').filter_map(|fact| fact.strip_prefix("k="))
    }

    /// Returns its fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Field> + use<> {
        self.fields.lines().map(|line| {
            let (name, rest) = line.split_once('\t').unwrap_or((line, "?"));
            let (shape, facts) = rest.split_once('\t').unwrap_or((rest, ""));
            Field { name, shape: Shape::parse(shape), facts }
        })
    }

    /// Returns a field.
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        self.fields().find(|field| field.name == name)
    }
}

impl Field {
    /// Whether it must be there.
    pub(crate) fn is_required(&self) -> bool {
        flag(self.facts, "!")
    }

    /// Whether the default is the zero value.
    pub(crate) fn defaults_to_zero(&self) -> bool {
        flag(self.facts, "z")
    }

    /// Returns the default, as JSON, when it is not the zero value.
    pub(crate) fn default_json(&self) -> Option<&'static str> {
        fact(self.facts, "d=")
    }

    /// Returns the fields that identify the list's entries, joined by commas.
    pub(crate) fn list_keys(&self) -> Option<&'static str> {
        fact(self.facts, "L=")
    }

    /// Whether it is a list without order or duplicates.
    pub(crate) fn is_set(&self) -> bool {
        flag(self.facts, "U")
    }

    /// Whether it is replaced as a whole.
    pub(crate) fn is_atomic(&self) -> bool {
        flag(self.facts, "A")
    }

    /// Returns the strategies of patches, joined by commas.
    pub(crate) fn strategy(&self) -> Option<&'static str> {
        fact(self.facts, "S=")
    }

    /// Returns the field by which patches match entries.
    pub(crate) fn merge_key(&self) -> Option<&'static str> {
        fact(self.facts, "K=")
    }

    /// Returns the allowed values.
    pub(crate) fn choices(&self) -> Option<impl Iterator<Item = &'static str> + Clone + use<>> {
        Some(fact(self.facts, "e=")?.split('|'))
    }
}

/// Returns the field at a path of names joined by dots, through lists; `None` below maps with free keys.
pub(crate) fn field_at(root: Type, path: &str) -> Option<Field> {
    let mut of = root;
    let mut names = path.split('.').peekable();
    loop {
        let field = of.field(names.next()?)?;
        if names.peek().is_none() {
            return Some(field);
        }
        of = element(field.shape)?;
    }
}

/// Returns the type of a field's value, or of its elements if it is a list.
pub(crate) fn element(shape: Shape) -> Option<Type> {
    match shape {
        Shape::Type(name) => Type::named(name),
        Shape::List(inner) => element(Shape::parse(inner)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KINDS;

    #[test]
    fn every_kind_has_a_type_and_every_type_its_parts() {
        for kind in KINDS {
            let found = Type::of_kind(kind.group, kind.version, kind.kind);
            assert!(found.is_some(), "{} {}", kind.group, kind.kind);
        }
        for of in INDEX.types.values() {
            for field in of.fields() {
                let mut shape = field.shape;
                while let Shape::List(inner) | Shape::Map(inner) = shape {
                    shape = Shape::parse(inner);
                }
                if let Shape::Type(name) = shape {
                    assert!(Type::named(name).is_some(), "{}.{}: {name}", of.name, field.name);
                }
            }
        }
    }

    #[test]
    fn paths_lead_through_lists_but_not_through_maps() {
        let deployment = Type::of_kind("apps", "v1", "Deployment").unwrap();
        let ports = field_at(deployment, "spec.template.spec.containers.ports").unwrap();
        assert_eq!(ports.list_keys(), Some("containerPort,protocol"));
        assert_eq!(ports.merge_key(), Some("containerPort"));
        assert!(field_at(deployment, "spec.template.metadata.labels.app").is_none());
        assert!(field_at(deployment, "spec.nothing").is_none());
    }
}
