//! Building an image with everything that the program has for it.

use std::sync::Arc;

use shipway_build::{BuildRequest, Builder, Built};

use crate::bases::{BaseWishes, LocalImages};
use crate::budget;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Show;
use crate::remotes::Remote;
use crate::step_caches::StepCaches;
use crate::steps::ContainerSteps;
use crate::sweep::sweep_steps;

/// Builds; base images come as `wishes` says, and steps from and to `caches`.
pub(crate) fn build(
    engine: &Engine,
    request: &BuildRequest,
    wishes: BaseWishes,
    caches: StepCaches,
    show: &Show,
) -> Result<Built, Failure> {
    sweep_steps(engine);
    let fetches = !caches.sources.is_empty();
    let builder = Builder::new(
        engine.store.clone(),
        Arc::new(engine.layers.clone()),
        Arc::new(ContainerSteps::new(engine)),
        Arc::new(LocalImages { engine: engine.clone(), wishes, show: show.clone() }),
        Arc::new(show.clone()),
    )
    .with_remotes(Arc::new(Remote::new(&engine.roots.data)?))
    .with_caches(caches.sources, caches.targets);
    let built = builder.build(request)?;
    // One that made and fetched nothing new cannot have gone over it.
    if (built.cached_steps < built.steps || fetches)
        && let Err(failure) = budget::keep(engine)
    {
        // The image is there all the same.
        tracing::warn!(reason = failure.text(), "the build cache is not kept within its budget");
    }
    Ok(built)
}
