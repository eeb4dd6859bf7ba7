//! Parts of blobs. Spec: RFC 9110, 14.

/// What a `Range` header asks of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything: there is no header, or one that may be left unheeded.
    Whole,
    /// From the first to the last byte, both included.
    Bytes(u64, u64),
    /// Nothing of it is there.
    None,
}

/// Reads a `Range` header. Several ranges at once are left unheeded.
pub(crate) fn parse(header: Option<&str>, size: u64) -> Part {
    let Some(range) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Part::Whole };
    let Some((first, last)) = range.split_once('-') else { return Part::Whole };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    match (first, last) {
        ("", "") => Part::Whole,
        ("", count) => match number(count) {
            Some(Some(0)) => Part::None,
            Some(Some(count)) if size > 0 => Part::Bytes(size.saturating_sub(count), size - 1),
            // More than any number says.
            Some(None) if size > 0 => Part::Bytes(0, size - 1),
            Some(_) => Part::None,
            None => Part::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(Some(first)), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
                Part::None
            }
            (Some(Some(first)), _) if last.is_empty() => Part::Bytes(first, size - 1),
            // Backwards. Spec: RFC 9110, 14.2, it may be refused.
            (Some(Some(first)), Some(Some(last))) if last < first => Part::None,
            (Some(Some(first)), Some(Some(last))) => Part::Bytes(first, last.min(size - 1)),
            (Some(Some(first)), Some(None)) => Part::Bytes(first, size - 1),
            (Some(None), Some(_)) => Part::None,
            _ => Part::Whole,
        },
    }
}

/// Reads the `Content-Range` of a piece of an upload: first and last byte. Spec: distribution-spec, Pushing a blob in chunks.
pub(crate) fn of_piece(header: &str) -> Option<(u64, u64)> {
    let text = header.strip_prefix("bytes ").unwrap_or(header);
    let text = text.split_once('/').map_or(text, |(range, _size)| range);
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (first, last): (u64, u64) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use shipway_testkit::{Dice, rounds};

    use super::*;

    #[test]
    fn whatever_a_header_says_a_part_is_within_the_whole() {
        let mut dice = Dice::new(0x5a);
        let words: [&[u8]; 6] =
            [b"bytes=", b"-", b",", b"18446744073709551615", b"18446744073709551616", b"0"];
        for _ in 0..rounds(20_000) {
            let header = dice.mutate(b"bytes=10-20", &words);
            let header = String::from_utf8_lossy(&header);
            let size = [0, 1, 15, u64::MAX][dice.roll(4)];
            if let Part::Bytes(first, last) = parse(Some(&header), size) {
                assert!(first <= last && last < size, "{header:?} of {size}: {first}-{last}");
            }
            let piece = header.replace("bytes=", "bytes ");
            if let Some((first, last)) = of_piece(&piece) {
                assert!(first <= last, "{piece:?}");
            }
        }
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, size, want) in [
            (None, 10, Part::Whole),
            (Some("bytes=0-4"), 10, Part::Bytes(0, 4)),
            (Some("bytes=5-"), 10, Part::Bytes(5, 9)),
            (Some("bytes=-3"), 10, Part::Bytes(7, 9)),
            (Some("bytes=-30"), 10, Part::Bytes(0, 9)),
            (Some("bytes=0-99"), 10, Part::Bytes(0, 9)),
            (Some("bytes=10-"), 10, Part::None),
            (Some("bytes=-0"), 10, Part::None),
            (Some("bytes=0-0"), 0, Part::None),
            (Some("bytes=-5"), 0, Part::None),
            (Some("bytes=5-4"), 10, Part::None),
            (Some("bytes=0-1,3-4"), 10, Part::Whole),
            (Some("bytes=+1-4"), 10, Part::Whole),
            (Some("bytes=a-b"), 10, Part::Whole),
            (Some("bytes=-"), 10, Part::Whole),
            (Some("items=0-1"), 10, Part::Whole),
            (Some("bytes=99999999999999999999-"), 10, Part::None),
            (Some("bytes=1-99999999999999999999"), 10, Part::Bytes(1, 9)),
        ] {
            assert_eq!(parse(header, size), want, "case {header:?} of {size}");
        }
    }

    #[test]
    fn pieces_say_where_they_begin_and_end() {
        for (header, want) in [
            ("0-9", Some((0, 9))),
            ("bytes 5-9/20", Some((5, 9))),
            ("9-5", None),
            ("-5", None),
            ("5-", None),
            ("a-b", None),
            ("", None),
            ("99999999999999999999-1", None),
        ] {
            assert_eq!(of_piece(header), want, "case {header:?}");
        }
    }
}
