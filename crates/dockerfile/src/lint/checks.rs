//! Which rules hold.

use super::Rule;

/// The value of `check=`: `skip=Rule,Rule;error=true;experimental=Rule`, where `all` stands for all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Rules,
    experimental: Rules,
    /// What is found is an error.
    pub error: bool,
}

/// An option of `check=` that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no option of check: there are skip=RULE,RULE, experimental=RULE,RULE and error=true")]
pub struct ParseChecksError(String);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    all: bool,
    /// As written: what is no rule is none.
    names: Vec<String>,
}

impl Checks {
    /// Reads the value. Compat: BuildKit, a name that no rule has is no mistake.
    pub fn parse(text: &str) -> Result<Self, ParseChecksError> {
        let mut checks = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(checks);
        }
        for option in text.splitn(3, ';') {
            let wrong = || ParseChecksError(option.trim().to_owned());
            let (key, value) = option.split_once('=').ok_or_else(wrong)?;
            let value = value.trim();
            match key.trim() {
                "skip" => checks.skip = Rules::parse(value),
                "experimental" => checks.experimental = Rules::parse(value),
                "error" => {
                    checks.error = match value {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(wrong()),
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(checks)
    }

    pub(super) fn allow(&self, rule: Rule) -> bool {
        if rule.is_experimental() { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }
}

impl Rules {
    fn parse(text: &str) -> Self {
        if text == "all" {
            return Self { all: true, names: Vec::new() };
        }
        Self { all: false, names: text.split(',').map(|name| name.trim().to_owned()).collect() }
    }

    fn has(&self, rule: Rule) -> bool {
        self.all || self.names.contains(&rule.name())
    }
}
