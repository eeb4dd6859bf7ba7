//! What a newcomer types, by the real program: build, list, run, look, remove.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::machine::{Machine, can_run};

#[test]
fn an_image_is_built_listed_run_and_removed() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let (_, progress) = machine.ok(&["build", "-t", "web", "-t", "web:1", "."]);
    assert!(
        progress.contains("built\n") && progress.contains("naming to docker.io/library/web:1 done"),
        "{progress}"
    );
    let (listed, _) = machine.ok(&["images"]);
    assert!(listed.starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"), "{listed}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert_eq!(machine.ok(&["run", "--rm", "web"]).0, "first\n");
    assert_eq!(
        machine.ok(&["run", "--rm", "--entrypoint", "/bin/sh", "web", "-c", "echo $GREETING; pwd"]).0,
        "hello\n/srv\n"
    );

    let (_, again) = machine.ok(&["build", "-t", "web", "."]);
    assert!(again.contains("5 of 5 steps from the cache"), "{again}");
    fs_err::write(machine.context().join("page"), "second\n").unwrap();
    let (_, changed) = machine.ok(&["build", "-t", "web", "."]);
    assert!(
        changed.contains("3 of 5 steps from the cache") && changed.contains("not cached: page changed\n"),
        "{changed}"
    );
    assert_eq!(machine.ok(&["run", "--rm", "web"]).0, "second\n");
    assert_eq!(machine.ok(&["run", "--rm", "web:1"]).0, "first\n");

    let (document, _) = machine.ok(&["inspect", "web"]);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document[0]["Config"]["Entrypoint"][0], "/bin/cat");
    assert_eq!(document[0]["RootFS"]["Layers"].as_array().unwrap().len(), 5);
    let (removed, _) = machine.ok(&["rmi", "web", "web:1"]);
    assert!(removed.contains("Untagged: web:latest\nDeleted: sha256:"), "{removed}");
    assert_eq!(machine.ok(&["images", "-q"]).0, "");
}

#[test]
fn a_container_in_the_background_is_seen_joined_and_stopped() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    machine.ok(&["build", "-q", "-t", "web", "."]);
    let (id, _) = machine.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--entrypoint",
        "/bin/sh",
        "web",
        "-c",
        "echo started; exec sleep 600",
    ]);
    assert_eq!(id.trim().len(), 64);
    assert!(machine.ok(&["ps"]).0.contains("Up "));
    assert_eq!(machine.ok(&["exec", "box", "cat", "/srv/served"]).0, "first\n");
    assert_eq!(machine.refused(&["exec", "box", "sh", "-c", "exit 4"], 4), "");
    let refused = machine.refused(&["rmi", "web"], 1);
    assert!(refused.contains(&id[..12]), "{refused}");
    machine.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(machine.ok(&["logs", "box"]).0, "started\n");
    assert!(machine.ok(&["ps", "-a"]).0.contains("Exited (137)"));
    machine.ok(&["rm", "box"]);
    assert_eq!(machine.ok(&["ps", "-aq"]).0, "");
}

