//! Killed at any moment. For more of it: `cargo xtask soak`.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use shipway_testkit::registry::TestRegistry;
use shipway_testkit::{Dice, rounds};

use crate::machine::{Machine, can_run};

/// Kills a command after some time, if it has not ended by then; says whether it had.
fn kill_after(child: &mut Child, time: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// Runs a command again and again, killed at another moment each time, and sees each time that nothing is damaged, that it succeeds
/// when it is run once more, and that it leaves nothing behind.
fn kill(machine: &Machine, what: &str, args: &[&str], undo: impl Fn()) {
    machine.ok(args);
    // The first time costs more than those that are killed.
    undo();
    let begun = Instant::now();
    machine.ok(args);
    let mut whole = begun.elapsed();
    let mut dice = Dice::new(0x4111);
    let (mut killed, mut round, rounds) = (0, 0, rounds(5));
    while killed < rounds {
        round += 1;
        assert!(round <= 20 * rounds, "{what}: only {killed} of {round} were killed");
        undo();
        let mut command = machine.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = machine.spawn(&mut command);
        let time = whole * u32::try_from(dice.roll(1000)).unwrap() / 1000;
        if kill_after(&mut child, time) {
            killed += 1;
        } else {
            // The machine was busy when it was measured.
            whole = time;
        }
        let case = format!("{what}, round {round}, after {time:?}");
        let fsck = machine.shipway(&["system", "fsck"]);
        assert!(fsck.status.success(), "{case}: {}", String::from_utf8_lossy(&fsck.stdout));
        machine.ok(args);
        machine.ok(&["system", "prune", "-f"]);
        for place in ["root/tmp", "root/active", "state/containers", "state/steps", "state/claims"] {
            assert_eq!(machine.count(place), 0, "{case}: {place}");
        }
    }
    assert!(machine.ok(&["system", "fsck"]).0.is_empty());
}

#[test]
fn a_pull_that_is_killed_damages_nothing() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = machine.move_box_to(&registry);
    kill(&machine, "pull", &["pull", "-q", &name], || {
        machine.ok(&["rmi", &name]);
        machine.ok(&["system", "prune", "-af"]);
    });
    assert_eq!(machine.ok(&["run", "--rm", "--network", "none", &name, "echo works"]).0, "works\n");
}

#[test]
fn a_push_that_is_killed_damages_nothing() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let registry = machine.inside(TestRegistry::start);
    let name = registry.name("box:1");
    machine.ok(&["tag", "box", &name]);
    kill(&machine, "push", &["push", "-q", &name], || {
        let mut contents = registry.contents();
        contents.blobs.clear();
        contents.links.clear();
        contents.manifests.clear();
    });
    machine.ok(&["rmi", "box", &name]);
    machine.ok(&["system", "prune", "-af"]);
    machine.ok(&["pull", "-q", &name]);
    assert_eq!(machine.ok(&["run", "--rm", "--network", "none", &name, "echo works"]).0, "works\n");
}

#[test]
fn a_build_that_is_killed_damages_nothing() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let build = ["build", "-q", "--network", "none", "-t", "box", "."];
    kill(&machine, "build", &build, || {
        machine.ok(&["rmi", "box"]);
        machine.ok(&["system", "prune", "-af"]);
    });
    assert_eq!(machine.script(&["--network", "none"], "echo works"), "works\n");
    machine.assert_nothing_is_left();
}

#[test]
fn a_name_that_is_given_while_another_is_taken_away_stands_for_a_whole_image() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    fs_err::write(machine.context().join("root.tar"), [0; 10_240]).unwrap();
    let mut dice = Dice::new(0x7a6);
    let (mut both, rounds) = (0, rounds(30));
    for round in 0..rounds {
        machine.ok(&["import", "root.tar", "one"]);
        let start = |args: &[&str]| {
            let mut command = machine.command(args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            machine.spawn(&mut command)
        };
        let early = (dice.roll(2) == 0).then(|| start(&["tag", "one", "two"]));
        let mut removal = start(&["rmi", "-f", "one"]);
        let named = early.unwrap_or_else(|| start(&["tag", "one", "two"])).wait().unwrap().success();
        assert!(removal.wait().unwrap().success(), "round {round}");
        let fsck = machine.shipway(&["system", "fsck"]);
        assert!(fsck.status.success(), "round {round}: {}", String::from_utf8_lossy(&fsck.stdout));
        if named {
            machine.ok(&["save", "-o", "two.tar", "two"]);
            machine.ok(&["rmi", "two"]);
            both += 1;
        }
    }
    assert!(both > 0, "the removal always came first");
}
