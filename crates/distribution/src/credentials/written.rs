//! A document that others wrote, written again.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A document with what did not change as it was written: numbers mean more to some than to us.
pub(super) enum Written<'a> {
    Before(&'a RawValue),
    Map(Vec<(&'a str, Self)>),
    New(&'a Value),
}

impl<'a> Written<'a> {
    fn of(value: &'a Value, before: Option<&'a RawValue>) -> Self {
        match (value, before) {
            (_, Some(text)) if serde_json::from_str(text.get()).is_ok_and(|known: Value| known == *value) => {
                Self::Before(text)
            }
            (Value::Object(map), _) => Self::of_map(map, before),
            _ => Self::New(value),
        }
    }

    pub(super) fn of_map(map: &'a Map<String, Value>, before: Option<&'a RawValue>) -> Self {
        let before: HashMap<Cow<'_, str>, &RawValue> =
            before.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default();
        let fields = map
            .iter()
            .map(|(name, value)| (name.as_str(), Self::of(value, before.get(name.as_str()).copied())));
        Self::Map(fields.collect())
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Before(text) => text.serialize(serializer),
            Self::Map(fields) => serializer.collect_map(fields.iter().map(|(name, field)| (name, field))),
            Self::New(value) => value.serialize(serializer),
        }
    }
}
