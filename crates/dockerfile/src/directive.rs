//! `# syntax=`, `# escape=` and `# check=` at the top of the file.

use crate::error::{Located, Problem};
use crate::source::Span;

/// The directives of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend that the author wants. It is not fetched.
    pub syntax: Option<String>,
    /// Where it is said.
    pub syntax_span: Option<Span>,
    /// `# check=`: options of the lint.
    pub check: Option<String>,
    /// `# escape=`: the escape and continuation character.
    pub escape: char,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, syntax_span: None, check: None, escape: '\\' }
    }
}

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(crate) struct DirectiveReader {
    done: bool,
    escape_seen: bool,
}

impl DirectiveReader {
    /// Reads one line; returns whether it is a directive.
    pub(crate) fn read(&mut self, line: &str, span: Span, into: &mut Directives) -> Result<bool, Located> {
        if self.done {
            return Ok(false);
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(split) else {
            self.done = true;
            return Ok(false);
        };
        let twice = |name| Problem::BadDirective { name, problem: "is given twice" }.at(span).of_lines();
        match name.to_ascii_lowercase().as_str() {
            "syntax" if into.syntax.is_some() => return Err(twice("syntax")),
            "check" if into.check.is_some() => return Err(twice("check")),
            "escape" if self.escape_seen => return Err(twice("escape")),
            "syntax" => {
                (into.syntax, into.syntax_span) = (Some(value.to_owned()), Some(span));
            }
            "check" => into.check = Some(value.to_owned()),
            "escape" => {
                self.escape_seen = true;
                into.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let problem = "takes only \\ or `";
                        return Err(Problem::BadDirective { name: "escape", problem }.at(span).of_lines());
                    }
                };
            }
            _ => {
                self.done = true;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Directives {
    /// Adds what stands where only a frontend is looked for. Compat: BuildKit, that is behind a line `#!…`, behind `//`, and in a JSON
    /// document; the rules may stand behind a line `#!…`, too.
    pub(crate) fn with_those_elsewhere(self, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text =
            if text.starts_with("#!") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text };
        let syntax = self.syntax.or_else(|| leading(text, "#", "syntax"));
        let syntax = syntax.or_else(|| leading(text, "//", "syntax"));
        let syntax = syntax.or_else(|| {
            let document: serde_json::Value =
                text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
            Some(document.get("syntax")?.as_str()?.to_owned())
        });
        Self { check: self.check.or_else(|| leading(text, "#", "check")), syntax, ..self }
    }
}

/// Returns the value of a directive among those at the beginning of a text, each behind a mark.
fn leading(text: &str, mark: &str, wanted: &str) -> Option<String> {
    let directives = text.lines().map_while(|line| split(line.strip_prefix(mark)?));
    let named = directives.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut known = named.take_while(|(name, _)| matches!(name.as_str(), "syntax" | "check" | "escape"));
    known.find(|(name, _)| name == wanted).map(|(_, value)| value.to_owned())
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (named && !value.is_empty()).then_some((name, value))
}
