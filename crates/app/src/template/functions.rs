//! What templates can call. Compat: Go's text/template, and what Docker adds.

use std::cmp::Ordering;

use super::value::Value;
use super::{compare, escape, print, printf};

/// All functions.
pub(super) const NAMES: [&str; 27] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
    "urlquery",
];

/// Those that do nothing to the head of a table.
pub(super) const LEAVE_HEADS: [&str; 7] = ["join", "json", "lower", "split", "title", "truncate", "upper"];

/// Returns what a function gives; `and` and `or` look at no more than they must, elsewhere.
pub(super) fn apply<'a>(function: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    match function {
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compared(function, arguments).map(Value::Truth),
        "index" => match arguments {
            [value, keys @ ..] => indexed(value, keys),
            [] => Err("`index` wants a list or a map, and what to look for".to_owned()),
        },
        "slice" => sliced(arguments),
        "len" => match arguments {
            [value] => length(value),
            _ => Err(count(function, "one value", arguments)),
        },
        "not" => match arguments {
            [value] => Ok(Value::Truth(!value.is_true())),
            _ => Err(count(function, "one value", arguments)),
        },
        "call" => match arguments {
            [value, ..] => Err(format!("`call` wants a function, not {}", value.kind())),
            [] => Err("`call` wants a function".to_owned()),
        },
        "print" => Ok(Value::text(print::joined(arguments))),
        "println" => Ok(Value::text(print::line(arguments))),
        "printf" => match arguments {
            [Value::Text(format), values @ ..] => printf::printf(format, values).map(Value::text),
            _ => Err("`printf` wants a text, and what goes into it".to_owned()),
        },
        "html" => Ok(Value::text(escape::html(&shown(arguments)))),
        "js" => Ok(Value::text(escape::js(&shown(arguments)))),
        "urlquery" => Ok(Value::text(escape::query(&shown(arguments)))),
        _ => dockers(function, arguments),
    }
}

/// Returns values side by side as they are shown.
fn shown(values: &[Value<'_>]) -> String {
    let mut values = values.to_vec();
    for value in &mut values {
        if matches!(value, Value::Missing | Value::Null) {
            *value = Value::text(print::shown(value));
        }
    }
    print::joined(&values)
}

fn count(function: &str, wants: &str, arguments: &[Value<'_>]) -> String {
    format!("`{function}` wants {wants}, not {}", arguments.len())
}

fn compared(function: &str, arguments: &[Value<'_>]) -> Result<bool, String> {
    if let ("eq", [first, others @ ..]) = (function, arguments) {
        if others.is_empty() {
            return Err("`eq` wants something to compare with".to_owned());
        }
        return compare::is_one_of(first, others);
    }
    let [first, second] = arguments else { return Err(count(function, "two values", arguments)) };
    if function == "ne" {
        return compare::is_one_of(first, std::slice::from_ref(second)).map(|is_equal| !is_equal);
    }
    let order = compare::order(first, second)?;
    let is_less = order == Some(Ordering::Less);
    let is_less_or_equal = is_less || order == Some(Ordering::Equal);
    Ok(match function {
        "lt" => is_less,
        "le" => is_less_or_equal,
        "gt" => !is_less_or_equal,
        _ => !is_less,
    })
}

fn indexed<'a>(value: &Value<'a>, keys: &[Value<'a>]) -> Result<Value<'a>, String> {
    let mut value = value.clone();
    if value.is_nothing() {
        return Err("there is nothing to index".to_owned());
    }
    for key in keys {
        value = match (&value, key) {
            (Value::List(values), key) => {
                let place = place(key, values.len())?;
                values.get(place).cloned().ok_or_else(|| out_of_range(place, values.len()))?
            }
            (Value::Text(text), key) => {
                let place = place(key, text.len())?;
                let byte = text.as_bytes().get(place).ok_or_else(|| out_of_range(place, text.len()))?;
                Value::Whole(i128::from(*byte))
            }
            (Value::Fields(fields), Value::Text(key)) => {
                match (fields.get(key), fields.shape.of_field(key)) {
                    // Compat: Go, a key that a map does not have gives what an empty one would.
                    (None | Some(Value::Missing), Some(shape)) => Value::unset(shape),
                    (found, _) => found.unwrap_or(Value::Missing),
                }
            }
            (Value::Fields(_), key) => return Err(format!("the key of a map is a text, not {}", key.kind())),
            (other, _) => return Err(format!("{} cannot be indexed", other.kind())),
        };
    }
    Ok(value)
}

/// Returns a place in something of a length, or behind its end.
fn place(key: &Value<'_>, length: usize) -> Result<usize, String> {
    let Value::Whole(place) = key else {
        return Err(format!("a place in a list or text is a whole number, not {}", key.kind()));
    };
    let found = usize::try_from(*place).ok().filter(|place| *place <= length);
    found.ok_or_else(|| out_of_range(place, length))
}

fn out_of_range(place: impl std::fmt::Display, length: usize) -> String {
    format!("there is no place {place}: the length is {length}")
}

fn sliced<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let (value, places) = match arguments {
        [value, places @ ..] if places.len() <= 3 => (value, places),
        _ => return Err("`slice` wants a list or a text, and at most three places".to_owned()),
    };
    let length = match value {
        Value::Text(_) if places.len() == 3 => return Err("a text is sliced at two places".to_owned()),
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        other => return Err(format!("{} cannot be sliced", other.kind())),
    };
    let places: Vec<usize> = places.iter().map(|key| place(key, length)).collect::<Result<_, _>>()?;
    let start = places.first().copied().unwrap_or(0);
    let end = places.get(1).copied().unwrap_or(length);
    if start > end || places.get(2).is_some_and(|last| end > *last) {
        return Err(format!("`slice` ends at {end}, before it begins, or behind its end"));
    }
    Ok(match value {
        Value::List(values) => Value::list(values[start..end].iter().cloned()),
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[start..end])),
        _ => Value::Missing,
    })
}

fn length<'a>(value: &Value<'_>) -> Result<Value<'a>, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        Value::Fields(fields) => fields.json.len(),
        other => return Err(format!("`len` wants a list, a map or a text, not {}", other.kind())),
    };
    Ok(Value::Whole(length as i128))
}

