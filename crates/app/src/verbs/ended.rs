//! What the shim of a container in the background does last: `__ended ROOT STATE ID`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::claim::Claim;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::roots::Roots;
use crate::sweep;
use crate::ui::Ui;
use crate::verbs::rm;

/// The verb; nobody types it.
pub(crate) const VERB: &str = "__ended";

/// Returns what the shim is told to do when a container has ended.
pub(crate) fn arguments(roots: &Roots, id: &str) -> Vec<String> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    vec![VERB.to_owned(), text(&roots.data), text(&roots.state), id.to_owned()]
}

/// Does it; what goes wrong is written to the shim's log.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    match clean_up(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Ui::of_process().note(failure.text());
            ExitCode::FAILURE
        }
    }
}

/// Takes the container's sandbox away, and the container itself if that was asked for.
fn clean_up(arguments: &[OsString]) -> Result<(), Failure> {
    let [root, state, id] = arguments else { return Ok(()) };
    let id = id.to_string_lossy();
    let roots = Roots::open(Some(root.into()), Some(state.into()))?;
    // It may have ended before whoever started it is done.
    let claim = Claim::take(&roots, &network::name_of(&id))?;
    network::remove_sandbox_of(&roots, &id)?;
    let engine = Engine::open(roots)?;
    if engine.store.container(&id).is_ok_and(|row| sweep::is_removed_at_its_end(&row)) {
        rm::remove(&engine, &id)?;
    }
    drop(claim);
    Ok(())
}
