//! The pod at the other end of a connection.

use std::io;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Portforwarder, WatchParams};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Deployed;
use crate::manifest::selector;

/// So long a connection waits for a pod: while one is replaced or starts again, clients see a slow answer and no error.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pods of a Deployment, one of which a connection leads to.
pub(super) struct Target {
    pods: Api<Pod>,
    labels: String,
    port: u16,
}

impl Target {
    pub(super) fn new(client: &kube::Client, deployed: &Deployed, port: u16) -> Self {
        let pods = Api::namespaced(client.clone(), &deployed.namespace);
        Self { pods, labels: selector(&deployed.name), port }
    }

    /// Carries bytes both ways until both sides are done.
    pub(super) async fn carry(&self, mut connection: TcpStream) -> io::Result<()> {
        let mut forwarder = timeout(PATIENCE, self.reach()).await.map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no pod was ready within {} s", PATIENCE.as_secs()),
            )
        })??;
        let mut stream = forwarder.take_stream(self.port).ok_or(io::ErrorKind::NotConnected)?;
        tokio::io::copy_bidirectional(&mut connection, &mut stream).await.map(|_bytes| ())
    }

    /// Waits for a pod that is ready and can be reached.
    async fn reach(&self) -> io::Result<Portforwarder> {
        loop {
            let wanted = ListParams::default().labels(&self.labels);
            let listed = self.pods.list(&wanted).await.map_err(io::Error::other)?;
            let since = listed.metadata.resource_version.unwrap_or_default();
            if let Some(pod) = newest_ready(listed.items) {
                match self.pods.portforward(&pod, &[self.port]).await {
                    Ok(forwarder) => return Ok(forwarder),
                    Err(error) => tracing::debug!(pod, %error, "a ready pod could not be reached"),
                }
            }
            let wanted = WatchParams::default().labels(&self.labels);
            let changes = self.pods.watch(&wanted, &since).await.map_err(io::Error::other)?;
            // The first change, or the end of the watch: look again.
            std::pin::pin!(changes).try_next().await.map_err(io::Error::other)?;
        }
    }
}

/// Returns the name of the pod that connections lead to: during a rollout the newest is of the new template.
fn newest_ready(pods: Vec<Pod>) -> Option<String> {
    let ready = pods.into_iter().filter(is_ready);
    ready.max_by_key(|pod| pod.metadata.creation_timestamp.clone()).and_then(|pod| pod.metadata.name)
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, created: &str, ready: &str, leaves: Option<&str>) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": created, "deletionTimestamp": leaves},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn a_connection_leads_to_the_newest_pod_that_is_ready_and_stays() {
        let pods = json!([
            pod("old", "2026-01-01T00:00:00Z", "True", None),
            pod("new", "2026-01-02T00:00:00Z", "True", None),
            pod("starts", "2026-01-03T00:00:00Z", "False", None),
            pod("leaves", "2026-01-04T00:00:00Z", "True", Some("2026-01-04T00:00:01Z")),
        ]);
        let pods: Vec<Pod> = serde_json::from_value(pods).unwrap();
        assert_eq!(newest_ready(pods[2..].to_vec()), None);
        assert_eq!(newest_ready(pods).as_deref(), Some("new"));
    }
}
