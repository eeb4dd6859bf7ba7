//! What is equal, and what is less. Compat: Go's text/template, values of different kinds are not compared.

use std::cmp::Ordering;

use super::value::Value;

/// Whether a value is one of others.
pub(super) fn is_one_of(first: &Value<'_>, others: &[Value<'_>]) -> Result<bool, String> {
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(first: &Value<'_>, second: &Value<'_>) -> Result<bool, String> {
    match (first, second) {
        (Value::Truth(first), Value::Truth(second)) => Ok(first == second),
        (Value::Whole(first), Value::Whole(second)) => Ok(first == second),
        #[expect(clippy::float_cmp, reason = "equal is what a template asks for")]
        (Value::Real(first), Value::Real(second)) => Ok(first == second),
        (Value::Text(first), Value::Text(second)) => Ok(**first == **second),
        _ if first.is_nothing() || second.is_nothing() => Ok(first.is_nothing() && second.is_nothing()),
        _ => Err(different(first, second)),
    }
}

/// Returns which of two values is less.
pub(super) fn order(first: &Value<'_>, second: &Value<'_>) -> Result<Option<Ordering>, String> {
    match (first, second) {
        (Value::Whole(first), Value::Whole(second)) => Ok(Some(first.cmp(second))),
        (Value::Real(first), Value::Real(second)) => Ok(first.partial_cmp(second)),
        (Value::Text(first), Value::Text(second)) => Ok(Some((**first).cmp(second))),
        _ => Err(different(first, second)),
    }
}

fn different(first: &Value<'_>, second: &Value<'_>) -> String {
    let (first, second) = (kind(first), kind(second));
    if first == second {
        format!("{first} cannot be compared so")
    } else {
        format!("{first} cannot be compared with {second}")
    }
}

/// Whole numbers are not compared with others.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Whole(_) => "a whole number",
        other => other.kind(),
    }
}
