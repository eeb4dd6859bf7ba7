//! Docker's longer spellings of verbs: `image ls` is `images`.

use std::ffi::OsString;

use crate::units;

/// Groups of docker's, and its words in them where ours differ.
const GROUPS: &[(&str, &[&str])] = &[
    ("image", &["build", "history", "import", "load", "pull", "push", "save", "tag"]),
    ("container", &["exec", "kill", "logs", "rm", "run", "stop"]),
    ("builder", &["build"]),
    ("buildx", &["build", "b"]),
];
const OTHER_WORDS: &[(&str, &str, &str)] = &[
    ("image", "ls", "images"),
    ("image", "list", "images"),
    ("image", "rm", "rmi"),
    ("image", "remove", "rmi"),
    ("image", "inspect", "inspect --type=image"),
    ("container", "inspect", "inspect --type=container"),
    ("container", "ls", "ps"),
    ("container", "list", "ps"),
    ("container", "ps", "ps"),
    ("container", "remove", "rm"),
    ("buildx", "b", "build"),
    ("image", "prune", "system prune --only=images"),
    ("container", "prune", "system prune --only=containers"),
    ("buildx", "prune", "builder prune"),
    ("buildx", "du", "builder du"),
];
/// Options before the verb that have a value.
const WITH_VALUE: [&str; 2] = ["--root", "--state"];
/// Flags of `build` that need no value, and what a value that they have as a word of its own begins with.
const ATTESTED: [&str; 2] = ["--provenance", "--sbom"];
const ATTEST_KEYS: [&str; 7] =
    ["mode", "version", "builder-id", "disabled", "reproducible", "inline-only", "generator"];

/// Returns whether a word is one of a group's.
pub(crate) fn is_of_group(group: &str, word: &str) -> bool {
    words_of(group).any(|(known, _)| known == word)
}

/// Returns docker's words in a group, and what they are here.
pub(crate) fn words_of(group: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let other =
        OTHER_WORDS.iter().filter(move |(other, ..)| *other == group).map(|(_, word, to)| (*word, *to));
    let same = GROUPS.iter().filter(move |(known, _)| *known == group).flat_map(|(_, words)| words.iter());
    same.map(|word| (*word, *word)).chain(other)
}

/// Returns where the verb is.
pub(crate) fn place_of_verb(arguments: &[OsString]) -> usize {
    let text = |index: usize| arguments.get(index).and_then(|word| word.to_str());
    let mut verb = 1;
    while let Some(word) = text(verb).filter(|word| word.starts_with('-')) {
        verb += if WITH_VALUE.contains(&word) { 2 } else { 1 };
    }
    verb
}

/// Returns the arguments in our spelling.
pub(crate) fn ours(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let text = |index: usize| arguments.get(index).and_then(|word| word.to_str());
    let verb = place_of_verb(&arguments);
    if text(verb) == Some("info") {
        arguments.insert(verb, OsString::from("system"));
        return arguments;
    }
    let (Some(group), Some(word)) = (text(verb), text(verb + 1)) else { return arguments };
    let other = OTHER_WORDS.iter().find(|(other, from, _)| *other == group && *from == word);
    let same = GROUPS.iter().filter(|(known, _)| *known == group).flat_map(|(_, words)| *words);
    let Some(ours) = other.map(|(_, _, to)| *to).or_else(|| same.copied().find(|same| *same == word)) else {
        return arguments;
    };
    arguments.splice(verb..=verb + 1, ours.split(' ').map(OsString::from));
    arguments
}

/// Returns the arguments with values behind a `=` where Docker takes them as words: `--provenance false`.
pub(crate) fn with_values(arguments: Vec<OsString>) -> Vec<OsString> {
    let verb = place_of_verb(&arguments);
    if arguments.get(verb).is_none_or(|verb| verb != "build") {
        return arguments;
    }
    let is_value = |word: &str| {
        units::truth(word).is_some()
            || word.split_once('=').is_some_and(|(key, _)| ATTEST_KEYS.contains(&key))
    };
    let mut joined: Vec<OsString> = Vec::with_capacity(arguments.len());
    for word in arguments {
        let flag = joined.last_mut().filter(|last| ATTESTED.iter().any(|flag| *last == flag));
        match (flag, word.to_str()) {
            (Some(flag), Some(text)) if is_value(text) => {
                flag.push("=");
                flag.push(text);
            }
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_attestations_may_be_words() {
        for (line, want) in [
            ("shipway build --provenance false .", "shipway build --provenance=false ."),
            (
                "shipway build --sbom true --provenance mode=min .",
                "shipway build --sbom=true --provenance=mode=min .",
            ),
            ("shipway build --provenance .", "shipway build --provenance ."),
            ("shipway build --sbom --provenance a=b", "shipway build --sbom --provenance a=b"),
            ("shipway build --provenance=true false", "shipway build --provenance=true false"),
            ("shipway run box --provenance false", "shipway run box --provenance false"),
        ] {
            let words = with_values(line.split(' ').map(OsString::from).collect());
            assert_eq!(words, want.split(' ').map(OsString::from).collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn groups_are_left_away_where_the_verb_is_there() {
        for (line, want) in [
            ("shipway image ls -q", "shipway images -q"),
            ("shipway --root /x image rm y", "shipway --root /x rmi y"),
            ("shipway --root=/x container ls", "shipway --root=/x ps"),
            ("shipway buildx build .", "shipway build ."),
            ("shipway image prune -f", "shipway system prune --only=images -f"),
            ("shipway run image ls", "shipway run image ls"),
            ("shipway image history x", "shipway history x"),
            ("shipway image inspect x", "shipway inspect --type=image x"),
            ("shipway buildx du --verbose", "shipway builder du --verbose"),
            ("shipway builder build .", "shipway build ."),
            ("shipway builder prune -a", "shipway builder prune -a"),
            ("shipway info", "shipway system info"),
            ("shipway image", "shipway image"),
            ("shipway", "shipway"),
        ] {
            let words = ours(line.split(' ').map(OsString::from).collect());
            assert_eq!(words, want.split(' ').map(OsString::from).collect::<Vec<_>>(), "{line}");
        }
    }
}
