//! The forward, until Ctrl-C.

use shipway_workflow::Deployed;
use tokio::task::JoinSet;

use super::watch::Output;
use crate::failure::Failure;
use crate::forwards::Held;
use crate::tasks::Stopping;
use crate::ui::Ui;

/// Serves the held port, prints where, and shows what the application prints, until it is stopped.
pub(super) async fn run(
    (client, deployed): (kube::Client, Deployed),
    (held, port): (Held, u16),
    mut output: Output,
    stopping: &Stopping,
    ui: &mut Ui,
) -> Result<u8, Failure> {
    match held {
        Held::Here { forward, lock } => {
            for address in forward.addresses() {
                ui.note(format!("Forwarding from {address} -> {port}"));
            }
            ui.line(format!("http://127.0.0.1:{}", forward.port()));
            // Connections go on while the reader of the output makes it wait.
            let mut serving = JoinSet::new();
            serving.spawn(forward.serve(client, deployed, port, stopping.token.clone()));
            output.show_until_stopped(stopping, ui).await;
            serving.join_all().await;
            drop(lock);
            ui.note("the forward has ended, the application runs on; `shipway down` removes it");
        }
        Held::Elsewhere { pid, port } => {
            ui.note(format!("port {port} is forwarded already by another `shipway up` (process {pid})"));
            ui.line(format!("http://127.0.0.1:{port}"));
            output.show_until_stopped(stopping, ui).await;
        }
    }
    Ok(0)
}
