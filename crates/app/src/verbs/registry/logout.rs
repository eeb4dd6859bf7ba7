//! `shipway logout`

use super::login::server;
use crate::cli::LogoutArgs;
use crate::failure::Failure;
use crate::pulls;
use crate::ui::Ui;

/// Compat: docker, logging out without having been logged in is no failure.
pub(crate) fn run(args: &LogoutArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let server = server(args.server.as_deref());
    if pulls::registries()?.credentials().erase(&server)? {
        ui.line(format!("Removing login credentials for {server}"));
    } else {
        ui.line(format!("Not logged in to {server}"));
    }
    Ok(0)
}
