//! Which stages are needed, what they start from, and the triggers of their bases.

use std::collections::HashMap;
use std::path::PathBuf;

use shipway_dockerfile::{
    Copy, Dockerfile, GlobalArg, Instruction, InstructionKind, Lexer, Span, Stage, Word, parse_trigger,
    suggest,
};
use shipway_oci::{Platform, Reference};

use super::evaluate::Evaluation;
use super::{Origin, Plan, PlannedContext, PlannedImage, PlannedStage};
use crate::progress::{StepInfo, StepKind};
use crate::solve::{check_text, star, tell};
use crate::state::{StageState, WINDOWS};
use crate::variables::{Variables, platform_variables};
use crate::{
    BaseImages, BuildError, BuildRequest, Builder, ContextSource, Event, NamedContext, Problem, Progress,
    Remotes,
};

/// An instruction with the places that its `from`s name.
pub(super) struct Resolved {
    pub(super) instruction: Instruction,
    pub(super) is_trigger: bool,
    /// `COPY --from`, or one for each mount of RUN.
    pub(super) origins: Vec<Option<Origin>>,
}

pub(super) struct Planner<'a> {
    pub(super) file: &'a Dockerfile,
    pub(super) request: &'a BuildRequest,
    pub(super) lexer: Lexer,
    pub(super) global: Variables,
    pub(super) platform: Platform,
    pub(super) bases: &'a dyn BaseImages,
    pub(super) progress: &'a dyn Progress,
    pub(super) remotes: &'a dyn Remotes,
    pub(super) epoch: Option<i64>,
    /// What is planned is to be done, here.
    pub(super) is_run: bool,
    stages: Vec<PlannedStage>,
    pub(super) images: Vec<PlannedImage>,
    contexts: Vec<PlannedContext>,
    /// Stages of the file that are planned, by their number there.
    known: HashMap<usize, usize>,
    pub(super) steps: Vec<StepInfo>,
}

/// Of more stages those that others build on are planned first, lest a chain of them needs more stack than there is.
const SHALLOW: usize = 50;

/// Plans a build of a parsed file.
pub(crate) fn plan(file: &Dockerfile, request: &BuildRequest, builder: &Builder) -> Result<Plan, BuildError> {
    let (bases, progress, remotes) = (&*builder.bases, &*builder.progress, &*builder.remotes);
    let load = tell_loaded(file, progress);
    let target = target_stage(file, request)?;
    let mut planner = Planner::new((file, request), target, (bases, progress, remotes));
    planner.steps.push(load);
    planner.global_args()?;
    planner.epoch = planner.source_date_epoch()?;
    for (kind, name, value) in said_of_the_image(request) {
        let what = format!("the {kind} `{}`", star(name, &request.secrets));
        check_text(&format!("{name}={value}"), &what, &request.secrets)
            .map_err(|problem| planner.fail(problem, file.stages[target].span))?;
    }
    if file.stages.len() > SHALLOW {
        let needed = planner.needed(target);
        (0..=target)
            .filter(|number| needed[*number])
            .try_for_each(|number| planner.stage(number).map(drop))?;
    }
    planner.stage(target)?;
    planner.number_legacy();
    let unused_args = planner.unused_args();
    let needed = (0..file.stages.len()).map(|number| planner.known.contains_key(&number)).collect();
    Ok(Plan {
        source: file.source.clone(),
        stages: planner.stages,
        images: planner.images,
        contexts: planner.contexts,
        epoch: planner.epoch,
        steps: planner.steps,
        unused_args,
        needed,
    })
}

/// Returns what the command line says of the image, and what it is.
fn said_of_the_image(request: &BuildRequest) -> impl Iterator<Item = (&'static str, &String, &String)> {
    let labels = request.labels.iter().map(|(name, value)| ("label", name, value));
    let all = [&request.annotations, &request.index_annotations, &request.descriptor_annotations];
    let annotations = all.into_iter().flatten().map(|(name, value)| ("annotation", name, value));
    let of_one = request.platform_annotations.iter().map(|own| ("annotation", &own.name, &own.value));
    labels.chain(annotations).chain(of_one)
}

/// Tells that the Dockerfile was read, and returns the step that did it.
pub(crate) fn tell_loaded(file: &Dockerfile, progress: &dyn Progress) -> StepInfo {
    let load = internal(1, format!("[internal] load build definition from {}", file.source.name()));
    progress.event(&Event::Started { step: &load });
    progress.event(&Event::Done { step: &load, elapsed: std::time::Duration::ZERO, key: None });
    load
}

