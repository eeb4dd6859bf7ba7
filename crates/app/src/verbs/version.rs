//! `shipway version`

use serde_json::json;
use shipway_apiserver::KUBERNETES_VERSION;

use crate::cli::ListFormat;
use crate::ui::Ui;

/// Needs no roots and starts nothing.
pub(crate) fn run(format: ListFormat, ui: &mut Ui) -> u8 {
    let (version, os, architecture) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    match format {
        ListFormat::Json => ui.line(json!({
            "version": version, "os": os, "arch": architecture, "kubernetesVersion": KUBERNETES_VERSION,
        })),
        ListFormat::Table => {
            ui.line(format!("shipway {version} ({os}/{architecture}), Kubernetes {KUBERNETES_VERSION}"));
        }
    }
    0
}
