//! What a container must not see and must not be able to do.

use crate::{Fixture, can_run};
use shipway_runtime::{
    CapabilityProfile, ExecSpec, Mount, MountKind, Network, Resources, RuntimeError, Stage, StdIo,
};

#[test]
fn capabilities_are_dockers_and_nothing_is_inheritable() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let status =
        "while read name value; do case $name in Cap*) echo $name $value;; esac; done < /proc/self/status";
    let (_, output) = fixture.shell("root", status);
    let set = "00000000a80425fb";
    let none = "0000000000000000";
    assert_eq!(
        output,
        format!("CapInh: {none}\nCapPrm: {set}\nCapEff: {set}\nCapBnd: {set}\nCapAmb: {none}\n")
    );
    let mut spec = fixture.spec("user", &["sh", "-c", status]);
    spec.user = "web".to_owned();
    spec.capabilities = CapabilityProfile::Build;
    let (_, output) = fixture.run(&spec).unwrap();
    assert!(
        output.contains(&format!("CapEff: {none}\n")) && output.contains("CapBnd: 00000000800405fb"),
        "{output}"
    );
}

#[test]
fn the_kernels_files_are_masked_and_devices_denied() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let (_, output) = fixture.shell(
        "masks",
        "cat /proc/timer_list; echo x > /proc/sys/kernel/core_pattern; mknod /tmp/disk b 254 0 && dd if=/tmp/disk of=/dev/null count=1; echo x > /dev/null && echo null works; ls /sys/firmware",
    );
    assert!(output.contains("null works"), "{output}");
    assert!(output.matches("Read-only file system").count() == 1, "{output}");
    assert!(output.contains("/tmp/disk': Operation not permitted"), "{output}");
}

#[test]
fn no_descriptor_of_the_host_leaks_in() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let (_, output) = fixture.shell("descriptors", "ls /proc/1/fd; true");
    assert_eq!(output, "0\n1\n2\n");
    for number in 3..20 {
        let mut spec = fixture.spec(&format!("cwd{number}"), &["pwd"]);
        spec.cwd = format!("/proc/self/fd/{number}");
        assert!(fixture.run(&spec).is_err(), "descriptor {number}");
    }
}

#[test]
fn links_in_the_image_lead_nowhere_outside() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    for (name, link) in [("dev", "dev"), ("proc", "proc"), ("hosts", "etc/hosts")] {
        let image = fixture.image();
        drop(fs_err::remove_file(image.join(link)));
        std::os::unix::fs::symlink(&outside, image.join(link)).unwrap();
        // Whether it starts or is refused: nothing may appear outside.
        drop(fixture.run(&fixture.spec(name, &["true"])));
        fs_err::remove_file(image.join(link)).unwrap();
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0, "case {name}");
    }
}

#[test]
fn limits_hold_and_nothing_is_left_of_an_ended_container() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mounts = || fs_err::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    let mut spec =
        fixture.spec("pids", &["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo started"]);
    spec.resources = Resources { pids: Some(4), ..Resources::default() };
    let (_, output) = fixture.run(&spec).unwrap();
    assert!(output.contains("can't fork"), "{output}");
    assert_eq!(mounts(), before);
    let group = shipway_linux::Cgroup::at(&format!("{}/pids", spec.cgroup_parent));
    assert_eq!(group.processes(), Vec::<i32>::new());
}

#[test]
fn programs_find_the_surroundings_that_docker_gives() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let script = "umask; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ulimit -Sn; cat /sys/class/net/lo/carrier; \
                  cat /proc/self/oom_score_adj";
    assert_eq!(fixture.shell("surroundings", script).1, "0022\n0\n1024\n1\n0\n");
}

#[test]
fn the_shims_program_cannot_be_written_through_a_process_in_the_container() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    // An entry point that is the program of whoever starts it (CVE-2019-5736): the kernel runs the interpreter itself.
    let script = fixture.image().join("bin/self");
    fs_err::write(&script, "#!/proc/self/exe __nothing\n").unwrap();
    fs_err::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_shipway-test-shim"));
    let before = fs_err::read(program).unwrap();
    let opener = "for n in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do \
                  (echo broken > $p/exe) 2>/dev/null && echo written $p; done; done; true";
    let container = fixture.containers.start(&fixture.spec("opener", &["sleep", "600"]), StdIo::Log).unwrap();
    let run = |args: &[&str]| {
        let exec = ExecSpec {
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            cwd: None,
            user: None,
        };
        let mut command = container.exec_command(&exec).unwrap();
        command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let openers = run(&["sh", "-c", opener]);
    for _ in 0..20 {
        run(&["/bin/self"]).wait().unwrap();
    }
    let output = openers.wait_with_output().unwrap();
    // A process may overwrite nothing: `sleep` is busy, everything of ours is sealed.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(fs_err::read(program).unwrap(), before);
}

