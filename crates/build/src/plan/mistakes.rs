//! What would stop a build before its first step, without a look at images that are not here.
//!
//! Compat: BuildKit, which goes over the file several times: what it finds first is what it tells.

use std::fmt;

use shipway_dockerfile::{Copy, Dockerfile, Extent, InstructionKind, Span};
use shipway_oci::{Digest, ImageConfig, Platform, Reference};

use super::stages::{Planner, target_stage};
use crate::context::Ignore;
use crate::error::with_causes;
use crate::seams::{LookAtRepository, Unreachable};
use crate::{BaseImage, BaseImages, BuildError, BuildRequest, Problem, SeamError, Silent};

/// What is known beside the file, without asking others.
#[derive(Clone, Copy)]
pub struct Outlook<'a> {
    /// Returns the config of an image that is here.
    pub image: &'a (dyn Fn(&str) -> Option<ImageConfig> + Sync),
    /// Looks whether a source of ADD is a repository.
    pub repository: LookAtRepository<'a>,
}

impl fmt::Debug for Outlook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlook").finish_non_exhaustive()
    }
}

/// An image that is not here sets nothing, and is for every platform.
impl BaseImages for Outlook<'_> {
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<BaseImage, SeamError> {
        let known = (self.image)(&reference.to_string());
        // Nothing is read of it but its config.
        let image_id = Digest::of(if known.is_some() { b"here" } else { b"" });
        Ok(BaseImage { image_id, config: known.unwrap_or_else(|| unknown(platform)), layers: Vec::new() })
    }

    fn digest(&self, _reference: &Reference, image_id: &Digest) -> Result<Digest, SeamError> {
        Ok(*image_id)
    }

    fn in_layout(&self, _layout: &str, platform: &Platform) -> Result<(BaseImage, Digest), SeamError> {
        let image_id = Digest::of(b"");
        Ok((BaseImage { image_id, config: unknown(platform), layers: Vec::new() }, image_id))
    }
}

fn unknown(platform: &Platform) -> ImageConfig {
    ImageConfig {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        ..ImageConfig::default()
    }
}

/// What would stop a build.
#[derive(Debug)]
pub struct Mistake {
    /// Why.
    pub error: BuildError,
    /// The instructions that it is about; none if it is about none in particular.
    pub places: Vec<Span>,
}

impl Mistake {
    /// Makes one of what the file cannot be read for.
    pub(crate) fn unread(file: &Dockerfile, error: BuildError) -> Self {
        let place = match &error {
            // What has instructions, but no FROM, lacks it nowhere.
            error if error.is_no_stages() && !file.global_args.is_empty() => None,
            BuildError::Dockerfile(error) => Some(error.instruction),
            _ => None,
        };
        Self { error, places: place.into_iter().collect() }
    }

    /// Returns the error and what it came of on one line.
    pub fn message(&self) -> String {
        with_causes(&self.error)
    }
}

/// Returns which stages are wanted, and the first mistake with how far the file makes sense. All stages are wanted if the request
/// names none and `all` is true.
pub(crate) fn look_ahead(
    (file, request): (&Dockerfile, &BuildRequest),
    outlook: Outlook<'_>,
    all: bool,
) -> (Vec<bool>, Option<(Mistake, Extent)>) {
    let named = target_stage(file, request);
    let target = named.as_ref().copied().unwrap_or(file.stages.len() - 1);
    let remotes = Unreachable { repository: outlook.repository };
    let mut planner = Planner::new((file, request), target, (&outlook, &Silent, &remotes));
    planner.is_run = false;
    if let Err(error) = planner.global_args() {
        return (Vec::new(), Some(planner.mistake(error, Extent::Stages(0))));
    }
    let wanted = match request.target {
        None if all => vec![true; file.stages.len()],
        _ => planner.needed(target),
    };
    let found = planner.first_mistake(named.err(), &wanted).err();
    (wanted, found.map(|found| *found))
}

type Found = Box<(Mistake, Extent)>;

