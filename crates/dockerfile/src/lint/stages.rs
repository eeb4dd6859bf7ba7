//! Rules about how things are written, which need to know nothing else.

use std::collections::{HashMap, HashSet};

use super::{Found, Rule};
use crate::instruction::{CommandLine, Instruction, InstructionKind};
use crate::source::Span;
use crate::stages::Stage;

/// Names that mean something in `--from` and FROM.
const RESERVED: [&str; 2] = ["scratch", "context"];
/// Words in the names of variables that hold secrets, and those that say that it holds none. Compat: BuildKit.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(super) fn look(found: &mut Found<'_>) {
    let file = found.file;
    for whole in &file.empty_continuations {
        // Compat: BuildKit, the last line of the instruction.
        let text = &file.source.text()[..whole.end];
        let start = text.rfind('\n').map_or(0, |newline| newline + 1);
        let span = &Span::new(start.max(whole.start), whole.end);
        found.add(Rule::NoEmptyContinuation, *span, "an empty line stands inside of an instruction");
    }
    casing(found);
    let mut names: HashSet<&str> = HashSet::new();
    let mut shells: HashMap<String, bool> = HashMap::new();
    for arg in &file.global_args {
        secrets(found, arg.span, "ARG", &arg.declaration.name);
        described(found, arg.span, &arg.comments, &arg.declaration.name);
    }
    for stage in &file.stages {
        name_of(found, stage);
        if let Some(name) = &stage.name
            && !names.insert(name)
        {
            let message = format!("two stages are called `{name}`");
            found.add(Rule::DuplicateStageName, stage.span, message);
        }
        platform(found, stage);
        let of_base = shells.get(&stage.image.text.to_lowercase()).copied().unwrap_or(false);
        let has_shell = instructions(found, stage, of_base);
        shells.extend(stage.name.clone().map(|name| (name, has_shell)));
    }
}

/// Most of the keywords are in one case; the others should be too.
fn casing(found: &mut Found<'_>) {
    let file = found.file;
    let spans: Vec<Span> = file
        .global_args
        .iter()
        .map(|arg| arg.span)
        .chain(file.stages.iter().flat_map(|stage| {
            std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
        }))
        .collect();
    let words: Vec<(Span, String)> = spans.into_iter().map(|span| (span, found.keyword(span))).collect();
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
    let [.., keyword, name] = words.as_slice() else { return };
    if stage.name.is_none() || !keyword.eq_ignore_ascii_case("as") {
        return;
    }
    let from = words[0];
    let lower = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
    // One that is written in both cases is told of by another rule.
    let is_mixed = from.chars().any(char::is_uppercase) && from.chars().any(char::is_lowercase);
    if !is_mixed && lower(from) != lower(keyword) {
        let message = format!("`{from}` and `{keyword}` are of different cases");
        found.add(Rule::FromAsCasing, stage.span, message);
    }
    if name.chars().any(char::is_uppercase) {
        found.add(
            Rule::StageNameCasing,
            stage.span,
            format!("the name of the stage `{name}` has capital letters"),
        );
    }
    if RESERVED.contains(&name.to_lowercase().as_str()) {
        let message = format!("`{name}` means something else where stages are named");
        found.add(Rule::ReservedStageName, stage.span, message);
    }
    described(found, stage.span, &stage.comments, name);
}

fn platform(found: &mut Found<'_>, stage: &Stage) {
    let Some(platform) = &stage.platform else { return };
    match platform.text.trim() {
        "$TARGETPLATFORM" | "${TARGETPLATFORM}" => {
            let message = format!("{} is the platform of stages anyway", platform.text.trim());
            found.add(Rule::RedundantTargetPlatform, stage.span, message);
        }
        text if !text.contains('$') => {
            // A stage that is called after its platform means it.
            let name = stage.name.as_deref().unwrap_or_default();
            if !text.split('/').any(|part| !part.is_empty() && name.contains(part)) {
                let message = format!("--platform is always `{text}`, whatever the build is for");
                found.add(Rule::FromPlatformFlagConstDisallowed, stage.span, message);
            }
        }
        _ => {}
    }
}

