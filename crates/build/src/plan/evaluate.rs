//! One stage's instructions with their variables expanded.

use std::borrow::Cow;

use shipway_dockerfile::{
    AddOptions, CommandLine, Copy, CopySource, Heredoc, InstructionKind, Lexer, Mount, MountKind, Run,
    RunNetwork, Word,
};
use shipway_oci::{Digest, Platform};

use super::stages::{Planner, Resolved};
use super::{Action, CopyAction, Origin, PlannedStage, RunAction, SourceWord, Step, WorkdirAction};
use crate::copy::ModeChange;
use crate::metadata::{Surroundings, apply, with_shell};
use crate::progress::{StepInfo, StepKind};
use crate::solve::check_text;
use crate::state::StageState;
use crate::time::rfc3339;
use crate::{BuildError, BuildNetwork, Problem, Secret};

pub(super) struct Evaluation {
    number: usize,
    base: Origin,
    platform: Platform,
    state: StageState,
    /// `stage-1 ` or nothing if the file has one stage.
    label: String,
    done: usize,
    total: usize,
    /// The newest step that is shown.
    last: Option<usize>,
}

impl Evaluation {
    pub(super) fn new(
        planner: &Planner<'_>,
        number: usize,
        base: Origin,
        platform: Platform,
        state: StageState,
    ) -> Self {
        let label = match (&planner.file.stages[number].name, planner.file.stages.len()) {
            (Some(name), 2..) => format!("{name} "),
            (None, 2..) => format!("stage-{number} "),
            _ => String::new(),
        };
        Self { number, base, platform, state, label, done: 0, total: 0, last: planner.last_step(base) }
    }

    pub(super) fn run(
        mut self,
        planner: &mut Planner<'_>,
        instructions: Vec<Resolved>,
    ) -> Result<PlannedStage, BuildError> {
        let is_layer = |kind: &InstructionKind| {
            matches!(
                kind,
                InstructionKind::Run(_)
                    | InstructionKind::Copy(_)
                    | InstructionKind::Add(..)
                    | InstructionKind::Workdir(_)
            )
        };
        let from_image = matches!(self.base, Origin::Image(_));
        let layers = instructions.iter().filter(|resolved| is_layer(&resolved.instruction.kind)).count();
        self.total = layers + usize::from(from_image);
        let stage = &planner.file.stages[self.number];
        let mut base_step = StepInfo {
            id: 0,
            kind: StepKind::Metadata,
            name: stage.text.clone(),
            instruction: stage.text.clone(),
            legacy: None,
            span: Some(stage.span),
            inputs: Vec::new(),
        };
        if from_image {
            let expanded = planner.global.expand(&planner.lexer, &stage.image.text).unwrap_or_default();
            let full = expanded.parse::<shipway_oci::Reference>().map_or(expanded, |name| name.to_string());
            base_step.id = planner.next_id();
            base_step.kind = StepKind::Base;
            base_step.name = self.numbered(&format!("FROM {full}"), false);
            planner.steps.push(base_step.clone());
            self.last = Some(base_step.id);
        }
        let mut steps = Vec::new();
        for resolved in instructions {
            let span = resolved.instruction.span;
            let layer = is_layer(&resolved.instruction.kind);
            let step = self.step(planner, &resolved, layer).map_err(|problem| planner.fail(problem, span))?;
            if layer {
                planner.steps.push(step.info.clone());
                self.last = Some(step.info.id);
            }
            steps.push(step);
        }
        let name = stage.name.clone().unwrap_or_else(|| format!("stage-{}", self.number));
        Ok(PlannedStage {
            name,
            base: self.base,
            platform: self.platform,
            base_step,
            steps,
            last_step: self.last,
            state: self.state,
        })
    }

    /// Returns `[stage 2/4] text`.
    fn numbered(&mut self, text: &str, is_trigger: bool) -> String {
        self.done += 1;
        let width = self.total.to_string().len();
        let trigger = if is_trigger { "ONBUILD " } else { "" };
        format!("[{}{:>width$}/{}] {trigger}{text}", self.label, self.done, self.total)
    }

