//! `--flag=value` words against what an instruction takes.

use crate::error::{Located, Problem};
use crate::instruction::Word;
use crate::lines::Logical;
use crate::source::Span;
use crate::suggest::suggest;
use crate::words::Piece;

/// How often and with what a flag may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `true`, `false` or nothing.
    Boolean,
    /// One value.
    Value,
    /// A value, any number of times.
    Values,
}

/// The flags of one instruction.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    given: Vec<(&'static str, Word)>,
}

impl Flags {
    /// Checks the words against what is allowed.
    pub(crate) fn parse(
        instruction: &'static str,
        pieces: &[Piece],
        line: &Logical,
        allowed: &[(&'static str, Takes)],
    ) -> Result<Self, Located> {
        let mut flags = Self::default();
        for piece in pieces {
            let span = line.locate(piece.start, piece.end);
            let body = piece.text.strip_prefix("--").unwrap_or(&piece.text);
            let (name, value) =
                body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
            let Some((known, takes)) = allowed.iter().copied().find(|(known, _)| *known == name) else {
                let suggestion = suggest(name, allowed.iter().map(|(name, _)| *name));
                let suggestion = allowed.iter().map(|(name, _)| *name).find(|name| Some(*name) == suggestion);
                return Err(Problem::UnknownFlag { instruction, flag: name.to_owned(), suggestion }.at(span));
            };
            let bad = |problem: String| Problem::BadFlag { flag: known.to_owned(), problem }.at(span);
            if takes != Takes::Values && flags.given.iter().any(|(name, _)| *name == known) {
                return Err(bad("is given twice".to_owned()));
            }
            let text = match (takes, value) {
                (Takes::Boolean, None) => "true".to_owned(),
                (_, None) | (Takes::Boolean, Some("")) => return Err(bad("needs a value".to_owned())),
                (Takes::Boolean, Some(value)) => match value.to_ascii_lowercase().as_str() {
                    word @ ("true" | "false") => word.to_owned(),
                    _ => return Err(bad(format!("is true or false, not `{value}`"))),
                },
                (_, Some(value)) => value.to_owned(),
            };
            flags.given.push((known, Word { text, span }));
        }
        Ok(flags)
    }

    pub(crate) fn value(&self, name: &str) -> Option<Word> {
        self.values(name).pop()
    }

    /// Like [`Self::value`], but an empty value counts as not given.
    pub(crate) fn filled(&self, name: &str) -> Option<Word> {
        self.value(name).filter(|word| !word.text.is_empty())
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Word> {
        self.given.iter().filter(|(given, _)| *given == name).map(|(_, word)| word.clone()).collect()
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name).map(|word| word.text == "true")
    }

    pub(crate) fn span(&self, name: &str) -> Span {
        self.value(name).map(|word| word.span).unwrap_or_default()
    }
}
