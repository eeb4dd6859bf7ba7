//! `shipway cluster stop`

use shipway_kubelet::end_all_pods;

use crate::cluster::{Control, Parts, end_daemon};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, control: &Control, keep_pods: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let (ran, _lock) = end_daemon(control)?;
    if keep_pods {
        ui.note(if ran { "cluster: stopped, its pods run on" } else { "cluster: did not run" });
        return Ok(0);
    }
    end_pods(&Parts::open(engine)?)?;
    ui.note(if ran { "cluster: stopped" } else { "cluster: did not run; its pods are ended" });
    Ok(0)
}

/// Ends all pods; the API server's database still wants them, so they come back with the next start.
pub(super) fn end_pods(parts: &Parts) -> Result<(), Failure> {
    let runtime = crate::tasks::runtime()?;
    let left = runtime.block_on(end_all_pods(parts.kubelet_config(None), parts.machine.clone()));
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("something is left of {} pods: {}", left.len(), left.join(", ")),
        "see the warnings above, and run it again: `shipway cluster stop`",
    ))
}
