//! What steps are given, what they may not keep, and where results go.

use std::path::Path;
use std::process::{Command, Stdio};

use shipway_testkit::{Need, require};

use crate::contexts::{build_from, cat, run};
use crate::machine::{Machine, can_run};

#[test]
fn what_is_asked_of_steps_and_of_the_result_is_heeded() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let text = "FROM box AS one\nRUN echo x > /time\nFROM box\nCOPY --from=one /time /time\n\
                RUN --mount=type=tmpfs,target=/t,size=3m (grep 10.0.0.5 /etc/hosts; ulimit -n; ulimit -Hn; \
                df -m /dev/shm | tail -1; df -m /t | tail -1) > /seen\n";
    machine.dockerfile(text);
    let args = [
        "build",
        "--network",
        "none",
        "-t",
        "asked",
        "--add-host",
        "db:10.0.0.5",
        "--ulimit",
        "nofile=100:200",
        "--shm-size",
        "7m",
        "--annotation",
        "a.b=c",
        "--annotation",
        "manifest:d=e",
        "--metadata-file",
        "said.json",
    ];
    let build = |more: &[&str]| machine.ok(&[&args[..], more, &["."]].concat()).1;
    build(&[]);
    let seen = cat(&machine, "asked", "/seen");
    let lines: Vec<Vec<&str>> = seen.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["10.0.0.5", "db"], "{seen}");
    assert_eq!((lines[1][0], lines[2][0]), ("100", "200"), "{seen}");
    assert_eq!((lines[3][1], lines[4][1]), ("7", "3"), "{seen}");
    let said: serde_json::Value =
        serde_json::from_slice(&fs_err::read(machine.context().join("said.json")).unwrap()).unwrap();
    assert_eq!(said["containerimage.config.digest"], machine.inspect("asked")["Id"]);
    assert_eq!(said["image.name"], "docker.io/library/asked");
    let manifest = said["containerimage.digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let manifest = fs_err::read(machine.dir.path().join("root/blobs/sha256").join(manifest)).unwrap();
    assert_eq!(said["containerimage.descriptor"]["size"], manifest.len());
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["annotations"], serde_json::json!({"a.b": "c", "d": "e"}));

    // Only the stage that is named is done again.
    assert!(build(&[]).contains("5 of 5 steps from the cache"));
    assert!(build(&["--no-cache-filter", "one"]).contains("4 of 5 steps from the cache"));
    for (flags, (code, want)) in [
        (["--ulimit", "nofile"], (125, "it has no value")),
        (["--ulimit", "x=1"], (125, "is nothing that can be limited")),
        (["--ulimit", "nofile=2:1"], (125, "is above the hard one")),
        (["--shm-size", "x"], (125, "is no size")),
        (["--add-host", "x"], (1, "is no host and address")),
        (["--annotation", "x"], (1, "has no value")),
    ] {
        let said = machine.refused(&["build", flags[0], flags[1], "."], code);
        assert!(said.contains(want), "{flags:?}: {said}");
    }
    let limits = "ulimit -n; df -m /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2";
    let flags =
        ["run", "--rm", "--network", "none", "--ulimit", "nofile=64", "--shm-size", "9m", "box", limits];
    assert_eq!(machine.ok(&flags).0, "64\n9\n");
    let flags =
        ["run", "-d", "--network", "none", "--ulimit", "nproc=50:100", "--shm-size", "9m", "box", "true"];
    let id = machine.ok(&flags).0;
    let host = machine.inspect(id.trim())["HostConfig"].clone();
    assert_eq!(host["Ulimits"], serde_json::json!([{"Name": "nproc", "Soft": 50, "Hard": 100}]));
    assert_eq!(host["ShmSize"], 9 << 20);
    machine.ok(&["rm", "-f", id.trim()]);
}

