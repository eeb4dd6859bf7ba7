//! Reading a container's log while it is written.
//!
//! A log is a chain of files: `log`, which is written to, and `log.1`, `log.2`, which were before it. A reader holds the
//! file that it reads open, so it goes on in the right place when the shim moves to a new one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use shipway_linux::OpenFlags;

use super::timestamp;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Which part of a log is wanted, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSelection {
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only lines since then, in nanoseconds since the epoch.
    pub since: Option<i128>,
    /// Put its time before each line.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Where the container wrote something to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Reads a log from its chain of files.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// The file after that, once it is known. Then nothing is written to the one that is open any more.
    next: Option<File>,
    rest: Vec<u8>,
    printer: Printer,
}

impl LogReader {
    /// Begins at the first wanted line. A symlink in place of a log is refused.
    pub fn open(path: &Path, selection: &LogSelection) -> io::Result<Self> {
        let (file, offset) = match selection.tail {
            Some(count) => tail(path, count)?,
            None => (chain(path).first().map(|first| open(first)).transpose()?, 0),
        };
        let printer = Printer::new(selection);
        let mut reader = Self { path: path.to_owned(), file, next: None, rest: Vec::new(), printer };
        if let Some(file) = &mut reader.file {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(reader)
    }

    /// Hands the next pieces of text to `sink`; returns whether there were any. There may be more later.
    pub fn read(&mut self, sink: &mut dyn FnMut(LogStream, &[u8])) -> io::Result<bool> {
        let mut any = false;
        let mut block = vec![0; BLOCK];
        while !any && !self.is_full() {
            let Some(file) = &mut self.file else { break };
            let length = file.read(&mut block)?;
            if length == 0 {
                if let Some(next) = self.next.take() {
                    self.file = Some(next);
                    continue;
                }
                // What was written between the end that was seen and the move to the next file is read first.
                self.next = self.next_file()?;
                if self.next.is_none() {
                    break;
                }
                continue;
            }
            self.rest.extend_from_slice(&block[..length]);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let after = self.rest.split_off(end + 1);
            let lines = std::mem::replace(&mut self.rest, after);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                any |= self.printer.print(line.strip_suffix(b"\n").unwrap_or(line), sink);
            }
        }
        Ok(any)
    }

    /// Returns whether everything that was asked for has been read.
    pub fn is_full(&self) -> bool {
        self.printer.left == Some(0)
    }

    /// Returns the file after the one that is open, if the shim has moved on.
    fn next_file(&self) -> io::Result<Option<File>> {
        let Some(file) = &self.file else { return Ok(None) };
        let here = file.metadata()?.ino();
        let is_here = |path: &PathBuf| fs_err::symlink_metadata(path).is_ok_and(|found| found.ino() == here);
        loop {
            let files = chain(&self.path);
            let Some(at) = files.iter().position(is_here) else {
                // It was removed while we read it: go on with the oldest that is left.
                return files.first().map_or(Ok(None), |path| open_if_there(path));
            };
            let Some(after) = files.get(at + 1) else { return Ok(None) };
            let opened = open_if_there(after)?;
            // All have moved by one meanwhile: what was opened is not the next one.
            if is_here(&files[at]) {
                return Ok(opened);
            }
        }
    }
}

/// One entry of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
    stream: LogStream,
    complete: bool,
    text: &'a [u8],
}

/// Splits a line of a log file; a line that is none is taken as text.
fn parse_entry(line: &[u8]) -> Entry<'_> {
    let parts = || {
        let (time, rest) = split(line)?;
        let (stream, rest) = split(rest)?;
        let (tag, text) = split(rest)?;
        let time = std::str::from_utf8(time).ok()?;
        let stream = match stream {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        matches!(tag, b"F" | b"P").then_some(Entry { time, stream, complete: tag == b"F", text })
    };
    parts().unwrap_or(Entry { time: "", stream: LogStream::Stdout, complete: true, text: line })
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

/// Turns entries into what a user sees.
#[derive(Debug)]
struct Printer {
    /// As the log has it: such times are in order as texts.
    since: Option<String>,
    timestamps: bool,
    left: Option<u64>,
    /// Of standard output and standard error.
    places: [Place; 2],
}

/// Where a stream is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Whether the next entry begins a line.
    begins: bool,
    /// Whether the line is shown.
    shown: bool,
}

impl Printer {
    fn new(selection: &LogSelection) -> Self {
        Self {
            since: selection.since.map(timestamp),
            timestamps: selection.timestamps,
            left: selection.limit_bytes,
            places: [Place { begins: true, shown: true }; 2],
        }
    }

