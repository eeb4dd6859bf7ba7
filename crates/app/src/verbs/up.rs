//! `shipway up`: from a directory to a page.

mod image;
mod serve;
mod watch;

use std::collections::BTreeSet;

use shipway_oci::ImageConfig;
use shipway_workflow::{Deployed, Project, pods_of};
use tokio::task::spawn_blocking;

use crate::cli::UpArgs;
use crate::cluster::{Control, connect, ensure_running};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::forwards::{Held, Target};
use crate::progress::{End, Show};
use crate::tasks::{self, Stopping};
use crate::ui::Ui;
use crate::verbs::cluster::say_launched;

/// Its start as the display names it.
const CLUSTER: &str = "[cluster] start";

pub(crate) fn run(engine: &Engine, args: &UpArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let project = load(args)?;
    let stopping = Stopping::hold()?;
    let runtime = tasks::serving_runtime()?;
    let done = runtime.block_on(up(engine, args, project, &stopping, ui));
    // What still waits for the cluster must not hold the end up.
    runtime.shutdown_background();
    done.map_err(|failure| stopping.failed(failure))
}

/// Returns the project as its directory and the command line want it.
fn load(args: &UpArgs) -> Result<Project, Failure> {
    let mut project = Project::load(&args.dir)?;
    if let Some(namespace) = &args.namespace {
        project.namespace.clone_from(namespace);
    }
    project.build.host_ca |= args.host_ca;
    project.build.bootstrap_base |= args.bootstrap_base;
    Ok(project)
}

async fn up(
    engine: &Engine,
    args: &UpArgs,
    mut project: Project,
    stopping: &Stopping,
    ui: &mut Ui,
) -> Result<u8, Failure> {
    // Known at once and not after minutes: whether the port can be had.
    let mut held = hold(engine, args, &project).await?;
    let control = Control::open(&engine.roots)?;
    // The cluster starts while the image is built.
    let (roots, starting) = (engine.roots.clone(), control.clone());
    let show = Show::open(args.progress, "Building")?;
    let shown = show.clone();
    let launching = spawn_blocking(move || {
        shown.begin_part(CLUSTER);
        let launched = ensure_running(&roots, &starting);
        shown.end_part(CLUSTER, End::from(&launched));
        launched
    });
    let built = image::build(engine, args, &project, stopping, &show).await;
    if built.is_err() {
        show.close(End::Badly);
    }
    let built = built?;
    project.port = project.port.or_else(|| only_port(&built.config));
    if held.is_none() {
        held = hold(engine, args, &project).await?;
    }
    let Some(launched) = stopping.token.run_until_cancelled(launching).await else {
        show.close(End::Badly);
        return Ok(tasks::INTERRUPTED);
    };
    let launched = launched.map_err(|panic| crashed(&panic))?;
    show.close(End::from(&launched));
    built.say(ui);
    say_launched(&launched?, ui);

    let apply = apply(&control, &project, &built.image);
    let Some(applied) = stopping.token.run_until_cancelled(apply).await else {
        return Ok(tasks::INTERRUPTED);
    };
    let (client, known, deployed) = applied?;
    ui.note(format!("deployment {}/{}: {}", deployed.namespace, deployed.name, built.image));
    let mut output = watch::Output::follow(&client, &project, known, stopping);
    if !watch::rollout(&client, &deployed, &mut output, stopping, ui).await? {
        return Ok(tasks::INTERRUPTED);
    }
    output.settle();
    let port = project.port;
    match (held, port) {
        (Some(held), Some(port)) => serve::run((client, deployed), (held, port), output, stopping, ui).await,
        _ if args.detach => {
            ui.note(format!("`kubectl logs -f deployment/{}` shows what it prints", project.name));
            Ok(0)
        }
        _ => {
            ui.note("no port is forwarded: name one in shipway.toml (`port = 5000`) or by EXPOSE in the Dockerfile");
            output.show_until_stopped(stopping, ui).await;
            Ok(0)
        }
    }
}

/// Says in the cluster what should run; also returns the pods that were there before.
async fn apply(
    control: &Control,
    project: &Project,
    image: &str,
) -> Result<(kube::Client, BTreeSet<String>, Deployed), Failure> {
    let client = connect(control).await?;
    let known = pods_of(&client, project).await.map_err(|error| no_answer(&error))?;
    let deployed = Deployed::apply(&client, project, image).await?;
    Ok((client, known, deployed))
}

/// Takes the local port, if it is known and wanted.
async fn hold(engine: &Engine, args: &UpArgs, project: &Project) -> Result<Option<Held>, Failure> {
    let Some(port) = args.port.or(project.port).filter(|_| !args.detach) else { return Ok(None) };
    let target = Target { namespace: project.namespace.clone(), name: project.name.clone() };
    Held::take(&engine.roots, &target, port).await.map(Some)
}

/// Returns the port of an image that exposes a single one.
fn only_port(config: &ImageConfig) -> Option<u16> {
    let mut ports =
        config.config.exposed_ports.keys().filter_map(|port| port.strip_suffix("/tcp")?.parse().ok());
    ports.next().filter(|_| ports.next().is_none())
}

fn no_answer(error: &kube::Error) -> Failure {
    Failure::new(format!("the cluster does not answer: {error}"), "run `shipway cluster status`")
}

fn crashed(panic: &tokio::task::JoinError) -> Failure {
    Failure::new(
        format!("a part of `up` ended unexpectedly: {panic}"),
        "run it again; if it stays, report it",
    )
}
