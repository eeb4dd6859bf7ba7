//! Numbers in tar headers and PAX records.

/// Reads a field of a header: octal digits after spaces, filled up with NULs or spaces; or GNU's binary form, whose first bit
/// is set. An empty field is zero.
pub(super) fn field(field: &[u8]) -> Option<i128> {
    if field.first()? & 0x80 != 0 { binary(field) } else { octal(field).map(i128::from) }
}

/// A big-endian number in two's complement; the first bit only says that it is one, the second is its sign.
fn binary(field: &[u8]) -> Option<i128> {
    // The fields have 8 and 12 bytes.
    if field.len() > 12 {
        return None;
    }
    let first = field[0] & 0x7f;
    let start = if first & 0x40 == 0 { i128::from(first) } else { i128::from(first) - 0x80 };
    Some(field[1..].iter().fold(start, |number, byte| (number << 8) | i128::from(*byte)))
}

/// Reads what can only be octal.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = field[start..].iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (number, rest) = field[start..].split_at(digits);
    if rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    number.iter().try_fold(0_u64, |number, digit| number.checked_mul(8)?.checked_add((digit - b'0').into()))
}

/// Reads decimal digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let digit = |number: u64, byte: &u8| {
        byte.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add((byte - b'0').into()))?
    };
    text.iter().try_fold(0, digit)
}

/// Reads a time: decimal seconds, perhaps negative, perhaps with a fraction, of which nanoseconds are kept.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanoseconds = digits.take(9).fold(0, |number, digit| number * 10 + digit);
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_octal_or_binary_and_exact() {
        let cases: [(&str, &[u8], Option<i128>); 13] = [
            ("octal", b"0000644\0", Some(0o644)),
            ("spaces before and after", b"   644  ", Some(0o644)),
            ("no end", b"77777777", Some(0o7777_7777)),
            ("empty", b"\0\0\0\0\0\0\0\0", Some(0)),
            ("blank", b"        ", Some(0)),
            ("digit after the end", b"644\x00644\0", None),
            ("no octal digit", b"0000648\0", None),
            ("sign", b"-000644\0", None),
            ("hexadecimal", b"0x00644\0", None),
            ("binary", b"\x80\0\0\0\0\0\x01\0", Some(256)),
            ("large binary", b"\x80\0\0\x02\0\0\0\0\0\0\0\0", Some(1 << 65)),
            ("negative binary", b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            ("largest binary", b"\xbf\xff\xff\xff\xff\xff\xff\xff", Some((1 << 62) - 1)),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(field(bytes), want, "case {name}");
        }
    }

    #[test]
    fn times_are_decimal() {
        type Time = Option<(i64, u32)>;
        let cases: [(&[u8], Time); 11] = [
            (b"0", Some((0, 0))),
            (b"1700000000.5", Some((1_700_000_000, 500_000_000))),
            (b"1.0000000019", Some((1, 1))),
            (b"1.", Some((1, 0))),
            (b"-1", Some((-1, 0))),
            (b"-1.25", Some((-2, 750_000_000))),
            (b".5", None),
            (b"", None),
            (b"1e9", None),
            (b"1.-5", None),
            (b"99999999999999999999", None),
        ];
        for (text, want) in cases {
            assert_eq!(time(text), want, "case {}", String::from_utf8_lossy(text));
        }
    }
}
