//! The build cache, as it is listed and made smaller.

use serde_json::Value;

use crate::machine::{Machine, can_run};

/// Returns the documents of `builder du`.
fn listed(machine: &Machine, filters: &[&str]) -> Vec<Value> {
    let mut args = vec!["builder", "du", "--format", "json"];
    filters.iter().for_each(|filter| args.extend(["--filter", filter]));
    machine.ok(&args).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn build(machine: &Machine, text: &str) {
    machine.dockerfile(text);
    machine.ok(&["build", "-q", "-t", "web", "--network", "none", "."]);
}

/// A machine whose cache has a step that is in no image, steps that are in one, and a cache mount.
fn with_cache() -> Machine {
    let machine = Machine::with_box();
    build(&machine, "FROM box\nRUN head -c 300000 /dev/urandom > /lost\n");
    build(
        &machine,
        "FROM box\nRUN --mount=type=cache,id=pip,target=/c head -c 500000 /dev/urandom > /c/file; echo kept > /kept\n",
    );
    machine.ok(&["image", "prune", "-f"]);
    machine
}

#[test]
fn what_the_build_cache_holds_is_listed_as_buildx_does() {
    if !can_run() {
        return;
    }
    let machine = with_cache();
    let all = listed(&machine, &[]);
    let find =
        |text: &str| all.iter().find(|one| one["Description"].as_str().unwrap().contains(text)).unwrap();
    let (lost, kept, mount) = (find("/lost"), find("echo kept"), find("id \"pip\""));
    assert!(lost["Description"].as_str().unwrap().starts_with("RUN head -c 300000"), "{lost}");
    assert_eq!((&lost["Shared"], &kept["Shared"]), (&false.into(), &true.into()));
    assert_eq!((&mount["Type"], &mount["Mutable"]), (&"exec.cachemount".into(), &true.into()));
    assert!(
        all.iter()
            .all(|one| one["Reclaimable"] == true && one["LastUsedAt"].as_str().unwrap().ends_with(" ago"))
    );
    assert_eq!(listed(&machine, &["type=exec.cachemount"]).len(), 1);
    assert_eq!(listed(&machine, &["private", "immutable"]).len(), 1);
    assert_eq!(listed(&machine, &["until=1h"]).len(), 0);

    let (table, _) = machine.ok(&["buildx", "du"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0].split("  ").filter(|head| !head.is_empty()).map(str::trim).collect::<Vec<_>>(),
        ["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"]
    );
    let shown = format!("{}* ", mount["ID"].as_str().unwrap());
    assert!(lines[1].contains("MB* ") && lines[2].starts_with(&shown), "the largest first: {table}");
    let heads: Vec<&str> =
        lines[lines.len() - 4..].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(heads, ["Shared:", "Private:", "Reclaimable:", "Total:"]);
    let (blocks, _) = machine.ok(&["builder", "du", "--verbose", "--filter", "type=exec.cachemount"]);
    assert!(blocks.contains("Type:          exec.cachemount\n") && !blocks.contains("Total:"), "{blocks}");
    assert!(machine.refused(&["builder", "du", "--filter", "x=y"], 1).contains("there is no filter `x`"));
    assert!(machine.refused(&["builder", "create"], 1).contains("`shipway builder create` is not there yet"));
}

#[test]
fn the_build_cache_is_made_smaller_as_it_was_asked_for() {
    if !can_run() {
        return;
    }
    let machine = with_cache();
    let count = || listed(&machine, &[]).len();
    let before = count();
    // Nobody answers.
    assert!(
        machine
            .refused(&["builder", "prune"], 1)
            .contains("WARNING! This will remove all dangling build cache.")
    );
    for nothing in [["--filter", "until=1h"], ["--max-used-space", "1g"], ["--min-free-space", "1"]] {
        let (said, _) = machine.ok(&[&["builder", "prune", "-f"], &nothing[..]].concat());
        assert_eq!((said.as_str(), count()), ("Total:    0B\n", before), "{nothing:?}");
    }
    assert!(
        machine
            .refused(&["builder", "prune", "-f", "--keep-storage", "much"], 125)
            .contains("`much` is no size")
    );

    // What was used longest ago goes, and that is enough.
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(3 * 24 * 60 * 60);
    for entry in fs_err::read_dir(machine.dir.path().join("root/build/caches")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
    }
    assert_eq!(listed(&machine, &["until=24h"]).len(), 1);
    let layers = machine.count("root/layers");
    let (said, _) = machine.ok(&["builder", "prune", "-f", "--keep-storage", "600k"]);
    assert!(said.lines().count() == 3 && said.contains("* ") && said.contains(" years ago"), "{said}");
    assert_eq!((count(), machine.count("root/build/caches")), (before - 1, 0));
    let (said, _) = machine.ok(&["builder", "prune", "-f"]);
    assert_eq!((said.lines().count(), machine.count("root/layers")), (3, layers - 1), "{said}");
    let (_, again) = machine.ok(&["build", "--network", "none", "."]);
    assert!(again.contains("2 of 2 steps from the cache"), "what an image has stays: {again}");

    // And then nothing does, but what images have is on the disk all the same.
    let (said, _) = machine.ok(&["builder", "prune", "-af"]);
    assert!(said.ends_with("Total:    0B\n"), "{said}");
    assert_eq!((count(), machine.count("root/layers")), (0, layers - 1));
    let (_, again) = machine.ok(&["build", "--network", "none", "."]);
    assert!(again.contains("1 of 2 steps from the cache"), "{again}");
}

#[test]
fn what_the_own_registry_has_is_not_called_freed() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    build(&machine, "FROM box\nRUN head -c 300000 /dev/urandom > /pushed\n");
    let served = machine.serve(&["registry", "serve", "--listen", "127.0.0.1:0"]);
    let name = format!("{}/web", served.address());
    machine.ok(&["tag", "web", &name]);
    machine.ok(&["push", &name]);
    machine.ok(&["rmi", "web", &name]);
    let layers = machine.count("root/layers");
    assert!(listed(&machine, &["private"]).is_empty());
    assert_eq!(machine.ok(&["builder", "prune", "-af"]).0.lines().last(), Some("Total:    0B"));
    assert_eq!(machine.count("root/layers"), layers);
}

