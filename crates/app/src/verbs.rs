//! The verbs, one file each.

mod bootstrap;
mod build;
pub(crate) mod cluster;
mod completion;
mod down;
pub(crate) mod ended;
mod exec;
mod images;
mod import;
mod inspect;
mod logs;
mod ps;
mod registry;
pub(crate) mod rm;
mod rmi;
mod run;
mod stop;
mod tag;
mod unknown;
mod up;
mod version;

use crate::cli::{Cli, Verb};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::roots::Roots;
use crate::ui::Ui;

/// Runs what was typed and returns the exit code.
pub(crate) fn run(cli: Cli, ui: &mut Ui) -> Result<u8, Failure> {
    match cli.verb {
        Verb::Completion { shell } => return completion::run(shell, ui),
        Verb::Version { format } => return Ok(version::run(format, ui)),
        Verb::Other(words) => return Err(unknown::refuse(&words)),
        _ => {}
    }
    let engine = Engine::open(Roots::open(cli.root, cli.state)?)?;
    match cli.verb {
        Verb::Up(args) => up::run(&engine, &args, ui),
        Verb::Down(args) => down::run(&engine, &args, ui),
        Verb::Cluster(verb) => cluster::run(&engine, &verb, ui),
        Verb::Bootstrap(args) => bootstrap::run(&engine, &args, ui),
        Verb::Build(args) => build::run(&engine, &args, ui),
        Verb::Import(args) => import::run(&engine, &args, ui),
        Verb::Images(args) => images::run(&engine, &args, ui),
        Verb::Inspect(args) => inspect::run(&engine, &args, ui),
        Verb::Tag { source, target } => tag::run(&engine, &source, &target),
        Verb::Registry(verb) => registry::run(&engine, &verb, ui),
        Verb::Rmi(args) => rmi::run(&engine, &args, ui),
        Verb::Run(args) => run::run(&engine, &args, ui),
        Verb::Ps(args) => ps::run(&engine, &args, ui),
        Verb::Logs(args) => logs::run(&engine, &args, ui),
        Verb::Exec(args) => exec::run(&engine, &args),
        Verb::Stop(args) => stop::run(&engine, &args, ui),
        Verb::Rm(args) => rm::run(&engine, &args, ui),
        Verb::Completion { .. } | Verb::Version { .. } | Verb::Other(_) => Ok(0),
    }
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