/// What Docker adds.
fn dockers<'a>(function: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let text = |value: &Value<'a>| match value {
        Value::Text(text) => Ok(text.to_string()),
        other => Err(format!("`{function}` wants a text, not {}", other.kind())),
    };
    let number = |value: &Value<'a>| match value {
        Value::Whole(number) => {
            usize::try_from(*number).map_err(|_error| format!("`{function}` wants no negative number"))
        }
        other => Err(format!("`{function}` wants a whole number, not {}", other.kind())),
    };
    match (function, arguments) {
        ("json", [value]) => Ok(Value::text(value.to_json().to_string())),
        ("join", [value, separator]) => join(value, &text(separator)?),
        ("split", [value, separator]) => {
            let (value, separator) = (text(value)?, text(separator)?);
            if separator.is_empty() {
                return Ok(Value::list(value.chars().map(Value::text)));
            }
            Ok(Value::list(value.split(&separator).map(Value::text)))
        }
        ("lower", [value]) => Ok(Value::text(text(value)?.to_lowercase())),
        ("upper", [value]) => Ok(Value::text(text(value)?.to_uppercase())),
        ("title", [value]) => Ok(Value::text(title(&text(value)?))),
        ("pad", [value, before, after]) => {
            let (value, before, after) = (text(value)?, number(before)?, number(after)?);
            if before.max(after) > print::WIDEST {
                return Err(format!("`pad` wants at most {} spaces", print::WIDEST));
            }
            if value.is_empty() {
                return Ok(Value::text(value));
            }
            Ok(Value::text(format!("{}{value}{}", " ".repeat(before), " ".repeat(after))))
        }
        ("truncate", [value, length]) => {
            let (value, length) = (text(value)?, number(length)?);
            let kept = &value.as_bytes()[..length.min(value.len())];
            Ok(Value::text(String::from_utf8_lossy(kept)))
        }
        ("pad", _) => Err(count(function, "three values", arguments)),
        ("join" | "split" | "truncate", _) => Err(count(function, "two values", arguments)),
        _ => Err(count(function, "one value", arguments)),
    }
}

fn join<'a>(value: &Value<'a>, separator: &str) -> Result<Value<'a>, String> {
    let texts: Vec<String> = match value {
        Value::Missing | Value::Null => Vec::new(),
        Value::List(values) => values.iter().map(print::nested).collect(),
        Value::Fields(fields) => {
            let mut texts: Vec<String> =
                fields.sorted().iter().map(|(_, value)| print::nested(value)).collect();
            texts.sort();
            texts
        }
        other => return Err(format!("`join` wants a list, not {}", other.kind())),
    };
    Ok(Value::text(texts.join(separator)))
}

/// Words begin with capitals. Compat: Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut out = String::new();
    for char in text.chars() {
        let begins = !(before.is_alphanumeric() || before == '_' || before == '\'');
        if begins {
            out.extend(char.to_uppercase());
        } else {
            out.push(char);
        }
        before = char;
    }
    out
}
