//! The whole way, by the real program: `up`, a page, a rollout, a killed daemon, `down`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;
use shipway_testkit::registry::{Asked, Reply, TestRegistry};

use crate::machine::{Machine, can_run};
use crate::running::{PATIENCE, Up, get, lines};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// `SIGKILL`. Spec: signal(7).
const SIGKILL: i32 = 9;

/// A machine with an application that serves one page.
struct Town {
    machine: Machine,
}

impl Town {
    fn new() -> Self {
        let machine = Machine::new();
        machine.dockerfile(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN --network=none [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
             COPY serve /bin/serve\nCOPY page /srv/index.html\nCMD [\"/bin/serve\"]\n",
        );
        let context = machine.context();
        // As the first process it has no default for SIGTERM.
        let serve = "#!/bin/sh\ntrap 'exit 0' TERM\necho serving\nhttpd -f -p 8080 -h /srv &\nwait\n";
        fs_err::write(context.join("serve"), serve).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(context.join("serve"), mode).unwrap();
        fs_err::write(context.join("shipway.toml"), "name = 'web'\nport = 8080\n[readiness]\npath = '/'\n")
            .unwrap();
        Self { machine }
    }

    fn page(&self, text: &str) {
        fs_err::write(self.machine.context().join("page"), text).unwrap();
    }

    fn up(&self) -> Up {
        Up::start(&self.machine, &["up"], PATIENCE)
    }

    fn get(&self, ip: IpAddr) -> std::io::Result<String> {
        get(&self.machine, SocketAddr::new(ip, 8080))
    }

    fn status(&self) -> Value {
        let output = self.machine.shipway(&["cluster", "status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Asks the API server by `kubectl`.
    fn kubectl(&self, args: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        let kubeconfig = self.machine.dir.path().join("root/cluster/kubeconfig");
        command.env("KUBECONFIG", kubeconfig).env("HOME", self.machine.dir.path()).args(args);
        let output = self.machine.inside(|| command.output().unwrap());
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn pods(&self) -> Vec<Value> {
        let text = self.kubectl(&["get", "pods", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        drop(self.machine.shipway(&["cluster", "reset"]));
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_directory_becomes_a_page_that_lives_through_rollouts_and_crashes() {
    if !can_run() || !shipway_testkit::require(&[shipway_testkit::Need::Kubectl]) {
        return;
    }
    let town = Town::new();
    town.page("first\n");
    let up = town.up();
    assert_eq!(town.get(V4).unwrap(), "first\n");
    assert_eq!(town.get(V6).unwrap(), "first\n");
    assert!(up.prints("serving"));

    // A second one of the unchanged directory changes nothing.
    let before = town.pods();
    let second = town.up();
    let notes = second.interrupt();
    assert!(notes.iter().any(|note| note == "image web:latest: 4 of 4 steps from the cache"), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("is forwarded already by another")), "{notes:?}");
    assert_eq!(town.pods()[0]["metadata"]["uid"], before[0]["metadata"]["uid"]);

    // A changed page rolls out beneath the first one's forward, which always answers.
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let page = town.get(V4).unwrap();
                assert!(page == "first\n" || page == "second\n", "{page:?}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        town.page("second\n");
        let notes = town.up().interrupt();
        assert!(
            notes.iter().any(|note| note == "image web:latest: 3 of 4 steps from the cache"),
            "{notes:?}"
        );
        until("the old pod is gone", || town.pods().len() == 1);
        let seen = answers.load(Ordering::Relaxed);
        until("the forward has answered again", || answers.load(Ordering::Relaxed) > seen);
        stop.store(true, Ordering::Release);
    });
    assert_eq!(town.get(V4).unwrap(), "second\n");

    // Killing the daemon kills no pod, and the next one takes them over.
    let daemon = i32::try_from(town.status()["pid"].as_i64().unwrap()).unwrap();
    let pod = town.pods().remove(0);
    let address: IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
    let pidfd = shipway_linux::open_pidfd(daemon).unwrap();
    shipway_linux::signal_pidfd(&pidfd, SIGKILL).unwrap();
    assert!(shipway_linux::wait_pidfd(&pidfd, PATIENCE).unwrap());
    assert_eq!(town.status()["state"], "stopped");
    let served = town.machine.inside(|| TcpStream::connect(SocketAddr::new(address, 8080)).is_ok());
    assert!(served, "the pod answers without a daemon");
    town.machine.ok(&["cluster", "start"]);
    until("the forward answers again", || town.get(V4).is_ok_and(|page| page == "second\n"));
    let again = town.pods().remove(0);
    assert_eq!(again["metadata"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(again["status"]["containerStatuses"][0]["restartCount"], 0);

    // With its only pod gone, a connection waits for the next one.
    let name = pod["metadata"]["name"].as_str().unwrap();
    town.kubectl(&["delete", "pod", name, "--grace-period=1"]);
    assert_eq!(town.get(V4).unwrap(), "second\n");

    let said = town.machine.refused(&["rmi", "web"], 1);
    assert!(said.contains("is used by pod default/web-"), "{said}");
    let said = town.machine.refused(&["rmi", "-f", "web"], 1);
    assert!(said.contains("is used by pod default/web-") && said.contains("hint: `shipway down`"), "{said}");

    // Ctrl-C ends the forward and not the pod.
    up.interrupt();
    assert!(town.get(V4).is_err());
    assert_eq!(town.status()["runningPods"], 1);
    assert_eq!(town.machine.ok(&["down"]).0, "deployment.apps/web deleted\n");
    until("no container is left", || town.machine.count("state/containers") == 0);
    town.machine.ok(&["cluster", "reset"]);
    town.machine.assert_nothing_is_left();
}

#[test]
fn kubectl_shows_changes_and_streams() {
    if !can_run() || !shipway_testkit::require(&[shipway_testkit::Need::Kubectl]) {
        return;
    }
    let town = Town::new();
    town.page("page\n");
    town.machine.ok(&["up", "-d"]);
    let table = town.kubectl(&["get", "deployments"]);
    assert!(
        table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    1/1     1            1"),
        "{table}"
    );
    let wide = town.kubectl(&["get", "pods", "-o", "wide"]);
    assert!(wide.contains("Running") && wide.contains("NOMINATED NODE"), "{wide}");
    assert!(town.kubectl(&["get", "rs", "-o", "yaml"]).contains("kind: ReplicaSet"));
    let described = town.kubectl(&["describe", "pods"]);
    assert!(described.contains("Started container web"), "{described}");
    assert_eq!(town.kubectl(&["logs", "deployment/web"]), "serving\n");
    let name = town.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(town.kubectl(&["exec", &name, "--", "cat", "/srv/index.html"]), "page\n");
    // A terminal with the size of the client's, which is told when the program may run already.
    let program = "timeout 30 sh -c 'until [ \"$(stty size)\" = \"30 90\" ]; do :; done; echo as large'";
    let asked = format!("stty rows 30 columns 90; kubectl exec -it {name} -- {program}");
    let mut script = Command::new("script");
    script.env("KUBECONFIG", town.machine.dir.path().join("root/cluster/kubeconfig"));
    script.args(["-qec", &asked, "/dev/null"]).stdin(Stdio::piped());
    let output = town.machine.inside(|| script.output().unwrap());
    assert!(String::from_utf8_lossy(&output.stdout).contains("as large"), "{output:?}");
    town.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    assert!(town.kubectl(&["rollout", "status", "deployment/web"]).contains("successfully rolled out"));
    assert_eq!(town.pods().len(), 3);

    for target in [format!("pod/{name}"), "deployment/web".to_owned()] {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", town.machine.dir.path().join("root/cluster/kubeconfig"));
        command.args(["port-forward", &target, "8080:8080"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = town.machine.spawn(&mut command);
        let said = lines(child.stdout.take().unwrap());
        assert_eq!(said.recv_timeout(PATIENCE).unwrap(), "Forwarding from 127.0.0.1:8080 -> 8080");
        let page = town.get(V4);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(page.unwrap(), "page\n", "{target}");
    }
    town.kubectl(&["delete", "deployment", "web"]);
    until("all pods are gone", || town.pods().is_empty());
}

#[test]
fn mistakes_of_up_are_told_before_anything_is_done() {
    if !can_run() {
        return;
    }
    let town = Town::new();
    town.page("page\n");
    let empty = town.machine.dir.path().join("empty");
    fs_err::create_dir(&empty).unwrap();
    let said = town.machine.refused(&["up", empty.to_str().unwrap()], 1);
    assert!(said.contains("no Dockerfile in") && said.contains("hint: "), "{said}");
    let said = town.machine.refused(&["up", "/no/such/directory"], 1);
    assert!(said.contains("no directory `/no/such/directory`"), "{said}");
    let taken = town.machine.inside(|| std::net::TcpListener::bind((V4, 8080)).unwrap());
    let said = town.machine.refused(&["up"], 1);
    assert!(said.contains("port 8080 is in use on 127.0.0.1") && said.contains("--port <LOCAL>"), "{said}");
    drop(taken);
    town.machine.dockerfile("FROM scratch\nCOPY busybox /bin/sh\nRUN --network=none exit 7\n");
    let said = town.machine.refused(&["up"], 1);
    assert!(said.contains("did not complete successfully: exit code: 7"), "{said}");
    let output = town.machine.shipway(&["cluster", "status"]);
    assert!(matches!(output.status.code(), Some(0 | 3)));
    assert_eq!(town.machine.ok(&["images", "-q"]).0, "");
}

#[test]
fn an_application_that_ends_again_and_again_is_a_failure_that_says_so() {
    if !can_run() {
        return;
    }
    let town = Town::new();
    town.page("page\n");
    let serve = town.machine.context().join("serve");
    let works = fs_err::read_to_string(&serve).unwrap();
    let needs = "[ -n \"$DATABASE\" ] || { echo 'no database'; exit 3; }\n";
    fs_err::write(&serve, works.replacen('\n', &format!("\n{needs}"), 1)).unwrap();
    let output = town.machine.shipway(&["up"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{notes}");
    assert!(notes.contains("last with exit code 3 (Error)"), "{notes}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("no database\n"), "{notes}");

    // Mended without another image: what becomes of the old pod is no failure of the new one.
    let project = town.machine.context().join("shipway.toml");
    let text = fs_err::read_to_string(&project).unwrap();
    fs_err::write(&project, format!("{text}[env]\nDATABASE = 'db'\n")).unwrap();
    let (_, notes) = town.machine.ok(&["up", "-d"]);
    assert!(notes.contains("web: 1 of 1 pods ready"), "{notes}");
}

#[test]
fn a_pod_pulls_with_the_secret_that_it_names() {
    if !can_run() || !shipway_testkit::require(&[shipway_testkit::Need::Kubectl]) {
        return;
    }
    let town = Town::new();
    let machine = &town.machine;
    // Manifests are for those who say `me:secret`.
    let guard = |asked: &Asked, _: usize| {
        let is_let_in = asked.method == "PUT" || asked.header("authorization") == Some("Basic bWU6c2VjcmV0");
        (asked.target.contains("/manifests/") && !is_let_in).then(|| {
            let text = r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#;
            Reply::new(401, text).header("WWW-Authenticate", "Basic realm=\"test\"")
        })
    };
    let registry = machine.inside(|| TestRegistry::with_fault(guard));
    let name = registry.name("team/web:1");
    town.page("page\n");
    machine.ok(&["build", "-q", "-t", &name, "."]);
    machine.ok(&["push", "-q", &name]);
    machine.ok(&["rmi", &name]);
    machine.ok(&["cluster", "start"]);
    town.kubectl(&[
        "create",
        "secret",
        "docker-registry",
        "pass",
        &format!("--docker-server={}", registry.address),
        "--docker-username=me",
        "--docker-password=secret",
    ]);
    let image = format!("--image={name}");
    town.kubectl(&["run", "stranger", &image]);
    let status = |pod: &str, path: &str| {
        town.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.{path}}}")])
    };
    let waiting = "containerStatuses[0].state.waiting";
    until("the stranger is refused", || {
        let reason = status("stranger", &format!("{waiting}.reason"));
        matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff")
    });
    let message = status("stranger", &format!("{waiting}.message"));
    assert!(message.contains("refused access to `team/web:1`: who are you"), "{message}");
    let named = r#"--overrides={"spec":{"imagePullSecrets":[{"name":"none"},{"name":"pass"}]}}"#;
    town.kubectl(&["run", "guest", &image, named]);
    until("the guest runs", || status("guest", "phase") == "Running");
    town.kubectl(&["delete", "pod", "guest", "stranger", "--now"]);
}
