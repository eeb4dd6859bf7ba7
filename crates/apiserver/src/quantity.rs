//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.
// Spec: kubernetes apimachinery pkg/api/resource, "canonical form"

/// Units of 10^-9 in one.
const NANO: i128 = 1_000_000_000;

/// How an amount is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With suffixes for powers of 1024.
    Binary,
    /// With suffixes for powers of 1000.
    Decimal,
    /// With an exponent.
    Exponent,
}

/// Returns an amount in units of 10^-9; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<i128> {
    read(text).map(|(value, _)| value)
}

/// Returns the amount as it is stored: without fractions, and with the largest suffix. `None` if it is none, or too
/// large to tell.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let (value, form) = read(text.trim())?;
    if value.unsigned_abs() >= i128::MAX.unsigned_abs() {
        return None;
    }
    let whole = value % NANO == 0;
    if form == Form::Binary && whole && value.unsigned_abs() >= 1024 * NANO.unsigned_abs() {
        const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let (mut number, mut power) = (value / NANO, 0);
        while number % 1024 == 0 && power + 1 < SUFFIXES.len() {
            (number, power) = (number / 1024, power + 1);
        }
        return Some(format!("{number}{}", SUFFIXES[power]));
    }
    const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let (mut number, mut power) = (value, 0);
    if value == 0 {
        return Some("0".to_owned());
    }
    while number % 1000 == 0 && (power + 1 < SUFFIXES.len() || form == Form::Exponent) {
        (number, power) = (number / 1000, power + 1);
    }
    if form == Form::Exponent {
        let exponent = i64::try_from(power).ok()? * 3 - 9;
        return Some(if exponent == 0 { number.to_string() } else { format!("{number}e{exponent}") });
    }
    Some(format!("{number}{}", SUFFIXES[power]))
}

/// Returns the amount in units of 10^-9 and how it is written.
fn read(text: &str) -> Option<(i128, Form)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || digits > 30 || fraction.contains('.') {
        return None;
    }
    let mut form = if suffix.ends_with('i') { Form::Binary } else { Form::Decimal };
    let (multiplier, divisor): (i128, i128) = match suffix {
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (NANO * 1000, 1),
        "P" => (NANO * 1_000_000, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        other => {
            form = Form::Exponent;
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs().min(30))?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value = digits.saturating_mul(multiplier).saturating_mul(NANO) / divisor / shift;
    Some((if negative { -value } else { value }, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units() {
        const ONE: i128 = 1_000_000_000;
        for (text, value) in [
            ("1", Some(ONE)),
            ("100m", Some(ONE / 10)),
            ("0.5", Some(ONE / 2)),
            (".5", Some(ONE / 2)),
            ("1Gi", Some(ONE << 30)),
            ("2e3", Some(ONE * 2000)),
            ("-1", Some(-ONE)),
            ("1E", Some(ONE * ONE * ONE)),
            ("", None),
            ("1 Gi", None),
            ("1GB", None),
            ("abc", None),
            ("1.2.3", None),
            ("99999999999999999999Ei", parse("99999999999999999999Ei")),
        ] {
            assert_eq!(parse(text), value, "{text}");
        }
    }

    #[test]
    fn amounts_are_stored_in_their_canonical_form() {
        for (text, want) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1000", "1k"),
            ("1000000000", "1G"),
            ("1000000000.0", "1G"),
            ("1e9", "1e9"),
            ("12e8", "1200e6"),
            ("1E3", "1e3"),
            ("64Mi", "64Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("1000Mi", "1000Mi"),
            ("500M", "500M"),
            ("-2.5", "-2500m"),
            ("+3", "3"),
            ("5E", "5E"),
            ("1000000E", "1000000E"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(want), "{text}");
            assert_eq!(canonical(want).as_deref(), Some(want), "{want} again");
        }
        for text in ["", "x", "1GB", "--1", "99999999999999999999999Ei"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
