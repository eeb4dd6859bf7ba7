//! Flags of `run` that people use daily, and those that are not there.

use crate::machine::{Machine, can_run};

#[test]
fn what_is_on_this_host_is_seen_in_the_container() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let context = machine.context().display().to_string();
    fs_err::write(machine.context().join("page"), "mine\n").unwrap();
    let volume = format!("{context}:/data");
    assert_eq!(machine.script(&["-v", &volume], "cat /data/page; echo new > /data/made"), "mine\n");
    assert_eq!(fs_err::read_to_string(machine.context().join("made")).unwrap(), "new\n");
    let read_only = format!("{context}:/data:ro");
    assert_eq!(
        machine.script(&["-v", &read_only], "echo x > /data/y 2>/dev/null || echo refused"),
        "refused\n"
    );
    assert_eq!(machine.script(&["-v", "./page:/srv/one"], "cat /srv/one"), "mine\n");
    let mount = format!("type=bind,source={context},target=/data/deep,readonly");
    let seen =
        machine.script(&["--mount", &mount, "--tmpfs", "/data"], "cat /data/deep/page; echo x > /data/y");
    assert_eq!(seen, "mine\n");
    machine.script(&["-v", "./fresh:/data"], "touch /data/file");
    assert!(machine.context().join("fresh/file").exists(), "a source that is missing is made");
    let named = machine.refused(&["run", "-v", "data:/data", "box", "true"], 125);
    assert!(named.contains("named volumes are not there yet"), "{named}");
    let missing =
        machine.refused(&["run", "--mount", "type=bind,source=/no/such,target=/x", "box", "true"], 125);
    assert!(missing.contains("/no/such"), "{missing}");
    machine.assert_nothing_is_left();
}

#[test]
fn what_a_container_was_given_is_told_of_it() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let context = machine.context().display().to_string();
    let volume = format!("{context}:/data:ro");
    let flags = ["--network", "none", "--name", "told", "-v", &volume, "--tmpfs", "/fast", "-c", "512"];
    let more = ["--add-host", "db:10.0.0.1", "--security-opt", "no-new-privileges", "-i"];
    machine.ok(&[&["run"], &flags[..], &more, &["box", "true"]].concat());
    for (format, want) in [
        (
            "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}",
            format!("bind {context} /data false"),
        ),
        ("{{.HostConfig.Tmpfs}} {{.HostConfig.CpuShares}}", "map[/fast:] 512".to_owned()),
        (
            "{{.HostConfig.ExtraHosts}} {{.HostConfig.SecurityOpt}}",
            "[db:10.0.0.1] [no-new-privileges]".to_owned(),
        ),
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Privileged}} {{.RestartCount}}",
            "no false 0".to_owned(),
        ),
        ("{{.Config.OpenStdin}} {{.Config.Tty}} {{.Config.Volumes}}", "true false map[]".to_owned()),
        ("{{.State.Health}} {{.HostConfig.Dns}} {{.HostConfig.Init}}", "<nil> [] <nil>".to_owned()),
        ("{{with .NetworkSettings.Ports}}some{{else}}none{{end}}", "none".to_owned()),
    ] {
        assert_eq!(machine.ok(&["inspect", "-f", format, "told"]).0, want + "\n", "{format}");
    }
    machine.ok(&["rm", "told"]);
    machine.assert_nothing_is_left();
}

#[test]
fn variables_come_from_files_and_the_command_line() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    fs_err::write(machine.context().join("vars"), "# comment\nA=from file\nB=\"quoted\"\n\nPATH=/bin\n")
        .unwrap();
    let seen = machine
        .script(&["--env-file", "vars", "-e", "A=from flag"], "echo $A; echo $B; env | grep -c ^PATH=");
    assert_eq!(seen, "from flag\n\"quoted\"\n1\n");
    assert!(machine.refused(&["run", "--env-file", "none", "box", "true"], 125).contains("none"));
}

