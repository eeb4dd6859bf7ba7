//! The pods of this node, kept current by list and watch.

use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// First and longest wait between attempts to reach the server.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));
/// Seconds that one watch request lasts; the server may end it earlier.
const WATCH_SECONDS: u32 = 290;

/// What changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// These are all pods; others are gone.
    All(Vec<Pod>),
    /// A pod is new or other.
    Put(Box<Pod>),
    /// A pod is gone from the API.
    Gone(Box<Pod>),
}

/// Sends the pods of `node` and their changes until `stop`.
pub(crate) async fn run(
    client: Client,
    node: String,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
) {
    let mut wait = BACK_OFF.0;
    while !stop.is_cancelled() {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = list_and_watch(&client, &node, &changes) => outcome,
        };
        match outcome {
            Ok(()) => wait = BACK_OFF.0,
            Err(error) => {
                tracing::warn!(%error, "could not watch pods, trying again");
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                }
            }
        }
    }
}

/// Lists once, then watches until the server forgets our revision (`Ok`) or fails.
async fn list_and_watch(
    client: &Client,
    node: &str,
    changes: &mpsc::Sender<Change>,
) -> Result<(), kube::Error> {
    let api = Api::<Pod>::all(client.clone());
    let selector = format!("spec.nodeName={node}");
    let list = api.list(&ListParams::default().fields(&selector)).await?;
    let mut version = list.metadata.resource_version.unwrap_or_default();
    send(changes, Change::All(list.items.into_iter().map(trimmed).collect())).await;
    let params = WatchParams::default().fields(&selector).timeout(WATCH_SECONDS);
    loop {
        let stream = match api.watch(&params, &version).await {
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
            other => other?,
        };
        pin_mut!(stream);
        while let Some(event) = stream.next().await {
            match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    version = pod.metadata.resource_version.clone().unwrap_or(version);
                    send(changes, Change::Put(Box::new(trimmed(pod)))).await;
                }
                WatchEvent::Deleted(pod) => {
                    version = pod.metadata.resource_version.clone().unwrap_or(version);
                    send(changes, Change::Gone(Box::new(trimmed(pod)))).await;
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
    }
}

async fn send(changes: &mpsc::Sender<Change>, change: Change) {
    // Nobody listens only when the kubelet ends, and then this task ends too.
    drop(changes.send(change).await);
}

/// Drops what the kubelet does not read.
fn trimmed(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    pod
}
