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
    let Launched { record, took, renewed } = launched;
    let Some(took) = took else {
        return ui.note(format!("cluster: runs already at {}", record.url));
    };
    let before = if *renewed { ", in place of one of another build" } else { "" };
    ui.note(format!("cluster: ready at {} after {:.2} s{before}", record.url, took.as_secs_f64()));
}
