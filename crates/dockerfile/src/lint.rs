//! What is odd in a Dockerfile and does not stop a build.
//!
//! Compat: the rules of `docker build --check` by their names, with the same exceptions; what they say is our own. `# check=` at the top
//! and above an instruction, and the build argument `BUILDKIT_DOCKERFILE_CHECK`, switch rules off, or make their findings errors.

mod checks;
mod stages;
mod variables;

pub use checks::Checks;

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

    /// Returns whether it holds only where somebody asks for it.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
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
    /// All of the context is left out.
    pub is_empty: bool,
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

/// Returns what is odd, in the order of places.
pub fn lint(file: &Dockerfile, facts: &Facts<'_>, checks: &Checks) -> Vec<Warning> {
    let mut found = Found { file, warnings: Vec::new() };
    stages::look(&mut found);
    variables::look(&mut found, facts);
    let mut warnings = found.warnings;
    warnings.retain(|warning| checks.allow(warning.rule) && !is_skipped(file, warning));
    warnings.sort_by_key(|warning| (warning.span.start, warning.rule));
    warnings.dedup();
    warnings
}

/// What was found so far.
struct Found<'a> {
    file: &'a Dockerfile,
    warnings: Vec<Warning>,
}

impl Found<'_> {
    fn add(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        self.warnings.push(Warning { rule, span, message: message.into() });
    }

    /// Returns the word that a place begins with.
    fn keyword(&self, span: Span) -> String {
        let text = self.file.source.text().get(span.start..).unwrap_or_default();
        text.split_whitespace().next().unwrap_or_default().to_owned()
    }
}

/// Returns whether a comment above the instruction switches the rule off there.
fn is_skipped(file: &Dockerfile, warning: &Warning) -> bool {
    let stages = file.stages.iter().map(|stage| (stage.span, &stage.comments));
    let instructions = file.stages.iter().flat_map(|stage| {
        stage.instructions.iter().map(|instruction| (instruction.span, &instruction.comments))
    });
    let globals = file.global_args.iter().map(|arg| (arg.span, &arg.comments));
    let mut all = stages.chain(instructions).chain(globals);
    let holds = |span: Span| span.start <= warning.span.start && warning.span.start <= span.end;
    let comments = all.find(|(span, _)| holds(*span)).map(|(_, comments)| comments);
    let options = |comment: &String| {
        let (name, text) = comment.split_once('=')?;
        (name.trim() == "check").then(|| text.to_owned())
    };
    comments.into_iter().flatten().filter_map(options).any(|text| {
        let checks = Checks::parse(&text);
        !checks.allow(warning.rule) && !warning.rule.is_experimental()
    })
}

#[cfg(test)]
mod tests;
