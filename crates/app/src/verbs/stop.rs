//! `shipway stop`

use std::time::Duration;

use shipway_store::ContainerRow;

use super::each;
use crate::cli::StopArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network;
use crate::signal_names;
use crate::ui::Ui;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

pub(crate) fn run(engine: &Engine, args: &StopArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let signal = args.signal.as_deref().map(signal_names::parse).transpose()?;
    let grace = u64::try_from(args.time).map_or(FOR_EVER, Duration::from_secs);
    each(&args.names, ui, |name, ui| {
        let row = engine.store.container(name)?;
        let container = engine.containers.get(&row.id)?;
        container.stop(signal.unwrap_or_else(|| stop_signal(&row)), grace)?;
        network::remove_sandbox_of(&engine.roots, &row.id)?;
        ui.line(name);
        Ok(())
    })
}

/// Returns the signal that the container or its image wants to be stopped by.
fn stop_signal(row: &ContainerRow) -> i32 {
    let document: serde_json::Value = serde_json::from_str(&row.document).unwrap_or_default();
    let named = document["StopSignal"].as_str().filter(|name| !name.is_empty());
    named.and_then(|name| signal_names::parse(name).ok()).unwrap_or(signal_names::TERMINATE)
}