    fn step(&mut self, planner: &Planner<'_>, resolved: &Resolved, layer: bool) -> Result<Step, Problem> {
        let instruction = &resolved.instruction;
        let shown = if layer { self.shown(planner, resolved) } else { instruction.text.clone() };
        let name = if layer { self.numbered(&shown, resolved.is_trigger) } else { instruction.text.clone() };
        let read = resolved.origins.iter().flatten().filter_map(|origin| planner.last_step(*origin));
        let info = StepInfo {
            id: if layer { planner.next_id() } else { 0 },
            kind: if layer { StepKind::Layer } else { StepKind::Metadata },
            name,
            instruction: instruction.text.clone(),
            legacy: None,
            span: Some(instruction.span),
            inputs: self.last.into_iter().chain(read).collect(),
        };
        let epoch = planner.epoch.map(|seconds| rfc3339(seconds, 0));
        let around = Surroundings {
            lexer: planner.lexer,
            build_args: &planner.request.build_args,
            global: &planner.global,
            epoch: epoch.as_deref(),
        };
        let image = &self.state.image;
        let known = (image.history.len(), image.config.on_build.len());
        let action = if apply(&mut self.state, &instruction.kind, &around)? {
            Action::Metadata
        } else {
            self.layer(planner, resolved)?
        };
        self.refuse_secrets(known, &planner.request.secrets)?;
        Ok(Step { info, span: instruction.span, action })
    }

    /// Refuses secrets in what an instruction has added to the history and to the triggers, of which so many were there before.
    fn refuse_secrets(&self, known: (usize, usize), secrets: &[Secret]) -> Result<(), Problem> {
        let image = &self.state.image;
        let history = image.history.iter().skip(known.0).filter_map(|made| made.created_by.as_deref());
        for text in history {
            let keyword = text.split(' ').next().unwrap_or_default();
            check_text(text, &format!("the text of {keyword}"), secrets)?;
        }
        let mut triggers = image.config.on_build.iter().skip(known.1);
        triggers.try_for_each(|text| check_text(text, "the text of ONBUILD", secrets))
    }

    /// Returns the instruction as progress shows it: keyword in upper case, known variables replaced.
    fn shown(&self, planner: &Planner<'_>, resolved: &Resolved) -> String {
        let text = &resolved.instruction.text;
        let lexer = match &resolved.instruction.kind {
            InstructionKind::Run(_) => {
                Lexer { raw_quotes: true, raw_escapes: true, skip_unset: true, ..planner.lexer }
            }
            _ => planner.lexer,
        };
        let mut scope = Cow::Borrowed(&self.state.scope);
        // Compat: BuildKit, a variable that a secret is given by has no other value.
        for name in self.secret_variables(planner, resolved) {
            scope.to_mut().set(&name, "****");
        }
        let text = scope.expand(&lexer, text).unwrap_or_else(|_| text.clone());
        let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let mut shown = format!("{} {rest}", keyword.to_uppercase());
        if let InstructionKind::Run(Run { heredocs, command: CommandLine::Shell(line), .. }) =
            &resolved.instruction.kind
            && let Some(first) = heredocs.first().filter(|_| Heredoc::is_whole(line))
        {
            let content = first.content.trim();
            let line = content.lines().next().unwrap_or_default();
            let more = if content.lines().nth(1).is_some() { "..." } else { "" };
            shown.push_str(&format!(" ({line}{more})"));
        }
        shown.trim_end().to_owned()
    }

    fn secret_variables(&self, planner: &Planner<'_>, resolved: &Resolved) -> Vec<String> {
        let InstructionKind::Run(run) = &resolved.instruction.kind else { return Vec::new() };
        let mounts = run.mounts.iter().filter_map(|word| self.mount(planner, word).ok());
        mounts.filter(|mount| mount.kind == MountKind::Secret).filter_map(|mount| mount.env).collect()
    }

    fn layer(&mut self, planner: &Planner<'_>, resolved: &Resolved) -> Result<Action, Problem> {
        let expand = |state: &StageState, word: &str| state.scope.expand(&planner.lexer, word);
        match &resolved.instruction.kind {
            InstructionKind::Run(run) => self.run_action(planner, run, resolved),
            InstructionKind::Copy(copy) => {
                self.copy_action(planner, copy, None, resolved.origins.first().copied().flatten())
            }
            InstructionKind::Add(copy, options) => self.copy_action(planner, copy, Some(options), None),
            InstructionKind::Workdir(path) => {
                let path = expand(&self.state, path)?;
                // Compat: BuildKit, an empty one is the directory that it is in.
                let path = self.state.absolute(&path);
                let path = if path == "/" { path } else { path.trim_end_matches('/').to_owned() };
                self.state.image.config.working_dir.clone_from(&path);
                let at = self.state.remember(format!("WORKDIR {path}"), None, path != "/");
                let user = self.state.image.config.user.clone();
                Ok(Action::Workdir(WorkdirAction { path, user }, at))
            }
            _ => Ok(Action::Metadata),
        }
    }

