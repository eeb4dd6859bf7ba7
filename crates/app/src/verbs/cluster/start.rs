//! `shipway cluster start`

use crate::cluster::{Control, Launched, ensure_running};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, control: &Control, ui: &mut Ui) -> Result<u8, Failure> {
    let launched = ensure_running(&engine.roots, control)?;
    say(&launched, ui);
    Ok(0)
}

/// Says what became of a start.
pub(crate) fn say(launched: &Launched, ui: &mut Ui) {
    let Launched { record, took } = launched;
    match took {
        Some(took) => ui.note(format!("cluster: ready at {} after {:.2} s", record.url, took.as_secs_f64())),
        None => ui.note(format!("cluster: runs already at {}", record.url)),
    }
    if took.is_none() && record.version != env!("CARGO_PKG_VERSION") {
        ui.note(format!(
            "note: the cluster is of version {}, this is {}; `shipway cluster stop --keep-pods` and a start renew it",
            record.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
}
