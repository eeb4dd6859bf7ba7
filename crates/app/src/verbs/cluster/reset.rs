//! `shipway cluster reset`

use std::io;
use std::sync::Arc;

use super::stop::end_pods;
use crate::cluster::{Control, Parts, end_daemon};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, control: &Control, ui: &mut Ui) -> Result<u8, Failure> {
    let (_ran, _lock) = end_daemon(control)?;
    let parts = Parts::open(engine)?;
    end_pods(&parts)?;
    match fs_err::remove_dir_all(&control.data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let hint = "see what uses it, then run `shipway cluster reset` again";
            return Err(Failure::new(format!("could not remove the cluster's data: {error}"), hint));
        }
        _ => {}
    }
    let Parts { bridge, machine, .. } = parts;
    drop(machine);
    // Containers that somebody runs by hand may be on it; the last one gone, it is of no use.
    if let Some(bridge) = Arc::into_inner(bridge) {
        bridge.destroy_if_empty()?;
    }
    ui.note("cluster: removed; images and containers are still there");
    Ok(0)
}
