//! Splitting an instruction's arguments into words, with their places.

/// A piece of a logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits at the first run of blanks: the first word, and the offset of what follows.
pub(crate) fn split_first(text: &str) -> (&str, usize) {
    let end = text.find(is_blank).unwrap_or(text.len());
    let rest = text[end..].trim_start_matches(is_blank);
    (&text[..end], text.len() - rest.len())
}

/// Splits at blanks; quotes have no meaning.
pub(crate) fn split_blanks(text: &str, offset: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_blank(c), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                pieces.push(Piece {
                    text: text[from..at].to_owned(),
                    start: offset + from,
                    end: offset + at,
                });
                start = None;
            }
            _ => {}
        }
    }
    pieces
}

/// Splits at blanks that are neither quoted nor escaped; quotes and escapes stay in the words.
pub(crate) fn split_quoted(text: &str, offset: usize, escape: char) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut word = String::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if start.is_none() {
            if c.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        if c == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            if let Some((_, next)) = chars.next() {
                word.push(c);
                word.push(next);
            }
            continue;
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_whitespace() => {
                if let Some(from) = start.take() {
                    let text = std::mem::take(&mut word);
                    pieces.push(Piece { text, start: offset + from, end: offset + at });
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if let Some(from) = start
        && !word.is_empty()
    {
        pieces.push(Piece { text: word, start: offset + from, end: offset + text.len() });
    }
    pieces
}

/// Splits leading `--flag[=value]` words off, with quotes and escapes resolved; returns them and the offset of
/// the rest.
pub(crate) fn split_flags(text: &str, offset: usize, escape: char) -> (Vec<Piece>, usize) {
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_start().len();
        at += blank;
        if !text[at..].starts_with("--") {
            return (flags, at);
        }
        let start = at;
        let (word, length) = flag_word(&text[at..], escape);
        at += length;
        if word == "--" {
            return (flags, at);
        }
        flags.push(Piece { text: word, start: offset + start, end: offset + at });
    }
}

fn flag_word(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn quotes_and_escapes_keep_words_together() {
        for (name, text, want) in [
            ("plain", "a b", vec!["a", "b"]),
            ("double quotes", "a=\"x y\" b", vec!["a=\"x y\"", "b"]),
            ("single quotes", "a='x \\' b", vec!["a='x \\'", "b"]),
            ("escaped space", r"a=x\ y b", vec![r"a=x\ y", "b"]),
            ("escaped quote", r#"a=\"x y"#, vec![r#"a=\"x"#, "y"]),
            ("escape at the end", "a\\", vec!["a"]),
            ("open quote", "a='x y", vec!["a='x y"]),
            ("empty quotes", "a=''", vec!["a=''"]),
        ] {
            assert_eq!(texts(&split_quoted(text, 0, '\\')), want, "case {name}");
        }
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        for (name, text, flags, rest) in [
            ("none", "a --b", vec![], "a --b"),
            ("two", "--a --b=c d", vec!["--a", "--b=c"], "d"),
            ("quoted", "--a='x y' d", vec!["--a=x y"], "d"),
            ("escaped", r"--a=x\ y d", vec!["--a=x y"], "d"),
            ("double dash", "--a -- --b", vec!["--a"], " --b"),
            ("only flags", "--a", vec!["--a"], ""),
        ] {
            let (got, at) = split_flags(text, 0, '\\');
            assert_eq!((texts(&got), &text[at..]), (flags, rest), "case {name}");
        }
    }
}
