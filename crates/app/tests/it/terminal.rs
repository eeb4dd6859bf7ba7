//! Containers on a person's terminal, and signals without one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use shipway_linux::{WindowSize, open_pidfd, set_window_size, signal_pidfd, terminal_peer};

use crate::machine::{Machine, can_run};

/// A person at a terminal.
struct Person {
    master: File,
    peer: OwnedFd,
    seen: String,
}

impl Person {
    fn new() -> Self {
        let master = File::options().read(true).write(true).open("/dev/pts/ptmx").unwrap();
        let peer = terminal_peer(&master).unwrap();
        set_window_size(&master, WindowSize { rows: 33, columns: 99 }).unwrap();
        Self { master, peer, seen: String::new() }
    }

    /// Starts a command on the terminal.
    fn start(&self, machine: &Machine, args: &[&str]) -> Child {
        let stream = || Stdio::from(self.peer.try_clone().unwrap());
        let mut command = machine.command(args);
        machine.spawn(command.stdin(stream()).stdout(stream()).stderr(stream()))
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until a text has appeared.
    fn sees(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let length = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// Whether the terminal is as a shell wants it.
    fn is_in_order(&self) -> bool {
        let modes = Command::new("stty").arg("-a").stdin(self.peer.try_clone().unwrap()).output().unwrap();
        let modes = String::from_utf8(modes.stdout).unwrap();
        ["icanon", "echo", "isig"].iter().all(|mode| modes.split_whitespace().any(|word| word == *mode))
    }
}

fn signal(child: &Child, number: i32) {
    let process = open_pidfd(i32::try_from(child.id()).unwrap()).unwrap();
    // It may just have ended.
    drop(signal_pidfd(process, number));
}

#[test]
fn a_terminal_shows_control_characters_and_does_not_obey_them() {
    if !can_run() {
        return;
    }
    let machine = Machine::new();
    let mut person = Person::new();
    let mut child = person.start(&machine, &["rmi", "x\u{1b}]0;title\u{7}"]);
    person.sees("no such image: x^[]0;title^G");
    assert!(!child.wait().unwrap().success() && !person.seen.contains('\u{1b}'), "{}", person.seen);
    // Another program gets what is there.
    let said = machine.command(&["rmi", "x\u{1b}]0;"]).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("no such image: x\u{1b}]0;"), "{said:?}");
}

#[test]
fn a_person_talks_to_a_container_and_the_terminal_is_put_back() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let mut person = Person::new();
    let script = "stty size; tty; echo $TERM; read line; echo got $line; \
                  trap 'exit 7' INT; echo waiting; while :; do sleep 0.05; done";
    let mut run = person.start(&machine, &["run", "--rm", "-it", "box", script]);
    person.sees("33 99\r\n/dev/pts/0\r\nxterm\r\n");
    assert!(!person.is_in_order(), "keys go through as they are typed");
    person.types("hello\r");
    person.sees("got hello\r\nwaiting\r\n");
    person.types("\x03");
    assert_eq!(run.wait().unwrap().code(), Some(7));
    assert!(person.is_in_order());
    machine.assert_nothing_is_left();
}

#[test]
fn a_change_of_the_terminals_size_reaches_the_container() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    let mut person = Person::new();
    let script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut run = person.start(&machine, &["run", "--rm", "-it", "box", script]);
    person.sees("ready\r\n");
    set_window_size(&person.master, WindowSize { rows: 12, columns: 34 }).unwrap();
    // The kernel tells whoever has it as controlling terminal; here that is nobody.
    signal(&run, 28);
    person.sees("12 34\r\n");
    assert_eq!(run.wait().unwrap().code(), Some(3));
}

#[test]
fn a_shell_in_a_running_container_has_a_terminal_of_its_own() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.background(&["--name", "server"], "sleep 600");
    let mut person = Person::new();
    let mut exec = person.start(&machine, &["exec", "-it", "-e", "PS1=ready> ", "server", "sh"]);
    person.sees("ready> ");
    person.types("tty; stty size\r");
    person.sees("/dev/pts/0\r\n33 99\r\n");
    person.types("exit 5\r");
    assert_eq!(exec.wait().unwrap().code(), Some(5));
    assert!(person.is_in_order());
    let mut failed = person.start(&machine, &["exec", "-it", "server", "no-such-program"]);
    person.sees("no-such-program");
    assert_eq!(failed.wait().unwrap().code(), Some(127));
}

