//! Pulls that have not ended, or never will: what they have brought by then is neither damage nor in anybody's way.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use shipway_testkit::registry::{Reply, TestRegistry, digest_of};

use crate::machine::{Machine, can_run};

/// Longest wait for something that happens soon.
const SOON: Duration = Duration::from_secs(60);

/// What holds the last layer back until it is opened.
#[derive(Debug, Default)]
struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.changed.wait_timeout_while(is_open, SOON, |is_open| !*is_open).unwrap());
    }
}

/// A registry with the image `app:1`, the last layer of which stands behind the gate.
struct Slow {
    registry: TestRegistry,
    gate: Arc<Gate>,
}

/// Returns an archive as GNU tar writes it: it ends with more zeros than it needs, and so cannot be made again of its files.
fn archive(name: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, &b"text"[..]).unwrap();
    let mut bytes = archive.into_inner().unwrap();
    bytes.resize(10_240, 0);
    bytes
}

fn packed(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

impl Slow {
    fn start(machine: &Machine) -> Self {
        let tars = ["first", "second", "last"].map(archive);
        let layers = tars.each_ref().map(|tar| packed(tar));
        let (gate, last) = (Arc::new(Gate::default()), digest_of(&layers[2]));
        let held = Arc::clone(&gate);
        let registry = machine.inside(|| {
            TestRegistry::with_fault(move |asked, _| {
                if asked.is("GET", &last) {
                    held.wait();
                }
                None
            })
        });
        let diff_ids: Vec<String> = tars.iter().map(|tar| digest_of(tar)).collect();
        let config = json!({ "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let described = |kind: &str, bytes: &[u8]| {
            let digest = registry.add_blob("app", bytes);
            json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len() })
        };
        let layers: Vec<_> = layers.iter().map(|layer| described("layer.v1.tar+gzip", layer)).collect();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind,
            "config": described("config.v1+json", &config), "layers": layers });
        registry.add_manifest("app", "1", kind, manifest.to_string().as_bytes());
        Self { registry, gate }
    }

    /// Starts a pull and returns it when all layers are here but the last.
    fn pull(&self, machine: &Machine) -> Child {
        let name = self.registry.name("app:1");
        let mut command = machine.command(&["pull", "-q", &name]);
        let child = machine.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let begun = Instant::now();
        while machine.count("root/layers") < 2 {
            assert!(begun.elapsed() < SOON, "the first layers do not come");
            std::thread::yield_now();
        }
        child
    }

    fn assert_whole(&self, machine: &Machine) {
        let name = self.registry.name("app:1");
        machine.ok(&["system", "fsck"]);
        machine.ok(&["save", "-o", "app.tar", &name]);
    }
}

#[test]
fn what_a_pull_is_about_to_keep_is_not_called_damaged_and_stays() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let slow = Slow::start(&machine);
    let mut child = slow.pull(&machine);
    machine.ok(&["system", "fsck"]);
    let (printed, _) = machine.ok(&["system", "fsck", "--repair"]);
    assert_eq!(printed, "");
    machine.ok(&["system", "prune", "-af"]);
    slow.gate.open();
    assert!(child.wait().unwrap().success());
    slow.assert_whole(&machine);
}

#[test]
fn a_pull_that_was_killed_is_made_good_by_the_next_one() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let slow = Slow::start(&machine);
    let mut child = slow.pull(&machine);
    child.kill().unwrap();
    child.wait().unwrap();
    machine.ok(&["system", "fsck"]);
    slow.gate.open();
    machine.ok(&["pull", "-q", &slow.registry.name("app:1")]);
    slow.assert_whole(&machine);
    // What the first one left goes.
    machine.ok(&["system", "prune", "-f"]);
    assert_eq!(machine.count("root/layers"), 3);
}

#[test]
fn what_a_load_has_unpacked_so_far_is_not_swept_away_by_a_collection() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    fs_err::write(machine.context().join("root.tar"), archive("file")).unwrap();
    machine.ok(&["import", "root.tar", "web"]);
    machine.ok(&["save", "-o", "web.tar", "web"]);
    machine.ok(&["rmi", "web"]);
    let bytes = fs_err::read(machine.context().join("web.tar")).unwrap();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut command = machine.command(&["load", "-q"]);
    let mut child = machine.spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()));
    let mut input = child.stdin.take().unwrap();
    input.write_all(first).unwrap();
    machine.until("it unpacks", || machine.count("root/tmp") > 0);
    machine.ok(&["system", "prune", "-f"]);
    input.write_all(rest).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    machine.ok(&["system", "fsck"]);
    machine.ok(&["save", "-o", "again.tar", "web"]);
}

#[test]
fn a_helper_that_hangs_ends_with_who_asks_it() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let registry = machine.inside(|| {
        TestRegistry::with_fault(|_, _| {
            Some(Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"test\""))
        })
    });
    let tools = machine.dir.path().join("tools");
    fs_err::create_dir(&tools).unwrap();
    let pid_file = tools.join("pid");
    let helper = tools.join("docker-credential-hangs");
    let script =
        format!("#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 600\n", pid_file.display());
    fs_err::write(&helper, script).unwrap();
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    fs_err::write(tools.join("config.json"), r#"{"credsStore":"hangs"}"#).unwrap();
    machine.dockerfile(&format!("FROM {}\n", registry.name("app:1")));
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let name = registry.name("app:1");
    for (args, signal) in [
        (&["pull", &name][..], "TERM"),
        (&["pull", &name], "INT"),
        (&["pull", &name], "KILL"),
        (&["build", "."], "TERM"),
        (&["build", "."], "INT"),
        (&["run", &name], "INT"),
    ] {
        let mut command = machine.command(args);
        command.env("DOCKER_CONFIG", &tools).env("PATH", &path);
        let mut child = machine.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let begun = Instant::now();
        while !pid_file.exists() {
            assert!(begun.elapsed() < SOON, "{args:?}: nobody asks the helper");
            std::thread::yield_now();
        }
        let pid = fs_err::read_to_string(&pid_file).unwrap();
        fs_err::remove_file(&pid_file).unwrap();
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = child.wait().unwrap();
        assert!(!ended.success(), "{args:?} {signal}");
        // Whoever takes its place as parent may be slow to take notice.
        let is_alive = || {
            let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.contains("sleep") && !stat.contains(") Z ")
        };
        while is_alive() {
            assert!(begun.elapsed() < SOON, "{args:?} {signal}: the helper lives on");
            std::thread::yield_now();
        }
    }
    machine.assert_nothing_is_left();
}
