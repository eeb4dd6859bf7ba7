//! Deployments: a ReplicaSet per pod template, and the way from one to the next.

mod plan;
mod proportional;
mod revision;
mod rollout;
mod status;

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
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

use plan::{Action, Plan, plan};

/// Whose events these are.
const COMPONENT: &str = "deployment-controller";
/// Deployments worked on at the same time.
const WORKERS: usize = 4;

/// Subscribes to what matters and returns the controller, which runs until `stop`.
pub(crate) fn run(cluster: Arc<Cluster>, stop: CancellationToken) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<Key>::new());
    subscribe(&cluster, &queue);
    async move {
        tokio::join!(
            cluster.deployments.wait_synced(),
            cluster.replica_sets.wait_synced(),
            cluster.pods.wait_synced()
        );
        work(&queue, WORKERS, &stop, |key| reconcile(&cluster, key)).await;
    }
}

fn subscribe(cluster: &Arc<Cluster>, queue: &Arc<Queue<Key>>) {
    let to = Arc::clone(queue);
    cluster.deployments.on_change(move |change| {
        if let Some(object) = change.latest() {
            to.add(Key::of(&**object));
        }
    });
    let (to, weak) = (Arc::clone(queue), Arc::downgrade(cluster));
    cluster.replica_sets.on_change(move |change| {
        for set in change.both() {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            match controller_of(&set.metadata) {
                Some(owner) if owner.kind == "Deployment" => to.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(cluster) = weak.upgrade() else { return };
                    for deployment in cluster.deployments.in_namespace(namespace) {
                        if matches(&deployment, set) {
                            to.add(Key::of(&*deployment));
                        }
                    }
                }
            }
        }
    });
    // Recreate waits for the last pod to be gone, which no ReplicaSet tells of.
    let (to, weak) = (Arc::clone(queue), Arc::downgrade(cluster));
    cluster.pods.on_change(move |change| {
        let (Some(pod), None, Some(cluster)) = (&change.old, &change.new, weak.upgrade()) else { return };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let set = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet");
        let set = set.and_then(|owner| cluster.replica_sets.get(&Key::new(namespace, &owner.name)));
        if let Some(owner) = set.as_ref().and_then(|set| controller_of(&set.metadata)) {
            to.add(Key::new(namespace, &owner.name));
        }
    });
}

fn matches(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let spec = &deployment.spec;
    spec.selector != Default::default() && selector::matches(&spec.selector, set.metadata.labels.as_ref())
}

/// Moves one Deployment towards its wanted state.
async fn reconcile(cluster: &Cluster, key: Key) -> Result<Requeue, kube::Error> {
    let Some(deployment) = cluster.deployments.get(&key) else {
        return Ok(Requeue::OnEvent);
    };
    let sets = claimed_sets(cluster, &deployment).await?;
    let pods = cluster.pods.in_namespace(&key.namespace);
    let old_pods_run = |set: &ReplicaSet| pods.iter().any(|pod| runs_for(pod, set));
    let Plan { actions, requeue } = plan(&deployment, &sets, &old_pods_run, now());
    for action in actions {
        apply(cluster, &deployment, action).await?;
    }
    Ok(requeue)
}

fn runs_for(pod: &Pod, set: &ReplicaSet) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    crate::owners::is_controlled_by(&pod.metadata, &set.metadata)
        && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Returns the ReplicaSets of a Deployment, after taking in orphans and letting strays go.
async fn claimed_sets(
    cluster: &Cluster,
    deployment: &Deployment,
) -> Result<Vec<Arc<ReplicaSet>>, kube::Error> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<ReplicaSet>::namespaced(cluster.client.clone(), namespace);
    let mut ours = Vec::new();
    for set in cluster.replica_sets.in_namespace(namespace) {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        match claim(&set.metadata, &deployment.metadata, matches(deployment, &set)) {
            Claim::Ours => ours.push(set),
            Claim::Foreign => {}
            Claim::Adopt => {
                let patch = Patch::Merge(adopt_patch(&set.metadata, deployment));
                let adopted = api.patch(name, &patch_params(), &patch).await?;
                cluster.replica_sets.remember(adopted.clone());
                ours.push(Arc::new(adopted));
            }
            Claim::Release => {
                let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
                let patch = Patch::Merge(release_patch(&set.metadata, uid));
                if let Some(released) = ignore_gone(api.patch(name, &patch_params(), &patch).await)? {
                    cluster.replica_sets.remember(released);
                }
            }
        }
    }
    Ok(ours)
}

