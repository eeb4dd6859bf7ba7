//! How layers are kept: as trees, or as archives that the kernel mounts.

use std::process::Output;

use shipway_testkit::{Need, require};

use crate::machine::{Machine, can_run};

fn with(machine: &Machine, kept: &str, args: &[&str]) -> Output {
    machine.command(args).env("SHIPWAY_LAYERS", kept).output().unwrap()
}

fn archives(machine: &Machine) -> usize {
    let layers = fs_err::read_dir(machine.dir.path().join("root/layers")).unwrap();
    layers.filter(|layer| layer.as_ref().unwrap().path().join("index").is_file()).count()
}

#[test]
fn an_image_runs_from_archives_if_that_is_wanted() {
    if !can_run() || !require(&[Need::Indexes]) {
        return;
    }
    let machine = Machine::with_box();
    let saved = machine.dir.path().join("box.tar");
    machine.ok(&["save", "-o", saved.to_str().unwrap(), "box"]);
    machine.ok(&["rmi", "box"]);
    machine.ok(&["system", "prune", "-af"]);
    for (kept, are_archives) in [("archives", true), ("unpacked", false), ("", false)] {
        let loaded = with(&machine, kept, &["load", "-q", "-i", saved.to_str().unwrap()]);
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        assert_eq!(archives(&machine) > 0, are_archives, "{kept:?}");
        // Whoever uses it need not know.
        let run =
            ["run", "--rm", "--network", "none", "box", "echo more >> /etc/passwd && tail -n 1 /etc/passwd"];
        assert_eq!(machine.ok(&run).0, "more\n", "{kept:?}");
        assert!(machine.ok(&["system", "fsck"]).0.is_empty(), "{kept:?}");
        machine.ok(&["rmi", "box"]);
        machine.ok(&["system", "prune", "-af"]);
    }
    let refused = with(&machine, "boxes", &["images"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("layers are not kept as `boxes`") && said.contains("`archives`"), "{said}");
    machine.assert_nothing_is_left();
}
