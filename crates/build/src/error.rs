//! Why a build ends without an image.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, SourceCode};
use shipway_dockerfile::{
    ExpandError, ParseChecksError, ParseDockerfileError, ParseMountError, Source, Span,
};
use shipway_layers::LayerError;
use shipway_store::StoreError;

/// An error of an injected part, with its hint.
pub struct SeamError(Box<dyn Diagnostic + Send + Sync>);

impl SeamError {
    /// Wraps an error.
    pub fn new(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for SeamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SeamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for SeamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for SeamError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.labels()
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.0.diagnostic_source()
    }
}

/// Why a build ends without an image.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum BuildError {
    /// The Dockerfile cannot be read from disk.
    #[error("cannot read the Dockerfile `{path}`")]
    #[diagnostic(
        code(build::no_dockerfile),
        help("run in the directory that has a Dockerfile, or name one with -f")
    )]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The context cannot be opened.
    #[error("cannot open the build context `{path}`")]
    #[diagnostic(code(build::no_context), help("the last argument of build is a directory, often `.`"))]
    OpenContext {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The Dockerfile has a mistake.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dockerfile(Box<ParseDockerfileError>),
    /// An instruction cannot be carried out.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Step(Box<StepError>),
    /// A RUN ended with another code than 0. Compat: BuildKit's words.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    #[diagnostic(code(build::run_failed))]
    RunFailed {
        /// The step as progress shows it.
        step: String,
        /// The command with its shell.
        command: String,
        /// Its exit code.
        code: i32,
        /// Why, if anything beside the command shows it.
        #[help]
        hint: Option<String>,
        /// The Dockerfile.
        #[source_code]
        text: Source,
        /// The instruction.
        #[label]
        span: Span,
    },
    /// No stage has the name of `--target`.
    #[error("no stage is named `{name}`")]
    #[diagnostic(code(build::no_target), help("{hint}"))]
    UnknownTarget {
        /// The name.
        name: String,
        /// The names that there are, or a near one.
        hint: String,
    },
    /// The Dockerfile wants what its rules find to be an error.
    #[error("the Dockerfile does not keep its own rules: {rules}")]
    #[diagnostic(
        code(build::lint),
        help("see `shipway build --check`, or switch a rule off: `# check=skip=RULE`")
    )]
    Lint {
        /// Their names.
        rules: String,
    },
    /// Something else than the built-in reader of Dockerfiles is asked for.
    #[error(
        "{place} names the frontend `{name}`, and the only one here is that of Dockerfiles, which is built in"
    )]
    #[diagnostic(
        code(build::frontend),
        help("build with Docker what is no Dockerfile; if this is one, {remedy}")
    )]
    Frontend {
        /// Its image.
        name: String,
        /// What names it.
        place: &'static str,
        /// How not to name it.
        remedy: &'static str,
        /// The Dockerfile, if it is that.
        #[source_code]
        text: Option<Source>,
        /// The line.
        #[label]
        span: Option<Span>,
    },
    /// Which rules hold cannot be read.
    #[error("what the Dockerfile or BUILDKIT_DOCKERFILE_CHECK says of its rules means nothing")]
    #[diagnostic(code(build::checks), help("write `# check=skip=RULE,RULE;error=true`, or leave it out"))]
    Checks {
        /// The part that means nothing.
        source: ParseChecksError,
    },
    /// A base image cannot be had.
    #[error("{}: cannot get the image `{name}`", .text.locate(*.span))]
    #[diagnostic(code(build::base_image))]
    BaseImage {
        /// The image.
        name: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: SeamError,
        /// The Dockerfile.
        #[source_code]
        text: Source,
        /// The FROM, COPY or RUN that asks for it.
        #[label]
        span: Span,
    },
    /// Layers cannot be prepared, committed or hashed.
    #[error("cannot {action}")]
    #[diagnostic(code(build::layers))]
    Layers {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: LayerError,
    },
    /// The store refused.
    #[error("cannot {action}")]
    #[diagnostic(code(build::store))]
    Store {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// A cache cannot be written.
    #[error("cannot export the cache to `{name}`")]
    #[diagnostic(code(build::export_cache))]
    ExportCache {
        /// Where it was to go.
        name: String,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: SeamError,
    },
    /// The packages of the result cannot be listed.
    #[error("cannot list the packages in the image")]
    #[diagnostic(code(build::sbom), help("build without the list: leave --sbom out"))]
    ListPackages {
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: SeamError,
    },
    /// The build was asked to stop.
    #[error("the build was cancelled")]
    #[diagnostic(code(build::cancelled))]
    Cancelled,
}

impl BuildError {
    /// Returns whether the Dockerfile has no FROM.
    pub fn is_no_stages(&self) -> bool {
        matches!(self, Self::Dockerfile(error) if error.problem == shipway_dockerfile::Problem::NoStages)
    }
}

/// Returns an error and what it came of on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        let line = found.to_string();
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = found.source();
    }
    text
}

/// An instruction that cannot be carried out, and where it stands. Its causes and hints are those of the problem.
#[derive(Debug)]
pub struct StepError {
    /// What is wrong.
    pub problem: Problem,
    /// The Dockerfile.
    pub text: Source,
    /// The place.
    pub span: Span,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text.locate(self.span), self.problem)
    }
}

impl std::error::Error for StepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl Diagnostic for StepError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.problem.to_string()), self.span);
        Some(Box::new(std::iter::once(label)))
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.problem.diagnostic_source()
    }
}

