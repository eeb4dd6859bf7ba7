//! Sizes as people type them.

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
