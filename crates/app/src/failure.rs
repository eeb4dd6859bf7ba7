//! How a failure reaches the user: message, causes, one hint, an exit code.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use miette::Diagnostic;

/// A disk with less than this is full: what was being written then is gone again when a failure is told.
const LITTLE: u64 = 64 << 20;

/// One with less files than this too.
const FEW: u64 = 1000;

/// A command in a container may have met with a full disk where we did not.
const NEXT_TO_NOTHING: u64 = 4 << 20;

/// Exit code of a command line that cannot be understood. Compat: docker.
pub(crate) const MISUSED: u8 = 125;

/// A command failed; everything that the user is told about it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong, with its causes, each on a line of its own.
    message: String,
    /// What to do.
    hint: Option<String>,
    /// What is printed behind all else.
    last: Option<String>,
    code: u8,
    /// A disk was full.
    full: bool,
}

impl Failure {
    /// Exit code of a failed command.
    const FAILED: u8 = 1;

    /// Makes a failure of our own words and a hint.
    pub(crate) fn new(message: impl std::fmt::Display, hint: impl std::fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..Self::plain(format!("error: {message}")) }
    }

    /// Makes a failure of a flag's value that Docker refuses as it reads the command line.
    pub(crate) fn of_flag(message: impl std::fmt::Display, hint: impl std::fmt::Display) -> Self {
        Self::new(message, hint).with_code(MISUSED)
    }

    /// Makes a failure whose text is complete as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { message: text.into(), hint: None, last: None, code: Self::FAILED, full: false }
    }

    /// Makes a failure of an error whose type is not known.
    pub(crate) fn of_boxed(error: &(dyn Diagnostic + Send + Sync + 'static)) -> Self {
        Self { hint: hint_of(error), full: is_full(error), ..Self::plain(render(error)) }
    }

    /// Returns the same failure with another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Returns the same failure with another hint.
    pub(crate) fn with_hint(self, hint: impl std::fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Returns the same failure with a line behind all else.
    pub(crate) fn with_last_line(self, line: impl std::fmt::Display) -> Self {
        Self { last: Some(line.to_string()), ..self }
    }

    /// Says which of some directories has no space left, if that may be why.
    pub(crate) fn with_full_disk(mut self, dirs: &[&Path]) -> Self {
        if self.hint.is_some() && !self.full {
            return self;
        }
        let limit = if self.full { LITTLE } else { NEXT_TO_NOTHING };
        let is_full = |dir: &&&Path| {
            shipway_linux::free_bytes(dir).is_ok_and(|free| free < limit)
                || (self.full && shipway_linux::free_files(dir).is_ok_and(|free| free < FEW))
        };
        let Some(dir) = dirs.iter().find(is_full) else { return self };
        self.hint = Some(format!(
            "the disk of `{}` is full: make room there, remove images that you do not need (`shipway images`, \
             `shipway rmi NAME`), or choose another place: --root DIR",
            dir.display()
        ));
        self
    }

    /// Returns what went wrong, for a message that tells of it.
    pub(crate) fn message(&self) -> &str {
        self.message.strip_prefix("error: ").unwrap_or(&self.message)
    }

    /// Returns what to do.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns whether a disk was full.
    pub(crate) fn is_of_full_disk(&self) -> bool {
        self.full
    }

    /// Returns what is printed.
    pub(crate) fn text(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let last = self.last.as_ref().map(|line| format!("\n{line}")).unwrap_or_default();
        format!("{}{hint}{last}", self.message)
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

/// The message, then each cause on a line of its own, then the innermost hint.
impl<E: Diagnostic + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { hint: hint_of(&error), full: is_full(&error), ..Self::plain(render(&error)) }
    }
}

/// Whether the kernel said anywhere below that a disk is full.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
            // What a process of ours met with comes here as its words.
            || error.source().is_none() && error.to_string().contains("no space left on device")
    })
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
    text
}

/// Returns the innermost hint.
fn hint_of(error: &(dyn Diagnostic + 'static)) -> Option<String> {
    let mut hint = error.help().map(|hint| hint.to_string());
    let mut inner = error.diagnostic_source();
    while let Some(found) = inner {
        hint = found.help().map(|hint| hint.to_string()).or(hint);
        inner = found.diagnostic_source();
    }
    hint
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

    #[test]
    fn only_a_full_disk_is_called_one() {
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("could not write")]
        #[diagnostic(help("report this"))]
        struct Written(#[source] io::Error);
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("could not mount the root file system: no space left on device")]
        struct Told;
        assert!(is_full(&Told));
        for (kind, want) in [(io::ErrorKind::StorageFull, true), (io::ErrorKind::NotFound, false)] {
            assert_eq!(is_full(&Written(kind.into())), want, "{kind}");
        }
    }
}