    /// Returns whether anything is shown of a line of the file.
    fn print(&mut self, line: &[u8], sink: &mut dyn FnMut(LogStream, &[u8])) -> bool {
        let entry = parse_entry(line);
        let place = &mut self.places[usize::from(entry.stream == LogStream::Stderr)];
        let begins = std::mem::replace(&mut place.begins, entry.complete);
        if begins {
            let since = self.since.as_deref().filter(|_| !entry.time.is_empty());
            place.shown = since.is_none_or(|since| entry.time >= since);
        }
        if !place.shown || self.left == Some(0) {
            return false;
        }
        let mut text = Vec::with_capacity(line.len() + 1);
        if begins && self.timestamps {
            text.extend_from_slice(entry.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(entry.text);
        if entry.complete {
            text.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        if !text.is_empty() {
            sink(entry.stream, &text);
        }
        !text.is_empty()
    }
}

/// Opens a log file. A symlink in its place is refused.
fn open(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OpenFlags::NOFOLLOW.bits()).unwrap_or(0);
    std::fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)
}

/// Opens a file of a log; for a moment after a rotation the newest one is not there yet.
fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Returns the files of a log that are there, oldest first.
fn chain(path: &Path) -> Vec<PathBuf> {
    let older = (1..)
        .map(|number| PathBuf::from(format!("{}.{number}", path.display())))
        .take_while(|path| path.exists());
    let mut files: Vec<PathBuf> = older.collect();
    files.reverse();
    files.push(path.to_owned());
    files
}

/// Finds the file and offset where the last `count` lines begin.
fn tail(path: &Path, count: u64) -> io::Result<(Option<File>, u64)> {
    let mut left = count;
    let mut first = None;
    for path in chain(path).iter().rev() {
        let mut file = open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let mut end = text.len();
        // Complete entries end lines; walk back over them.
        while let Some(start) = line_before(&text, end) {
            let line = text[start..end].strip_suffix(b"\n").unwrap_or(&text[start..end]);
            if parse_entry(line).complete {
                if left == 0 {
                    return Ok((Some(file), end as u64));
                }
                left -= 1;
            }
            end = start;
        }
        first = Some(file);
    }
    Ok((first, 0))
}

/// Returns where the line that ends at `end` begins.
fn line_before(text: &[u8], end: usize) -> Option<usize> {
    let inner = end.checked_sub(1)?;
    Some(text[..inner].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, stream: &str, tag: &str, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000000Z {stream} {tag} {text}\n")
    }

    fn read(path: &Path, selection: &LogSelection) -> (String, String) {
        let mut reader = LogReader::open(path, selection).unwrap();
        let mut found = [Vec::new(), Vec::new()];
        let mut sink = |stream, text: &[u8]| found[usize::from(stream == LogStream::Stderr)].extend(text);
        while reader.read(&mut sink).unwrap() {}
        let [out, err] = found.map(|text| String::from_utf8(text).unwrap());
        (out, err)
    }

    #[test]
    fn streams_are_told_apart_and_parts_of_lines_belong_to_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text = [
            line(1, "stdout", "P", "on"),
            line(2, "stderr", "F", "bad"),
            line(3, "stdout", "F", "e"),
            line(4, "stdout", "F", "two"),
        ];
        fs_err::write(&path, text.concat()).unwrap();
        let all = LogSelection { timestamps: true, ..LogSelection::default() };
        let time = |second| format!("2026-01-01T00:00:0{second}.000000000Z");
        let want = (format!("{} one\n{} two\n", time(1), time(4)), format!("{} bad\n", time(2)));
        assert_eq!(read(&path, &all), want);
        // A line is as old as its beginning.
        let since = LogSelection { since: Some(1_767_225_602 * 1_000_000_000), ..LogSelection::default() };
        assert_eq!(read(&path, &since), ("two\n".to_owned(), "bad\n".to_owned()));
    }

    #[test]
    fn between_two_files_of_a_rotation_a_reader_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, line(1, "stdout", "F", "one")).unwrap();
        let mut reader = LogReader::open(&path, &LogSelection::default()).unwrap();
        let mut found: Vec<u8> = Vec::new();
        let mut read = |reader: &mut LogReader| {
            let mut any = false;
            while reader.read(&mut |_, text: &[u8]| found.extend(text)).unwrap() {
                any = true;
            }
            any
        };
        assert!(read(&mut reader));
        fs_err::rename(&path, dir.path().join("log.1")).unwrap();
        assert!(!read(&mut reader), "the next file is not there yet");
        fs_err::write(&path, line(2, "stdout", "F", "two")).unwrap();
        assert!(read(&mut reader));
        assert_eq!(found, b"one\ntwo\n");
    }

    #[test]
    fn what_is_written_at_the_end_of_a_file_that_is_left_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, line(1, "stdout", "F", "one")).unwrap();
        let mut reader = LogReader::open(&path, &LogSelection::default()).unwrap();
        let mut found: Vec<u8> = Vec::new();
        while reader.read(&mut |_, text: &[u8]| found.extend(text)).unwrap() {}
        // The end was seen; then the writer goes on, and moves to the next file.
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut writer, line(2, "stdout", "F", "two").as_bytes()).unwrap();
        let end = reader.file.as_mut().unwrap().seek(SeekFrom::End(0)).unwrap();
        fs_err::rename(&path, dir.path().join("log.1")).unwrap();
        fs_err::write(&path, line(3, "stdout", "F", "three")).unwrap();
        reader.next = reader.next_file().unwrap();
        reader.file.as_mut().unwrap().seek(SeekFrom::Start(end / 2)).unwrap();
        while reader.read(&mut |_, text: &[u8]| found.extend(text)).unwrap() {}
        assert_eq!(found, b"one\ntwo\nthree\n");
    }

    #[test]
    fn what_is_no_entry_is_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, "plain words here\n").unwrap();
        let since = LogSelection { since: Some(0), ..LogSelection::default() };
        assert_eq!(read(&path, &since).0, "plain words here\n");
    }
}
