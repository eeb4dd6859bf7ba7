//! `shipway rm`

use std::time::Duration;

use shipway_layers::LayerStore as _;

use super::each;
use crate::cli::RmArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// `SIGKILL`
const KILL: i32 = 9;

pub(crate) fn run(engine: &Engine, args: &RmArgs, ui: &mut Ui) -> Result<u8, Failure> {
    each(&args.names, ui, |name, ui| {
        let row = engine.store.container(name)?;
        if args.force
            && let Ok(container) = engine.containers.get(&row.id)
        {
            container.stop(KILL, Duration::ZERO)?;
        }
        remove(engine, &row.id)?;
        ui.line(name);
        Ok(())
    })
}

/// Removes an ended container: its state, its writable layer, its record, in this order.
pub(crate) fn remove(engine: &Engine, id: &str) -> Result<(), Failure> {
    let row = engine.store.container(id)?;
    if let Ok(container) = engine.containers.get(id) {
        container.delete()?;
    }
    if let Some(snapshot) = &row.snapshot {
        engine.layers.remove_snapshot(snapshot)?;
    }
    Ok(engine.store.remove_container(id)?)
}
