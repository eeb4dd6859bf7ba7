//! `system df` tells of everything, and of what pruning frees.

use std::collections::HashMap;

use crate::machine::{Machine, can_run};

/// Size and what can be reclaimed of each row, as they are printed.
fn ledger(machine: &Machine) -> HashMap<String, (String, String)> {
    let (lines, _) = machine.ok(&["system", "df", "--format", "{{.Type}}|{{.Size}}|{{.Reclaimable}}"]);
    lines
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            (cells[0].to_owned(), (cells[1].to_owned(), cells[2].split(' ').next().unwrap().to_owned()))
        })
        .collect()
}

#[test]
fn what_df_says_can_go_is_what_goes() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nRUN echo one > /one\n");
    machine.ok(&["build", "-t", "web", "--network", "none", "."]);
    let served = machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
    let name = format!("{}/web", served.address());
    machine.ok(&["tag", "web", &name]);
    machine.ok(&["rmi", "web", "box"]);
    machine.ok(&["push", &name]);

    // A repository has all of it: nothing goes, whatever is pruned.
    let of = |ledger: &HashMap<String, (String, String)>, kind: &str| ledger[kind].clone();
    let before = ledger(&machine);
    assert_eq!(of(&before, "Images").1, "0B", "{before:?}");
    assert_eq!(of(&before, "Leftovers").0, "0B", "{before:?}");
    machine.ok(&["rmi", &name]);
    machine.ok(&["system", "prune", "-af"]);
    let after = ledger(&machine);
    assert_eq!(of(&after, "Images").0, "0B");
    assert_eq!(of(&after, "Registry"), (of(&before, "Images").0, "0B".to_owned()), "{after:?}");
}

#[test]
fn what_was_interrupted_is_told_and_goes() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    fs_err::write(machine.dir.path().join("root/tmp/ingest-of-nobody"), vec![0; 5_000_000]).unwrap();
    assert_eq!(ledger(&machine)["Leftovers"], ("5MB".to_owned(), "5MB".to_owned()));
    let (pruned, _) = machine.ok(&["system", "prune", "-f"]);
    assert!(pruned.ends_with("Total reclaimed space: 5MB\n"), "{pruned}");
    assert_eq!(ledger(&machine)["Leftovers"].0, "0B");

    let container = machine.background(&["--network", "none", "--name", "busy"], "sleep 600");
    let (listed, _) = machine.ok(&["system", "df", "-v"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "Images space usage:");
    assert!(
        lines[2].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED") && lines[3].ends_with(" 1"),
        "{listed}"
    );
    assert!(listed.contains("Containers space usage:") && listed.contains(" busy\n"), "{listed}");
    let (json, _) = machine.ok(&["system", "df", "-v", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["Images"][0]["UniqueSize"], document["Images"][0]["Size"]);
    assert_eq!(document["Containers"][0]["Names"], "busy");
    machine.ok(&["rm", "-f", &container]);
}