/// Returns a step that no instruction asks for.
pub(crate) fn internal(id: usize, name: String) -> StepInfo {
    StepInfo {
        id,
        kind: StepKind::Internal,
        instruction: name.clone(),
        name,
        legacy: None,
        span: None,
        inputs: vec![],
    }
}

pub(super) fn target_stage(file: &Dockerfile, request: &BuildRequest) -> Result<usize, BuildError> {
    let Some(name) = &request.target else { return Ok(file.stages.len() - 1) };
    let lower = name.to_lowercase();
    let found = file.stages.iter().rposition(|stage| stage.name.as_ref() == Some(&lower));
    let numbered = || name.parse::<usize>().ok().filter(|number| *number < file.stages.len());
    found.or_else(numbered).ok_or_else(|| {
        let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        let hint = match suggest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "name a stage with `FROM image AS name`".to_owned(),
            None => format!("the stages are: {}", names.join(", ")),
        };
        BuildError::UnknownTarget { name: name.clone(), hint }
    })
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        (file, request): (&'a Dockerfile, &'a BuildRequest),
        target: usize,
        (bases, progress, remotes): (&'a dyn BaseImages, &'a dyn Progress, &'a dyn Remotes),
    ) -> Self {
        let platform = request.platform();
        let name = file.stages[target].name.clone().unwrap_or_default();
        Self {
            file,
            request,
            lexer: Lexer::new(file.directives.escape),
            global: platform_variables(&Platform::host(), &platform, &name, &request.build_args),
            platform,
            bases,
            progress,
            remotes,
            epoch: None,
            is_run: true,
            stages: Vec::new(),
            images: Vec::new(),
            contexts: Vec::new(),
            known: HashMap::new(),
            steps: Vec::new(),
        }
    }
}

