//! Cache keys: a digest over named inputs, which are kept to explain a miss.

use serde::{Deserialize, Serialize};
use shipway_oci::{Digest, Hasher};

/// Changes when keys of older versions must not match any more.
const VERSION: &str = "shipway-build-2";
/// Longer values are kept as digests only: the inputs are for people.
const SHOWN: usize = 4096;

/// Collects the inputs of a step.
#[derive(Debug)]
pub(crate) struct KeyBuilder {
    hasher: Hasher,
    inputs: Vec<Input>,
}

/// One input of a step, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// What it is: `instruction`, `env A`, `file src/a.c`.
    pub(crate) name: String,
    /// The value, or its digest.
    pub(crate) value: String,
}

/// A finished key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) digest: Digest,
    pub(crate) inputs: Vec<Input>,
}

impl KeyBuilder {
    pub(crate) fn new(kind: &str) -> Self {
        let mut key = Self { hasher: Hasher::default(), inputs: Vec::new() };
        key.hash(VERSION, kind);
        key
    }

    /// Lengths go in too, so that no two lists of inputs look alike.
    fn hash(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part.as_bytes());
        }
    }

    /// Adds an input.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.text_as(name, value, value)
    }

    /// Adds an input that is another text to people.
    pub(crate) fn text_as(&mut self, name: &str, value: &str, shown: &str) -> &mut Self {
        self.hash(name, value);
        let shown =
            if shown.len() > SHOWN { Digest::of(shown.as_bytes()).to_string() } else { shown.to_owned() };
        self.note(name.to_owned(), shown)
    }

    /// Adds an input that is hashed but not kept.
    pub(crate) fn hidden(&mut self, name: &str, value: &str) -> &mut Self {
        self.hash(name, value);
        self
    }

    /// Keeps an input for people that a hidden one already covers.
    pub(crate) fn note(&mut self, name: String, value: String) -> &mut Self {
        self.inputs.push(Input { name, value });
        self
    }

    pub(crate) fn finish(&mut self) -> Key {
        let hasher = std::mem::take(&mut self.hasher);
        Key { digest: hasher.finish(), inputs: std::mem::take(&mut self.inputs) }
    }
}

/// Says what differs between the inputs of an older step and those of a new one.
pub(crate) fn explain(old: &[Input], new: &[Input]) -> Option<String> {
    const NAMED: usize = 3;
    let find = |inputs: &[Input], name: &str| inputs.iter().find(|input| input.name == name).cloned();
    let mut changes = Vec::new();
    for input in new {
        match find(old, &input.name) {
            None => changes.push((input.name.clone(), "is new")),
            Some(before) if before.value != input.value => changes.push((input.name.clone(), "changed")),
            Some(_) => {}
        }
    }
    for input in old {
        if find(new, &input.name).is_none() {
            changes.push((input.name.clone(), "is gone"));
        }
    }
    // What lies deepest explains best: a file before the step's parent.
    changes.sort_by_key(|(name, _)| match name.as_str() {
        "parent" => 2,
        "instruction" => 0,
        _ => 1,
    });
    let reasons: Vec<String> = changes
        .iter()
        .take(NAMED)
        .map(|(name, how)| match name.as_str() {
            "parent" => "an earlier step changed".to_owned(),
            "instruction" => "the instruction changed".to_owned(),
            name => format!("{} {how}", name.strip_prefix("file ").unwrap_or(name)),
        })
        .collect();
    let more = changes.len().saturating_sub(NAMED);
    match (reasons.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(reasons.join(", ")),
        (false, more) => Some(format!("{} and {more} more", reasons.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inputs: &[(&str, &str)]) -> Key {
        let mut key = KeyBuilder::new("run");
        for (name, value) in inputs {
            key.text(name, value);
        }
        key.finish()
    }

    #[test]
    fn every_input_counts_and_cannot_run_into_the_next() {
        let base = key(&[("a", "1"), ("b", "2")]).digest;
        assert_eq!(base, key(&[("a", "1"), ("b", "2")]).digest);
        for (name, inputs) in [
            ("value", vec![("a", "1"), ("b", "3")]),
            ("name", vec![("a", "1"), ("c", "2")]),
            ("order", vec![("b", "2"), ("a", "1")]),
            ("fewer", vec![("a", "1")]),
            ("shifted", vec![("a", "1b"), ("", "2")]),
        ] {
            assert_ne!(key(&inputs).digest, base, "case {name}");
        }
    }

    #[test]
    fn misses_are_explained_by_what_changed() {
        let old = [("parent", "p"), ("instruction", "COPY"), ("file package.json", "1"), ("file gone", "2")];
        for (name, new, want) in [
            (
                "file",
                vec![
                    ("parent", "p"),
                    ("instruction", "COPY"),
                    ("file package.json", "9"),
                    ("file gone", "2"),
                ],
                Some("package.json changed"),
            ),
            (
                "removed",
                vec![("parent", "p"), ("instruction", "COPY"), ("file package.json", "1")],
                Some("gone is gone"),
            ),
            (
                "added",
                vec![
                    ("parent", "p"),
                    ("instruction", "COPY"),
                    ("file package.json", "1"),
                    ("file gone", "2"),
                    ("file x", "1"),
                ],
                Some("x is new"),
            ),
            (
                "parent last",
                vec![("parent", "q"), ("instruction", "ADD"), ("file package.json", "1"), ("file gone", "2")],
                Some("the instruction changed, an earlier step changed"),
            ),
            ("nothing", old.to_vec(), None),
        ] {
            assert_eq!(explain(&key(&old).inputs, &key(&new).inputs).as_deref(), want, "case {name}");
        }
    }
}
