//! From a template's text to words: what stands as it is, and what is between `{{` and `}}`.

use super::quote;
use super::tree::Mistake;

/// What `{{-` and `-}}` take away, and what is between words.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// A word, where it begins, and whether there is space before it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) at: usize,
    pub(super) is_apart: bool,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// What stands between actions.
    Plain(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`
    Field(String),
    /// `$`, `$name`
    Variable(String),
    /// A function or a keyword.
    Name(String),
    /// A text in quotes.
    Text(String),
    Whole(i128),
    Real(f64),
    /// `.`
    Dot,
    /// `|`, `,`, `=`, `:=`, `(`, `)`
    Sign(&'static str),
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(text) | Self::Variable(text) | Self::Name(text) => f.write_str(text),
            Self::Open => f.write_str("{{"),
            Self::Close => f.write_str("}}"),
            Self::Field(name) => write!(f, ".{name}"),
            Self::Text(text) => f.write_str(&quote::quoted(text)),
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Dot => f.write_str("."),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

/// Returns the words of a template.
pub(super) fn words(source: &str) -> Result<Vec<Token>, Mistake> {
    let mut lexer = Lexer { source, at: 0, words: Vec::new(), is_apart: false };
    let mut trims_start = false;
    while lexer.at < source.len() {
        let rest = lexer.rest();
        let end = rest.find("{{").unwrap_or(rest.len());
        let trims_end = lexer.begins_trimmed(end);
        let mut text = &rest[..end];
        if trims_start {
            text = text.trim_start_matches(SPACES);
        }
        if trims_end {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            lexer.push(lexer.at, Word::Plain(text.to_owned()));
        }
        lexer.at += end;
        trims_start = if lexer.at < source.len() { lexer.action(trims_end)? } else { false };
    }
    Ok(lexer.words)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    words: Vec<Token>,
    is_apart: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Whether `{{- ` stands so far from here.
    fn begins_trimmed(&self, end: usize) -> bool {
        let inside = self.rest()[end..].strip_prefix("{{-");
        inside.is_some_and(|inside| inside.starts_with(SPACES))
    }

    fn push(&mut self, at: usize, word: Word) {
        self.words.push(Token { word, at, is_apart: self.is_apart });
        self.is_apart = false;
    }

    /// Reads from `{{` to behind `}}`, and returns whether the text after it is trimmed.
    fn action(&mut self, is_trimmed: bool) -> Result<bool, Mistake> {
        let start = self.at;
        self.at += if is_trimmed { "{{- ".len() } else { "{{".len() };
        if self.rest().starts_with("/*") {
            return self.remark(start);
        }
        self.push(start, Word::Open);
        loop {
            if let Some(trims) = self.closes() {
                let at = self.at;
                self.at += if trims { " -}}".len() } else { "}}".len() };
                self.is_apart |= trims;
                self.push(at, Word::Close);
                return Ok(trims);
            }
            match self.rest().chars().next() {
                None => return Err(Mistake::at(start, "`{{` without `}}`")),
                Some(char) if SPACES.contains(&char) => {
                    self.is_apart = true;
                    self.at += char.len_utf8();
                }
                Some(char) => self.word(char)?,
            }
        }
    }

    /// Whether an action ends here; if so, whether it trims what follows.
    fn closes(&self) -> Option<bool> {
        let rest = self.rest();
        let trimmed = rest.strip_prefix(SPACES).is_some_and(|rest| rest.starts_with("-}}"));
        (trimmed || rest.starts_with("}}")).then_some(trimmed)
    }

    /// Reads from `/*` to behind `}}`.
    fn remark(&mut self, start: usize) -> Result<bool, Mistake> {
        let unclosed = || Mistake::at(start, "a remark without `*/`");
        self.at += self.rest().find("*/").ok_or_else(unclosed)? + "*/".len();
        let trims = self.closes().ok_or_else(|| Mistake::at(start, "a remark ends with `*/}}`"))?;
        self.at += if trims { " -}}".len() } else { "}}".len() };
        Ok(trims)
    }

    fn word(&mut self, first: char) -> Result<(), Mistake> {
        let start = self.at;
        let rest = self.rest();
        for sign in [":=", "=", "|", ",", "(", ")"] {
            if rest.starts_with(sign) {
                self.at += sign.len();
                self.push(start, Word::Sign(sign));
                return Ok(());
            }
        }
        let follows = rest[first.len_utf8()..].chars().next().unwrap_or_default();
        let word = match first {
            '"' | '`' => Word::Text(self.text(first)?),
            '\'' => {
                let text = self.text(first)?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Word::Whole(i128::from(u32::from(char))),
                    _ => return Err(Mistake::at(start, "one character is between ' and '")),
                }
            }
            '.' if !follows.is_ascii_digit() => {
                self.at += 1;
                let name = self.name();
                if name.is_empty() { Word::Dot } else { Word::Field(name.to_owned()) }
            }
            '$' => {
                self.at += 1;
                Word::Variable(format!("${}", self.name()))
            }
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            _ if is_of_name(first) => Word::Name(self.name().to_owned()),
            _ => return Err(Mistake::at(start, format!("`{first}` has no meaning here"))),
        };
        let follows = self.rest().chars().next();
        let ends = |char| SPACES.contains(&char) || ".,|:)(".contains(char) || self.rest().starts_with("}}");
        let is_name = matches!(word, Word::Field(_) | Word::Variable(_) | Word::Name(_));
        match follows {
            Some(char) if is_name && !ends(char) => {
                Err(Mistake::at(self.at, format!("`{char}` cannot stand in or behind a name")))
            }
            _ => {
                self.push(start, word);
                Ok(())
            }
        }
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !is_of_name(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads what is in quotes.
    fn text(&mut self, quote: char) -> Result<String, Mistake> {
        let start = self.at;
        let inside = &self.rest()[1..];
        let mut escaped = false;
        let end = inside.find(|char| {
            let ends = (char == quote && !escaped) || (char == '\n' && quote != '`');
            escaped = char == '\\' && !escaped && quote != '`';
            ends
        });
        let end = end.filter(|end| inside[*end..].starts_with(quote));
        let end = end.ok_or_else(|| Mistake::at(start, "a text is not closed"))?;
        self.at += 1 + end + 1;
        if quote == '`' {
            return Ok(inside[..end].to_owned());
        }
        quote::plain(&inside[..end]).map_err(|what| Mistake::at(start, what))
    }

    fn number(&mut self) -> Result<Word, Mistake> {
        let (start, rest) = (self.at, self.rest());
        let mut before = ' ';
        let end = rest.find(|char: char| {
            let is_sign = matches!(char, '+' | '-') && matches!(before, ' ' | 'e' | 'E');
            before = char;
            !(char == '.' || is_sign || is_of_name(char))
        });
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        number(text).ok_or_else(|| Mistake::at(start, format!("`{text}` is no number")))
    }
}

