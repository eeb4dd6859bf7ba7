//! Values as text. Compat: Go's `fmt.Print` and its verb `%v`.

use super::budget::Writer;
use super::value::Value;
use super::verb::{self, Flags};

/// Writes a value as an action shows it.
pub(super) fn shown(value: &Value<'_>, out: &mut Writer<'_>) -> Result<(), String> {
    match value {
        Value::Missing | Value::Null => out.push("<no value>"),
        other => nested(other, out),
    }
}

/// Writes a value in a list, in a map, or given to a function.
pub(super) fn nested(value: &Value<'_>, out: &mut Writer<'_>) -> Result<(), String> {
    verb::render(value, 'v', Flags::default(), out)
}

/// Writes values side by side, with a space where neither is a text.
pub(super) fn joined(values: &[Value<'_>], out: &mut Writer<'_>) -> Result<(), String> {
    let mut was_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !was_text && !is_text {
            out.push(" ")?;
        }
        nested(value, out)?;
        was_text = is_text;
    }
    Ok(())
}

/// Writes values with a space between them, and the end of a line.
pub(super) fn line(values: &[Value<'_>], out: &mut Writer<'_>) -> Result<(), String> {
    separated(values, " ", out)?;
    out.push("\n")
}

/// Writes values with a text between them.
pub(super) fn separated(values: &[Value<'_>], separator: &str, out: &mut Writer<'_>) -> Result<(), String> {
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(separator)?;
        }
        nested(value, out)?;
    }
    Ok(())
}
