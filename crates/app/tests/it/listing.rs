//! What there is, as it is listed and as scripts ask for it.

use crate::machine::{Machine, can_run};

fn labelled() -> Machine {
    let machine = Machine::new();
    machine.dockerfile("FROM scratch\nLABEL team=web\nCOPY page /page\nCMD [\"/page\", \"two words\"]\n");
    machine.ok(&["build", "-q", "-t", "team/web:1", "-t", "web", "."]);
    machine.dockerfile("FROM scratch\nCOPY page /other\n");
    machine.ok(&["build", "-q", "-t", "web", "."]);
    machine
}

#[test]
fn images_are_listed_by_filter_and_template() {
    if !can_run() {
        return;
    }
    let machine = labelled();
    let listed = |args: &[&str]| {
        let args = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], args].concat();
        let mut lines: Vec<String> = machine.ok(&args).0.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (args, want) in [
        (&[][..], vec!["team/web:1", "web:latest"]),
        (&["web"], vec!["web:latest"]),
        (&["*/w?b"], vec!["team/web:1"]),
        (&["-f", "label=team=web"], vec!["team/web:1"]),
        (&["-f", "label=other"], vec![]),
        (&["-f", "dangling=true"], vec![]),
        (&["-a", "-f", "reference=web", "-f", "reference=team/*"], vec!["team/web:1", "web:latest"]),
    ] {
        assert_eq!(listed(args), want, "{args:?}");
    }
    machine.dockerfile("FROM scratch\nCOPY page /third\n");
    machine.ok(&["build", "-q", "-t", "web", "."]);
    let (dangling, _) = machine.ok(&["image", "ls", "-f", "dangling=true"]);
    assert!(
        dangling.lines().nth(1).is_some_and(|line| line.starts_with("<none>       <none>    ")),
        "{dangling}"
    );
    let (table, _) = machine.ok(&["images", "--digests", "web"]);
    assert!(table.starts_with("REPOSITORY   TAG       DIGEST    IMAGE ID "), "{table}");
    assert!(table.contains("web          latest    <none>    "), "no registry knows it: {table}");
    assert_eq!(machine.inspect("web")["RepoDigests"], serde_json::json!([]));
    let (json, _) = machine.ok(&["images", "--format", "json", "web"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["Repository"].as_str(), json["Tag"].as_str()), (Some("web"), Some("latest")));
    let refused = machine.refused(&["images", "--format", "{{.Nmae}}"], 1);
    assert!(refused.contains("asks for `.Nmae`") && refused.contains("hint: "), "{refused}");
}

