//! One header block.

use super::number::{field, octal};

/// Size of a block.
pub(super) const BLOCK: usize = 512;

/// What a header block says, before other headers are taken into account.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Major and minor number; only devices have them, and others may have anything there.
    pub(super) device: Option<(u32, u32)>,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        if octal(&block[148..156]) != Some(sum(block)) {
            return Err("the sum of a header is wrong");
        }
        let kind = block[156];
        let is_link = matches!(kind, b'1' | b'2');
        let (path, device) = match &block[257..265] {
            b"ustar\x0000" if &block[508..512] == b"tar\0" => {
                return Err("an archive of the program star, which is not supported");
            }
            b"ustar\x0000" => (with_prefix(&block[345..500], &block[..100]), true),
            b"ustar  \0" => (text(&block[..100]).to_vec(), true),
            // Before ustar these bytes were not used.
            [0, 0, 0, 0, 0, 0, 0, 0] if matches!(kind, 0..=b'2' | b'5') => {
                (text(&block[..100]).to_vec(), false)
            }
            _ => return Err("a header that is none of a tar archive"),
        };
        Ok(Self {
            kind,
            path,
            // Some writers leave the target of an entry before in the field of one that is no link.
            link: if is_link { text(&block[157..257]).to_vec() } else { Vec::new() },
            mode: number(&block[100..108], "a mode that is not a number")?,
            uid: number(&block[108..116], "an owner that is not a number")?,
            gid: number(&block[116..124], "a group that is not a number")?,
            size: number::<i64>(&block[124..136], "a size that is not a number")
                .and_then(|size| u64::try_from(size).map_err(|_negative| "a negative size"))?,
            mtime: number(&block[136..148], "a time that is not a number")?,
            device: if device { device_of(block) } else { None },
        })
    }
}

/// Returns the sum of all bytes, in which the sum itself counts as spaces.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let all = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    all(&block[..148]) + 8 * u64::from(b' ') + all(&block[156..])
}

fn device_of(block: &[u8; BLOCK]) -> Option<(u32, u32)> {
    let number = |bytes| u32::try_from(field(bytes)?).ok();
    Some((number(&block[329..337])?, number(&block[337..345])?))
}

fn number<T: TryFrom<i128>>(bytes: &[u8], wrong: &'static str) -> Result<T, &'static str> {
    field(bytes).and_then(|number| T::try_from(number).ok()).ok_or(wrong)
}

/// Returns the bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn with_prefix(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    let (prefix, name) = (text(prefix), text(name));
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}
