//! Verbs that talk to registries, and those that carry images in files.

mod history;
mod load;
mod login;
mod logout;
mod pull;
pub(crate) mod push;
mod save;

use shipway_oci::Reference;

use crate::cli::RegistryVerb;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, verb: &RegistryVerb, ui: &mut Ui) -> Result<u8, Failure> {
    match verb {
        RegistryVerb::Pull(args) => pull::run(engine, args, ui),
        RegistryVerb::Login(args) => login::run(args, ui),
        RegistryVerb::Logout(args) => logout::run(args, ui),
        RegistryVerb::Push(args) => push::run(engine, args, ui),
        RegistryVerb::Save(args) => save::run(engine, args, ui),
        RegistryVerb::Load(args) => load::run(engine, args, ui),
        RegistryVerb::History(args) => history::run(engine, args, ui),
    }
}

/// Refuses a name with a tag where all of them are meant. Compat: docker's words.
fn without_tag(name: &str) -> Result<Reference, Failure> {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        let message = "tag can't be used with --all-tags/-a";
        return Err(Failure::new(message, "name the repository alone: `registry.example/team/web`"));
    }
    Ok(name.parse()?)
}
