//! Extended attributes: their limits and their form inside an inode's body.
//!
//! The format (`erofs_xattr_ibody_header`, `erofs_xattr_entry`) and the name indexes are those of Linux's
//! `fs/erofs/erofs_fs.h`.

use std::io::{self, ErrorKind};

/// A name with its namespace (`user.mime_type`), and a value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// Namespaces that EROFS abbreviates to a number, and whether a name of one's own has to follow.
const PREFIXES: [(&[u8], u8, bool); 5] = [
    (b"user.", 1, true),
    (b"system.posix_acl_access", 2, false),
    (b"system.posix_acl_default", 3, false),
    (b"trusted.", 4, true),
    (b"security.", 6, true),
];

/// Bytes of `erofs_xattr_ibody_header` without shared attributes.
const HEADER_BYTES: usize = 12;
/// Bytes of `erofs_xattr_entry` before name and value; entries are aligned to as much.
const ENTRY_BYTES: usize = 4;
/// `XATTR_NAME_MAX` of Linux.
const NAME_MAX: usize = 255;
/// `XATTR_LIST_MAX` of Linux: all names with a NUL each; listxattr(2) fails for an inode that has more.
const LIST_MAX: usize = 65536;
/// What the 16 bits of `i_xattr_icount` can count: the header, then words of four bytes.
const BODY_MAX: usize = HEADER_BYTES + 4 * (u16::MAX as usize - 1);

/// The extended attributes of one inode, sorted by name, each name once.
#[derive(Debug, Default)]
pub(crate) struct Xattrs(Vec<Xattr>);

impl Xattrs {
    /// Takes a list of attributes; of two with one name the later wins.
    pub(crate) fn new(mut list: Vec<Xattr>) -> io::Result<Option<Box<Self>>> {
        if list.is_empty() {
            return Ok(None);
        }
        list.reverse();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|later, first| later.0 == first.0);
        let xattrs = Self(list);
        xattrs.check()?;
        Ok(Some(Box::new(xattrs)))
    }

    /// Adds an attribute or replaces its value. Nothing changes if the inode's limits do not allow it.
    pub(crate) fn set(&mut self, name: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.0[at].1, value);
                self.check().inspect_err(|_| self.0[at].1 = before)
            }
            Err(at) => {
                self.0.insert(at, (name, value));
                self.check().inspect_err(|_| drop(self.0.remove(at)))
            }
        }
    }

    pub(crate) fn as_slice(&self) -> &[Xattr] {
        &self.0
    }

    /// The number of bytes that [`Self::encode`] produces, a multiple of four.
    pub(crate) fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.0.iter().map(entry_bytes).sum::<usize>()
    }

    /// The attributes as they follow an inode.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for (name, value) in &self.0 {
            let Some((index, rest)) = split(name) else {
                continue;
            };
            // `check` has seen to it that these lengths fit.
            bytes.extend([u8::try_from(rest.len()).unwrap_or(u8::MAX), index]);
            bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(rest);
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(ENTRY_BYTES), 0);
        }
        bytes
    }

    fn check(&self) -> io::Result<()> {
        for (name, value) in &self.0 {
            check_one(name, value)?;
        }
        let listed = self.0.iter().map(|(name, _)| name.len() + 1).sum::<usize>();
        if listed > LIST_MAX || self.encoded_bytes() > BODY_MAX {
            return Err(invalid(format!(
                "{} extended attributes of one file exceed {LIST_MAX} bytes of names or {BODY_MAX} bytes in all",
                self.0.len()
            )));
        }
        Ok(())
    }
}

fn check_one(name: &[u8], value: &[u8]) -> io::Result<()> {
    let shown = String::from_utf8_lossy(name);
    if split(name).is_none() {
        let text = format!("the extended attribute {shown:?} has no namespace that EROFS knows, or no name");
        return Err(io::Error::new(ErrorKind::Unsupported, text));
    }
    if name.len() > NAME_MAX || name.contains(&0) {
        return Err(invalid(format!("the extended attribute name {shown:?} is too long or contains a NUL")));
    }
    if value.len() > usize::from(u16::MAX) {
        return Err(invalid(format!("{shown:?} has a value of {} bytes, more than 65535", value.len())));
    }
    Ok(())
}

/// Splits a name into the number of its namespace and the rest.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|&(prefix, index, named)| {
        let rest = name.strip_prefix(prefix)?;
        (rest.is_empty() != named).then_some((index, rest))
    })
}

fn entry_bytes((name, value): &Xattr) -> usize {
    let rest = split(name).map_or(0, |(_, rest)| rest.len());
    (ENTRY_BYTES + rest + value.len()).next_multiple_of(ENTRY_BYTES)
}

/// An error about what the caller has given.
pub(crate) fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &[u8], length: usize) -> Xattr {
        (name.to_vec(), vec![b'v'; length])
    }

    #[test]
    fn names_and_values_outside_the_limits_are_refused() {
        let long = [b"user.".as_slice(), &[b'n'; 251]].concat();
        let cases = [
            (pair(b"user.", 1), Some(ErrorKind::Unsupported)),
            (pair(b"other.name", 1), Some(ErrorKind::Unsupported)),
            (pair(b"system.posix_acl_access", 1), None),
            (pair(b"system.posix_acl_accessory", 1), Some(ErrorKind::Unsupported)),
            (pair(&long, 1), Some(ErrorKind::InvalidInput)),
            (pair(&long[..255], 1), None),
            (pair(b"user.a\0b", 1), Some(ErrorKind::InvalidInput)),
            (pair(b"user.a", 65535), None),
            (pair(b"user.a", 65536), Some(ErrorKind::InvalidInput)),
        ];
        for (xattr, expected) in cases {
            let name = String::from_utf8_lossy(&xattr.0).into_owned();
            let seen = Xattrs::new(vec![xattr]).err().map(|error| error.kind());
            assert_eq!(seen, expected, "{name:?}");
        }
    }

    #[test]
    fn the_sum_of_all_values_is_limited_and_a_refused_set_changes_nothing() {
        let mut xattrs = Xattrs::default();
        for name in [b"user.a", b"user.b", b"user.c"] {
            xattrs.set(name.to_vec(), vec![0; 65535]).expect("fits");
        }
        let before = xattrs.encoded_bytes();
        assert!(xattrs.set(b"user.d".to_vec(), vec![0; 65535]).is_err());
        assert_eq!(xattrs.encoded_bytes(), before);
        xattrs.set(b"user.d".to_vec(), vec![0; 65511]).expect("fits exactly");
        assert_eq!(xattrs.encode().len(), xattrs.encoded_bytes());
    }

    #[test]
    fn the_later_of_two_equal_names_wins_and_entries_are_padded_to_four_bytes() {
        let list = vec![pair(b"user.b", 9), pair(b"user.a", 2), pair(b"user.b", 1)];
        let xattrs = Xattrs::new(list).expect("valid").expect("not empty");
        let expected = [[0; 12].as_slice(), &[1, 1, 2, 0], b"avv\0", &[1, 1, 1, 0], b"bv\0\0"].concat();
        assert_eq!(xattrs.encode(), expected);
    }
}
