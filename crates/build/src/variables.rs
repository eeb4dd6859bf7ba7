//! Variables: an ordered list, and words expanded with it.

use shipway_dockerfile::Lexer;
use shipway_oci::Platform;

use crate::Problem;

/// Names and values in the order in which they were first set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Reads `NAME=value` texts.
    pub(crate) fn of_env(env: &[String]) -> Self {
        let mut variables = Self::default();
        for text in env {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            variables.set(name, value);
        }
        variables
    }

    /// Returns names and values.
    pub(crate) fn to_pairs(&self) -> Vec<(String, String)> {
        self.0.clone()
    }

    /// Returns `NAME=value` texts.
    pub(crate) fn to_env(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    pub(crate) fn expand(&self, lexer: &Lexer, word: &str) -> Result<String, Problem> {
        let expanded =
            lexer.expand(word, &|name| self.get(name).map(str::to_owned)).map_err(Problem::Expand)?;
        Ok(expanded.text)
    }

    pub(crate) fn expand_words(&self, lexer: &Lexer, text: &str) -> Result<Vec<String>, Problem> {
        lexer.expand_words(text, &|name| self.get(name).map(str::to_owned)).map_err(Problem::Expand)
    }
}

/// Sets a variable in a config's `NAME=value` list, in its old place if it has one.
pub(crate) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = text,
        None => env.push(text),
    }
}

/// Returns the platform variables that every build has; build arguments override them.
pub(crate) fn platform_variables(
    build: &Platform,
    target: &Platform,
    stage: &str,
    build_args: &[(String, String)],
) -> Variables {
    let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
    let all = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", variant(build)),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", variant(target)),
        ("TARGETSTAGE", if stage.is_empty() { "default".to_owned() } else { stage.to_owned() }),
    ];
    let mut variables = Variables::default();
    for (name, value) in all {
        let given = build_args.iter().rev().find(|(known, _)| known == name);
        variables.set(name, given.map_or(value.as_str(), |(_, value)| value));
    }
    variables
}

/// Variables that reach RUN without ARG, without a trace in history and key: proxies. Compat: BuildKit, of `HTTP_PROXY` and
/// `http_proxy` the latter counts, and an empty one is none.
pub(crate) fn proxy_variables(build_args: &[(String, String)]) -> Vec<(String, String)> {
    let all = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    let given = |name: &'static str| {
        let alike = build_args.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        // Of equal ones the last is taken, and capitals come before small letters.
        let (_, value) = alike.max_by(|(a, _), (b, _)| a.cmp(b)).filter(|(_, value)| !value.is_empty())?;
        Some([(name.to_owned(), value.clone()), (name.to_ascii_lowercase(), value.clone())])
    };
    all.into_iter().filter_map(given).flatten().collect()
}
