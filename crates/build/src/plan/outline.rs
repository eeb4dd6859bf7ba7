//! What a build of a stage takes: arguments, secrets, agents.
//!
//! Compat: BuildKit: of the arguments before the first FROM only those that are used, also by way of others; all that a needed stage
//! declares; each name once, as the stage has it that is asked for, else those that it starts from, else those that it reads.

use std::collections::{HashMap, HashSet};

use shipway_dockerfile::{
    ArgDeclaration, Instruction, InstructionKind, Mount, MountKind, Source, Span, Stage,
};

use super::mistakes::{Outlook, look_ahead};
use super::stages::{Planner, target_stage};
use crate::lint::{known_image, lint};
use crate::seams::Unreachable;
use crate::solve::{agent_id, secret_id};
use crate::state::StageState;
use crate::variables::Variables;
use crate::{BuildError, BuildRequest, Silent, builder};

/// What a stage takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its name, or nothing.
    pub name: String,
    /// What its comment says.
    pub description: String,
    /// Build arguments, in the order of lines.
    pub args: Vec<OutlinedArg>,
    /// Secrets, in the order of lines.
    pub secrets: Vec<Wanted>,
    /// Agents, in the order of lines.
    pub agents: Vec<Wanted>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinedArg {
    /// Its name.
    pub name: String,
    /// What its comment says.
    pub description: String,
    /// Its value in this build, expanded; empty if it has none.
    pub value: String,
    /// The ARG that declares it.
    pub place: Span,
}

/// A secret or an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its id.
    pub id: String,
    /// The command does not run without it.
    pub required: bool,
    /// The RUN that mounts it.
    pub place: Span,
}

/// Returns what the target of a request takes, and the file that says so. Nothing is fetched: what images set that are not here is unknown.
pub fn outline(request: &BuildRequest, outlook: Outlook<'_>) -> Result<(Source, Outline), BuildError> {
    let file = builder::read(request)?;
    let (needed, mistake) = look_ahead((&file, request), outlook, false);
    if let Some((mistake, _)) = mistake {
        return Err(mistake.error);
    }
    let known = |name: &str| (outlook.image)(name).map(|config| known_image(&config));
    if let Some(failure) = lint(&file, request, &known, (&needed, Default::default()))?.failure() {
        return Err(failure);
    }
    let target = target_stage(&file, request)?;
    let remotes = Unreachable { repository: outlook.repository };
    let mut planner = Planner::new((&file, request), target, (&outlook, &Silent, &remotes));
    planner.is_run = false;
    let globals = planner.outlined_globals();
    let mut walk = Walk { planner: &planner, globals, taken: HashMap::new() };
    for number in (0..needed.len()).filter(|number| needed[*number]) {
        let taken = walk.stage(number);
        walk.taken.insert(number, taken);
    }
    let stage = &file.stages[target];
    let mut outline = Outline { name: stage.name.clone().unwrap_or_default(), ..Outline::default() };
    outline.description = described(&stage.comments, &outline.name);
    walk.collect(target, &mut HashSet::new(), &mut outline);
    outline.args.sort_by_key(|arg| arg.place.start);
    outline.secrets.sort_by_key(|secret| secret.place.start);
    outline.agents.sort_by_key(|agent| agent.place.start);
    Ok((file.source.clone(), outline))
}

/// Returns what a comment above an instruction says of a name.
pub fn described(comments: &[String], name: &str) -> String {
    let said = |comment: &String| {
        let rest = comment.strip_prefix(name).filter(|_| !name.is_empty())?;
        rest.strip_prefix(' ').map(str::to_owned)
    };
    comments.iter().find_map(said).unwrap_or_default()
}

#[derive(Clone)]
struct Declared {
    arg: OutlinedArg,
    /// Other arguments in its value.
    uses: HashSet<String>,
}

/// What a stage takes itself.
#[derive(Default)]
struct Taken {
    /// What it declares last under each name, in the order of the first declaration.
    declared: Vec<Declared>,
    /// Names of arguments that it needs.
    used: HashSet<String>,
    /// Those of them in FROM lines.
    used_in_from: HashSet<String>,
    secrets: Vec<Wanted>,
    agents: Vec<Wanted>,
    /// What its instructions see at its end.
    scope: Variables,
}

struct Walk<'a> {
    planner: &'a Planner<'a>,
    globals: Vec<Declared>,
    taken: HashMap<usize, Taken>,
}

impl Planner<'_> {
    /// Returns the arguments before the first FROM, and sets them.
    fn outlined_globals(&mut self) -> Vec<Declared> {
        let mut all: Vec<Declared> = Vec::new();
        for global in &self.file.global_args {
            let ArgDeclaration { name, default } = &global.declaration;
            let mut uses = HashSet::new();
            let given = self.request.build_args.iter().rev().find(|(known, _)| known == name);
            let value = match (given, default) {
                (Some((_, value)), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let get = |name: &str| self.global.get(name).map(str::to_owned);
                    let expanded = self.lexer.expand(default, &get).unwrap_or_default();
                    uses.extend(expanded.used);
                    // One that has its own older value uses what that used.
                    if uses.remove(name) {
                        let older = all.iter().find(|known| known.arg.name == *name);
                        uses.extend(older.iter().flat_map(|known| known.uses.iter().cloned()));
                    }
                    Some(expanded.text)
                }
                (None, None) => None,
            };
            if let Some(value) = &value {
                self.global.set(name, value);
            }
            let arg = OutlinedArg {
                name: name.clone(),
                description: described(&global.comments, name),
                value: value.unwrap_or_default(),
                place: global.span,
            };
            declare(&mut all, Declared { arg, uses });
        }
        all
    }
}

