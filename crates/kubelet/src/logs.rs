//! Logs of containers, read from the files that their shims write.
//!
//! What is in the files is `shipway-runtime`'s matter; here a stream of it is made that waits for more.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, Stream};
use k8s_openapi::jiff::Timestamp;
use shipway_linux::Inotify;
use shipway_runtime::{LogReader, LogSelection};
use tokio::io::unix::AsyncFd;

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

impl LogOptions {
    fn selection(&self) -> LogSelection {
        LogSelection {
            tail: self.tail,
            since: self.since.map(Timestamp::as_nanosecond),
            timestamps: self.timestamps,
            limit_bytes: self.limit_bytes,
        }
    }
}

/// Returns the next piece of a log, of both streams; empty at the end of what is there now.
fn read(reader: &mut LogReader) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.read(&mut |_stream, text| out.extend_from_slice(text))?;
    Ok(out)
}

/// What a stream of a log holds between two pieces.
struct Session {
    reader: LogReader,
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
    let reader = LogReader::open(&path, &options.selection())?;
    let session = Session { reader, follow, ended: false };
    Ok(futures::stream::try_unfold(session, async |mut session| {
        let piece = session.next().await?;
        Ok(piece.map(|piece| (piece, session)))
    }))
}

impl Session {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let piece = read(&mut self.reader)?;
            if !piece.is_empty() {
                return Ok(Some(Bytes::from(piece)));
            }
            let Some((inotify, end)) = &self.follow else { return Ok(None) };
            if self.ended || self.reader.is_full() {
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
    let mut reader = LogReader::open(path, &options.selection()).ok()?;
    let mut text = Vec::new();
    loop {
        let piece = read(&mut reader).ok()?;
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

    async fn all(path: &Path, options: &LogOptions) -> String {
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
            assert_eq!(all(&path, &options).await, want, "case {name}");
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
