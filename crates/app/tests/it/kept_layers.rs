//! How layers are kept: as trees, or as archives that the kernel mounts.

use std::fmt::Write as _;
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

/// Runs a command that may have 64 open files, unless it asks for more.
fn with_few_files(machine: &Machine, args: &[&str]) -> Output {
    machine.in_shell("ulimit -Sn 64", args)
}

#[test]
fn a_chain_may_be_longer_than_the_files_that_a_shell_lets_open() {
    if !can_run() || !require(&[Need::Indexes]) {
        return;
    }
    let machine = Machine::with_box();
    fs_err::create_dir(machine.context().join("many")).unwrap();
    for number in 0..200 {
        fs_err::write(machine.context().join(format!("many/{number}")), "x").unwrap();
    }
    let mut text = "FROM box\n".to_owned();
    for layer in 0..70 {
        writeln!(text, "COPY many /{layer}").unwrap();
    }
    machine.dockerfile(&format!("{text}RUN ls /69 | wc -l > /count\n"));
    let built = with_few_files(&machine, &["build", "-q", "--network", "none", "-t", "tall", "."]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(archives(&machine) > 0, "they are mounted one by one");
    let run =
        with_few_files(&machine, &["run", "--rm", "--network", "none", "tall", "cat /count; ulimit -Sn"]);
    assert_eq!(
        String::from_utf8_lossy(&run.stdout),
        "200\n1024\n",
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    machine.assert_nothing_is_left();
}
