//! Cached steps fit on each other: what a step made on one run of the step before it is not put on another run.

use std::process::Stdio;

use crate::machine::{Machine, can_run};

/// Each run of it leaves something else.
const DEPS: &str = "FROM box AS deps\nRUN cat /proc/sys/kernel/random/uuid > /deps\n";

fn build(machine: &Machine, flags: &[&str]) {
    machine.ok(&[&["build", "-q", "--network", "none", "-t", "app"], flags, &["."]].concat());
}

/// Returns what the files of the image have in them.
fn read(machine: &Machine, files: &[&str]) -> Vec<String> {
    machine.ok(&["build", "-q", "--network", "none", "-o", "out", "."]);
    let read = |file: &&str| fs_err::read_to_string(machine.context().join("out").join(file)).unwrap();
    files.iter().map(read).collect()
}

fn assert_fits(machine: &Machine, what: &str) {
    let [deps, built] = &read(machine, &["deps", "built"])[..] else { unreachable!("two files") };
    assert!(deps == built && deps.len() == 37, "{what}: {deps}{built}");
}

#[test]
fn a_build_that_failed_half_way_leaves_no_step_that_others_do_not_fit_on() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let mount = "RUN --mount=type=secret,id=s test \"$(cat /run/secrets/s)\" = well && cp /deps /built\n";
    machine.dockerfile(&format!("{DEPS}{mount}"));
    let secret = |content: &str| {
        fs_err::write(machine.context().join("secret"), content).unwrap();
        ["--secret", "id=s,src=secret"]
    };
    build(&machine, &secret("well"));
    let bad = secret("badly");
    machine.refused(&[&["build", "-q", "--network", "none", "--no-cache"], &bad[..], &["."]].concat(), 1);
    secret("well");
    machine.ok(&["build", "-q", "--network", "none", "--secret", "id=s,src=secret", "-o", "out", "."]);
    let read = |file: &str| fs_err::read_to_string(machine.context().join("out").join(file)).unwrap();
    assert_eq!(read("deps"), read("built"));
}

#[test]
fn what_read_a_stage_that_is_done_anew_is_done_anew() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    for (what, rest) in [
        ("a copy", "FROM scratch\nCOPY --from=deps /deps /built\nCOPY --from=deps /deps /deps\n"),
        (
            "a linked copy",
            "FROM scratch\nCOPY --link --from=deps /deps /built\nCOPY --from=deps /deps /deps\n",
        ),
        ("a mount", "FROM deps\nRUN --mount=type=bind,from=deps,target=/m cp /m/deps /built\n"),
        ("a stage on it", "FROM deps\nRUN cp /deps /built\n"),
    ] {
        machine.dockerfile(&format!("{DEPS}{rest}"));
        build(&machine, &[]);
        let before = read(&machine, &["built"]);
        assert_fits(&machine, what);
        build(&machine, &["--no-cache-filter", "deps"]);
        assert_fits(&machine, what);
        assert_ne!(read(&machine, &["built"]), before, "{what}");
    }
}

#[test]
fn builds_without_cache_at_the_same_time_leave_steps_that_fit() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // The first to come waits for the second, whose step so ends in between.
    let wait = "RUN --mount=type=cache,id=turn,target=/turn if mkdir /turn/first; then \
                while [ ! -e /turn/second ]; do sleep 0.01; done; else touch /turn/second; fi; cp /deps /built\n";
    machine.dockerfile(&format!("{DEPS}{wait}"));
    let args = ["build", "-q", "--network", "none", "--no-cache", "."];
    let start = || machine.spawn(machine.command(&args).stdout(Stdio::null()).stderr(Stdio::null()));
    let both = [start(), start()];
    for mut build in both {
        assert!(build.wait().unwrap().success());
    }
    assert_fits(&machine, "two at once");
}

#[test]
fn the_steps_of_another_machine_do_not_lie_on_those_of_this_one() {
    if !can_run() {
        return;
    }
    let (one, other, third) = (Machine::with_box(), Machine::new(), Machine::new());
    let archive = one.dir.path().join("box.tar").display().to_string();
    one.ok(&["save", "-o", &archive, "box"]);
    for machine in [&other, &third] {
        machine.ok(&["load", "-i", &archive]);
    }
    for machine in [&one, &other, &third] {
        machine.dockerfile(&format!("{DEPS}FROM deps\nRUN cp /deps /built\n"));
    }
    let shelf = one.dir.path().join("shelf");
    let (to, from) = (format!("type=local,mode=max,dest={}", shelf.display()), shelf.display());
    build(&one, &["--cache-to", &to]);
    build(&other, &["--target", "deps"]);
    build(&other, &["--cache-from", &format!("type=local,src={from}")]);
    assert_fits(&other, "with a cache");
    // One that has nothing of its own takes all.
    let flags = ["--progress", "plain", "--cache-from", &format!("type=local,src={from}")];
    let (_, said) = third.ok(&[&["build", "--network", "none"], &flags[..], &["."]].concat());
    assert_eq!(said.matches(" CACHED\n").count(), 2, "{said}");
    assert_eq!(read(&third, &["built"]), read(&one, &["built"]));
}

#[test]
fn what_is_used_stays_and_what_lies_on_something_goes_before_it() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let big = "RUN head -c 300000 /dev/urandom > /big && cat /proc/sys/kernel/random/uuid > /deps\n";
    let used = format!("FROM box\n{big}RUN head -c 300000 /dev/urandom > /more && cp /deps /built\n");
    let build = |text: &str| {
        machine.dockerfile(text);
        machine.ok(&["build", "--progress", "plain", "--network", "none", "-o", "type=cacheonly", "."]).1
    };
    build(&used);
    age(&machine);
    build("FROM box\nRUN head -c 300001 /dev/urandom > /other\n");
    age(&machine);
    let again = build(&used);
    assert_eq!(again.matches(" CACHED\n").count(), 2, "{again}");
    // What was made in between was used longest ago.
    machine.ok(&["builder", "prune", "-f", "--keep-storage", "700k"]);
    let again = build(&used);
    assert_eq!(again.matches(" CACHED\n").count(), 2, "{again}");
    // Of two that were used together the upper one goes.
    machine.ok(&["builder", "prune", "-f", "--keep-storage", "400k"]);
    let again = build(&used);
    assert_eq!(again.matches(" CACHED\n").count(), 1, "{again}");
    assert_fits(&machine, "after pruning");
}

/// Makes all steps look as if they were used an hour earlier.
fn age(machine: &Machine) {
    let database = rusqlite::Connection::open(machine.dir.path().join("root/store.db")).unwrap();
    assert!(database.execute("UPDATE steps SET used = used - 3600", []).unwrap() > 0);
}
