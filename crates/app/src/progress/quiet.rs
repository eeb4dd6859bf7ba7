//! Nothing is shown, but what a failed step printed.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::board::{Board, End};
use super::frame::{Paint, failures};

/// A board that is looked at only when something failed.
#[derive(Debug)]
pub(crate) struct Unseen {
    began: Instant,
    board: Mutex<Board>,
}

impl Unseen {
    /// Returns an empty board.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), board: Mutex::default() }
    }

    /// Changes the board.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Board, Duration)) {
        change(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner), self.began.elapsed());
    }

    /// Writes what failed steps printed.
    pub(crate) fn close(&self, end: End) {
        self.change(|board, now| {
            board.close(end, now);
            let mut stderr = std::io::stderr().lock();
            for line in failures(board, Paint { color: false }) {
                // A reader that went away does not stop the work.
                drop(writeln!(stderr, "{}", line.text));
            }
            board.rows.clear();
        });
    }
}
