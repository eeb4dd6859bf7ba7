//! Texts in quotes. Compat: Go's `strconv.Quote` and `strconv.Unquote`.

/// Returns what a text between quotes means.
pub(super) fn plain(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            bytes.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let kind = chars.next().unwrap_or_default();
        let wrong = || format!("`\\{kind}` has no meaning in a text");
        let mut digits = |count: usize, base: u32, start: u32| {
            let mut value = start;
            for _ in 0..count {
                value = value * base + chars.next().and_then(|char| char.to_digit(base))?;
            }
            Some(value)
        };
        let byte = match kind {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' | '\'' => u8::try_from(kind).unwrap_or_default(),
            'x' => digits(2, 16, 0).and_then(|value| u8::try_from(value).ok()).ok_or_else(wrong)?,
            '0'..='7' => {
                let first = kind.to_digit(8).unwrap_or_default();
                digits(2, 8, first).and_then(|value| u8::try_from(value).ok()).ok_or_else(wrong)?
            }
            'u' | 'U' => {
                let value = digits(if kind == 'u' { 4 } else { 8 }, 16, 0);
                let char = value.and_then(char::from_u32).ok_or_else(wrong)?;
                bytes.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(wrong()),
        };
        bytes.push(byte);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a text in quotes.
pub(super) fn quoted(text: &str) -> String {
    enclosed(text, '"', false)
}

/// Returns a text between two characters; `only_ascii` spells out all others.
pub(super) fn enclosed(text: &str, quote: char, only_ascii: bool) -> String {
    let mut out = String::new();
    let done: Result<(), std::convert::Infallible> = write(text, quote, only_ascii, |part| {
        out.push_str(part);
        Ok(())
    });
    let Ok(()) = done;
    out
}

/// Gives a text between two characters away in parts, as long as they are taken.
pub(super) fn write<E>(
    text: &str,
    quote: char,
    only_ascii: bool,
    mut push: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = [0; 4];
    push(quote.encode_utf8(&mut bytes))?;
    for char in text.chars() {
        let code = u32::from(char);
        match char {
            '\\' => push("\\\\"),
            _ if char == quote => push(&format!("\\{char}")),
            '\u{7}' => push("\\a"),
            '\u{8}' => push("\\b"),
            '\u{c}' => push("\\f"),
            '\n' => push("\\n"),
            '\r' => push("\\r"),
            '\t' => push("\\t"),
            '\u{b}' => push("\\v"),
            _ if code < 0x20 || code == 0x7f => push(&format!("\\x{code:02x}")),
            _ if is_shown(char) && (!only_ascii || char.is_ascii()) => push(char.encode_utf8(&mut bytes)),
            _ if code < 0x1_0000 => push(&format!("\\u{code:04x}")),
            _ => push(&format!("\\U{code:08x}")),
        }?;
    }
    push(quote.encode_utf8(&mut bytes))
}

/// Whether a character shows something, or is a space.
pub(super) fn is_shown(char: char) -> bool {
    !char.is_control() && (!char.is_whitespace() || char == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_into_quotes_and_out_of_them() {
        for (text, want) in [
            ("a\tb", r#""a\tb""#),
            ("\"\\", r#""\"\\""#),
            ("é\u{1}", r#""é\x01""#),
            ("\u{a0}", r#""\u00a0""#),
        ] {
            assert_eq!(quoted(text), want);
            assert_eq!(plain(&want[1..want.len() - 1]).as_deref(), Ok(text));
        }
        assert_eq!(plain(r"\x41\101\u0041\U00000041").as_deref(), Ok("AAAA"));
        for wrong in [r"\q", r"\x4", r"\400", r"\u00"] {
            assert!(plain(wrong).unwrap_err().contains("has no meaning"), "{wrong}");
        }
        assert_eq!(enclosed("é😀", '\'', true), r"'\u00e9\U0001f600'");
    }
}
