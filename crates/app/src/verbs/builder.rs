//! `shipway builder`: the build cache. Compat: `docker builder`, `docker buildx`.

mod du;
mod export;
mod filter;
mod import;
mod plan;
mod prune;
mod record;

use serde_json::Value;

use crate::cli::BuilderVerb;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, verb: &BuilderVerb, ui: &mut Ui) -> Result<u8, Failure> {
    match verb {
        BuilderVerb::Du(args) => du::run(engine, args, ui),
        BuilderVerb::Export(args) => export::run(engine, args, ui),
        BuilderVerb::Import(args) => import::run(engine, args, ui),
        BuilderVerb::Prune(args) => prune::run(engine, args, ui),
        BuilderVerb::Other(words) => Err(refuse(words)),
    }
}

pub(in crate::verbs) use prune::remove_older;

/// Returns what the build cache holds, as templates see it.
pub(super) fn values(engine: &Engine) -> Result<Vec<Value>, Failure> {
    let now = clock::now();
    Ok(record::list(engine)?.iter().map(|record| record.value(now, false)).collect())
}

/// Writes what the build cache holds as a table.
pub(super) fn show_all(engine: &Engine, ui: &mut Ui) -> Result<(), Failure> {
    du::show(&record::list(engine)?, false, ui)
}

/// Returns an id as it may be typed: with the star that `du` has behind those that builds write to.
fn id_of(text: &str) -> Result<&str, Failure> {
    let id = text.strip_suffix('*').unwrap_or(text);
    if id.is_empty() {
        return Err(Failure::new(
            "a cache mount has an id",
            "see `shipway builder du --verbose --filter type=exec.cachemount`",
        ));
    }
    Ok(id)
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
