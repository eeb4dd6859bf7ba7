//! The one form of date that HTTP servers send.

use std::time::Duration;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns how long `retry_after` asks to wait: seconds, or a date, which counts from the same answer's `Date`.
///
/// Spec: RFC 9110 sections 5.6.7 and 10.2.3.
pub(crate) fn parse_retry_after(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (until, now) = (parse_date(text)?, parse_date(date?)?);
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Returns seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn parse_date(text: &str) -> Option<u64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month_name = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month_name)?;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    if words.next() != Some("GMT") || !(1970..10_000).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: u64 = lengths.iter().take(month).sum();
    Some((years + months + day - 1) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (name, text, date, want) in [
            ("seconds", "7", None, Some(7)),
            ("date", "Sun, 06 Nov 1994 08:50:37 GMT", date, Some(60)),
            ("past", "Sun, 06 Nov 1994 08:40:37 GMT", date, Some(0)),
            (
                "over a leap day",
                "Fri, 01 Mar 1996 00:00:00 GMT",
                Some("Wed, 28 Feb 1996 00:00:00 GMT"),
                Some(172_800),
            ),
            ("date without a date", "Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("nonsense", "soon", date, None),
        ] {
            assert_eq!(parse_retry_after(text, date), want.map(Duration::from_secs), "case {name}");
        }
        assert_eq!(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }
}
