//! Quotes, escapes and variables in a word.
//!
//! Compat: BuildKit's shell lexer. It resembles a shell but is none: word splitting happens after expansion,
//! only some of `${…}` exist, and an escape before an ordinary character drops the escape.

use crate::glob::ShellPattern;

/// Nested `${a:-${b:-…}}` deeper than this is refused.
const MAX_DEPTH: usize = 64;
/// A word that grows beyond this is refused: variables that repeat each other grow exponentially.
const MAX_LENGTH: usize = 4 << 20;

/// Expands words.
#[derive(Clone, Copy, Debug)]
pub struct Lexer {
    /// The escape character, `\` or `` ` ``.
    pub escape: char,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escapes stay in the result.
    pub raw_escapes: bool,
    /// Variables that are not set stay as they are written.
    pub skip_unset: bool,
    /// Quotes are ordinary characters.
    pub skip_quotes: bool,
}

/// An expanded word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Names that were used and are set.
    pub used: Vec<String>,
    /// Names that were used and are not set.
    pub unset: Vec<String>,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// `${name` without its end.
    #[error("`${{` without its `}}`")]
    MissingBrace,
    /// `${name/pattern` without the second slash.
    #[error("`${{name/…` without its second `/`")]
    MissingSlash,
    /// `${}`, `${:…}`, `${{`.
    #[error("bad substitution")]
    BadSubstitution,
    /// `${name^}` and others that do not exist here.
    #[error("unsupported modifier `{0}` in a substitution")]
    UnsupportedModifier(String),
    /// A quote without its end.
    #[error("a {0} quote without its end")]
    UnterminatedQuote(&'static str),
    /// `${name:?message}` of a variable that is missing.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message in the file, or a default.
        message: String,
    },
    /// A pattern with an escape that has no meaning.
    #[error("invalid escape `\\{0}` in a pattern")]
    BadPattern(char),
    /// Nested too deep, or the result is too long.
    #[error("a substitution that is nested too deep or too long")]
    TooLarge,
}

/// Where variables come from.
pub(crate) type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

pub(crate) fn no_variables(_: &str) -> Option<String> {
    None
}

impl Lexer {
    /// Makes the lexer that most instructions use.
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_unset: false, skip_quotes: false }
    }

    /// Expands one word; spaces stay.
    pub fn expand(&self, word: &str, variables: &Variables<'_>) -> Result<Expanded, ExpandError> {
        self.expand_until_mistake(word, variables).map_err(|(error, _)| error)
    }

    /// Expands one word; a mistake comes with the names that were used before it.
    pub(crate) fn expand_until_mistake(
        &self,
        word: &str,
        variables: &Variables<'_>,
    ) -> Result<Expanded, (ExpandError, Expanded)> {
        let mut machine = Machine::new(self, word, variables);
        let text = machine.until(None, self.raw_escapes);
        let Machine { used, unset, .. } = machine;
        match text {
            Ok((text, _)) => Ok(Expanded { text, used, unset }),
            Err(error) => Err((error, Expanded { text: String::new(), used, unset })),
        }
    }

    /// Expands a text and splits the result at spaces that are not quoted.
    pub fn expand_words(&self, text: &str, variables: &Variables<'_>) -> Result<Vec<String>, ExpandError> {
        let (_, words) = Machine::new(self, text, variables).until(None, self.raw_escapes)?;
        Ok(words)
    }
}