#[test]
fn what_the_caller_ignores_and_limits_is_nothing_to_steps_and_containers() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let seen = "grep SigIgn /proc/self/status | cut -f2; ulimit -f; ulimit -Ss";
    machine.dockerfile(&format!("FROM box\nRUN ({seen}) > /seen\n"));
    let called = |args: &[&str]| {
        let output = machine.in_shell("trap '' CHLD USR1; ulimit -Sf 100000; ulimit -Ss 1024", args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let want = "0000000000000000\nunlimited\n8192\n";
    called(&["build", "--network", "none", "-t", "called", "."]);
    assert_eq!(cat(&machine, "called", "/seen"), want);
    assert_eq!(called(&["run", "--rm", "--network", "none", "box", seen]), want);
}

#[test]
fn build_arguments_that_are_for_the_builder_itself_are_heeded() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "from box\nRUN --mount=type=cache,target=/c (hostname; grep -c sandbox.test /etc/hosts; ls /c) > /seen; \
         touch /c/there\n",
    );
    let build = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().flat_map(|text| ["--build-arg", text]).collect();
        let build = ["build", "--network", "none", "-t", "told"];
        let (_, said) = machine.ok(&[&build[..], &arguments, &["."]].concat());
        assert!(!said.contains("were not used"), "{said}");
        (cat(&machine, "told", "/seen"), said)
    };
    let (seen, said) = build(&[]);
    assert_eq!(seen, "buildkitsandbox\n0\n");
    assert!(said.contains("ConsistentInstructionCasing"), "{said}");
    let name = "BUILDKIT_SANDBOX_HOSTNAME=sandbox.test";
    let (seen, said) = build(&[name, "BUILDKIT_DOCKERFILE_CHECK=skip=all"]);
    assert_eq!(seen, "sandbox.test\n1\nthere\n");
    assert!(!said.contains("ConsistentInstructionCasing"), "{said}");
    let (seen, _) = build(&[name, "BUILDKIT_CACHE_MOUNT_NS=mine"]);
    assert_eq!(seen, "sandbox.test\n1\n");
    // What says nothing changes nothing.
    let (seen, said) =
        build(&["BUILDKIT_SANDBOX_HOSTNAME=", "BUILDKIT_SYNTAX=mirror.test/docker/dockerfile:1"]);
    assert_eq!(seen, "buildkitsandbox\n0\n");
    assert!(said.contains("2 of 2 steps from the cache"), "{said}");

    let argument = "BUILDKIT_SYNTAX=mirror.test/other:1 x";
    let said = machine.refused(&["build", "--build-arg", argument, "."], 1);
    assert!(
        said.contains("names the frontend `mirror.test/other:1`") && said.contains("leave the build"),
        "{said}"
    );
    machine.dockerfile("# syntax=mirror.test/other:1\nlanguage: another\n");
    let said = machine.refused(&["build", "."], 1);
    assert!(said.contains("`# syntax=` names the frontend `mirror.test/other:1`"), "{said}");
    assert!(said.contains("Dockerfile:1"), "{said}");
}

#[test]
fn what_is_read_only_in_a_step_is_not_written() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    for (name, flags, file, is_writable) in [
        ("memory", "--mount=type=tmpfs,target=/t", "/t/x", true),
        ("memory, read-only", "--mount=type=tmpfs,target=/t,readonly", "/t/x", false),
        ("memory, not writable", "--mount=type=tmpfs,target=/t,rw=false", "/t/x", false),
        ("names of hosts", "", "/etc/hosts", false),
        ("where names are asked for", "", "/etc/resolv.conf", false),
        ("the host's name", "", "/etc/hostname", true),
    ] {
        let test = if is_writable { "" } else { "! " };
        machine.dockerfile(&format!("FROM box\nRUN {flags} : {name:?}; {test}echo x > {file}\n"));
        let output = machine.shipway(&["build", "--network", "none", "-t", "sealed", "."]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "case {name}: {said}");
        assert_eq!(said.contains("Read-only file system"), !is_writable, "case {name}: {said}");
    }
    machine.dockerfile("FROM box\nUSER web:\nRUN echo it is $(id -u)\n");
    let (_, said) = machine.ok(&["build", "--network", "none", "-t", "sealed", "."]);
    assert!(said.contains("it is 33"), "{said}");
    machine.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "box",
        "echo x >> /etc/hosts && echo x >> /etc/resolv.conf",
    ]);
}

