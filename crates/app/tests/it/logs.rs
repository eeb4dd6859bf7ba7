//! Logs of containers: parts of them, and following.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::machine::{Machine, can_run};

#[test]
fn parts_of_a_log_are_shown_on_the_stream_that_they_were_written_to() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.background(&["--name", "talker"], "echo two >&2; sleep 0.2; echo one; echo three");
    machine.until("it has ended", || machine.ok(&["ps", "-q"]).0.is_empty());
    let logs = |args: &[&str]| machine.ok(&[&["logs"], args, &["talker"]].concat());
    assert_eq!(logs(&[]), ("one\nthree\n".to_owned(), "two\n".to_owned()));
    assert_eq!(logs(&["--tail", "1"]).0, "three\n");
    assert_eq!(logs(&["-n", "0"]).0, "");
    assert_eq!(logs(&["--tail", "-1"]).0, "one\nthree\n");
    assert_eq!(logs(&["--since", "1h"]).0, "one\nthree\n");
    assert_eq!(logs(&["--since", "2100-01-01"]).0, "");
    let (timed, _) = logs(&["-t", "-n", "1"]);
    let (time, text) = timed.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T') && text == "three\n", "{timed}");
    assert!(machine.refused(&["logs", "--since", "soon", "talker"], 1).contains("`soon` is no time"));
    assert!(
        machine.refused(&["logs", "--tail", "some", "talker"], 1).contains("`some` is no number of lines")
    );
}

#[test]
fn a_follower_sees_every_line_and_ends_with_the_container() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine
        .background(&["--name", "talker"], "mkfifo /go; echo one; read line < /go; echo $line; printf last");
    let mut follower = machine.spawn(machine.command(&["logs", "-f", "talker"]).stdout(Stdio::piped()));
    let mut lines = BufReader::new(follower.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    machine.tell("talker", "echo two > /go");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\nlast\n");
    assert!(follower.wait().unwrap().success());
    assert_eq!(machine.ok(&["logs", "-f", "talker"]).0, "one\ntwo\nlast\n", "one that has ended");
}

#[test]
fn a_follower_goes_on_across_rotation() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // More than two files of ten megabytes.
    let script = "mkfifo /go; read line < /go; awk 'BEGIN { for (i = 1; i <= 150000; i++) printf \"%0120d\\n\", i }'; echo done";
    machine.background(&["--name", "talker"], script);
    let mut follower = machine.spawn(machine.command(&["logs", "-f", "talker"]).stdout(Stdio::piped()));
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    machine.tell("talker", "echo > /go");
    let mut expected = 1_u64;
    for line in lines {
        let line = line.unwrap();
        if line == "done" {
            break;
        }
        assert_eq!(line.parse::<u64>().unwrap(), expected);
        expected += 1;
    }
    assert_eq!(expected, 150_001);
    assert!(follower.wait().unwrap().success());
    assert!(machine.dir.path().join("state/containers").read_dir().unwrap().next().is_some());
}

#[test]
fn a_container_that_wrote_to_its_starter_says_so() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.ok(&["run", "--name", "direct", "box", "echo hello"]);
    let said = machine.refused(&["logs", "direct"], 1);
    assert!(said.contains("its output went to the terminal") && said.contains("run -d"), "{said}");
}