impl Planner<'_> {
    pub(super) fn fail(&self, problem: Problem, span: Span) -> BuildError {
        tell(problem, (&self.file.source, span), &self.request.secrets, "")
    }

    pub(super) fn global_args(&mut self) -> Result<(), BuildError> {
        for GlobalArg { declaration: arg, span, .. } in &self.file.global_args {
            let given = self.request.build_args.iter().rev().find(|(name, _)| *name == arg.name);
            let value = match (given, &arg.default) {
                (Some((_, value)), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let expanded = self.global.expand(&self.lexer, default);
                    Some(expanded.map_err(|problem| self.fail(problem, *span))?)
                }
                (None, None) => None,
            };
            if let Some(value) = value {
                self.global.set(&arg.name, &value);
            }
        }
        Ok(())
    }

    fn source_date_epoch(&self) -> Result<Option<i64>, BuildError> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        let given = self
            .request
            .build_args
            .iter()
            .rev()
            .find(|(name, _)| name == NAME)
            .map(|(_, value)| value.as_str());
        let text = given.or_else(|| self.global.get(NAME)).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse::<i64>().ok().filter(|seconds| (0..=253_402_300_799).contains(seconds));
        parsed.map(Some).ok_or_else(|| {
            let problem = Problem::invalid(format!("{NAME} is a number of seconds since 1970, not `{text}`"));
            self.fail(problem, self.file.stages[0].span)
        })
    }

    /// Plans a stage of the file and everything that it needs; returns its place in the plan.
    pub(super) fn stage(&mut self, number: usize) -> Result<usize, BuildError> {
        if let Some(place) = self.known.get(&number) {
            return Ok(*place);
        }
        let stage = &self.file.stages[number];
        let span = stage.image.span;
        let name = self.image_name(stage)?;
        let platform = self.stage_platform(stage)?;
        let base = self.origin(&name, number, span, platform.as_ref().unwrap_or(&self.platform).clone())?;
        let platform = match base {
            Origin::Stage(base) => self.stages[base].platform.clone(),
            // Compat: BuildKit, nothing is for whatever the build is for.
            Origin::Scratch => self.platform.clone(),
            _ => platform.unwrap_or_else(|| self.platform.clone()),
        };
        let (state, triggers) = match base {
            Origin::Scratch | Origin::Context(_) => (StageState::scratch(&platform), Vec::new()),
            Origin::Image(image) => {
                let config = &self.images[image].image.config;
                if config.os == WINDOWS {
                    let why = format!(
                        "`{name}` is an image of Windows, whose layers have a form of their own: only FROM scratch makes one here"
                    );
                    return Err(self.fail(Problem::invalid(why), span));
                }
                (StageState::of_image(config), config.config.on_build.clone())
            }
            Origin::Stage(base) => {
                let state = &self.stages[base].state;
                (StageState::of_stage(state), state.image.config.on_build.clone())
            }
        };
        let mut instructions = Vec::new();
        let base = match base {
            // Compat: BuildKit, what is in the directory is all that there is.
            Origin::Context(_) => {
                let copy = parse_trigger(&format!("COPY --from={name} / /"), &self.file.source, stage.span)
                    .map_err(|error| BuildError::Dockerfile(Box::new(error)))?;
                instructions.push(Resolved {
                    instruction: copy,
                    is_trigger: false,
                    origins: vec![Some(base)],
                });
                Origin::Scratch
            }
            base => base,
        };
        for trigger in &triggers {
            let instruction = parse_trigger(trigger, &self.file.source, stage.span)
                .map_err(|error| BuildError::Dockerfile(Box::new(error)))?;
            instructions.push(self.resolve(instruction, true, number)?);
        }
        for instruction in &stage.instructions {
            instructions.push(self.resolve(instruction.clone(), false, number)?);
        }
        let evaluation = Evaluation::new(self, number, base, platform, state);
        let planned = evaluation.run(self, instructions)?;
        self.stages.push(planned);
        self.known.insert(number, self.stages.len() - 1);
        Ok(self.stages.len() - 1)
    }

    /// Returns what a FROM names.
    pub(super) fn image_name(&self, stage: &Stage) -> Result<String, BuildError> {
        let (text, span) = (&stage.image.text, stage.image.span);
        let name = self.global.expand(&self.lexer, text).map_err(|problem| self.fail(problem, span))?;
        if name.is_empty() {
            let problem = Problem::invalid(format!("the image `{text}` is empty after expansion"));
            return Err(self.fail(problem, span));
        }
        Ok(name)
    }

    pub(super) fn stage_platform(&self, stage: &Stage) -> Result<Option<Platform>, BuildError> {
        let Some(word) = &stage.platform else { return Ok(None) };
        let fail = |problem| self.fail(problem, word.span);
        let text = self.global.expand(&self.lexer, &word.text).map_err(fail)?;
        text.parse()
            .map(Some)
            .map_err(|error| self.fail(Problem::invalid(format!("--platform: {error}")), word.span))
    }

    /// Finds what a FROM or `from` names: a stage above `number`, else an image.
    fn origin(
        &mut self,
        name: &str,
        number: usize,
        span: Span,
        platform: Platform,
    ) -> Result<Origin, BuildError> {
        let lower = name.to_lowercase();
        let above = self.file.stages[..number].iter().rposition(|stage| stage.name.as_ref() == Some(&lower));
        // Compat: BuildKit, it is what it is, but for a stage of that name.
        if name == "scratch" && above.is_none() {
            return Ok(Origin::Scratch);
        }
        if let Some(source) = self.named(name) {
            return match source {
                ContextSource::Scratch => Ok(Origin::Scratch),
                ContextSource::Image(reference) => self.image(&reference, &platform, span).map(Origin::Image),
                ContextSource::Layout(layout) => {
                    let name = layout_name(&layout);
                    let found = self.find_image((name.clone(), name), &platform, span, |bases| {
                        bases.in_layout(&layout, &platform)
                    });
                    found.map(Origin::Image)
                }
                ContextSource::Directory(directory) => Ok(self.directory(name, directory)),
            };
        }
        if let Some(above) = above {
            return self.stage(above).map(Origin::Stage);
        }
        let reference: Reference = name
            .parse()
            .map_err(|error| self.fail(Problem::invalid(format!("`{name}` is no image: {error}")), span))?;
        self.image(&reference, &platform, span).map(Origin::Image)
    }

    /// Returns what `--build-context` says of a name. Compat: BuildKit, an image may be named in full or not.
    pub(super) fn named(&self, name: &str) -> Option<ContextSource> {
        let full: Option<Reference> = name.parse().ok();
        let is_it = |context: &&NamedContext| {
            context.name.eq_ignore_ascii_case(name)
                || full.is_some() && context.name.parse::<Reference>().ok() == full
        };
        self.request.contexts.iter().rev().find(is_it).map(|context| context.source.clone())
    }

    fn directory(&mut self, name: &str, directory: PathBuf) -> Origin {
        let known = self.contexts.iter().position(|context| context.directory == directory);
        Origin::Context(known.unwrap_or_else(|| {
            self.contexts.push(PlannedContext { name: name.to_owned(), directory });
            self.contexts.len() - 1
        }))
    }

    /// Like [`Self::origin`], for `--from`, which may also be a number.
    fn copy_origin(&mut self, name: &str, number: usize, span: Span) -> Result<Origin, BuildError> {
        let later = |planner: &Self| {
            let problem = Problem::LaterStage { name: name.to_owned() };
            Err(planner.fail(problem, span))
        };
        if self.named(name).is_some() {
            let platform = self.platform.clone();
            return self.origin(name, number, span, platform);
        }
        if let Ok(index) = name.parse::<usize>() {
            let count = self.file.stages.len();
            if index >= count {
                return Err(self.fail(Problem::NoStage { number: index, count }, span));
            }
            if index >= number {
                return later(self);
            }
            return self.stage(index).map(Origin::Stage);
        }
        let lower = name.to_lowercase();
        let is_above = self.file.stages[..number].iter().any(|stage| stage.name.as_ref() == Some(&lower));
        let is_later = self.file.stages[number..].iter().any(|stage| stage.name.as_ref() == Some(&lower));
        if is_later && !is_above {
            return later(self);
        }
        let platform = self.platform.clone();
        self.origin(name, number, span, platform)
    }

    /// Looks whether a `--from` is what it says.
    pub(super) fn plain_from(&self, from: &Word) -> Result<(), BuildError> {
        let expanded = Variables::default().expand(&self.lexer, &from.text);
        if expanded.map_err(|problem| self.fail(problem, from.span))? == from.text {
            return Ok(());
        }
        let problem = "flag `--from` takes no variables: name what it is in a FROM, and take that stage";
        Err(self.fail(Problem::invalid(problem), from.span))
    }

    fn resolve(
        &mut self,
        instruction: Instruction,
        is_trigger: bool,
        number: usize,
    ) -> Result<Resolved, BuildError> {
        let origins = match &instruction.kind {
            InstructionKind::Copy(Copy { from: Some(from), .. }) => {
                self.plain_from(from)?;
                vec![Some(self.copy_origin(&from.text, number, from.span)?)]
            }
            InstructionKind::Run(run) => {
                let mut origins = Vec::new();
                for mount in &run.mounts {
                    origins.push(match from_of_mount(&mount.text) {
                        Some(from) => Some(self.copy_origin(from, number, mount.span)?),
                        None => None,
                    });
                }
                origins
            }
            _ => Vec::new(),
        };
        Ok(Resolved { instruction, is_trigger, origins })
    }

    pub(super) fn next_id(&self) -> usize {
        self.steps.len() + 1
    }

    /// Returns the step that is shown after which files are as a place has them, if there is one.
    pub(super) fn last_step(&self, origin: Origin) -> Option<usize> {
        match origin {
            Origin::Stage(stage) => self.stages[stage].last_step,
            _ => None,
        }
    }

    /// Numbers all instructions for the legacy form.
    fn number_legacy(&mut self) {
        let count = |stage: &PlannedStage| 1 + stage.steps.len();
        let total = self.stages.iter().map(count).sum();
        let mut number = 0;
        for stage in &mut self.stages {
            number += 1;
            stage.base_step.legacy = Some((number, total));
            for step in &mut stage.steps {
                number += 1;
                step.info.legacy = Some((number, total));
            }
        }
    }

    fn unused_args(&self) -> Vec<String> {
        const PREDEFINED: [&str; 14] = [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "FTP_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
            "SOURCE_DATE_EPOCH",
            "BUILDKIT_INLINE_CACHE",
            "BUILDKIT_SYNTAX",
            "BUILDKIT_MULTI_PLATFORM",
            "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
            "BUILDKIT_SANDBOX_HOSTNAME",
            "BUILDKIT_DOCKERFILE_CHECK",
            "BUILDKIT_CACHE_MOUNT_NS",
            "BUILDKIT_BUILD_NAME",
        ];
        let declared = |name: &str| {
            self.file.global_args.iter().any(|arg| arg.declaration.name == name)
                || self.file.stages.iter().flat_map(|stage| &stage.instructions).any(|instruction| {
                    matches!(&instruction.kind, InstructionKind::Arg(args) if args.iter().any(|arg| arg.name == name))
                })
        };
        let names = self.request.build_args.iter().map(|(name, _)| name);
        names
            .filter(|name| !PREDEFINED.contains(&name.to_ascii_uppercase().as_str()) && !declared(name))
            .cloned()
            .collect()
    }
}

/// Returns what an image of an OCI layout is called.
pub(crate) fn layout_name(layout: &str) -> String {
    format!("oci-layout://{layout}")
}

/// Returns the value of `from=` in a mount, the last one if there are several; it takes no variables.
pub(super) fn from_of_mount(text: &str) -> Option<&str> {
    text.split(',')
        .filter_map(|field| field.split_once('='))
        .rfind(|(key, _)| key.eq_ignore_ascii_case("from"))
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}
