//! What a verb of `printf` makes of a value.

use std::fmt::Write as _;

use super::value::Value;
use super::{print, quote};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Returns what a verb makes of a value, which may be part of another one.
pub(super) fn render(value: &Value<'_>, verb: char, flags: Flags, is_part: bool) -> String {
    let each = |value: &Value<'_>| render(value, verb, flags, true);
    match (value, verb) {
        (_, 'T') => flags.padded(type_of(value).to_owned(), false),
        (Value::Missing | Value::Null | Value::Nil, 'v') => flags.padded("<nil>".to_owned(), false),
        (Value::Missing | Value::Null | Value::Nil, _) if is_part => "<nil>".to_owned(),
        (Value::Missing | Value::Null | Value::Nil, _) => format!("%!{verb}(<nil>)"),
        (Value::Truth(truth), 't' | 'v') => flags.padded(truth.to_string(), false),
        (Value::Whole(number), _) => {
            whole(*number, verb, flags).unwrap_or_else(|| format!("%!{verb}({})", complaint(value)))
        }
        (Value::Real(number), _) => {
            real(*number, verb, flags).unwrap_or_else(|| format!("%!{verb}({})", complaint(value)))
        }
        (Value::Text(text), _) => {
            self::text(text, verb, flags).unwrap_or_else(|| format!("%!{verb}({})", complaint(value)))
        }
        (Value::List(values), _) => {
            format!("[{}]", values.iter().map(each).collect::<Vec<_>>().join(" "))
        }
        (Value::Fields(fields), _) => {
            let pairs = fields.sorted();
            let pairs = pairs.iter().map(|(name, value)| {
                format!("{}:{}", render(&Value::Text((*name).into()), verb, flags, true), each(value))
            });
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        (Value::Truth(_) | Value::Lookup(_), _) => format!("%!{verb}({})", complaint(value)),
    }
}

/// Returns what a complaint says of a value: `int=1`.
pub(super) fn complaint(value: &Value<'_>) -> String {
    format!("{}={}", type_of(value), print::nested(value))
}

fn type_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Missing | Value::Null | Value::Nil => "<nil>",
        Value::Truth(_) => "bool",
        Value::Whole(_) => "int",
        Value::Real(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Fields(_) => "map[string]interface {}",
        Value::Lookup(_) => "func(string) string",
    }
}

impl Flags {
    /// Fills a text up to the width, with zeros if they may be.
    fn padded(self, text: String, may_be_zeros: bool) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        if self.minus {
            return text + &" ".repeat(missing);
        }
        if !(self.zero && may_be_zeros) {
            return " ".repeat(missing) + &text;
        }
        let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    }

    fn sign(self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }
}

fn whole(number: i128, verb: char, flags: Flags) -> Option<String> {
    let size = number.unsigned_abs();
    let char = || u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let (start, digits) = match verb {
        'd' | 'v' => ("", size.to_string()),
        'b' => (if flags.sharp { "0b" } else { "" }, format!("{size:b}")),
        'o' => (if flags.sharp { "0" } else { "" }, format!("{size:o}")),
        'O' => ("0o", format!("{size:o}")),
        'x' => (if flags.sharp { "0x" } else { "" }, format!("{size:x}")),
        'X' => (if flags.sharp { "0X" } else { "" }, format!("{size:X}")),
        'c' => return Some(flags.padded(char().to_string(), true)),
        'q' => return Some(flags.padded(quote::enclosed(&char().to_string(), '\'', flags.plus), true)),
        'U' => return Some(flags.padded(format!("U+{size:04X}"), false)),
        _ => return None,
    };
    let digits = match flags.precision {
        Some(0) if size == 0 => return Some(flags.padded(String::new(), false)),
        Some(precision) => format!("{digits:0>precision$}"),
        None => digits,
    };
    let text = format!("{}{start}{digits}", flags.sign(number < 0));
    Some(flags.padded(text, flags.precision.is_none()))
}

fn real(number: f64, verb: char, flags: Flags) -> Option<String> {
    let size = number.abs();
    let precision = flags.precision;
    let digits = match verb {
        'e' => print::exponential(size, precision.or(Some(6))),
        'E' => print::exponential(size, precision.or(Some(6))).to_uppercase(),
        'f' | 'F' => format!("{size:.*}", precision.unwrap_or(6)),
        'v' => print::general(size, precision, false),
        'g' => print::general(size, precision, flags.sharp),
        'G' => print::general(size, precision, flags.sharp).to_uppercase(),
        _ => return None,
    };
    let plus = flags.plus && verb != 'v';
    let text = format!("{}{digits}", Flags { plus, ..flags }.sign(number.is_sign_negative()));
    Some(flags.padded(text, number.is_finite()))
}

fn text(text: &str, verb: char, flags: Flags) -> Option<String> {
    let cut: String = match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    Some(match verb {
        'v' if flags.sharp => flags.padded(quote::quoted(&cut), true),
        's' | 'v' => flags.padded(cut, true),
        'q' if flags.sharp
            && !cut.contains(|char: char| char == '`' || (char.is_control() && char != '\t')) =>
        {
            flags.padded(format!("`{cut}`"), true)
        }
        'q' => flags.padded(quote::enclosed(&cut, '"', flags.plus), true),
        'x' | 'X' => flags.padded(hexadecimal(text, verb, flags), true),
        _ => return None,
    })
}

fn hexadecimal(text: &str, verb: char, flags: Flags) -> String {
    let mut out = String::new();
    let length = flags.precision.unwrap_or(text.len()).min(text.len());
    for (place, byte) in text.as_bytes()[..length].iter().enumerate() {
        if flags.space && place > 0 {
            out.push(' ');
        }
        if flags.sharp && (flags.space || place == 0) {
            out.push_str(if verb == 'x' { "0x" } else { "0X" });
        }
        let written = if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
        written.expect("writing to a string cannot fail");
    }
    out
}
