//! Which pods stand behind a Service, as EndpointSlices and as Endpoints.

mod plan;

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::informer::{Change, Key};
use crate::queue::{Queue, Requeue, ignore_gone, work};
use crate::run::{Cluster, patch_params};
use crate::selector::matches_map;

use plan::{Action, SERVICE_LABEL, endpoints_of, plan};

/// Subscribes to what matters and returns the controller, which runs until `stop`.
pub(crate) fn run(cluster: Arc<Cluster>, stop: CancellationToken) -> impl Future<Output = ()> {
    let queue = Arc::new(Queue::<Key>::new());
    let to = Arc::clone(&queue);
    cluster.services.on_change(move |change| {
        if let Some(service) = change.latest() {
            to.add(Key::of(&**service));
        }
    });
    let (to, weak) = (Arc::clone(&queue), Arc::downgrade(&cluster));
    cluster.pods.on_change(move |change| {
        if let Some(cluster) = weak.upgrade() {
            services_of(&cluster, change).into_iter().for_each(|key| to.add(key));
        }
    });
    let to = Arc::clone(&queue);
    cluster.slices.on_change(move |change| {
        let Some(slice) = change.latest() else { return };
        let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
        if let Some(name) = name {
            to.add(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name));
        }
    });
    let to = Arc::clone(&queue);
    cluster.endpoints.on_change(move |change| {
        if let Some(endpoints) = change.latest() {
            to.add(Key::of(&**endpoints));
        }
    });
    async move {
        tokio::join!(
            cluster.services.wait_synced(),
            cluster.pods.wait_synced(),
            cluster.slices.wait_synced(),
            cluster.endpoints.wait_synced()
        );
        work(&queue, 4, &stop, |key| reconcile(&cluster, key)).await;
    }
}

/// Returns the Services that a pod's change matters to.
fn services_of(cluster: &Cluster, change: &Change<Pod>) -> Vec<Key> {
    let Some(pod) = change.latest() else { return Vec::new() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let services = cluster.services.in_namespace(namespace);
    services
        .into_iter()
        .filter(|service| change.both().any(|pod| selects(service, pod)))
        .map(|service| Key::of(&*service))
        .collect()
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector
        .is_some_and(|selector| !selector.is_empty() && matches_map(selector, pod.metadata.labels.as_ref()))
}

async fn reconcile(cluster: &Cluster, key: Key) -> Result<Requeue, kube::Error> {
    let Some(service) = cluster.services.get(&key) else {
        // Slices and Endpoints are owned: the garbage collector takes them.
        return Ok(Requeue::OnEvent);
    };
    let has_selector =
        service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|s| !s.is_empty());
    if !has_selector || service.metadata.deletion_timestamp.is_some() {
        return Ok(Requeue::OnEvent);
    }
    let pods: Vec<_> =
        cluster.pods.in_namespace(&key.namespace).into_iter().filter(|pod| selects(&service, pod)).collect();
    let slices: Vec<_> = cluster.slices.in_namespace(&key.namespace);
    let slices: Vec<_> = slices.into_iter().filter(|slice| plan::is_ours(slice, &key.name)).collect();
    let actions = plan(&service, &pods, &slices);
    try_join_all(actions.into_iter().map(|action| apply(cluster, &key, action))).await?;
    write_endpoints(cluster, &key, &service, &pods).await?;
    Ok(Requeue::OnEvent)
}

async fn apply(cluster: &Cluster, key: &Key, action: Action) -> Result<(), kube::Error> {
    let api = Api::<EndpointSlice>::namespaced(cluster.client.clone(), &key.namespace);
    match action {
        Action::Create(slice) => cluster.slices.remember(api.create(&PostParams::default(), &slice).await?),
        Action::Patch { name, ports, endpoints } => {
            let patch = Patch::Merge(json!({"ports": ports, "endpoints": endpoints}));
            let patched = ignore_gone(api.patch(&name, &patch_params(), &patch).await)?;
            patched.into_iter().for_each(|patched| cluster.slices.remember(patched));
        }
        Action::Delete(name) => drop(ignore_gone(api.delete(&name, &DeleteParams::default()).await)?),
    }
    Ok(())
}

async fn write_endpoints(
    cluster: &Cluster,
    key: &Key,
    service: &Service,
    pods: &[Arc<Pod>],
) -> Result<(), kube::Error> {
    let api = Api::<Endpoints>::namespaced(cluster.client.clone(), &key.namespace);
    let wanted = endpoints_of(service, pods);
    match cluster.endpoints.get(key) {
        None => cluster.endpoints.remember(api.create(&PostParams::default(), &wanted).await?),
        Some(found) if found.subsets == wanted.subsets => {}
        Some(_) => {
            let patch = Patch::Merge(json!({"subsets": wanted.subsets}));
            let patched = ignore_gone(api.patch(&key.name, &patch_params(), &patch).await)?;
            patched.into_iter().for_each(|patched| cluster.endpoints.remember(patched));
        }
    }
    Ok(())
}
