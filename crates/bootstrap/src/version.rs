//! Versions of packages and their order.

use std::cmp::Ordering;

/// Compares two versions. Spec: Debian Policy section 5.6.12, `deb-version(7)`.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let ((left_epoch, left_upstream, left_revision), (right_epoch, right_upstream, right_revision)) =
        (split(left), split(right));
    left_epoch
        .cmp(&right_epoch)
        .then_with(|| compare_part(left_upstream, right_upstream))
        .then_with(|| compare_part(left_revision, right_revision))
}

/// Splits `[epoch:]upstream[-revision]`; a missing epoch is 0, a missing revision is empty, which equals `0`.
fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.trim().parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares by turns a run of other characters and a run of digits.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = take_while(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = take_while(right, |byte| !byte.is_ascii_digit());
        let (left_number, left_after) = take_while(left_rest, u8::is_ascii_digit);
        let (right_number, right_after) = take_while(right_rest, u8::is_ascii_digit);
        let order =
            compare_text(left_text, right_text).then_with(|| compare_number(left_number, right_number));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_after, right_after);
    }
    Ordering::Equal
}

fn take_while(bytes: &[u8], keep: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !keep(byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Letters come before everything else, and `~` even before the end.
fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let length = left.len().max(right.len());
    let weights = (0..length).map(|at| weight(left.get(at)).cmp(&weight(right.get(at))));
    weights.into_iter().find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
}

fn compare_number(left: &[u8], right: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| take_while(digits, |byte| *byte == b'0').1.to_vec();
    let (left, right) = (significant(left), significant(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(&right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_policy_says() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, want) in [
            ("1.0", "1.0", Equal),
            ("1.0", "1.0-0", Equal),
            ("0:1.0", "1.0", Equal),
            ("1.01", "1.1", Equal),
            ("1:0.1", "9.9", Greater),
            ("1.0~rc1", "1.0", Less),
            ("1.0~~", "1.0~", Less),
            ("1.0~~a", "1.0~", Less),
            ("1.0", "1.0a", Less),
            ("1.0a", "1.0+", Less),
            ("1.0+b1", "1.0-1", Greater),
            ("1.9", "1.10", Less),
            ("1.2.3-1", "1.2.3-1+deb12u1", Less),
            ("2.36-9+deb12u10", "2.36-9+deb12u9", Greater),
            ("1-2-3", "1-2-4", Less),
            ("99999999999999999999999", "100000000000000000000000", Less),
            ("a1", "a1.", Less),
            ("1.0-1~bpo12+1", "1.0-1", Less),
        ] {
            assert_eq!(compare(left, right), want, "{left} against {right}");
            assert_eq!(compare(right, left), want.reverse(), "{right} against {left}");
        }
    }
}
