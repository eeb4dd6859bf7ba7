//! `shipway cluster kubeconfig`

use crate::cluster::{Control, State, ensure_running};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Starts the cluster if it does not run: the address in the file is of use only then.
pub(super) fn run(engine: &Engine, control: &Control, path: bool, ui: &mut Ui) -> Result<u8, Failure> {
    if !matches!(control.state()?, State::Running(_)) {
        super::start::say(&ensure_running(&engine.roots, control)?, ui);
    }
    let file = control.kubeconfig_path();
    if path {
        ui.line(file.display());
        return Ok(0);
    }
    let text = fs_err::read_to_string(&file).map_err(|error| {
        Failure::new(
            format!("could not read the kubeconfig: {error}"),
            "run `shipway cluster stop`, then start it",
        )
    })?;
    ui.line(text.trim_end());
    Ok(0)
}
