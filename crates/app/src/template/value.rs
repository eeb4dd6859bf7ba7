//! What templates work with.

use std::rc::Rc;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use super::shape::Shape;
use super::text::Text;

/// What a row of a list looks labels up in.
const LOOKUP: &str = "Label";

/// Fields that Go's types call by another name than documents do. Compat: docker, both can be asked for.
const GO_NAMES: [(&str, &str); 8] = [
    ("ID", "Id"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("NanoCPUs", "NanoCpus"),
    ("CPUShares", "CpuShares"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
];

static NOTHING: LazyLock<Map<String, Json>> = LazyLock::new(Map::new);

/// A value of the document, or one that a template made.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// There is nothing: a key that a map does not have, `nil`.
    Missing,
    /// The document says that there is nothing.
    Null,
    /// Fields that are not there.
    Nil,
    Truth(bool),
    Whole(i128),
    Real(f64),
    Text(Text<'a>),
    List(Rc<Vec<Self>>),
    Fields(Fields<'a>),
    /// What `.Label "key"` looks into.
    Lookup(&'a Map<String, Json>),
}

/// An object of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) json: &'a Map<String, Json>,
    pub(super) shape: &'static Shape,
}

impl<'a> Value<'a> {
    /// Returns a part of a document.
    pub(super) fn of(json: &'a Json, shape: &'static Shape) -> Self {
        match json {
            Json::Null if *shape == Shape::Any => Self::Null,
            Json::Null => Self::unset(shape),
            Json::Bool(truth) => Self::Truth(*truth),
            Json::Number(number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                whole.map_or_else(|| Self::Real(number.as_f64().unwrap_or_default()), Self::Whole)
            }
            Json::String(text) => Self::Text(text.as_str().into()),
            Json::Array(values) => Self::list(values.iter().map(|value| Self::of(value, shape.of_each()))),
            Json::Object(json) => Self::Fields(Fields { json, shape: shape.there() }),
        }
    }

    /// Returns what stands for something that is not set.
    pub(super) fn unset(shape: &'static Shape) -> Self {
        match shape {
            Shape::Any | Shape::Row => Self::Missing,
            Shape::Text => Self::Text("".into()),
            Shape::Number => Self::Whole(0),
            Shape::Truth => Self::Truth(false),
            Shape::List(_) => Self::list([]),
            Shape::Map(_) | Shape::Fields(_) => Self::Fields(Fields { json: &NOTHING, shape }),
            Shape::Maybe(_) => Self::Nil,
        }
    }

    pub(super) fn list(values: impl IntoIterator<Item = Self>) -> Self {
        Self::List(Rc::new(values.into_iter().collect()))
    }

    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// Compat: Go, what is empty is false.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Null | Self::Nil => false,
            Self::Truth(truth) => *truth,
            Self::Whole(number) => *number != 0,
            Self::Real(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Fields(Fields { json, shape }) => {
                matches!(shape, Shape::Fields(_) | Shape::Row) || !json.is_empty()
            }
            Self::Lookup(_) => true,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Missing | Self::Null | Self::Nil)
    }

    /// Returns what a message calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::Null | Self::Nil => "nothing",
            Self::Truth(_) => "true or false",
            Self::Whole(_) | Self::Real(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Fields(_) => "a map",
            Self::Lookup(_) => "a function",
        }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Missing | Self::Null | Self::Nil => Json::Null,
            Self::Truth(truth) => Json::from(*truth),
            Self::Whole(number) => i64::try_from(*number)
                .map(Json::from)
                .or_else(|_| u64::try_from(*number).map(Json::from))
                .unwrap_or_default(),
            Self::Real(number) => Json::from(*number),
            Self::Text(text) => Json::from(&**text),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Fields(fields) => {
                let mut json = fields.json.clone();
                if *fields.shape == Shape::Row {
                    json.shift_remove(LOOKUP);
                }
                Json::Object(json)
            }
            Self::Lookup(map) => Json::Object((*map).clone()),
        }
    }
}

impl<'a> Fields<'a> {
    /// Returns a field; `None` if nobody knows it.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let shape = self.shape.of_field(name);
        match (self.json.get(name), self.shape) {
            (Some(Json::Object(json)), Shape::Row) if name == LOOKUP => Some(Value::Lookup(json)),
            (Some(json), _) => Some(Value::of(json, shape.unwrap_or(&Shape::Any))),
            (None, Shape::Map(_)) => Some(Value::Missing),
            (None, _) => shape.map(Value::unset).or_else(|| {
                let (_, own) = GO_NAMES.iter().find(|(other, _)| *other == name)?;
                self.get(own)
            }),
        }
    }

    /// Returns what is there, in the order of its names.
    pub(super) fn sorted(&self) -> Vec<(&'a str, Value<'a>)> {
        let shape = |name: &str| self.shape.of_field(name).unwrap_or(&Shape::Any);
        let mut found: Vec<_> =
            self.json.iter().map(|(name, json)| (name.as_str(), Value::of(json, shape(name)))).collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// Returns known fields in their order.
    pub(super) fn known(&self) -> Option<Vec<(&'static str, Value<'a>)>> {
        let Shape::Fields(fields) = self.shape else { return None };
        Some(fields.iter().filter_map(|(name, _)| Some((*name, self.get(name)?))).collect())
    }
}
