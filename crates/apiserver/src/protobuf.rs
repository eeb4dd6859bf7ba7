//! Request bodies in Kubernetes' protobuf form, which stock clients send for built-in types; answers are JSON.
//!
//! `protobuf/fields.txt` lists for each message its fields: number, JSON name (`-` is inlined), type. Types: `s`
//! string, `i` integer, `b` bool, `d` double, `y` bytes, `Q` quantity, `T` and `U` times, `I` integer or string, `R`
//! raw JSON, `D` duration, `L` a list wrapped in a message, else a message; `[` repeated, `{` map from strings, `*`
//! kept when zero, `~` left out when zero.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// First bytes of every message.
const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting of messages.
const DEPTH: usize = 64;

type Fields = Vec<(u64, &'static str, &'static str)>;

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&str, Fields> = HashMap::new();
    let mut current = "";
    for line in include_str!("protobuf/fields.txt").lines() {
        if let Some(name) = line.strip_prefix('@') {
            current = name;
            messages.insert(current, Vec::new());
            continue;
        }
        let mut words = line.split(' ');
        if let (Some(number), Some(json), Some(of)) = (words.next(), words.next(), words.next())
            && let (Ok(number), Some(fields)) = (number.parse(), messages.get_mut(current))
        {
            fields.push((number, json, of));
        }
    }
    messages
});

/// Why a body does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The bytes are not a message of the type they claim to be.
    #[error("the body is not a valid protobuf message")]
    Malformed,
    /// The type is not in the table.
    #[error("the body is a protobuf message of a type this server takes as JSON only")]
    Unknown,
}

/// A value on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Other,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Wire::Varint(varint(bytes)?),
        1 => Wire::Fixed64(take(bytes, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => {
            take(bytes, 4)?;
            Wire::Other
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

/// Returns the first field of this number as bytes; empty if there is none.
fn bytes_at(mut bytes: &[u8], number: u64) -> Option<&[u8]> {
    while !bytes.is_empty() {
        if let (found, Wire::Bytes(value)) = next(&mut bytes)?
            && found == number
        {
            return Some(value);
        }
    }
    Some(&[])
}

/// Decodes a body into the JSON form of its object.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(DecodeError::Malformed)?;
    let field = |of, number| bytes_at(of, number).ok_or(DecodeError::Malformed);
    let text = |of| std::str::from_utf8(of).map_err(|_bad| DecodeError::Malformed);
    let types = field(envelope, 1)?;
    let (version, kind) = (text(field(types, 1)?)?, text(field(types, 2)?)?);
    let raw = field(envelope, 2)?;
    let (group, of) = version.rsplit_once('/').unwrap_or(("core", version));
    let group = group.split('.').next().unwrap_or_default();
    let name = if kind == "DeleteOptions" {
        "meta/v1.DeleteOptions".to_owned()
    } else {
        format!("{group}/{of}.{kind}")
    };
    let (name, _) = MESSAGES.get_key_value(name.as_str()).ok_or(DecodeError::Unknown)?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    message(name, raw, &mut object, DEPTH).ok_or(DecodeError::Malformed)?;
    Ok(Value::Object(object))
}

fn message(name: &str, mut bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let fields = MESSAGES.get(name)?;
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        let Some((_, json, of)) = fields.iter().find(|field| field.0 == number) else { continue };
        let (omit, of) = of.strip_prefix('~').map_or((false, *of), |of| (true, of));
        let (pointer, of) = of.strip_prefix('*').map_or((false, of), |of| (true, of));
        if *json == "-" {
            if let Wire::Bytes(inner) = wire {
                message(of, inner, out, depth)?;
            }
        } else if let Some(of) = of.strip_prefix('[') {
            let list = out.entry(*json).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
            repeated(of, &wire, list, depth)?;
        } else if let Some(of) = of.strip_prefix('{') {
            let Wire::Bytes(entry) = wire else { return None };
            let map = out.entry(*json).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
            let (key, value) = map_entry(of, entry, depth)?;
            map.insert(key, value);
        } else {
            let value = single(of, &wire, depth)?;
            let zero = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::Bool(yes) => !yes,
                Value::Object(_) | Value::Array(_) => false,
            };
            // A port of 0 means "not said": this one has no `omitempty` of its own kind.
            let unset = !pointer && *json == "targetPort" && value == 0;
            if !(value.is_null() || unset || (omit && zero)) {
                out.insert((*json).to_owned(), value);
            }
        }
    }
    Some(())
}

