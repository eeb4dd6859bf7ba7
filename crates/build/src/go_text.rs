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

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
        assert_eq!(list(&words[..1]), "[/bin/sh]");
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
