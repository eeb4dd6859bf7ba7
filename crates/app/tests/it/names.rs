//! Names that are mistyped, and groups of verbs.

use shipway_testkit::registry::{Reply, TestRegistry};

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
        (&["tag", "box", &id], "looks like the id of an image"),
        (&["tag", "box", &id[..20]], "looks like the id of an image"),
        (&["import", "-", &id], "looks like the id of an image"),
        (&["build", "-t", &id, "."], "looks like the id of an image"),
        (&["pull", &id[..20]], "looks like the id of an image"),
    ] {
        let said = machine.refused(args, 1);
        assert!(said.contains(want), "{args:?}: {said}");
    }
    // An archive gives no such name, either.
    let archive = machine.dir.path().join("saved.tar");
    machine.ok(&["save", "-o", archive.to_str().unwrap(), "box"]);
    let saved = machine.dir.path().join("saved");
    fs_err::create_dir(&saved).unwrap();
    tar::Archive::new(fs_err::File::open(&archive).unwrap()).unpack(&saved).unwrap();
    fs_err::remove_file(saved.join("index.json")).unwrap();
    let manifest = fs_err::read_to_string(saved.join("manifest.json")).unwrap();
    fs_err::write(saved.join("manifest.json"), manifest.replace("box:latest", &id)).unwrap();
    let said = machine.refused(&["load", "-i", saved.to_str().unwrap()], 1);
    assert!(said.contains("looks like the id of an image"), "{said}");
    let said = machine.refused(&["run", "--rm", "127.0.0.1:1/box", "true"], 125);
    assert!(said.contains("hint: did you mean `box:latest`?"), "{said}");
    // Whoever is told to wait has mistyped nothing.
    let busy = || TestRegistry::with_fault(|_, _| Some(Reply::new(429, "").header("Retry-After", "3600")));
    let busy = machine.inside(busy).name("box");
    let said = machine.refused(&["run", "--rm", &busy, "true"], 125);
    assert!(said.contains("limits requests") && !said.contains("did you mean"), "{said}");
    for group in ["image", "container", "system", "builder"] {
        let (help, _) = machine.ok(&[group]);
        assert!(help.contains(&format!("Usage: shipway {group}")) && help.contains("\n  prune "), "{help}");
    }
}
