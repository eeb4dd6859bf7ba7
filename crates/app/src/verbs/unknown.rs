//! Words that are no verb, or not yet.

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::{Failure, MISUSED};
use crate::spelling;

/// Verbs of docker's and of the design that are not there yet, and what to use meanwhile.
const LATER: &[(&str, &str)] = &[
    ("attach", "`shipway logs` shows what a container prints"),
    ("buildx", "`shipway build` builds"),
    ("commit", "write the change into a Dockerfile and run `shipway build`"),
    ("compose", "`shipway up` runs the application of one directory"),
    ("container", "`shipway run`, `ps`, `logs`, `exec`, `stop` and `rm` are there"),
    ("context", "everything is on this machine"),
    ("cp", "`shipway exec NAME cat FILE` shows a file"),
    ("create", "use `shipway run`"),
    ("dev", "use `shipway up`: it builds and rolls out again each time"),
    ("diff", "`shipway exec` looks into a running container"),
    ("engine", "use the verbs of `shipway`"),
    ("events", "`shipway ps -a` and `kubectl get events` show what happened"),
    ("export", "`shipway exec NAME tar -c /` writes a running container's files"),
    ("image", "`shipway images`, `rmi`, `tag`, `inspect`, `import` and `build` are there"),
    ("kubectl", "stock kubectl works: `export KUBECONFIG=$(shipway cluster kubeconfig --path)`"),
    ("manifest", "`shipway inspect` shows an image"),
    ("network", "containers share one network; see `shipway run --help`"),
    ("pause", "`shipway stop` ends a container"),
    ("port", "`shipway ps` shows containers"),
    ("prune", "`shipway system prune` removes what nobody uses"),
    ("rename", "make the container again with --name"),
    ("restart", "use `shipway stop` and `shipway run`"),
    ("scan", "there is no scanner yet"),
    ("search", "look at the registry's own pages"),
    ("ship", "`shipway push` brings an image to a registry"),
    ("start", "make the container again with `shipway run`"),
    ("stats", "`shipway exec NAME top -bn1` shows processes"),
    ("swarm", "`shipway cluster start` starts a Kubernetes cluster"),
    ("top", "use `shipway exec NAME ps`"),
    ("ui", "use the verbs of `shipway`"),
    ("unpause", "`shipway stop` ends a container"),
    ("update", "make the container again with `shipway run`"),
    ("volume", "what a container writes goes with it"),
    ("wait", "`shipway run` without -d waits"),
];

/// Refuses a word: by name if it is part of the design, else as a typing error.
pub(crate) fn refuse(words: &[String]) -> Failure {
    let word = words.first().map_or("", String::as_str);
    if let ("image" | "container" | "buildx", Some(inner)) = (word, words.get(1)) {
        return refuse_in_group(word, inner);
    }
    if let Some((_, instead)) = LATER.iter().find(|(verb, _)| *verb == word) {
        return Failure::new(format!("`shipway {word}` is not there yet"), instead);
    }
    let command = Cli::command();
    let verbs =
        command.get_subcommands().map(clap::Command::get_name).chain(LATER.iter().map(|(verb, _)| *verb));
    let hint = match shipway_dockerfile::suggest(word, verbs) {
        Some(near) => format!("did you mean `shipway {near}`?"),
        None => "see `shipway --help`".to_owned(),
    };
    Failure::new(format!("`{word}` is not a command of shipway"), hint)
}

/// Words of docker's group `buildx`, most of which are about other machines.
const BUILDX: [&str; 11] = [
    "bake",
    "create",
    "debug",
    "dial-stdio",
    "history",
    "imagetools",
    "inspect",
    "install",
    "ls",
    "use",
    "version",
];

fn refuse_in_group(group: &str, word: &str) -> Failure {
    let later = LATER.iter().find(|(verb, _)| *verb == word).map(|(_, instead)| *instead);
    let later = match group {
        "container" => later,
        "buildx" if BUILDX.contains(&word) => {
            Some("`shipway build` builds, `shipway builder` looks at the cache")
        }
        _ => None,
    };
    if let Some(instead) = later {
        return Failure::new(format!("`shipway {group} {word}` is not there yet"), instead);
    }
    let known: Vec<&str> = spelling::words_of(group).map(|(known, _)| known).collect();
    let hint = match shipway_dockerfile::suggest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `shipway {group} {near}`?"),
        None => format!("`shipway {group}` lists what there is"),
    };
    let failure = Failure::new(format!("`{word}` is not a command of `shipway {group}`"), hint);
    if word.starts_with('-') { failure.with_code(MISUSED) } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_is_told_from_what_is_mistyped() {
        for (words, want) in [
            ("ship x", "`shipway ship` is not there yet\nhint: "),
            ("container diff", "`shipway container diff` is not there yet\nhint: "),
            (
                "image hsitory",
                "`hsitory` is not a command of `shipway image`\nhint: did you mean `shipway image history`?",
            ),
            ("image frobnicate", "hint: `shipway image` lists what there is"),
            ("buildx bake", "`shipway buildx bake` is not there yet"),
            ("network ls", "`shipway network` is not there yet\nhint: "),
            ("biuld .", "`biuld` is not a command of shipway\nhint: did you mean `shipway build`?"),
            ("psuh", "hint: did you mean `shipway push`?"),
            ("frobnicate", "hint: see `shipway --help`"),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let failure = refuse(&words);
            assert!(failure.text().contains(want), "{words:?}: {}", failure.text());
        }
    }

    #[test]
    fn no_verb_is_both_there_and_missing() {
        let command = Cli::command();
        for verb in command.get_subcommands() {
            assert!(
                !LATER.iter().any(|(later, _)| *later == verb.get_name()),
                "{} is there",
                verb.get_name()
            );
        }
    }
}
