//! COPY and ADD.

use super::Parts;
use crate::error::{Located, Problem};
use crate::flags::{Flags, Takes};
use crate::heredoc::Heredoc;
use crate::instruction::{AddOptions, Copy, CopySource, Word};
use crate::words::split_blanks;

pub(super) fn copy(parts: &Parts<'_>, heredocs: &[Heredoc]) -> Result<Copy, Located> {
    let flags = parts.flags(&[
        ("from", Takes::Value),
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Boolean),
        ("parents", Takes::Boolean),
        ("exclude", Takes::Values),
    ])?;
    let from = flags.filled("from");
    Ok(Copy { from, parents: flags.boolean("parents").unwrap_or(false), ..shared(parts, &flags, heredocs)? })
}

pub(super) fn add(parts: &Parts<'_>, heredocs: &[Heredoc]) -> Result<(Copy, AddOptions), Located> {
    let flags = parts.flags(&[
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Boolean),
        ("keep-git-dir", Takes::Boolean),
        ("checksum", Takes::Value),
        ("unpack", Takes::Boolean),
        ("exclude", Takes::Values),
    ])?;
    let options = AddOptions {
        checksum: flags.filled("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
    };
    Ok((shared(parts, &flags, heredocs)?, options))
}

fn shared(parts: &Parts<'_>, flags: &Flags, heredocs: &[Heredoc]) -> Result<Copy, Located> {
    let json = parts.json()?;
    let is_json = json.is_some();
    let mut words: Vec<Word> = match json {
        Some(words) => words.into_iter().map(|text| Word { text, span: parts.rest_span() }).collect(),
        None => split_blanks(parts.rest, parts.rest_at).into_iter().map(|piece| parts.word(piece)).collect(),
    };
    let destination = words.pop().filter(|_| !words.is_empty());
    let Some(destination) = destination else {
        return Err(parts.needs("a source and a destination"));
    };
    if Heredoc::parse_word(&destination.text).is_some() {
        return Err(parts.malformed("a heredoc cannot be the destination", None));
    }
    let sources = words
        .into_iter()
        .map(|word| match Heredoc::parse_word(&word.text).filter(|_| !is_json) {
            // Compat: BuildKit, of two with one name the last counts for both.
            Some(start) => match heredocs.iter().rfind(|heredoc| heredoc.name == start.name) {
                Some(heredoc) => Ok(CopySource::Heredoc(heredoc.clone())),
                None => Err(Problem::UnterminatedHeredoc { name: start.name }.at(word.span)),
            },
            None => Ok(CopySource::Path(word)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Copy {
        sources,
        destination,
        chown: flags.filled("chown"),
        chmod: flags.filled("chmod"),
        link: flags.boolean("link").unwrap_or(false),
        exclude: flags.values("exclude").into_iter().map(|word| word.text).collect(),
        ..Copy::default()
    })
}
