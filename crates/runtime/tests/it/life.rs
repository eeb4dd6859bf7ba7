//! How containers start, talk and end.

use std::process::Stdio;
use std::time::Duration;

use shipway_runtime::{ExecSpec, RuntimeError, Stage, Status, StdIo};

use crate::{Fixture, can_run};

#[test]
fn output_and_exit_codes_come_back() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    assert_eq!(
        fixture.shell("ok", "echo hello $A; hostname; cat /etc/hosts"),
        (0, "hello 1\nbox\n127.0.0.1 localhost\n".to_owned())
    );
    assert_eq!(fixture.shell("seven", "exit 7").0, 7);
    assert_eq!(fixture.shell("killed", "kill -9 $$; sleep 60 & kill -9 $!; wait $!; exit $?").0, 137);
}

#[test]
fn a_program_that_cannot_run_is_named_with_dockers_exit_code() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    for (id, program, code) in [("missing", "no-such-program", 127), ("forbidden", "/etc/passwd", 126)] {
        let failed = fixture.run(&fixture.spec(id, &[program])).unwrap_err();
        let RuntimeError::Start { source, .. } = &failed else { panic!("case {id}: {failed}") };
        assert_eq!((source.stage, source.exit_code()), (Stage::Execute, code), "case {id}: {source}");
        assert!(source.to_string().contains(program), "case {id}: {source}");
    }
    assert_eq!(fixture.containers.list().unwrap().len(), 0, "what never ran leaves nothing");
}

#[test]
fn a_container_outlives_its_creator_and_can_be_joined_and_stopped() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let started = fixture.containers.start(&fixture.spec("long", &["sleep", "600"]), StdIo::Log).unwrap();
    // Another process would find it in the same way: nothing but files connects them.
    let found = fixture.containers.get("long").unwrap();
    assert_eq!(found.state().unwrap().status, Status::Running);
    let exec = ExecSpec {
        args: vec!["sh".into(), "-c".into(), "id -u; pwd; exit 3".into()],
        env: vec![],
        cwd: Some("/tmp".into()),
        user: Some("web".into()),
    };
    let output = found.exec_command(&exec).unwrap().stdin(Stdio::null()).output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()),
        (Some(3), "33\n/tmp\n")
    );
    assert!(matches!(found.delete(), Err(RuntimeError::Running(_))));
    // `sleep` as first process has no handler: the kernel ignores SIGTERM and the grace runs out.
    assert_eq!(found.stop(15, Duration::from_millis(50)).unwrap(), 137);
    assert_eq!(started.wait().unwrap(), 137);
    assert!(matches!(found.kill(15), Err(RuntimeError::NotRunning(_))));
    found.delete().unwrap();
    assert!(fixture.containers.get("long").is_err());
}

#[test]
fn the_log_has_both_streams_line_by_line() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let spec = fixture.spec("log", &["sh", "-c", "echo one; echo two >&2; printf three"]);
    let container = fixture.containers.start(&spec, StdIo::Log).unwrap();
    assert_eq!(container.wait().unwrap(), 0);
    let text = fs_err::read_to_string(container.log_path()).unwrap();
    let mut lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F two", "stdout F one", "stdout F three"]);
}

#[test]
fn a_port_in_use_is_said_and_nothing_started() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = fixture.spec("port", &["true"]);
    let address = taken.local_addr().unwrap();
    spec.publish = vec![shipway_runtime::PortMapping {
        host_ip: address.ip(),
        host_port: address.port(),
        container_port: 80,
    }];
    let failed = fixture.run(&spec).unwrap_err();
    let RuntimeError::Start { source, .. } = &failed else { panic!("{failed}") };
    assert_eq!(source.stage, Stage::Publish);
    assert!(source.to_string().contains(&address.to_string()), "{source}");
}

/// Removes a control group of the test's own.
struct Group(std::path::PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs_err::remove_dir(&self.0));
    }
}

#[test]
fn the_shim_leaves_the_group_of_a_service_manager() {
    let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::Path::new);
    let Some(root) = root.into_iter().find(|root| root.join("cgroup.controllers").exists()) else { return };
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let service = Group(root.join(format!("shipway-test-service-{}", std::process::id())));
    fs_err::create_dir(&service.0).unwrap();
    // The shim starts in the group, as one of a daemon that a service manager started would.
    let wrapper = fixture.dir.path().join("wrapper");
    let real = env!("CARGO_BIN_EXE_shipway-test-shim");
    let text = format!("#!/bin/sh\necho $$ > {}/cgroup.procs\nexec {real} \"$@\"\n", service.0.display());
    fs_err::write(&wrapper, text).unwrap();
    fs_err::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let containers =
        shipway_runtime::Containers::open(&fixture.dir.path().join("managed"), &wrapper).unwrap();
    let container = containers.start(&fixture.spec("managed", &["sleep", "600"]), StdIo::Log).unwrap();
    assert_eq!(fs_err::read_to_string(service.0.join("cgroup.procs")).unwrap(), "", "nobody is left in it");
    container.stop(9, Duration::ZERO).unwrap();
    container.delete().unwrap();
    let failed = containers.start(&fixture.spec("failed", &["no-such-program"]), StdIo::Log);
    assert!(failed.is_err());
    let left = root.join(fixture.spec("managed", &[]).cgroup_parent);
    assert!(!left.exists(), "the shims' groups are gone, and the one above them");
}

#[test]
fn killing_the_creator_leaves_the_container_and_its_log_running() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let spec = fixture.spec("orphan", &["sh", "-c", "echo before; sleep 0.3; echo after; sleep 600"]);
    // What `Containers::start` leaves for the shim, and a creator of its own that can be killed.
    let dir = fixture.dir.path().join("state/containers/orphan");
    fs_err::create_dir_all(dir.join("rootfs")).unwrap();
    fs_err::write(dir.join("hostname"), "box\n").unwrap();
    fs_err::write(dir.join("hosts"), "").unwrap();
    fs_err::write(dir.join("spec.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
    let script = format!(
        "{} __shim {} 1 log </dev/null 2>/dev/null & wait",
        env!("CARGO_BIN_EXE_shipway-test-shim"),
        dir.display()
    );
    let mut creator =
        std::process::Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 3];
    std::io::Read::read_exact(creator.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"{}\n");
    creator.kill().unwrap();
    creator.wait().unwrap();
    let container = fixture.containers.get("orphan").unwrap();
    // A program in the container waits for the second line: nothing of the host's is asked to sleep.
    let exec = ExecSpec {
        args: ["sh", "-c", "sleep 0.6"].map(ToOwned::to_owned).to_vec(),
        env: vec![],
        cwd: None,
        user: None,
    };
    assert!(container.exec_command(&exec).unwrap().status().unwrap().success());
    assert_eq!(container.state().unwrap().status, Status::Running);
    let log = fs_err::read_to_string(container.log_path()).unwrap();
    assert!(log.contains("before") && log.contains("after"), "{log}");
    assert_eq!(container.stop(9, Duration::ZERO).unwrap(), 137);
}