#[test]
fn a_history_and_a_list_have_the_form_that_is_wanted() {
    if !can_run() {
        return;
    }
    let machine = labelled();
    let history = |args: &[&str]| machine.ok(&[&["history"], args, &["team/web:1"]].concat()).0;
    assert_eq!(
        history(&["--format", "{{.Size}} {{.CreatedBy}}"]).lines().next(),
        Some("0B CMD [\"/page\" \"two words\"]")
    );
    let exact = history(&["-H=false"]);
    assert!(exact.starts_with("IMAGE ") && exact.contains(" CREATED AT ") && exact.contains("Z "), "{exact}");
    let json: serde_json::Value =
        serde_json::from_str(history(&["--format", "json"]).lines().last().unwrap()).unwrap();
    assert!(
        json["CreatedAt"].as_str().is_some_and(|at| at.ends_with('Z')) && json["Comment"].is_string(),
        "{json}"
    );
    let platform = ["--platform", "linux/mips64le"];
    let refused = machine.refused(&[&["history"], &platform[..], &["web"]].concat(), 1);
    assert!(
        refused.contains("not for linux/mips64le\nhint: ") && refused.contains("shipway pull --platform"),
        "{refused}"
    );

    assert_eq!(machine.ok(&["images", "-q", "-f", "until=1h"]).0, "");
    assert_eq!(machine.ok(&["images", "-q", "-f", "until=2100-01-01"]).0.lines().count(), 2);
    assert!(
        machine
            .ok(&["images", "--format", "raw", "web"])
            .0
            .starts_with("repository: web\ntag: latest\nimage_id: ")
    );
    let said = machine.ok(&["images", "ls"]).1;
    assert!(said.contains("did you mean `shipway image ls`?"), "{said}");
    let config = machine.dir.path().join("docker");
    fs_err::create_dir(&config).unwrap();
    fs_err::write(config.join("config.json"), "{\"imagesFormat\": \"{{.Repository}}!\"}").unwrap();
    let listed = |args: &[&str]| {
        let done = machine.command(args).env("DOCKER_CONFIG", &config).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert_eq!(listed(&["images", "web"]), "web!\n");
    assert_eq!(listed(&["images", "--format", "{{.Tag}}", "web"]), "latest\n");
    assert_eq!(listed(&["images", "-q", "web"]).trim().len(), 12);
    fs_err::write(config.join("config.json"), "{\"pruneFilters\": [\"label=nobody-has-it\"]}").unwrap();
    assert_eq!(listed(&["image", "prune", "-af"]), "Total reclaimed space: 0B\n");
    assert_eq!(machine.ok(&["images", "-aq"]).0.lines().count(), 2);
}

#[test]
fn an_image_is_looked_into_by_template() {
    if !can_run() {
        return;
    }
    let machine = labelled();
    let format = "{{index .Config.Labels \"team\"}} {{join .Config.Cmd \"|\"}} {{len .RootFS.Layers}} {{.GraphDriver.Name}}";
    let (shown, _) = machine.ok(&["inspect", "-f", format, "team/web:1"]);
    assert_eq!(shown, "web /page|two words 1 overlay2\n");
    let (document, _) = machine.ok(&["image", "inspect", "team/web:1"]);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document[0]["RepoTags"], serde_json::json!(["team/web:1"]));
    let top = document[0]["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(std::path::Path::new(top).join("page").exists(), "{top}");
    let unset = "{{.Config.User}}|{{.Config.Volumes}}|{{.Config.Entrypoint}}|{{.Config.Healthcheck}}|{{.Config.Labels}}";
    assert_eq!(machine.ok(&["inspect", "-f", unset, "web"]).0, "|map[]|[]|<nil>|map[]\n");
    let id = document[0]["Id"].as_str().unwrap();
    let labels = "{{range $k, $v := .Config.Labels}}{{printf \"%s=%q\" $k $v}}{{end}} {{.ID}}";
    assert_eq!(machine.ok(&["inspect", "-f", labels, "team/web:1"]).0, format!("team=\"web\" {id}\n"));
    assert_eq!(machine.ok(&["inspect", "-f", "", "team/web:1"]).0, machine.ok(&["inspect", "team/web:1"]).0);
    let refused = machine.refused(&["inspect", "-f", "{{.Id", "web"], 64);
    assert!(refused.contains("a mistake at 1:1: `{{` without `}}`"), "{refused}");
    let host =
        format!("{}/{}", document[0]["Os"].as_str().unwrap(), document[0]["Architecture"].as_str().unwrap());
    let of =
        |platform: &str| machine.shipway(&["inspect", "--platform", platform, "-f", "{{.ID}}", "team/web:1"]);
    assert_eq!(of(&host).stdout, format!("{id}\n").as_bytes());
    assert_eq!((of("linux/mips64le").status.code(), of("linux/mips64le").stdout), (Some(1), b"\n".to_vec()));
    let half = machine.shipway(&["inspect", "-f", "{{slice .Id 0 7}}", "web", "nope"]);
    assert_eq!((half.status.code(), half.stdout.as_slice()), (Some(1), &b"sha256:\n"[..]));
    let refused = machine.refused(&["container", "inspect", "web"], 1);
    assert!(refused.contains("no such container: web"), "{refused}");
}

#[test]
fn the_machine_and_the_disk_are_looked_at_without_changing_them() {
    if !can_run() {
        return;
    }
    let machine = labelled();
    let (info, _) = machine.ok(&[
        "info",
        "--format",
        "{{.Images}} {{.Cluster}} {{.Overlay}} {{len .Warnings}} {{.Network}}",
    ]);
    assert_eq!(info, "2 stopped true 0 <no value>\n");
    machine.refused(&["info", "--format", "{{"], 64);
    let (version, _) = machine.ok(&["version", "--format", "{{.Client.Version}} {{.Server.Os}}"]);
    assert!(version.ends_with(" linux\n"), "{version}");
    machine.refused(&["version", "--format", "{{"], 64);
    let (df, _) = machine.ok(&["system", "df"]);
    assert!(
        df.starts_with(
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\nImages          2         0 "
        ),
        "{df}"
    );
    let refused = machine.refused(&["system", "events"], 1);
    assert!(refused.contains("`shipway system events` is not there yet"), "{refused}");
}

#[test]
fn an_image_that_says_much_is_listed_and_one_that_cannot_be_read_hides_no_other() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let labels = |count: usize| {
        let label = |number| format!("LABEL l{number}={}\n", "x".repeat(60_000));
        machine.dockerfile(&format!("FROM box\n{}", (0..count).map(label).collect::<String>()));
    };
    labels(150);
    let said = machine.refused(&["build", "--network", "none", "-t", "huge", "."], 1);
    assert!(said.contains("the image's config has ") && said.contains("hint: give it fewer"), "{said}");
    labels(45);
    machine.ok(&["build", "-q", "--network", "none", "-t", "large", "."]);
    machine.ok(&["save", "-o", "large.tar", "large"]);
    machine.ok(&["load", "-i", "large.tar"]);
    assert_eq!(machine.ok(&["images", "--format", "{{.Repository}}"]).0, "large\nbox\n");
    machine.ok(&["system", "fsck"]);

    let id = machine.inspect("large")["Id"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    fs_err::write(machine.dir.path().join("root/blobs/sha256").join(id), "x").unwrap();
    let (listed, said) = machine.ok(&["images", "--format", "{{.Repository}}"]);
    assert_eq!(listed, "box\n");
    assert!(said.contains("warning: image large:latest is left out: ") && said.contains("fsck"), "{said}");
    machine.ok(&["builder", "du"]);
    machine.ok(&["system", "df", "-v"]);
    assert!(machine.refused(&["system", "fsck"], 1).contains("the store is damaged"));
}

#[test]
fn what_nobody_uses_is_pruned_and_nothing_else() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.ok(&["tag", "box", "other"]);
    machine.ok(&["run", "--name", "ended", "--network", "none", "box", "echo x > /file"]);
    let running = machine.background(&["--network", "none"], "exec sleep 600");
    machine.dockerfile("FROM box\nRUN echo one > /one\n");
    machine.ok(&["build", "-t", "web", "--network", "none", "."]);
    let first = machine.inspect("web")["Id"].as_str().unwrap().to_owned();
    machine.dockerfile("FROM box\nRUN echo two > /two\n");
    machine.ok(&["build", "-t", "web", "--network", "none", "."]);

    // Nobody answers: nothing goes.
    let said = machine.refused(&["system", "prune"], 1);
    assert!(said.contains("WARNING! This will remove:\n  - all containers that have stopped\n"), "{said}");
    assert!(said.contains("hint: answer `y`, or use -f"), "{said}");
    assert_eq!(machine.ok(&["images", "-q", "-f", "dangling=true"]).0.lines().count(), 1);

    let (pruned, _) = machine.ok(&["image", "prune", "-f"]);
    assert!(
        pruned.starts_with(&format!("Deleted Images:\ndeleted: {first}\n\nTotal reclaimed space: ")),
        "{pruned}"
    );
    assert!(machine.ok(&["ps", "-a"]).0.contains("ended"), "a container is no image");
    // The step of the image that went is in none: what is in one stays cached.
    let (pruned, _) = machine.ok(&["builder", "prune", "-f"]);
    assert!(pruned.starts_with("ID ") && pruned.lines().count() == 3, "{pruned}");
    let (_, again) = machine.ok(&["build", "-t", "web", "--network", "none", "."]);
    assert!(again.contains("2 of 2 steps from the cache"), "{again}");
    let (pruned, _) = machine.ok(&["container", "prune", "-f"]);
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    assert_eq!(machine.ok(&["ps", "-aq", "--no-trunc"]).0.trim(), running);

    // An image that runs stays, whatever its name.
    let (pruned, _) = machine.ok(&["system", "prune", "-af"]);
    assert!(
        pruned.contains("untagged: web:latest\n") && !pruned.contains("untagged: box:latest\n"),
        "{pruned}"
    );
    assert_eq!(machine.ok(&["images", "-q"]).0.lines().count(), 2, "box and other");
    assert_eq!(machine.ok(&["exec", &running, "echo", "runs"]).0, "runs\n");
    machine.ok(&["rm", "-f", &running]);
    machine.ok(&["system", "prune", "-af"]);
    assert_eq!(machine.ok(&["images", "-aq"]).0, "");
    for place in ["root/layers", "root/blobs/sha256"] {
        assert_eq!(machine.count(place), 0, "{place}");
    }
    machine.assert_nothing_is_left();
}

