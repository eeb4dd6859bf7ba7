//! What goes on, as a person wants to see it: a row for each part of the work. Knows no terminal and no clock.

use std::collections::VecDeque;
use std::time::Duration;

use super::text::clean;
use crate::ui::visible;

/// Lines of a running row's output that can be shown beneath it.
pub(crate) const TAIL: usize = 5;
/// Bytes of a row's output that are kept in case it fails.
const KEPT: usize = 4 << 20;
/// A line longer than this is shown in parts.
const LONGEST_LINE: usize = 16 << 10;

/// Tells rows apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A step of the build, by its number.
    Step(usize),
    /// Another part of the work, by its name.
    Part(String),
}

/// How it stands with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Done,
    Cached,
    Failed,
    /// The work ended before it did.
    Cancelled,
}

/// One part of the work.
#[derive(Debug)]
pub(crate) struct Row {
    key: Key,
    pub(crate) name: String,
    pub(crate) status: Status,
    /// How far it is.
    pub(crate) detail: String,
    /// Lines that stay beneath it.
    pub(crate) remarks: Vec<String>,
    began: Duration,
    took: Duration,
    output: Output,
}

impl Row {
    /// Returns how long it takes, or took.
    pub(crate) fn elapsed(&self, now: Duration) -> Duration {
        if self.status == Status::Running { now.saturating_sub(self.began) } else { self.took }
    }

    /// Returns how many of the last lines of its output can be shown.
    pub(crate) fn tail_length(&self) -> usize {
        (self.output.lines.len() + usize::from(!self.output.rest.is_empty())).min(TAIL)
    }

    /// Returns the last lines of its output, the one that is not finished among them.
    pub(crate) fn tail(&self, length: usize) -> Vec<String> {
        let unfinished = Some(clean(&self.output.rest)).filter(|_| !self.output.rest.is_empty());
        let length = length.min(self.tail_length()).saturating_sub(usize::from(unfinished.is_some()));
        let lines = &self.output.lines;
        let ended = lines.range(lines.len().saturating_sub(length)..).cloned();
        ended.chain(unfinished).collect()
    }

    /// Returns its output, and how many lines before it were left out.
    pub(crate) fn output(&self) -> (usize, impl ExactSizeIterator<Item = &str>) {
        (self.output.dropped, self.output.lines.iter().map(String::as_str))
    }
}

#[derive(Debug, Default)]
struct Output {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: usize,
    /// What came since the last line break.
    rest: Vec<u8>,
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = clean(&self.rest[begin..begin + length]);
            self.push(line);
            begin += length + 1;
        }
        self.rest.drain(..begin);
        if self.rest.len() > LONGEST_LINE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.rest.is_empty() {
            let line = clean(&std::mem::take(&mut self.rest));
            self.push(line);
        }
    }

    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > KEPT
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len();
            self.dropped += 1;
        }
    }
}

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    Badly,
}

/// All rows, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Such as `Building`.
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
    /// Rows that are known to come, those that are there among them.
    planned: usize,
    /// What goes on beside the rows.
    pub(crate) aside: Option<&'static str>,
    /// What is said at the end.
    pub(crate) notes: Vec<String>,
    pub(crate) end: Option<End>,
}

impl Board {
    /// Returns an empty board.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Says how many rows there will be, beside those of other parts.
    pub(crate) fn plan(&mut self, steps: usize) {
        self.planned = steps;
    }

    /// Returns how many rows have ended, and how many there are and will be.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ended =
            self.rows.iter().filter(|row| matches!(row.status, Status::Done | Status::Cached)).count();
        let parts = self.rows.iter().filter(|row| matches!(row.key, Key::Part(_))).count();
        (ended, self.rows.len().max(self.planned + parts))
    }

    /// Adds a row. A step that begins again has its row already.
    pub(crate) fn start(&mut self, key: Key, name: String, now: Duration) {
        self.aside = None;
        let place = match key {
            Key::Step(_) => self.rows.iter().position(|row| row.key == key),
            Key::Part(_) => None,
        };
        let row = Row {
            key,
            // Names of steps are texts of somebody's Dockerfile.
            name: visible(&name).replace(['\n', '\t'], " "),
            status: Status::Running,
            detail: String::new(),
            remarks: Vec::new(),
            began: now,
            took: Duration::ZERO,
            output: Output::default(),
        };
        match place {
            Some(place) => self.rows[place] = row,
            None => self.rows.push(row),
        }
    }

    /// Takes output of a row, whole lines or not.
    pub(crate) fn output(&mut self, key: &Key, bytes: &[u8]) {
        if let Some(row) = self.row(key) {
            row.output.take(bytes);
        }
    }

    /// Says how far a row is.
    pub(crate) fn detail(&mut self, key: &Key, detail: String) {
        if let Some(row) = self.row(key) {
            row.detail = detail;
        }
    }

    /// Puts a line beneath the newest row.
    pub(crate) fn remark(&mut self, text: String) {
        if let Some(row) = self.rows.last_mut() {
            row.remarks.push(visible(&text).replace(['\n', '\t'], " "));
        }
    }

    /// Ends a row. Only what a failed one printed is kept.
    pub(crate) fn finish(&mut self, key: &Key, status: Status, now: Duration) {
        if let Some(row) = self.row(key) {
            let took = now.saturating_sub(row.began);
            self.finish_after(key, status, took);
        }
    }

    /// Like [`Board::finish`], of a row that says how long it took.
    pub(crate) fn finish_after(&mut self, key: &Key, status: Status, took: Duration) {
        if let Some(row) = self.row(key) {
            row.took = took;
            row.status = status;
            row.output.flush();
            if status != Status::Failed {
                row.output = Output::default();
            }
        }
    }

    /// Ends the work.
    pub(crate) fn close(&mut self, end: End, now: Duration) {
        self.end = Some(end);
        self.aside = None;
        for row in self.rows.iter_mut().filter(|row| row.status == Status::Running) {
            row.took = now.saturating_sub(row.began);
            row.status = if end == End::Well { Status::Done } else { Status::Cancelled };
        }
    }

    /// The newest one: a key can come again.
    fn row(&mut self, key: &Key) -> Option<&mut Row> {
        self.rows.iter_mut().rev().find(|row| row.key == *key)
    }
}
