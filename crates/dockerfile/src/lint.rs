//! What is odd in a Dockerfile and does not stop a build.
//!
//! Compat: the rules of `docker build --check` by their names, with the same exceptions and in the same order; what they say is our own.
//! `# check=` at the top, and the build argument `BUILDKIT_DOCKERFILE_CHECK`, switch rules off, or make their findings errors.

mod checks;
mod stages;
mod steps;
mod variables;

pub use checks::{Checks, ParseChecksError};
pub use variables::UNSEEN_ARGS;

use crate::source::Span;
use crate::stages::Dockerfile;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A stage's name has capital letters.
    StageNameCasing,
    /// FROM and AS are of different cases.
    FromAsCasing,
    /// A line of a continued instruction is empty.
    NoEmptyContinuation,
    /// An instruction is written in another case than most.
    ConsistentInstructionCasing,
    /// Two stages have one name.
    DuplicateStageName,
    /// A stage is called as something that means something else.
    ReservedStageName,
    /// CMD or ENTRYPOINT is given to a shell.
    JSONArgsRecommended,
    /// MAINTAINER.
    MaintainerDeprecated,
    /// FROM uses a variable that no ARG before it declares.
    UndefinedArgInFrom,
    /// A working directory depends on that of the base image.
    WorkdirRelativePath,
    /// A variable is used that nothing declares.
    UndefinedVar,
    /// Only the last one of several counts.
    MultipleInstructionsDisallowed,
    /// `ENV name value`.
    LegacyKeyValueFormat,
    /// The base image is for another platform.
    InvalidBaseImagePlatform,
    /// `--platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// ARG or ENV is called like a secret.
    SecretsUsedInArgOrEnv,
    /// With its defaults a FROM names no image.
    InvalidDefaultArgInFrom,
    /// `--platform` of FROM is fixed.
    FromPlatformFlagConstDisallowed,
    /// What COPY names is left out by `.dockerignore`.
    CopyIgnoredFile,
    /// A comment above an ARG or stage does not describe it. Only where experimental rules are wanted.
    InvalidDefinitionDescription,
    /// A protocol of EXPOSE has capital letters.
    ExposeProtoCasing,
    /// EXPOSE names an address or a port of the host.
    ExposeInvalidFormat,
}

/// All rules, in the order of docker's reference.
pub const RULES: [Rule; 22] = [
    Rule::StageNameCasing,
    Rule::FromAsCasing,
    Rule::NoEmptyContinuation,
    Rule::ConsistentInstructionCasing,
    Rule::DuplicateStageName,
    Rule::ReservedStageName,
    Rule::JSONArgsRecommended,
    Rule::MaintainerDeprecated,
    Rule::UndefinedArgInFrom,
    Rule::WorkdirRelativePath,
    Rule::UndefinedVar,
    Rule::MultipleInstructionsDisallowed,
    Rule::LegacyKeyValueFormat,
    Rule::InvalidBaseImagePlatform,
    Rule::RedundantTargetPlatform,
    Rule::SecretsUsedInArgOrEnv,
    Rule::InvalidDefaultArgInFrom,
    Rule::FromPlatformFlagConstDisallowed,
    Rule::CopyIgnoredFile,
    Rule::InvalidDefinitionDescription,
    Rule::ExposeProtoCasing,
    Rule::ExposeInvalidFormat,
];

