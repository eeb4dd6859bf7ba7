//! A worker over a fake machine and an API that only remembers.

use http_body_util::BodyExt as _;
use serde_json::{Value, from_value, json};

use super::*;
use crate::machine::fake::FakeMachine;
use crate::pod::files;

/// An API that takes every write and knows no object but what it was told.
#[derive(Debug, Default)]
struct FakeApi {
    statuses: Mutex<Vec<Value>>,
    deleted: Mutex<Vec<String>>,
    changed: tokio::sync::Notify,
}

impl FakeApi {
    fn client(self: &Arc<Self>) -> Client {
        let api = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let api = Arc::clone(&api);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let answer = api.answer(&parts.method, parts.uri.path(), &body);
                let status = if answer.get("code").is_some() { 404 } else { 200 };
                let body = kube::client::Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(
                    http::Response::builder().status(status).body(body).unwrap(),
                )
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &http::Method, path: &str, body: &[u8]) -> Value {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}});
        if *method == http::Method::PATCH {
            let patch: Value = serde_json::from_slice(body).unwrap();
            self.statuses.lock().unwrap().push(patch["status"].clone());
            self.changed.notify_one();
            return pod;
        }
        if *method == http::Method::DELETE {
            self.deleted.lock().unwrap().push(path.to_owned());
            self.changed.notify_one();
            return pod;
        }
        if path.ends_with("/services") {
            return json!({"apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": []});
        }
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404})
    }

    fn status(&self) -> Value {
        self.statuses.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// Waits until the last status is as wanted.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let reached = async {
            loop {
                let status = self.status();
                if wanted(&status) {
                    return status;
                }
                self.changed.notified().await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(100), reached).await {
            Ok(status) => status,
            Err(_late) => panic!("it never became so: {:#}", self.status()),
        }
    }
}

struct Scene {
    api: Arc<FakeApi>,
    machine: Arc<FakeMachine>,
    commands: watch::Sender<Command>,
    pod: Pod,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    context: Arc<Context>,
    _dir: tempfile::TempDir,
}

fn pod(spec: Value) -> Pod {
    from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 1}, "spec": spec}),
    )
    .unwrap()
}

impl Scene {
    fn new(machine: FakeMachine, pod: Pod) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let api = Arc::new(FakeApi::default());
        let machine = Arc::new(machine);
        let config = KubeletConfig {
            node_name: "n".to_owned(),
            node_ip: Ipv4Addr::new(10, 0, 0, 1),
            data_root: dir.path().join("data"),
            state_root: dir.path().join("state"),
            root_id: "abcd".to_owned(),
            version: "v1.36.3".to_owned(),
            pod_cidr: None,
            api_service: None,
            resolv_conf: None,
            max_pods: 110,
        };
        let context = Arc::new(Context {
            capacity: Capacity::load(&config),
            config: Arc::new(config),
            client: api.client(),
            machine: Arc::clone(&machine) as Arc<dyn Machine>,
            recorder: PodEvents::deaf(),
            resolv_conf: String::new(),
        });
        let commands = watch::Sender::new(Command::Be(Arc::new(pod.clone())));
        let (tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let mut scene = Self { api, machine, commands, pod, tasks, stop, context, _dir: dir };
        scene.begin();
        scene
    }

    /// Starts a worker, as a new kubelet does.
    fn begin(&mut self) {
        let adopted = self.machine.containers().unwrap();
        let (worker, _view) = Worker::new(
            Arc::clone(&self.context),
            Arc::new(self.pod.clone()),
            self.commands.subscribe(),
            adopted,
        );
        self.tasks.spawn(worker.run(self.stop.clone()));
    }

    fn delete(&mut self, grace: i64) {
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        let end = now() + Duration::from_secs(u64::try_from(grace).unwrap());
        self.pod.metadata.deletion_timestamp = Some(end.into());
        self.commands.send_replace(Command::Be(Arc::new(self.pod.clone())));
    }

    async fn finished(&mut self) {
        let ended = tokio::time::timeout(Duration::from_secs(100), self.tasks.join_next()).await;
        ended.expect("the worker ends").expect("there is one").expect("it does not panic");
    }
}

