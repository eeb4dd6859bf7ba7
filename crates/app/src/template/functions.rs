//! What templates can call. Compat: Go's text/template, and what Docker adds.

use std::cmp::Ordering;

use super::budget::{Budget, PART, Writer};
use super::value::Value;
use super::{compare, escape, print, printf};

/// Compat: Go, nobody wants more spaces.
const WIDEST: usize = 1_000_000;

/// All functions.
pub(super) const NAMES: [&str; 27] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
    "urlquery",
];

/// Those that do nothing to the head of a table.
pub(super) const LEAVE_HEADS: [&str; 7] = ["join", "json", "lower", "split", "title", "truncate", "upper"];

/// Returns what a function gives; `and` and `or` look at no more than they must, elsewhere.
pub(super) fn apply<'a>(
    function: &str,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Result<Value<'a>, String> {
    match function {
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compared(function, arguments).map(Value::Truth),
        "index" => match arguments {
            [value, keys @ ..] => indexed(value, keys),
            [] => Err("`index` wants a list or a map, and what to look for".to_owned()),
        },
        "slice" => sliced(arguments, budget),
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
        "printf" if !matches!(arguments, [Value::Text(_), ..]) => {
            Err("`printf` wants a text, and what goes into it".to_owned())
        }
        "print" | "println" | "printf" | "html" | "js" | "urlquery" => {
            let name = quoted(function);
            written(function, budget, |out| match (function, arguments) {
                ("print", _) => print::joined(arguments, out),
                ("println", _) => print::line(arguments, out),
                ("printf", [Value::Text(format), values @ ..]) => printf::printf(format, values, out),
                ("html", _) => escape::html(&shown(&name, arguments, budget)?, out),
                ("js", _) => escape::js(&shown(&name, arguments, budget)?, out),
                _ => escape::query(&shown(&name, arguments, budget)?, out),
            })
        }
        _ => dockers(function, arguments, budget),
    }
}

/// Returns a text that a function writes.
fn written<'a>(
    function: &str,
    budget: &Budget,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), String>,
) -> Result<Value<'a>, String> {
    let name = quoted(function);
    let mut out = Writer::new(String::new(), &name, budget);
    write(&mut out)?;
    Ok(Value::text(out.into_text()))
}

/// Returns what errors call a function.
fn quoted(function: &str) -> String {
    format!("`{function}`")
}

/// Returns values side by side as they are shown.
fn shown(name: &str, values: &[Value<'_>], budget: &Budget) -> Result<String, String> {
    let mut values = values.to_vec();
    for value in &mut values {
        if matches!(value, Value::Missing | Value::Null) {
            *value = Value::text("<no value>");
        }
    }
    let mut out = Writer::new(String::new(), name, budget);
    print::joined(&values, &mut out)?;
    Ok(out.into_text())
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

fn sliced<'a>(arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>, String> {
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
    let part = if matches!(value, Value::List(_)) { PART } else { 1 };
    budget.make("`slice`", part * (end - start))?;
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
fn dockers<'a>(function: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>, String> {
    let number = |value: &Value<'a>| match value {
        Value::Whole(number) => {
            usize::try_from(*number).map_err(|_error| format!("`{function}` wants no negative number"))
        }
        other => Err(format!("`{function}` wants a whole number, not {}", other.kind())),
    };
    match (function, arguments) {
        ("json", [value]) => written(function, budget, |out| {
            serde_json::to_writer(out, &value.to_json()).map_err(|error| error.to_string())
        }),
        ("join", [value, separator]) => {
            let separator = text(function, separator)?;
            written(function, budget, |out| join(value, separator, budget, out))
        }
        ("split", [value, separator]) => split(text(function, value)?, text(function, separator)?, budget),
        ("lower" | "upper" | "title", [value]) => {
            let value = text(function, value)?;
            written(function, budget, |out| match function {
                "lower" => value.chars().try_for_each(|char| out.push_char(only(char, char.to_lowercase()))),
                "upper" => value.chars().try_for_each(|char| out.push_char(only(char, char.to_uppercase()))),
                _ => title(value, out),
            })
        }
        ("pad", [value, before, after]) => {
            let (value, before, after) = (text(function, value)?, number(before)?, number(after)?);
            if before.max(after) > WIDEST {
                return Err(format!("`pad` wants at most {WIDEST} spaces"));
            }
            if value.is_empty() {
                return Ok(Value::text(""));
            }
            written(function, budget, |out| {
                out.push(value)?;
                out.fill(0, " ", before)?;
                out.fill(out.text().len(), " ", after)
            })
        }
        ("truncate", [value, length]) => {
            let (value, length) = (text(function, value)?, number(length)?);
            let kept = &value.as_bytes()[..length.min(value.len())];
            written(function, budget, |out| out.push(&String::from_utf8_lossy(kept)))
        }
        ("pad", _) => Err(count(function, "three values", arguments)),
        ("join" | "split" | "truncate", _) => Err(count(function, "two values", arguments)),
        _ => Err(count(function, "one value", arguments)),
    }
}

fn text<'v>(function: &str, value: &'v Value<'_>) -> Result<&'v str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("`{function}` wants a text, not {}", other.kind())),
    }
}

fn split<'a>(text: &str, separator: &str, budget: &Budget) -> Result<Value<'a>, String> {
    let mut parts = Vec::new();
    let mut add = |part: &str| {
        budget.make("`split`", PART + part.len())?;
        parts.push(Value::text(part));
        Ok::<(), String>(())
    };
    if separator.is_empty() {
        text.chars().try_for_each(|char| add(char.encode_utf8(&mut [0; 4])))?;
    } else {
        text.split(separator).try_for_each(add)?;
    }
    Ok(Value::list(parts))
}

fn join(value: &Value<'_>, separator: &str, budget: &Budget, out: &mut Writer<'_>) -> Result<(), String> {
    match value {
        Value::Missing | Value::Null => Ok(()),
        Value::List(values) => print::separated(values, separator, out),
        Value::Fields(fields) => {
            let mut texts = Vec::new();
            for (_, value) in fields.sorted() {
                let mut text = Writer::new(String::new(), "`join`", budget);
                print::nested(&value, &mut text)?;
                texts.push(text.into_text());
            }
            texts.sort();
            let texts: Vec<Value<'_>> = texts.into_iter().map(Value::text).collect();
            print::separated(&texts, separator, out)
        }
        other => Err(format!("`join` wants a list, not {}", other.kind())),
    }
}

/// Returns the one character that another one becomes. Compat: Go, what would become several stays.
fn only(char: char, mut becomes: impl Iterator<Item = char>) -> char {
    match (becomes.next(), becomes.next()) {
        (Some(only), None) => only,
        _ => char,
    }
}

/// Words begin with capitals. Compat: Go's `strings.Title`.
fn title(text: &str, out: &mut Writer<'_>) -> Result<(), String> {
    let mut before = ' ';
    for char in text.chars() {
        let begins = !(before.is_alphanumeric() || before == '_' || before == '\'');
        out.push_char(if begins { only(char, char.to_uppercase()) } else { char })?;
        before = char;
    }
    Ok(())
}