    fn run_action(
        &mut self,
        planner: &Planner<'_>,
        run: &Run,
        resolved: &Resolved,
    ) -> Result<Action, Problem> {
        let insecure = run.security.as_ref().is_some_and(|word| word.text == "insecure");
        if insecure && planner.is_run && !planner.request.allow_insecure {
            return Err(Problem::NotAllowed {
                what: "RUN --security=insecure",
                entitlement: "security.insecure",
            });
        }
        if !run.devices.is_empty() {
            return Err(Problem::Unsupported { what: "RUN --device".to_owned(), help: "leave the flag out" });
        }
        let (command, script) = reconstitute(run);
        let command = match &script {
            Some((name, _)) => CommandLine::Shell(format!("/dev/pipes/{name}")),
            None => command,
        };
        let args = with_shell(&self.state, &command);
        let mut mounts = Vec::new();
        for (word, origin) in run.mounts.iter().zip(&resolved.origins) {
            mounts.push((self.mount(planner, word)?, *origin));
        }
        let text = format!("RUN {} # buildkit", self.with_args(&args));
        let at = self.state.remember(text, None, true);
        let network = match run.network {
            RunNetwork::Default => planner.request.network,
            RunNetwork::None => BuildNetwork::None,
            RunNetwork::Host => BuildNetwork::Host,
        };
        let shell = with_shell(&self.state, &CommandLine::Shell(String::new())).swap_remove(0);
        let action = RunAction {
            args,
            shell,
            script,
            env: self.state.scope.to_env(),
            cwd: self.state.cwd().to_owned(),
            user: self.state.image.config.user.clone(),
            network,
            insecure,
            platform: self.platform.clone(),
            mounts,
        };
        Ok(Action::Run(action, at))
    }

    fn mount(&self, planner: &Planner<'_>, word: &Word) -> Result<Mount, Problem> {
        let mut mount = Mount::parse(&word.text, &mut |value| {
            let expanded = planner.lexer.expand(value, &|name| self.state.scope.get(name).map(str::to_owned));
            expanded.map(|expanded| expanded.text)
        })
        .map_err(Problem::mount)?;
        if mount.kind == MountKind::Secret && mount.target.is_none() && mount.env.is_none() {
            let id = mount
                .id
                .as_ref()
                .or(mount.source.as_ref())
                .map_or("", |id| id.rsplit('/').next().unwrap_or(id));
            mount.target = Some(format!("/run/secrets/{id}"));
        }
        if let Some(target) = &mount.target {
            let target = self.state.absolute(target);
            if target == "/" {
                return Err(Problem::invalid("a mount's target cannot be `/`"));
            }
            mount.target = Some(target.trim_end_matches('/').to_owned());
        } else if !matches!(mount.kind, MountKind::Secret | MountKind::Ssh) {
            return Err(Problem::invalid("a mount needs a target"));
        }
        Ok(mount)
    }

