//! Physical lines to logical ones: comments, continuations, directives, heredocs.

use crate::directive::{DirectiveReader, Directives};
use crate::error::{Located, Problem};
use crate::heredoc::Heredoc;
use crate::source::Span;

/// A line of source with its end.
#[derive(Clone, Copy, Debug)]
struct Physical<'a> {
    start: usize,
    text: &'a str,
}

impl<'a> Physical<'a> {
    fn trimmed(&self) -> &'a str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }
}

/// One instruction's text after joining, and how to find its parts in the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logical {
    pub(crate) text: String,
    /// Offsets in `text` and the offsets in the source that they come from, ascending.
    map: Vec<(usize, usize)>,
    pub(crate) span: Span,
    /// Comments directly above.
    pub(crate) comments: Vec<String>,
    pub(crate) has_empty_continuation: bool,
}

impl Logical {
    /// Wraps a text that stands nowhere else: all its parts are at `span`.
    pub(crate) fn of_text(text: &str, span: Span) -> Self {
        Self { text: text.to_owned(), map: Vec::new(), span, ..Self::default() }
    }

    fn push(&mut self, text: &str, source_offset: usize) {
        self.map.push((self.text.len(), source_offset));
        self.text.push_str(text);
    }

    /// Returns where a part of the text stands in the source.
    pub(crate) fn locate(&self, start: usize, end: usize) -> Span {
        let find = |offset: usize| {
            let after = self.map.partition_point(|(logical, _)| *logical <= offset);
            let (logical, source) = self.map.get(after.checked_sub(1)?)?;
            Some(source + (offset - logical))
        };
        match (find(start), end.checked_sub(1).and_then(find)) {
            (Some(start), Some(last)) => Span::new(start, last + 1),
            (Some(start), None) => Span::new(start, start),
            _ => self.span,
        }
    }
}

/// Joins physical lines.
#[derive(Debug)]
pub(crate) struct LineReader<'a> {
    rest: &'a str,
    at: usize,
    directive_reader: DirectiveReader,
    pub(crate) directives: Directives,
    comments: Vec<String>,
    /// Where heredocs stand, with their ends.
    pub(crate) bodies: Vec<Span>,
}

impl<'a> LineReader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest,
            at: text.len() - rest.len(),
            directive_reader: DirectiveReader::default(),
            directives: Directives::default(),
            comments: Vec::new(),
            bodies: Vec::new(),
        }
    }

    fn physical(&mut self) -> Option<Physical<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.rest.find('\n').map_or(self.rest.len(), |newline| newline + 1);
        let line = Physical { start: self.at, text: &self.rest[..length] };
        self.rest = &self.rest[length..];
        self.at += length;
        Some(line)
    }

    /// Returns the next instruction's line, without its heredocs.
    pub(crate) fn next_line(&mut self) -> Result<Option<Logical>, Located> {
        while let Some(first) = self.physical() {
            let text = first.trimmed().trim_start();
            let start = first.start + (first.trimmed().len() - text.len());
            let span = Span::new(start, start + text.len());
            if self.directive_reader.read(text, span, &mut self.directives)? {
                continue;
            }
            if first.is_comment() {
                // Compat: BuildKit, which takes one character off the line, whether blanks stand before the mark or not.
                let mut raw = first.text.chars();
                raw.next();
                let comment = raw.as_str().trim();
                if comment.is_empty() {
                    self.comments.clear();
                } else {
                    self.comments.push(comment.to_owned());
                }
                continue;
            }
            let mut line = Logical { span, ..Logical::default() };
            let (text, mut continues) = self.strip_continuation(text);
            if text.is_empty() && !continues {
                continue;
            }
            line.push(text, start);
            while continues && let Some(next) = self.physical() {
                line.span.end = next.start + next.trimmed().len();
                if next.is_comment() {
                    continue;
                }
                if next.trimmed().trim_start().is_empty() {
                    line.has_empty_continuation = true;
                    continue;
                }
                let (text, more) = self.strip_continuation(next.trimmed());
                line.push(text, next.start);
                continues = more;
            }
            line.comments = std::mem::take(&mut self.comments);
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Removes the escape character at the end of a line, unless another one escapes it.
    fn strip_continuation<'t>(&self, text: &'t str) -> (&'t str, bool) {
        let escape = self.directives.escape;
        match text.trim_end_matches([' ', '\t']).strip_suffix(escape) {
            Some(before) if !before.ends_with(escape) => (before, true),
            _ => (text, false),
        }
    }

    /// Reads the bodies of the heredocs that a line starts.
    pub(crate) fn read_heredocs(&mut self, line: &mut Logical) -> Result<Vec<Heredoc>, Located> {
        let mut heredocs = Heredoc::all_of_line(&line.text);
        for heredoc in &mut heredocs {
            let (start, mut ended) = (self.at, false);
            while let Some(next) = self.physical() {
                line.span.end = next.start + next.trimmed().len();
                let end = next.trimmed();
                let end = if heredoc.strip_tabs { end.trim_start_matches('\t') } else { end };
                if end == heredoc.name {
                    ended = true;
                    break;
                }
                heredoc.content.push_str(next.text);
            }
            self.bodies.push(Span::new(start, self.at));
            if !ended {
                let start = line.text.find("<<").unwrap_or(0);
                let end =
                    line.text[start..].find(char::is_whitespace).map_or(line.text.len(), |at| start + at);
                let name = heredoc.name.clone();
                return Err(Problem::UnterminatedHeredoc { name }.at(line.locate(start, end)).of_lines());
            }
        }
        Ok(heredocs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut reader = LineReader::new(text);
        let mut all = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            all.push(line.text);
        }
        all
    }

    #[test]
    fn lines_join_and_comments_go() {
        for (name, text, want) in [
            ("plain", "A b\nC d\n", vec!["A b", "C d"]),
            ("no newline at the end", "A b", vec!["A b"]),
            ("windows", "A b\r\nC d\r\n", vec!["A b", "C d"]),
            ("byte order mark", "\u{feff}A b", vec!["A b"]),
            ("continuation", "A b \\\n  c\n", vec!["A b   c"]),
            ("space after the continuation", "A b\\ \t\nc", vec!["A bc"]),
            ("escaped continuation", "A b\\\\\nC d", vec!["A b\\\\", "C d"]),
            ("comment inside", "A b \\\n# no\n c", vec!["A b  c"]),
            ("indented comment inside", "A b \\\n   # no\n c", vec!["A b  c"]),
            ("empty line inside", "A b \\\n\n c", vec!["A b  c"]),
            ("comment ends in a continuation", "# x \\\nA b", vec!["A b"]),
            ("indented", "   A b", vec!["A b"]),
            ("continuation at the end", "A b \\", vec!["A b "]),
            ("escape directive", "# escape=`\nA b `\n c\nD \\", vec!["A b  c", "D \\"]),
            ("directive after a comment is none", "# hello\n# escape=`\nA b \\\n c", vec!["A b  c"]),
            ("empty", "", vec![]),
            ("only comments", "# a\n\n#b\n", vec![]),
        ] {
            assert_eq!(lines(text), want, "case {name}");
        }
    }

    #[test]
    fn parts_are_found_across_continuations() {
        let text = "RUN a \\\n # c\n   bcd e\n";
        let line = LineReader::new(text).next_line().unwrap().unwrap();
        let at = line.text.find("bcd").unwrap();
        let span = line.locate(at, at + 3);
        assert_eq!(&text[span.start..span.end], "bcd");
    }
}