fn state(status: &Value) -> &Value {
    &status["containerStatuses"][0]["state"]
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_says_so_once() {
    let scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    let status = scene.api.until(|status| status["phase"] == "Running").await;
    assert_eq!(status["podIP"], "10.0.0.2");
    assert_eq!(status["conditions"][2]["status"], "True");
    assert_eq!(scene.machine.running(), ["u.c.0"]);
    let spec = scene.machine.order("u.c.0").spec;
    assert_eq!((spec.hostname.as_str(), spec.args[0].as_str()), ("p", "run"));
    assert_eq!(scene.api.statuses.lock().unwrap().len(), 1, "nothing in between was worth saying");
    assert_eq!(spec.hosts.unwrap(), files::hosts(&scene.pod, "10.0.0.2"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_leaves_nothing() {
    let mut scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.delete(30);
    scene.finished().await;
    assert_eq!(scene.machine.signals(), [("u.c.0".to_owned(), 15)]);
    assert_eq!(*scene.api.deleted.lock().unwrap(), ["/api/v1/namespaces/ns/pods/p"]);
    assert!(scene.machine.is_clean());
    assert_eq!(state(&scene.api.status())["terminated"]["exitCode"], 143);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ignores_sigterm_is_killed_when_its_time_is_up() {
    let mut scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.machine.make_stubborn();
    scene.delete(5);
    scene.finished().await;
    assert_eq!(scene.machine.signals().iter().map(|(_, signal)| *signal).collect::<Vec<_>>(), [15, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_started_again_with_growing_waits() {
    let scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.machine.end("u.c.0", 1);
    let again = scene.api.until(|status| status["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(again["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    scene.machine.end("u.c.1", 1);
    let waiting = scene.api.until(|status| state(status)["waiting"]["reason"] == "CrashLoopBackOff").await;
    assert_eq!(waiting["phase"], "Running");
    assert!(state(&waiting)["waiting"]["message"].as_str().unwrap().starts_with("back-off 1s restarting"));
    scene.api.until(|status| status["containerStatuses"][0]["restartCount"] == 2).await;
    assert_eq!(scene.machine.running(), ["u.c.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_done_gives_its_network_back() {
    let job = pod(json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "web"}]}));
    let scene = Scene::new(FakeMachine::with_image("web"), job);
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.machine.end("u.c.0", 0);
    let done = scene.api.until(|status| status["phase"] == "Succeeded").await;
    assert_eq!(state(&done)["terminated"]["reason"], "Completed");
    assert_eq!(scene.machine.sandboxes().unwrap(), Vec::<String>::new());
    assert_eq!(scene.machine.containers().unwrap().len(), 1, "its log may be asked for");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_says_what_to_type_and_starts_when_it_is_there() {
    let scene =
        Scene::new(FakeMachine::default(), pod(json!({"containers": [{"name": "c", "image": "web:v2"}]})));
    let first = scene.api.until(|status| state(status)["waiting"]["reason"] == "ErrImagePull").await;
    let message = state(&first)["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("shipway build -t web:v2 ."), "{message}");
    scene.api.until(|status| state(status)["waiting"]["reason"] == "ImagePullBackOff").await;
    scene.machine.add_image("web:v2");
    scene.api.until(|status| status["phase"] == "Running").await;
    assert_eq!(scene.api.status()["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_is_an_error_with_back_off() {
    let machine = FakeMachine::with_image("web");
    machine.break_programs();
    let scene = Scene::new(machine, pod(json!({"containers": [{"name": "c", "image": "web"}]})));
    let status = scene.api.until(|status| state(status)["waiting"]["reason"] == "CrashLoopBackOff").await;
    let last = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(127), &json!("StartError")));
}

#[tokio::test(start_paused = true)]
async fn a_new_kubelet_takes_over_what_runs() {
    let mut scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    let before = scene.api.until(|status| status["phase"] == "Running").await;
    scene.tasks.abort_all();
    while scene.tasks.join_next().await.is_some() {}
    assert_eq!(scene.machine.running(), ["u.c.0"], "killing the kubelet kills no pod");
    scene.pod.status = Some(from_value(before).unwrap());
    scene.begin();
    scene.machine.end("u.c.0", 1);
    let after = scene.api.until(|status| status["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(after["phase"], "Running");
    assert_eq!(scene.machine.running(), ["u.c.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_from_the_api_is_ended() {
    let mut scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.commands.send_replace(Command::Gone);
    scene.finished().await;
    assert!(scene.machine.is_clean());
    assert!(scene.api.deleted.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_keeps_a_pod_waiting_with_its_reason() {
    let spec = json!({
        "containers": [{"name": "c", "image": "web", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
    });
    let scene = Scene::new(FakeMachine::with_image("web"), pod(spec));
    let status = scene.api.until(|status| state(status)["waiting"]["message"].is_string()).await;
    assert_eq!(state(&status)["waiting"]["reason"], "ContainerCreating");
    let message = state(&status)["waiting"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_leaves_its_containers_running() {
    let mut scene = Scene::new(
        FakeMachine::with_image("web"),
        pod(json!({"containers": [{"name": "c", "image": "web"}]})),
    );
    scene.api.until(|status| status["phase"] == "Running").await;
    scene.stop.cancel();
    scene.finished().await;
    assert_eq!(scene.machine.running(), ["u.c.0"]);
    assert!(scene.machine.signals().is_empty());
}
