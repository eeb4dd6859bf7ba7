//! `fieldValidation`: fields that the schema does not have, and keys that occur twice.

use serde_json::Value;

use crate::call::Call;
use crate::{Status, openapi};

/// Removes unknown fields; strict calls get an error, others a warning, according to the query.
pub(crate) fn check(
    call: &Call,
    bytes: &[u8],
    mut object: Value,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let mode = call.query.get("fieldValidation");
    let mut found: Vec<String> = openapi::prune(call.kind, &mut object)
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    if mode != "Ignore" && !bytes.is_empty() {
        found.extend(duplicates(bytes).into_iter().map(|path| format!("duplicate field \"{path}\"")));
    }
    match mode {
        "Ignore" => {}
        "Strict" if !found.is_empty() => {
            let kind = call.kind.kind;
            return Err(Status::bad_request(format!(
                "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
                call.kind.version,
                found.join(", ")
            )));
        }
        _ => warnings.extend(found),
    }
    Ok(object)
}

/// Returns the paths of keys that occur twice in the same JSON object.
fn duplicates(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Seen { path: String::new(), found: &mut found };
    // What is not JSON (YAML) was refused by its own parser if a key occurs twice.
    drop(serde::de::DeserializeSeed::deserialize(seed, &mut reader));
    found
}

struct Seen<'a> {
    path: String,
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
        let mut at = 0;
        loop {
            let path = format!("{}[{at}]", self.path);
            if list.next_element_seed(Seen { path, found: &mut *self.found })?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            if !keys.insert(key) {
                self.found.push(path.clone());
            }
            map.next_value_seed(Seen { path, found: &mut *self.found })?;
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
