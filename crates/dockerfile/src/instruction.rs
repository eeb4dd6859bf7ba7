//! Typed instructions, before variables are expanded.

use shipway_oci::Healthcheck;

use crate::heredoc::Heredoc;
use crate::source::Span;

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What it is.
    pub kind: InstructionKind,
    /// Its text with continuation lines joined, as progress shows it.
    pub text: String,
    /// Where it stands, heredocs included.
    pub span: Span,
    /// Comments directly above it.
    pub comments: Vec<String>,
}

/// A word as written, and its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The word with quotes, escapes and variables as written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// The instructions; FROM starts a [`Stage`](crate::Stage) instead.
#[derive(Clone, Debug, PartialEq)]
pub enum InstructionKind {
    /// `RUN`
    Run(Run),
    /// `CMD`
    Cmd(CommandLine),
    /// `LABEL`
    Label(Vec<KeyValue>),
    /// `MAINTAINER`
    Maintainer(String),
    /// `EXPOSE`; sorted as written
    Expose(Vec<Word>),
    /// `ENV`
    Env(Vec<KeyValue>),
    /// `ADD`
    Add(Copy, AddOptions),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `USER`
    User(String),
    /// `WORKDIR`
    Workdir(String),
    /// `ARG`
    Arg(Vec<ArgDeclaration>),
    /// `ONBUILD`: the trigger's text, for [`parse_trigger`](crate::parse_trigger)
    Onbuild(String),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `SHELL`
    Shell(Vec<String>),
}

impl InstructionKind {
    /// Returns the keyword in upper case.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Run(_) => "RUN",
            Self::Cmd(_) => "CMD",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Expose(_) => "EXPOSE",
            Self::Env(_) => "ENV",
            Self::Add(..) => "ADD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Volume(_) => "VOLUME",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Arg(_) => "ARG",
            Self::Onbuild(_) => "ONBUILD",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Shell(_) => "SHELL",
        }
    }
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A JSON array: the arguments.
    Exec(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command; with heredocs it is in shell form and has only the first line.
    pub command: CommandLine,
    /// Heredocs that the line starts.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=` values, for [`Mount::parse`](crate::Mount::parse).
    pub mounts: Vec<Word>,
    /// `--network=`
    pub network: RunNetwork,
    /// `--security=`
    pub security: Option<Word>,
    /// `--device=` values.
    pub devices: Vec<Word>,
}

/// `RUN --network=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// What the build as a whole uses.
    #[default]
    Default,
    /// Only the loopback device.
    None,
    /// The host's.
    Host,
}

/// `name=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The name.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// Written as `ENV name value`.
    pub legacy: bool,
}

/// A variable that ARG declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name.
    pub name: String,
    /// The default as written.
    pub default: Option<String>,
}

/// `COPY`, and what ADD shares with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// What is copied.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
    /// `--from=`: a stage's name or number, or an image.
    pub from: Option<Word>,
    /// `--chown=`
    pub chown: Option<Word>,
    /// `--chmod=`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude=` patterns.
    pub exclude: Vec<String>,
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a wildcard, or for ADD a URL.
    Path(Word),
    /// An inline file.
    Heredoc(Heredoc),
}

/// What ADD has beyond COPY.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// `--checksum=`
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`
    pub unpack: Option<bool>,
}