struct Machine<'a> {
    lexer: &'a Lexer,
    chars: Vec<char>,
    at: usize,
    variables: &'a Variables<'a>,
    used: Vec<String>,
    unset: Vec<String>,
    raw_escapes: bool,
    depth: usize,
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
    in_word: bool,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.push_raw(c);
        } else if self.in_word && !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    fn push_raw(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

impl<'a> Machine<'a> {
    fn new(lexer: &'a Lexer, text: &str, variables: &'a Variables<'a>) -> Self {
        Self {
            lexer,
            chars: text.chars().collect(),
            at: 0,
            variables,
            used: Vec::new(),
            unset: Vec::new(),
            raw_escapes: lexer.raw_escapes,
            depth: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Expands up to a stop character, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooLarge);
        }
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.until_inner(stop);
        self.raw_escapes = before;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut result = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.at += 1;
                return Ok((result, words.finish()));
            }
            if result.len() > MAX_LENGTH {
                return Err(ExpandError::TooLarge);
            }
            let special = match c {
                '$' => Some(self.dollar()?),
                '<' => Some(self.angle()),
                '\'' if !self.lexer.skip_quotes => Some(self.single_quote()?),
                '"' if !self.lexer.skip_quotes => Some(self.double_quote()?),
                _ => None,
            };
            match special {
                Some(text) => {
                    result.push_str(&text);
                    if c == '$' {
                        text.chars().for_each(|c| words.push(c));
                    } else {
                        words.word.push_str(&text);
                        words.in_word = true;
                    }
                }
                None => {
                    self.at += 1;
                    let Some(c) = self.plain(c, &mut result, &mut words) else { break };
                    result.push(c);
                }
            }
        }
        match stop {
            Some(_) => Err(ExpandError::MissingBrace),
            None => Ok((result, words.finish())),
        }
    }

    /// Handles a character without meaning, or the one after an escape; `None` at the end.
    fn plain(&mut self, c: char, result: &mut String, words: &mut Words) -> Option<char> {
        if c != self.lexer.escape {
            words.push(c);
            return Some(c);
        }
        if self.raw_escapes {
            words.push_raw(c);
            result.push(c);
        }
        let escaped = self.next()?;
        words.push_raw(escaped);
        Some(escaped)
    }

    fn single_quote(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.next() {
                None => return Err(ExpandError::UnterminatedQuote("single")),
                Some('\'') => break,
                Some(c) => text.push(c),
            }
        }
        Ok(if self.lexer.raw_quotes { format!("'{text}'") } else { text })
    }

    fn double_quote(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(ExpandError::UnterminatedQuote("double")),
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('$') => {
                    let value = self.dollar()?;
                    if text.len() + value.len() > MAX_LENGTH {
                        return Err(ExpandError::TooLarge);
                    }
                    text.push_str(&value);
                }
                Some(mut c) => {
                    self.at += 1;
                    if c == self.lexer.escape {
                        if self.raw_escapes {
                            text.push(c);
                        }
                        match self.peek() {
                            None => continue,
                            // Only these can be escaped; before others the escape stays.
                            Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                                self.at += 1;
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    text.push(c);
                }
            }
        }
        Ok(if self.lexer.raw_quotes { format!("\"{text}\"") } else { text })
    }

    /// `<<` of a heredoc keeps the spaces after it in the same word.
    fn angle(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let mut text = "<<".to_owned();
        while let Some(c @ (' ' | '\t' | '\r')) = self.peek() {
            text.push(c);
            self.at += 1;
        }
        text
    }

    fn name(&mut self) -> String {
        let start = self.at;
        match self.peek() {
            Some(c) if c.is_numeric() => {
                while self.peek().is_some_and(char::is_numeric) {
                    self.at += 1;
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => self.at += 1,
            _ => {
                while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    self.at += 1;
                }
            }
        }
        self.chars[start..self.at].iter().collect()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.variables)(name);
        let names = if value.is_some() { &mut self.used } else { &mut self.unset };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        value
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name) {
                None if self.lexer.skip_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(modifier) = self.next() else { return Err(ExpandError::MissingBrace) };
        match modifier {
            '}' => Ok(match self.value(&name) {
                None if self.lexer.skip_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => match self.next() {
                Some(modifier) => self.modified(&name, modifier, true),
                None => Err(ExpandError::MissingBrace),
            },
            '/' => self.replaced(&name),
            modifier => self.modified(&name, modifier, false),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, empty_is_unset: bool) -> Result<String, ExpandError> {
        let colon = if empty_is_unset { ":" } else { "" };
        let trims = matches!(modifier, '#' | '%');
        if !matches!(modifier, '+' | '-' | '?') && (!trims || empty_is_unset) {
            return Err(ExpandError::UnsupportedModifier(format!("{colon}{modifier}")));
        }
        let (word, _) = self.until(Some('}'), trims)?;
        let value = self.value(name);
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let missing = match &value {
            None => Some("is not allowed to be unset"),
            Some(value) if empty_is_unset && value.is_empty() => Some("is not allowed to be empty"),
            Some(_) => None,
        };
        match (modifier, missing) {
            ('-', Some(_)) => Ok(word),
            ('+', None) => Ok(word),
            ('+', Some(_)) => Ok(String::new()),
            ('?', Some(default)) => Err(ExpandError::Required {
                name: name.to_owned(),
                message: if word.is_empty() { default.to_owned() } else { word },
            }),
            ('#' | '%', _) => trimmed(&value.unwrap_or_default(), &word, modifier),
            _ => Ok(value.unwrap_or_default()),
        }
    }

    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let (pattern, _) = self.until(Some('/'), true).map_err(|error| match error {
            ExpandError::MissingBrace => ExpandError::MissingSlash,
            other => other,
        })?;
        let (with, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if self.lexer.skip_unset && value.is_none() {
            let slash = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slash}{pattern}/{with}}}"));
        }
        let pattern = ShellPattern::new(&pattern).map_err(ExpandError::BadPattern)?;
        let value = value.unwrap_or_default();
        if value.len().saturating_mul(with.len().max(1)) > MAX_LENGTH {
            return Err(ExpandError::TooLarge);
        }
        Ok(pattern.replace(&value, &with, all))
    }
}

/// `#` and `##` drop a matching start, `%` and `%%` a matching end; doubled, the longest.
fn trimmed(value: &str, word: &str, modifier: char) -> Result<String, ExpandError> {
    let (longest, pattern) = word.strip_prefix(modifier).map_or((false, word), |pattern| (true, pattern));
    let pattern = ShellPattern::new(pattern).map_err(ExpandError::BadPattern)?;
    let mut chars: Vec<char> = value.chars().collect();
    if modifier == '#' {
        let matched = pattern.match_prefix(&chars, longest).unwrap_or(0);
        return Ok(chars[matched..].iter().collect());
    }
    chars.reverse();
    let matched = pattern.reversed().match_prefix(&chars, longest).unwrap_or(0);
    Ok(chars[matched..].iter().rev().collect())
}

#[cfg(test)]
mod tests;
