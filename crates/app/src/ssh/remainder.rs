//! One operation on large numbers: files of OpenSSH leave two parts of an RSA key out, which are remainders of others.

use std::cmp::Ordering;

/// Returns what is left of `number` divided by `by` less one; both have the highest byte first. `None` if `by` is none to divide by.
pub(super) fn remainder_less_one(number: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let mut divisor = by.to_vec();
    // It is odd, being a prime: nothing is borrowed.
    let last = divisor.last_mut().filter(|last| **last & 1 == 1)?;
    *last -= 1;
    if divisor.iter().all(|byte| *byte == 0) {
        return None;
    }
    // One byte more than the divisor: doubled, it may be that long for a moment.
    let mut rest = vec![0_u8; divisor.len() + 1];
    divisor.insert(0, 0);
    for byte in number {
        for bit in (0..8).rev() {
            double_and_add(&mut rest, byte >> bit & 1);
            if rest.cmp(&divisor) != Ordering::Less {
                subtract(&mut rest, &divisor);
            }
        }
    }
    Some(rest)
}

fn double_and_add(number: &mut [u8], bit: u8) {
    let mut carry = bit;
    for byte in number.iter_mut().rev() {
        let high = *byte >> 7;
        *byte = *byte << 1 | carry;
        carry = high;
    }
}

/// Of two numbers of one length the second is not the larger.
fn subtract(number: &mut [u8], other: &[u8]) {
    let mut borrowed = false;
    for (byte, other) in number.iter_mut().zip(other).rev() {
        let (less, first) = byte.overflowing_sub(*other);
        let (less, second) = less.overflowing_sub(u8::from(borrowed));
        *byte = less;
        borrowed = first || second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_those_of_arithmetic() {
        let bytes = |number: u64| number.to_be_bytes().to_vec();
        for (number, by) in [
            (0, 3),
            (1, 3),
            (1_000_003, 65_537),
            (u64::MAX, 3),
            (u64::MAX, u64::MAX),
            (u64::MAX - 1, u64::MAX),
            (12, 0xffff_ffff_0000_0001),
        ] {
            let rest = remainder_less_one(&bytes(number), &bytes(by)).unwrap();
            assert_eq!(rest[1..], bytes(number % (by - 1))[..], "{number} by {by}");
        }
        for by in [0, 1, 2] {
            assert_eq!(remainder_less_one(&[9], &bytes(by)), None, "by {by}");
        }
    }
}
