//! Points in time as they are typed. Compat: docker, `--since`.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use crate::failure::Failure;

const SECOND: i128 = 1_000_000_000;

/// Parses a time, seconds since the epoch, or how long before `now` (`1h30m`); all in nanoseconds since the epoch. Times
/// without a zone are in UTC.
pub(super) fn parse(text: &str, now: i128) -> Result<i128, Failure> {
    let found = duration(text).map(|ago| now - ago).or_else(|| seconds(text)).or_else(|| date(text));
    found.ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no time"),
            "write it as 2026-01-02T15:04:05Z, as seconds since the epoch, or as how long ago: --since 10m",
        )
    })
}

/// `1h30m`, `90s`, `1.5h`, `200ms`. Compat: Go's `time.ParseDuration`, both signs for micro among its units.
fn duration(text: &str) -> Option<i128> {
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

/// `1700000000` or `1700000000.5`
fn seconds(text: &str) -> Option<i128> {
    fraction(text, SECOND)
}

/// Returns a decimal number of units, exactly.
fn fraction(text: &str, unit: i128) -> Option<i128> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 18 || part.len() > 18 || !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let part: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    Some(whole.parse::<i128>().ok()? * unit + part * unit / scale)
}

fn date(text: &str) -> Option<i128> {
    let zoned = OffsetDateTime::parse(text, &Rfc3339).ok();
    let plain = || {
        let formats = [
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]"),
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]"),
            format_description!("[year]-[month]-[day]T[hour]:[minute]"),
        ];
        formats.iter().find_map(|format| PrimitiveDateTime::parse(text, format).ok())
    };
    let day = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok().map(Date::midnight);
    let found = zoned.or_else(|| plain().or_else(day).map(PrimitiveDateTime::assume_utc))?;
    Some(found.unix_timestamp_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let now = 1_767_225_600 * SECOND; // 2026-01-01T00:00:00Z
        for (text, want) in [
            ("10m", Some(now - 600 * SECOND)),
            ("1h30m", Some(now - 5400 * SECOND)),
            ("1.5s", Some(now - 1_500_000_000)),
            ("200ms", Some(now - 200_000_000)),
            ("200us", Some(now - 200_000)),
            ("200\u{b5}s", Some(now - 200_000)),
            ("1ms200\u{3bc}s", Some(now - 1_200_000)),
            ("1\u{3bc}", None),
            ("1700000000", Some(1_700_000_000 * SECOND)),
            ("1700000000.25", Some(1_700_000_000 * SECOND + 250_000_000)),
            ("2026-01-01T00:00:00Z", Some(now)),
            ("2026-01-01T01:00:00+01:00", Some(now)),
            ("2026-01-01T00:00:00.5Z", Some(now + SECOND / 2)),
            ("2026-01-01T00:00:00", Some(now)),
            ("2026-01-01T00:00", Some(now)),
            ("2026-01-01", Some(now)),
            ("", None),
            ("yesterday", None),
            ("10x", None),
            ("-5m", None),
            ("2026-13-01", None),
        ] {
            assert_eq!(parse(text, now).ok(), want, "case {text}");
        }
    }
}
