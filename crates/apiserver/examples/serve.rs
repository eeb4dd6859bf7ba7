//! Serves an empty cluster from a folder, for trying it with `kubectl`: `serve DIR` writes `DIR/kubeconfig`.

use std::path::PathBuf;

use shipway_apiserver::{ApiServer, Config};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: serve DIR")?);
    let server = ApiServer::open(Config::new(dir.clone())).await?;
    let listener = server.listen().await?;
    let url = format!("https://{}", listener.local_addr()?);
    fs_err::write(dir.join("kubeconfig"), server.kubeconfig(&url))?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::task::LocalSet::new()
        .run_until(async move {
            tokio::task::spawn_local(async move {
                drop(tokio::signal::ctrl_c().await);
                signal.cancel();
            });
            server.serve(listener, stop).await
        })
        .await?;
    Ok(())
}