/// What is wrong with one instruction.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// Variables or quotes.
    #[error(transparent)]
    #[diagnostic(code(build::expand))]
    Expand(ExpandError),
    /// A `--mount`.
    #[error("{what}")]
    #[diagnostic(code(build::mount))]
    Mount {
        /// What is wrong with it.
        what: ParseMountError,
        /// What to write.
        #[help]
        hint: Option<String>,
    },
    /// A value that the instruction cannot take.
    #[error("{what}")]
    #[diagnostic(code(build::invalid))]
    Invalid {
        /// A sentence.
        what: String,
    },
    /// A part of the language that this version does not carry out.
    #[error("{what} is not supported yet")]
    #[diagnostic(code(build::unsupported), help("{help}"))]
    Unsupported {
        /// The part.
        what: String,
        /// What to do instead.
        help: &'static str,
    },
    /// Something that the one who builds has to allow.
    #[error("{what} is not allowed")]
    #[diagnostic(
        code(build::not_allowed),
        help(
            "if you trust this Dockerfile with your machine, build with --allow {entitlement}; else leave the flag out"
        )
    )]
    NotAllowed {
        /// The part.
        what: &'static str,
        /// BuildKit's name for the leave.
        entitlement: &'static str,
    },
    /// A source of COPY or ADD is not there.
    #[error("`{path}` is not in {place}")]
    #[diagnostic(code(build::no_source), help("{hint}"))]
    MissingSource {
        /// The path.
        path: String,
        /// The context, or a stage or image.
        place: String,
        /// What might be the reason.
        hint: String,
        /// The word in the Dockerfile.
        word: Option<Span>,
    },
    /// A name in `--from` or FROM that is a later stage or none.
    #[error("stage `{name}` is not above this one")]
    #[diagnostic(code(build::later_stage), help("a stage can only use stages above it"))]
    LaterStage {
        /// Its name or number.
        name: String,
    },
    /// A number in `--from` that no stage has.
    #[error("there is no stage `{number}`: the file has {count}, and the first is `0`")]
    #[diagnostic(code(build::no_stage), help("name the stage: `FROM image AS name`, then `--from=name`"))]
    NoStage {
        /// The number.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// The owner of `--chown` or USER is not in the image.
    #[error("`{name}` is not in the image's {file}")]
    #[diagnostic(code(build::no_user), help("make it in a RUN before, or use its number"))]
    UnknownUser {
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`
        file: &'static str,
    },
    /// A secret that a mount requires was not given.
    #[error("secret `{id}` was not given")]
    #[diagnostic(code(build::no_secret), help("give it with --secret id={id},src=FILE"))]
    MissingSecret {
        /// Its id.
        id: String,
    },
    /// An ssh agent that a mount requires was not given.
    #[error("the ssh agent `{id}` was not given")]
    #[diagnostic(
        code(build::no_agent),
        help(
            "give it with --ssh {id}=KEYFILE, or with --ssh {id} and an agent: `eval $(ssh-agent); ssh-add`"
        )
    )]
    MissingAgent {
        /// Its id.
        id: String,
    },
    /// A secret would be in the image.
    #[error("the secret `{id}` is in {place}")]
    #[diagnostic(code(build::secret_in_layer), help("everybody who has the image could read it: {remedy}"))]
    SecretInLayer {
        /// The secret's id.
        id: String,
        /// The file, or what else has it.
        place: String,
        /// What keeps it out.
        remedy: &'static str,
    },
    /// The file system refused.
    #[error("cannot {action} `{path}`")]
    #[diagnostic(code(build::io))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what, as the Dockerfile or the image names it.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Layers cannot be prepared or mounted.
    #[error("cannot {action}")]
    #[diagnostic(code(build::layers))]
    Layers {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: LayerError,
    },
    /// What ADD names by an address did not come.
    #[error("cannot fetch `{address}`")]
    #[diagnostic(code(build::fetch))]
    Fetch {
        /// The address.
        address: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: SeamError,
    },
    /// The command could not be run at all.
    #[error("cannot run `{command}`")]
    #[diagnostic(code(build::runner))]
    Runner {
        /// The command.
        command: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: SeamError,
    },
    /// The command ran and failed.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    #[diagnostic(code(build::run_failed))]
    Exit {
        /// The command with its shell.
        command: String,
        /// Its exit code.
        code: i32,
        /// Why, if anything beside the command shows it.
        hint: Option<String>,
    },
    /// The store refused.
    #[error("cannot {action}")]
    #[diagnostic(code(build::store))]
    Store {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// The build was asked to stop.
    #[error("the build was cancelled")]
    #[diagnostic(code(build::cancelled))]
    Cancelled,
    /// The step failed, and everybody has heard of it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Told(Box<BuildError>),
}

impl Problem {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    pub(crate) fn mount(what: ParseMountError) -> Self {
        let hint = what.hint();
        Self::Mount { what, hint }
    }

    pub(crate) fn io<P: AsRef<Path> + ?Sized>(
        action: &'static str,
        path: &P,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Io { action, path, source }
    }

    /// Points at the instruction.
    pub(crate) fn at(self, text: &Source, span: Span, step: &str) -> BuildError {
        match self {
            Self::Cancelled => BuildError::Cancelled,
            Self::Told(error) => *error,
            Self::Exit { command, code, hint } => {
                BuildError::RunFailed { step: step.to_owned(), command, code, hint, text: text.clone(), span }
            }
            problem => {
                let span = match &problem {
                    Self::MissingSource { word: Some(word), .. } => *word,
                    _ => span,
                };
                BuildError::Step(Box::new(StepError { problem, text: text.clone(), span }))
            }
        }
    }
}
