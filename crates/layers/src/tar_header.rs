//! One entry of a canonical tar: a ustar header, with a PAX header before it where ustar is too small.
//!
//! Spec: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; image-spec layer.md, "File Attributes".

use std::io::{self, Write};

/// Size of a tar block.
pub(crate) const BLOCK: usize = 512;

/// What an entry says about a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    /// Path without leading slash; directories end in one.
    pub(crate) path: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Bytes that follow.
    pub(crate) size: u64,
    /// Seconds since the epoch.
    pub(crate) mtime: i64,
    /// And nanoseconds, which the canonical tar does not have.
    pub(crate) nanoseconds: u32,
    /// ustar type flag.
    pub(crate) kind: u8,
    /// Target of a hard or symbolic link.
    pub(crate) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(crate) device: (u64, u64),
    /// Extended attributes, sorted.
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

impl Header {
    /// Writes the header blocks; the content and its padding are the caller's.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let pax = self.pax();
        if !pax.is_empty() {
            let header = Self {
                path: b"PaxHeaders/0".to_vec(),
                mode: 0o644,
                kind: b'x',
                size: pax.len() as u64,
                ..Self::default()
            };
            out.write_all(&header.block())?;
            out.write_all(&pax)?;
            pad(out, pax.len() as u64)?;
        }
        out.write_all(&self.block())
    }

    /// Records of what does not fit, sorted by key.
    fn pax(&self) -> Vec<u8> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let mut number = |key: &str, value: u64, digits: u32| {
            if value >= 1 << (3 * digits) {
                records.push((key.to_owned(), value.to_string().into_bytes()));
            }
        };
        number("gid", self.gid, 7);
        number("size", self.size, 11);
        number("uid", self.uid, 7);
        if self.mtime < 0 || self.mtime >= 1 << 33 || self.nanoseconds != 0 {
            records.push(("mtime".to_owned(), decimal(self.mtime, self.nanoseconds).into_bytes()));
        }
        if self.link.len() > 100 {
            records.push(("linkpath".to_owned(), self.link.clone()));
        }
        if split(&self.path).is_none() {
            records.push(("path".to_owned(), self.path.clone()));
        }
        records
            .extend(self.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone())));
        records.sort();
        records.iter().flat_map(|(key, value)| record(key, value)).collect()
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let (prefix, name) = split(&self.path).unwrap_or((&[], &self.path[..self.path.len().min(100)]));
        put(&mut block[0..100], name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], self.uid);
        octal(&mut block[116..124], self.gid);
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], self.mtime.try_into().unwrap_or(0));
        block[156] = self.kind;
        put(&mut block[157..257], &self.link[..self.link.len().min(100)]);
        put(&mut block[257..265], b"ustar\x0000");
        octal(&mut block[329..337], self.device.0);
        octal(&mut block[337..345], self.device.1);
        put(&mut block[345..500], prefix);
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        put(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Writes a time as PAX wants it; the nanoseconds count forwards, also before the epoch.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (..0, _) => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// Fills the last block.
pub(crate) fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size % BLOCK as u64).expect("a remainder of 512 fits");
    if rest == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][rest..]) }
}

fn put(field: &mut [u8], bytes: &[u8]) {
    field[..bytes.len()].copy_from_slice(bytes);
}

/// Writes a number in octal with a NUL behind; one too large is in the PAX header, and zero here.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    let text = if text.len() > width { "0".repeat(width) } else { text };
    put(field, text.as_bytes());
}

/// Splits a path into ustar's prefix (at most 155 bytes) and name (at most 100), at a slash.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((&[], path));
    }
    let fits = |slash: &usize| *slash <= 155 && path.len() - slash - 1 <= 100 && *slash + 1 < path.len();
    let slash = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).find(fits)?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// One PAX record: its own length in decimal, a space, `key=value` and a newline.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", b"x"), b"9 path=x\n");
        let long = record("path", &[b'x'; 91]);
        assert_eq!(long.len(), 101);
        assert!(long.starts_with(b"101 path="));
    }

    #[test]
    fn a_time_has_its_fraction() {
        for (time, want) in [
            ((7, 0), "7"),
            ((7, 5), "7.000000005"),
            ((-7, 0), "-7"),
            ((-7, 250_000_000), "-6.750000000"),
            ((-1, 1), "-0.999999999"),
        ] {
            assert_eq!(decimal(time.0, time.1), want);
        }
    }

    #[test]
    fn another_reader_understands_the_headers() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(160));
        for (name, path, uid) in
            [("short", "etc/hosts", 0), ("long", long.as_str(), 7), ("large owner", "f", 1 << 22)]
        {
            let header = Header {
                path: path.as_bytes().to_vec(),
                mode: 0o4755,
                uid,
                size: 3,
                mtime: 1_700_000_000,
                kind: b'0',
                xattrs: vec![("user.x".to_owned(), b"\0\x01".to_vec())],
                ..Header::default()
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes).unwrap();
            bytes.extend_from_slice(b"abc");
            pad(&mut bytes, 3).unwrap();
            bytes.extend_from_slice(&[0; 2 * BLOCK]);
            let mut archive = tar::Archive::new(bytes.as_slice());
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.path_bytes(), path.as_bytes(), "case {name}");
            let extensions: Vec<_> =
                entry.pax_extensions().unwrap().unwrap().map(|e| e.unwrap().key_bytes().to_vec()).collect();
            assert!(extensions.contains(&b"SCHILY.xattr.user.x".to_vec()), "case {name}");
            assert_eq!(entry.header().mode().unwrap(), 0o4755, "case {name}");
        }
    }
}
