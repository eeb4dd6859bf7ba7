//! Points in time as they are typed. Compat: docker, `--since`.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use crate::failure::Failure;
use crate::units::{duration, fraction};

const SECOND: i128 = 1_000_000_000;

/// Parses a time, seconds since the epoch, or how long before `now` (`1h30m`); all in nanoseconds since the epoch. Times
/// without a zone are in UTC.
pub(crate) fn parse(text: &str, now: i128) -> Result<i128, Failure> {
    let found = duration(text).map(|ago| now - ago).or_else(|| seconds(text)).or_else(|| date(text));
    found.ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no time"),
            "write it as 2026-01-02T15:04:05Z, as seconds since the epoch, or as how long ago: 10m",
        )
    })
}

/// `1700000000` or `1700000000.5`
fn seconds(text: &str) -> Option<i128> {
    fraction(text, SECOND)
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
