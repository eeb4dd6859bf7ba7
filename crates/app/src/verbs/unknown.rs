//! Words that are no verb, or not yet.

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::Failure;

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
    if let Some((_, instead)) = LATER.iter().find(|(verb, _)| *verb == word) {
        let shown = words[1..].iter().take_while(|word| !word.starts_with('-')).take(1);
        let group = matches!(word, "image" | "container" | "buildx");
        let shown: Vec<&str> =
            std::iter::once(word).chain(shown.map(String::as_str).filter(|_| group)).collect();
        return Failure::new(format!("`shipway {}` is not there yet", shown.join(" ")), instead);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_is_told_from_what_is_mistyped() {
        for (words, want) in [
            ("ship x", "`shipway ship` is not there yet\nhint: "),
            ("container diff", "`shipway container diff` is not there yet\nhint: "),
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
