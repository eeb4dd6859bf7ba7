//! Starts everything and shares one informer per kind.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::PatchParams;
use shipway_events::Recorder;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::informer::{Informer, Kind};
use crate::{collector, deployment, endpoints, namespace, replicaset, root_ca, scheduler};

/// What the controllers have to be told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The certificate authority of the API server, PEM: every namespace gets it as ConfigMap `kube-root-ca.crt`.
    pub root_ca: String,
}

/// What all controllers share.
pub(crate) struct Cluster {
    pub client: Client,
    pub recorder: Recorder,
    pub deployments: Informer<Deployment>,
    pub replica_sets: Informer<ReplicaSet>,
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub namespaces: Informer<Namespace>,
    pub service_accounts: Informer<ServiceAccount>,
    pub root_cas: Informer<ConfigMap>,
    pub services: Informer<Service>,
    pub slices: Informer<EndpointSlice>,
    pub endpoints: Informer<Endpoints>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Runs all controllers until `stop` is cancelled.
///
/// It returns after the work in hand is done. The server may come later, go away and come back: everything is tried again
/// with back-off.
pub async fn run_all(client: Client, settings: Settings, stop: CancellationToken) {
    let (recorder, writer) = Recorder::new(client.clone(), None);
    let cluster = Arc::new(Cluster {
        recorder,
        deployments: Informer::all(&client),
        replica_sets: Informer::all(&client),
        pods: Informer::all(&client).trimmed(trim_pod),
        nodes: Informer::all(&client).trimmed(trim_node),
        namespaces: Informer::all(&client),
        service_accounts: Informer::all(&client).fields("metadata.name=default"),
        root_cas: Informer::all(&client).fields("metadata.name=kube-root-ca.crt"),
        services: Informer::all(&client),
        slices: Informer::all(&client),
        endpoints: Informer::all(&client),
        client,
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run(stop.clone()));
    tasks.spawn(deployment::run(Arc::clone(&cluster), stop.clone()));
    tasks.spawn(replicaset::run(Arc::clone(&cluster), stop.clone()));
    tasks.spawn(scheduler::run(Arc::clone(&cluster), stop.clone()));
    tasks.spawn(root_ca::run(Arc::clone(&cluster), settings.root_ca, stop.clone()));
    tasks.spawn(namespace::run(Arc::clone(&cluster), stop.clone()));
    tasks.spawn(endpoints::run(Arc::clone(&cluster), stop.clone()));
    tasks.spawn(collector::run(Arc::clone(&cluster), stop.clone()));
    // After the controllers, whose handlers must see the first list.
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.nodes);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.namespaces);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.pods);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.replica_sets);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.deployments);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.service_accounts);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.root_cas);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.services);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.slices);
    inform(&mut tasks, &cluster, &stop, |cluster| &cluster.endpoints);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller ended unexpectedly");
        }
    }
}

fn inform<K: Kind>(
    tasks: &mut JoinSet<()>,
    cluster: &Arc<Cluster>,
    stop: &CancellationToken,
    pick: fn(&Cluster) -> &Informer<K>,
) where
    K::DynamicType: Send + Sync,
{
    let (cluster, stop) = (Arc::clone(cluster), stop.clone());
    tasks.spawn(async move { pick(&cluster).run(stop).await });
}

/// Returns the parameters of every patch of ours.
pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some("shipway-controllers".to_owned()), ..PatchParams::default() }
}

/// Drops what no controller reads: placement needs requests and ports, the rest needs labels and status.
fn trim_pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.volumes = None;
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let ports = container.ports.take();
        let resources = container.resources.take();
        let name = std::mem::take(&mut container.name);
        *container = k8s_openapi::api::core::v1::Container { name, ports, resources, ..Default::default() };
    }
}

fn trim_node(node: &mut Node) {
    if let Some(status) = &mut node.status {
        status.images = None;
    }
}
