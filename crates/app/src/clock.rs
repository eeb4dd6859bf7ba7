//! Times as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the time of day.
#[expect(clippy::disallowed_methods, reason = "the one clock of the command line")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}

/// Returns a date in UTC, from nanoseconds since the epoch.
pub(crate) fn date(nanoseconds: i128) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    let date = time::OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    date.and_then(|date| date.format(format).ok()).unwrap_or_default()
}

/// Returns the seconds since the epoch of a date as documents have it.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).ok().map(time::OffsetDateTime::unix_timestamp)
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
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut whole, mut divisor, mut unit) = (bytes, 1_u64, 0);
    while whole >= 1000 && unit + 1 < units.len() {
        divisor *= 1000;
        whole = bytes / divisor;
        unit += 1;
    }
    let hundredths = u128::from(bytes) * 100 / u128::from(divisor);
    let text = match whole {
        _ if unit == 0 => whole.to_string(),
        100.. => whole.to_string(),
        10..100 => format!("{}.{}", whole, hundredths / 10 % 10),
        _ => format!("{}.{:02}", whole, hundredths % 100),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

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