fn is_of_name(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

/// Reads a number as Go writes one.
fn number(text: &str) -> Option<Word> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2)];
    let based = based.iter().find_map(|(start, base)| Some((digits.strip_prefix(start)?, *base)));
    let (whole, base) = match based {
        Some(based) => based,
        None if digits.len() > 1 && digits.starts_with('0') && !digits.contains(['.', 'e']) => {
            (&digits[1..], 8)
        }
        None => (digits.as_str(), 10),
    };
    // A sign is read above, and not twice.
    if !whole.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '.') {
        return None;
    }
    if let Some(number) = i128::from_str_radix(whole, base).ok().map(|number| number * sign)
        && i64::try_from(number).is_ok()
    {
        return Some(Word::Whole(number));
    }
    let is_real = base == 10 && whole.starts_with(|char: char| char.is_ascii_digit() || char == '.');
    let real: f64 = whole.parse().ok().filter(|_| is_real && whole.contains(['.', 'e']))?;
    // Compat: Go, a number that is too large is none.
    if !real.is_finite() {
        return None;
    }
    Some(Word::Real(if sign < 0 { -real } else { real }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (text, want) in [
            ("12", Some(Word::Whole(12))),
            ("-3", Some(Word::Whole(-3))),
            ("0x1F", Some(Word::Whole(31))),
            ("0b11", Some(Word::Whole(3))),
            ("017", Some(Word::Whole(15))),
            ("1_000", Some(Word::Whole(1000))),
            ("1.5", Some(Word::Real(1.5))),
            ("-1e3", Some(Word::Real(-1000.0))),
            (".5", Some(Word::Real(0.5))),
            ("1x", None),
            ("--1", None),
            ("infinity", None),
            ("1e400", None),
            ("-9223372036854775808", Some(Word::Whole(i128::from(i64::MIN)))),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }
}
