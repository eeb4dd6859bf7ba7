//! Following what the application prints.

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Deployed;
use crate::manifest::selector;

/// Sends every line of every pod of `deployed` to `lines`, also of pods that start later, until `stop`.
pub async fn follow_logs(
    client: &kube::Client,
    deployed: &Deployed,
    lines: mpsc::Sender<String>,
    stop: CancellationToken,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &deployed.namespace);
    let labels = selector(&deployed.name);
    let tracker = TaskTracker::new();
    let mut followed = std::collections::BTreeSet::new();
    while !stop.is_cancelled() {
        let listed = pods.list(&ListParams::default().labels(&labels)).await?;
        let since = listed.metadata.resource_version.unwrap_or_default();
        let now = futures::stream::iter(listed.items.into_iter().map(Ok));
        let later = pods.watch(&WatchParams::default().labels(&labels), &since).await?;
        let later = later.try_filter_map(|change| async move {
            Ok(match change {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Some(pod),
                _ => None,
            })
        });
        let mut seen = std::pin::pin!(now.chain(later));
        loop {
            let pod = tokio::select! {
                () = stop.cancelled() => break,
                pod = seen.try_next() => match pod? { Some(pod) => pod, None => break },
            };
            let Some(name) = pod.metadata.name.clone().filter(|_| has_started(&pod)) else { continue };
            if followed.insert(name.clone()) {
                tracker.spawn(follow(pods.clone(), name, lines.clone(), stop.clone()));
            }
        }
    }
    tracker.close();
    tracker.wait().await;
    Ok(())
}

fn has_started(pod: &Pod) -> bool {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.any(|status| {
        status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    })
}

async fn follow(pods: Api<Pod>, name: String, lines: mpsc::Sender<String>, stop: CancellationToken) {
    let wanted = LogParams { follow: true, ..LogParams::default() };
    let reader = match pods.log_stream(&name, &wanted).await {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!(pod = name, %error, "could not follow the log");
            return;
        }
    };
    let mut found = std::pin::pin!(reader.lines());
    loop {
        let line = tokio::select! {
            () = stop.cancelled() => return,
            line = found.next() => line,
        };
        let Some(Ok(line)) = line else { return };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}
