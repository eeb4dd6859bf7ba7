//! ENV, LABEL, ARG.

use super::Parts;
use crate::error::{Located, Problem};
use crate::instruction::{ArgDeclaration, KeyValue};
use crate::words::{split_first, split_quoted};

pub(super) fn pairs(parts: &Parts<'_>) -> Result<Vec<KeyValue>, Located> {
    parts.flags(&[])?;
    let words = split_quoted(parts.rest, parts.rest_at, parts.escape);
    let Some(first) = words.first() else { return Err(parts.needs("a name and a value")) };
    if !first.text.contains('=') {
        let (key, after) = split_first(parts.rest);
        if after == parts.rest.len() {
            return Err(parts.needs("a name and a value").of_lines());
        }
        return Ok(vec![KeyValue {
            key: key.to_owned(),
            value: parts.rest[after..].to_owned(),
            legacy: true,
        }]);
    }
    words
        .into_iter()
        .map(|word| {
            let span = parts.line.locate(word.start, word.end);
            let bad = |problem: String| {
                let help = Some("write name=value, and quote a value that has spaces: name=\"a b\"");
                Problem::Malformed { instruction: parts.keyword, problem, help }.at(span)
            };
            match word.text.split_once('=') {
                Some(("", _)) => Err(bad("a name cannot be empty".to_owned())),
                Some((key, value)) => {
                    Ok(KeyValue { key: key.to_owned(), value: value.to_owned(), legacy: false })
                }
                None => Err(bad(format!("no `=` in `{}`", word.text)).of_lines()),
            }
        })
        .collect()
}

pub(super) fn arguments(parts: &Parts<'_>) -> Result<Vec<ArgDeclaration>, Located> {
    parts.flags(&[])?;
    let words = split_quoted(parts.rest, parts.rest_at, parts.escape);
    if words.is_empty() {
        return Err(parts.needs("a name"));
    }
    words
        .into_iter()
        .map(|word| match word.text.split_once('=') {
            Some(("", _)) => {
                let problem = "a name cannot be empty".to_owned();
                let span = parts.line.locate(word.start, word.end);
                Err(Problem::Malformed { instruction: parts.keyword, problem, help: None }.at(span))
            }
            Some((name, default)) => {
                Ok(ArgDeclaration { name: name.to_owned(), default: Some(default.to_owned()) })
            }
            None => Ok(ArgDeclaration { name: word.text, default: None }),
        })
        .collect()
}
