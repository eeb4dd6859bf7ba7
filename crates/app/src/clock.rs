//! Times as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the nanoseconds since the epoch.
pub(crate) fn nanoseconds() -> i128 {
    let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

/// Returns the time of day.
#[expect(clippy::disallowed_methods, reason = "the one clock of the command line")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}

/// Returns the seconds since the epoch of an RFC 3339 text.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(time.unix_timestamp())
}

/// Returns the nanoseconds since the epoch of an RFC 3339 text.
pub(crate) fn parse_exact(text: &str) -> Option<i128> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos())
}

/// Returns a time as docker prints it: `2026-01-02 15:04:05 +0000 UTC`.
pub(crate) fn moment(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
    time.format(&format).unwrap_or_default()
}

/// Returns a date in UTC, from nanoseconds since the epoch.
pub(crate) fn date(nanoseconds: i128) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    let date = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    date.and_then(|date| date.format(format).ok()).unwrap_or_default()
}

/// Returns how long ago something was made, in seconds since the epoch. Compat: docker, the year 1 is Go's word for no time.
pub(crate) fn since(made: i64) -> String {
    /// The year 101.
    const TIMES: i64 = -58_979_923_200;
    if made < TIMES { "N/A".to_owned() } else { format!("{} ago", ago(now() - made)) }
}

/// Returns how long ago something was. Compat: docker, `units.HumanDuration`.
pub(crate) fn ago(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Returns a size with three significant digits. Compat: docker, `units.HumanSizeWithPrecision(…, 3)`.
pub(crate) fn size(bytes: u64) -> String {
    with_digits(bytes, 3)
}

/// Returns a size with four significant digits. Compat: docker, `units.HumanSize`.
pub(crate) fn precise_size(bytes: u64) -> String {
    with_digits(bytes, 4)
}

fn with_digits(bytes: u64, digits: usize) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut divisor, mut unit) = (1_u64, 0);
    while bytes / divisor >= 1000 && unit + 1 < units.len() {
        divisor *= 1000;
        unit += 1;
    }
    let whole = (bytes / divisor).to_string();
    // One digit of the fraction for each that is left of the significant ones.
    let left = digits.saturating_sub(whole.len());
    let power = u32::try_from(left).map_or(0, |left| 10_u128.pow(left));
    let scaled = (u128::from(bytes) * power + u128::from(divisor) / 2) / u128::from(divisor);
    let (whole, fraction) = (scaled / power, scaled % power);
    let fraction = if left == 0 { String::new() } else { format!(".{fraction:0left$}") };
    format!("{whole}{}{}", fraction.trim_end_matches('0').trim_end_matches('.'), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_printed() {
        let seconds = parse("2026-01-02T15:04:05.5Z").unwrap();
        assert_eq!(moment(seconds), "2026-01-02 15:04:05 +0000 UTC");
        assert_eq!(parse("yesterday"), None);
        assert_eq!(since(parse("0001-01-01T00:00:00Z").unwrap()), "N/A");
        assert!(since(parse("1970-01-01T00:00:00Z").unwrap()).ends_with(" years ago"));
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (52_428_800, "52.4MB"),
            (1_000, "1kB"),
            (7_340_032, "7.34MB"),
            (133_000_000, "133MB"),
        ] {
            assert_eq!(size(bytes), want);
        }
        for (bytes, want) in
            [(0, "0B"), (52_428_800, "52.43MB"), (1_000_000, "1MB"), (123_456, "123.5kB"), (1_999, "1.999kB")]
        {
            assert_eq!(precise_size(bytes), want);
        }
    }

    #[test]
    fn ages_are_dockers() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (7_200, "2 hours"),
            (86_400 * 20, "2 weeks"),
        ] {
            assert_eq!(ago(seconds), want);
        }
    }
}
