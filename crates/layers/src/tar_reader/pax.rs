//! PAX records: `LENGTH KEY=VALUE\n`, of which the length counts all of it.

use std::collections::HashSet;

use super::number::{decimal, time};
use super::sparse::{SparseRecords, is_listed, is_sparse};

/// Prefix of the keys of extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Why a sparse file is not taken as one of a layer.
pub(super) const SPARSE: &str = "a sparse file, which is not supported: pack it without --sparse";

/// Longest name and value of an extended attribute that Linux knows, and what one file may have of them in all.
const XATTR_NAME: usize = 255;
const XATTR_VALUE: usize = 65_536;
const XATTR_ALL: usize = 1 << 18;

/// What the records before an entry say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    /// The entry is a sparse file.
    pub(super) sparse: Option<SparseRecords>,
}

impl Pax {
    /// Reads the records of one entry. Records that mean nothing to a layer are left out, wrong ones are an error.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        let mut seen = HashSet::new();
        let mut all_xattrs = 0;
        for record in Records(bytes) {
            let (key, value) = record?;
            if !seen.insert(key) && !is_listed(key) {
                return Err("a PAX record that is there twice");
            }
            match key {
                b"path" => pax.path = Some(name(value)?),
                b"linkpath" => pax.link = Some(name(value)?),
                b"size" => pax.size = Some(size(value)?),
                b"uid" => pax.uid = Some(decimal(value).ok_or("a PAX owner that is not a number")?),
                b"gid" => pax.gid = Some(decimal(value).ok_or("a PAX group that is not a number")?),
                b"mtime" => pax.mtime = Some(time(value).ok_or("a PAX time that is not a number")?),
                _ if is_sparse(key) => pax.sparse.get_or_insert_default().take(key, value)?,
                _ => {
                    let Some(name) = key.strip_prefix(XATTR) else { continue };
                    all_xattrs += name.len() + value.len();
                    if all_xattrs > XATTR_ALL {
                        return Err("too many extended attributes");
                    }
                    pax.xattrs.push((xattr_name(name)?, xattr_value(value)?));
                }
            }
        }
        Ok(pax)
    }
}

/// Refuses records for the whole archive that would say something about its files.
pub(super) fn refuse_global(bytes: &[u8]) -> Result<(), &'static str> {
    for record in Records(bytes) {
        let (key, _) = record?;
        let known: [&[u8]; 6] = [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"];
        if known.contains(&key) || key.starts_with(XATTR) || is_sparse(key) {
            return Err("a global PAX record about files, which readers understand differently");
        }
    }
    Ok(())
}

/// Looks only whether records for the whole archive are well formed.
pub(super) fn pass_global(bytes: &[u8]) -> Result<(), &'static str> {
    Records(bytes).try_for_each(|record| record.map(drop))
}

pub(super) fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.is_empty() || value.contains(&0) {
        Err("a PAX name that is not one")
    } else {
        Ok(value.to_vec())
    }
}

fn size(value: &[u8]) -> Result<u64, &'static str> {
    decimal(value).filter(|size| i64::try_from(*size).is_ok()).ok_or("a PAX size that is not a number")
}

fn xattr_name(name: &[u8]) -> Result<String, &'static str> {
    const WRONG: &str = "an extended attribute with a name that is not one";
    if name.is_empty() || name.len() > XATTR_NAME || name.contains(&0) {
        return Err(WRONG);
    }
    String::from_utf8(name.to_vec()).map_err(|_bytes| WRONG)
}

fn xattr_value(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.len() > XATTR_VALUE {
        Err("an extended attribute of more than 64 KiB")
    } else {
        Ok(value.to_vec())
    }
}

/// The records one after the other; ends with the first wrong one.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split(self.0);
        self.0 = record.map_or(&[], |(_, _, rest)| rest);
        Some(record.map(|(key, value, _)| (key, value)).ok_or("a PAX record that is not well formed"))
    }
}

/// Splits the first record off: key, value, rest.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // A length of more digits cannot be right: headers are smaller.
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    if bytes[0] == b'0' {
        return None;
    }
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let content = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = content.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&content[..equals], &content[equals + 1..]);
    let good = !key.is_empty() && !key.contains(&0);
    good.then_some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length =
            (1..8).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length);
        format!("{} {key}={value}\n", length.unwrap()).into_bytes()
    }

    #[test]
    fn records_are_read() {
        let bytes: Vec<u8> = [
            record("path", "a\u{e9}=b"),
            record("size", "8589934592"),
            record("mtime", "1.5"),
            record("comment", "anything\0\n"),
            record("SCHILY.xattr.user.empty", ""),
        ]
        .concat();
        let pax = Pax::parse(&bytes).unwrap();
        assert_eq!(pax.path.as_deref(), Some("a\u{e9}=b".as_bytes()));
        assert_eq!((pax.size, pax.mtime, pax.uid), (Some(8_589_934_592), Some((1, 500_000_000)), None));
        assert_eq!(pax.xattrs, [("user.empty".to_owned(), Vec::new())]);
    }

    #[test]
    fn what_is_not_exactly_right_is_an_error() {
        let twice = [record("path", "a"), record("path", "a")].concat();
        let long = record("SCHILY.xattr.user.x", &"x".repeat(65_537));
        let cases: [(&str, &[u8]); 19] = [
            ("no length", b" path=a\n"),
            ("length too short", b"8 path=a\n"),
            ("length too long", b"11 path=a\n"),
            ("length beyond the end", b"99 path=a\n"),
            ("leading zero", b"010 path=a\n"),
            ("sign", b"+9 path=a\n"),
            ("hexadecimal", b"0x9 path=a\n"),
            ("no newline", b"9 path=ab"),
            ("no equals sign", b"8 patha\n"),
            ("no key", b"5 =a\n"),
            ("NUL in the key", b"9 pa\0h=a\n"),
            ("NUL behind", b"9 path=a\n\0"),
            ("empty path", b"8 path=\n"),
            ("NUL in the path", b"10 path=a\0\n"),
            ("size with a sign", b"10 size=-1\n"),
            ("size with a fraction", b"12 size=1.0\n"),
            ("size above the largest", b"28 size=9223372036854775808\n"),
            ("twice", &twice),
            ("long attribute", &long),
        ];
        for (name, bytes) in cases {
            assert!(Pax::parse(bytes).is_err(), "case {name}");
        }
    }

    #[test]
    fn global_records_may_comment_only() {
        assert_eq!(refuse_global(&record("comment", "a commit")), Ok(()));
        for key in ["path", "size", "SCHILY.xattr.user.x", "GNU.sparse.name"] {
            assert!(refuse_global(&record(key, "1")).is_err(), "case {key}");
        }
    }
}