#[test]
fn nothing_is_mounted_into_the_kernels_process_files() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    for (id, target) in
        [("proc", "/proc"), ("attr", "/proc/self/attr"), ("link", "/tmp/link/sys"), ("root", "/")]
    {
        let mut spec = fixture.spec(id, &["true"]);
        let link = fixture.image().join("tmp/link");
        drop(fs_err::remove_file(&link));
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        spec.mounts =
            vec![Mount { kind: MountKind::Tmpfs, target: target.into(), read_only: false, size: None }];
        let failed = fixture.run(&spec).unwrap_err();
        let RuntimeError::Start { source, .. } = &failed else { panic!("case {id}: {failed}") };
        assert_eq!(source.stage, Stage::Mounts, "case {id}: {source}");
    }
}

#[test]
fn the_hosts_network_does_not_bring_its_control_groups() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mut spec = fixture.spec(
        "host",
        &[
            "sh",
            "-c",
            "cd /sys/fs/cgroup; for d in . */; do mkdir $d/x 2>/dev/null && echo made $d; done; true",
        ],
    );
    spec.network = Network::Host;
    assert_eq!(fixture.run(&spec).unwrap(), (0, String::new()));
}

#[test]
fn ids_that_are_no_file_names_are_refused() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    for id in ["", ".", "..", "../x", "a/b", "-a", "a b", "a\n"] {
        let mut spec = fixture.spec("base", &["true"]);
        spec.id = id.to_owned();
        assert!(matches!(fixture.run(&spec), Err(RuntimeError::InvalidId(_))), "case {id:?}");
    }
}

#[test]
fn a_privileged_container_is_in_namespaces_of_its_own_and_not_confined() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let own = fs_err::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapPrm")).unwrap().replace("CapPrm", "CapEff");
    let host = fs_err::read_link("/proc/self/ns/mnt").unwrap();
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/self/mountinfo | grep -E ' /(proc/|sys ro)'; \
                  mount -t tmpfs none /tmp && echo mounted; ls /dev/loop-control /dev/loop7 /dev/net/tun; \
                  mknod /tmp/null c 1 3 && cat /tmp/null && echo opened; ls -l /proc/self/ns/mnt";
    let mut spec = fixture.spec("privileged", &["sh", "-c", script]);
    spec.privileged = true;
    let (code, output) = fixture.run(&spec).unwrap();
    let begin = format!("{own}\nSeccomp:\t0\nmounted\n/dev/loop-control\n/dev/loop7\n/dev/net/tun\nopened\n");
    assert!(code == 0 && output.starts_with(&begin), "{output}");
    assert!(!output.contains(host.to_str().unwrap()), "{output}");
}

#[test]
fn system_calls_that_docker_refuses_fail() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mut spec = fixture.spec(
        "calls",
        &["sh", "-c", "grep Seccomp: /proc/self/status; unshare -m true; mount -t tmpfs none /tmp; chroot / true && echo chroot"],
    );
    let (_, output) = fixture.run(&spec).unwrap();
    assert!(output.starts_with("Seccomp:\t2\n"), "{output}");
    assert_eq!(
        output.matches("Operation not permitted").count() + output.matches("permission denied").count(),
        2,
        "{output}"
    );
    assert!(output.ends_with("chroot\n"), "{output}");
    spec.id = "calls2".to_owned();
    spec.no_new_privileges = true;
    spec.user = "web".to_owned();
    spec.args =
        ["sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"].map(ToOwned::to_owned).to_vec();
    assert_eq!(fixture.run(&spec).unwrap().1, "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

#[test]
fn fifty_containers_and_execs_leave_nothing_behind() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let group = fixture.spec("leak", &[]).cgroup_parent;
    let descriptors = || fs_err::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for number in 0..50 {
        let id = format!("leak{number}");
        let container = fixture.containers.start(&fixture.spec(&id, &["sleep", "600"]), StdIo::Log).unwrap();
        let exec = ExecSpec { args: vec!["true".to_owned()], env: Vec::new(), cwd: None, user: None };
        assert!(container.exec_command(&exec).unwrap().status().unwrap().success());
        assert_eq!(container.stop(9, std::time::Duration::ZERO).unwrap(), 137);
        container.delete().unwrap();
    }
    // Other tests run at the same time: a few descriptors come and go, fifty do not.
    assert!(descriptors() < before + 25);
    assert_eq!(fixture.containers.list().unwrap().len(), 0);
    for hierarchy in ["memory", "pids", "cpu", "devices", "freezer", "unified", "systemd", "."] {
        let left = std::path::Path::new("/sys/fs/cgroup").join(hierarchy).join(&group);
        assert!(!left.exists(), "{}", left.display());
    }
    let own = fixture.dir.path().display().to_string();
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&own));
}
