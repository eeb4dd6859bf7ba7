//! Logs of containers, read from the files that their shims write.
//!
//! A log is a chain of files: `log`, which is written to, and `log.1`, `log.2`, which were before it. A follower holds the
//! file that it reads open, so it goes on in the right place when the shim moves to a new one.
//!
//! Spec: Kubernetes CRI logging, `<RFC 3339 time> <stdout|stderr> <P|F> <text>`; `P` marks a part of a longer line.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, Stream};
use k8s_openapi::jiff::Timestamp;
use shipway_linux::{Inotify, OpenFlags};
use tokio::io::unix::AsyncFd;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Which part of which log is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Of which container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Go on until the container ends.
    pub follow: bool,
    /// Of the run before this one.
    pub previous: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Put its time before each line.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Becomes ready when the container has ended.
pub(crate) type End = Shared<BoxFuture<'static, ()>>;

/// One entry of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
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
        let known = matches!(stream, b"stdout" | b"stderr") && matches!(tag, b"F" | b"P");
        known.then_some(Entry { time, complete: tag == b"F", text })
    };
    parts().unwrap_or(Entry { time: "", complete: true, text: line })
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

/// Turns lines of log files into what a user sees.
#[derive(Debug)]
struct Printer {
    since: Option<Timestamp>,
    timestamps: bool,
    left: Option<u64>,
    /// Whether the next entry begins a line, and whether that line is shown.
    begins: bool,
    shown: bool,
}

