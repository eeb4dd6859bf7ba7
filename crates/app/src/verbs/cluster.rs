//! `shipway cluster`

mod kubeconfig;
mod reset;
mod start;
mod status;
mod stop;

use std::fs::File;

pub(crate) use start::say as say_launched;

use crate::cli::ClusterVerb;
use crate::cluster::{self, Control};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, verb: &ClusterVerb, ui: &mut Ui) -> Result<u8, Failure> {
    let control = Control::open(&engine.roots)?;
    match verb {
        ClusterVerb::Start => start::run(engine, &control, ui),
        ClusterVerb::Stop { keep_pods } => stop::run(engine, &control, *keep_pods, ui),
        ClusterVerb::Status { output } => status::run(&control, *output, ui),
        ClusterVerb::Kubeconfig { path } => kubeconfig::run(engine, &control, *path, ui),
        ClusterVerb::Reset => reset::run(engine, &control, ui),
        ClusterVerb::Run { ready_fd } => cluster::run(engine, ready_fd.map(open_ready).transpose()?),
    }
}

/// Opened anew by its name: nothing else knows the number, and the type owns what it opened.
fn open_ready(number: u32) -> Result<File, Failure> {
    let opened = File::options().write(true).open(format!("/proc/self/fd/{number}"));
    opened.and_then(|file| shipway_linux::close_others_on_exec().map(|()| file)).map_err(|error| {
        Failure::new(format!("could not open descriptor {number}: {error}"), "use `shipway cluster start`")
    })
}
