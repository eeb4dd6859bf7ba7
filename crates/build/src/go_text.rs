//! Go's ways to print values: history texts must read as BuildKit writes them.

/// `%q` of a list of strings: `["a" "b"]`.
pub(crate) fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// `%v` of a list of strings: `[a b]`.
pub(crate) fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// `%q` of a string.
pub(crate) fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|c| escaped(c, '"')).collect();
    format!("\"{escaped}\"")
}

/// `%q` of a number, which is taken for a character: `'\x05'`.
pub(crate) fn quoted_number(number: u64) -> String {
    let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    format!("'{}'", escaped(c, '\''))
}

fn escaped(c: char, quote: char) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c == quote => format!("\\{c}"),
        c if c.is_control() && u32::from(c) < 0x80 => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}

/// `time.Duration.String` of nanoseconds: `1m30s`, `1.5s`, `100ms`, `0s`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let fraction = |value: u64, unit: u64| {
        let rest = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { String::new() } else { format!(".{rest}") }
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        n if n < 1_000 => format!("{n}ns"),
        n if n < 1_000_000 => format!("{}{}µs", n / 1_000, fraction(n, 1_000)),
        n if n < SECOND => format!("{}{}ms", n / 1_000_000, fraction(n, 1_000_000)),
        n => {
            let (seconds, rest) = (n / SECOND % 60, fraction(n, SECOND));
            let (hours, minutes) = (n / (3600 * SECOND), n / (60 * SECOND) % 60);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}{rest}s"),
                (0, minutes) => format!("{minutes}m{seconds}{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}{rest}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_go() {
        let words = vec!["/bin/sh".to_owned(), "a \"b\"\n".to_owned()];
        assert_eq!(quoted_list(&words), r#"["/bin/sh" "a \"b\"\n"]"#);
        for (number, want) in [
            (0, r"'\x00'"),
            (5, r"'\x05'"),
            (10, r"'\n'"),
            (39, r"'\''"),
            (65, "'A'"),
            (1 << 40, "'\u{fffd}'"),
        ] {
            assert_eq!(quoted_number(number), want);
        }
        for (nanoseconds, want) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (100_000_000, "100ms"),
            (1_500, "1.5µs"),
        ] {
            assert_eq!(duration(nanoseconds), want);
        }
    }
}
