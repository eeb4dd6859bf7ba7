//! `shipway stop`

use std::time::Duration;

use super::each;
use crate::cli::StopArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::ui::Ui;

/// `SIGTERM`
const TERMINATE: i32 = 15;

pub(crate) fn run(engine: &Engine, args: &StopArgs, ui: &mut Ui) -> Result<u8, Failure> {
    each(&args.names, ui, |name, ui| {
        let row = engine.store.container(name)?;
        let container = engine.containers.get(&row.id)?;
        container.stop(TERMINATE, Duration::from_secs(args.time.into()))?;
        network::remove_sandbox_of(&engine.roots, &row.id)?;
        ui.line(name);
        Ok(())
    })
}
