//! The scheduler: a node for each pod that has none.

mod fit;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PostParams};
use serde_json::{Value, json};
use shipway_events::Happening;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::informer::Key;
use crate::queue::{Queue, Requeue, ignore_gone, work};
use crate::run::{Cluster, patch_params};

use fit::{Choice, choose};

/// Whose events these are, and the scheduler name that pods ask for.
const COMPONENT: &str = "default-scheduler";

/// Subscribes to what matters and returns the scheduler, which runs until `stop`.
pub(crate) fn run(cluster: Arc<Cluster>, stop: CancellationToken) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<Key>::new());
    let (to, weak) = (Arc::clone(&queue), Arc::downgrade(&cluster));
    cluster.pods.on_change(move |change| match &change.new {
        Some(pod) if is_waiting(pod) => to.add(Key::of(&**pod)),
        Some(pod) if !is_over(pod) => {}
        // Room came free.
        _ => weak.upgrade().iter().for_each(|cluster| retry_waiting(cluster, &to)),
    });
    let (to, weak) = (Arc::clone(&queue), Arc::downgrade(&cluster));
    cluster.nodes.on_change(move |change| {
        let relevant = |node: &Node| {
            (node.spec.clone(), node.metadata.labels.clone(), allocatable(node), is_ready(node))
        };
        let same = change.old.as_deref().map(relevant) == change.new.as_deref().map(relevant);
        if !same && let Some(cluster) = weak.upgrade() {
            retry_waiting(&cluster, &to);
        }
    });
    async move {
        tokio::join!(cluster.nodes.wait_synced(), cluster.pods.wait_synced());
        // One at a time: each decision must see the one before.
        work(&queue, 1, &stop, |key| schedule(&cluster, key)).await;
    }
}

fn allocatable(node: &Node) -> Value {
    json!(node.status.as_ref().and_then(|status| status.allocatable.as_ref()))
}

/// Returns whether a node says it is ready.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn retry_waiting(cluster: &Cluster, queue: &Queue<Key>) {
    for pod in cluster.pods.list().iter().filter(|pod| is_waiting(pod)) {
        queue.add(Key::of(&**pod));
    }
}

/// Returns whether a pod waits for us to place it.
fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.node_name.as_deref().unwrap_or_default().is_empty()
        && spec.scheduler_name.as_deref().unwrap_or(COMPONENT) == COMPONENT
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && pod.metadata.deletion_timestamp.is_none()
        && !is_over(pod)
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

async fn schedule(cluster: &Cluster, key: Key) -> Result<Requeue, kube::Error> {
    let Some(pod) = cluster.pods.get(&key).filter(|pod| is_waiting(pod)) else {
        return Ok(Requeue::OnEvent);
    };
    let nodes: Vec<Arc<Node>> = cluster.nodes.list().into_iter().filter(|node| is_ready(node)).collect();
    match choose(&pod, &nodes, &cluster.pods.list()) {
        Choice::Node(node) => bind(cluster, &pod, &node).await?,
        Choice::None(why) => report(cluster, &pod, why).await?,
    }
    Ok(Requeue::OnEvent)
}

async fn bind(cluster: &Cluster, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let (namespace, name) = names(pod);
    let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let answer = api.create_subresource::<_, Value>("binding", name, &PostParams::default(), &binding).await;
    if ignore_gone(answer)?.is_none() {
        return Ok(());
    }
    let message = format!("Successfully assigned {namespace}/{name} to {node}");
    cluster.recorder.record(COMPONENT, pod, Happening::normal("Scheduled", message));
    Ok(())
}

/// Says on the pod why it is not placed.
async fn report(cluster: &Cluster, pod: &Pod, why: String) -> Result<(), kube::Error> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (ours, mut kept): (Vec<_>, Vec<_>) =
        conditions.into_iter().partition(|condition| condition.type_ == "PodScheduled");
    let found = ours.first();
    if found.is_some_and(|found| found.status == "False" && found.message.as_deref() == Some(&why)) {
        return Ok(());
    }
    cluster.recorder.record(COMPONENT, pod, Happening::warning("FailedScheduling", why.clone()));
    let since =
        found.filter(|found| found.status == "False").and_then(|found| found.last_transition_time.clone());
    kept.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(why),
        last_transition_time: Some(since.unwrap_or(Time(now()))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    let (namespace, name) = names(pod);
    let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let patch = Patch::Merge(json!({"status": {"conditions": kept}}));
    let patched = ignore_gone(api.patch_status(name, &patch_params(), &patch).await)?;
    patched.into_iter().for_each(|patched| cluster.pods.remember(patched));
    Ok(())
}

fn names(pod: &Pod) -> (&str, &str) {
    let meta = &pod.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