#[test]
fn a_cache_mount_goes_to_another_machine() {
    if !can_run() {
        return;
    }
    let [one, other] = [Machine::with_box(), Machine::with_box()];
    let build = |machine: &Machine, run: &str| {
        machine.dockerfile(&format!(
            "FROM box\nRUN --mount=type=cache,target=/c,uid=33,mode=0750 {run} && stat -c '%u %a' /c > /said\n"
        ));
        machine.ok(&["build", "-q", "--network", "none", "-t", "made", "."]);
        machine.ok(&["run", "--rm", "--network", "none", "made", "cat /said"]).0
    };
    build(
        &one,
        "mkdir -p /c/deep && echo kept > /c/deep/file && touch /c/.wh.odd && ln -s deep /c/link && chown 7 /c/deep/file",
    );
    let archive = one.dir.path().join("c.tar");
    let path = archive.to_str().unwrap();
    let (_, said) = one.ok(&["builder", "export", "/c", "-o", path]);
    assert_eq!(said, "to fill it elsewhere: `shipway builder import '/c of 33:0 750'`\n");
    other.ok(&["builder", "import", "/c of 33:0 750", "-i", path]);
    let said = build(
        &other,
        "test $(cat /c/link/file) = kept && test -f /c/.wh.odd && test $(stat -c %u /c/deep/file) = 7",
    );
    assert_eq!(said, "33 750\n");
    // By the ID that `du` shows, too.
    let (shown, _) = other.ok(&["builder", "du", "--filter", "type=exec.cachemount", "--format", "{{.ID}}"]);
    let (_, said) = other.ok(&["builder", "import", shown.trim(), "-i", path]);
    assert_eq!(said, "filled the cache mount `/c of 33:0 750`\n");
    other.ok(&["builder", "export", shown.trim(), "-o", other.dir.path().join("again").to_str().unwrap()]);
    // What is no archive changes nothing.
    fs_err::write(one.dir.path().join("empty"), "").unwrap();
    let empty = one.dir.path().join("empty").display().to_string();
    let errors = other.refused(&["builder", "import", "/c", "-i", &empty], 1);
    assert!(errors.contains("the archive is empty"), "{errors}");
    assert!(other.refused(&["builder", "import", "", "-i", path], 1).contains("has an id"));
    fs_err::write(&archive, "no archive").unwrap();
    other.refused(&["builder", "import", "/c", "-i", path], 1);
    build(&other, "test -e /c/deep/file");
    let errors = one.refused(&["builder", "export", "/nothing", "-o", path], 1);
    assert!(errors.contains("there is no cache mount `/nothing`") && errors.contains("hint: "), "{errors}");
    assert_eq!(fs_err::read_to_string(&archive).unwrap(), "no archive");
}