    /// Returns a command as the history of RUN writes it: with the number and values of ARGs.
    fn with_args(&self, args: &[String]) -> String {
        let mut values: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.state.args {
            let value = self.state.scope.get(name).or(value.as_deref()).unwrap_or_default().to_owned();
            match values.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => values.push((name.clone(), value)),
            }
        }
        let mut words = Vec::new();
        if !values.is_empty() {
            words.push(format!("|{}", values.len()));
            words.extend(values.iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend(args.iter().cloned());
        words.join(" ")
    }

    fn copy_action(
        &mut self,
        planner: &Planner<'_>,
        copy: &Copy,
        add: Option<&AddOptions>,
        from: Option<Origin>,
    ) -> Result<Action, Problem> {
        let expand = |word: &Word| self.state.scope.expand(&planner.lexer, &word.text);
        let chown = copy.chown.as_ref().map(expand).transpose()?.filter(|text| !text.is_empty());
        let chmod = copy.chmod.as_ref().map(expand).transpose()?.filter(|text| !text.is_empty());
        let chmod = chmod.map(|text| ModeChange::parse(&text).map(|mode| (text, mode))).transpose()?;
        let checksum = add.and_then(|options| options.checksum.as_ref()).map(expand).transpose()?;
        let mut text = if add.is_some() { "ADD" } else { "COPY" }.to_owned();
        if copy.parents {
            text.push_str(" --parents");
        }
        if let Some(chown) = &chown {
            text.push_str(&format!(" --chown={chown}"));
        }
        if let Some((chmod, _)) = &chmod {
            text.push_str(&format!(" --chmod={chmod}"));
        }
        let mut sources = Vec::new();
        // Compat: BuildKit, here-documents come after what has a path.
        let (inline, named): (Vec<_>, Vec<_>) =
            copy.sources.iter().partition(|source| matches!(source, CopySource::Heredoc(_)));
        for source in named.into_iter().chain(inline) {
            match source {
                CopySource::Path(word) => {
                    let path = expand(word)?;
                    text.push_str(&format!(" {path}"));
                    let remote = remote(planner, &path, add, checksum.as_ref())?;
                    sources.push(remote.unwrap_or(SourceWord::Path { path, span: word.span }));
                }
                CopySource::Heredoc(heredoc) => {
                    text.push_str(&format!(" <<{}", heredoc.name));
                    let lexer = Lexer { skip_quotes: true, ..Lexer::new('\\') };
                    let content = heredoc.text();
                    let content =
                        if heredoc.expand { self.state.scope.expand(&lexer, &content)? } else { content };
                    sources.push(SourceWord::Inline { name: heredoc.name.clone(), content });
                }
            }
        }
        let remotes = sources.iter().filter(|source| matches!(source, SourceWord::Remote { .. })).count();
        if checksum.is_some() && (remotes != 1 || sources.len() != 1) {
            return Err(Problem::invalid("--checksum is for one source that is a URL"));
        }
        let destination = self.state.absolute(&expand(&copy.destination)?);
        text.push_str(&format!(" {} # buildkit", expand(&copy.destination)?));
        let action = CopyAction {
            is_add: add.is_some(),
            sources,
            destination,
            from,
            chown,
            chmod,
            exclude: copy.exclude.clone(),
            parents: copy.parents,
            unpack: add.is_some_and(|options| options.unpack.unwrap_or(true)),
            unpack_remote: add.is_some_and(|options| options.unpack.unwrap_or(false)),
            link: copy.link,
            below: None,
        };
        let at = self.state.remember(text, None, true);
        Ok(Action::Copy(action, at))
    }
}

/// Returns a source that is an address; `None` if it is a path.
fn remote(
    planner: &Planner<'_>,
    path: &str,
    add: Option<&AddOptions>,
    checksum: Option<&String>,
) -> Result<Option<SourceWord>, Problem> {
    let keep_git_dir = add.and_then(|options| options.keep_git_dir);
    let repository = planner.remotes.repository(path, (keep_git_dir, checksum.map(String::as_str)));
    let is_git = repository.is_some();
    if !is_git && !path.starts_with("http://") && !path.starts_with("https://") {
        return Ok(None);
    }
    if add.is_none() {
        return Err(Problem::invalid(format!("COPY takes no URL (`{path}`); only ADD does")));
    }
    if let Some(Err(source)) = repository {
        return Err(Problem::Fetch { address: path.to_owned(), source });
    }
    if let Some(text) = checksum.filter(|text| !is_git && text.parse::<Digest>().is_err()) {
        return Err(Problem::invalid(no_checksum(text)));
    }
    let (address, checksum) = (path.to_owned(), checksum.cloned());
    Ok(Some(SourceWord::Remote { address, is_git, checksum, keep_git_dir }))
}

/// Says why a checksum cannot be one of a file.
fn no_checksum(text: &str) -> String {
    match text.split_once(':') {
        Some(("sha384" | "sha512" | "blake3", _)) => {
            format!("--checksum: only sha256 is taken, not `{text}`: see `curl -L URL | sha256sum`")
        }
        _ => format!("--checksum: `{text}` is no digest"),
    }
}

/// Returns the command that a RUN with heredocs stands for, and a script to run instead if one starts with `#!`.
fn reconstitute(run: &Run) -> (CommandLine, Option<(String, String)>) {
    let (CommandLine::Shell(line), Some(first)) = (&run.command, run.heredocs.first()) else {
        return (run.command.clone(), None);
    };
    // Only a heredoc: its text is the command.
    if Heredoc::is_whole(line) {
        let text = first.text();
        if text.starts_with("#!") {
            return (CommandLine::Shell(text.clone()), Some((first.name.clone(), text)));
        }
        return (CommandLine::Shell(text), None);
    }
    // More than that: the shell reads the heredocs itself.
    let mut whole = line.clone();
    for heredoc in &run.heredocs {
        whole.push('\n');
        whole.push_str(&heredoc.content);
        whole.push_str(&heredoc.name);
    }
    (CommandLine::Shell(whole), None)
}
