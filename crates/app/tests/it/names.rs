//! Names that are mistyped, and groups of verbs.

use crate::machine::{Machine, can_run};

#[test]
fn a_name_that_is_not_here_leads_to_one_that_is() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.ok(&["tag", "box", "team/web:1"]);
    let id = machine.inspect("box")["Id"].as_str().unwrap().to_owned();
    for (args, want) in [
        (&["inspect", "bxo"][..], "no such object: bxo\nhint: did you mean `box:latest`?"),
        (&["image", "inspect", "web"], "no such image: web\nhint: did you mean `team/web:1`?"),
        (&["tag", "box:2", "copy"], "hint: did you mean `box:latest`?"),
        (&["rmi", "team/wbe:1"], "hint: did you mean `team/web:1`?"),
        (&["save", "-o", "x.tar", "boxx"], "hint: did you mean `box:latest`?"),
        (&["history", "boxx"], "hint: did you mean `box:latest`?"),
        (&["push", "team/web:2"], "hint: did you mean `team/web:1`? Else name one so: "),
        (&["image", "hsitory", "box"], "hint: did you mean `shipway image history`?"),
        (&["tag", "box", &format!("web@{id}")], "has a digest"),
        (&["tag", "box", id.trim_start_matches("sha256:")], "looks like the id of an image"),
    ] {
        let said = machine.refused(args, 1);
        assert!(said.contains(want), "{args:?}: {said}");
    }
    let said = machine.refused(&["run", "--rm", "127.0.0.1:1/box", "true"], 125);
    assert!(said.contains("hint: did you mean `box:latest`?"), "{said}");
    for group in ["image", "container", "system", "builder"] {
        let (help, _) = machine.ok(&[group]);
        assert!(help.contains(&format!("Usage: shipway {group}")) && help.contains("\n  prune "), "{help}");
    }
}
