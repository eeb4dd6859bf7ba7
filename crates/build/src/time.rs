//! Times as RFC 3339 text, and the one place that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the epoch.
pub(crate) fn now() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock; SOURCE_DATE_EPOCH replaces it in images"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns seconds since the epoch as a database column takes them.
pub(crate) fn now_seconds() -> i64 {
    i64::try_from(now().as_secs()).unwrap_or(i64::MAX)
}

/// Returns a time in UTC as Go writes it: `2026-01-02T03:04:05.6Z`, without zeros at the end.
pub(crate) fn rfc3339(seconds: i64, nanoseconds: u32) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let fraction = if nanoseconds == 0 {
        String::new()
    } else {
        format!(".{nanoseconds:09}").trim_end_matches('0').to_owned()
    };
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Returns a time since the epoch as seconds and nanoseconds.
pub(crate) fn parts(at: Duration) -> (i64, u32) {
    (i64::try_from(at.as_secs()).unwrap_or(i64::MAX), at.subsec_nanos())
}

/// Like [`rfc3339`], of a time since the epoch.
pub(crate) fn rfc3339_of(at: Duration) -> String {
    let (seconds, nanoseconds) = parts(at);
    rfc3339(seconds, nanoseconds)
}

/// Returns whether a text is a time as [`rfc3339`] writes it, and so can be compared to such.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let Some((seconds, rest)) = text.as_bytes().split_at_checked(FORM.len()) else { return false };
    let fits = |(is, form): (&u8, &u8)| if *form == b'0' { is.is_ascii_digit() } else { is == form };
    let is_fraction = |rest: &[u8]| (1..=9).contains(&rest.len()) && rest.iter().all(u8::is_ascii_digit);
    seconds.iter().zip(FORM).all(fits)
        && rest
            .strip_suffix(b"Z")
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(b".").is_some_and(is_fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, nanoseconds, want) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 500_000_000, "2000-02-29T00:00:00.5Z"),
            (1_767_323_045, 1, "2026-01-02T03:04:05.000000001Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds, nanoseconds), want);
            assert!(is_rfc3339(want));
        }
        for text in [
            "",
            "Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01 00:00:00Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}
