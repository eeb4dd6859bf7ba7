//! What a verb of `printf` makes of a value. Compat: Go's `fmt`.

use super::budget::Writer;
use super::value::{Fields, Value};
use super::{number, quote};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    /// `%#v`: values as Go's source has them.
    pub(super) as_source: bool,
    /// `%+v`: the names of fields, too.
    pub(super) with_names: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// What a text is written to, or why it is not.
type Written = Result<(), String>;

/// Writes what a verb makes of a value.
pub(super) fn render(value: &Value<'_>, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    match (value, verb) {
        (Value::Missing | Value::Null | Value::Nil, 'v' | 'T') => flags.padded("<nil>", out),
        (Value::Missing | Value::Null | Value::Nil, _) => out.push(&format!("%!{verb}(<nil>)")),
        (_, 'T') => flags.padded(cut(type_of(value), flags), out),
        (Value::Truth(truth), 't' | 'v') => flags.padded(if *truth { "true" } else { "false" }, out),
        (Value::Whole(number), 'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X') => whole(*number, verb, flags, out),
        (Value::Whole(number), 'c' | 'q' | 'U') => character(*number, verb, flags, out),
        (Value::Real(number), 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') => {
            real(*number, verb, flags, out)
        }
        (Value::Text(text), 'v' | 's' | 'x' | 'X' | 'q') => self::text(text, verb, flags, out),
        (Value::List(values), _) => {
            let (open, between, close) = if flags.as_source { ("{", ", ", "}") } else { ("[", " ", "]") };
            out.push(if flags.as_source { type_of(value) } else { "" })?;
            out.push(open)?;
            for (place, value) in values.iter().enumerate() {
                out.push(if place > 0 { between } else { "" })?;
                part(value, verb, flags, out)?;
            }
            out.push(close)
        }
        (Value::Fields(fields), _) => self::fields(fields, verb, flags, out),
        (Value::Lookup(map), 'v') => out.push(&format!("map[{} names]", map.len())),
        _ => {
            out.push(&format!("%!{verb}("))?;
            complaint(value, flags, out)?;
            out.push(")")
        }
    }
}

/// Writes a value that is in another one.
fn part(value: &Value<'_>, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    match value {
        Value::Missing | Value::Null | Value::Nil if flags.as_source => out.push("interface {}(nil)"),
        Value::Missing | Value::Null | Value::Nil => out.push("<nil>"),
        value => render(value, verb, flags, out),
    }
}

fn fields(fields: &Fields<'_>, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    if let Some(known) = fields.known().filter(|_| !flags.as_source) {
        out.push("{")?;
        for (place, (name, value)) in known.iter().enumerate() {
            out.push(if place > 0 { " " } else { "" })?;
            if flags.with_names {
                out.push(name)?;
                out.push(":")?;
            }
            part(value, verb, flags, out)?;
        }
        return out.push("}");
    }
    let (open, between, close) =
        if flags.as_source { ("map[string]interface {}{", ", ", "}") } else { ("map[", " ", "]") };
    out.push(open)?;
    for (place, (name, value)) in fields.sorted().iter().enumerate() {
        out.push(if place > 0 { between } else { "" })?;
        render(&Value::Text((*name).into()), verb, flags, out)?;
        out.push(":")?;
        part(value, verb, flags, out)?;
    }
    out.push(close)
}