#[test]
fn bind_mounts_show_contexts_and_stages_and_forget_what_is_written() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let context = machine.context();
    fs_err::create_dir(context.join("sub")).unwrap();
    fs_err::write(context.join("sub/file"), "of the context\n").unwrap();
    let text = "FROM box AS stage\nRUN mkdir /deep && echo of the stage > /deep/file && ln -s deep /link\nFROM box\n\
                RUN --mount=target=/m cat /m/sub/file > /1\n\
                RUN --mount=target=/m,source=sub/file cat /m > /2\n\
                RUN --mount=target=/m,source=sub,rw echo new > /m/new; cat /m/* > /3\n\
                RUN --mount=target=/m,source=sub/file,rw echo new >> /m; cat /m > /4\n\
                RUN --mount=from=stage,target=/m cat /m/deep/file > /5\n\
                RUN --mount=from=stage,target=/m,source=/link/file cat /m > /6\n\
                RUN --mount=from=stage,target=/m,source=/deep,rw touch /m/new; ls /m > /7\n\
                RUN --mount=target=/m ! touch /m/x 2>/dev/null && ! ls -d /new /m/sub/new 2>/dev/null\n\
                RUN ! ls -d /m 2>/dev/null\n";
    machine.dockerfile(text);
    let build = ["build", "-q", "--network", "none", "-t", "bound", "."];
    let seen = "of the context\nof the context\nof the context\nnew\nof the context\nnew\nof the stage\nof the stage\nfile\nnew\n";
    for ignored in ["", "page\n"] {
        fs_err::write(context.join(".dockerignore"), ignored).unwrap();
        machine.ok(&build);
        let all = machine.ok(&["run", "--rm", "--network", "none", "bound", "cat /1 /2 /3 /4 /5 /6 /7"]);
        assert_eq!(all.0, seen, "{ignored:?}");
        assert_eq!(fs_err::read_to_string(context.join("sub/file")).unwrap(), "of the context\n");
        assert!(!context.join("sub/new").exists());
    }
    machine
        .dockerfile("FROM box AS stage\nFROM box\nRUN --mount=from=stage,target=/m,source=/nothing true\n");
    let said = machine.refused(&["build", "--network", "none", "."], 1);
    assert!(said.contains("`/nothing` is not in stage `stage`"), "{said}");
    assert_eq!(machine.count("root/active"), 0);
}

#[test]
fn results_go_where_they_are_wanted() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let images = machine.ok(&["images", "-aq"]).0;
    machine.dockerfile(
        "FROM box AS build\nRUN mkdir /out && echo made > /out/file && ln -s file /out/link && chmod 750 /out/file && chown 7:8 /out/file\n\
         FROM scratch\nCOPY --from=build /out /\n",
    );
    let build = |more: &[&str]| machine.ok(&[&["build", "--network", "none"], more, &["."]].concat());
    build(&["-o", "local"]);
    let local = machine.context().join("local");
    let seen = String::from_utf8(run(&local, "stat -c '%a %u %g %n' file; readlink link; cat file")).unwrap();
    assert_eq!(seen, "750 0 0 file\nfile\nmade\n");
    build(&["-q", "-o", "type=tar,dest=files.tar"]);
    let listed = "tar tf files.tar";
    assert_eq!(run(&machine.context(), listed), b"file\nlink\n");
    let (printed, _) = build(&["-q", "-o", "-"]);
    assert_eq!(printed.as_bytes(), fs_err::read(machine.context().join("files.tar")).unwrap());
    // None of these is an image of this machine's.
    assert_eq!(machine.ok(&["images", "-aq"]).0, images);

    build(&["-t", "made", "-o", "type=docker,dest=made.tar", "-o", "type=oci,tar=false,dest=layout"]);
    let id = machine.inspect("made")["Id"].clone();
    machine.ok(&["rmi", "made"]);
    assert_eq!(machine.ok(&["load", "-i", "made.tar"]).0, "Loaded image: made:latest\n");
    assert_eq!(machine.inspect("made")["Id"], id);
    let layout = fs_err::read(machine.context().join("layout/oci-layout")).unwrap();
    assert_eq!(layout, br#"{"imageLayoutVersion":"1.0.0"}"#);
    build(&["-o", "type=image,name=named:1"]);
    assert_eq!(machine.inspect("named:1")["Id"], id);
    for (output, want) in [
        ("type=registry", "there is no name to push"),
        ("type=none", "type `none` is unknown: there are local, tar"),
        ("/dev/null/x", "could not write `/dev/null/x`"),
    ] {
        let said = machine.refused(&["build", "--network", "none", "-o", output, "."], 1);
        assert!(said.contains(want), "{output}: {said}");
    }
}

