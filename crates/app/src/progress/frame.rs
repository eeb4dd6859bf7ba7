//! A board as lines of a terminal. Compat: BuildKit's display.

use std::time::Duration;

use super::board::{Board, End, Row, Status};
use super::text::{clip, width};
use crate::ui::visible;

/// Columns that a row's name keeps however narrow the terminal is.
const NARROWEST: usize = 8;

/// A terminal's columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// A line to show: its columns, and the text with colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) columns: usize,
    pub(crate) text: String,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) color: bool,
}

#[derive(Clone, Copy)]
enum Tone {
    Normal,
    Dim,
    Blue,
    Red,
    Yellow,
}

impl Paint {
    fn line(self, tone: Tone, text: String) -> Line {
        let code = match tone {
            _ if !self.color => None,
            Tone::Normal => None,
            Tone::Dim => Some("2"),
            Tone::Blue => Some("34"),
            Tone::Red => Some("31"),
            Tone::Yellow => Some("33"),
        };
        let columns = width(&text);
        match code {
            Some(code) => Line { columns, text: format!("\u{1b}[{code}m{text}\u{1b}[0m") },
            None => Line { columns, text },
        }
    }
}

/// Returns what to show now; not more lines than the terminal has, with one left for the cursor.
pub(crate) fn frame(board: &Board, now: Duration, size: Size, paint: Paint) -> Vec<Line> {
    let room = size.rows.saturating_sub(2).max(1);
    let idle = board.rows.iter().all(|row| row.status != Status::Running);
    let aside = board.aside.filter(|_| idle && room > 1);
    let (rows, tail) = choose(board, room - usize::from(aside.is_some()));
    let mut lines = vec![header(board, now, size.columns, paint)];
    for row in rows {
        lines.extend(row_lines(row, now, size.columns, paint));
        if row.status == Status::Running && tail > 0 {
            for text in row.tail(tail) {
                lines.push(paint.line(Tone::Dim, clip(&format!(" => => # {text}"), size.columns)));
            }
        }
    }
    if let Some(aside) = aside {
        lines.push(paint.line(Tone::Dim, clip(&format!(" => => {aside}"), size.columns)));
    }
    lines
}

/// Returns what stays on the screen: all rows, what failed ones printed, and the notes.
pub(crate) fn last(board: &Board, now: Duration, columns: usize, paint: Paint) -> Vec<Line> {
    // Nothing was begun: what is wrong is told by whoever asked.
    let head = (!board.rows.is_empty()).then(|| header(board, now, columns, paint));
    let mut lines: Vec<Line> = head.into_iter().collect();
    lines.extend(board.rows.iter().flat_map(|row| row_lines(row, now, columns, paint)));
    lines.extend(failures(board, paint));
    lines.extend(board.notes.iter().map(|note| paint.line(Tone::Yellow, visible(note).into_owned())));
    lines
}

/// Returns all that failed rows printed, as whole lines: the terminal wraps them, and they can be copied.
pub(crate) fn failures(board: &Board, paint: Paint) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in board.rows.iter().filter(|row| row.status == Status::Failed) {
        let (dropped, output) = row.output();
        if output.len() == 0 {
            continue;
        }
        let rule = || paint.line(Tone::Normal, "-".repeat(6));
        lines.extend([rule(), paint.line(Tone::Normal, format!(" > {}:", row.name))]);
        if dropped > 0 {
            let text = format!("({dropped} lines before are left out; --progress plain shows all)");
            lines.push(paint.line(Tone::Dim, text));
        }
        lines.extend(output.map(|text| paint.line(Tone::Normal, text.to_owned())));
        lines.push(rule());
    }
    lines
}

/// Returns the rows to show, and how many lines of output beneath each running one.
///
/// Where room lacks, output goes first, down to a line, then the oldest rows that have ended, then the last line of output,
/// then the oldest rows that run.
fn choose(board: &Board, room: usize) -> (Vec<&Row>, usize) {
    let mut rows: Vec<&Row> = board.rows.iter().collect();
    let mut tail = super::board::TAIL;
    let lines = |rows: &[&Row], tail: usize| -> usize {
        let output = |row: &Row| if row.status == Status::Running { row.tail_length().min(tail) } else { 0 };
        rows.iter().map(|row| 1 + row.remarks.len() + output(row)).sum()
    };
    while lines(&rows, tail) > room {
        if tail > 1 {
            tail -= 1;
        } else if let Some(ended) = rows.iter().position(|row| row.status != Status::Running) {
            rows.remove(ended);
        } else if tail > 0 {
            tail = 0;
        } else if rows.len() > 1 {
            rows.remove(0);
        } else {
            break;
        }
    }
    (rows, tail)
}

fn header(board: &Board, now: Duration, columns: usize, paint: Paint) -> Line {
    let (ended, all) = board.counts();
    let has = |status| board.rows.iter().any(|row| row.status == status);
    let outcome = match board.end {
        None => "",
        Some(End::Well) => " FINISHED",
        Some(End::Badly) if has(Status::Cancelled) && !has(Status::Failed) => " CANCELED",
        Some(End::Badly) => " FAILED",
    };
    let text = format!("[+] {} {} ({ended}/{all}){outcome}", board.title, seconds(now));
    paint.line(Tone::Normal, clip(&text, columns))
}

fn row_lines(row: &Row, now: Duration, columns: usize, paint: Paint) -> impl Iterator<Item = Line> {
    let remark = move |text: &String| paint.line(Tone::Blue, clip(&format!(" => => {text}"), columns));
    std::iter::once(row_line(row, now, columns, paint)).chain(row.remarks.iter().map(remark))
}

fn row_line(row: &Row, now: Duration, columns: usize, paint: Paint) -> Line {
    let (tone, mark) = match row.status {
        Status::Running => (Tone::Normal, ""),
        Status::Done => (Tone::Blue, ""),
        Status::Cached => (Tone::Blue, "CACHED "),
        Status::Failed => (Tone::Red, "ERROR "),
        Status::Cancelled => (Tone::Yellow, "CANCELED "),
    };
    let time = seconds(row.elapsed(now));
    let detail =
        if row.detail.is_empty() { String::new() } else { clip(&format!(" {}", row.detail), columns / 2) };
    // The name gives way before what is known of it.
    let left = columns.saturating_sub(width(&time) + 1);
    let name_room = left.saturating_sub(width(&detail)).max(NARROWEST.min(left));
    let text = clip(&format!(" => {mark}{}", row.name), name_room);
    let text = clip(&format!("{text}{detail}"), left);
    let gap = (left + 1).saturating_sub(width(&text));
    paint.line(tone, clip(&format!("{text}{:gap$}{time}", ""), columns))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
