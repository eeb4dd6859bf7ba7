//! Serves a cluster with a pod that does not exist, for trying streams with `kubectl`: `fake_node DIR` writes
//! `DIR/kubeconfig`; then `kubectl exec -i fake -- cat`, `kubectl logs fake`, `kubectl port-forward fake 8080:80`.

#![expect(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use serde_json::json;
use shipway_apiserver::{ApiServer, Config, Identity};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

#[path = "../tests/it/fake_node.rs"]
mod fake_node;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: fake_node DIR")?);
    let mut config = Config::new(dir.clone());
    config.node = Arc::new(fake_node::FakeNode::default());
    let server = ApiServer::open(config).await?;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "fake"},
        "spec": {"nodeName": "here", "containers": [{"name": "main", "image": "none:1"}]}});
    let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": [
        {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
    for (request, body) in [
        (Request::post(pods).header("content-type", "application/json"), pod),
        (
            Request::patch(format!("{pods}/fake/status"))
                .header("content-type", "application/merge-patch+json"),
            status,
        ),
    ] {
        let mut request = request.body(Body::from(body.to_string()))?;
        request.extensions_mut().insert(Identity::admin());
        drop(server.router().oneshot(request).await);
    }
    let listener = server.listen().await?;
    let url = format!("https://{}", listener.local_addr()?);
    fs_err::write(dir.join("kubeconfig"), server.kubeconfig(&url))?;
    server.serve(listener, CancellationToken::new()).await?;
    Ok(())
}
