//! The shell patterns of `${name#pattern}` and `${name/pattern/text}`: `*`, `?` and escapes.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Many,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct ShellPattern(Vec<Token>);

impl ShellPattern {
    /// Compiles a pattern; the error is the character that must not be escaped.
    pub(crate) fn new(text: &str) -> Result<Self, char> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                // `}` and `/` are escaped for the sake of `${}`; the escape is not part of the pattern.
                '\\' => match chars.next() {
                    Some(next @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(next),
                    other => return Err(other.unwrap_or('\\')),
                },
                literal => Token::Literal(literal),
            });
        }
        tokens.dedup_by(|a, b| (*a, *b) == (Token::Many, Token::Many));
        Ok(Self(tokens))
    }

    /// Returns the pattern that matches reversed text.
    pub(crate) fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// Returns how many characters of the start of `text` match: the most, or the fewest.
    pub(crate) fn match_prefix(&self, text: &[char], longest: bool) -> Option<usize> {
        // The states of the automaton that are alive: positions in the pattern.
        let mut alive = vec![false; self.0.len() + 1];
        alive[0] = true;
        self.skip_stars(&mut alive);
        let mut found = None;
        for read in 0..=text.len() {
            if alive[self.0.len()] {
                found = Some(read);
                if !longest {
                    break;
                }
            }
            let Some(c) = text.get(read) else { break };
            let mut next = vec![false; self.0.len() + 1];
            for (state, token) in self.0.iter().enumerate() {
                match token {
                    _ if !alive[state] => {}
                    Token::Literal(literal) => next[state + 1] |= literal == c,
                    Token::One => next[state + 1] |= *c != '\n',
                    Token::Many => next[state] |= *c != '\n',
                }
            }
            self.skip_stars(&mut next);
            if !next.contains(&true) {
                break;
            }
            alive = next;
        }
        found
    }

    fn skip_stars(&self, alive: &mut [bool]) {
        for (state, token) in self.0.iter().enumerate() {
            if alive[state] && *token == Token::Many {
                alive[state + 1] = true;
            }
        }
    }

    /// Replaces the first match, or all of them.
    pub(crate) fn replace(&self, text: &str, with: &str, all: bool) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            match self.match_prefix(&chars[at..], true) {
                Some(length) if length > 0 || !after_match => {
                    out.push_str(with);
                    if !all {
                        out.extend(&chars[at + length..]);
                        return out;
                    }
                    if length == 0 {
                        out.extend(chars.get(at));
                        at += 1;
                    } else {
                        at += length;
                        after_match = true;
                    }
                }
                _ => {
                    out.extend(chars.get(at));
                    at += 1;
                    after_match = false;
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_and_longest_prefixes() {
        for (name, pattern, text, shortest, longest) in [
            ("literal", "ab", "abc", Some(2), Some(2)),
            ("star", "*b", "abab", Some(2), Some(4)),
            ("one", "?", "xy", Some(1), Some(1)),
            ("escaped star", r"\*", "*a", Some(1), Some(1)),
            ("no match", "b", "abc", None, None),
            ("empty", "", "abc", Some(0), Some(0)),
        ] {
            let pattern = ShellPattern::new(pattern).unwrap();
            let text: Vec<char> = text.chars().collect();
            assert_eq!(pattern.match_prefix(&text, false), shortest, "case {name}, shortest");
            assert_eq!(pattern.match_prefix(&text, true), longest, "case {name}, longest");
        }
        assert_eq!(ShellPattern::new(r"a\x").unwrap_err(), 'x');
    }
}