#[test]
fn a_step_is_served_by_keys_that_are_in_no_agent() {
    if !can_run() || !require(&[Need::OpenSsh]) {
        return;
    }
    let machine = Machine::with_box();
    let key = machine.dir.path().join("key").display().to_string();
    run(machine.dir.path(), "ssh-keygen -q -t ed25519 -N '' -C 'the build key' -f key");
    run(machine.dir.path(), "ssh-keygen -q -t ed25519 -N secret -f locked");
    machine.dockerfile(
        "FROM box\nRUN --mount=type=ssh --mount=type=cache,target=/c test -S $SSH_AUTH_SOCK; until test -e /c/done; do sleep 0.05; done\n",
    );
    let args = ["build", "--network", "none", "-t", "kept", "--ssh", &format!("default={key}"), "."];
    let mut build = machine.spawn(&mut machine.command(&args));
    // The step's own socket; there is no client in the image.
    let entries =
        |place: &str| fs_err::read_dir(machine.dir.path().join(place)).into_iter().flatten().flatten();
    let socket =
        || {
            let step = entries("state/steps").next()?.path();
            fs_err::read_dir(step).ok()?.flatten().map(|entry| entry.path()).find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("agent-"))
            })
        };
    machine.until("the step has an agent", || socket().is_some());
    let listed = Command::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", socket().unwrap()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed, fs_err::read_to_string(machine.dir.path().join("key.pub")).unwrap());
    let cache = entries("root/build/caches").map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    fs_err::write(cache.join("done"), "").unwrap();
    assert!(build.wait().unwrap().success());
    assert_eq!(machine.count("state/steps"), 0);
    let locked = format!("default={}", machine.dir.path().join("locked").display());
    let said = machine.refused(&["build", "--ssh", &locked, "."], 1);
    assert!(
        said.contains("has a passphrase\nhint: give it to an agent") && said.contains("ssh-add "),
        "{said}"
    );
}

#[test]
fn a_group_of_this_machine_bounds_the_steps() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let name = format!("shipway-test-parent-{}", std::process::id());
    let group = shipway_linux::Cgroup::at(&name);
    group.create(shipway_linux::Limits { pids: Some(40), ..shipway_linux::Limits::default() }).unwrap();
    machine.dockerfile(
        "FROM box\nRUN --mount=type=cache,target=/c until test -e /c/done; do sleep 0.05; done\n",
    );
    let build = ["build", "-q", "--network", "none", "--cgroup-parent", &format!("/{name}"), "."];
    let mut building = machine.spawn(machine.command(&build).stdout(Stdio::null()));
    let entries =
        |place: &Path| fs_err::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let mounts = [Path::new("/sys/fs/cgroup/pids").join(&name), Path::new("/sys/fs/cgroup").join(&name)];
    let below = format!("shipway-{}", machine.root_id());
    let members = || {
        let groups = mounts.iter().flat_map(|mount| entries(&mount.join(&below)));
        let lists = groups.filter_map(|group| fs_err::read_to_string(group.join("cgroup.procs")).ok());
        lists.map(|list| list.lines().count()).sum::<usize>()
    };
    machine.until("the step is in the group", || members() > 0);
    let caches = machine.dir.path().join("root/build/caches");
    fs_err::write(entries(&caches).find(|path| path.is_dir()).unwrap().join("done"), "").unwrap();
    assert!(building.wait().unwrap().success());
    machine.until("our own group is gone", || mounts.iter().all(|mount| !mount.join(&below).exists()));
    assert!(group.exists(), "it is somebody else's");
    group.remove().unwrap();
    machine.assert_nothing_is_left();
    for (name, want) in [
        ("shipway-no-such", "there is no such control group"),
        ("../x", "no name of a control group"),
        ("/", "no name of a control group"),
    ] {
        let said = machine.refused(&["build", "--cgroup-parent", name, "."], 1);
        assert!(said.contains(want) && said.contains("hint: "), "{name}: {said}");
    }
}

