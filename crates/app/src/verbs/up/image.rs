//! The image of a project.

use shipway_build::BuildRequest;
use shipway_oci::{ImageConfig, Reference};
use shipway_workflow::Project;
use tokio::task::spawn_blocking;

use crate::bases::{AcceptExpired, BaseWishes};
use crate::cli::UpArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::image_build::{self, Beside};
use crate::progress::Show;
use crate::tasks::Stopping;
use crate::ui::Ui;

/// An image to run.
pub(super) struct Image {
    /// `NAME@sha256:…`: a name alone would not tell the new image from the one before.
    pub(super) image: String,
    pub(super) config: ImageConfig,
    summary: String,
}

impl Image {
    /// Says how it was made.
    pub(super) fn say(&self, ui: &mut Ui) {
        ui.note(&self.summary);
    }
}

/// Builds the image of `project` and names it as the project is named.
pub(super) async fn build(
    engine: &Engine,
    args: &UpArgs,
    project: &Project,
    stopping: &Stopping,
    show: &Show,
) -> Result<Image, Failure> {
    let name: Reference = project.name.parse()?;
    let request = BuildRequest {
        context: project.dir.clone(),
        dockerfile: project.dockerfile(),
        tags: vec![name.clone()],
        build_args: project.build.args.clone().into_iter().collect(),
        target: project.build.target.clone(),
        no_cache: args.no_cache,
        host_ca: project.build.host_ca,
        stop: stopping.build.clone(),
        ..BuildRequest::default()
    };
    let bootstrap = project.build.bootstrap_base.then_some(AcceptExpired(args.accept_expired_release));
    let wishes = BaseWishes { bootstrap, newer: false };
    let (builder, show) = (engine.clone(), show.clone());
    let built =
        spawn_blocking(move || image_build::build(&builder, &request, wishes, Beside::default(), &show))
            .await;
    let built = built.map_err(|panic| super::crashed(&panic))??;
    let config = engine.store.config(&built.image_id)?;
    let summary =
        format!("image {}: {} of {} steps from the cache", name.familiar(), built.cached_steps, built.steps);
    Ok(Image { image: format!("{}@{}", project.name, built.manifest), config, summary })
}
