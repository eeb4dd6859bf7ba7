//! `shipway version`

use serde_json::json;
use shipway_apiserver::KUBERNETES_VERSION;

use crate::failure::Failure;
use crate::template::{MISWRITTEN, Template};
use crate::ui::Ui;

/// Needs no roots and starts nothing.
pub(crate) fn run(format: &str, ui: &mut Ui) -> Result<u8, Failure> {
    let (version, os, architecture) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    // Compat: docker, scripts ask for both of these; one program is all there is.
    let half = json!({ "Version": version, "Os": os, "Arch": shipway_oci::Platform::host().architecture });
    let document = json!({
        "version": version, "os": os, "arch": architecture, "kubernetesVersion": KUBERNETES_VERSION,
        "Client": half, "Server": half,
    });
    match format {
        "" | "table" => {
            ui.line(format!("shipway {version} ({os}/{architecture}), Kubernetes {KUBERNETES_VERSION}"));
        }
        "json" => ui.line(document),
        template => {
            let template =
                Template::new(template).map_err(|error| Failure::from(error).with_code(MISWRITTEN))?;
            ui.line(template.fill(&document)?);
        }
    }
    Ok(0)
}
