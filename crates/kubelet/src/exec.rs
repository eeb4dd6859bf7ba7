//! Programs run in containers for somebody else.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shipway_runtime::TerminalSocket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

use crate::error::ExecError;
use crate::terminal::Terminal;

/// A program that runs in a container. Dropping it kills the program.
pub struct ExecSession {
    /// Its standard input, if it has one; dropping it closes it.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, if wanted.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its standard error, if wanted.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its terminal, if it has one; input and output are the same terminal's then, and there is no standard error.
    pub terminal: Option<Terminal>,
    /// Becomes its exit code.
    pub exit: BoxFuture<'static, i32>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// What to run, and which of its streams are wanted.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// In which container; may be left out if the pod has one.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether its input is wanted.
    pub stdin: bool,
    /// Whether its output is wanted.
    pub stdout: bool,
    /// Whether its errors are wanted.
    pub stderr: bool,
    /// Whether it wants a terminal.
    pub tty: bool,
}

/// Which streams of the program are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Ends the program with the session.
#[derive(Debug)]
struct Guard {
    child: Child,
    process: OwnedFd,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // One that has ended needs no signal and leaves no zombie.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            drop(shipway_linux::signal_pidfd(&self.process, 9));
            drop(self.child.wait());
        }
    }
}

/// Starts `command` with pipes.
pub(crate) fn start(
    mut command: Command,
    container: &str,
    streams: Streams,
) -> Result<ExecSession, ExecError> {
    let failed =
        |source: std::io::Error| ExecError::Start { container: container.to_owned(), source: source.into() };
    let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    command.stdin(piped(streams.stdin)).stdout(piped(streams.stdout)).stderr(piped(streams.stderr));
    let mut child = command.spawn().map_err(failed)?;
    let pid = i32::try_from(child.id()).unwrap_or(-1);
    let stdin = child.stdin.take().map(|stream| pipe::Sender::from_owned_fd(stream.into())).transpose();
    let stdout = child.stdout.take().map(|stream| pipe::Receiver::from_owned_fd(stream.into())).transpose();
    let stderr = child.stderr.take().map(|stream| pipe::Receiver::from_owned_fd(stream.into())).transpose();
    let process = shipway_linux::open_pidfd(pid).map_err(failed)?;
    let exit = exit(Guard { child, process }).map_err(failed)?;
    Ok(ExecSession {
        stdin: stdin.map_err(failed)?.map(|stream| Box::new(stream) as _),
        stdout: stdout.map_err(failed)?.map(|stream| Box::new(stream) as _),
        stderr: stderr.map_err(failed)?.map(|stream| Box::new(stream) as _),
        terminal: None,
        exit,
    })
}

/// Becomes the exit code of a program, and ends it if nobody waits any more.
fn exit(guard: Guard) -> io::Result<BoxFuture<'static, i32>> {
    let ended = crate::readable::readable(guard.process.as_fd().try_clone_to_owned()?)?;
    let exit = async move {
        let mut guard = guard;
        drop(ended.readable().await);
        // It has ended, so this does not wait.
        guard.child.wait().ok().and_then(|status| status.code()).unwrap_or(137)
    };
    Ok(exit.boxed())
}

/// Starts `command` on the terminal that arrives through `socket`.
pub(crate) async fn start_on_terminal(
    mut command: Command,
    socket: TerminalSocket,
    container: &str,
    streams: Streams,
) -> Result<ExecSession, ExecError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ExecError::Start {
        container: container.to_owned(),
        source,
    };
    let broken = |source: io::Error| failed(source.into());
    let spawned = command.stderr(Stdio::piped()).spawn();
    // It holds the other half of the socket.
    drop(command);
    let mut child = spawned.map_err(broken)?;
    let errors = child.stderr.take();
    let process = shipway_linux::open_pidfd(i32::try_from(child.id()).unwrap_or(-1)).map_err(broken)?;
    let guard = Guard { child, process };
    let process = guard.process.as_fd().try_clone_to_owned().map_err(broken)?;
    let received = tokio::task::spawn_blocking(move || {
        socket.receive(process).map_err(|error| {
            // What it said before it ended is the better reason.
            let said = errors.and_then(|errors| io::read_to_string(errors).ok()).unwrap_or_default();
            if said.is_empty() { error } else { io::Error::other(said.trim_end().to_owned()) }
        })
    });
    let master = received.await.map_err(|panic| failed(panic.into()))?.map_err(broken)?;
    let terminal = Terminal::new(master).map_err(broken)?;
    Ok(ExecSession {
        stdin: streams.stdin.then(|| Box::new(terminal.clone()) as _),
        stdout: streams.stdout.then(|| Box::new(terminal.clone()) as _),
        stderr: None,
        terminal: Some(terminal),
        exit: exit(guard).map_err(broken)?,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A shell on a terminal of this machine, as a container's would arrive.
    fn on_terminal(script: &str) -> (Command, TerminalSocket) {
        let ptmx = std::fs::File::options().read(true).write(true).open("/dev/pts/ptmx");
        let master =
            ptmx.or_else(|_refused| std::fs::File::options().read(true).write(true).open("/dev/ptmx"));
        let master = master.unwrap();
        let peer = shipway_linux::terminal_peer(&master).unwrap();
        let (socket, theirs) = TerminalSocket::pair().unwrap();
        shipway_linux::send_descriptor(&theirs, &master).unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).stdin(peer.try_clone().unwrap()).stdout(peer);
        (command, socket)
    }

    #[tokio::test]
    async fn a_program_on_a_terminal_is_talked_to_resized_and_ends() {
        let (command, socket) =
            on_terminal("stty -echo; echo ready; read line; stty size; echo $line; exit 3");
        let streams = Streams { stdin: true, stdout: true, stderr: false };
        let mut session = start_on_terminal(command, socket, "c", streams).await.unwrap();
        let mut stdout = session.stdout.take().unwrap();
        let mut said = [0; 7];
        stdout.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"ready\r\n");
        session.terminal.as_ref().unwrap().resize(12, 34).unwrap();
        session.stdin.as_mut().unwrap().write_all(b"hello\r").await.unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).await.unwrap();
        assert_eq!((rest.as_str(), session.exit.await), ("12 34\r\nhello\r\n", 3));
    }

    #[tokio::test]
    async fn a_program_that_gets_no_terminal_says_why() {
        let (socket, theirs) = TerminalSocket::pair().unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("echo no such user >&2; exit 125").stdin(theirs);
        let streams = Streams { stdin: true, stdout: true, stderr: false };
        let failed = start_on_terminal(command, socket, "c", streams).await.unwrap_err();
        let ExecError::Start { source, .. } = failed else { panic!("{failed}") };
        assert_eq!(source.to_string(), "no such user");
    }

    #[tokio::test]
    async fn streams_and_exit_code_come_through() {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("cat; echo bad >&2; exit 3");
        let streams = Streams { stdin: true, stdout: true, stderr: true };
        let mut session = start(command, "c", streams).unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
        assert_eq!((out.as_str(), err.as_str(), session.exit.await), ("hello", "bad\n", 3));
    }

    #[tokio::test]
    async fn a_dropped_session_kills_its_program() {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let streams = Streams { stdin: false, stdout: true, stderr: false };
        let mut session = start(command, "c", streams).unwrap();
        let mut stdout = session.stdout.take().unwrap();
        drop(session);
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
