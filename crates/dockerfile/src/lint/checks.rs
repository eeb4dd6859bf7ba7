//! Which rules hold.

use super::{RULES, Rule};

/// The value of `check=`: `skip=Rule,Rule;error=true;experimental=Rule`, each of them also `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Vec<Rule>,
    experimental: Vec<Rule>,
    /// What is found is an error.
    pub error: bool,
}

impl Checks {
    /// Reads the value; what means nothing is left out. Compat: BuildKit.
    pub fn parse(text: &str) -> Self {
        let mut checks = Self::default();
        for (key, value) in text.split(';').filter_map(|option| option.trim().split_once('=')) {
            match key.trim() {
                "skip" => checks.skip = rules(value),
                "experimental" => checks.experimental = rules(value),
                "error" => checks.error = matches!(value.trim(), "true" | "1" | "t" | "T" | "TRUE" | "True"),
                _ => {}
            }
        }
        checks
    }

    pub(super) fn allow(&self, rule: Rule) -> bool {
        !self.skip.contains(&rule) && (!rule.is_experimental() || self.experimental.contains(&rule))
    }
}

fn rules(text: &str) -> Vec<Rule> {
    let mut found = Vec::new();
    // What follows a space is for people.
    let text = text.trim_start().split_once(" //").map_or(text, |(names, _)| names);
    for name in text.split(',').map(str::trim) {
        let is_it = |rule: &Rule| name == "all" || rule.name().eq_ignore_ascii_case(name);
        found.extend(RULES.into_iter().filter(is_it));
    }
    found
}
