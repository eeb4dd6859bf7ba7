//! How a failure reaches the user: message, causes, one hint, an exit code.

use std::fmt::Write as _;

use miette::Diagnostic;

/// A command failed; everything that the user is told about it.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// Exit code of a failed command.
    const FAILED: u8 = 1;

    /// Makes a failure of our own words and a hint.
    pub(crate) fn new(message: impl std::fmt::Display, hint: impl std::fmt::Display) -> Self {
        Self { text: format!("error: {message}\nhint: {hint}"), code: Self::FAILED }
    }

    /// Makes a failure whose text is complete as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: Self::FAILED }
    }

    /// Makes a failure of an error whose type is not known.
    pub(crate) fn of_boxed(error: &(dyn Diagnostic + Send + Sync + 'static)) -> Self {
        Self { text: render(error), code: Self::FAILED }
    }

    /// Returns the same failure with another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Returns what is printed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

/// The message, then each cause on a line of its own, then the innermost hint.
impl<E: Diagnostic + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { text: render(&error), code: Self::FAILED }
    }
}

fn render(error: &(dyn Diagnostic + 'static)) -> String {
    let mut text = format!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let line = found.to_string();
        // Some libraries repeat their source in their own message.
        if !text.ends_with(&line) {
            write!(text, "\n  because: {line}").expect("writing to a string cannot fail");
        }
        cause = found.source();
    }
    if let Some(excerpt) = shipway_dockerfile::excerpt(error) {
        write!(text, "\n{}", excerpt.trim_end()).expect("writing to a string cannot fail");
    }
    let mut hint = error.help().map(|hint| hint.to_string());
    let mut inner = error.diagnostic_source();
    while let Some(found) = inner {
        hint = found.help().map(|hint| hint.to_string()).or(hint);
        inner = found.diagnostic_source();
    }
    if let Some(hint) = hint {
        write!(text, "\nhint: {hint}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("could not pull `x`")]
    #[diagnostic(help("outer"))]
    struct Outer {
        #[source]
        #[diagnostic_source]
        source: Inner,
    }

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("refused")]
    #[diagnostic(help("log in"))]
    struct Inner;

    #[test]
    fn the_innermost_hint_wins_and_causes_are_listed() {
        let failure = Failure::from(Outer { source: Inner });
        assert_eq!(failure.text(), "error: could not pull `x`\n  because: refused\nhint: log in");
        assert_eq!(failure.code(), 1);
    }
}
