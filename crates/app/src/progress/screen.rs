//! The terminal: draws a board over what was drawn before, ten times a second, until the work ends.
//!
//! The cursor is never hidden, and each frame is one write that leaves it below the last line: whoever ends this process, and
//! however, the terminal is as it should be.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shipway_linux::WindowSize;

use super::board::{Board, End};
use super::frame::{Line, Paint, Size, frame, last};

/// Time between two frames.
const INTERVAL: Duration = Duration::from_millis(80);
/// Of a terminal that does not say.
const USUAL: WindowSize = WindowSize { rows: 24, columns: 80 };

/// A board on the standard error.
#[derive(Debug)]
pub(crate) struct Screen {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    board: Mutex<Board>,
    closed: Condvar,
}

impl Screen {
    /// Shows an empty board.
    pub(crate) fn open(title: &str) -> Self {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            board: Mutex::new(Board::new(title)),
            closed: Condvar::new(),
        });
        let drawing = Arc::clone(&shared);
        let thread = std::thread::spawn(move || draw(&drawing));
        Self { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Changes the board.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Board, Duration)) {
        change(&mut self.shared.board(), self.shared.began.elapsed());
    }

    /// Shows the last frame, and nothing from then on. Only the first call counts.
    pub(crate) fn close(&self, end: End) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.change(|board, now| board.close(end, now));
        self.shared.closed.notify_all();
        if thread.join().is_err() {
            tracing::warn!("the progress could not be drawn");
        }
    }
}

impl Drop for Screen {
    /// Whoever did not get to say how it ended met with a failure.
    fn drop(&mut self) {
        self.close(End::Badly);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draw(shared: &Shared) {
    let paint = Paint { color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    let mut painter = Painter::default();
    loop {
        let board = shared.board();
        let (board, _) = shared
            .closed
            .wait_timeout_while(board, INTERVAL, |board| board.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let (size, now, ended) = (size(), shared.began.elapsed(), board.end.is_some());
        let lines =
            if ended { last(&board, now, size.columns, paint) } else { frame(&board, now, size, paint) };
        drop(board);
        let text = painter.repaint(lines, size);
        // A terminal that went away does not stop the work.
        let mut stderr = std::io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
        if ended {
            return;
        }
    }
}

fn size() -> Size {
    let found = shipway_linux::window_size(std::io::stderr()).ok();
    let WindowSize { rows, columns } =
        found.filter(|size| size.columns > 0 && size.rows > 0).unwrap_or(USUAL);
    Size { columns: columns.into(), rows: rows.into() }
}

/// What is on the terminal.
#[derive(Debug, Default)]
struct Painter {
    shown: Vec<Line>,
}

impl Painter {
    /// Returns what turns the frame before into this one; nothing if they are equal.
    fn repaint(&mut self, lines: Vec<Line>, size: Size) -> String {
        if lines == self.shown {
            return String::new();
        }
        // All at once, where the terminal can.
        let mut text = "\u{1b}[?2026h".to_owned();
        // A terminal that became narrower has wrapped the lines; what it has moved out of sight is out of reach.
        let rows: usize =
            self.shown.iter().map(|line| line.columns.div_ceil(size.columns.max(1)).max(1)).sum();
        let up = rows.min(size.rows.saturating_sub(1));
        if up > 0 {
            write!(text, "\u{1b}[{up}A").expect("writing to a string cannot fail");
        }
        text.push('\r');
        for line in &lines {
            // After a line that fills its row, the erasing would take its last column.
            let erase = if line.columns < size.columns { "\u{1b}[K" } else { "" };
            write!(text, "{}{erase}\r\n", line.text).expect("writing to a string cannot fail");
        }
        text.push_str("\u{1b}[J\u{1b}[?2026l");
        self.shown = lines;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { columns: 10, rows: 24 };

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts.iter().map(|text| Line { columns: text.len(), text: (*text).to_owned() }).collect()
    }

    #[test]
    fn a_frame_is_drawn_over_the_one_before() {
        let mut painter = Painter::default();
        assert_eq!(
            painter.repaint(lines(&["a", "b"]), SIZE),
            "\u{1b}[?2026h\ra\u{1b}[K\r\nb\u{1b}[K\r\n\u{1b}[J\u{1b}[?2026l"
        );
        assert_eq!(painter.repaint(lines(&["a", "b"]), SIZE), "");
        assert!(painter.repaint(lines(&["c"]), SIZE).starts_with("\u{1b}[?2026h\u{1b}[2A\rc\u{1b}[K\r\n"));
        assert!(painter.repaint(lines(&["d"]), SIZE).starts_with("\u{1b}[?2026h\u{1b}[1A\rd"));
    }

    #[test]
    fn lines_that_the_terminal_has_wrapped_are_drawn_over_too() {
        let mut painter = Painter::default();
        painter.repaint(lines(&["0123456789", "01", ""]), SIZE);
        let full = painter.repaint(lines(&["0123456789", "01", "2"]), SIZE);
        assert!(full.contains("\r0123456789\r\n01\u{1b}[K\r\n"), "{full:?}");
        let narrow = painter.repaint(lines(&["x"]), Size { columns: 4, ..SIZE });
        assert!(narrow.starts_with("\u{1b}[?2026h\u{1b}[5A\r"), "{narrow:?}");
    }
}
