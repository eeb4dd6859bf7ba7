//! Rules about variables, base images and the context.

use std::collections::{HashMap, HashSet};

use shipway_oci::{Platform, Reference};

use super::steps::{self, Last};
use super::{Facts, Found, KnownImage, Rule};
use crate::expand::{Expanded, Lexer};
use crate::instruction::{ArgDeclaration, Copy, CopySource, InstructionKind};
use crate::mount::Mount;
use crate::source::Span;
use crate::stages::{Stage, parse_trigger};
use crate::suggest::suggest;

/// Build arguments that no instruction sees, and no command. Compat: BuildKit.
pub const UNSEEN_ARGS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
/// What commands are looked for in where an image does not say so.
const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
/// The platform that a build is for.
const TARGET: &str = "TARGETPLATFORM";

type Values = HashMap<String, String>;

/// What is known at a place of a stage.
#[derive(Clone, Default)]
struct Scope {
    values: Values,
    /// Declared by ARG, with or without a value.
    args: HashSet<String>,
    /// What the base image sets is known.
    is_known: bool,
    has_workdir: bool,
    has_shell: bool,
    /// ONBUILD, for the stage that starts from this one.
    triggers: Vec<String>,
}

/// What holds in the whole file.
struct Walk<'a> {
    facts: &'a Facts<'a>,
    lexer: Lexer,
    global: Values,
}

pub(super) fn look(found: &mut Found<'_>, facts: &Facts<'_>) {
    let file = found.file;
    let lexer = Lexer::new(file.directives.escape);
    let predefined: Values = facts.platform.iter().cloned().collect();
    let mut declared: HashSet<String> = predefined.keys().cloned().collect();
    let (mut global, mut defaults) = (predefined.clone(), predefined);
    for arg in &file.global_args {
        let name = &arg.declaration.name;
        declared.insert(name.clone());
        let default = arg.declaration.default.as_deref();
        let expand = |values: &Values| default.map(|text| expanded(&lexer, values, text).text);
        let value = given(facts, name).map(str::to_owned).or_else(|| expand(&global));
        global.extend(value.map(|value| (name.clone(), value)));
        let value = expand(&defaults);
        defaults.extend(value.map(|value| (name.clone(), value)));
    }
    with_defaults(found, &lexer, &defaults);
    let walk = Walk { facts, lexer, global };
    for stage in &file.stages {
        found.at = stage.span.start;
        walk.from(found, stage, &declared);
    }
    for (number, stage) in file.stages.iter().enumerate().filter(|(number, _)| (facts.is_wanted)(*number)) {
        let image = expanded(&walk.lexer, &walk.global, &stage.image.text).text;
        let is_stage = file.stages[..number].iter().any(|above| above.name.as_ref() == Some(&image));
        if !is_stage && image != "scratch" {
            walk.image(found, stage, &image);
        }
    }
    let mut scopes: HashMap<&str, Scope> = HashMap::new();
    for (number, stage) in file.stages.iter().enumerate() {
        let scope = walk.stage(found, (number, stage), &scopes);
        scopes.extend(stage.name.as_deref().map(|name| (name, scope)));
    }
}