#[test]
fn limits_and_capabilities_are_those_that_were_asked_for() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let id = machine.background(&["-m", "64m", "--cpus", "0.5", "--pids-limit", "7"], "sleep 600");
    let group = format!("shipway-{}/{id}", machine.root_id());
    let read = |names: [&str; 2]| {
        let places =
            names.map(|name| std::path::Path::new("/sys/fs/cgroup").join(name.replace("GROUP", &group)));
        let found = places.iter().find_map(|place| fs_err::read_to_string(place).ok());
        found.unwrap_or_else(|| panic!("none of {places:?}")).trim().to_owned()
    };
    assert_eq!(read(["memory/GROUP/memory.limit_in_bytes", "GROUP/memory.max"]), (64 << 20).to_string());
    assert_eq!(read(["pids/GROUP/pids.max", "GROUP/pids.max"]), "7");
    let cpu = read(["cpu/GROUP/cpu.cfs_quota_us", "GROUP/cpu.max"]);
    assert!(cpu == "50000" || cpu == "50000 100000", "{cpu}");
    let host = machine.inspect(&id)["HostConfig"].clone();
    assert_eq!((&host["Memory"], &host["NanoCpus"]), (&(64 << 20).into(), &500_000_000.into()));
    let caps = |flags: &[&str]| machine.script(flags, "grep CapEff /proc/self/status").trim().to_owned();
    assert_eq!(caps(&[]), "CapEff:\t00000000a80425fb");
    assert_eq!(caps(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]), "CapEff:\t0000000000000001");
    assert_eq!(caps(&["--cap-add", "net_admin"]), "CapEff:\t00000000a80435fb");
    let unknown = machine.refused(&["run", "--cap-add", "FLY", "box", "true"], 125);
    assert!(unknown.contains("`FLY`: there is no such capability"), "{unknown}");
    let status =
        machine.script(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status");
    assert_eq!(status, "NoNewPrivs:\t1\n");
    assert!(machine.refused(&["run", "-m", "1m", "box", "true"], 125).contains("too little memory"));
}

#[test]
fn a_container_is_stopped_by_the_signal_of_its_image_or_the_one_named() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nSTOPSIGNAL SIGUSR1\nLABEL a=image b=image\n");
    machine.ok(&["build", "-q", "-t", "polite", "."]);
    let script = "trap 'exit 3' USR1; trap 'exit 4' USR2; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    for (name, image, flags, stop, want) in [
        ("plain", "box", &[][..], &["stop"][..], "5"),
        ("image", "polite", &["-l", "b=own"], &["stop"], "3"),
        ("flag", "polite", &["--stop-signal", "USR2"], &["stop"], "4"),
        ("named", "polite", &[], &["stop", "-s", "SIGUSR2"], "4"),
        ("killed", "box", &[], &["kill", "-s", "USR1"], "3"),
        ("by default", "box", &[], &["kill"], "137"),
    ] {
        let (id, _) = machine.ok(&[&["run", "-d"], flags, &[image, script]].concat());
        let id = id.trim();
        machine.until("it is ready", || machine.ok(&["logs", id]).0 == "ready\n");
        machine.ok(&[stop, &[id]].concat());
        machine.until("it has ended", || machine.inspect(id)["State"]["Running"] == false);
        assert_eq!(machine.inspect(id)["State"]["ExitCode"].to_string(), want, "case {name}");
        if name == "image" {
            let labels = machine.inspect(id)["Config"]["Labels"].clone();
            assert_eq!((&labels["a"], &labels["b"]), (&"image".into(), &"own".into()));
        }
        machine.ok(&["rm", id]);
    }
    assert!(
        machine
            .refused(&["run", "--stop-signal", "NOPE", "box", "true"], 125)
            .contains("`NOPE` is no signal")
    );
    machine.assert_nothing_is_left();
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    for (args, what) in [
        (&["run", "--gpus", "all", "box"][..], "`--gpus` of `shipway run` is not there yet"),
        (&["run", "--init", "box"], "`--init` of `shipway run` is not there yet"),
        (&["run", "--privileged", "box"], "`--privileged` of `shipway run` is not there yet"),
        (&["run", "--restart", "always", "box"], "`--restart always` is not there yet"),
        (&["run", "--security-opt", "seccomp=x", "box"], "`--security-opt seccomp=x` is not there yet"),
        (&["logs", "--until", "1m", "box"], "`--until` of `shipway logs` is not there yet"),
        (&["exec", "--privileged", "box", "true"], "`--privileged` of `shipway exec` is not there yet"),
    ] {
        let refused = machine.refused(args, 125);
        assert!(refused.contains(what) && refused.contains("hint: "), "{refused}");
    }
    assert!(machine.refused(&["run", "--gpsu", "all", "box"], 125).contains("has no flag `--gpsu`"));
}
