//! Building an image with everything that the program has for it.

use std::sync::Arc;

use shipway_build::{BuildRequest, Builder, Built};

use crate::bases::{AcceptExpired, LocalImages};
use crate::cli::ProgressStyle;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Lines;
use crate::steps::ContainerSteps;

/// Builds; base images of distributions that are missing are assembled if `bootstrap` says so.
pub(crate) fn build(
    engine: &Engine,
    request: &BuildRequest,
    bootstrap: Option<AcceptExpired>,
    progress: ProgressStyle,
) -> Result<Built, Failure> {
    let builder = Builder::new(
        engine.store.clone(),
        Arc::new(engine.layers.clone()),
        Arc::new(ContainerSteps::new(engine)),
        Arc::new(LocalImages { engine: engine.clone(), bootstrap }),
        Arc::new(Lines::new(progress)),
    );
    Ok(builder.build(request)?)
}
