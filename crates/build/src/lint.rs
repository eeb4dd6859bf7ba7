//! The rules of a Dockerfile, with what a build knows beside it.

use shipway_dockerfile::{Checks, Dockerfile, Extent, Facts, KnownImage, Source, Warning};
use shipway_oci::{ImageConfig, Platform};

use crate::builder::read_until_mistake;
use crate::context::Ignore;
use crate::plan::look_ahead;
use crate::variables::platform_variables;
use crate::{BuildError, BuildRequest, Mistake, Outlook};

/// Changes which rules hold. Compat: BuildKit.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the rules found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Linted {
    pub(crate) warnings: Vec<Warning>,
    /// They are errors.
    pub(crate) error: bool,
}

impl Linted {
    /// Returns the error that the author wants what was found to be.
    pub(crate) fn failure(&self) -> Option<BuildError> {
        let mut rules: Vec<String> = self.warnings.iter().map(|warning| warning.rule.name()).collect();
        rules.sort();
        rules.dedup();
        (self.error && !rules.is_empty()).then(|| BuildError::Lint { rules: rules.join(", ") })
    }
}

/// What is to be said of a Dockerfile without building it.
#[derive(Debug)]
pub struct Examined {
    /// Its text.
    pub source: Source,
    /// What is odd about it, up to its first mistake.
    pub warnings: Vec<Warning>,
    /// Why a build of its stages would fail before its first step.
    pub mistake: Option<Mistake>,
}

/// Examines the Dockerfile of a request: all stages, or those that its target needs. Nothing is fetched. What is not readable at all is
/// an error.
pub fn examine(request: &BuildRequest, outlook: Outlook<'_>) -> Result<Examined, BuildError> {
    let (file, unread) = read_until_mistake(request)?;
    let source = file.source.clone();
    let known = |name: &str| (outlook.image)(name).map(|config| known_image(&config));
    let (mut wanted, mut extent, mut mistake) = (Vec::new(), Extent::Whole, None);
    if let Some(error) = unread {
        extent = extent_of(&error);
        mistake = Some(Mistake::unread(&file, error));
    } else {
        let (needed, found) = look_ahead((&file, request), outlook, true);
        wanted = needed;
        if let Some((found, end)) = found {
            extent = end;
            mistake = Some(found);
        }
    }
    match lint(&file, request, &known, (&wanted, extent)) {
        Err(error) => {
            let mistake = Some(Mistake { error, places: Vec::new() });
            Ok(Examined { source, warnings: Vec::new(), mistake })
        }
        Ok(linted) => {
            let failure = || linted.failure().map(|error| Mistake { error, places: Vec::new() });
            let mistake = mistake.or_else(failure);
            Ok(Examined { source, warnings: linted.warnings, mistake })
        }
    }
}

/// Returns how far a file makes sense that cannot be read.
pub(crate) fn extent_of(error: &BuildError) -> Extent {
    match error {
        BuildError::Dockerfile(error) if error.is_of_lines => Extent::Nothing,
        _ => Extent::Instructions,
    }
}

/// Returns what rules have to know of an image.
pub(crate) fn known_image(config: &ImageConfig) -> KnownImage {
    KnownImage {
        env: config.config.env.clone(),
        platform: format!("{}/{}", config.os, config.architecture),
        has_shell: config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty()),
        triggers: config.config.on_build.clone(),
    }
}

/// Looks at a Dockerfile: at the stages that are wanted, as far as it makes sense. `image` returns what is known of a base image.
pub(crate) fn lint(
    file: &Dockerfile,
    request: &BuildRequest,
    image: &dyn Fn(&str) -> Option<KnownImage>,
    (wanted, extent): (&[bool], Extent),
) -> Result<Linted, BuildError> {
    let given =
        request.build_args.iter().rev().find(|(name, _)| name == ARGUMENT).map(|(_, text)| text.as_str());
    // Compat: BuildKit, the directive ends at the first space.
    let directive = file.directives.check.as_deref().and_then(|text| text.split(' ').next());
    let checks = Checks::parse(given.or(directive).unwrap_or_default());
    let checks = checks.map_err(|source| BuildError::Checks { source })?;
    let host = Platform::host();
    let target = request.platform();
    let last = file.stages.last().and_then(|stage| stage.name.clone());
    let stage = request.target.clone().or(last).unwrap_or_default();
    let platform = platform_variables(&host, &target, &stage, &request.build_args).to_pairs();
    let dockerfile = request.dockerfile_text.is_none().then_some(request.dockerfile.as_path());
    // An ignore file that cannot be read is told of elsewhere.
    let ignore = Ignore::load(&request.context, dockerfile).unwrap_or_default();
    let facts = Facts {
        build_args: &request.build_args,
        platform: &platform,
        image,
        is_ignored: &|path| ignore.list.leaves_out_source(path),
        is_wanted: &|number| wanted.get(number).copied().unwrap_or(false),
        extent,
    };
    Ok(Linted { warnings: shipway_dockerfile::lint(file, &facts, &checks), error: checks.error })
}
