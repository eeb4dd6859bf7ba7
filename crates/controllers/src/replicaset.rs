//! ReplicaSets: as many pods of a template as wanted.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PostParams};
use serde_json::json;
use shipway_events::Happening;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::informer::Key;
use crate::owners::{Claim, adopt_patch, claim, controller_of, release_patch};
use crate::queue::{Queue, Requeue, ignore_gone, work};
use crate::run::{Cluster, patch_params};
use crate::selector;

use plan::{Failure, plan, pod_of, status_of, status_patch};

/// Whose events these are.
const COMPONENT: &str = "replicaset-controller";
/// ReplicaSets worked on at the same time.
const WORKERS: usize = 4;
/// Pods created or deleted at the same time.
const BURST: usize = 16;

/// Subscribes to what matters and returns the controller, which runs until `stop`.
pub(crate) fn run(cluster: Arc<Cluster>, stop: CancellationToken) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<Key>::new());
    let to = Arc::clone(&queue);
    cluster.replica_sets.on_change(move |change| {
        if let Some(object) = change.latest() {
            to.add(Key::of(&**object));
        }
    });
    let (to, weak) = (Arc::clone(&queue), Arc::downgrade(&cluster));
    cluster.pods.on_change(move |change| {
        for pod in change.both() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => to.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(cluster) = weak.upgrade() else { return };
                    for set in cluster.replica_sets.in_namespace(namespace) {
                        if matches(&set, pod) {
                            to.add(Key::of(&*set));
                        }
                    }
                }
            }
        }
    });
    async move {
        tokio::join!(cluster.replica_sets.wait_synced(), cluster.pods.wait_synced());
        work(&queue, WORKERS, &stop, |key| reconcile(&cluster, key)).await;
    }
}

fn matches(set: &ReplicaSet, pod: &Pod) -> bool {
    let spec = &set.spec;
    spec.selector != Default::default() && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
}

/// Moves one ReplicaSet towards its wanted state.
async fn reconcile(cluster: &Cluster, key: Key) -> Result<Requeue, kube::Error> {
    let Some(set) = cluster.replica_sets.get(&key) else {
        return Ok(Requeue::OnEvent);
    };
    let mut pods = claimed_pods(cluster, &set).await?;
    let plan = plan(&set, &pods);
    let failure = apply(cluster, &set, &mut pods, plan).await;
    let time = now();
    let reason = failure.as_ref().map(|(failure, _)| failure);
    let (status, again) = status_of(&set, &pods, reason, time);
    if set.status.as_ref() != Some(&status) {
        let api = Api::<ReplicaSet>::namespaced(cluster.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"status": status_patch(&status)}));
        let patched = ignore_gone(api.patch_status(&key.name, &patch_params(), &patch).await)?;
        patched.into_iter().for_each(|patched| cluster.replica_sets.remember(patched));
    }
    match failure {
        Some((_, error)) => Err(error),
        None => Ok(again.map_or(Requeue::OnEvent, |seconds| Requeue::After(Duration::from_secs(seconds)))),
    }
}

/// Creates and deletes pods; `pods` is brought up to date with what was done.
async fn apply(
    cluster: &Cluster,
    set: &ReplicaSet,
    pods: &mut Vec<Arc<Pod>>,
    plan: plan::Plan,
) -> Option<(Failure, kube::Error)> {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let api = &Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let mut failure = None;
    let wanted = pod_of(set);
    let created =
        stream::iter(0..plan.create).map(async |_| api.create(&PostParams::default(), &wanted).await);
    let mut created = Box::pin(created.buffer_unordered(BURST));
    while let Some(outcome) = created.next().await {
        match outcome {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
                cluster.recorder.record(COMPONENT, set, Happening::normal("SuccessfulCreate", message));
                cluster.pods.remember(pod.clone());
                pods.push(Arc::new(pod));
            }
            Err(error) => {
                let message = format!("Error creating: {}", said(&error));
                cluster.recorder.record(COMPONENT, set, Happening::warning("FailedCreate", message.clone()));
                failure = Some((Failure { reason: "FailedCreate", message }, error));
                // The rest would most likely fail in the same way.
                break;
            }
        }
    }
    drop(created);
    let deleted = stream::iter(plan.delete).map(async |pod: Arc<Pod>| {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let outcome = ignore_gone(api.delete(&name, &DeleteParams::default()).await);
        (pod, name, outcome)
    });
    let mut deleted = Box::pin(deleted.buffer_unordered(BURST));
    while let Some((pod, name, outcome)) = deleted.next().await {
        match outcome {
            Ok(answer) => {
                let happening = Happening::normal("SuccessfulDelete", format!("Deleted pod: {name}"));
                cluster.recorder.record(COMPONENT, set, happening);
                if let Some(pod) = answer.and_then(|answer| answer.left()) {
                    cluster.pods.remember(pod);
                }
                pods.retain(|kept| kept.metadata.uid != pod.metadata.uid);
            }
            Err(error) => {
                let message = format!("Error deleting: {}", said(&error));
                cluster.recorder.record(COMPONENT, set, Happening::warning("FailedDelete", message.clone()));
                failure = Some((Failure { reason: "FailedDelete", message }, error));
            }
        }
    }
    failure
}

/// Returns what the server said, without what the client puts around it.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Returns the pods of a ReplicaSet, after taking in orphans and letting strays go.
async fn claimed_pods(cluster: &Cluster, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, kube::Error> {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let mut ours = Vec::new();
    for pod in cluster.pods.in_namespace(namespace) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match claim(&pod.metadata, &set.metadata, matches(set, &pod)) {
            Claim::Ours => ours.push(pod),
            Claim::Adopt if plan::is_active(&pod) => {
                let patch = Patch::Merge(adopt_patch(&pod.metadata, set));
                if let Some(adopted) = ignore_gone(api.patch(name, &patch_params(), &patch).await)? {
                    cluster.pods.remember(adopted.clone());
                    ours.push(Arc::new(adopted));
                }
            }
            Claim::Release => {
                let patch = Patch::Merge(release_patch(
                    &pod.metadata,
                    set.metadata.uid.as_deref().unwrap_or_default(),
                ));
                if let Some(released) = ignore_gone(api.patch(name, &patch_params(), &patch).await)? {
                    cluster.pods.remember(released);
                }
            }
            Claim::Adopt | Claim::Foreign => {}
        }
    }
    Ok(ours)
}