fn given<'f>(facts: &'f Facts<'_>, name: &str) -> Option<&'f str> {
    facts.build_args.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Expands a word, up to its mistake, which is told of elsewhere.
fn expanded(lexer: &Lexer, values: &Values, word: &str) -> Expanded {
    let expanded = lexer.expand_until_mistake(word, &|name| values.get(name).cloned());
    expanded.unwrap_or_else(|(_, expanded)| expanded)
}

fn with_defaults(found: &mut Found<'_>, lexer: &Lexer, defaults: &Values) {
    for stage in &found.file.stages {
        // Compat: BuildKit, one that cannot be expanded ends it.
        let Ok(image) = lexer.expand(&stage.image.text, &|name| defaults.get(name).cloned()) else { return };
        if image.text != "scratch" && image.text.parse::<Reference>().is_err() {
            let message = format!("with the defaults of its ARGs `{}` names no image", stage.image.text);
            found.add(Rule::InvalidDefaultArgInFrom, stage.span, message);
        }
    }
}

impl Walk<'_> {
    fn from(&self, found: &mut Found<'_>, stage: &Stage, declared: &HashSet<String>) {
        let undeclared = |found: &mut Found<'_>, names: &[String]| {
            for name in names.iter().filter(|name| !declared.contains(*name)) {
                let near = suggest(name, declared.iter().map(String::as_str));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message = format!("no ARG before FROM declares `{name}`{near}");
                found.add(Rule::UndefinedArgInFrom, stage.span, message);
            }
        };
        undeclared(found, &expanded(&self.lexer, &self.global, &stage.image.text).unset);
        let Some(word) = &stage.platform else { return };
        let Expanded { text, used, unset } = expanded(&self.lexer, &self.global, &word.text);
        undeclared(found, &unset);
        if !unset.is_empty() {
            return;
        }
        if used == [TARGET] && self.global.get(TARGET) == Some(&text) {
            let message = format!("{} is the platform of stages anyway", word.text.trim());
            found.add(Rule::RedundantTargetPlatform, stage.span, message);
        }
        if let Ok(platform) = text.parse::<Platform>()
            && used.is_empty()
        {
            // A stage that is called after its platform means it.
            let name = stage.name.as_deref().unwrap_or_default();
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                let message = format!("--platform is always `{text}`, whatever the build is for");
                found.add(Rule::FromPlatformFlagConstDisallowed, stage.span, message);
            }
        }
    }

    /// Looks at a stage and what it starts from; returns what holds at its end.
    fn stage(
        &self,
        found: &mut Found<'_>,
        (number, stage): (usize, &Stage),
        scopes: &HashMap<&str, Scope>,
    ) -> Scope {
        if !(self.facts.is_wanted)(number) {
            return Scope::default();
        }
        found.at = stage.span.start;
        let image = expanded(&self.lexer, &self.global, &stage.image.text).text;
        let mut scope = match scopes.get(image.as_str()) {
            Some(base) => base.clone(),
            None => self.of_image(&image),
        };
        let mut last = Last::new();
        for trigger in std::mem::take(&mut scope.triggers) {
            let Ok(instruction) = parse_trigger(&trigger, &found.file.source, stage.span) else { continue };
            self.instruction(found, (&instruction.kind, stage.span), (&mut scope, &mut last));
        }
        for instruction in &stage.instructions {
            found.at = instruction.span.start;
            self.instruction(found, (&instruction.kind, instruction.span), (&mut scope, &mut last));
        }
        scope
    }

    /// Looks at what a stage starts from, which is no stage.
    fn image(&self, found: &mut Found<'_>, stage: &Stage, image: &str) {
        let Some(KnownImage { platform: is_for, .. }) = (self.facts.image)(image) else { return };
        let asked = stage.platform.as_ref().map(|word| expanded(&self.lexer, &self.global, &word.text).text);
        let asked = asked.or_else(|| self.global.get(TARGET).cloned()).unwrap_or_default();
        let asked = asked.parse().map_or(asked, |platform: Platform| platform.to_string());
        let same = |one: &str, other: &str| one.split('/').take(2).eq(other.split('/').take(2));
        if !asked.is_empty() && !same(&asked, &is_for) {
            let message = format!("`{image}` is for {is_for}, and this build wants {asked}");
            found.add(Rule::InvalidBaseImagePlatform, stage.span, message);
        }
    }

    fn of_image(&self, image: &str) -> Scope {
        let (path, value) = PATH;
        let mut values = Values::from([(path.to_owned(), value.to_owned())]);
        if image == "scratch" {
            return Scope { values, is_known: true, ..Scope::default() };
        }
        let Some(KnownImage { env, has_shell, triggers, .. }) = (self.facts.image)(image) else {
            return Scope { values, ..Scope::default() };
        };
        let pairs = env.iter().map(|text| text.split_once('=').unwrap_or((text, "")));
        values.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Scope { values, is_known: true, has_shell, triggers, ..Scope::default() }
    }

    fn instruction(
        &self,
        found: &mut Found<'_>,
        (kind, span): (&InstructionKind, Span),
        (scope, last): (&mut Scope, &mut Last),
    ) {
        match kind {
            InstructionKind::Env(pairs) => {
                let expand =
                    |found: &mut Found<'_>, scope: &Scope, word: &str| self.word(found, scope, span, word);
                let pairs: Vec<(String, String)> = pairs
                    .iter()
                    .map(|pair| (expand(found, scope, &pair.key), expand(found, scope, &pair.value)))
                    .collect();
                scope.values.extend(pairs);
            }
            InstructionKind::Label(pairs) => pairs.iter().for_each(|pair| {
                self.word(found, scope, span, &pair.key);
                self.word(found, scope, span, &pair.value);
            }),
            InstructionKind::Arg(args) => args.iter().for_each(|arg| self.arg(found, scope, span, arg)),
            InstructionKind::Volume(paths) => {
                paths.iter().for_each(|path| drop(self.word(found, scope, span, path)));
            }
            InstructionKind::User(text) | InstructionKind::StopSignal(text) => {
                self.word(found, scope, span, text);
            }
            InstructionKind::Expose(words) => {
                let get = |name: &str| scope.values.get(name).cloned();
                let words = words.iter().filter_map(|word| self.lexer.expand_words(&word.text, &get).ok());
                let words: Vec<String> = words.flatten().collect();
                // A protocol that does not exist is a mistake, and the end.
                let sound = words.iter().take_while(|word| steps::has_protocol(word));
                sound.for_each(|word| steps::port(found, span, word));
            }
            InstructionKind::Workdir(path) => {
                let path = self.word(found, scope, span, path);
                // Compat: BuildKit, only the first one is looked at.
                if !path.starts_with('/') && !scope.has_workdir {
                    let message =
                        format!("where `{path}` is depends on the working directory of the base image");
                    found.add(Rule::WorkdirRelativePath, span, message);
                }
                scope.has_workdir = true;
            }
            InstructionKind::Copy(copy) => self.copy(found, scope, span, (copy, None)),
            InstructionKind::Add(copy, options) => {
                let checksum = options.checksum.as_ref().map(|word| word.text.as_str());
                self.copy(found, scope, span, (copy, Some(checksum.unwrap_or_default())));
            }
            InstructionKind::Run(run) => {
                for mount in &run.mounts {
                    let parsed =
                        Mount::parse(&mount.text, &mut |value| Ok(self.word(found, scope, span, value)));
                    // What cannot be read is told of elsewhere.
                    drop(parsed);
                }
            }
            InstructionKind::Shell(_) => scope.has_shell = true,
            InstructionKind::Onbuild(trigger) => scope.triggers.push(trigger.clone()),
            _ => {}
        }
        steps::look(found, (kind, span), (last, scope.has_shell));
    }

    /// Expands a word, and tells of variables that nothing sets.
    fn word(&self, found: &mut Found<'_>, scope: &Scope, span: Span, word: &str) -> String {
        self.word_with(&self.lexer, found, scope, (span, word))
    }

    fn word_with(
        &self,
        lexer: &Lexer,
        found: &mut Found<'_>,
        scope: &Scope,
        (span, word): (Span, &str),
    ) -> String {
        let expanded = lexer.expand_until_mistake(word, &|name| scope.values.get(name).cloned());
        let is_mistake = expanded.is_err();
        let Expanded { text, unset, .. } = expanded.unwrap_or_else(|(_, expanded)| expanded);
        let is_told = |name: &String| !scope.args.contains(name) && !UNSEEN_ARGS.contains(&name.as_str());
        for name in unset.iter().filter(|name| scope.is_known && is_told(name)) {
            let near = suggest(name, scope.values.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `${near}`?")).unwrap_or_default();
            found.add(Rule::UndefinedVar, span, format!("nothing sets `${name}`{near}"));
        }
        // What an image sets that is not known may be what is missing.
        found.is_over |= is_mistake && scope.is_known;
        text
    }

    fn arg(&self, found: &mut Found<'_>, scope: &mut Scope, span: Span, arg: &ArgDeclaration) {
        steps::secrets(found, span, "ARG", &arg.name);
        let value = match (given(self.facts, &arg.name), &arg.default) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Some(default)) => Some(self.word(found, scope, span, default)),
            (None, None) => self.global.get(&arg.name).cloned(),
        };
        scope.args.insert(arg.name.clone());
        if !UNSEEN_ARGS.contains(&arg.name.as_str()) {
            scope.values.extend(value.map(|value| (arg.name.clone(), value)));
        }
    }

    /// Looks at COPY, or at ADD with its checksum.
    fn copy(&self, found: &mut Found<'_>, scope: &Scope, span: Span, (copy, add): (&Copy, Option<&str>)) {
        let flags = [copy.chown.as_ref(), copy.chmod.as_ref()].into_iter().flatten();
        flags.map(|word| word.text.as_str()).chain(add).for_each(|word| {
            self.word(found, scope, span, word);
        });
        let paths = copy.sources.iter().filter_map(|source| match source {
            CopySource::Path(word) => Some(word),
            CopySource::Heredoc(_) => None,
        });
        let paths: Vec<String> = paths.map(|word| self.word(found, scope, span, &word.text)).collect();
        self.word(found, scope, span, &copy.destination.text);
        let lexer = Lexer { skip_quotes: true, ..Lexer::new('\\') };
        for source in &copy.sources {
            if let CopySource::Heredoc(heredoc) = source
                && heredoc.expand
            {
                self.word_with(&lexer, found, scope, (span, &heredoc.text()));
            }
        }
        if copy.from.is_some() {
            return;
        }
        let keyword = if add.is_some() { "ADD" } else { "COPY" };
        for path in paths.iter().filter(|path| !path.contains("://")) {
            if (self.facts.is_ignored)(path) {
                let message = format!("{keyword} of `{path}`, which .dockerignore leaves out");
                found.add(Rule::CopyIgnoredFile, span, message);
            }
        }
    }
}
