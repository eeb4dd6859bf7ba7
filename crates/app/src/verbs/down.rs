//! `shipway down`

use shipway_workflow::{Project, Removed, down};

use crate::cli::DownArgs;
use crate::cluster::{Control, connect, ensure_running};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::tasks;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &DownArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let mut project = Project::load(&args.dir)?;
    if let Some(namespace) = &args.namespace {
        project.namespace.clone_from(namespace);
    }
    let control = Control::open(&engine.roots)?;
    if !control.kubeconfig_path().exists() {
        ui.note(format!("{}: nothing to remove, there is no cluster", project.name));
        return Ok(0);
    }
    // Only the cluster can forget it: one that is stopped would bring it back.
    drop(ensure_running(&engine.roots, &control)?);
    let removed = tasks::runtime()?.block_on(async {
        let client = connect(&control).await?;
        Ok::<_, Failure>(down(&client, &project).await?)
    })?;
    match removed {
        Removed::Deployment => ui.line(format!("deployment.apps/{} deleted", project.name)),
        Removed::Nothing => ui.note(format!("{}: nothing to remove", project.name)),
    }
    Ok(0)
}
