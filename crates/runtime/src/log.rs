//! The container's log: one line per line, in the format that Kubernetes' tools read.
//!
//! Spec: Kubernetes CRI logging, `<RFC 3339 time> <stdout|stderr> <P|F> <text>`; `P` marks a part of a longer line.

mod reader;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use reader::{LogReader, LogSelection, LogStream};

/// Longest text of one entry.
const PART: usize = 16 * 1024;
/// A file is rotated when it is so large.
const ROTATE: u64 = 10 << 20;
/// Rotated files that are kept.
const KEPT: u32 = 2;

/// Writes the log of one container.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
}

impl LogWriter {
    /// Opens the log for appending. A symlink in its place is refused.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        let no_follow = i32::try_from(shipway_linux::OpenFlags::NOFOLLOW.bits()).unwrap_or(0);
        let file = options.append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size })
    }

    /// Writes what a stream said, `complete` if a line break followed it.
    pub(crate) fn write(&mut self, stream: &str, text: &[u8], complete: bool) -> io::Result<()> {
        let mut entry = Vec::with_capacity(text.len() + 48);
        write!(entry, "{} {stream} {} ", timestamp(crate::state::now()), if complete { 'F' } else { 'P' })?;
        entry.extend_from_slice(text);
        entry.push(b'\n');
        if self.size + entry.len() as u64 > ROTATE {
            self.rotate()?;
        }
        self.file.write_all(&entry)?;
        self.size += entry.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..KEPT).rev() {
            // An older one that is not there yet needs no place.
            drop(fs_err::rename(numbered(number), numbered(number + 1)));
        }
        fs_err::rename(&self.path, numbered(1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Hands every complete line, and parts of overlong ones, to `emit`.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut emit: impl FnMut(&[u8], bool) -> io::Result<()>,
    ) -> io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if let Some(line) = self.rest.strip_suffix(b"\n") {
                emit(line, true)?;
                self.rest.clear();
            }
            while self.rest.len() >= PART {
                emit(&self.rest[..PART], false)?;
                self.rest.drain(..PART);
            }
        }
        Ok(())
    }

    /// Hands over what no line break followed.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&[u8], bool) -> io::Result<()>) -> io::Result<()> {
        if self.rest.is_empty() { Ok(()) } else { emit(&std::mem::take(&mut self.rest), true) }
    }
}

/// Returns an RFC 3339 time in UTC with nanoseconds. Days to dates: Howard Hinnant, `civil_from_days`.
pub(crate) fn timestamp(nanoseconds: i128) -> String {
    let (seconds, fraction) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(timestamp(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(timestamp(1_700_000_000_500_000_000), "2023-11-14T22:13:20.500000000Z");
    }

    #[test]
    fn lines_are_whole_and_long_ones_come_in_parts() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut keep = |line: &[u8], complete| {
            seen.push((line.len(), complete));
            Ok(())
        };
        lines.push(b"ab", &mut keep).unwrap();
        lines.push(b"c\n\nx", &mut keep).unwrap();
        lines.push(&[b'y'; PART], &mut keep).unwrap();
        lines.finish(&mut keep).unwrap();
        assert_eq!(seen, [(3, true), (0, true), (PART, false), (1, true)]);
    }
}
