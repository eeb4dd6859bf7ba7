//! Damage is found, and mended from what is left.

use std::path::PathBuf;

use shipway_testkit::registry::TestRegistry;

use crate::machine::{Machine, can_run};

fn files_below(machine: &Machine, place: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(machine.dir.path().join(place)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Writes something else into the longest file of a directory: a compressed layer.
fn spoil_longest(machine: &Machine, place: &str) -> String {
    let length = |path: &PathBuf| fs_err::metadata(path).unwrap().len();
    let longest = files_below(machine, place).into_iter().max_by_key(length).unwrap();
    fs_err::write(&longest, "something else").unwrap();
    longest.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Changes `bin/busybox` in the layer that has it.
fn spoil_tree(machine: &Machine) {
    let trees = files_below(machine, "root/layers");
    let program = trees.iter().map(|tree| tree.join("bin/busybox")).find(|path| path.is_file()).unwrap();
    fs_err::write(program, "broken").unwrap();
}

fn assert_sound(machine: &Machine) {
    let (printed, said) = machine.ok(&["system", "fsck"]);
    assert!(printed.is_empty() && said.starts_with("checked "), "{printed}{said}");
}

#[test]
fn an_image_from_a_registry_is_made_whole_again() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = machine.move_box_to(&registry);
    machine.ok(&["pull", "-q", &name]);
    let run = ["run", "--rm", "--network", "none", &name, "echo works"];
    assert_eq!(machine.ok(&run).0, "works\n");
    assert_sound(&machine);

    // The tree, out of the archive that is here.
    spoil_tree(&machine);
    let said = machine.refused(&["system", "fsck"], 1);
    assert!(
        said.contains("the store is damaged: 1 found") && said.contains("hint: `shipway system fsck --rep")
    );
    let output = machine.shipway(&["system", "fsck", "--format", "json"]);
    let fault: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), fault["Kind"].as_str()), (Some(1), Some("layer")));
    registry.forget_questions();
    let (printed, _) = machine.ok(&["system", "fsck", "--repair"]);
    assert!(printed.starts_with("made again: layer "), "{printed}");
    assert_eq!(registry.asked().len(), 0);
    assert_eq!(machine.ok(&run).0, "works\n");
    assert_sound(&machine);

    // The archive, from the registry.
    let spoilt = spoil_longest(&machine, "root/blobs/sha256");
    let output = machine.shipway(&["system", "fsck"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains(&format!("blob sha256:{spoilt} has other bytes: ")), "{printed}");
    assert!(printed.contains(" has lost the archive "), "{printed}");
    let (printed, said) = machine.ok(&["system", "fsck", "--repair"]);
    assert!(printed.contains("pulled again: image sha256:"), "{printed}{said}");
    assert_eq!(machine.ok(&run).0, "works\n");
    assert_sound(&machine);

    // Everything at once, so that nothing here tells which layers the image had.
    for blob in files_below(&machine, "root/blobs/sha256") {
        fs_err::write(blob, "something else").unwrap();
    }
    spoil_tree(&machine);
    machine.ok(&["system", "fsck", "--repair"]);
    assert_eq!(machine.ok(&run).0, "works\n");
    assert_sound(&machine);
}

#[test]
fn what_nobody_else_has_is_removed_and_can_be_built_again() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // Our own registry has its layers as they are.
    let server = machine.serve(&["registry", "serve", "-q", "--listen", "127.0.0.1:0"]);
    let name = format!("{}/box:1", server.address());
    machine.publish(&name);
    machine.ok(&["rmi", &name]);
    drop(server);
    // Nothing of it is read any more once it runs: what is spoilt does not end it.
    let (container, _) =
        machine.ok(&["run", "-d", "--network", "none", "--entrypoint", "/bin/sleep", "box", "1000"]);
    spoil_tree(&machine);
    let said = machine.refused(&["system", "fsck", "--repair"], 1);
    assert!(said.contains(&format!("container {} runs on it", container.trim())), "{said}");
    machine.ok(&["rm", "-f", container.trim()]);
    let (printed, _) = machine.ok(&["system", "fsck", "--repair"]);
    assert!(printed.contains("removed: image box:latest: build or pull it again"), "{printed}");
    assert!(printed.contains("removed: manifest box@sha256:"), "{printed}");
    assert_sound(&machine);
    machine.refused(&["run", "--rm", "box", "true"], 125);
    machine.ok(&["build", "-q", "--network", "none", "-t", "box", "."]);
    assert_eq!(machine.script(&["--network", "none"], "echo works"), "works\n");
    assert_sound(&machine);
}

#[test]
fn what_cannot_be_looked_at_for_want_of_files_is_not_called_damaged_and_stays() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.ok(&["save", "-o", "box.tar", "box"]);
    machine.ok(&["load", "-i", "box.tar"]);
    let before = machine.ok(&["images", "-q"]).0;
    for files in 6..28 {
        let said = machine.in_shell(&format!("ulimit -n {files}"), &["system", "fsck", "--repair"]);
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(String::from_utf8_lossy(&said.stdout), "", "{files} files: {errors}");
        assert!(said.status.success() || errors.contains("error: "), "{files} files: {errors}");
        assert_eq!(machine.ok(&["images", "-q"]).0, before, "{files} files");
        assert_sound(&machine);
    }
}

#[test]
fn what_stands_in_the_place_of_a_blob_is_damage_and_is_removed() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let [directory, pipe] =
        ["a", "b"].map(|name| machine.dir.path().join("root/blobs/sha256").join(name.repeat(64)));
    fs_err::create_dir(directory.as_path()).unwrap();
    fs_err::write(directory.join("file"), "").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let said = machine.shipway(&["system", "fsck"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout).matches("it is no file").count(), 2, "{said:?}");
    machine.ok(&["system", "fsck", "--repair"]);
    assert!(!directory.exists() && !pipe.exists());
    assert_sound(&machine);
}

#[test]
fn an_archive_of_what_was_cut_off_is_whole_or_there_is_none() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = machine.move_box_to(&registry);
    machine.ok(&["pull", "-q", &name]);
    spoil_longest(&machine, "root/blobs/sha256");
    machine.ok(&["save", "-o", "box.tar", &name]);
    machine.ok(&["rmi", &name]);
    machine.ok(&["system", "prune", "-af"]);
    machine.ok(&["load", "-i", "box.tar"]);
    assert_sound(&machine);
}
