//! Patterns of names. Compat: docker, Go's `path.Match`: `*` and `?` stand for no `/`.

use std::iter::Peekable;
use std::str::Chars;

use crate::failure::Failure;

/// A pattern that is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl NamePattern {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        read(&mut text.chars().peekable()).map(Self).ok_or_else(|| {
            Failure::new(
                format!("syntax error in pattern `{text}`"),
                "write it like `web*`, `team/*` or `web:[0-9]*`; a bracket that is meant as one is `\\[`",
            )
        })
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        let Self(parts) = self;
        // Which beginnings of the pattern fit what was read.
        let mut alive = vec![false; parts.len() + 1];
        alive[0] = true;
        skip_stars(parts, &mut alive);
        for c in text.chars() {
            let mut next = vec![false; parts.len() + 1];
            for (at, part) in parts.iter().enumerate().filter(|(at, _)| alive[*at]) {
                match part {
                    Part::Many => next[at] |= c != '/',
                    Part::One => next[at + 1] |= c != '/',
                    Part::Literal(wanted) => next[at + 1] |= *wanted == c,
                    Part::Class { negated, ranges } => {
                        let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[at + 1] |= is_in != *negated;
                    }
                }
            }
            alive = next;
            skip_stars(parts, &mut alive);
        }
        alive[parts.len()]
    }
}

/// A star may stand for nothing.
fn skip_stars(parts: &[Part], alive: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        alive[at + 1] |= alive[at] && *part == Part::Many;
    }
}

fn read(chars: &mut Peekable<Chars<'_>>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Many,
            '?' => Part::One,
            '\\' => Part::Literal(chars.next()?),
            '[' => class(chars)?,
            literal => Part::Literal(literal),
        });
    }
    Some(parts)
}

fn class(chars: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = member(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { member(chars)? } else { low };
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges })
}

fn member(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        plain => Some(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, want) in [
            ("web", "web", true),
            ("web", "webs", false),
            ("w*", "web", true),
            ("*", "team/web", false),
            ("team/*", "team/web", true),
            ("*/w?b", "team/web", true),
            ("web:*", "web:1.0", true),
            ("we?", "we", false),
            ("web:[0-9]*", "web:1.0", true),
            ("web:[^0-9]*", "web:1.0", false),
            ("w[ae-]b", "web", false),
            ("w[a\\-e]b", "w-b", true),
            ("w\\*b", "web", false),
            ("**b*", "web", true),
        ] {
            let fits = NamePattern::parse(pattern).map(|pattern| pattern.fits(text));
            assert_eq!(fits.unwrap_or(false), want, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[", "[]", "[]a]", "[a", "[-a]", "[a-]", "[^]", "a\\"] {
            let failure = NamePattern::parse(pattern).unwrap_err();
            assert!(failure.text().contains("syntax error in pattern"), "{pattern}: {}", failure.text());
        }
    }
}
