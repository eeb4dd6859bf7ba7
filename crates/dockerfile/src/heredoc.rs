//! Heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"`.

use crate::expand::{Lexer, no_variables};

/// A heredoc of RUN, COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it; the file name in COPY and ADD.
    pub name: String,
    /// Variables are expanded; not so if any part of the word is quoted.
    pub expand: bool,
    /// `<<-`: leading tabs are dropped.
    pub strip_tabs: bool,
    /// The lines between, as they stand in the file.
    pub content: String,
}

impl Heredoc {
    /// Returns the content, without leading tabs if it was written as `<<-`.
    pub fn text(&self) -> String {
        if !self.strip_tabs {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// Returns whether a command is the start of a heredoc and nothing else.
    pub fn is_whole(command: &str) -> bool {
        Self::parse_word(command).is_some()
    }

    /// Reads one word as the start of a heredoc; the content is still empty.
    pub(crate) fn parse_word(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (strip_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start();
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let plain = Lexer { skip_unset: true, ..Lexer::new('\\') }.expand_words(rest, &no_variables).ok()?;
        let raw = Lexer { skip_unset: true, raw_quotes: true, ..Lexer::new('\\') }
            .expand_words(rest, &no_variables)
            .ok()?;
        let ([name], [raw]) = (plain.as_slice(), raw.as_slice()) else { return None };
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Some(Self {
            expand: quotes(name) == quotes(raw),
            name: name.clone(),
            strip_tabs,
            content: String::new(),
        })
    }

    /// Returns the heredocs that a whole line starts, in order.
    pub(crate) fn all_of_line(line: &str) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        let lexer = Lexer { raw_quotes: true, raw_escapes: true, skip_unset: true, ..Lexer::new('\\') };
        let words = lexer.expand_words(line, &no_variables).unwrap_or_default();
        words.iter().filter_map(|word| Self::parse_word(word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_start_a_heredoc() {
        for (name, word, want) in [
            ("plain", "<<EOF", Some(("EOF", true, false))),
            ("quoted", "<<'EOF'", Some(("EOF", false, false))),
            ("partly quoted", "<<E\"O\"F", Some(("EOF", false, false))),
            ("tabs", "<<-EOF", Some(("EOF", true, true))),
            ("descriptor", "3<<EOF", Some(("EOF", true, false))),
            ("space", "<< EOF", Some(("EOF", true, false))),
            ("here-string", "<<<EOF", None),
            ("nothing", "<<", None),
            ("a word", "EOF", None),
            ("unbalanced", "<<'EOF", None),
        ] {
            let got = Heredoc::parse_word(word);
            assert_eq!(got.as_ref().map(|h| (h.name.as_str(), h.expand, h.strip_tabs)), want, "case {name}");
        }
    }

    #[test]
    fn a_line_may_start_several() {
        let found = Heredoc::all_of_line("cat <<A > /a && cat <<-B | x '<<C'");
        let names: Vec<&str> = found.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
    }
}