#[test]
fn secrets_and_agents_reach_a_step_and_stay_out_of_the_image() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    fs_err::write(machine.context().join("token"), "canary-7f3a\n").unwrap();
    let build = |text: &str, more: &[&str]| {
        machine.dockerfile(text);
        let args = ["build", "--network", "none", "-t", "kept", "--secret", "id=token,src=token"];
        build_from(&machine, &[&args[3..], more, &["."]].concat(), b"")
    };
    let (code, said) = build("FROM box\nRUN --mount=type=secret,id=token cat /run/secrets/token\n", &[]);
    assert!(code == Some(0) && said.contains(" ****\n") && !said.contains("canary"), "{said}");
    let leak = "FROM box\nRUN --mount=type=secret,id=token,env=T mkdir /deep && echo a $T b > /deep/file\n";
    let (code, said) = build(leak, &[]);
    assert!(code == Some(1) && said.contains("the secret `token` is in `/deep/file`"), "{said}");

    for (name, command, want) in [
        ("a name", "mkdir -p /deep/x-$T", "is in `/deep/x-****`"),
        ("what a link leads to", "ln -s $T /link", "is in `/link`"),
    ] {
        let (code, said) =
            build(&format!("FROM box\nRUN --mount=type=secret,id=token,env=T {command}\n"), &[]);
        assert!(code == Some(1) && said.contains(want) && !said.contains("canary"), "case {name}: {said}");
    }

    for (line, want) in [
        ("COPY . /all/", "the secret `token` is in `token` of the build context"),
        ("ENV T=canary-7f3a", "the secret `token` is in the text of ENV"),
    ] {
        let (code, said) = build(&format!("FROM box\n{line}\n"), &[]);
        assert!(code == Some(1) && said.contains(want) && !said.contains("canary"), "{line}: {said}");
    }

    let path = machine.dir.path().join("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let ask = "FROM box\nRUN --mount=type=ssh,mode=0666 ls -l $SSH_AUTH_SOCK\n";
    let (code, said) = build(ask, &["--ssh", &format!("default={}", path.display())]);
    assert!(
        code == Some(0) && said.contains("srw-rw-rw-") && said.contains("/run/buildkit/ssh_agent.0"),
        "{said}"
    );
    let there = machine.ok(&["run", "--rm", "--network", "none", "kept", "ls -d /run || true"]);
    assert_eq!(there.0, "", "nothing of it is in the image");
    run(&machine.context(), "mkfifo pipe");
    for (flag, want) in [
        ("default=token", "is no private ssh key"),
        ("default=/nowhere", "--ssh `default=/nowhere`: "),
        ("default=pipe", "the ssh key `pipe` is no file\nhint: name the file of a private key"),
    ] {
        let said = machine.refused(&["build", "--ssh", flag, "."], 1);
        assert!(said.contains(want), "{flag}: {said}");
    }
}

#[test]
fn a_secret_is_in_no_file_of_this_machine_also_where_its_build_is_killed() {
    const SECRET: &str = "canary-5b1e";
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let given = machine.dir.path().join("given");
    fs_err::write(&given, SECRET).unwrap();
    machine.dockerfile(
        "FROM box\nRUN --mount=type=secret,id=token --mount=type=cache,target=/c \
         grep -q canary /run/secrets/token && touch /c/seen; until test -e /c/done; do sleep 0.05; done\n",
    );
    let secret = format!("id=token,src={}", given.display());
    let build = ["build", "-q", "--network", "none", "--secret", &secret, "."];
    let mut building = machine.spawn(machine.command(&build).stdout(Stdio::null()));
    let caches = machine.dir.path().join("root/build/caches");
    let in_cache = |name: &str| {
        let caches = fs_err::read_dir(&caches).into_iter().flatten().flatten();
        caches.map(|cache| cache.path()).find(|path| path.is_dir()).map(|path| path.join(name))
    };
    machine.until("the command has seen it", || in_cache("seen").is_some_and(|path| path.exists()));
    let assert_nowhere = |when: &str| {
        let mut todo = vec![machine.dir.path().join("root"), machine.dir.path().join("state")];
        while let Some(path) = todo.pop() {
            // What goes meanwhile has nothing, and links lead elsewhere.
            let Ok(found) = path.symlink_metadata() else { continue };
            if found.is_dir() {
                let entries = fs_err::read_dir(&path).into_iter().flatten().flatten();
                todo.extend(entries.map(|entry| entry.path()));
            } else if found.is_file() {
                let bytes = fs_err::read(&path).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{when}: {}", path.display());
            }
        }
    };
    assert_nowhere("while it runs");
    building.kill().unwrap();
    building.wait().unwrap();
    assert_nowhere("after it was killed");
    fs_err::write(in_cache("done").unwrap(), "").unwrap();
    machine.ok(&build);
    machine.assert_nothing_is_left();
}

