//! `shipway kill`

use super::each;
use crate::cli::KillArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::signal_names;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &KillArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let signal = signal_names::parse(&args.signal)?;
    each(&args.names, ui, |name, ui| {
        let row = engine.store.container(name)?;
        let container = engine.containers.get(&row.id)?;
        container.kill(signal)?;
        if signal == signal_names::KILL {
            // Compat: docker, it is gone when the command is.
            container.wait()?;
        }
        ui.line(name);
        Ok(())
    })
}
