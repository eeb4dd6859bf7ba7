//! Rules about variables, base images and the context.

use std::collections::{HashMap, HashSet};

use shipway_oci::Reference;

use super::{Facts, Found, KnownImage, Rule};
use crate::expand::Lexer;
use crate::instruction::{Copy, CopySource, Instruction, InstructionKind};
use crate::source::Span;
use crate::stages::Stage;
use crate::suggest::suggest;

/// Build arguments that need no ARG. Compat: BuildKit.
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

type Values = HashMap<String, String>;

/// What is known at a place of a stage.
#[derive(Clone, Default)]
struct Scope {
    values: Values,
    /// Declared, with or without a value.
    names: HashSet<String>,
    /// What the base image sets is known.
    is_known: bool,
    has_workdir: bool,
}

pub(super) fn look(found: &mut Found<'_>, facts: &Facts<'_>) {
    let file = found.file;
    let lexer = Lexer::new(file.directives.escape);
    let predefined: Values = facts.platform.iter().cloned().collect();
    let (mut global, mut defaults) = (predefined.clone(), predefined);
    let mut declared: HashSet<&str> = facts.platform.iter().map(|(name, _)| name.as_str()).collect();
    for arg in &file.global_args {
        let name = arg.declaration.name.as_str();
        declared.insert(name);
        let given = facts.build_args.iter().rev().find(|(known, _)| known == name);
        let default = arg.declaration.default.as_deref();
        let expand = |values: &Values, text: &str| expanded(&lexer, values, text).0;
        if let Some(default) = default {
            defaults.insert(name.to_owned(), expand(&defaults, default));
        }
        let value =
            given.map(|(_, value)| value.clone()).or_else(|| default.map(|text| expand(&global, text)));
        global.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut scopes: HashMap<String, Scope> = HashMap::new();
    for (number, stage) in file.stages.iter().enumerate() {
        from(found, &lexer, (stage, &declared, &defaults));
        let image = expanded(&lexer, &global, &stage.image.text).0;
        let mut scope = match scopes.get(&image.to_lowercase()) {
            Some(base) => base.clone(),
            None => of_image(found, facts, stage, (&image, &global)),
        };
        for instruction in &stage.instructions {
            look_at(found, facts, &lexer, (instruction, &mut scope, &global));
        }
        // Compat: BuildKit, a stage that starts from another one has its ARGs too.
        scopes.insert(number.to_string(), scope.clone());
        if let Some(name) = &stage.name {
            scopes.insert(name.clone(), scope);
        }
    }
}

/// Expands a word; returns the names that are not set, too. A word that cannot be expanded is told of elsewhere.
fn expanded(lexer: &Lexer, values: &Values, word: &str) -> (String, Vec<String>) {
    let expanded = lexer.expand(word, &|name| values.get(name).cloned());
    expanded.map(|expanded| (expanded.text, expanded.unset)).unwrap_or_default()
}

fn from(
    found: &mut Found<'_>,
    lexer: &Lexer,
    (stage, declared, defaults): (&Stage, &HashSet<&str>, &Values),
) {
    let empty = Values::new();
    let words = std::iter::once(&stage.image).chain(&stage.platform);
    for name in words.flat_map(|word| expanded(lexer, &empty, &word.text).1) {
        if !declared.contains(name.as_str()) {
            let near =
                suggest(&name, declared.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("no ARG before FROM declares `{name}`{}", near.unwrap_or_default());
            found.add(Rule::UndefinedArgInFrom, stage.span, message);
        }
    }
    let (image, _) = expanded(lexer, defaults, &stage.image.text);
    let uses_variables = stage.image.text.contains('$');
    if uses_variables && (image.is_empty() || image != "scratch" && image.parse::<Reference>().is_err()) {
        let message = format!("with the defaults of its ARGs `{}` names no image", stage.image.text);
        found.add(Rule::InvalidDefaultArgInFrom, stage.span, message);
    }
}

fn of_image(
    found: &mut Found<'_>,
    facts: &Facts<'_>,
    stage: &Stage,
    (image, global): (&str, &Values),
) -> Scope {
    if image == "scratch" {
        return Scope { is_known: true, ..Scope::default() };
    }
    let Some(KnownImage { env, platform: is_for }) = (facts.image)(image) else { return Scope::default() };
    let lexer = Lexer::new(found.file.directives.escape);
    let asked = stage.platform.as_ref().map(|word| expanded(&lexer, global, &word.text).0);
    let asked = asked.or_else(|| global.get("TARGETPLATFORM").cloned()).unwrap_or_default();
    let same = |one: &str, other: &str| one.split('/').take(2).eq(other.split('/').take(2));
    if !asked.is_empty() && !same(&asked, &is_for) {
        let message = format!("`{image}` is for {is_for}, and this build wants {asked}");
        found.add(Rule::InvalidBaseImagePlatform, stage.span, message);
    }
    let values: Values = env
        .iter()
        .filter_map(|text| text.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Scope { names: values.keys().cloned().collect(), values, is_known: true, has_workdir: false }
}

fn look_at(
    found: &mut Found<'_>,
    facts: &Facts<'_>,
    lexer: &Lexer,
    (instruction, scope, global): (&Instruction, &mut Scope, &Values),
) {
    let span = instruction.span;
    let mut unset: Vec<String> = Vec::new();
    let mut expand = |scope: &Scope, word: &str| {
        let (text, more) = expanded(lexer, &scope.values, word);
        unset.extend(more);
        text
    };
    match &instruction.kind {
        InstructionKind::Env(pairs) => {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|pair| (expand(scope, &pair.key), expand(scope, &pair.value))).collect();
            for (name, value) in pairs {
                scope.names.insert(name.clone());
                scope.values.insert(name, value);
            }
        }
        InstructionKind::Arg(args) => {
            for arg in args {
                let given = facts.build_args.iter().rev().find(|(name, _)| *name == arg.name);
                let value = match (given, &arg.default) {
                    (Some((_, value)), _) => Some(value.clone()),
                    (None, Some(default)) => Some(expand(scope, default)),
                    (None, None) => global.get(&arg.name).cloned(),
                };
                scope.names.insert(arg.name.clone());
                scope.values.extend(value.map(|value| (arg.name.clone(), value)));
            }
        }
        InstructionKind::Label(pairs) => pairs.iter().for_each(|pair| {
            expand(scope, &pair.key);
            expand(scope, &pair.value);
        }),
        InstructionKind::Expose(words) => words.iter().for_each(|word| drop(expand(scope, &word.text))),
        InstructionKind::Volume(paths) => paths.iter().for_each(|path| drop(expand(scope, path))),
        InstructionKind::User(text) | InstructionKind::StopSignal(text) => drop(expand(scope, text)),
        InstructionKind::Workdir(path) => {
            let path = expand(scope, path);
            if path.starts_with('/') {
                scope.has_workdir = true;
            } else if !scope.has_workdir {
                let message = format!("where `{path}` is depends on the working directory of the base image");
                found.add(Rule::WorkdirRelativePath, span, message);
            }
        }
        InstructionKind::Copy(copy) | InstructionKind::Add(copy, _) => {
            let words = [Some(&copy.destination), copy.chown.as_ref(), copy.chmod.as_ref()];
            words.into_iter().flatten().for_each(|word| drop(expand(scope, &word.text)));
            let sources: Vec<String> = copy
                .sources
                .iter()
                .filter_map(|source| match source {
                    CopySource::Path(word) => Some(expand(scope, &word.text)),
                    CopySource::Heredoc(_) => None,
                })
                .collect();
            ignored(found, facts, span, (copy, instruction.kind.keyword(), &sources));
        }
        _ => {}
    }
    if !scope.is_known {
        return;
    }
    for name in
        unset.iter().filter(|name| !scope.names.contains(*name) && !PREDEFINED.contains(&name.as_str()))
    {
        let near = suggest(name, scope.names.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `${near}`?")).unwrap_or_default();
        found.add(Rule::UndefinedVar, span, format!("nothing sets `${name}`{near}"));
    }
}

fn ignored(
    found: &mut Found<'_>,
    facts: &Facts<'_>,
    span: Span,
    (copy, keyword, sources): (&Copy, &str, &[String]),
) {
    if copy.from.is_some() {
        return;
    }
    for source in sources {
        let path = source.trim_start_matches("./").trim_matches('/');
        let is_plain =
            !path.is_empty() && path != "." && !path.contains(['*', '?', '[']) && !path.contains("://");
        let is_all = path.is_empty() || path == ".";
        if is_plain && (facts.is_ignored)(path) || is_all && facts.is_empty {
            let message = format!("{keyword} of `{source}`, which .dockerignore leaves out");
            found.add(Rule::CopyIgnoredFile, span, message);
        }
    }
}
