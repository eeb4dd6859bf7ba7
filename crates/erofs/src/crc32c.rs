//! CRC-32C (Castagnoli), the checksum of the EROFS superblock.
//!
//! The polynomial is that of RFC 3720, appendix B.4, here in its bit-reversed form.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Continues a CRC-32C from the register value `crc` over `bytes`.
///
/// Neither the register's initial value (all ones, by convention) nor a final inversion is applied:
/// EROFS stores the register as it is.
pub(crate) fn update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::update;

    #[test]
    fn known_checksums_are_reproduced() {
        let cases: [(&[u8], u32); 4] =
            [(b"", 0), (b"123456789", 0xe306_9283), (&[0; 32], 0x8a91_36aa), (&[0xff; 32], 0x62a8_ab43)];
        for (bytes, expected) in cases {
            assert_eq!(!update(!0, bytes), expected, "{bytes:?}");
        }
    }
}
