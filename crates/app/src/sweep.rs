//! What nobody cleaned up: sandboxes, `--rm` containers and steps of builds whose keeper was killed.

use shipway_network::{Bridge, SandboxNetwork as _};
use shipway_runtime::Status;
use shipway_store::ContainerRow;

use crate::claim::Claim;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network::{self, OF_BUILD, OF_CONTAINER};
use crate::steps::OF_STEP;
use crate::verbs::rm;

/// Takes away what is left over. Whoever asks has something else to do, so a failure is only noted, and the rest goes all the same.
pub(crate) fn sweep(engine: &Engine) {
    for done in [sandboxes(engine, is_build_or_container), containers(engine), steps(engine)] {
        note(done);
    }
    Claim::sweep(&engine.roots);
}

/// Takes away the steps and sandboxes of builds that were killed, and what these had made: as [`sweep`] does, but only those.
pub(crate) fn sweep_builds(engine: &Engine) {
    // A step uses the sandbox of its build.
    note(steps(engine));
    note(sandboxes(engine, |id| id.starts_with(OF_BUILD)));
    Claim::sweep(&engine.roots);
    note(engine.store.sweep().map_err(Failure::from));
}

fn is_build_or_container(id: &str) -> bool {
    id.starts_with(OF_BUILD) || id.starts_with(OF_CONTAINER)
}

fn steps(engine: &Engine) -> Result<(), Failure> {
    let is_nobodys = |name: &String| name.starts_with(OF_STEP) && !Claim::is_held(&engine.roots, name);
    for name in engine.containers.names()?.iter().filter(|name| is_nobodys(name)) {
        note(engine.containers.clear(name).map_err(Failure::from));
    }
    let scratch = engine.roots.state.join("steps");
    for entry in fs_err::read_dir(&scratch).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_nobodys(&name)
            && let Err(error) = fs_err::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, "could not remove the files of a step");
        }
    }
    Ok(())
}

fn note(done: Result<(), Failure>) {
    if let Err(failure) = done {
        tracing::warn!(reason = failure.text(), "could not clean up what earlier commands left");
    }
}

fn sandboxes(engine: &Engine, is_ours: fn(&str) -> bool) -> Result<(), Failure> {
    let Some(bridge) = Bridge::find(network::config(&engine.roots))? else { return Ok(()) };
    for sandbox in bridge.list()? {
        let container = sandbox.id.strip_prefix(OF_CONTAINER);
        if !is_ours(&sandbox.id)
            || Claim::is_held(&engine.roots, &sandbox.id)
            || container.is_some_and(|id| status(engine, id) == Some(Status::Running))
        {
            continue;
        }
        note(bridge.remove(&sandbox.id).map_err(Failure::from));
    }
    Ok(())
}

fn containers(engine: &Engine) -> Result<(), Failure> {
    for row in engine.store.containers()?.iter().filter(|row| is_removed_at_its_end(row)) {
        // One without a state may be another state root's.
        if status(engine, &row.id) == Some(Status::Exited)
            && !Claim::is_held(&engine.roots, &network::name_of(&row.id))
        {
            note(rm::remove(engine, &row.id));
        }
    }
    Ok(())
}

fn status(engine: &Engine, id: &str) -> Option<Status> {
    engine.containers.get(id).and_then(|container| container.state()).ok().map(|state| state.status)
}

/// Whether a container was started with `--rm`.
pub(crate) fn is_removed_at_its_end(row: &ContainerRow) -> bool {
    let document: serde_json::Value = serde_json::from_str(&row.document).unwrap_or_default();
    document["AutoRemove"] == true
}
