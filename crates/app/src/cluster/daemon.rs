//! The daemon: API server, controllers and kubelet in one process.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ListParams, WatchParams};
use shipway_apiserver::{ApiServer, Config, Identity, ListenError};
use shipway_controllers::{Settings, run_all};
use shipway_kubelet::Kubelet;
use shipway_linux::{self as linux, Interrupts, OwnGroup};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::node::KubeletNode;
use super::{Control, DaemonRecord, NODE_NAME, Parts};
use crate::engine::Engine;
use crate::failure::Failure;

/// Threads that serve: most of what the daemon does is waiting.
const THREADS: usize = 2;
/// How long the node may take to be ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the cluster until `SIGTERM` or `SIGINT`; its pods go on running.
///
/// Whoever started it in the background hears through `ready` where it answers; it then leaves the session and the
/// control group of its starter.
pub(crate) fn run(engine: &Engine, ready: Option<File>) -> Result<u8, Failure> {
    let interrupts = Interrupts::hold().map_err(system("prepare for being stopped"))?;
    let control = Control::open(&engine.roots)?;
    let _lock = control.try_lock()?.ok_or_else(|| {
        Failure::new(
            "the cluster runs already",
            "`shipway cluster status` shows it, `shipway cluster stop` ends it",
        )
    })?;
    // What a killed one has left.
    control.withdraw();
    let group = if ready.is_some() { Some(detach(engine)?) } else { None };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(system("start threads"))?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    std::thread::spawn(move || {
        while interrupts.wait().is_ok() {
            token.cancel();
        }
    });
    let served = runtime.block_on(serve(engine, &control, stop, ready));
    control.withdraw();
    // Left over blocking calls wait for containers: they must not hold the end up.
    runtime.shutdown_background();
    if let Some(group) = group {
        // An empty group that stays does no harm.
        drop(group.leave());
    }
    served.map(|()| 0)
}

/// What ends the starter with everything that it started must not end the cluster.
fn detach(engine: &Engine) -> Result<OwnGroup, Failure> {
    linux::new_session().map_err(system("leave the session"))?;
    std::env::set_current_dir("/").map_err(system("leave the directory"))?;
    let group = format!("shipway-{}/cluster", engine.roots.id);
    OwnGroup::enter(&group).map_err(system("leave the control group"))
}

async fn serve(
    engine: &Engine,
    control: &Control,
    stop: CancellationToken,
    ready: Option<File>,
) -> Result<(), Failure> {
    let parts = Parts::open(engine)?;
    let node = Arc::new(KubeletNode::default());
    let mut config = Config::new(control.data.clone());
    config.node = Arc::<KubeletNode>::clone(&node);
    config.addresses = vec![parts.gateway().into()];
    let server = ApiServer::open(config).await?;
    let listener = server.listen().await?;
    let address = listener.local_addr().map_err(system("listen"))?;
    let inside =
        TcpListener::bind((parts.gateway(), address.port())).await.map_err(system("listen for pods"))?;
    let url = format!("https://{address}");
    shipway_store::atomic_write(&control.kubeconfig_path(), server.kubeconfig(&url).as_bytes(), 0o600)
        .map_err(system("write the kubeconfig"))?;

    let client = |identity| Client::new(server.client_service(identity), "default");
    let kubelet = Kubelet::new(
        parts.kubelet_config(Some(address.port())),
        client(Identity::node(NODE_NAME)),
        Arc::clone(&parts.machine),
    );
    node.set(kubelet.clone());
    let mut tasks = JoinSet::new();
    for listener in [listener, inside] {
        let (server, stop) = (server.clone(), stop.clone());
        tasks.spawn(async move {
            let served = server.serve(listener, stop.clone()).await;
            // Without it there is no cluster.
            stop.cancel();
            served
        });
    }
    let settings = Settings { root_ca: server.ca_certificate().to_owned() };
    let controllers = run_all(client(Identity::controllers()), settings, stop.clone());
    tasks.spawn(controllers.map(Ok));
    let token = stop.clone();
    tasks.spawn(async move { kubelet.run(token).map(Ok).await });
    if let Err(status) = server.publish_endpoint(address.port()).await {
        tracing::warn!(message = status.message, "pods will not find the API server by its service");
    }

    let admin = client(Identity::admin());
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        seen = tokio::time::timeout(PATIENCE, node_is_ready(&admin)) => {
            seen.map_err(|_late| not_ready(&"it took too long"))?.map_err(|error| not_ready(&error))?;
            announce(control, url, ready)?;
            crate::tasks::forget_code();
            stop.cancelled().await;
        }
    }
    tracing::info!("stopping");
    control.withdraw();
    end(tasks).await
}

/// Waits for all parts; the first one that failed is the failure.
async fn end(mut tasks: JoinSet<Result<(), ListenError>>) -> Result<(), Failure> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(served) => outcome = outcome.and(served.map_err(Failure::from)),
            Err(error) => tracing::error!(%error, "a part of the cluster ended unexpectedly"),
        }
    }
    outcome
}

fn not_ready(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("the node does not become ready: {why}"), "try again: `shipway cluster start`")
}

fn announce(control: &Control, url: String, ready: Option<File>) -> Result<(), Failure> {
    let record = DaemonRecord::of_process(url);
    control.publish(&record)?;
    tracing::info!(url = record.url, "ready");
    if let Some(mut ready) = ready {
        let line = serde_json::to_string(&record).expect("plain texts and numbers");
        // A starter that is gone finds the record.
        drop(writeln!(ready, "{line}"));
    }
    Ok(())
}

/// Waits until the kubelet has said that the node is ready.
async fn node_is_ready(client: &Client) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let only = format!("metadata.name={NODE_NAME}");
    loop {
        let listed = nodes.list(&ListParams::default().fields(&only)).await?;
        if listed.items.iter().any(is_ready) {
            return Ok(());
        }
        let since = listed.metadata.resource_version.unwrap_or_default();
        let changes = nodes.watch(&WatchParams::default().fields(&only), &since).await?;
        let mut changes = std::pin::pin!(changes);
        if changes.try_next().await?.is_none() {
            tracing::debug!("the watch of the node ended: looking again");
        }
    }
}

/// Whether a node takes pods.
pub(crate) fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| {
        Failure::new(
            format!("could not {what}: {error}"),
            "see that the machine has room for another process",
        )
    }
}