#[test]
fn a_shell_is_opened_where_a_step_has_failed() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile(
        "FROM box\nENV MADE=before PS1='look> '\nWORKDIR /srv\nUSER web\nRUN --network=none \
         --mount=type=cache,target=/c,mode=0777 --mount=target=/ctx echo left > /c/file; echo out of it; false\n",
    );
    let mut person = Person::new();
    let mut build = person.start(&machine, &["build", "--debug", "-t", "no", "."]);
    person.sees("look> ");
    let before = person.seen.clone();
    let order = [
        "\nout of it",
        "error: process",
        "did not complete successfully: exit code: 1",
        "Dockerfile:5",
        "note: this is `/bin/sh`",
    ];
    let places: Vec<usize> = order
        .iter()
        .map(|text| before.rfind(text).unwrap_or_else(|| panic!("no {text:?}: {before}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}: {before}");
    assert!(!person.is_in_order(), "keys go through as they are typed");
    person.types("echo $MADE $PWD; id -un; cat /c/file; ls -1 /ctx; stty size; tty\r");
    person.sees("before /srv\r\nweb\r\nleft\r\nDockerfile\r\nbusybox\r\n");
    person.sees("33 99\r\n/dev/pts/0\r\n");
    set_window_size(&person.master, WindowSize { rows: 12, columns: 34 }).unwrap();
    person.types("until stty size | grep 34; do :; done\r");
    person.sees("12 34\r\n");
    person.types("exit 7\r");
    person.sees("error: the build has failed, for the reason above");
    assert_eq!(build.wait().unwrap().code(), Some(1), "that of the build, not of the shell");
    assert!(person.is_in_order());
    machine.assert_nothing_is_left();

    // Without a shell in the image, and without a terminal, the build fails as ever.
    machine.dockerfile("FROM box\nSHELL [\"/none\", \"-c\"]\nRUN [\"false\"]\n");
    let mut build = person.start(&machine, &["build", "--debug", "--network", "none", "."]);
    person.sees("note: no shell: ");
    assert_eq!(build.wait().unwrap().code(), Some(1));
    let said = machine.refused(&["build", "--debug", "--network", "none", "."], 1);
    assert!(
        said.contains("is no terminal, so --debug opens no shell")
            && said.contains("error: process \"false\""),
        "{said}"
    );
    machine.assert_nothing_is_left();
}

#[test]
fn a_shell_where_a_step_has_failed_ends_with_the_build() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.dockerfile("FROM box\nENV PS1='look> '\nRUN --network=none false\n");
    let mut person = Person::new();
    let mut build = person.start(&machine, &["build", "--debug", "-q", "."]);
    person.sees("look> ");
    // Ctrl-C is the shell's.
    person.types("\x03echo still here\r");
    person.sees("still here\r\n");
    signal(&build, 15);
    assert_eq!(build.wait().unwrap().code(), Some(130));
    assert!(person.is_in_order());
    machine.assert_nothing_is_left();
}

#[test]
fn a_terminal_in_the_background_is_logged_and_none_is_made_of_a_pipe() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    machine.background(&["-t", "--name", "quiet"], "tty");
    assert_eq!(machine.ok(&["logs", "-f", "quiet"]).0, "/dev/pts/0\r\n");
    for verb in [&["run", "--rm", "-it", "box", "true"][..], &["exec", "-it", "quiet", "true"]] {
        let refused = machine.refused(verb, 1);
        assert!(refused.contains("the input device is not a TTY") && refused.contains("hint: "), "{refused}");
    }
}

#[test]
fn signals_reach_a_container_in_the_foreground() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    for (name, number, want) in [("INT", 2, 9), ("TERM", 15, 9), ("USR1", 10, 9)] {
        let script = format!("trap 'exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut run = machine.command(&["run", "--rm", "box", &script]);
        let mut run = machine.spawn(run.stdout(Stdio::piped()));
        let mut said = [0; 6];
        run.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"ready\n");
        signal(&run, number);
        assert_eq!(run.wait().unwrap().code(), Some(want), "{name}");
    }
    machine.assert_nothing_is_left();
}

#[test]
fn the_third_interrupt_kills_a_container_that_ignores_them() {
    if !can_run() {
        return;
    }
    let machine = Machine::with_box();
    // A shell that was given its script catches the signal until it becomes another program.
    let mut run = machine.command(&["run", "--rm", "box", "trap '' INT; echo ready; exec sleep 600"]);
    let mut run = machine.spawn(run.stdout(Stdio::piped()));
    let mut said = [0; 6];
    run.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let mut code = None;
    machine.until("it is killed", || {
        signal(&run, 2);
        code = run.try_wait().unwrap().and_then(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(137));
    machine.assert_nothing_is_left();
}