impl Rule {
    /// Returns its name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Returns where docker describes it.
    pub fn url(self) -> String {
        let name = self.name().replace("JSON", "Json");
        let mut words = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !words.is_empty() {
                words.push('-');
            }
            words.push(c.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{words}/")
    }

    /// Returns what it is for.
    pub fn description(self) -> &'static str {
        match self {
            Self::StageNameCasing => "names of stages are in lower case",
            Self::FromAsCasing => "FROM and AS are written in the same case",
            Self::NoEmptyContinuation => "an instruction of several lines has no empty line",
            Self::ConsistentInstructionCasing => "all instructions are written in the same case",
            Self::DuplicateStageName => "each stage has a name of its own",
            Self::ReservedStageName => "no stage is called as something that means something else",
            Self::JSONArgsRecommended => {
                "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program"
            }
            Self::MaintainerDeprecated => "MAINTAINER is out of use, a label says the same",
            Self::UndefinedArgInFrom => "FROM uses only variables that an ARG before it declares",
            Self::WorkdirRelativePath => "the first WORKDIR of a stage is absolute",
            Self::UndefinedVar => "variables are declared before they are used",
            Self::MultipleInstructionsDisallowed => "a stage has one CMD, ENTRYPOINT and HEALTHCHECK",
            Self::LegacyKeyValueFormat => "names and values have an equals sign between them",
            Self::InvalidBaseImagePlatform => "the base image is for the platform that is built for",
            Self::RedundantTargetPlatform => "FROM does not name the platform that it has anyway",
            Self::SecretsUsedInArgOrEnv => "secrets are in no ARG or ENV",
            Self::InvalidDefaultArgInFrom => "FROM names an image with the defaults of its ARGs, too",
            Self::FromPlatformFlagConstDisallowed => "--platform of FROM is not the same for every build",
            Self::CopyIgnoredFile => "what is copied is not left out by .dockerignore",
            Self::InvalidDefinitionDescription => {
                "a comment directly above an ARG or a stage says its name, and what it is"
            }
            Self::ExposeProtoCasing => "protocols of EXPOSE are in lower case",
            Self::ExposeInvalidFormat => "EXPOSE names a port of the container, and nothing else",
        }
    }

    /// Returns whether it holds only where somebody asks for it.
    pub fn is_experimental(self) -> bool {
        // Compat: BuildKit's newest frontend, there `CopyIgnoredFile` holds always.
        matches!(self, Self::InvalidDefinitionDescription)
    }

    fn phase(self) -> Phase {
        match self {
            Self::NoEmptyContinuation => Phase::Lines,
            Self::MaintainerDeprecated
            | Self::StageNameCasing
            | Self::FromAsCasing
            | Self::InvalidDefinitionDescription => Phase::Instructions,
            Self::ReservedStageName
            | Self::DuplicateStageName
            | Self::ConsistentInstructionCasing
            | Self::InvalidDefaultArgInFrom => Phase::File,
            Self::UndefinedArgInFrom
            | Self::RedundantTargetPlatform
            | Self::FromPlatformFlagConstDisallowed => Phase::Stages,
            Self::InvalidBaseImagePlatform => Phase::Images,
            _ => Phase::Steps,
        }
    }
}

/// When a rule looks. Each phase is over before the next one begins. Compat: BuildKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Lines,
    /// Each instruction for itself.
    Instructions,
    File,
    /// Each FROM, its words expanded.
    Stages,
    Images,
    /// Each instruction of the stages that are wanted, its words expanded.
    Steps,
}

/// How far a Dockerfile makes sense. What comes after its first mistake no rule looks at. Compat: BuildKit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// To its end.
    #[default]
    Whole,
    /// It cannot be told apart into instructions.
    Nothing,
    /// An instruction cannot be read; it and what follows is not in the [`Dockerfile`].
    Instructions,
    /// A FROM at this offset, or an ARG before the first one, cannot be expanded.
    Stages(usize),
    /// Stages or images cannot be had.
    Images,
    /// The instruction at this offset cannot be carried out.
    Steps(usize),
}

impl Extent {
    fn has(self, phase: Phase, at: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::Nothing => false,
            Self::Instructions => phase <= Phase::Instructions,
            Self::Stages(end) => phase <= Phase::File || phase == Phase::Stages && at <= end,
            Self::Images => phase <= Phase::Images,
            Self::Steps(end) => phase <= Phase::Images || at <= end,
        }
    }
}

