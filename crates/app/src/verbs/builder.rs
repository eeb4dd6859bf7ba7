//! `shipway builder`: the build cache. Compat: `docker builder`, `docker buildx`.

mod du;
mod export;
mod filter;
mod import;
mod plan;
mod prune;
mod record;

use crate::cli::BuilderVerb;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, verb: &BuilderVerb, ui: &mut Ui) -> Result<u8, Failure> {
    match verb {
        BuilderVerb::Du(args) => du::run(engine, args, ui),
        BuilderVerb::Export(args) => export::run(engine, args, ui),
        BuilderVerb::Import(args) => import::run(engine, args),
        BuilderVerb::Prune(args) => prune::run(engine, args, ui),
        BuilderVerb::Other(words) => Err(refuse(words)),
    }
}

/// Refuses a word: docker's are those that manage several builders.
fn refuse(words: &[String]) -> Failure {
    let word = words.first().map_or("", String::as_str);
    let there = "there are build, du, prune, export and import";
    match word {
        "create" | "inspect" | "ls" | "rm" | "stop" | "use" | "bake" | "debug" | "dial-stdio" | "history"
        | "imagetools" | "version" => {
            Failure::new(format!("`shipway builder {word}` is not there yet"), there)
        }
        _ => Failure::new(format!("`{word}` is not a command of `shipway builder`"), there),
    }
}
