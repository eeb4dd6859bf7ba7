//! Sizes, durations and truths as people type them.

/// Nanoseconds.
pub(crate) const SECOND: i128 = 1_000_000_000;

/// Returns what a word says of whether something is so. Compat: Go's `strconv.ParseBool`.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Returns the bytes of a size with or without a unit, each 1024 times the one before it. Compat: docker's flags.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => 64,
    };
    1_u64.checked_shl(shift).and_then(|unit| decimal(number, unit))
}

/// Returns a decimal number of units, rounded down.
pub(crate) fn decimal(text: &str, unit: u64) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let scaled =
        number(whole)?.checked_mul(unit.into())?.checked_add(number(part)? * u128::from(unit) / scale)?;
    u64::try_from(scaled).ok()
}

/// Returns the nanoseconds of `1h30m`, `90s`, `1.5h`, `200ms`. Compat: Go's `time.ParseDuration`, both signs for micro among its units.
pub(crate) fn duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut sum = 0;
    while !rest.is_empty() {
        let end = rest.find(char::is_alphabetic)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|letter: char| !letter.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "h" => 3600 * SECOND,
            "m" => 60 * SECOND,
            "s" => SECOND,
            "ms" => SECOND / 1000,
            "us" | "\u{b5}s" | "\u{3bc}s" => SECOND / 1_000_000,
            "ns" => 1,
            _ => return None,
        };
        sum += fraction(number, unit)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

/// Returns a decimal number of units, exactly.
pub(crate) fn fraction(text: &str, unit: i128) -> Option<i128> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 18 || part.len() > 18 || !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let part: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    Some(whole.parse::<i128>().ok()? * unit + part * unit / scale)
}
