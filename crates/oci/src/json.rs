//! JSON that means one thing: a document in which a name stands twice is refused.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a document in which no object has the same name twice; one that has is an error.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let _once: Once = serde_json::from_slice(bytes)?;
    serde_json::from_slice(bytes)
}

/// A document of more bytes may be that large because of its texts, not because of how many values it has: each takes ten times its bytes of memory.
const LARGE: usize = 4 << 20;
/// So many separators it may have outside of texts.
const SEPARATORS: usize = 200_000;

/// Refuses a large document that has too many values for the memory, before it is read.
pub fn check_values(bytes: &[u8]) -> Result<(), serde_json::Error> {
    if bytes.len() <= LARGE {
        return Ok(());
    }
    let (mut is_text, mut is_escaped, mut separators) = (false, false, 0);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => separators += 1,
            _ => {}
        }
    }
    if separators > SEPARATORS {
        let text = format!("it has more than {SEPARATORS} values in {} bytes", bytes.len());
        return Err(serde_json::Error::custom(text));
    }
    Ok(())
}

/// Compat: Go, where `null` leaves a field as it was: an empty text, list or map, and `false`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Compat: docker, where a command line may be one text, which is a list of that.
pub(crate) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        List(Vec<String>),
    }
    Ok(Option::deserialize(deserializer)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::List(words) => words,
    }))
}

/// Any document; reading one fails where a name is repeated.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self).map(drop)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Once, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "the name `{}` stands twice",
                    name.escape_debug()
                )));
            }
            seen.insert(name);
            entries.next_value_seed(Self)?;
        }
        Ok(Once)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_large_document_has_long_texts_and_not_many_values() {
        let texts = format!("{{\"a\":\"{}\"}}", "\\\",[{".repeat(2_000_000));
        let values = format!("[{}0]", "0,".repeat(2_200_000));
        for (name, text, want) in [
            ("texts", texts.as_str(), true),
            ("values", values.as_str(), false),
            ("fewer bytes", &values[..4 << 20], true),
        ] {
            assert_eq!(check_values(text.as_bytes()).is_ok(), want, "case {name}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth() {
        for (name, text, want) in [
            ("plain", r#"{"a":1,"b":[{"a":2},{"a":3}],"c":-1.5,"d":null,"e":true}"#, true),
            ("twice", r#"{"a":1,"a":1}"#, false),
            ("within a list", r#"{"b":[{"a":1,"a":2}]}"#, false),
            ("spelled differently", r#"{"a":1,"\u0061":2}"#, false),
            ("something behind it", "{} {}", false),
        ] {
            assert_eq!(parse_json::<Value>(text.as_bytes()).is_ok(), want, "case {name}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse_json::<Value>(deep.as_bytes()).is_err());
    }
}
