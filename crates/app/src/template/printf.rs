//! `printf`. Compat: Go's `fmt.Sprintf`, its complaints in the text too.

use super::budget::Writer;
use super::value::Value;
use super::verb::{Flags, complaint, render};

/// Compat: Go, nobody wants a wider field.
const WIDEST: usize = 1_000_000;

/// Writes a format with values in it.
pub(super) fn printf(format: &str, values: &[Value<'_>], out: &mut Writer<'_>) -> Result<(), String> {
    let mut printer = Printer { values, next: 0, by_number: false, out };
    let mut rest = format;
    while let Some((text, directive)) = rest.split_once('%') {
        printer.out.push(text)?;
        rest = printer.directive(directive)?;
    }
    printer.out.push(rest)?;
    printer.rest()
}

struct Printer<'v, 'a, 'w, 'b> {
    values: &'v [Value<'a>],
    next: usize,
    /// A value was chosen by its number: others may be left.
    by_number: bool,
    out: &'w mut Writer<'b>,
}

/// What is known of a directive while it is read.
#[derive(Default)]
struct Directive {
    flags: Flags,
    /// A number of a value is wrong, or stands at a wrong place.
    is_bad: bool,
    /// What was read last is the number of a value.
    follows_number: bool,
}

impl Printer<'_, '_, '_, '_> {
    /// Writes what stands behind a `%`, and returns what follows.
    fn directive<'f>(&mut self, format: &'f str) -> Result<&'f str, String> {
        let mut directive = Directive::default();
        let rest = flags(format, &mut directive.flags);
        let rest = self.number_of_value(rest, &mut directive);
        let rest = self.width(rest, &mut directive)?;
        let mut rest = self.precision(rest, &mut directive)?;
        if !directive.follows_number {
            rest = self.number_of_value(rest, &mut directive);
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => self.out.push("%!(NOVERB)"),
            Some('%') => self.out.push("%"),
            Some(verb) if directive.is_bad => self.out.push(&format!("%!{verb}(BADINDEX)")),
            Some(verb) => match self.values.get(self.next) {
                None => self.out.push(&format!("%!{verb}(MISSING)")),
                Some(value) => {
                    self.next += 1;
                    render(value, verb, directive.flags.of_verb(verb), self.out)
                }
            },
        }?;
        Ok(chars.as_str())
    }

    /// Reads `[2]`, and returns what follows.
    fn number_of_value<'f>(&mut self, format: &'f str, directive: &mut Directive) -> &'f str {
        directive.follows_number = false;
        let Some(inside) = format.strip_prefix('[') else { return format };
        self.by_number = true;
        let closed = inside.split_once(']').filter(|_| format.len() >= "[n]".len());
        let Some((number, rest)) = closed else {
            directive.is_bad = true;
            return inside;
        };
        let number = digits(number).0.filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()));
        let place = number.and_then(|number| number.checked_sub(1));
        directive.follows_number = number.is_some();
        match place.filter(|place| *place < self.values.len()) {
            Some(place) => self.next = place,
            None => directive.is_bad = true,
        }
        rest
    }

    fn width<'f>(&mut self, format: &'f str, directive: &mut Directive) -> Result<&'f str, String> {
        let flags = &mut directive.flags;
        let Some(rest) = format.strip_prefix('*') else {
            let (width, rest) = digits(format);
            flags.width = width;
            directive.is_bad |= directive.follows_number && width.is_some();
            return Ok(rest);
        };
        match self.number() {
            Some(width) => {
                flags.minus |= width < 0;
                flags.width = usize::try_from(width.unsigned_abs()).ok();
            }
            None => self.out.push("%!(BADWIDTH)")?,
        }
        directive.follows_number = false;
        Ok(rest)
    }

    fn precision<'f>(&mut self, format: &'f str, directive: &mut Directive) -> Result<&'f str, String> {
        let Some(rest) = format.strip_prefix('.').filter(|rest| !rest.is_empty()) else { return Ok(format) };
        directive.is_bad |= directive.follows_number;
        let rest = self.number_of_value(rest, directive);
        let Some(behind) = rest.strip_prefix('*') else {
            let (precision, rest) = digits(rest);
            directive.flags.precision = Some(precision.unwrap_or(0));
            return Ok(rest);
        };
        directive.flags.precision = self.number().and_then(|number| usize::try_from(number).ok());
        if directive.flags.precision.is_none() {
            self.out.push("%!(BADPREC)")?;
        }
        directive.follows_number = false;
        Ok(behind)
    }

    /// Returns a value that is a width or a precision.
    fn number(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let Value::Whole(number) = value else { return None };
        i64::try_from(*number).ok().filter(|number| number.unsigned_abs() <= WIDEST as u64)
    }

    /// Says which values nobody asked for.
    fn rest(&mut self) -> Result<(), String> {
        let Some(values) = self.values.get(self.next..).filter(|values| !values.is_empty()) else {
            return Ok(());
        };
        if self.by_number {
            return Ok(());
        }
        self.out.push("%!(EXTRA ")?;
        for (place, value) in values.iter().enumerate() {
            self.out.push(if place > 0 { ", " } else { "" })?;
            match value {
                Value::Missing | Value::Null | Value::Nil => self.out.push("<nil>"),
                _ => complaint(value, Flags::default(), self.out),
            }?;
        }
        self.out.push(")")
    }
}

