//! Source text, places in it, and excerpts with a caret or with marked lines.

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::sync::Arc;

use miette::{Diagnostic, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Lines shown around a place of one line, and of several.
const AROUND_ONE: usize = 4;
const AROUND_SEVERAL: usize = 2;
const RULER: &str = "--------------------";

/// A range of bytes in a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Makes a span; one that would end before its start is empty.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        (span.start, span.end - span.start).into()
    }
}

/// A line and a column, both counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A named text. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// Names a text; the name is what messages show, such as `Dockerfile`.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns where a byte offset is; one beyond the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Returns `name:line:column` of a span's start.
    pub fn locate(&self, span: Span) -> String {
        format!("{}:{}", self.name, self.position(span.start))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // Whole lines always: a place is shown by its line.
        let (start, end) =
            (span.offset().min(self.text.len()), (span.offset() + span.len()).min(self.text.len()));
        let bytes = self.text.as_bytes();
        let start = bytes[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let end =
            bytes[end..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| end + newline);
        let lines = (start, end.max(start) - start).into();
        let inner = self.text.read_span(&lines, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_string(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// Returns where a diagnostic points: `file:line:column`, the line, and a caret under it.
///
/// Works for any diagnostic that has source code and a label. `None` for one that has not.
///
/// ```text
/// Dockerfile:3:1
///   3 | RNU apt-get update
///     | ^^^
/// ```
///
/// What is about whole lines, such as an instruction that failed, is shown as [`marked`] does.
pub fn excerpt(diagnostic: &dyn Diagnostic) -> Option<String> {
    let label = diagnostic.labels()?.next()?;
    if let Some(shown) = whole_lines(diagnostic.source_code()?, label.inner()) {
        return Some(shown);
    }
    let contents = diagnostic.source_code()?.read_span(label.inner(), 0, 0).ok()?;
    let data = String::from_utf8_lossy(contents.data());
    let within = label.offset().saturating_sub(contents.span().offset());
    let line_start = data.get(..within)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line_number = contents.line() + 1 + data.get(..line_start)?.matches('\n').count();
    let line = data.get(line_start..)?.lines().next().unwrap_or_default();
    let column = within - line_start;
    let width = label.len().min(line.len().saturating_sub(column));
    let shown: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let pad = line.get(..column)?.chars().count();
    let carets =
        line.get(column..column + width).map_or(0, |marked| marked.trim_end().chars().count()).max(1);
    let number = line_number.to_string();
    let gutter = " ".repeat(number.len());
    Some(format!(
        "{}:{number}:{}\n  {number} | {shown}\n  {gutter} | {}{}\n",
        contents.name().unwrap_or("input"),
        pad + 1,
        " ".repeat(pad),
        "^".repeat(carets),
    ))
}

/// Returns the lines of a place with those around it, if it is nothing less than whole lines.
fn whole_lines(source: &dyn SourceCode, place: &SourceSpan) -> Option<String> {
    let contents = source.read_span(&(0, usize::MAX).into(), 0, 0).ok()?;
    let text = std::str::from_utf8(contents.data()).ok()?;
    let (start, end) = (place.offset(), (place.offset() + place.len()).min(text.len()));
    let (before, within, after) = (text.get(..start)?, text.get(start..end)?, text.get(end..)?);
    let is_blank = |line: Option<&str>| line.is_none_or(|line| line.trim().is_empty());
    if within.trim().is_empty()
        || !is_blank(before.rsplit('\n').next())
        || !is_blank(after.split('\n').next())
    {
        return None;
    }
    let first = before.matches('\n').count() + 1;
    let last = first + within.trim_end().matches('\n').count();
    Some(marked(contents.name().unwrap_or("input"), text, first..=last) + "\n")
}

/// Returns some lines of a text, counted from 1, and those around them. Compat: buildx, which marks as much and shows as many.
///
/// ```text
/// Dockerfile:2
/// --------------------
///    1 |     FROM scratch
///    2 | >>> RUN apt-get update && \
///    3 | >>>     false
/// --------------------
/// ```
pub fn marked(name: &str, text: &str, lines: RangeInclusive<usize>) -> String {
    let all: Vec<&str> = text.split('\n').collect();
    let (mut first, mut last) = (*lines.start(), (*lines.end()).min(all.len()));
    let mut shown = format!("{name}:{first}\n{RULER}\n");
    let wanted = if first == last { AROUND_ONE } else { AROUND_SEVERAL };
    let mut count = 0;
    while count < wanted {
        count += 1 + usize::from(first > 1) + usize::from(last < all.len());
        first = (first - 1).max(1);
        last = (last + 1).min(all.len());
    }
    for (index, line) in all.iter().enumerate().take(last).skip(first - 1) {
        let number = index + 1;
        let mark = if lines.contains(&number) { ">>>" } else { "   " };
        writeln!(shown, "{number:>4} | {mark} {line}").expect("writing to a string cannot fail");
    }
    shown.push_str(RULER);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("no")]
    struct Wrong {
        #[source_code]
        text: Source,
        #[label]
        place: SourceSpan,
    }

    #[test]
    fn whole_lines_are_marked_and_words_are_underlined() {
        let text = "FROM a\nRUN b && \\\n  c\nRUN <<E\nx\nE\n";
        let shown = |start: &str, end: &str| {
            let from = text.find(start).unwrap();
            let place = (from, text.find(end).unwrap() + end.len() - from).into();
            excerpt(&Wrong { text: Source::new("f", text), place }).unwrap()
        };
        for (name, start, end, want) in [
            (
                "an instruction of several lines",
                "RUN b",
                "  c",
                "f:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUN b && \\\n   3 | >>>   c\n   4 |     RUN <<E\n\
                 --------------------\n",
            ),
            (
                "a heredoc",
                "RUN <<E",
                "x\nE\n",
                "f:4\n--------------------\n   3 |       c\n   4 | >>> RUN <<E\n   5 | >>> x\n   6 | >>> E\n   7 |     \n\
                 --------------------\n",
            ),
            ("a word", "FROM", "FROM", "f:1:1\n  1 | FROM a\n    | ^^^^\n"),
            ("the rest of a line", "a", "a", "f:1:6\n  1 | FROM a\n    |      ^\n"),
        ] {
            assert_eq!(shown(start, end), want, "case {name}");
        }
    }

    #[test]
    fn a_place_is_shown_with_what_is_around_it() {
        let text = "FROM scratch\n\nENV a \\\n  b\nRUN x\nRUN y\nRUN z\n";
        let several = "Dockerfile:3\n--------------------\n   2 |     \n   3 | >>> ENV a \\\n   4 | >>>   b\n   5 |     RUN x\n\
                       --------------------";
        assert_eq!(marked("Dockerfile", text, 3..=4), several);
        let last = "x/Dockerfile:7\n--------------------\n   5 |     RUN x\n   6 |     RUN y\n   7 | >>> RUN z\n   8 |     \n\
                    --------------------";
        assert_eq!(marked("x/Dockerfile", text, 7..=7), last);
    }

    #[test]
    fn what_is_read_is_whole_lines() {
        let source = Source::new("f", "ab\ncde\nf");
        for (name, span, want) in [
            ("inside", (4, 1), "cde"),
            ("start of a line", (3, 1), "cde"),
            ("two lines", (1, 4), "ab\ncde"),
            ("last line", (7, 1), "f"),
            ("end", (8, 0), "f"),
        ] {
            let read = source.read_span(&span.into(), 0, 0).unwrap();
            assert_eq!(std::str::from_utf8(read.data()).unwrap(), want, "case {name}");
        }
    }

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("f", "ab\nüx\n");
        for (name, offset, want) in [
            ("start", 0, (1, 1)),
            ("second line", 3, (2, 1)),
            ("after a wide character", 5, (2, 2)),
            ("end", 99, (3, 1)),
        ] {
            let got = source.position(offset);
            assert_eq!((got.line, got.column), want, "case {name}");
        }
    }
}
