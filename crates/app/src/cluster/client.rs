//! A Kubernetes client of the running daemon.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::Control;
use crate::failure::Failure;

/// How long a server that lives may take to say so.
const ANSWER: Duration = Duration::from_secs(2);

/// Returns a client with the administrator's access, as any other program would get it from the kubeconfig.
pub(crate) async fn connect(control: &Control) -> Result<kube::Client, Failure> {
    let path = control.kubeconfig_path();
    let text = fs_err::read_to_string(&path).map_err(|error| {
        Failure::new(
            format!("could not read the access to the cluster: {error}"),
            "run `shipway cluster start`",
        )
    })?;
    let damaged = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("`{}` is damaged: {error}", path.display()),
            "run `shipway cluster stop`, then start it",
        )
    };
    let config = Kubeconfig::from_yaml(&text).map_err(|error| damaged(&error))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let config = config.map_err(|error| damaged(&error))?;
    kube::Client::try_from(config).map_err(|error| damaged(&error))
}

/// Returns whether the API server answers.
pub(super) fn answers(control: &Control) -> bool {
    let ask = async {
        let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
        let client = connect(control).await.ok()?;
        client.request_text(request).await.ok()
    };
    let asked = crate::tasks::runtime().map(|runtime| {
        runtime.block_on(async { tokio::time::timeout(ANSWER, ask).await.ok().flatten().is_some() })
    });
    asked.unwrap_or(false)
}
