//! Building an image with everything that the program has for it.

use std::sync::Arc;

use shipway_build::{BuildRequest, Builder, Built};

use crate::bases::{BaseWishes, LocalImages};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Show;
use crate::steps::ContainerSteps;

/// Builds; base images come as `wishes` says.
pub(crate) fn build(
    engine: &Engine,
    request: &BuildRequest,
    wishes: BaseWishes,
    show: &Show,
) -> Result<Built, Failure> {
    let builder = Builder::new(
        engine.store.clone(),
        Arc::new(engine.layers.clone()),
        Arc::new(ContainerSteps::new(engine)),
        Arc::new(LocalImages { engine: engine.clone(), wishes, show: show.clone() }),
        Arc::new(show.clone()),
    );
    Ok(builder.build(request)?)
}