#[test]
fn what_several_images_had_together_goes_and_is_told_once() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nLABEL a=b\n");
    machine.ok(&["build", "-q", "-t", "above", "."]);
    // What the cache has stays.
    machine.ok(&["builder", "prune", "-af"]);
    let ids = ["box", "above"].map(|name| machine.inspect(name)["Id"].as_str().unwrap().to_owned());
    let layers = machine.inspect("box")["RootFS"]["Layers"].as_array().unwrap().clone();
    let (told, _) = machine.ok(&["rmi", "box", "above"]);
    let lines: Vec<&str> = told.lines().collect();
    let [of_box, above] = ids.each_ref().map(|id| format!("Deleted: {id}"));
    assert_eq!(lines[..2], ["Untagged: box:latest", &of_box]);
    // The lowest one's chain is itself.
    assert_eq!(lines[1 + layers.len()], format!("Deleted: {}", layers[0].as_str().unwrap()));
    assert_eq!(lines[2 + layers.len()..], ["Untagged: above:latest", &above]);
    assert_eq!(machine.count("root/layers"), 0);
}

#[test]
fn filters_say_what_is_pruned() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nLABEL keep=yes\nRUN echo one > /one\n");
    machine.ok(&["build", "-q", "-t", "kept", "--network", "none", "."]);
    for (name, label) in [("one", "team=a"), ("two", "team=b")] {
        machine.ok(&["run", "--name", name, "-l", label, "--network", "none", "box", "true"]);
    }
    machine.ok(&["container", "prune", "-f", "--filter", "until=24h"]);
    machine.ok(&["system", "prune", "-af", "--filter", "until=24h"]);
    assert_eq!(machine.ok(&["ps", "-aq"]).0.lines().count(), 2, "all of it is new");
    assert_eq!(machine.ok(&["images", "-q"]).0.lines().count(), 2);
    let (_, again) = machine.ok(&["build", "-t", "kept", "--network", "none", "."]);
    assert!(again.contains("2 of 2 steps from the cache"), "{again}");

    machine.ok(&["container", "prune", "-f", "--filter", "label=team=a"]);
    assert_eq!(machine.refused(&["inspect", "one"], 1).lines().count(), 2);
    machine.ok(&["inspect", "two"]);
    machine.ok(&["image", "prune", "-af", "--filter", "label!=keep", "--filter", "until=2099-01-01"]);
    machine.ok(&["inspect", "kept"]);
    let said = machine.refused(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"], 1);
    assert!(said.contains("is not for volumes"), "{said}");
    let said = machine.refused(&["system", "prune", "-f", "--filter", "dangling=true"], 1);
    assert!(said.contains("there is no filter `dangling`"), "{said}");
}

