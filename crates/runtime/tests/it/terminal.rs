//! Programs on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use shipway_runtime::{Container, ExecSpec, StdIo, TerminalSize, TerminalSocket};

use crate::{Fixture, can_run};

const SIZE: TerminalSize = TerminalSize { rows: 33, columns: 99 };

/// Reads until the other end is closed, which reads as an error.
fn all(master: OwnedFd) -> String {
    let mut file = File::from(master);
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(text).unwrap()
}

fn start(fixture: &Fixture, id: &str, script: &str, user: &str) -> (Container, OwnedFd) {
    let mut spec = fixture.spec(id, &["sh", "-c", script]);
    spec.terminal = Some(SIZE);
    spec.user = user.to_owned();
    let (socket, theirs) = TerminalSocket::pair().unwrap();
    let container = fixture.containers.start(&spec, StdIo::Terminal(theirs)).unwrap();
    (container, socket.received().unwrap())
}

#[test]
fn the_program_has_a_terminal_of_its_own_and_a_console() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    for user in ["", "web"] {
        let script = "tty; stty size; echo $TERM; echo mine > /dev/tty; echo again > $(tty); test -c /dev/console && echo console; echo bad >&2";
        let (container, master) = start(&fixture, &format!("tty{user}"), script, user);
        let said = all(master);
        let want = "/dev/pts/0\r\n33 99\r\nxterm\r\nmine\r\nagain\r\nconsole\r\nbad\r\n";
        assert_eq!((said.as_str(), container.wait().unwrap()), (want, 0), "user {user:?}");
    }
    let console = fixture.shell("none", "ls /dev/console 2>/dev/null; test -t 0 || echo no");
    assert_eq!(console.1, "no\n", "without a terminal there is none");
}

#[test]
fn keys_arrive_and_ctrl_c_interrupts() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let script = "trap 'echo interrupted; exit 7' INT; stty -echo; echo ready; read line; echo got $line; while :; do sleep 0.05; done";
    let (container, master) = start(&fixture, "keys", script, "");
    let mut terminal = File::from(master.try_clone().unwrap());
    let mut expect = |keys: &[u8], answer: &str| {
        terminal.write_all(keys).unwrap();
        let mut said = vec![0; answer.len()];
        terminal.read_exact(&mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), answer);
    };
    expect(b"", "ready\r\n");
    expect(b"hello\n", "got hello\r\n");
    expect(b"\x03", "interrupted\r\n");
    assert_eq!((all(master).as_str(), container.wait().unwrap()), ("", 7));
}

#[test]
fn letting_go_of_the_terminal_hangs_the_program_up() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let script = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.05; done";
    let (container, master) = start(&fixture, "hup", script, "");
    let mut said = [0; 7];
    File::from(master.try_clone().unwrap()).read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\r\n");
    drop(master);
    assert_eq!(container.wait().unwrap(), 5);
}

#[test]
fn what_is_written_to_a_terminal_in_the_background_is_logged() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mut spec = fixture.spec("logged", &["sh", "-c", "tty; printf last"]);
    spec.terminal = Some(SIZE);
    let container = fixture.containers.start(&spec, StdIo::Log).unwrap();
    assert_eq!(container.wait().unwrap(), 0);
    let log = fs_err::read_to_string(container.log_path()).unwrap();
    let texts: Vec<&str> =
        log.trim_end_matches('\n').split('\n').map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(texts, ["stdout F /dev/pts/0\r", "stdout F last"]);
}

#[test]
fn a_program_that_joins_has_another_terminal_and_its_exit_code_comes_back() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let (container, _master) = start(&fixture, "joined", "sleep 600", "");
    let exec = |args: &[&str]| ExecSpec {
        args: args.iter().map(ToString::to_string).collect(),
        env: vec!["TERM=dumb".to_owned()],
        cwd: None,
        user: Some("web".to_owned()),
    };
    let run = |spec: &ExecSpec| {
        let (mut command, socket) = container.exec_terminal(spec, SIZE).unwrap();
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(command);
        let process = shipway_linux::open_pidfd(i32::try_from(child.id()).unwrap()).unwrap();
        let said = socket.receive(&process).map(all).unwrap_or_default();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (said, child.wait().unwrap().code(), errors)
    };
    let found = run(&exec(&["sh", "-c", "tty; stty size; echo $TERM; exit 4"]));
    assert_eq!(found, ("/dev/pts/1\r\n33 99\r\ndumb\r\n".to_owned(), Some(4), String::new()));
    // A program that is not there is said on the terminal, which is there by then.
    let missing = run(&exec(&["no-such-program"]));
    assert!(missing.0.contains("no-such-program") && missing.1 == Some(127), "{missing:?}");
    // What goes wrong before is said on standard error.
    let nobody = run(&ExecSpec { user: Some("nobody".to_owned()), ..exec(&["true"]) });
    assert!(nobody.0.is_empty() && nobody.2.contains("nobody") && nobody.1 == Some(125), "{nobody:?}");
    container.stop(9, std::time::Duration::ZERO).unwrap();
}
