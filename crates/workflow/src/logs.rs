//! Following what the application prints.

use std::collections::BTreeSet;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Project;
use crate::manifest::selector;

/// Lines that are shown of pods that ran before.
const LAST_LINES: i64 = 10;

/// A line that a pod printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The pod.
    pub pod: String,
    /// The line, without its end.
    pub text: String,
}

/// Which logs to follow, and until when.
#[derive(Clone, Debug)]
pub struct LogOrder {
    /// Pods that were there before: they may be about to go.
    pub known: BTreeSet<String>,
    /// Cancelled when the known pods that are left are of interest too; only their last lines are sent.
    pub settled: CancellationToken,
    /// Ends it all.
    pub stop: CancellationToken,
}

/// Returns the names of the pods of a project.
pub async fn pods_of(client: &kube::Client, project: &Project) -> Result<BTreeSet<String>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &project.namespace);
    let listed = pods.list(&ListParams::default().labels(&selector(&project.name))).await?;
    Ok(listed.items.into_iter().filter_map(|pod| pod.metadata.name).collect())
}

/// Sends every line of every pod of `project` to `lines`, also of pods and runs that start later.
pub async fn follow_logs(
    client: &kube::Client,
    project: &Project,
    lines: mpsc::Sender<LogLine>,
    order: LogOrder,
) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &project.namespace);
    let labels = selector(&project.name);
    let tracker = TaskTracker::new();
    let (mut followed, mut seen_before) = (BTreeSet::new(), BTreeSet::new());
    while !order.stop.is_cancelled() {
        let settled = order.settled.is_cancelled();
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
                () = order.stop.cancelled() => break,
                // The known ones count from now on: look again.
                () = order.settled.cancelled(), if !settled => break,
                pod = seen.try_next() => match pod? { Some(pod) => pod, None => break },
            };
            let (Some(name), Some(run)) = (pod.metadata.name.clone(), started_run(&pod)) else { continue };
            let known = order.known.contains(&name);
            let leaves = pod.metadata.deletion_timestamp.is_some();
            if (known && (!settled || leaves)) || !followed.insert((name.clone(), run)) {
                continue;
            }
            // A run that begins later is shown whole.
            let tail = (known && seen_before.insert(name.clone())).then_some(LAST_LINES);
            tracker.spawn(follow(pods.clone(), (name, tail), lines.clone(), order.stop.clone()));
        }
    }
    tracker.close();
    tracker.wait().await;
    Ok(())
}

/// Returns the number of the run of a pod's container that has begun last.
fn started_run(pod: &Pod) -> Option<i32> {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let begun = statuses.find(|status| {
        status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    begun.map(|status| status.restart_count)
}

async fn follow(
    pods: Api<Pod>,
    (pod, tail_lines): (String, Option<i64>),
    lines: mpsc::Sender<LogLine>,
    stop: CancellationToken,
) {
    let wanted = LogParams { follow: true, tail_lines, ..LogParams::default() };
    let reader = match pods.log_stream(&pod, &wanted).await {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!(pod, %error, "could not follow the log");
            return;
        }
    };
    let mut found = std::pin::pin!(reader.lines());
    loop {
        let line = tokio::select! {
            () = stop.cancelled() => return,
            line = found.next() => line,
        };
        let Some(Ok(text)) = line else { return };
        if lines.send(LogLine { pod: pod.clone(), text }).await.is_err() {
            return;
        }
    }
}
