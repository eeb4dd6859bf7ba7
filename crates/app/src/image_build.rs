//! Building an image with everything that the program has for it.

use std::sync::Arc;

use shipway_build::{BuildError, BuildRequest, Builder, Built, Debugger};

use crate::bases::{BaseWishes, LocalImages};
use crate::budget;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::packages::Packages;
use crate::progress::Show;
use crate::remotes::{Logins, Remote};
use crate::step_caches::StepCaches;
use crate::steps::ContainerSteps;
use crate::sweep::sweep_builds;

/// What a build has beside what all of them have.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Where steps come from and go to.
    pub(crate) caches: StepCaches,
    /// Whoever looks at a command that fails.
    pub(crate) debugger: Option<Arc<dyn Debugger>>,
}

/// Builds; base images come as `wishes` says.
pub(crate) fn build(
    engine: &Engine,
    request: &BuildRequest,
    wishes: BaseWishes,
    beside: Beside,
    show: &Show,
) -> Result<Built, Failure> {
    sweep_builds(engine);
    let fetches = !beside.caches.sources.is_empty();
    let mut builder = Builder::new(
        engine.store.clone(),
        Arc::new(engine.layers.clone()),
        Arc::new(ContainerSteps::new(engine)),
        Arc::new(LocalImages { engine: engine.clone(), wishes, show: show.clone() }),
        Arc::new(show.clone()),
    )
    .with_remotes(Arc::new(Remote::new(&engine.roots.data, Logins::new(&request.secrets))?))
    .with_inventory(Arc::new(Packages(show.clone())))
    .with_caches(beside.caches.sources, beside.caches.targets);
    if let Some(debugger) = beside.debugger {
        builder = builder.with_debugger(debugger);
    }
    let built = builder.build(request).map_err(|error| failed(error, show))?;
    // One that made and fetched nothing new cannot have gone over it.
    if (built.cached_steps < built.steps || fetches)
        && let Err(failure) = budget::keep(engine)
    {
        // The image is there all the same.
        tracing::warn!(reason = failure.text(), "the build cache is not kept within its budget");
    }
    Ok(built)
}

fn failed(error: BuildError, show: &Show) -> Failure {
    // Compat: docker's classic builder, what its output ends with, and its exit code.
    let last = match &error {
        BuildError::RunFailed { command, code, .. } if show.is_legacy() => {
            let line = format!("The command '{command}' returned a non-zero code: {code}");
            u8::try_from(*code).ok().map(|code| (line, code))
        }
        _ => None,
    };
    let failure = Failure::from(error);
    match last {
        Some((line, code)) => failure.with_last_line(line).with_code(code),
        None => failure,
    }
}
