//! Values as text. Compat: Go's `fmt.Print` and its verb `%v`.

use super::value::Value;

/// Compat: Go, nobody wants a wider field.
pub(super) const WIDEST: usize = 1_000_000;

/// Larger numbers have an exponent, if nobody says how many digits are wanted.
const SHORT: usize = 6;

/// Returns a value as an action shows it.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Missing | Value::Null => "<no value>".to_owned(),
        other => nested(other),
    }
}

/// Returns a value in a list, in a map, or given to a function.
pub(super) fn nested(value: &Value<'_>) -> String {
    let all = |values: &[Value<'_>]| values.iter().map(nested).collect::<Vec<_>>().join(" ");
    match value {
        Value::Missing | Value::Null | Value::Nil => "<nil>".to_owned(),
        Value::Truth(truth) => truth.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Real(number) => general(*number, None, false),
        Value::Text(text) => text.to_string(),
        Value::List(values) => format!("[{}]", all(values)),
        Value::Fields(fields) => match fields.known() {
            Some(values) => format!("{{{}}}", all(&values)),
            None => {
                let pair = |(name, value): &(&str, Value<'_>)| format!("{name}:{}", nested(value));
                format!("map[{}]", fields.sorted().iter().map(pair).collect::<Vec<_>>().join(" "))
            }
        },
        Value::Lookup(map) => format!("map[{} names]", map.len()),
    }
}

/// Returns values side by side, with a space where neither is a text.
pub(super) fn joined(values: &[Value<'_>]) -> String {
    let mut out = String::new();
    let mut before: Option<&Value<'_>> = None;
    for value in values {
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
        if before.is_some_and(|before| !is_text(before) && !is_text(value)) {
            out.push(' ');
        }
        out.push_str(&nested(value));
        before = Some(value);
    }
    out
}

/// Returns values with a space between them, and the end of a line.
pub(super) fn line(values: &[Value<'_>]) -> String {
    values.iter().map(nested).collect::<Vec<_>>().join(" ") + "\n"
}

/// Returns a number with an exponent: `1.5e+06`.
pub(super) fn exponential(number: f64, precision: Option<usize>) -> String {
    if !number.is_finite() {
        return endless(number);
    }
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Returns a number as short as it can be, or with so many digits; `keeps` zeros at its end.
pub(super) fn general(number: f64, precision: Option<usize>, keeps: bool) -> String {
    if !number.is_finite() {
        return endless(number);
    }
    let precision = precision.map(|precision| precision.max(1));
    let long = match precision {
        Some(precision) => format!("{number:.*e}", precision - 1),
        None => format!("{number:e}"),
    };
    let exponent: i64 =
        long.split_once('e').map_or("0", |(_, exponent)| exponent).parse().unwrap_or_default();
    let limit = match precision {
        None => SHORT,
        Some(precision) => precision,
    };
    let is_long = exponent < -4 || i64::try_from(limit).is_ok_and(|limit| exponent >= limit);
    let text = match (is_long, precision) {
        (true, precision) => exponential(number, precision.map(|precision| precision - 1)),
        (false, None) => format!("{number}"),
        (false, Some(precision)) => {
            let places = i64::try_from(precision).unwrap_or(i64::MAX).saturating_sub(1 + exponent);
            format!("{number:.*}", usize::try_from(places).unwrap_or(0))
        }
    };
    if keeps || precision.is_none() {
        return text;
    }
    let (digits, exponent) =
        text.split_once('e').map_or((text.as_str(), ""), |(digits, _)| (digits, &text[digits.len()..]));
    if !digits.contains('.') {
        return text;
    }
    format!("{}{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn endless(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}