async fn apply(cluster: &Cluster, deployment: &Deployment, action: Action) -> Result<(), kube::Error> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let sets = Api::<ReplicaSet>::namespaced(cluster.client.clone(), namespace);
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
    match action {
        Action::Create(set) => create(cluster, deployment, &set).await?,
        Action::Scale { name, from, to, annotations } => {
            let patch = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": to}});
            let Some(set) = ignore_gone(sets.patch(&name, &patch_params(), &Patch::Merge(patch)).await)?
            else {
                return Ok(());
            };
            cluster.replica_sets.remember(set);
            if from != to {
                cluster.recorder.record(COMPONENT, deployment, scaled(&name, from, to));
            }
        }
        Action::Annotate { name, annotations } => {
            let patch = json!({"metadata": {"annotations": annotations}});
            if let Some(set) = ignore_gone(sets.patch(&name, &patch_params(), &Patch::Merge(patch)).await)? {
                cluster.replica_sets.remember(set);
            }
        }
        Action::SetRevision(revision) => {
            let patch = json!({"metadata": {"annotations": {revision::REVISION: revision.to_string()}}});
            let patched = deployments.patch(name, &patch_params(), &Patch::Merge(patch)).await?;
            cluster.deployments.remember(patched);
        }
        Action::Delete(names) => {
            let delete = DeleteParams::background();
            try_join_all(names.iter().map(async |name| ignore_gone(sets.delete(name, &delete).await)))
                .await?;
        }
        Action::SetStatus(status) => {
            let patch = json!({"status": status::patch(&status)});
            let patched =
                ignore_gone(deployments.patch_status(name, &patch_params(), &Patch::Merge(patch)).await)?;
            patched.into_iter().for_each(|patched| cluster.deployments.remember(patched));
        }
    }
    Ok(())
}

async fn create(cluster: &Cluster, deployment: &Deployment, set: &ReplicaSet) -> Result<(), kube::Error> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let api = Api::<ReplicaSet>::namespaced(cluster.client.clone(), namespace);
    match api.create(&PostParams::default(), set).await {
        Ok(created) => {
            cluster.replica_sets.remember(created);
            let replicas = set.spec.replicas.unwrap_or(0);
            if replicas > 0 {
                cluster.recorder.record(COMPONENT, deployment, scaled(name, 0, replicas));
            }
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let found = api.get(name).await?;
            let ours = crate::owners::is_controlled_by(&found.metadata, &deployment.metadata);
            if ours && plan::same_template(&found, deployment) {
                cluster.replica_sets.remember(found);
                return Ok(());
            }
            // Another template has the same short name: the next attempt mixes the count in.
            let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
            let api = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
            let patch = json!({"status": {"collisionCount": count}});
            let name = deployment.metadata.name.as_deref().unwrap_or_default();
            let patched = api.patch_status(name, &patch_params(), &Patch::Merge(patch)).await?;
            cluster.deployments.remember(patched);
            Err(kube::Error::Api(status))
        }
        Err(error) => {
            let message = format!("Failed to create new replica set \"{name}\": {error}");
            cluster.recorder.record(
                COMPONENT,
                deployment,
                Happening::warning("ReplicaSetCreateError", message),
            );
            Err(error)
        }
    }
}

fn scaled(name: &str, from: i32, to: i32) -> Happening {
    let direction = if to > from { "up" } else { "down" };
    Happening::normal(
        "ScalingReplicaSet",
        format!("Scaled {direction} replica set {name} from {from} to {to}"),
    )
}
