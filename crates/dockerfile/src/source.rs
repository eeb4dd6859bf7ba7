//! Source text, places in it, and excerpts with a caret.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

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
pub fn excerpt(diagnostic: &dyn Diagnostic) -> Option<String> {
    let label = diagnostic.labels()?.next()?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
