//! The `shipway` program: reads the command line, wires the crates, shows results.
#![forbid(unsafe_code)]

mod absent;
mod archive;
mod bases;
mod bootstrap;
mod budget;
mod claim;
mod cli;
mod clock;
mod cluster;
mod contexts;
mod disk;
mod docker_config;
mod engine;
mod failure;
mod filters;
mod forwards;
mod host_ca;
mod image_build;
mod in_use;
mod label_filter;
mod listing;
mod local_names;
mod network;
mod packages;
mod part_file;
mod progress;
mod publish;
mod pulls;
mod regular;
mod remotes;
mod requirements;
mod roots;
mod signal_names;
mod signals;
mod since;
mod spelling;
mod ssh;
mod stargz;
mod step_caches;
mod steps;
mod sweep;
mod table;
mod tasks;
mod template;
mod terminal;
mod transfers;
mod ui;
mod units;
mod variants;
mod vcs;
mod verbs;
#[cfg(test)]
mod written;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::ui::Ui;

fn main() -> ExitCode {
    // Whoever starts it may have it ignore the end of its children.
    shipway_linux::hear_of_children();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The shim is this program under another verb, before anything else is set up: it must stay small and single-threaded.
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        Some("__shim") => return shipway_runtime::shim_main(&arguments[2..]),
        Some("__exec") => return shipway_runtime::exec_main(&arguments[2..]),
        Some(verbs::ended::VERB) => return verbs::ended::main(&arguments[2..]),
        _ => {}
    }
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("SHIPWAY_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut ui = Ui::of_process();
    let done =
        cli::parse(arguments, &mut |warning| ui.note(warning)).and_then(|cli| verbs::run(cli, &mut ui));
    let done = match ui.lost() {
        Some(error) => done.and_then(|_code| {
            Err(Failure::new(
                format!("could not write the output: {error}"),
                "make room where it goes, or send it elsewhere",
            ))
        }),
        None => done,
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.text().is_empty() {
                ui.note(failure.text());
            }
            ExitCode::from(failure.code())
        }
    }
}
