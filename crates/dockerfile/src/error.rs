//! Why a Dockerfile cannot be read.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, SourceCode};

use crate::{ExpandError, ParseMountError, Source, Span};

/// A Dockerfile that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDockerfileError {
    /// What is wrong.
    pub problem: Problem,
    /// The file.
    pub source: Source,
    /// The place.
    pub span: Span,
    /// The whole instruction that it is in.
    pub instruction: Span,
    /// The file cannot be told apart into instructions, so that nothing else can be said of it. Compat: BuildKit, which reads the whole
    /// file before it looks at what instructions mean.
    pub is_of_lines: bool,
}

/// What is wrong with a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A line starts with a word that is no instruction.
    #[error("unknown instruction `{word}`")]
    UnknownInstruction {
        /// The word.
        word: String,
        /// A near instruction.
        suggestion: Option<&'static str>,
        /// The instruction above, if it begins a heredoc and cannot have one.
        heredoc_of: Option<String>,
    },
    /// A flag that the instruction does not have.
    #[error("{instruction} has no flag `--{flag}`")]
    UnknownFlag {
        /// The instruction.
        instruction: &'static str,
        /// The flag without dashes.
        flag: String,
        /// A near flag.
        suggestion: Option<&'static str>,
    },
    /// A flag without its value, twice, or with a value that it cannot take.
    #[error("flag `--{flag}` {problem}")]
    BadFlag {
        /// The flag without dashes.
        flag: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Too few or too many arguments.
    #[error("{instruction} needs {want}")]
    Arguments {
        /// The instruction.
        instruction: &'static str,
        /// What it needs.
        want: &'static str,
    },
    /// An argument that makes no sense.
    #[error("{instruction}: {problem}")]
    Malformed {
        /// The instruction.
        instruction: &'static str,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        help: Option<&'static str>,
    },
    /// A heredoc without its end line.
    #[error("heredoc `{name}` has no end")]
    UnterminatedHeredoc {
        /// The word that should end it.
        name: String,
    },
    /// No FROM.
    #[error("the file has no stage to build")]
    NoStages,
    /// More stages than anybody writes: what builds on each other that deep is made to exhaust.
    #[error("the file has more than {limit} stages")]
    TooManyStages {
        /// How many there may be.
        limit: usize,
    },
    /// An instruction other than ARG before the first FROM.
    #[error("{instruction} before the first FROM")]
    BeforeFrom {
        /// The instruction.
        instruction: &'static str,
    },
    /// `# escape=` and the like with a wrong value, or twice.
    #[error("directive `{name}` {problem}")]
    BadDirective {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A word whose variables or quotes cannot be resolved.
    #[error(transparent)]
    Expand(ExpandError),
    /// A `RUN --mount` that cannot be read.
    #[error(transparent)]
    Mount(ParseMountError),
}

impl Problem {
    fn help(&self) -> Option<String> {
        match self {
            Self::UnknownInstruction { heredoc_of: Some(above), .. } => Some(format!(
                "heredocs are for RUN, COPY and ADD, not for {above}: make a script by `COPY <<EOF /script`, and name that"
            )),
            Self::UnknownInstruction { suggestion: Some(word), .. } => Some(format!("did you mean {word}?")),
            Self::UnknownInstruction { .. } => {
                Some("a line continues the one before only if that one ends in a backslash".to_owned())
            }
            Self::UnknownFlag { suggestion: Some(flag), .. } => Some(format!("did you mean --{flag}?")),
            Self::Malformed { help, .. } => help.map(str::to_owned),
            Self::UnterminatedHeredoc { name } => Some(format!("end it by a line that has only `{name}`")),
            Self::NoStages => Some("start it with FROM, for example `FROM debian:bookworm`".to_owned()),
            Self::TooManyStages { .. } => Some("split it into several Dockerfiles".to_owned()),
            Self::BeforeFrom { .. } => Some("only ARG may stand before FROM".to_owned()),
            Self::Mount(error) => error.hint(),
            _ => None,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownInstruction { .. } => "dockerfile::unknown_instruction",
            Self::UnknownFlag { .. } => "dockerfile::unknown_flag",
            Self::BadFlag { .. } => "dockerfile::bad_flag",
            Self::Arguments { .. } => "dockerfile::arguments",
            Self::Malformed { .. } => "dockerfile::malformed",
            Self::UnterminatedHeredoc { .. } => "dockerfile::heredoc",
            Self::NoStages => "dockerfile::no_stages",
            Self::TooManyStages { .. } => "dockerfile::too_many_stages",
            Self::BeforeFrom { .. } => "dockerfile::before_from",
            Self::BadDirective { .. } => "dockerfile::directive",
            Self::Expand(_) => "dockerfile::expand",
            Self::Mount(_) => "dockerfile::mount",
        }
    }
}

impl fmt::Display for ParseDockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source.locate(self.span), self.problem)
    }
}

impl std::error::Error for ParseDockerfileError {}

impl Diagnostic for ParseDockerfileError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.problem.to_string()), self.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// A problem at a place, before the file is known.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) problem: Problem,
    pub(crate) span: Span,
    pub(crate) is_of_lines: bool,
}

impl Located {
    /// Marks what is wrong whatever the instruction means.
    pub(crate) fn of_lines(self) -> Self {
        Self { is_of_lines: true, ..self }
    }

    pub(crate) fn in_source(self, source: &Source, instruction: Span) -> ParseDockerfileError {
        let Self { problem, span, is_of_lines } = self;
        ParseDockerfileError { problem, source: source.clone(), span, instruction, is_of_lines }
    }
}

impl Problem {
    pub(crate) fn at(self, span: Span) -> Located {
        Located { problem: self, span, is_of_lines: false }
    }
}
