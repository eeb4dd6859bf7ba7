//! Times as RFC 3339 text, and the one place that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use shipway_oci::rfc3339;

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