impl Planner<'_> {
    fn first_mistake(&mut self, no_target: Option<BuildError>, wanted: &[bool]) -> Result<(), Found> {
        for stage in &self.file.stages {
            let checked = self.image_name(stage).and_then(|_name| self.stage_platform(stage));
            checked.map_err(|error| self.found(error, Extent::Stages(stage.span.start)))?;
        }
        let nowhere =
            |error: BuildError, extent: Extent| Box::new((Mistake { error, places: vec![] }, extent));
        let before_images = Extent::Stages(usize::MAX);
        if let Some(error) = no_target {
            return Err(nowhere(error, before_images));
        }
        self.sources_are_sound(before_images)?;
        self.images_have_names(wanted)?;
        let dockerfile = self.request.dockerfile_text.is_none().then_some(self.request.dockerfile.as_path());
        Ignore::load(&self.request.context, dockerfile).map_err(|error| nowhere(error, Extent::Images))?;
        for number in (0..wanted.len()).filter(|number| wanted[*number]) {
            match self.stage(number) {
                // What an image sets that is not here is not known.
                Err(BuildError::Step(error)) if self.may_be_set(number, &error.problem) => {}
                Err(error) => {
                    let (mistake, _) = self.mistake(error, Extent::Images);
                    let at = mistake.places.first().map_or(usize::MAX, |place| place.start);
                    return Err(Box::new((mistake, Extent::Steps(at))));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn found(&self, error: BuildError, extent: Extent) -> Found {
        Box::new(self.mistake(error, extent))
    }

    fn mistake(&self, error: BuildError, extent: Extent) -> (Mistake, Extent) {
        let span = match &error {
            BuildError::Step(error) => Some(error.span),
            BuildError::Dockerfile(error) => Some(error.instruction),
            BuildError::BaseImage { span, .. } => Some(*span),
            _ => None,
        };
        let places = span.map(|span| whole(self.file, span)).into_iter().collect();
        (Mistake { error, places }, extent)
    }

    /// Looks at what `COPY --from` names, and for stages that wait for each other.
    fn sources_are_sound(&self, extent: Extent) -> Result<(), Found> {
        let stages = &self.file.stages;
        for instruction in stages.iter().flat_map(|stage| &stage.instructions) {
            let InstructionKind::Copy(Copy { from: Some(from), .. }) = &instruction.kind else { continue };
            let number = from.text.parse::<usize>();
            let error = if number.is_ok_and(|number| number >= stages.len()) {
                let problem = Problem::invalid(format!("--from: there is no stage {}", from.text));
                self.fail(problem, from.span)
            } else if let Err(error) = self.plain_from(from) {
                error
            } else {
                continue;
            };
            return Err(Box::new((Mistake { error, places: Vec::new() }, extent)));
        }
        let (mut visited, mut places) = (vec![false; stages.len()], Vec::new());
        for number in 0..stages.len() {
            if let Some(in_it) = self.circle(number, &mut vec![], &mut visited, &mut places) {
                let name = stages[in_it].name.clone().unwrap_or_else(|| format!("stage-{in_it}"));
                let problem = Problem::invalid(format!("stage `{name}` needs itself"));
                let error = self.fail(problem, places.first().copied().unwrap_or_default());
                return Err(Box::new((Mistake { error, places }, extent)));
            }
        }
        Ok(())
    }

    /// Returns a stage that needs itself by what it copies; then `places` has the instructions that lead there.
    fn circle(
        &self,
        number: usize,
        path: &mut Vec<usize>,
        visited: &mut Vec<bool>,
        places: &mut Vec<Span>,
    ) -> Option<usize> {
        if std::mem::replace(&mut visited[number], true) {
            return None;
        }
        path.push(number);
        for (source, span) in self.sources(number) {
            places.push(span);
            if path.contains(&source) {
                return Some(source);
            }
            if let Some(found) = self.circle(source, path, visited, places) {
                return Some(found);
            }
            places.pop();
        }
        path.pop();
        None
    }

    fn images_have_names(&self, wanted: &[bool]) -> Result<(), Found> {
        for number in 0..wanted.len() {
            let stage = &self.file.stages[number];
            let Ok(name) = self.image_name(stage) else { continue };
            if self.base_stage(number).is_some() || name == "scratch" || self.named(&name).is_some() {
                continue;
            }
            if let Err(error) = name.parse::<Reference>() {
                let problem = Problem::invalid(format!("`{name}` is no image: {error}"));
                return Err(self.found(self.fail(problem, stage.span), Extent::Images));
            }
        }
        Ok(())
    }

    /// Returns whether a stage, or one that it starts from, starts from an image that is not here, which may set a variable.
    fn may_be_set(&self, number: usize, problem: &Problem) -> bool {
        use shipway_dockerfile::ExpandError;
        if !matches!(problem, Problem::Expand(ExpandError::Required { .. })) {
            return false;
        }
        let mut at = number;
        while let Some(base) = self.base_stage(at) {
            at = base;
        }
        self.image_name(&self.file.stages[at]).is_ok_and(|name| name != "scratch" && !self.is_here(&name))
    }

    fn is_here(&self, name: &str) -> bool {
        let placeholder = Digest::of(&[]);
        let found =
            name.parse().ok().and_then(|name: Reference| self.bases.resolve(&name, &self.platform).ok());
        found.is_some_and(|image| image.image_id != placeholder)
    }
}

/// Returns the instruction that a place is in.
fn whole(file: &Dockerfile, span: Span) -> Span {
    let globals = file.global_args.iter().map(|arg| arg.span);
    let stages = file.stages.iter().flat_map(|stage| {
        std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
    });
    let holds = |whole: &Span| whole.start <= span.start && span.start <= whole.end;
    globals.chain(stages).find(holds).unwrap_or(span)
}
