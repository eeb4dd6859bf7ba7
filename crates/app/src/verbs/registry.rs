//! Verbs that talk to registries, and those that carry images in files.

mod history;
mod load;
mod login;
mod logout;
mod pull;
pub(crate) mod push;
mod save;

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

/// Refuses `--all-tags` by name.
fn one_tag(verb: &str, all_tags: bool) -> Result<(), Failure> {
    if all_tags {
        let message = format!("`shipway {verb} --all-tags` is not there yet");
        return Err(Failure::new(message, format!("name each tag: `shipway {verb} NAME:TAG`")));
    }
    Ok(())
}
