//! `fieldValidation`: fields that the schema does not have, and keys that occur twice.

use serde_json::Value;

use crate::Status;
use crate::call::Call;
use crate::openapi::{self, Misfit};
use crate::validate::{FieldError, FieldErrorKind};

/// Removes unknown fields; strict calls get an error, others a warning, according to the query. Values of the wrong
/// sort are errors always.
pub(crate) fn check(
    call: &Call,
    bytes: &[u8],
    mut object: Value,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let found = unknown(call, bytes, &mut object);
    let kind = call.kind.kind;
    let refuse = |why: String| {
        let version = call.kind.version;
        Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    };
    decide(call, &object, found, warnings, refuse)?;
    Ok(object)
}

/// The same for what a patch makes of an object; `patch` is its text.
pub(crate) fn check_patched(
    call: &Call,
    patch: &[u8],
    mut object: Value,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let found = unknown(call, patch, &mut object);
    let refuse = |why: String| {
        let error = FieldError {
            field: "patch".to_owned(),
            kind: FieldErrorKind::Invalid,
            value: String::from_utf8_lossy(patch).into(),
            detail: why,
        };
        Status::invalid_request(&[error])
    };
    decide(call, &object, found, warnings, refuse)?;
    Ok(object)
}

/// Removes and names what is unknown or said twice.
fn unknown(call: &Call, bytes: &[u8], object: &mut Value) -> Vec<String> {
    let pruned = openapi::prune(call.kind, object);
    if call.query.get("fieldValidation") == "Ignore" {
        return Vec::new();
    }
    let unknown = pruned.into_iter().map(|path| format!("unknown field \"{path}\""));
    let twice = duplicates(bytes).into_iter().map(|path| format!("duplicate field \"{path}\""));
    unknown.chain(twice).collect()
}

fn decide(
    call: &Call,
    object: &Value,
    found: Vec<String>,
    warnings: &mut Vec<String>,
    refuse: impl Fn(String) -> Status,
) -> Result<(), Status> {
    let wrong = openapi::misfits(call.kind, object).into_iter().find_map(|misfit| match misfit {
        Misfit::Sort { decoding, .. } => Some(decoding),
        Misfit::Choice { .. } => None,
    });
    if let Some(decoding) = wrong {
        return Err(refuse(decoding));
    }
    if call.query.get("fieldValidation") == "Strict" && !found.is_empty() {
        return Err(refuse(format!("strict decoding error: {}", found.join(", "))));
    }
    warnings.extend(found);
    Ok(())
}

/// Returns the paths of keys that occur twice in the same JSON object.
fn duplicates(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if bytes.is_empty() {
        return found;
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut path = String::new();
    let seed = Seen { path: &mut path, found: &mut found };
    // What is not JSON (YAML) was refused by its own parser if a key occurs twice.
    drop(serde::de::DeserializeSeed::deserialize(seed, &mut reader));
    found
}

struct Seen<'a> {
    path: &'a mut String,
    found: &'a mut Vec<String>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Seen<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Seen<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let length = self.path.len();
        for at in 0_usize.. {
            self.path.push('[');
            self.path.push_str(&at.to_string());
            self.path.push(']');
            let seen = list.next_element_seed(Seen { path: &mut *self.path, found: &mut *self.found })?;
            self.path.truncate(length);
            if seen.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let length = self.path.len();
        let mut keys = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            if !keys.insert(key) {
                self.found.push(self.path.clone());
            }
            map.next_value_seed(Seen { path: &mut *self.path, found: &mut *self.found })?;
            self.path.truncate(length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_occur_twice_are_named_by_path() {
        let found = duplicates(br#"{"a":1,"spec":{"list":[{"x":1,"x":2}]},"a":2}"#);
        assert_eq!(found, ["spec.list[0].x", "a"]);
    }
}
