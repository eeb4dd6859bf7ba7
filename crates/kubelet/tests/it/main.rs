//! Controllers and kubelet over the real API server; only the machine is a fake.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod machine;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use machine::TestMachine;
use serde_json::{from_value, json};
use shipway_apiserver::{ApiServer, Config, Identity};
use shipway_controllers::{Settings, run_all};
use shipway_kubelet::{Kubelet, KubeletConfig, Machine};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

struct Cluster {
    client: Client,
    machine: Arc<TestMachine>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path().join("api"))).await.unwrap();
        let client = |identity| Client::new(server.client_service(identity), "default");
        let machine = Arc::new(TestMachine::default());
        let config = KubeletConfig {
            node_name: "n1".to_owned(),
            node_ip: Ipv4Addr::new(10, 0, 0, 1),
            data_root: dir.path().join("data"),
            state_root: dir.path().join("state"),
            root_id: "abcd".to_owned(),
            version: "v1.36.3".to_owned(),
            pod_cidr: None,
            api_service: Some(("10.96.0.1".to_owned(), 443)),
            resolv_conf: None,
            max_pods: 110,
        };
        let kubelet =
            Kubelet::new(config, client(Identity::node("n1")), Arc::clone(&machine) as Arc<dyn Machine>);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let settings = Settings { root_ca: server.ca_certificate().to_owned() };
        tasks.spawn(run_all(client(Identity::controllers()), settings, stop.clone()));
        let token = stop.clone();
        tasks.spawn(async move { kubelet.run(token).await });
        Self { client: client(Identity::admin()), machine, stop, tasks, _dir: dir }
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn deployments(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("nothing panicked");
        }
    }
}

/// Asks again until `done` says so, and returns how long that took.
async fn until(what: &str, done: impl AsyncFn() -> bool) -> Duration {
    let begin = Instant::now();
    while !done().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begin.elapsed()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn deployment(replicas: i32, image: &str) -> Deployment {
    from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}]},
            },
        },
    }))
    .unwrap()
}

async fn available(deployments: &Api<Deployment>) -> (i32, i32, i32) {
    let status = deployments.get("web").await.unwrap().status.unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    (count(status.replicas), count(status.updated_replicas), count(status.available_replicas))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives_from_its_creation_to_its_end() {
    let cluster = Cluster::start().await;
    let (pods, deployments) = (cluster.pods("default"), cluster.deployments("default"));
    deployments.create(&PostParams::default(), &deployment(3, "web:1")).await.unwrap();
    let took = until("three pods are available", async || available(&deployments).await == (3, 3, 3)).await;
    println!("deployment of 3 available after {took:?}");
    assert_eq!(cluster.machine.running().len(), 3);

    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments.patch("web", &PatchParams::default(), &scale).await.unwrap();
    until("one pod is left", async || available(&deployments).await == (1, 1, 1)).await;
    until("one container is left", async || cluster.machine.running().len() == 1).await;

    let image = Patch::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}),
    );
    deployments.patch("web", &PatchParams::default(), &image).await.unwrap();
    until("the new image runs", async || cluster.machine.images() == ["web:2"]).await;
    until("it is available", async || available(&deployments).await == (1, 1, 1)).await;
    let annotations = deployments.get("web").await.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");

    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    until("no pod is left", async || pods.list(&ListParams::default()).await.unwrap().items.is_empty()).await;
    until("nothing is left on the machine", async || cluster.machine.is_clean()).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_born_with_what_pods_need_and_takes_them_along() {
    let cluster = Cluster::start().await;
    let nodes = Api::<Node>::all(cluster.client.clone());
    until("the node is there", async || nodes.get_opt("n1").await.unwrap().is_some()).await;
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let namespace: Namespace = from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "team");
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "team");
    until("a service account", async || accounts.get_opt("default").await.unwrap().is_some()).await;
    until("the authority", async || maps.get_opt("kube-root-ca.crt").await.unwrap().is_some()).await;
    let deployments = cluster.deployments("team");
    deployments.create(&PostParams::default(), &deployment(2, "web:1")).await.unwrap();
    until("two pods are available", async || available(&deployments).await == (2, 2, 2)).await;
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    until("the namespace is gone", async || namespaces.get_opt("team").await.unwrap().is_none()).await;
    until("nothing is left on the machine", async || cluster.machine.is_clean()).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_ready_soon_after_they_are_asked_for() {
    let cluster = Cluster::start().await;
    let pods = cluster.pods("default");
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "default");
    until("the default service account", async || accounts.get_opt("default").await.unwrap().is_some()).await;
    let mut times = Vec::new();
    for number in 0..10 {
        let name = format!("p{number}");
        let pod: Pod = from_value(json!({
            "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "web:1", "imagePullPolicy": "Never"}]},
        }))
        .unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        times.push(until("it is ready", async || is_ready(&pods.get(&name).await.unwrap())).await);
    }
    times.sort();
    // With a fake machine this is what API, scheduler and kubelet cost together.
    println!("pod to ready, without the machine: median {:?}, slowest {:?}", times[5], times[9]);
    cluster.end().await;
}