#[test]
fn no_other_name_and_no_image_that_runs_is_removed() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nLABEL a=b\n");
    machine.ok(&["build", "-q", "-t", "aa:1", "-t", "zz:1", "."]);
    let id = machine.inspect("aa:1")["Id"].as_str().unwrap().to_owned();
    let said = machine.refused(&["rmi", &format!("other@{id}")], 1);
    assert!(said.contains("has no name in `other`"), "{said}");
    assert_eq!(machine.ok(&["rmi", &format!("zz@{id}")]).0, "Untagged: zz:1\n");
    let container = machine.background(&["--network", "none", "--name", "busy"], "sleep 600");
    machine.ok(&["tag", "box", "kept"]);
    machine.ok(&["rmi", "kept"]);
    let said = machine.refused(&["rmi", "-f", "box"], 1);
    assert!(
        said.contains("used by the running container busy") && said.contains("shipway stop busy"),
        "{said}"
    );
    machine.ok(&["rm", "-f", &container]);
    assert!(machine.ok(&["rmi", "-f", "box"]).0.starts_with("Untagged: box:latest\n"));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_unless_nobody_reads_it() {
    if !can_run() {
        return;
    }
    let machine = labelled();
    for args in [&["inspect", "web"][..], &["images"], &["images", "-q"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = machine.command(args);
        command.stdout(full);
        let done = machine.inside(|| command.output().unwrap());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.code() == Some(1) && said.contains("could not write the output"),
            "{args:?}: {said}"
        );
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = machine.command(args);
        command.stdout(writer);
        let done = machine.inside(|| command.output().unwrap());
        assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn containers_are_listed_by_filter_and_template() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nLABEL a=b\n");
    machine.ok(&["build", "-q", "-t", "above", "."]);
    let run = ["run", "--network", "none", "--name"];
    assert_eq!(machine.shipway(&[&run[..], &["one", "box", "exit 3"]].concat()).status.code(), Some(3));
    machine.ok(&[&run[..], &["two", "-l", "team=web", "-l", "x=a,b", "above", "true"]].concat());
    let id = machine.background(&["--network", "none", "--name", "three"], "exec sleep 600");
    let names = |args: &[&str]| {
        let all = machine.ok(&[&["ps", "--format", "{{.Names}}"], args].concat()).0;
        all.lines().collect::<Vec<_>>().join(" ")
    };
    for (args, want) in [
        (&[][..], "three"),
        (&["-a"], "three two one"),
        (&["-n", "2"], "three two"),
        (&["-l"], "three"),
        (&["-f", "status=exited"], "two one"),
        (&["-f", "exited=3"], "one"),
        (&["-a", "-f", "name=^t"], "three two"),
        (&["-a", "-f", "label=team=web"], "two"),
        (&["-a", "-f", "label=team", "-f", "label=no"], ""),
        (&["-a", "-f", "ancestor=above"], "two"),
        (&["-a", "-f", "ancestor=box", "-f", "before=three"], "two one"),
        (&["-a", "-f", "since=one", "-f", "network=none"], "three two"),
        (&["-a", "-f", &format!("id={}", &id[..8])], "three"),
    ] {
        assert_eq!(names(args), want, "{args:?}");
    }
    let shown = |format: &str| machine.ok(&["ps", "-a", "-f", "name=two", "--format", format]).0;
    assert_eq!(
        shown("{{.Label \"x\"}}|{{.Label \"no\"}}|{{.State}}|{{.Labels}}"),
        "a,b||exited|a=b,team=web,x=a,b\n"
    );
    let (sizes, _) = machine.ok(&["inspect", "-s", "-f", "{{.SizeRw}} {{lt .SizeRw .SizeRootFs}}", "two"]);
    assert_eq!(sizes, "0 true\n");
    assert!(shown("table {{.ID}}\t{{.Size}}").starts_with("CONTAINER ID   SIZE\n"));
    let json: serde_json::Value = serde_json::from_str(&shown("json")).unwrap();
    assert!(json["Command"] == "\"/bin/sh -c true\"" && json.get("Label").is_none(), "{json}");
    for (args, want) in [
        (["-f", "status=gone"], "there is no such state"),
        (["-f", "colour=red"], "there is no filter `colour`"),
        (["--format", "{{.Nmaes}}"], "did you mean `.Names`?"),
    ] {
        let said = machine.refused(&[&["ps", "-a"], &args[..]].concat(), 1);
        assert!(said.contains(want), "{args:?}: {said}");
    }
    machine.ok(&["rm", "-f", "one", "two", "three"]);
    machine.assert_nothing_is_left();
}

#[test]
fn a_store_that_cannot_be_written_is_looked_at_all_the_same() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let root = machine.dir.path().join("root");
    let reading = |before: &str, args: &[&str]| {
        let command = machine.command(args);
        let mount =
            "mount --bind \"$SHIPWAY_ROOT\" \"$SHIPWAY_ROOT\" && mount -o remount,bind,ro \"$SHIPWAY_ROOT\"";
        let mut shell = std::process::Command::new("unshare");
        shell.args(["-m", "sh", "-ec", &format!("{before}; {mount}; exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).current_dir(machine.context());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = machine.inside(|| shell.output().unwrap());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let verbs: [&[&str]; 7] = [
        &["images", "--no-trunc"],
        &["images", "--tree"],
        &["history", "--no-trunc", "box"],
        &["inspect", "box"],
        &["save", "box"],
        &["system", "df"],
        &["ps", "-a"],
    ];
    for before in ["true", "rm -f $SHIPWAY_ROOT/lease.lock"] {
        for args in verbs {
            let (code, printed, said) = reading(before, args);
            assert_eq!(code, Some(0), "{before}: {args:?}: {said}");
            assert_eq!(printed, machine.ok(args).0, "{before}: {args:?}");
        }
    }
    // A layer that does not tell its digest by its files.
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["z", "a"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, std::io::empty()).unwrap();
    }
    fs_err::write(machine.context().join("root.tar"), archive.into_inner().unwrap()).unwrap();
    machine.ok(&["import", "root.tar", "foreign"]);
    let (code, printed, said) = reading("true", &["system", "fsck"]);
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("nothing can be written here: 1\n"), "{said}");
    let (code, _, said) = reading("true", &["tag", "box", "other"]);
    assert!(code == Some(1) && said.contains("hint: see that the path is writable"), "{said}");
    // What is in a log alone cannot be read without its index.
    fs_err::remove_file(root.join("store.db-shm")).unwrap();
    let (code, _, said) = reading("true", &["images"]);
    assert!(code == Some(1) && said.contains("cannot be written, and its database has a log"), "{said}");
    machine.ok(&["images"]);
    machine.assert_nothing_is_left();
}
