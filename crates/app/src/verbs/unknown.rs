//! Words that are no verb, or not yet.

use crate::failure::Failure;

/// Verbs of the design that are not there yet, and what to use meanwhile.
const LATER: &[(&str, &str)] = &[
    ("dev", "use `shipway run`"),
    ("ship", "images stay on this machine"),
    ("scan", "there is no scanner yet"),
    ("registry", "there is no registry yet"),
    ("engine", "use the verbs of `shipway`"),
    ("ui", "use the verbs of `shipway`"),
    ("system", "`shipway images` and `shipway ps -a` list what there is"),
    ("kubectl", "stock kubectl works: `export KUBECONFIG=$(shipway cluster kubeconfig --path)`"),
];

/// Refuses a word: by name if it is part of the design, else as a typing error.
pub(crate) fn refuse(words: &[String]) -> Failure {
    let word = words.first().map_or("", String::as_str);
    if let Some((_, instead)) = LATER.iter().find(|(verb, _)| *verb == word) {
        return Failure::new(format!("`shipway {word}` is not there yet"), instead);
    }
    Failure::new(format!("`{word}` is not a command of shipway"), "see `shipway --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_is_told_from_what_is_mistyped() {
        assert!(refuse(&["scan".to_owned()]).text().contains("not there yet"));
        assert!(refuse(&["psuh".to_owned()]).text().contains("not a command"));
    }
}
