//! The rules of a Dockerfile, with what a build knows beside it.

use shipway_dockerfile::{Checks, Dockerfile, Facts, KnownImage, Warning};
use shipway_oci::Platform;

use crate::BuildRequest;
use crate::context::Ignore;
use crate::variables::platform_variables;

/// Changes which rules hold. Compat: BuildKit.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the rules found.
#[derive(Clone, Debug, Default)]
pub struct Linted {
    /// In the order of places.
    pub warnings: Vec<Warning>,
    /// They are errors.
    pub error: bool,
}

/// Looks at a Dockerfile. `image` returns what is known of a base image.
pub fn lint(file: &Dockerfile, request: &BuildRequest, image: &dyn Fn(&str) -> Option<KnownImage>) -> Linted {
    let given =
        request.build_args.iter().rev().find(|(name, _)| name == ARGUMENT).map(|(_, text)| text.as_str());
    let checks = Checks::parse(given.or(file.directives.check.as_deref()).unwrap_or_default());
    let host = Platform::host();
    let target = request.platform();
    let stage = file.stages.last().and_then(|stage| stage.name.clone()).unwrap_or_default();
    let platform = platform_variables(&host, &target, &stage, &request.build_args).to_pairs();
    let dockerfile = request.dockerfile_text.is_none().then_some(request.dockerfile.as_path());
    // An ignore file that cannot be read is told of when the context is.
    let ignore = Ignore::load(&request.context, dockerfile).unwrap_or_default();
    let is_ignored = |path: &str| ignore.list.matches_alone(path);
    let is_empty = ignore.list.matches_everything();
    let facts = Facts {
        build_args: &request.build_args,
        platform: &platform,
        image,
        is_ignored: &is_ignored,
        is_empty,
    };
    Linted { warnings: shipway_dockerfile::lint(file, &facts, &checks), error: checks.error }
}
