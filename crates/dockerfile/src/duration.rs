//! Go's durations (`1h30m`, `500ms`), as HEALTHCHECK takes them.

/// Returns the nanoseconds of a duration, or `None` if it is none or negative.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[unit_end..];
        total += number * factor;
    }
    // The largest duration that Go can hold.
    let fits = total.is_finite() && total < 9.223_372e18;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to fit; never negative"
    )]
    fits.then_some(total.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (name, input, want) in [
            ("seconds", "30s", Some(30_000_000_000)),
            ("mixed", "1h2m0.5s", Some(3_720_500_000_000)),
            ("zero", "0", Some(0)),
            ("zero with unit", "0s", Some(0)),
            ("milliseconds", "100ms", Some(100_000_000)),
            ("no unit", "30", None),
            ("negative", "-1s", None),
            ("unknown unit", "1d", None),
            ("two dots", "1..2s", None),
            ("huge", "99999999999999999999h", None),
            ("empty", "", None),
        ] {
            assert_eq!(parse_duration(input), want, "case {name}");
        }
    }
}