/// Writes what a complaint says of a value: `int=1`.
pub(super) fn complaint(value: &Value<'_>, flags: Flags, out: &mut Writer<'_>) -> Written {
    out.push(type_of(value))?;
    out.push("=")?;
    render(value, 'v', flags, out)
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
    /// Returns what flags mean for a verb.
    pub(super) fn of_verb(self, verb: char) -> Self {
        if !matches!(verb, 'v' | 'w') {
            return self;
        }
        Self { as_source: self.sharp, with_names: self.plus, sharp: false, plus: false, ..self }
    }

    /// Writes a text, filled up to the width.
    fn padded(self, text: &str, out: &mut Writer<'_>) -> Written {
        let start = out.text().len();
        out.push(text)?;
        self.pad(start, out)
    }

    /// Fills what was written from a place on up to the width.
    fn pad(self, start: usize, out: &mut Writer<'_>) -> Written {
        let Some(width) = self.width else { return Ok(()) };
        let missing = width.saturating_sub(out.text()[start..].chars().count());
        let at = if self.minus { out.text().len() } else { start };
        out.fill(at, if self.zero && !self.minus { "0" } else { " " }, missing)
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

fn whole(number: i128, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    let spaces = Flags { zero: false, ..flags };
    let size = number.unsigned_abs();
    let sign = flags.sign(number < 0);
    let zeros = match (flags.precision, flags.width) {
        (Some(0), _) if size == 0 => return out.fill(out.text().len(), " ", flags.width.unwrap_or(0)),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let (start, digits) = match verb {
        'b' => ("0b", format!("{size:b}")),
        'o' | 'O' => ("0", format!("{size:o}")),
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        _ => ("", size.to_string()),
    };
    let zeros = zeros.saturating_sub(digits.len());
    let has_start = flags.sharp && !(start == "0" && (zeros > 0 || size == 0));
    let begin = out.text().len();
    out.push(sign)?;
    out.push(if verb == 'O' { "0o" } else { "" })?;
    out.push(if has_start { start } else { "" })?;
    out.fill(out.text().len(), "0", zeros)?;
    out.push(&digits)?;
    spaces.pad(begin, out)
}

/// Writes a number as the character that it stands for.
fn character(number: i128, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    let known = u32::try_from(number).ok().and_then(char::from_u32);
    let char = known.unwrap_or(char::REPLACEMENT_CHARACTER).to_string();
    match verb {
        'c' => flags.padded(&char, out),
        'q' => flags.padded(&quote::enclosed(&char, '\'', flags.plus), out),
        _ => {
            let digits = format!("{:X}", number.rem_euclid(1 << 64));
            let begin = out.text().len();
            out.push("U+")?;
            let zeros = flags.precision.unwrap_or(0).max(4).saturating_sub(digits.len());
            out.fill(out.text().len(), "0", zeros)?;
            out.push(&digits)?;
            if let Some(char) = known.filter(|char| flags.sharp && quote::is_shown(*char)) {
                out.push(&format!(" '{char}'"))?;
            }
            Flags { zero: false, ..flags }.pad(begin, out)
        }
    }
}

fn real(number: f64, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    let size = number.abs();
    let precision = flags.precision;
    let digits = match verb {
        'e' => number::exponential(size, precision.or(Some(6))),
        'E' => number::exponential(size, precision.or(Some(6))).to_uppercase(),
        'f' | 'F' => number::fixed(size, precision.unwrap_or(6)),
        'G' => number::general(size, precision).to_uppercase(),
        'b' => number::binary(size),
        'x' => number::hexadecimal(size, precision),
        'X' => number::hexadecimal(size, precision).to_uppercase(),
        _ => number::general(size, precision),
    };
    let digits = if flags.sharp && verb != 'b' { with_point(&digits, verb, precision) } else { digits };
    let sign = flags.sign(number.is_sign_negative());
    let begin = out.text().len();
    out.push(sign)?;
    out.push(&digits)?;
    // A sign stands before zeros, and behind spaces.
    let begin = if flags.zero { begin + sign.len() } else { begin };
    let width = flags.width.map(|width| if flags.zero { width.saturating_sub(sign.len()) } else { width });
    Flags { width, ..flags }.pad(begin, out)
}

/// Returns a number with a point, and with zeros that it would have lost.
fn with_point(digits: &str, verb: char, precision: Option<usize>) -> String {
    let exponents: &[char] = if matches!(verb, 'x' | 'X') { &['p', 'P'] } else { &['e', 'E'] };
    let (digits, exponent) = digits.split_at(digits.find(exponents).unwrap_or(digits.len()));
    let mut missing = if matches!(verb, 'v' | 'g' | 'G' | 'x') { precision.unwrap_or(6) } else { 0 };
    let counted = digits.chars().filter(|char| *char != '.').skip_while(|char| *char == '0').count();
    missing = missing.saturating_sub(counted);
    let has_point = digits.contains('.');
    if !has_point && digits == "0" {
        missing = missing.saturating_sub(1);
    }
    format!("{digits}{}{}{exponent}", if has_point { "" } else { "." }, "0".repeat(missing))
}

/// Returns so many characters of a text as the precision says.
fn cut(text: &str, flags: Flags) -> &str {
    let end = flags.precision.and_then(|precision| text.char_indices().nth(precision));
    end.map_or(text, |(end, _)| &text[..end])
}

fn text(text: &str, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    let begin = out.text().len();
    let cut = cut(text, flags);
    let is_raw = |char: char| char == '\t' || !(char < ' ' || matches!(char, '`' | '\u{7f}' | '\u{feff}'));
    match verb {
        'x' | 'X' => hexadecimal(text, verb, flags, out)?,
        'q' if flags.sharp && cut.chars().all(is_raw) => {
            out.push("`")?;
            out.push(cut)?;
            out.push("`")?;
        }
        'q' => quote::write(cut, '"', flags.plus, |part| out.push(part))?,
        'v' if flags.as_source => quote::write(cut, '"', false, |part| out.push(part))?,
        _ => out.push(cut)?,
    }
    flags.pad(begin, out)
}

fn hexadecimal(text: &str, verb: char, flags: Flags, out: &mut Writer<'_>) -> Written {
    let length = flags.precision.unwrap_or(text.len()).min(text.len());
    for (place, byte) in text.as_bytes()[..length].iter().enumerate() {
        if flags.space && place > 0 {
            out.push(" ")?;
        }
        if flags.sharp && (flags.space || place == 0) {
            out.push(if verb == 'x' { "0x" } else { "0X" })?;
        }
        out.push(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") })?;
    }
    Ok(())
}