impl Printer {
    fn new(options: &LogOptions) -> Self {
        let LogOptions { since, timestamps, limit_bytes, .. } = *options;
        Self { since, timestamps, left: limit_bytes, begins: true, shown: true }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn print(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let entry = parse_entry(line);
        if self.begins {
            let time = self.since.and_then(|since| Some((entry.time.parse::<Timestamp>().ok()?, since)));
            self.shown = time.is_none_or(|(time, since)| time >= since);
        }
        if self.shown {
            let before = out.len();
            if self.begins && self.timestamps {
                out.extend_from_slice(entry.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(entry.text);
            if entry.complete {
                out.push(b'\n');
            }
            if let Some(left) = &mut self.left {
                let room = usize::try_from(*left).unwrap_or(usize::MAX);
                out.truncate(before.saturating_add(room));
                *left -= (out.len() - before) as u64;
            }
        }
        self.begins = entry.complete;
    }
}

/// Opens a log file. A symlink in its place is refused.
fn open(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OpenFlags::NOFOLLOW.bits()).unwrap_or(0);
    std::fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)
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

/// Reads a log from its chain of files.
struct Reader {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
    printer: Printer,
}

impl Reader {
    /// Begins at the first wanted line.
    fn open(path: PathBuf, options: &LogOptions) -> io::Result<Self> {
        let (file, offset) = match options.tail {
            Some(count) => tail(&path, count)?,
            None => (chain(&path).first().map(|first| open(first)).transpose()?, 0),
        };
        let mut reader = Self { path, file, rest: Vec::new(), printer: Printer::new(options) };
        if let Some(file) = &mut reader.file {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(reader)
    }

    /// Returns the next piece of text; empty at the end of what is there now.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut block = vec![0; BLOCK];
        while out.is_empty() && !self.printer.is_full() {
            let Some(file) = &mut self.file else { break };
            let length = file.read(&mut block)?;
            if length == 0 {
                match self.next_file()? {
                    Some(next) => self.file = Some(next),
                    None => break,
                }
                continue;
            }
            self.rest.extend_from_slice(&block[..length]);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let after = self.rest.split_off(end + 1);
            let lines = std::mem::replace(&mut self.rest, after);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                self.printer.print(line.strip_suffix(b"\n").unwrap_or(line), &mut out);
            }
        }
        Ok(out)
    }

    /// Returns the file after the one that is open, if the shim has moved on.
    fn next_file(&self) -> io::Result<Option<File>> {
        let Some(file) = &self.file else { return Ok(None) };
        let here = file.metadata()?.ino();
        let files = chain(&self.path);
        let inode = |path: &PathBuf| fs_err::symlink_metadata(path).ok().map(|meta| meta.ino());
        match files.iter().position(|path| inode(path) == Some(here)) {
            Some(at) => files.get(at + 1).map(|path| open(path)).transpose(),
            // It was removed while we read it: go on with the oldest that is left.
            None => files.first().filter(|path| path.exists()).map(|path| open(path)).transpose(),
        }
    }
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
            let ends_line =
                parse_entry(text[start..end].strip_suffix(b"\n").unwrap_or(&text[start..end])).complete;
            if ends_line {
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

/// What a stream of a log holds between two pieces.
struct Session {
    reader: Reader,
    follow: Option<(AsyncFd<Inotify>, End)>,
    ended: bool,
}

/// Streams a log; the file is known to be there.
pub(crate) fn stream(
    path: PathBuf,
    options: &LogOptions,
    end: End,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
    let follow = if options.follow {
        let inotify = Inotify::new()?;
        // Before the first read, so that nothing is missed between the two.
        inotify.watch_directory(path.parent().unwrap_or(Path::new("/")))?;
        Some((crate::readable::readable(inotify)?, end))
    } else {
        None
    };
    let reader = Reader::open(path, options)?;
    let session = Session { reader, follow, ended: false };
    Ok(futures::stream::try_unfold(session, async |mut session| {
        let piece = session.next().await?;
        Ok(piece.map(|piece| (piece, session)))
    }))
}

impl Session {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let piece = self.reader.read()?;
            if !piece.is_empty() {
                return Ok(Some(Bytes::from(piece)));
            }
            let Some((inotify, end)) = &self.follow else { return Ok(None) };
            if self.ended || self.reader.printer.is_full() {
                return Ok(None);
            }
            tokio::select! {
                ready = inotify.readable() => {
                    let mut ready = ready?;
                    inotify.get_ref().drain()?;
                    ready.clear_ready();
                }
                // What the shim wrote before it ended is read once more.
                () = end.clone() => self.ended = true,
            }
        }
    }
}

/// Returns a container's last lines as its last words, for `FallbackToLogsOnError`.
pub(crate) fn last_lines(path: &Path) -> Option<String> {
    let options = LogOptions { tail: Some(80), ..LogOptions::default() };
    let mut reader = Reader::open(path.to_owned(), &options).ok()?;
    let mut text = Vec::new();
    loop {
        let piece = reader.read().ok()?;
        if piece.is_empty() {
            break;
        }
        text.extend(piece);
    }
    let start = text.len().saturating_sub(2048);
    let text = String::from_utf8_lossy(&text[start..]).into_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns what never ends by itself.
pub(crate) fn never() -> End {
    futures::future::pending().boxed().shared()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;

    fn line(second: u32, tag: &str, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000000Z stdout {tag} {text}\n")
    }

    fn ended() -> End {
        futures::future::ready(()).boxed().shared()
    }

    async fn read(path: &Path, options: &LogOptions) -> String {
        let pieces: Vec<Bytes> =
            stream(path.to_owned(), options, ended()).unwrap().try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn three_files(dir: &Path) -> PathBuf {
        let path = dir.join("log");
        fs_err::write(dir.join("log.2"), line(1, "F", "one") + &line(2, "F", "two")).unwrap();
        fs_err::write(dir.join("log.1"), line(3, "F", "three") + &line(4, "P", "fo")).unwrap();
        fs_err::write(&path, line(5, "F", "ur") + &line(6, "F", "five")).unwrap();
        path
    }

    #[tokio::test]
    async fn options_select_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = three_files(dir.path());
        let since = |second: u32| Some(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap());
        let default = LogOptions::default;
        let cases = [
            ("all", default(), "one\ntwo\nthree\nfour\nfive\n"),
            ("the last line", LogOptions { tail: Some(1), ..default() }, "five\n"),
            ("a line in two parts", LogOptions { tail: Some(2), ..default() }, "four\nfive\n"),
            ("across files", LogOptions { tail: Some(4), ..default() }, "two\nthree\nfour\nfive\n"),
            (
                "more than there is",
                LogOptions { tail: Some(99), ..default() },
                "one\ntwo\nthree\nfour\nfive\n",
            ),
            ("none", LogOptions { tail: Some(0), ..default() }, ""),
            ("since", LogOptions { since: since(4), ..default() }, "four\nfive\n"),
            ("some bytes", LogOptions { limit_bytes: Some(6), ..default() }, "one\ntw"),
            (
                "with times",
                LogOptions { tail: Some(2), timestamps: true, ..default() },
                "2026-01-01T00:00:04.000000000Z four\n2026-01-01T00:00:06.000000000Z five\n",
            ),
        ];
        for (name, options, want) in cases {
            assert_eq!(read(&path, &options).await, want, "case {name}");
        }
    }

    #[tokio::test]
    async fn a_follower_goes_on_across_rotation_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs_err::write(&path, line(1, "F", "one")).unwrap();
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        let end: End = stopped.map(drop).boxed().shared();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut log = Box::pin(stream(path.clone(), &options, end).unwrap());
        let mut next = async || String::from_utf8(log.try_next().await.unwrap().unwrap().to_vec()).unwrap();
        assert_eq!(next().await, "one\n");
        let append = |path: &Path, text: &str| {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(&path, &line(2, "F", "two"));
        assert_eq!(next().await, "two\n");
        append(&path, &line(3, "F", "three"));
        fs_err::rename(&path, dir.path().join("log.1")).unwrap();
        append(&path, &line(4, "F", "four"));
        let mut got = next().await;
        if got == "three\n" {
            got.push_str(&next().await);
        }
        assert_eq!(got, "three\nfour\n");
        append(&path, &line(5, "F", "five"));
        stop.send(()).unwrap();
        assert_eq!(next().await, "five\n");
        assert_eq!(log.try_next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_symlink_in_place_of_a_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(stream(path, &LogOptions::default(), ended()).is_err());
    }
}