fn declare(all: &mut Vec<Declared>, new: Declared) {
    match all.iter_mut().find(|known| known.arg.name == new.arg.name) {
        Some(known) => *known = new,
        None => all.push(new),
    }
}

impl Walk<'_> {
    fn stage(&self, number: usize) -> Taken {
        let planner = self.planner;
        let stage = &planner.file.stages[number];
        let base = planner.base_stage(number);
        let of_base = base.and_then(|base| self.taken.get(&base));
        let mut used: HashSet<String> = of_base.map(|base| base.used_in_from.clone()).unwrap_or_default();
        let get = |name: &str| planner.global.get(name).map(str::to_owned);
        for word in std::iter::once(&stage.image).chain(&stage.platform) {
            used.extend(planner.lexer.expand(&word.text, &get).unwrap_or_default().used);
        }
        let mut taken = Taken {
            declared: self.globals.clone(),
            used_in_from: used.clone(),
            used,
            scope: of_base.map_or_else(|| self.scope_of_image(stage), |base| base.scope.clone()),
            ..Taken::default()
        };
        let triggers = base.map(|base| planner.triggers(base, stage)).unwrap_or_default();
        triggers.iter().chain(&stage.instructions).for_each(|found| self.instruction(&mut taken, found));
        taken
    }

    fn scope_of_image(&self, stage: &Stage) -> Variables {
        let planner = self.planner;
        let name = planner.image_name(stage).unwrap_or_default();
        let image = name.parse().ok().filter(|_| name != "scratch");
        let image = image.and_then(|name| planner.bases.resolve(&name, &planner.platform).ok());
        let state = image.map(|image| StageState::of_image(&image.config));
        state.unwrap_or_else(|| StageState::scratch(&planner.platform)).scope
    }

    fn instruction(&self, taken: &mut Taken, instruction: &Instruction) {
        let lexer = &self.planner.lexer;
        match &instruction.kind {
            InstructionKind::Env(pairs) => {
                let expand = |word: &str| taken.scope.expand(lexer, word).unwrap_or_default();
                let pairs: Vec<(String, String)> =
                    pairs.iter().map(|pair| (expand(&pair.key), expand(&pair.value))).collect();
                pairs.iter().for_each(|(name, value)| taken.scope.set(name, value));
            }
            InstructionKind::Arg(args) => args.iter().for_each(|arg| self.arg(taken, instruction, arg)),
            InstructionKind::Run(run) => {
                for word in &run.mounts {
                    let get = |name: &str| taken.scope.get(name).map(str::to_owned);
                    let mut expand = |word: &str| lexer.expand(word, &get).map(|expanded| expanded.text);
                    let Ok(mount) = Mount::parse(&word.text, &mut expand) else { continue };
                    mounted(taken, &mount, instruction.span);
                }
            }
            _ => {}
        }
    }

    fn arg(&self, taken: &mut Taken, instruction: &Instruction, arg: &ArgDeclaration) {
        let given = self.planner.request.build_args.iter().rev().find(|(known, _)| *known == arg.name);
        let inherited = self.planner.global.get(&arg.name);
        let value = match (given, &arg.default) {
            (Some((_, value)), _) => Some(value.clone()),
            (None, Some(default)) => taken.scope.expand(&self.planner.lexer, default).ok(),
            (None, None) => inherited.map(str::to_owned),
        };
        taken.used.insert(arg.name.clone());
        if let Some(value) = &value {
            taken.scope.set(&arg.name, value);
        }
        // One that only lets an older one in is shown as that one.
        if given.is_none() && arg.default.is_none() && inherited.is_some() {
            return;
        }
        let arg = OutlinedArg {
            name: arg.name.clone(),
            description: described(&instruction.comments, &arg.name),
            value: value.unwrap_or_default(),
            place: instruction.span,
        };
        declare(&mut taken.declared, Declared { arg, uses: HashSet::new() });
    }

    /// Adds what a stage takes, then what those take that it starts from and reads.
    fn collect(&self, number: usize, seen: &mut HashSet<usize>, into: &mut Outline) {
        let Some(taken) = self.taken.get(&number).filter(|_| seen.insert(number)) else { return };
        let mut used = HashSet::new();
        let mut open: Vec<&String> = taken.used.iter().collect();
        while let Some(name) = open.pop() {
            if used.insert(name) {
                let declared = taken.declared.iter().filter(|declared| declared.arg.name == *name);
                open.extend(declared.flat_map(|declared| &declared.uses));
            }
        }
        for Declared { arg, .. } in &taken.declared {
            if used.contains(&arg.name) && !into.args.iter().any(|known| known.name == arg.name) {
                into.args.push(arg.clone());
            }
        }
        for (own, all) in [(&taken.secrets, &mut into.secrets), (&taken.agents, &mut into.agents)] {
            for wanted in own {
                if !all.iter().any(|known| known.id == wanted.id) {
                    all.push(wanted.clone());
                }
            }
        }
        let sources = self.planner.sources(number).into_iter().map(|(source, _)| source);
        for below in self.planner.base_stage(number).into_iter().chain(sources) {
            self.collect(below, seen, into);
        }
    }
}

fn mounted(taken: &mut Taken, mount: &Mount, place: Span) {
    let (list, id) = match mount.kind {
        MountKind::Secret => (&mut taken.secrets, secret_id(mount)),
        MountKind::Ssh => (&mut taken.agents, agent_id(mount)),
        _ => return,
    };
    if !list.iter().any(|known| known.id == id) {
        list.push(Wanted { id, required: mount.required, place });
    }
}