/// Something odd that does not stop a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which rule says so.
    pub rule: Rule,
    /// A sentence.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// What is known of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownImage {
    /// Its variables, `NAME=value`.
    pub env: Vec<String>,
    /// What it is for, `OS/ARCHITECTURE`.
    pub platform: String,
    /// It has a shell of its own.
    pub has_shell: bool,
    /// Instructions for what is built from it.
    pub triggers: Vec<String>,
}

/// What is known beside the Dockerfile.
pub struct Facts<'a> {
    /// `--build-arg`
    pub build_args: &'a [(String, String)],
    /// Variables that every build has, `TARGETARCH` and the like.
    pub platform: &'a [(String, String)],
    /// Returns what is known of a base image.
    pub image: &'a dyn Fn(&str) -> Option<KnownImage>,
    /// Returns whether a path of the context is left out.
    pub is_ignored: &'a dyn Fn(&str) -> bool,
    /// Returns whether a stage is wanted, by its number.
    pub is_wanted: &'a dyn Fn(usize) -> bool,
    /// How far the Dockerfile makes sense.
    pub extent: Extent,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

/// Returns what is odd, in the order in which docker finds it.
pub fn lint(file: &Dockerfile, facts: &Facts<'_>, checks: &Checks) -> Vec<Warning> {
    let mut found = Found { file, at: 0, is_over: false, warnings: Vec::new() };
    stages::look(&mut found);
    if !file.stages.is_empty() {
        variables::look(&mut found, facts);
    }
    found.warnings.sort_by_key(|found| found.phase);
    let comments = comments(file);
    let is_told = |found: &FoundOne| {
        checks.allow(found.warning.rule)
            && facts.extent.has(found.phase, found.at)
            && !is_skipped(&comments, &found.warning)
    };
    found.warnings.into_iter().filter(is_told).map(|found| found.warning).collect()
}

/// What comments above instructions say of rules, in the order of the file. Compat: BuildKit's frontend since 1.21.
fn comments(file: &Dockerfile) -> Vec<(Span, Checks)> {
    let stages = file.stages.iter().flat_map(|stage| {
        let instructions =
            stage.instructions.iter().map(|instruction| (instruction.span, &instruction.comments));
        std::iter::once((stage.span, &stage.comments)).chain(instructions)
    });
    let globals = file.global_args.iter().map(|arg| (arg.span, &arg.comments));
    let checks = |comment: &String| {
        let (name, text) = comment.split_once('=')?;
        let text = text.trim_start().split(' ').next().unwrap_or_default();
        (name.trim() == "check").then(|| Checks::parse(text).ok()).flatten()
    };
    let of = |(span, comments): (Span, &Vec<String>)| Some((span, comments.iter().find_map(checks)?));
    globals.chain(stages).filter_map(of).collect()
}

/// Returns whether the comment above an instruction switches a rule off there.
fn is_skipped(comments: &[(Span, Checks)], warning: &Warning) -> bool {
    let at = warning.span.start;
    let before = comments.partition_point(|(span, _)| span.start <= at);
    let above = comments[..before].last().filter(|(span, _)| at <= span.end);
    above.is_some_and(|(_, checks)| !checks.allow(warning.rule)) && !warning.rule.is_experimental()
}

/// What was found so far.
struct Found<'a> {
    file: &'a Dockerfile,
    /// Where the instruction stands that is looked at.
    at: usize,
    /// A mistake was met with: nothing is looked at any more.
    is_over: bool,
    warnings: Vec<FoundOne>,
}

struct FoundOne {
    phase: Phase,
    at: usize,
    warning: Warning,
}

impl Found<'_> {
    fn add(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        if self.is_over {
            return;
        }
        let warning = Warning { rule, span, message: message.into() };
        self.warnings.push(FoundOne { phase: rule.phase(), at: self.at, warning });
    }

    /// Returns the word that a place begins with.
    fn keyword(&self, span: Span) -> String {
        let text = self.file.source.text().get(span.start..).unwrap_or_default();
        text.split_whitespace().next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests;
