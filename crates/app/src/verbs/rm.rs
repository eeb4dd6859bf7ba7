//! `shipway rm`

use std::time::Duration;

use shipway_layers::LayerStore as _;
use shipway_store::Durability;

use super::each;
use crate::claim::Claim;
use crate::cli::RmArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::sweep::{is_removed_at_its_end, sweep};
use crate::ui::Ui;

/// `SIGKILL`
const KILL: i32 = 9;

pub(crate) fn run(engine: &Engine, args: &RmArgs, ui: &mut Ui) -> Result<u8, Failure> {
    sweep(engine);
    each(&args.names, ui, |name, ui| {
        let row = engine.store.container(name)?;
        if args.force
            && let Ok(container) = engine.containers.get(&row.id)
        {
            container.stop(KILL, Duration::ZERO)?;
        }
        let starts = engine.containers.get(&row.id).is_ok_and(|container| container.state().is_err());
        if starts && Claim::is_held(&engine.roots, &network::name_of(&row.id)) {
            return Err(Failure::new(
                format!("container {} is being started", row.name),
                format!("wait a moment, then `shipway rm -f {name}`"),
            ));
        }
        remove(engine, &row.id)?;
        ui.line(name);
        Ok(())
    })
}

/// Returns how long the record of a container is to be known: one that goes at its end is swept away after a power cut, with or
/// without it.
pub(crate) fn durability_of(goes_at_its_end: bool) -> Durability {
    if goes_at_its_end { Durability::Lazy } else { Durability::Synced }
}

/// Removes an ended container: its state, its network, its writable layer, its record, in this order. One that somebody else
/// has removed meanwhile is no error.
pub(crate) fn remove(engine: &Engine, id: &str) -> Result<(), Failure> {
    // Its shim, the command that started it and this one may all be about to.
    let alone = Claim::take(&engine.roots, &format!("remove-{id}"))?;
    let Some(row) = engine.store.containers()?.into_iter().find(|row| row.id == id) else { return Ok(()) };
    if let Ok(container) = engine.containers.get(id) {
        container.delete()?;
    }
    network::remove_sandbox_of(&engine.roots, id)?;
    if let Some(snapshot) = &row.snapshot {
        engine.layers.remove_snapshot(snapshot)?;
    }
    engine.store.remove_container(id, durability_of(is_removed_at_its_end(&row)))?;
    drop(alone);
    Ok(())
}
