//! Rules about instructions of a stage that is wanted, whatever their variables stand for.

use std::collections::HashMap;

use super::{Found, Rule};
use crate::instruction::{CommandLine, InstructionKind, KeyValue};
use crate::source::Span;

/// Words in the names of variables that hold secrets, and those that say that it holds none. Compat: BuildKit's newest frontend.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// The last of those instructions of which a stage has one.
pub(super) type Last = HashMap<&'static str, Span>;

/// Looks at an instruction after its words were expanded.
pub(super) fn look(
    found: &mut Found<'_>,
    (kind, span): (&InstructionKind, Span),
    (last, has_shell): (&mut Last, bool),
) {
    if matches!(kind.keyword(), "CMD" | "ENTRYPOINT" | "HEALTHCHECK")
        && let Some(before) = last.insert(kind.keyword(), span)
    {
        let message = format!("only the last {} of a stage counts", kind.keyword());
        found.add(Rule::MultipleInstructionsDisallowed, before, message);
    }
    match kind {
        InstructionKind::Cmd(CommandLine::Shell(_)) | InstructionKind::Entrypoint(CommandLine::Shell(_))
            if !has_shell =>
        {
            let message = format!(
                "{} is given to a shell, which keeps signals from the program: write it as a JSON array",
                kind.keyword()
            );
            found.add(Rule::JSONArgsRecommended, span, message);
        }
        InstructionKind::Env(pairs) => {
            legacy(found, span, "ENV", pairs);
            pairs.iter().for_each(|pair| secrets(found, span, "ENV", &pair.key));
        }
        InstructionKind::Label(pairs) => legacy(found, span, "LABEL", pairs),
        _ => {}
    }
}

fn legacy(found: &mut Found<'_>, span: Span, keyword: &str, pairs: &[KeyValue]) {
    if let Some(pair) = pairs.first().filter(|pair| pair.legacy) {
        let message = format!("write `{keyword} {}=…` with an equals sign", pair.key);
        found.add(Rule::LegacyKeyValueFormat, span, message);
    }
}

/// Returns whether the protocol of a port of EXPOSE exists.
pub(super) fn has_protocol(word: &str) -> bool {
    let protocol =
        word.rsplit(':').next().and_then(|port| port.split_once('/')).map_or("", |(_, known)| known);
    matches!(protocol.to_lowercase().as_str(), "" | "tcp" | "udp" | "sctp")
}

/// Looks at a port of EXPOSE.
pub(super) fn port(found: &mut Found<'_>, span: Span, word: &str) {
    let (place, port) = word.rsplit_once(':').unwrap_or(("", word));
    let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
    if protocol.chars().any(char::is_uppercase) {
        found.add(Rule::ExposeProtoCasing, span, format!("the protocol `{protocol}` has capital letters"));
    }
    if place.chars().any(|c| c != ':') {
        let message = format!("`{word}` names more than a port of the container");
        found.add(Rule::ExposeInvalidFormat, span, message);
    }
}

/// Looks at the name of a variable.
pub(super) fn secrets(found: &mut Found<'_>, span: Span, instruction: &str, name: &str) {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split('_').collect();
    let has_one_of = |known: &[&str]| words.iter().any(|word| known.contains(word));
    if has_one_of(&SECRET) && !has_one_of(&HARMLESS) {
        let message =
            format!("{instruction} `{name}` stays in the image's history: use RUN --mount=type=secret");
        found.add(Rule::SecretsUsedInArgOrEnv, span, message);
    }
}