fn repeated(of: &str, wire: &Wire<'_>, list: &mut Vec<Value>, depth: usize) -> Option<()> {
    if let (Wire::Bytes(packed), "i" | "b") = (wire, of) {
        let mut packed = *packed;
        while !packed.is_empty() {
            list.push(single(of, &Wire::Varint(varint(&mut packed)?), depth)?);
        }
        return Some(());
    }
    list.push(single(of, wire, depth)?);
    Some(())
}

fn map_entry(of: &str, mut entry: &[u8], depth: usize) -> Option<(String, Value)> {
    let mut key = String::new();
    let mut value = None;
    while !entry.is_empty() {
        match next(&mut entry)? {
            (1, Wire::Bytes(text)) => key = std::str::from_utf8(text).ok()?.to_owned(),
            (2, wire) => value = Some(single(of, &wire, depth)?),
            _ => {}
        }
    }
    let value = value.or_else(|| single(of, &Wire::Bytes(&[]), depth))?;
    Some((key, value))
}

fn single(of: &str, wire: &Wire<'_>, depth: usize) -> Option<Value> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Value::from);
    Some(match (of, wire) {
        ("i", Wire::Varint(number)) => number.cast_signed().into(),
        ("b", Wire::Varint(number)) => (*number != 0).into(),
        ("d", Wire::Fixed64(bytes)) => f64::from_le_bytes(*bytes).into(),
        ("s", Wire::Bytes(bytes)) => text(bytes)?,
        ("y", Wire::Bytes(bytes)) => BASE64.encode(bytes).into(),
        ("Q", Wire::Bytes(bytes)) => text(bytes_at(bytes, 1)?)?,
        ("R", Wire::Bytes(bytes)) => serde_json::from_slice(bytes_at(bytes, 1)?).unwrap_or(Value::Null),
        ("T" | "U", Wire::Bytes(bytes)) => time_of(bytes, of == "U")?,
        ("I", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (list, Wire::Bytes(bytes)) if list.starts_with('L') => {
            let mut bytes = *bytes;
            let mut items = Vec::new();
            while !bytes.is_empty() {
                if let (1, wire) = next(&mut bytes)? {
                    items.push(single(&list[1..], &wire, depth)?);
                }
            }
            Value::Array(items)
        }
        (name, Wire::Bytes(bytes)) if name.contains('/') => {
            let mut inner = Map::new();
            message(name, bytes, &mut inner, depth)?;
            Value::Object(inner)
        }
        _ => return None,
    })
}

/// Numbers of a small message: fields 1 and 2 as integers.
fn numbers(mut bytes: &[u8]) -> Option<(i64, i64)> {
    let (mut first, mut second) = (0, 0);
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Varint(number)) => first = number.cast_signed(),
            (2, Wire::Varint(number)) => second = number.cast_signed(),
            _ => {}
        }
    }
    Some((first, second))
}

/// Returns a time; null for the zero time.
fn time_of(bytes: &[u8], micro: bool) -> Option<Value> {
    if bytes.is_empty() {
        return Some(Value::Null);
    }
    let (seconds, nanos) = numbers(bytes)?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    if time.year() <= 1 {
        return Some(Value::Null);
    }
    if micro {
        let text = time.format(&Rfc3339).ok()?;
        return Some(format!("{}.{:06}Z", text.trim_end_matches('Z'), nanos / 1000).into());
    }
    Some(time.format(&Rfc3339).ok()?.into())
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (kind, number) = numbers(bytes)?;
    if kind == 0 {
        return Some(number.into());
    }
    Some(std::str::from_utf8(bytes_at(bytes, 3)?).ok()?.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &types), field(2, raw)].concat()
    }

    #[test]
    fn a_secret_decodes_to_its_json_form() {
        let metadata = [field(1, b"s"), field(2, b""), field(8, b"")].concat();
        let entry = [field(1, b"k"), field(2, b"v")].concat();
        let raw = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
        assert_eq!(
            decode(&envelope("v1", "Secret", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "dg=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn damaged_bodies_are_refused() {
        for body in [&b""[..], b"k8s", b"k8s\0\x0a\xff", b"\x00\x01", &envelope("v1", "Secret", b"\x0a\x7f")]
        {
            assert!(decode(body).is_err(), "case {body:?}");
        }
        assert_eq!(decode(&envelope("v1", "Nothing", b"")), Err(DecodeError::Unknown));
    }

    #[test]
    fn every_message_that_a_field_names_is_in_the_table() {
        for (name, fields) in MESSAGES.iter() {
            for (_, json, of) in fields {
                let of = of.trim_start_matches(['~', '*', '[', '{', 'L']);
                assert!(!of.contains('/') || MESSAGES.contains_key(of), "{name}.{json}: {of}");
            }
        }
    }
}
