//! The verbs, one file each.

mod bootstrap;
mod build;
mod builder;
pub(crate) mod cluster;
mod completion;
mod confirm;
mod down;
pub(crate) mod ended;
mod exec;
mod images;
mod import;
mod inspect;
mod kill;
mod logs;
mod ps;
mod registry;
pub(crate) mod rm;
mod rmi;
mod run;
mod serve;
mod stop;
mod system;
mod tag;
mod unknown;
mod up;
mod version;

use crate::cli::{Cli, ClusterVerb, Verb};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::requirements;
use crate::roots::Roots;
use crate::ui::Ui;

/// Exit code of `run` when it did not come to a container. Compat: docker.
const NOT_STARTED: u8 = 125;

/// Runs what was typed and returns the exit code.
pub(crate) fn run(cli: Cli, ui: &mut Ui) -> Result<u8, Failure> {
    match cli.verb {
        Verb::Completion { shell } => return completion::run(shell, ui),
        Verb::Version { format } => return version::run(&format, ui),
        Verb::Other(words) => return Err(unknown::refuse(&words)),
        // What only reads a Dockerfile needs neither a store nor leave to make one.
        Verb::Build(args) if build::asks(&args) => {
            let engine = Roots::open(cli.root, cli.state).and_then(Engine::open);
            return build::ask(engine.ok().as_ref(), &args, ui);
        }
        _ => {}
    }
    let roots = Roots::open(cli.root, cli.state)?;
    with_roots(cli.verb, &roots, ui).map_err(|failure| failure.with_full_disk(&[&roots.data, &roots.state]))
}

fn with_roots(verb: Verb, roots: &Roots, ui: &mut Ui) -> Result<u8, Failure> {
    let engine = Engine::open(roots.clone())?;
    if makes_containers(&verb) {
        let code = if matches!(verb, Verb::Run(_)) { NOT_STARTED } else { 1 };
        requirements::check(roots).map_err(|lack| Failure::from(lack).with_code(code))?;
    }
    match verb {
        Verb::Up(args) => up::run(&engine, &args, ui),
        Verb::Down(args) => down::run(&engine, &args, ui),
        Verb::Cluster(verb) => cluster::run(&engine, &verb, ui),
        Verb::Bootstrap(args) => bootstrap::run(&engine, &args, ui),
        Verb::Build(args) => build::run(&engine, &args, ui),
        Verb::Builder(verb) => builder::run(&engine, &verb, ui),
        Verb::Import(args) => import::run(&engine, &args, ui),
        Verb::Images(args) => images::run(&engine, &args, ui),
        Verb::Inspect(args) => inspect::run(&engine, &args, ui),
        Verb::Tag { source, target } => tag::run(&engine, &source, &target),
        Verb::Registry(verb) => registry::run(&engine, &verb, ui),
        Verb::OwnRegistry(command) => serve::run(&engine, &command, ui),
        Verb::Rmi(args) => rmi::run(&engine, &args, ui),
        Verb::Run(args) => run::run(&engine, &args, ui),
        Verb::Ps(args) => ps::run(&engine, &args, ui),
        Verb::Logs(args) => logs::run(&engine, &args, ui),
        Verb::Exec(args) => exec::run(&engine, &args, ui),
        Verb::System(verb) => system::run(&engine, &verb, ui),
        Verb::Stop(args) => stop::run(&engine, &args, ui),
        Verb::Kill(args) => kill::run(&engine, &args, ui),
        Verb::Rm(args) => rm::run(&engine, &args, ui),
        Verb::Completion { .. } | Verb::Version { .. } | Verb::Other(_) => Ok(0),
    }
}

/// Returns whether a verb needs all that containers need.
fn makes_containers(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Up(_)
            | Verb::Build(_)
            | Verb::Bootstrap(_)
            | Verb::Run(_)
            | Verb::Cluster(ClusterVerb::Start | ClusterVerb::Run { .. })
    )
}

/// Does one thing to each of several names: says each failure, goes on, and fails if any did.
fn each(
    names: &[String],
    ui: &mut Ui,
    mut one: impl FnMut(&str, &mut Ui) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut failed = false;
    for name in names {
        if let Err(failure) = one(name, ui) {
            ui.note(failure.text());
            failed = true;
        }
    }
    Ok(u8::from(failed))
}
