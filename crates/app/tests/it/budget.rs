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