#[test]
fn mistakes_are_named_and_leave_nothing_behind() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let file = |text: &str| fs_err::write(machine.context().join("Dockerfile"), text).unwrap();
    assert!(machine.refused(&["build"], 1).contains("requires exactly 1 argument"));
    assert!(machine.refused(&["build", "-f", "none", "."], 1).contains("cannot read the Dockerfile `none`"));
    file("FROM scratch\nRUM x\n");
    let mistake = machine.refused(&["build", "-t", "bad", "."], 1);
    assert!(
        mistake.contains("Dockerfile:2:1: unknown instruction `RUM`")
            && mistake.contains("hint: did you mean RUN?"),
        "{mistake}"
    );
    assert!(mistake.contains("  2 | RUM x\n    | ^^^\n"), "{mistake}");
    file("FROM scratch\nCOPY busybox /bin/sh\nRUN echo before; exit 7\n");
    let failed = machine.refused(&["build", "-t", "bad", "."], 1);
    assert!(failed.contains("before\n"), "{failed}");
    assert!(
        failed.contains(
            "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7"
        ),
        "{failed}"
    );
    file("FROM nowhere:1\n");
    assert!(
        machine.refused(&["build", "-t", "bad", "."], 1).contains("`nowhere:1` is not in the local store")
    );
    assert_eq!(machine.ok(&["images", "-q"]).0, "");
    let said = machine.refused(&["run", "--rm", "nowhere"], 125);
    assert!(said.contains("could not talk to registry-1.docker.io") && said.contains("hint: "), "{said}");
    let said = machine.refused(&["run", "--rm", "--pull", "never", "nowhere"], 125);
    assert!(said.contains("no such image: nowhere"), "{said}");
    assert!(machine.refused(&["push", "x"], 1).contains("hint: name one so: `shipway tag IMAGE x:latest`"));
    assert!(machine.refused(&["ship", "x"], 1).contains("`shipway ship` is not there yet"));
    assert_eq!(
        ["root/active", "root/tmp", "state/containers", "state/steps"].map(|name| machine.count(name)),
        [0; 4]
    );
}

#[test]
fn ctrl_c_ends_what_waits_for_a_connection() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    // It takes no connection any more.
    let (listener, _waiting) = machine.inside(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let one = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let waiting: Vec<std::net::TcpStream> = std::iter::from_fn(one).collect();
        (listener, waiting)
    });
    let base = format!("{}/base:1", listener.local_addr().unwrap());
    fs_err::write(machine.context().join("Dockerfile"), format!("FROM {base}\n")).unwrap();
    for (args, begun) in [
        (&["build", "--progress", "plain", "."][..], "load metadata for"),
        (&["run", "--rm", &base, "true"], "Unable to find image"),
    ] {
        let mut waits = machine.spawn(machine.command(args).stderr(Stdio::piped()));
        let mut progress = BufReader::new(waits.stderr.take().unwrap()).lines();
        assert!(progress.any(|line| line.unwrap().contains(begun)), "{args:?}");
        assert!(waits.try_wait().unwrap().is_none(), "{args:?}: nobody answers");
        let pidfd = shipway_linux::open_pidfd(i32::try_from(waits.id()).unwrap()).unwrap();
        let began = std::time::Instant::now();
        shipway_linux::signal_pidfd(pidfd, 2).unwrap();
        let said: Vec<String> = progress.map(Result::unwrap).collect();
        assert_eq!(waits.wait().unwrap().code(), Some(130), "{args:?}: {said:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {said:?}", began.elapsed());
    }
}

#[test]
fn an_interrupted_build_stops_its_step_and_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    // Ctrl-C, the terminal that goes away, a service manager. What this process ignores its children ignore, too.
    for signal in [2, 1, 15].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
        interrupt(signal);
    }
}

fn interrupt(signal: i32) {
    let machine = Machine::new();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/sh\nRUN echo waiting; while :; do :; done\n";
    fs_err::write(machine.context().join("Dockerfile"), dockerfile).unwrap();
    let mut build = machine.spawn(machine.command(&["build", "-t", "web", "."]).stderr(Stdio::piped()));
    let mut progress = BufReader::new(build.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap().ends_with(" waiting")), "the step runs");
    let pidfd = shipway_linux::open_pidfd(i32::try_from(build.id()).unwrap()).unwrap();
    shipway_linux::signal_pidfd(pidfd, signal).unwrap();
    let said: Vec<String> = progress.map(Result::unwrap).collect();
    assert_eq!(build.wait().unwrap().code(), Some(130), "signal {signal}: {said:?}");
    assert_eq!(machine.ok(&["images", "-q"]).0, "");
    let left = ["root/active", "state/containers", "state/steps"].map(|name| machine.count(name));
    assert_eq!(left, [0; 3]);
}
