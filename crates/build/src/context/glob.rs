//! Path patterns: `*`, `?`, `[…]`, escapes, and `**` across directories.

/// A compiled pattern for a whole path without a leading slash.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    /// The pattern has no wildcards.
    literal: Option<String>,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**/`: this and the next token may be skipped.
    Directories,
    /// The rest of `**/`: anything that ends in a slash.
    ThroughSlash,
    /// `**` at the end.
    Everything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The pattern has an open class or ends in an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Returns whether a path of COPY has a wildcard that is not escaped.
pub(crate) fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Result<Self, BadPattern> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' if chars.peek() == Some(&'*') => {
                    while chars.peek() == Some(&'*') {
                        chars.next();
                    }
                    if chars.peek() == Some(&'/') {
                        chars.next();
                    }
                    if chars.peek().is_none() {
                        Token::Everything
                    } else {
                        tokens.push(Token::Directories);
                        Token::ThroughSlash
                    }
                }
                '*' => Token::Star,
                '?' => Token::One,
                '[' => class(&mut chars)?,
                '\\' => Token::Literal(chars.next().ok_or(BadPattern)?),
                literal => Token::Literal(literal),
            };
            tokens.push(token);
        }
        let literal = tokens
            .iter()
            .map(|token| match token {
                Token::Literal(c) => Some(*c),
                _ => None,
            })
            .collect();
        Ok(Self { literal, tokens })
    }

    /// Returns whether the pattern has wildcards.
    pub(crate) fn is_wild(&self) -> bool {
        self.literal.is_none()
    }

    /// Returns whether the whole path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == path;
        }
        // A first literal that differs decides at once; most patterns start with one.
        if let (Some(Token::Literal(first)), Some(c)) = (self.tokens.first(), path.chars().next())
            && *first != c
        {
            return false;
        }
        let mut alive = vec![false; self.tokens.len() + 1];
        let mut next = alive.clone();
        alive[0] = true;
        self.skip_empty(&mut alive);
        for c in path.chars() {
            next.fill(false);
            for (state, token) in self.tokens.iter().enumerate().filter(|(state, _)| alive[*state]) {
                match token {
                    Token::Literal(literal) => next[state + 1] |= *literal == c,
                    Token::One => next[state + 1] |= c != '/',
                    Token::Star => next[state] |= c != '/',
                    Token::Everything => next[state] = true,
                    Token::Directories => {}
                    Token::ThroughSlash => {
                        next[state] = true;
                        next[state + 1] |= c == '/';
                    }
                    Token::Class { negated, ranges } => {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[state + 1] |= inside != *negated && c != '/';
                    }
                }
            }
            self.skip_empty(&mut next);
            if !next.contains(&true) {
                return false;
            }
            std::mem::swap(&mut alive, &mut next);
        }
        alive[self.tokens.len()]
    }

    /// Adds the states that are reached without reading.
    fn skip_empty(&self, alive: &mut [bool]) {
        for (state, token) in self.tokens.iter().enumerate() {
            if alive[state] {
                alive[state + 1] |= matches!(token, Token::Star | Token::Everything | Token::Directories);
                if *token == Token::Directories {
                    alive[state + 2] = true;
                }
            }
        }
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, BadPattern> {
    // Compat: Go's filepath.Match, `!` is a character as others.
    let negated = chars.peek() == Some(&'^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        let mut one = || match chars.next() {
            Some('\\') => chars.next().ok_or(BadPattern),
            other => other.ok_or(BadPattern),
        };
        let low = one()?;
        if low == ']' && !ranges.is_empty() {
            return Ok(Token::Class { negated, ranges });
        }
        if chars.peek() == Some(&'-') {
            chars.next();
            let high = chars.next().ok_or(BadPattern)?;
            ranges.push((low, high));
        } else {
            ranges.push((low, low));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (name, pattern, yes, no) in [
            ("literal", "a/b", vec!["a/b"], vec!["a", "a/b/c", "xa/b"]),
            ("star stays in a directory", "*.c", vec!["x.c", ".c"], vec!["d/x.c", "x.h"]),
            ("star in the middle", "a/*/c", vec!["a/b/c"], vec!["a/c", "a/b/b/c"]),
            ("question mark", "a?", vec!["ab"], vec!["a", "a/", "abc"]),
            ("class", "[a-c]x", vec!["ax", "cx"], vec!["dx"]),
            ("negated class", "[^a]x", vec!["bx"], vec!["ax", "/x"]),
            ("class with an exclamation mark", "[!a]x", vec!["!x", "ax"], vec!["bx"]),
            ("class with a bracket", "[]a]x", vec!["]x", "ax"], vec!["bx"]),
            ("escape", "\\*x", vec!["*x"], vec!["ax"]),
            ("any directories", "**/x", vec!["x", "a/x", "a/b/x"], vec!["ax", "x/a"]),
            ("below", "a/**", vec!["a/b", "a/b/c"], vec!["a", "b/a"]),
            ("between", "a/**/z", vec!["a/z", "a/b/z", "a/b/c/z"], vec!["az", "a/bz"]),
            ("everything", "**", vec!["a", "a/b"], vec![]),
            ("suffix in any directory", "**/*.o", vec!["x.o", "a/x.o"], vec!["x.c"]),
            ("wide", "ü*", vec!["übc"], vec!["u"]),
        ] {
            let glob = Glob::new(pattern).unwrap();
            for path in yes {
                assert!(glob.matches(path), "case {name}: {pattern} should match {path}");
            }
            for path in no {
                assert!(!glob.matches(path), "case {name}: {pattern} should not match {path}");
            }
        }
        for bad in ["[a", "a\\", "["] {
            assert_eq!(Glob::new(bad).unwrap_err(), BadPattern, "{bad}");
        }
    }

    #[test]
    fn hostile_patterns_take_linear_time() {
        let glob = Glob::new(&"*a".repeat(200)).unwrap();
        assert!(!glob.matches(&"a".repeat(5000).replace("aaaaaaaaaa", "aaaaaaaaa/")));
    }
}