/// Reads flags, and returns what follows.
fn flags<'f>(format: &'f str, flags: &mut Flags) -> &'f str {
    let mut rest = format;
    while let Some(flag) = rest.chars().next().filter(|char| "#0+- ".contains(*char)) {
        match flag {
            '#' => flags.sharp = true,
            '0' => flags.zero = true,
            '+' => flags.plus = true,
            '-' => flags.minus = true,
            _ => flags.space = true,
        }
        rest = &rest[1..];
    }
    rest
}

/// Reads a number, and returns what follows. Compat: Go, nothing follows one that is much too large.
fn digits(format: &str) -> (Option<usize>, &str) {
    let mut number = None;
    for (at, byte) in format.bytes().enumerate() {
        if !byte.is_ascii_digit() {
            return (number, &format[at..]);
        }
        let before = number.unwrap_or(0);
        if before > WIDEST {
            break;
        }
        number = Some(before * 10 + usize::from(byte - b'0'));
        if at + 1 == format.len() {
            return (number, "");
        }
    }
    (None, "")
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn filled(format: &str, values: &[Value<'_>]) -> String {
        let budget = Budget::new();
        let mut out = Writer::new(String::new(), "`printf`", &budget);
        printf(format, values, &mut out).unwrap();
        out.into_text()
    }

    #[test]
    fn verbs_flags_and_complaints_are_gos() {
        let (text, number, real) = (Value::text("hi"), Value::Whole(42), Value::Real(2.718_25));
        let list = Value::list([Value::text("a"), Value::Whole(1), Value::Missing]);
        for (format, values, want) in [
            ("%5d|%-5d|%05d|%+d", vec![number.clone(); 4], "   42|42   |00042|+42"),
            ("%x|%X|%#x|%o|%b|% d", vec![number.clone(); 6], "2a|2A|0x2a|52|101010| 42"),
            ("%c%q|%U", vec![Value::Whole(65); 3], "A'A'|U+0041"),
            ("%5s|%-5s|%.1s|%q|%x|% x|%#q", vec![text.clone(); 7], "   hi|hi   |h|\"hi\"|6869|68 69|`hi`"),
            ("%v|%s|%5v", vec![list.clone(); 3], "[a 1 <nil>]|[a %!s(int=1) <nil>]|[    a     1 <nil>]"),
            ("%t|%5t|%v", vec![Value::Truth(true); 3], "true| true|true"),
            ("%.2f|%8.3f|%e|%g", vec![real.clone(); 4], "2.72|   2.718|2.718250e+00|2.71825"),
            ("%*d|%[1]d", vec![Value::Whole(5), number.clone()], "   42|5"),
            ("%d", vec![text.clone()], "%!d(string=hi)"),
            ("%d %d", vec![number.clone()], "42 %!d(MISSING)"),
            ("%d", vec![number.clone(), text.clone()], "42%!(EXTRA string=hi)"),
            ("%s", vec![Value::Missing], "%!s(<nil>)"),
            ("100%", vec![], "100%!(NOVERB)"),
            ("%[3]d", vec![number.clone()], "%!d(BADINDEX)"),
            ("%d%%", vec![number.clone()], "42%"),
            ("%99999999999999999999d|", vec![number.clone()], "%!(NOVERB)%!(EXTRA int=42)"),
            ("%.*d", vec![Value::Whole(1_000_001), number.clone()], "%!(BADPREC)42"),
            ("%[1]2d|%5.", vec![number.clone()], "%!d(BADINDEX)|%!.(int=   42)"),
            ("%#v %T %T", vec![text.clone(), text.clone(), number.clone()], "\"hi\" string int"),
        ] {
            assert_eq!(filled(format, &values), want, "{format}");
        }
    }

    #[test]
    fn numbers_have_all_forms_that_go_knows() {
        let (whole, negative) = (Value::Whole(65), Value::Whole(-1));
        for (format, value, want) in [
            ("%[1]b|%[1]x|%[1]X|%.1[1]x", 1.5, "6755399441055744p-52|0x1.8p+00|0X1.8P+00|0x1.8p+00"),
            ("%.0[1]x|%.1[1]x|%.16[1]x", 1.96875, "0x1p+01|0x1.0p+01|0x1.f800000000000000p+00"),
            ("%[1]x|%[1]b", 0.0, "0x0p+00|0p-1074"),
            ("%[1]x|%.3[1]x", 5e-324, "0x1p-1074|0x1.000p-1074"),
            ("%#[1]g|%#[1]v|%#.3[1]g|%#.0[1]f|%#[1]e", 2.0, "2.00000|2|2.00|2.|2.000000e+00"),
            (
                "%#[1]g|%#[1]x|%[1]T|%.3[1]T|%#[1]d",
                1e6,
                "1.00000e+06|0x1.e848p+19|float64|flo|%!d(float64=1.00000e+06)",
            ),
            ("%+08.2[1]f|%- 8.2[1]f|%08.2[1]f|%+8.2[1]f", 1.5, "+0001.50| 1.50   |00001.50|   +1.50"),
        ] {
            assert_eq!(filled(format, &[Value::Real(value)]), want, "{format}");
        }
        for (format, want) in [
            ("%U|%#[2]U|%#[1]U|%.6[2]U", "U+FFFFFFFFFFFFFFFF|U+0041 'A'|U+FFFFFFFFFFFFFFFF|U+000041"),
            ("%+[2]v|%#[2]v|%+[2]d|%#[2]o|%#.5[2]o|%#[2]b", "65|65|+65|0101|00101|0b1000001"),
            ("%#06[2]x|%#.4[2]x|%.0[2]d|%05[1]d|%-05[1]d|", "0x000041|0x0041|65|-0001|-1   |"),
        ] {
            assert_eq!(filled(format, &[negative.clone(), whole.clone()]), want, "{format}");
        }
    }

    #[test]
    fn values_can_be_shown_as_gos_source() {
        let json = serde_json::json!({ "m": { "b": [1, null, 1.5, "x"], "a": true } });
        let value = Value::of(&json, &super::super::Shape::Any);
        for (format, want) in [
            (
                "%#v",
                "map[string]interface {}{\"m\":map[string]interface {}{\"a\":true, \
                 \"b\":[]interface {}{1, interface {}(nil), 1.5, \"x\"}}}",
            ),
            ("%+v", "map[m:map[a:true b:[1 <nil> 1.5 x]]]"),
            (
                "%3d",
                "map[%!d(string=  m):map[%!d(string=  a):%!d(bool=true) %!d(string=  b):[  1 <nil> %!d(float64=1.5) %!d(string=  x)]]]",
            ),
        ] {
            assert_eq!(filled(format, std::slice::from_ref(&value)), want, "{format}");
        }
    }
}
