//! What takes space is kept within bounds.

use crate::machine::{Machine, can_run};

#[test]
fn the_build_cache_keeps_within_its_budget() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN echo one > /one\n");
    let build = ["build", "-q", "--network", "none", "-t", "one", "."];
    machine.ok(&build);
    machine.ok(&["rmi", "one"]);
    let layers = machine.count("root/layers");
    let build_with = |budget: &str, text: &str| {
        machine.dockerfile(text);
        let mut command = machine.command(&["build", "--network", "none", "-t", "two", "."]);
        let output = machine.inside(|| command.env("SHIPWAY_CACHE_BUDGET", budget).output().unwrap());
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    build_with("1g", "FROM box\nRUN echo two > /two\n");
    assert_eq!(machine.count("root/layers"), layers + 1, "the first one's step is still there");
    build_with("1", "FROM box\nRUN echo three > /three\n");
    // The second image lost its name, and keeps its layer; nothing needed that of the first.
    assert_eq!(machine.count("root/layers"), layers + 1);
    machine.dockerfile("FROM box\nRUN echo one > /one\n");
    let (_, said) = machine.ok(&["build", "--network", "none", "-t", "one", "."]);
    assert!(said.contains("1 of 2 steps from the cache"), "{said}");
    let said = build_with("a lot", "FROM box\nRUN echo four > /four\n");
    assert!(said.contains("`a lot` in SHIPWAY_CACHE_BUDGET is no size"), "{said}");
}

#[test]
fn cache_mounts_are_counted_and_go() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let build = |budget: &str, id: &str| {
        let run = format!("FROM box\nRUN --mount=type=cache,id={id},target=/c echo {budget}{id} > /c/file\n");
        machine.dockerfile(&run);
        let mut command = machine.command(&["build", "-q", "--network", "none", "-t", "two", "."]);
        let output = machine.inside(|| command.env("SHIPWAY_CACHE_BUDGET", budget).output().unwrap());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let mounts = || {
        let (table, _) = machine.ok(&["system", "df", "--format", "{{.Type}}: {{.TotalCount}}"]);
        let line = table.lines().find(|line| line.starts_with("Cache Mounts")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    build("0", "old");
    build("0", "new");
    assert_eq!(mounts(), 2);
    let (listed, _) = machine.ok(&["builder", "prune", "-f"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert_eq!(mounts(), 0);

    // Over the budget, those go that no build has used for long.
    build("0", "old");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(3 * 24 * 60 * 60);
    for entry in fs_err::read_dir(machine.dir.path().join("root/build/caches")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
    }
    build("1", "new");
    assert_eq!(mounts(), 1);
    assert!(machine.ok(&["builder", "prune", "-f", "--verbose"]).0.contains("cached mount with id \"new\""));
}

#[test]
fn images_that_lost_their_names_long_ago_go_unless_something_uses_them() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let build = |text: &str| {
        machine.dockerfile(&format!("FROM box\nRUN echo {text} > /file\n"));
        let mut command = machine.command(&["build", "-q", "--network", "none", "-t", "web", "."]);
        let output = machine.inside(|| command.env("SHIPWAY_CACHE_BUDGET", "1").output().unwrap());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let is_there = |id: &str| machine.shipway(&["inspect", id]).status.success();
    let [unused, used, lately] = ["unused", "used", "lately"].map(build);
    machine.ok(&["run", "-d", "--name", "one", "--network", "none", &used, "true"]);
    let newest = build("newest");
    assert!([&unused, &used, &lately, &newest].iter().all(|id| is_there(id)), "none is old");

    let tables = rusqlite::Connection::open(machine.dir.path().join("root/store.db")).unwrap();
    let age = "UPDATE images SET created = created - 3 * 24 * 60 * 60 WHERE image_id <> ?1";
    tables.execute(age, [&lately]).unwrap();
    drop(tables);
    machine.ok(&["tag", &newest, "other"]);
    build("last");
    assert!(!is_there(&unused), "nothing needs it");
    assert!([&used, &lately, &newest].iter().all(|id| is_there(id)), "a container, its age, a name");
}
