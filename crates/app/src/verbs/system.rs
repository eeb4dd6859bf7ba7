//! `shipway system`

mod df;
mod fsck;
mod info;
mod prune;

use crate::cli::SystemVerb;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, verb: &SystemVerb, ui: &mut Ui) -> Result<u8, Failure> {
    match verb {
        SystemVerb::Info { format } => info::run(engine, format.as_deref(), ui),
        SystemVerb::Df { format, verbose } => df::run(engine, format.as_deref(), *verbose, ui),
        SystemVerb::Fsck(args) => fsck::run(engine, args, ui),
        SystemVerb::Prune(args) => prune::run(engine, args, ui),
        SystemVerb::Other(words) => Err(refuse(words)),
    }
}

fn refuse(words: &[String]) -> Failure {
    let word = words.first().map_or("", String::as_str);
    match word {
        "events" => {
            Failure::new("`shipway system events` is not there yet", "`shipway ps -a` shows what happened")
        }
        _ => Failure::new(
            format!("`{word}` is not a command of `shipway system`"),
            "there are info, df, prune and fsck",
        ),
    }
}
