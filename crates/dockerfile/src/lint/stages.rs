//! Rules about how things are written, which need to know nothing else.

use std::collections::HashSet;

use super::{Found, Rule};
use crate::instruction::InstructionKind;
use crate::source::Span;
use crate::stages::Stage;

/// Names that mean something in `--from` and FROM.
const RESERVED: [&str; 2] = ["scratch", "context"];

pub(super) fn look(found: &mut Found<'_>) {
    let file = found.file;
    for whole in &file.empty_continuations {
        // Compat: BuildKit, the last line of the instruction.
        let text = &file.source.text()[..whole.end];
        let start = text.rfind('\n').map_or(0, |newline| newline + 1);
        let span = &Span::new(start.max(whole.start), whole.end);
        found.add(Rule::NoEmptyContinuation, *span, "an empty line stands inside of an instruction");
    }
    global_args(found);
    for stage in &file.stages {
        name_of(found, stage);
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Maintainer(_) => maintainer(found, instruction.span),
                InstructionKind::Arg(args) => {
                    let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
                    described(found, instruction.span, &instruction.comments, &names);
                }
                _ => {}
            }
        }
    }
    if let Some(unread) = &file.unread {
        let words: Vec<&str> =
            unread.text.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        match words.as_slice() {
            [from, _, keyword, name] if from.eq_ignore_ascii_case("from") => {
                casing_of_name(found, unread.span, (from, keyword, name));
            }
            [word, ..] if word.eq_ignore_ascii_case("maintainer") => maintainer(found, unread.span),
            _ => {}
        }
    }
    let mut names: HashSet<&str> = HashSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.name else { continue };
        if RESERVED.contains(&name.as_str()) {
            let message = format!("`{name}` means something else where stages are named");
            found.add(Rule::ReservedStageName, stage.span, message);
        }
        if !names.insert(name) {
            found.add(Rule::DuplicateStageName, stage.span, format!("two stages are called `{name}`"));
        }
    }
    casing(found);
}

/// Looks at the ARGs before the first FROM, those of one instruction together.
fn global_args(found: &mut Found<'_>) {
    for args in found.file.global_args.chunk_by(|one, other| one.span == other.span) {
        let names: Vec<&str> = args.iter().map(|arg| arg.declaration.name.as_str()).collect();
        described(found, args[0].span, &args[0].comments, &names);
    }
}

/// Most of the keywords are in one case; the others should be too.
fn casing(found: &mut Found<'_>) {
    let file = found.file;
    // Compat: BuildKit, an ARG before the first FROM does not count.
    let spans = file.stages.iter().flat_map(|stage| {
        std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
    });
    let words: Vec<(Span, String)> = spans.map(|span| (span, found.keyword(span))).collect();
    let is_lower = |word: &str| word.chars().all(|c| !c.is_ascii_uppercase());
    let is_upper = |word: &str| word.chars().all(|c| !c.is_ascii_lowercase());
    let lower = words.iter().filter(|(_, word)| is_lower(word)).count();
    let upper = words.iter().filter(|(_, word)| is_upper(word)).count();
    for (span, word) in words {
        let (fits, wanted) =
            if lower > upper { (is_lower(&word), "lower") } else { (is_upper(&word), "upper") };
        if !fits {
            let message = format!("`{word}` is not in {wanted} case, as most instructions here are");
            found.add(Rule::ConsistentInstructionCasing, span, message);
        }
    }
}

fn name_of(found: &mut Found<'_>, stage: &Stage) {
    let words: Vec<&str> = stage.text.split_whitespace().collect();
    let ([from, .., keyword, name], Some(lower)) = (words.as_slice(), &stage.name) else { return };
    casing_of_name(found, stage.span, (from, keyword, name));
    described(found, stage.span, &stage.comments, &[lower]);
}

fn casing_of_name(found: &mut Found<'_>, span: Span, (from, keyword, name): (&str, &str, &str)) {
    let is_lower = |word: &str| !word.chars().any(char::is_uppercase);
    let is_upper = |word: &str| !word.chars().any(char::is_lowercase);
    if !is_lower(name) {
        let message = format!("the name of the stage `{name}` has capital letters");
        found.add(Rule::StageNameCasing, span, message);
    }
    // One that is written in both cases is told of by another rule.
    if is_lower(from) && !is_lower(keyword) || is_upper(from) && !is_upper(keyword) {
        let message = format!("`{from}` and `{keyword}` are of different cases");
        found.add(Rule::FromAsCasing, span, message);
    }
}

fn maintainer(found: &mut Found<'_>, span: Span) {
    let message = "MAINTAINER is out of use: write LABEL org.opencontainers.image.authors=…";
    found.add(Rule::MaintainerDeprecated, span, message);
}

/// Spec: docker's reference, `docker build --call=outline`: a comment above describes what it names first.
fn described(found: &mut Found<'_>, span: Span, comments: &[String], names: &[&str]) {
    let Some(comment) = comments.last() else { return };
    if !names.contains(&comment.split(' ').next().unwrap_or_default()) {
        let name = if let [name] = names { name } else { "NAME" };
        let message =
            format!("a comment directly above should say `{name} …`, or have an empty comment below it");
        found.add(Rule::InvalidDefinitionDescription, span, message);
    }
}
