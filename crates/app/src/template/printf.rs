//! `printf`. Compat: Go's `fmt.Sprintf`, its complaints in the text too.

use std::fmt::Write as _;

use super::print::{self, WIDEST};
use super::value::Value;
use super::verb::{Flags, complaint, render};

/// How much text one call makes at most.
const LONGEST: usize = 64 << 20;

/// Returns a format with values in it.
pub(super) fn printf(format: &str, values: &[Value<'_>]) -> Result<String, String> {
    let mut printer = Printer { values, next: 0, by_number: false, out: String::new() };
    let mut rest = format;
    while let Some((text, directive)) = rest.split_once('%') {
        printer.out.push_str(text);
        rest = printer.directive(directive);
        if printer.out.len() > LONGEST {
            return Err("`printf` makes too much text".to_owned());
        }
    }
    printer.out.push_str(rest);
    printer.rest();
    Ok(printer.out)
}

struct Printer<'v, 'a> {
    values: &'v [Value<'a>],
    next: usize,
    /// A value was chosen by its number: others may be left.
    by_number: bool,
    out: String,
}

impl<'v, 'a> Printer<'v, 'a> {
    /// Writes what stands behind a `%`, and returns what follows.
    fn directive<'f>(&mut self, format: &'f str) -> &'f str {
        let mut flags = Flags::default();
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
        let (mut is_bad, behind) = self.number_of_value(rest);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('*') {
            rest = behind;
            match self.width() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
        } else {
            let (width, behind) = digits(rest);
            (flags.width, rest) = (width, behind);
        }
        if let Some(behind) = rest.strip_prefix('.') {
            let (bad, behind) = self.number_of_value(behind);
            is_bad |= bad;
            rest = behind;
            if let Some(behind) = rest.strip_prefix('*') {
                rest = behind;
                let precision = self.width().and_then(|width| usize::try_from(width).ok());
                flags.precision = precision;
                if precision.is_none() {
                    self.out.push_str("%!(BADPREC)");
                }
            } else {
                let (precision, behind) = digits(rest);
                (flags.precision, rest) = (Some(precision.unwrap_or(0)), behind);
            }
        }
        let (bad, behind) = self.number_of_value(rest);
        is_bad |= bad;
        let mut chars = behind.chars();
        match chars.next() {
            None => self.out.push_str("%!(NOVERB)"),
            Some('%') => self.out.push('%'),
            Some(verb) if is_bad => self.complain(verb, "(BADINDEX)"),
            Some(verb) => match self.values.get(self.next) {
                None => self.complain(verb, "(MISSING)"),
                Some(value) => {
                    self.next += 1;
                    self.out.push_str(&render(value, verb, flags, false));
                }
            },
        }
        chars.as_str()
    }

    fn complain(&mut self, verb: char, what: &str) {
        write!(self.out, "%!{verb}{what}").expect("writing to a string cannot fail");
    }

    /// Reads `[2]`, and returns whether it is wrong, and what follows.
    fn number_of_value<'f>(&mut self, format: &'f str) -> (bool, &'f str) {
        let Some(inside) = format.strip_prefix('[') else { return (false, format) };
        let Some((number, rest)) = inside.split_once(']') else { return (true, inside) };
        self.by_number = true;
        let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match place.filter(|place| *place < self.values.len()) {
            Some(place) => {
                self.next = place;
                (false, rest)
            }
            None => (true, rest),
        }
    }

    fn width(&mut self) -> Option<i64> {
        let value = self.values.get(self.next);
        self.next += 1;
        match value {
            Some(Value::Whole(number)) => {
                i64::try_from(*number).ok().filter(|width| width.unsigned_abs() <= WIDEST as u64)
            }
            _ => None,
        }
    }

    /// Says which values nobody asked for.
    fn rest(&mut self) {
        let Some(values) = self.values.get(self.next..).filter(|values| !values.is_empty()) else { return };
        if self.by_number {
            return;
        }
        let all: Vec<String> = values
            .iter()
            .map(|value| match value {
                Value::Missing | Value::Null | Value::Nil => print::nested(value),
                _ => complaint(value),
            })
            .collect();
        write!(self.out, "%!(EXTRA {})", all.join(", ")).expect("writing to a string cannot fail");
    }
}

fn digits(format: &str) -> (Option<usize>, &str) {
    let end = format.find(|char: char| !char.is_ascii_digit()).unwrap_or(format.len());
    (format[..end].parse().ok().filter(|width| *width <= WIDEST), &format[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("%#v %T %T", vec![text.clone(), text.clone(), number.clone()], "\"hi\" string int"),
        ] {
            assert_eq!(printf(format, &values).as_deref(), Ok(want), "{format}");
        }
        assert_eq!(printf("%99999999999999999999d|", &[number]).as_deref(), Ok("42|"), "no such width");
    }
}