#[test]
fn a_private_cache_in_two_places_is_one_to_its_command() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let mount = "--mount=type=cache,id=c,sharing=private,target=";
    machine.dockerfile(&format!("FROM box\nRUN {mount}/a {mount}/b echo x > /a/file; cat /b/file > /seen\n"));
    machine.ok(&["build", "-q", "--network", "none", "-t", "private", "."]);
    assert_eq!(cat(&machine, "private", "/seen"), "x\n");
}

#[test]
fn mounts_go_where_links_lead_and_are_as_what_they_cover() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    fs_err::create_dir(machine.context().join("sub")).unwrap();
    fs_err::write(machine.context().join("sub/file"), "x\n").unwrap();
    machine.dockerfile(
        "FROM box AS other\nRUN mkdir -m 0751 /d && echo x > /d/x && chown -R 3:4 /d\n\
         FROM box\nRUN mkdir -m 0711 /real && ln -s /real /absolute && ln -s real /relative && ln -s /gone /dangling\n\
         RUN --mount=source=sub,target=/absolute cat /real/file > /seen\n\
         RUN --mount=type=cache,target=/relative touch /real/cached && ls /relative >> /seen\n\
         RUN --mount=source=sub,target=/dangling cat /gone/file >> /seen\n\
         RUN --mount=type=tmpfs,target=/real --mount=type=tmpfs,target=/new stat -c '%a %u' /real /new >> /seen\n\
         RUN --mount=type=cache,id=1,from=other,source=/d,target=/c stat -c '%a %u:%g' /c /c/x >> /seen\n\
         RUN --mount=type=cache,id=2,from=other,source=/d,target=/c,uid=5,mode=0700 stat -c '%a %u:%g' /c >> /seen\n\
         RUN --mount=type=cache,id=3,from=other,source=/d/x,target=/file echo kept >> /file; cat /file >> /seen\n\
         RUN --mount=type=cache,id=3,from=other,source=/d/x,target=/file stat -c '%F %a %u:%g' /file >> /seen; cat /file >> /seen\n\
         RUN --mount=type=cache,id=4,target=/c mkdir /c/in; echo y > /c/in/y\n\
         RUN --mount=type=cache,id=4,source=in,target=/c ls /c >> /seen\n\
         RUN --mount=type=tmpfs,target=/dev/shm,size=1m --mount=type=cache,target=/c --mount=type=tmpfs,target=/c \
         grep -cE ' /(dev/shm|c) ' /proc/mounts >> /seen; grep -c size=1024k /proc/mounts >> /seen; stat -c %a /dev/shm >> /seen\n",
    );
    machine.ok(&["build", "-q", "--network", "none", "-t", "covered", "."]);
    let want = "x\ncached\nx\n711 0\n1777 0\n751 3:4\n644 3:4\n700 5:4\n\
                x\nkept\nregular file 644 3:4\nx\nkept\ny\n2\n1\n1777\n";
    assert_eq!(cat(&machine, "covered", "/seen"), want);
    let left =
        machine.ok(&["run", "--rm", "--network", "none", "covered", "ls /real /gone /c 2>&1 || true"]).0;
    assert!(!left.contains("cached") && left.contains("/gone: No such"), "{left}");
    let run = ["run", "--rm", "--network", "none", "--tmpfs", "/absolute", "covered", "stat -c %a /real"];
    assert_eq!(machine.ok(&run).0, "711\n");
}

#[test]
fn devices_in_memory_that_are_asked_for_are_the_usual_ones() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    fs_err::write(machine.context().join("token"), "secret!").unwrap();
    let mount = "RUN --mount=type=tmpfs,target=/dev,size=1m --mount=type=secret,id=t";
    machine.dockerfile(&format!(
        "FROM box\n\
         {mount} test -s /run/secrets/t && echo x > /dev/null && head -c 1 /dev/zero | wc -c && test -d /dev/shm\n\
         {mount},target=/dev/token test -s /dev/token && grep -q ' /dev tmpfs .*size=1024k' /proc/mounts\n\
         {mount} --mount=type=bind,source=page,target=/dev/page test -s /dev/page && test -c /dev/full\n\
         RUN --mount=type=cache,target=/dev/shm --mount=type=secret,id=t test -s /run/secrets/t\n"
    ));
    machine.ok(&["build", "-q", "--network=none", "--secret=id=t,src=token", "-t", "web", "."]);
    assert_eq!(
        machine
            .ok(&["run", "--rm", "--network=none", "--tmpfs=/dev", "web", "echo > /dev/null; ls /dev/full"])
            .0,
        "/dev/full\n"
    );
}