/// Returns whether the stage has a shell of its own, which it may have from the one that it starts from.
fn instructions(found: &mut Found<'_>, stage: &Stage, mut has_shell: bool) -> bool {
    let mut last: HashMap<&'static str, Span> = HashMap::new();
    for instruction in &stage.instructions {
        let (kind, span) = (&instruction.kind, instruction.span);
        if matches!(kind.keyword(), "CMD" | "ENTRYPOINT" | "HEALTHCHECK")
            && let Some(before) = last.insert(kind.keyword(), span)
        {
            let message = format!("only the last {} of a stage counts", kind.keyword());
            found.add(Rule::MultipleInstructionsDisallowed, before, message);
        }
        match kind {
            InstructionKind::Shell(_) => has_shell = true,
            InstructionKind::Cmd(CommandLine::Shell(_))
            | InstructionKind::Entrypoint(CommandLine::Shell(_))
                if !has_shell =>
            {
                let message = format!(
                    "{} is given to a shell, which keeps signals from the program: write it as a JSON array",
                    kind.keyword()
                );
                found.add(Rule::JSONArgsRecommended, span, message);
            }
            InstructionKind::Maintainer(_) => {
                let message = "MAINTAINER is out of use: write LABEL org.opencontainers.image.authors=…";
                found.add(Rule::MaintainerDeprecated, span, message);
            }
            InstructionKind::Env(pairs) => {
                if let Some(pair) = pairs.first().filter(|pair| pair.legacy) {
                    let message = format!("write `ENV {}=…` with an equals sign", pair.key);
                    found.add(Rule::LegacyKeyValueFormat, span, message);
                }
                pairs.iter().for_each(|pair| secrets(found, span, "ENV", &pair.key));
            }
            InstructionKind::Label(pairs) if pairs.first().is_some_and(|pair| pair.legacy) => {
                let message = format!("write `LABEL {}=…` with an equals sign", pairs[0].key);
                found.add(Rule::LegacyKeyValueFormat, span, message);
            }
            InstructionKind::Arg(args) => {
                args.iter().for_each(|arg| secrets(found, span, "ARG", &arg.name));
                if let Some(first) = args.first() {
                    described(found, span, &instruction.comments, &first.name);
                }
            }
            _ => ports(found, instruction),
        }
    }
    has_shell
}

fn ports(found: &mut Found<'_>, instruction: &Instruction) {
    let InstructionKind::Expose(words) = &instruction.kind else { return };
    for word in words.iter().filter(|word| !word.text.contains('$')) {
        let (port, protocol) = word.text.split_once('/').unwrap_or((&word.text, ""));
        if port.contains(':') {
            let message = format!("`{}` names more than a port of the container", word.text);
            found.add(Rule::ExposeInvalidFormat, instruction.span, message);
        }
        if protocol.chars().any(char::is_uppercase) {
            let message = format!("the protocol `{protocol}` has capital letters");
            found.add(Rule::ExposeProtoCasing, instruction.span, message);
        }
    }
}

fn secrets(found: &mut Found<'_>, span: Span, instruction: &str, name: &str) {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split('_').collect();
    if words.iter().any(|word| SECRET.contains(word)) && !words.iter().any(|word| HARMLESS.contains(word)) {
        let message =
            format!("{instruction} `{name}` stays in the image's history: use RUN --mount=type=secret");
        found.add(Rule::SecretsUsedInArgOrEnv, span, message);
    }
}

/// Spec: docker's reference, `docker build --call=outline`: a comment above describes what it names first.
fn described(found: &mut Found<'_>, span: Span, comments: &[String], name: &str) {
    let Some(comment) = comments.iter().rfind(|comment| !comment.starts_with("check=")) else { return };
    if comment.split_whitespace().next() != Some(name) {
        let message =
            format!("a comment directly above should say `{name} …`, or have an empty line below it");
        found.add(Rule::InvalidDefinitionDescription, span, message);
    }
}
